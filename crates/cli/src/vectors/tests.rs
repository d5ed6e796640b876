//! Files of every format, whole and damaged, written byte by byte here.

use std::io::Write;
use std::path::PathBuf;

use flate2::Compression;
use flate2::write::GzEncoder;
use tempfile::TempDir;

use super::npy::{NpyHeader, parse_npy_header};
use super::{ByteOrder, Element, HeaderError, ReadVectorsError, VectorFile};

struct Folder(TempDir);

impl Folder {
    fn new() -> Folder {
        Folder(TempDir::new().unwrap())
    }

    fn write(&self, name: &str, bytes: &[u8]) -> PathBuf {
        let path = self.0.path().join(name);
        std::fs::write(&path, bytes).unwrap();
        path
    }

    fn open(&self, name: &str, bytes: &[u8]) -> Result<VectorFile, ReadVectorsError> {
        VectorFile::open(&self.write(name, bytes))
    }

    /// The error message of opening or reading, without the folder.
    fn error(&self, name: &str, bytes: &[u8]) -> String {
        let error = self.open(name, bytes).and_then(|file| file.to_f32()).err().unwrap();
        error.to_string().replace(&format!("{}/", self.0.path().display()), "")
    }
}

/// An npy file as NumPy writes it, with the header padded to a multiple of 64 bytes.
fn npy(descr: &str, fortran: bool, shape: &str, data: &[u8]) -> Vec<u8> {
    let fortran = if fortran { "True" } else { "False" };
    npy_text(1, &format!("{{'descr': '{descr}', 'fortran_order': {fortran}, 'shape': {shape}, }}"), data)
}

fn npy_text(major: u8, text: &str, data: &[u8]) -> Vec<u8> {
    let mut bytes = b"\x93NUMPY".to_vec();
    bytes.extend([major, 0]);
    let width = if major == 1 { 2 } else { 4 };
    let blanks = 63 - (bytes.len() + width + text.len()) % 64;
    let text = format!("{text}{}\n", " ".repeat(blanks));
    bytes.extend(&u32::try_from(text.len()).unwrap().to_le_bytes()[..width]);
    bytes.extend(text.as_bytes());
    bytes.extend(data);
    bytes
}

fn gz(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

fn le_f32(values: &[f32]) -> Vec<u8> {
    values.iter().flat_map(|value| value.to_le_bytes()).collect()
}

fn records(rows: &[&[u8]], element_size: usize) -> Vec<u8> {
    rows.iter().flat_map(|row| [&((row.len() / element_size) as i32).to_le_bytes(), *row].concat()).collect()
}

const SIX: [f32; 6] = [1.0, -2.5, 3.0, 4.0, 0.0, 65_504.0];

#[test]
fn npy_files_of_every_type_and_version_are_read() {
    let folder = Folder::new();
    let small = [1_i8, 2, 3, 4, 5, 127];
    let expected: Vec<f32> = small.iter().map(|x| f32::from(*x)).collect();
    macro_rules! integers {
        ($($name:literal $type:ty;)*) => {$(
            for (order, data) in [
                ("<", small.iter().flat_map(|x| (*x as $type).to_le_bytes()).collect::<Vec<u8>>()),
                (">", small.iter().flat_map(|x| (*x as $type).to_be_bytes()).collect()),
            ] {
                let file = folder.open("a.npy", &npy(&format!("{order}{}", $name), false, "(2, 3)", &data)).unwrap();
                let matrix = file.to_f32().unwrap();
                assert_eq!((matrix.rows, matrix.dim), (2, 3));
                assert_eq!(matrix.data, expected, "{order}{}", $name);
            }
        )*};
    }
    integers! { "i1" i8; "u1" u8; "i2" i16; "u2" u16; "i4" i32; "u4" u32; "i8" i64; "u8" u64; "f4" f32; "f8" f64; }

    let halves: Vec<u8> = SIX.iter().flat_map(|x| half::f16::from_f32(*x).to_le_bytes()).collect();
    let file = folder.open("half.npy", &npy("<f2", false, "(3, 2)", &halves)).unwrap();
    assert_eq!(file.element(), Element::F16);
    assert_eq!(file.to_f32().unwrap().data, SIX);

    let text = "{'descr': '<f4', 'fortran_order': False, 'shape': (3, 2)}";
    for major in [1, 2, 3] {
        let file = folder.open("v.npy", &npy_text(major, text, &le_f32(&SIX))).unwrap();
        assert_eq!(file.to_f32().unwrap().data, SIX, "version {major}");
    }
}

#[test]
fn the_mark_counts_more_than_a_foreign_name() {
    let folder = Folder::new();
    let file = folder.open("vectors.bin", &npy("<f4", false, "(3, 2)", &le_f32(&SIX))).unwrap();
    assert_eq!(file.to_f32().unwrap().data, SIX);
}

#[test]
fn record_files_are_read() {
    let folder = Folder::new();
    let rows = [le_f32(&SIX[..3]), le_f32(&SIX[3..])];
    let bytes = records(&[&rows[0], &rows[1]], 4);
    for name in ["base.fvecs", "BASE.FVECS"] {
        let file = folder.open(name, &bytes).unwrap();
        assert_eq!((file.rows(), file.dim(), file.element()), (2, 3, Element::F32));
        assert_eq!(file.to_f32().unwrap().data, SIX);
    }
    let file = folder.open("base.bvecs", &records(&[&[1, 2], &[3, 255], &[0, 9]], 1)).unwrap();
    assert_eq!(file.to_f32().unwrap().data, [1.0, 2.0, 3.0, 255.0, 0.0, 9.0]);
    let ids: Vec<u8> = [7_i32, 0, 2_000_000_000].iter().flat_map(|id| id.to_le_bytes()).collect();
    let file = folder.open("truth.ivecs", &records(&[&ids, &ids], 4)).unwrap();
    assert_eq!(file.to_ids().unwrap(), vec![vec![7, 0, 2_000_000_000]; 2]);
}

#[test]
fn images_are_flattened_and_gzip_is_unpacked() {
    let folder = Folder::new();
    let mut idx = vec![0, 0, 8, 3];
    for length in [2_u32, 2, 3] {
        idx.extend(length.to_be_bytes());
    }
    idx.extend(1..=12);
    for (name, bytes) in [("t10k-images-idx3-ubyte", idx.clone()), ("images.idx.gz", gz(&idx))] {
        let file = folder.open(name, &bytes).unwrap();
        assert_eq!((file.rows(), file.dim()), (2, 6));
        let expected: Vec<f32> = (1..=12_u8).map(f32::from).collect();
        assert_eq!(file.to_f32().unwrap().data, expected, "{name}");
    }
    let mut floats = vec![0, 0, 0x0d, 2, 0, 0, 0, 3, 0, 0, 0, 2];
    floats.extend(SIX.iter().flat_map(|x| x.to_be_bytes()));
    assert_eq!(folder.open("floats.idx", &floats).unwrap().to_f32().unwrap().data, SIX);

    let packed = gz(&npy("<f4", false, "(3, 2)", &le_f32(&SIX)));
    assert_eq!(folder.open("a.npy.gz", &packed).unwrap().to_f32().unwrap().data, SIX);
    let packed = gz(&records(&[&le_f32(&SIX)], 4));
    assert_eq!(folder.open("a.fvecs.gz", &packed).unwrap().to_f32().unwrap().data, SIX);
}

#[test]
fn ranges_of_rows_are_the_rows_of_the_whole() {
    let folder = Folder::new();
    // Rows that do not divide the chunk they are read in, and more than one chunk of them.
    let (rows, dim) = (3_000, 131);
    let values: Vec<f32> = (0..rows * dim).map(|i| i as f32).collect();
    let as_records: Vec<u8> = values
        .chunks(dim)
        .flat_map(|row| [(dim as i32).to_le_bytes().to_vec(), le_f32(row)].concat())
        .collect();
    let files = [
        folder.open("a.npy", &npy("<f4", false, &format!("({rows}, {dim})"), &le_f32(&values))).unwrap(),
        folder.open("a.fvecs", &as_records).unwrap(),
        folder.open("b.fvecs.gz", &gz(&as_records)).unwrap(),
    ];
    for file in files {
        assert_eq!(file.to_f32().unwrap().data, values);
        let mut out = vec![9.0; 5];
        for range in [0..0, 0..1, 17..2_999, 2_001..3_000, 3_000..3_000] {
            file.read_rows_f32(range.clone(), &mut out).unwrap();
            assert_eq!(out, values[range.start * dim..range.end * dim], "{range:?}");
        }
        #[expect(clippy::reversed_empty_ranges, reason = "a caller's mistake must be an error")]
        for range in [0..3_001, 2..1, usize::MAX..usize::MAX] {
            let error = file.read_rows_f32(range, &mut out).unwrap_err();
            assert!(matches!(error, ReadVectorsError::NoSuchRows { rows: 3_000, .. }), "{error}");
        }
    }
}

#[test]
fn truth_must_be_row_numbers() {
    let folder = Folder::new();
    let ids: Vec<u8> = [5_i64, 4_294_967_295, 0, 1].iter().flat_map(|id| id.to_le_bytes()).collect();
    let file = folder.open("truth.npy", &npy("<i8", false, "(2, 2)", &ids)).unwrap();
    assert_eq!(file.to_ids().unwrap(), [[5, u32::MAX], [0, 1]]);

    for (value, name) in [(-1_i64, "-1"), (1 << 32, "4294967296")] {
        let ids: Vec<u8> = [0, 1, value, 1].iter().flat_map(|id| id.to_le_bytes()).collect();
        let file = folder.open("truth.npy", &npy("<i8", false, "(2, 2)", &ids)).unwrap();
        let error = file.to_ids().unwrap_err().to_string();
        assert!(error.contains(&format!("row 1, column 0 is {name}")), "{error}");
    }
    let file = folder.open("truth.npy", &npy("<f4", false, "(3, 2)", &le_f32(&SIX))).unwrap();
    let error = file.to_ids().unwrap_err();
    assert!(matches!(error, ReadVectorsError::NotIntegers { element: Element::F32, .. }), "{error}");
}

#[test]
fn numbers_that_no_vector_can_hold_are_named() {
    let folder = Folder::new();
    for (value, name) in [(f64::NAN, "NaN"), (f64::INFINITY, "inf"), (-1e300, "-inf")] {
        let data: Vec<u8> = [0.0, 1.0, 2.0, value].iter().flat_map(|x| x.to_le_bytes()).collect();
        let error = folder.error("a.npy", &npy("<f8", false, "(2, 2)", &data));
        assert_eq!(
            error,
            format!("a.npy: row 1, column 1 is {name}: vectors must be finite float32 numbers")
        );
    }
}

#[test]
fn sizes_that_do_not_add_up_are_refused_before_memory_is_taken() {
    let folder = Folder::new();
    let data = le_f32(&SIX);
    let cases = [
        ("<f4", "(4, 2)", "4 rows of 2 float32 need 32 bytes from byte 128 on, but there are 24"),
        ("<f4", "(2, 2)", "2 rows of 2 float32 need 16 bytes"),
        ("<f8", "(3, 2)", "3 rows of 2 float64 need 48 bytes"),
        ("<f4", "(18446744073709551615, 2)", "need 18446744073709551615 bytes"),
        ("<f4", "(4000000000, 1000)", "4000000000 rows of 1000 float32 need 16000000000000 bytes"),
    ];
    for (descr, shape, expected) in cases {
        let error = folder.error("a.npy", &npy(descr, false, shape, &data));
        assert!(
            error.contains(expected) && error.contains("the file is cut off or its header is wrong"),
            "{error}"
        );
    }
    let two = records(&[&le_f32(&SIX[..3]), &le_f32(&SIX[3..])], 4);
    let error = folder.error("a.fvecs", &two[..two.len() - 1]);
    assert!(error.contains("31 bytes are no whole number of records of 16 bytes (dim 3"), "{error}");
    let mut uneven = two.clone();
    uneven[16] = 2;
    assert!(folder.error("a.fvecs", &uneven).contains("row 1 at byte 16 has dim 2, expected 3 as in row 0"));
    for (dim, text) in [(0_i32, "0"), (-5, "-5"), (i32::MAX, "2147483647")] {
        let mut bytes = two.clone();
        bytes[..4].copy_from_slice(&dim.to_le_bytes());
        let error = folder.error("a.fvecs", &bytes);
        assert!(
            error.contains(&format!("the first record claims {text} numbers, expected 1 to 1048576")),
            "{error}"
        );
    }
}

#[test]
fn a_file_that_shrinks_after_opening_is_an_error() {
    let folder = Folder::new();
    let file = folder.open("a.npy", &npy("<f4", false, "(3, 2)", &le_f32(&SIX))).unwrap();
    folder.write("a.npy", b"short");
    assert!(matches!(file.to_f32(), Err(ReadVectorsError::Read { .. })));
}

#[test]
fn shapes_that_are_no_matrix_are_refused() {
    let folder = Folder::new();
    let cases = [
        ("()", "0 dimension(s), expected 2 to 32"),
        ("(6,)", "1 dimension(s), expected 2 to 32"),
        ("(6, 0)", "a row would hold 0 numbers, expected 1 to 1048576"),
        ("(0, 4000000000, 4000000000, 4000000000)", "a row would hold 18446744073709551615 numbers"),
        ("(1, 1048577)", "a row would hold 1048577 numbers"),
    ];
    for (shape, expected) in cases {
        let error = folder.error("a.npy", &npy("<f4", false, shape, &le_f32(&SIX)));
        assert!(error.contains(expected), "{shape}: {error}");
    }
    let empty = folder.open("a.npy", &npy("<f4", false, "(0, 128)", &[])).unwrap();
    assert_eq!((empty.rows(), empty.dim(), empty.to_f32().unwrap().data.len()), (0, 128, 0));
}

#[test]
fn files_in_no_known_format_are_refused() {
    let folder = Folder::new();
    for (name, bytes) in [("a.hdf5", &b"\x89HDF\r\n\x1a\n"[..]), ("a.txt", b""), ("noname", b"\0\0\x07\x02")]
    {
        let error = folder.error(name, bytes);
        assert!(error.starts_with(&format!("{name} is in no known format: expected .npy")), "{error}");
    }
    for (name, expected) in [
        ("a.npy", "the header needs 8 bytes, but there are 0"),
        ("a.idx", "the file does not start with the magic bytes of idx"),
        ("a.fvecs", "the header needs 4 bytes, but there are 0"),
    ] {
        assert_eq!(folder.error(name, b""), format!("{name}: {expected}"));
    }
    assert!(folder.error("a.idx", b"\0\0\x07\x02").contains("idx type code is 0x07"));
    assert!(
        folder
            .error("a.idx", &[0, 0, 8, 9, 1, 1, 1, 1])
            .contains("the header needs 40 bytes, but there are 8")
    );
    assert!(matches!(
        VectorFile::open(&folder.0.path().join("none.npy")),
        Err(ReadVectorsError::Open { .. })
    ));
}

#[test]
fn broken_and_oversized_gzip_is_refused() {
    let folder = Folder::new();
    let packed = gz(&npy("<f4", false, "(3, 2)", &le_f32(&SIX)));
    for len in 2..packed.len() {
        let error = folder.open("a.npy.gz", &packed[..len]).err().unwrap();
        assert!(matches!(error, ReadVectorsError::Read { .. }), "cut to {len}: {error}");
    }
    let path = folder.write("zeros.npy.gz", &gz(&vec![0; 1 << 20]));
    let error = VectorFile::open_with_limit(&path, 1 << 19).err().unwrap();
    assert!(
        error.to_string().ends_with("unpacks to more than 524288 bytes: unpack it with gunzip first"),
        "{error}"
    );
}

fn header(text: &str) -> Result<NpyHeader, HeaderError> {
    parse_npy_header(&npy_text(1, text, &[]))
}

#[test]
fn npy_headers_are_taken_in_any_python_spelling() {
    for text in [
        "{'descr': '<f4', 'fortran_order': False, 'shape': (3, 2), }",
        "{\"shape\":(3,2,),\"fortran_order\":False,\"descr\":\"<f4\"}",
        "  { 'fortran_order' : False ,\n'shape' : ( 3L , 2L ) , 'descr' : '<f4' }  ",
    ] {
        let bytes = npy_text(1, text, &[]);
        let expected = NpyHeader {
            element: Element::F32,
            order: ByteOrder::Little,
            shape: vec![3, 2],
            data_at: bytes.len(),
        };
        assert_eq!(parse_npy_header(&bytes), Ok(expected), "{text}");
    }
}

#[test]
fn npy_headers_that_are_wrong_say_where() {
    let cases = [
        ("", "the npy header has its end at byte 64, expected '{'"),
        ("[1]", "the npy header has '[' at byte 10, expected '{'"),
        ("{}", "the npy header has no key 'descr'"),
        ("{'descr': '<f4'}", "the npy header has no key 'fortran_order'"),
        ("{'descr': '<f4', 'fortran_order': False}", "the npy header has no key 'shape'"),
        ("{'descr': '<f4', 'x': 1}", "the npy header has '\\'' at byte 27, expected one of the keys"),
        ("{'descr' '<f4'}", "the npy header has '\\'' at byte 19, expected ':'"),
        ("{'descr: 1", "expected a string that ends"),
        ("{'fortran_order': 0}", "the npy header has '0' at byte 28, expected True or False"),
        ("{'shape': (-1,)}", "the npy header has '-' at byte 21, expected a length"),
        ("{'shape': (99999999999999999999,)}", "expected a length from 0 to 18446744073709551615"),
        ("{'shape': (1 2)}", "the npy header has '2' at byte 23, expected ',' or ')'"),
        ("{'shape': (1,)} x", "expected nothing but blanks after '}'"),
        ("{'descr': [('a', '<f4')]}", "the npy array has dtype a structure of fields"),
        ("{'descr': '<c8'}", "the npy array has dtype '<c8'"),
        ("{'descr': '|f4'}", "the npy array has dtype '|f4'"),
        ("{'descr': ''}", "the npy array has dtype ''"),
        ("{'descr': '|O'}", "save it with .astype('float32')"),
        (
            "{'descr': '<f4', 'fortran_order': True, 'shape': (3, 2)}",
            "save numpy.ascontiguousarray(array) instead",
        ),
    ];
    for (text, expected) in cases {
        let error = header(text).unwrap_err().to_string();
        assert!(error.contains(expected), "{text:?}: {error}");
    }
    let many = format!("{{'shape': ({})}}", "1,".repeat(5_000));
    assert_eq!(header(&many), Err(HeaderError::Dimensions { got: 33 }));
}

#[test]
fn npy_headers_cut_anywhere_or_of_unknown_version_are_refused() {
    let whole = npy("<f4", false, "(3, 2)", &[]);
    assert!(parse_npy_header(&whole).is_ok());
    for len in 0..whole.len() {
        let error = parse_npy_header(&whole[..len]).unwrap_err();
        assert!(matches!(error, HeaderError::Short { .. }), "cut to {len}: {error}");
    }
    let version = |major, minor| parse_npy_header(&[&b"\x93NUMPY"[..], &[major, minor], &[0; 16]].concat());
    for (major, minor) in [(0, 0), (4, 0), (1, 1), (255, 255)] {
        assert_eq!(version(major, minor), Err(HeaderError::NpyVersion { major, minor }));
    }
    let huge = [&b"\x93NUMPY\x02\x00"[..], &u32::MAX.to_le_bytes()].concat();
    assert_eq!(
        parse_npy_header(&huge),
        Err(HeaderError::NpyHeaderLength { got: 4_294_967_295, limit: 65_536 })
    );
    assert_eq!(parse_npy_header(b"PK\x03\x04....."), Err(HeaderError::Magic { format: "npy" }));
}

/// Not a fuzzer, but every flipped bit of a good header is either refused or still a header.
#[test]
fn flipped_bits_in_a_header_never_panic() {
    let whole = npy("<f4", false, "(3, 2)", &[]);
    let mut refused = 0;
    for bit in 0..8 * whole.len() {
        let mut bytes = whole.clone();
        bytes[bit / 8] ^= 1 << (bit % 8);
        refused += usize::from(parse_npy_header(&bytes).is_err());
    }
    assert!(refused > whole.len(), "only {refused} flips were noticed");
}
