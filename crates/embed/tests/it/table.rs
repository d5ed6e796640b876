//! Small tables made here, whole and damaged.

use std::borrow::Cow;

use dvse_embed::{EmbedError, Embedder, StaticEmbedder};

/// A table with the byte tokens, a blank and a few letters, written independently of the script that makes real ones.
struct TableFile {
    dim: u32,
    pieces: Vec<String>,
    merges: Vec<[u16; 3]>,
    rows: Vec<i8>,
}

impl TableFile {
    fn small() -> TableFile {
        let mut pieces: Vec<String> = (0..=255).map(|byte| format!("<0x{byte:02X}>")).collect();
        pieces.extend(["\u{2581}", "a", "b", "\u{2581}a", "\u{2581}ab"].map(str::to_owned));
        // blank=256 a=257 b=258 blank-a=259 blank-ab=260
        let merges = vec![[256, 257, 259], [259, 258, 260]];
        let mut rows = vec![1; 2 * pieces.len()];
        rows[2 * 260..].copy_from_slice(&[3, 4]);
        rows[2 * 258..2 * 259].copy_from_slice(&[-1, -1]);
        TableFile { dim: 2, pieces, merges, rows }
    }

    fn bytes(&self) -> Vec<u8> {
        let mut body = Vec::new();
        self.pieces.iter().for_each(|_| body.extend(0.5_f32.to_le_bytes()));
        body.extend(self.rows.iter().map(|value| value.cast_unsigned()));
        body.extend(self.pieces.iter().map(|piece| u8::try_from(piece.len()).unwrap()));
        self.pieces.iter().for_each(|piece| body.extend(piece.as_bytes()));
        self.merges.iter().flatten().for_each(|id| body.extend(id.to_le_bytes()));

        let mut file = b"DVSESET1".to_vec();
        let piece_bytes: usize = self.pieces.iter().map(String::len).sum();
        let numbers = [1, self.dim, self.pieces.len() as u32, self.merges.len() as u32, piece_bytes as u32];
        numbers.iter().for_each(|number| file.extend(number.to_le_bytes()));
        file.extend(crc32(&body).to_le_bytes());
        file.extend([0xAB; 32]);
        file.extend(padded("tiny", 48));
        file.extend(padded("1", 12));
        file.extend(crc32(&file).to_le_bytes());
        file.extend(body);
        file
    }
}

fn padded(text: &str, len: usize) -> Vec<u8> {
    let mut bytes = text.as_bytes().to_vec();
    bytes.resize(len, 0);
    bytes
}

fn crc32(bytes: &[u8]) -> u32 {
    let mut crc = flate2::Crc::new();
    crc.update(bytes);
    crc.sum()
}

fn open(bytes: Vec<u8>) -> Result<StaticEmbedder, EmbedError> {
    StaticEmbedder::from_bytes(Cow::Owned(bytes))
}

fn refusal(table: &TableFile) -> String {
    open(table.bytes()).err().unwrap().to_string()
}

#[test]
fn a_table_of_ones_own_embeds() {
    let embedder = open(TableFile::small().bytes()).unwrap();
    assert_eq!(embedder.tokens("ab b"), [260, 256, 258]);
    assert_eq!(embedder.embed(&["ab"]).unwrap(), [[0.6, 0.8]]);
    assert_eq!(embedder.model().to_string(), "tiny@1");
    assert_eq!(embedder.model().hash, "ab".repeat(32));
}

#[test]
fn token_vectors_that_cancel_out_are_an_error() {
    let embedder = open(TableFile::small().bytes()).unwrap();
    // A blank is (1, 1) and "b" is (-1, -1).
    assert_eq!(embedder.embed(&["ab", "b"]), Err(EmbedError::NoDirection { index: 1 }));
}

#[test]
fn each_flipped_byte_and_each_cut_is_refused() {
    let good = TableFile::small().bytes();
    for at in 0..good.len() {
        let mut bytes = good.clone();
        bytes[at] ^= 0x10;
        assert!(open(bytes).is_err(), "flipped byte {at} was not noticed");
    }
    for len in 0..good.len() {
        assert!(open(good[..len].to_vec()).is_err(), "a table cut to {len} bytes was taken");
    }
}

#[test]
fn tables_with_right_checksums_but_wrong_contents_are_refused() {
    let mut table = TableFile::small();
    table.merges.push([300, 0, 0]);
    assert!(refusal(&table).contains("merge rule token is 300, expected 260"), "{}", refusal(&table));

    let mut table = TableFile::small();
    table.pieces[10] = "gone".to_owned();
    assert!(refusal(&table).contains("byte tokens"), "{}", refusal(&table));

    let mut table = TableFile::small();
    table.pieces[260] = "a\u{2581}b".to_owned();
    assert!(refusal(&table).contains("U+2581"), "{}", refusal(&table));

    let mut table = TableFile::small();
    table.dim = 0;
    assert!(refusal(&table).contains("dim is 0"), "{}", refusal(&table));

    let mut table = TableFile::small();
    table.dim = 60_000;
    assert!(refusal(&table).contains("file length"), "{}", refusal(&table));
}
