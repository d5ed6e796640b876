//! Bytes of a vector file: read where they lie, or unpacked into memory when gzipped.

use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::FileExt;

use flate2::read::MultiGzDecoder;

/// Gzipped files are unpacked into memory up to this size.
pub(super) const UNPACK_LIMIT: u64 = 8 << 30;

/// Random access to the bytes of a file.
pub(super) enum Source {
    /// A plain file.
    File { file: File, len: u64 },
    /// An unpacked one.
    Memory(Vec<u8>),
}

impl Source {
    /// Opens `file`, unpacking it when it starts as a gzip stream does. `None` when it unpacks to more than `limit`
    /// bytes. The memory taken grows with what really comes out of the stream, never with a length that it states.
    pub(super) fn new(file: File, limit: u64) -> io::Result<Option<Source>> {
        let len = file.metadata()?.len();
        let plain = Source::File { file, len };
        if plain.first_bytes(2)? != [0x1f, 0x8b] {
            return Ok(Some(plain));
        }
        let Source::File { file, .. } = plain else { return Ok(None) };
        let mut unpacked = Vec::new();
        MultiGzDecoder::new(io::BufReader::new(file))
            .take(limit.saturating_add(1))
            .read_to_end(&mut unpacked)?;
        Ok((unpacked.len() as u64 <= limit).then_some(Source::Memory(unpacked)))
    }

    /// Number of bytes, unpacked.
    pub(super) fn len(&self) -> u64 {
        match self {
            Source::File { len, .. } => *len,
            Source::Memory(bytes) => bytes.len() as u64,
        }
    }

    /// Up to `most` bytes from the start; fewer when there are no more.
    pub(super) fn first_bytes(&self, most: usize) -> io::Result<Vec<u8>> {
        let len = usize::try_from(self.len()).map_or(most, |len| len.min(most));
        let mut bytes = vec![0; len];
        self.read_exact_at(0, &mut bytes)?;
        Ok(bytes)
    }

    /// Fills `out` with the bytes from `offset` on.
    pub(super) fn read_exact_at(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        match self {
            Source::File { file, .. } => file.read_exact_at(out, offset),
            Source::Memory(bytes) => {
                let start = usize::try_from(offset).ok();
                let found = start.and_then(|start| bytes.get(start..start.checked_add(out.len())?));
                out.copy_from_slice(found.ok_or(io::ErrorKind::UnexpectedEof)?);
                Ok(())
            }
        }
    }
}
