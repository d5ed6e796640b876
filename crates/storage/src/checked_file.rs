//! Small files that are replaced as a whole, with a header and a checksum around their body.
//!
//! ```text
//! offset  bytes
//!      0      8  magic, says what kind of file it is
//!      8      4  version, 1
//!     12      4  zero
//!     16      8  number: generation of a manifest, 0 otherwise
//!     24      8  bytes of the body
//!     32      4  crc32c of the body
//!     36      4  crc32c of the 36 bytes before
//!     40      …  body
//! ```

use std::path::{Path, PathBuf};

use thiserror::Error;

use crate::codec::{put, u32_at, u64_at};
use crate::directory::{Directory, DirectoryError};
use crate::error::StorageErrorKind;

/// Largest body of a small file, in bytes: 256 MiB.
pub const FILE_BODY_BYTES_MAX: u64 = 256 << 20;

/// End of the names of files that are being written. What carries it was never finished.
pub(crate) const TEMPORARY_SUFFIX: &str = ".tmp";

const HEADER_BYTES: usize = 40;
const VERSION: u32 = 1;
const MAGIC: [u8; 8] = *b"DVSEFIL1";

/// A small file cannot be read or written.
#[derive(Debug, Error)]
pub enum CheckedFileError {
    /// The file does not hold what was written.
    #[error("{path} is damaged at offset {offset}: {what}", path = path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// Byte offset of the damage, or of the part that contains it.
        offset: u64,
        /// What is wrong.
        what: FileDamage,
    },
    /// The body is too large for a small file.
    #[error("a body of {bytes} bytes is larger than the limit of {FILE_BODY_BYTES_MAX}")]
    TooLarge {
        /// Size of the body.
        bytes: u64,
    },
    /// The directory refused.
    #[error(transparent)]
    Directory(#[from] DirectoryError),
}

/// What is wrong with a small file.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum FileDamage {
    /// The file ends inside its header.
    #[error("the file ends inside its header")]
    Short,
    /// The header is not that of such a file, or fails its checksum.
    #[error("the header is not valid")]
    Header,
    /// The file is of a version this build does not read.
    #[error("format version {found} is not supported, this build reads up to {supported}")]
    Version {
        /// Version in the file.
        found: u32,
        /// Newest version this build reads.
        supported: u32,
    },
    /// The number in the header is not the expected one.
    #[error("the header carries number {found}, expected {expected}")]
    Number {
        /// Number expected, from the name.
        expected: u64,
        /// Number in the header.
        found: u64,
    },
    /// The length of the file is not that of header and body.
    #[error("the body should have {expected} bytes, the file has {found}")]
    Length {
        /// Size as the header says.
        expected: u64,
        /// Size as the file says.
        found: u64,
    },
    /// The body fails its checksum.
    #[error("the body fails its checksum")]
    Body,
}

impl CheckedFileError {
    /// Returns the kind.
    #[must_use]
    pub fn kind(&self) -> StorageErrorKind {
        match self {
            CheckedFileError::Damaged { .. } => StorageErrorKind::Corrupt,
            CheckedFileError::TooLarge { .. } => StorageErrorKind::Invalid,
            CheckedFileError::Directory(error) => error.kind(),
        }
    }
}

/// Puts a small file in the place of the one of this name, if there is one. When it returns, the new one is durable;
/// after a crash in between, one of the two is there, whole.
///
/// # Errors
/// [`CheckedFileError::TooLarge`] above [`FILE_BODY_BYTES_MAX`]; [`CheckedFileError::Directory`] if writing failed: the
/// old file is then still there, unless the failure came so late that it is unknown which of the two is durable.
pub fn write_atomic(dir: &dyn Directory, name: &str, body: &[u8]) -> Result<(), CheckedFileError> {
    prepare(dir, name, MAGIC, 0, body)?;
    publish(dir, name)?;
    Ok(())
}

/// Reads a file that [`write_atomic`] wrote; `None` if there is none.
///
/// # Errors
/// [`CheckedFileError::Damaged`] if it does not hold what was written.
pub fn read_checked(dir: &dyn Directory, name: &str) -> Result<Option<Vec<u8>>, CheckedFileError> {
    match read(dir, name, MAGIC, 0) {
        Err(CheckedFileError::Directory(error)) if error.is_not_found() => Ok(None),
        read => read.map(Some),
    }
}

/// Removes what an interrupted write left behind: every file whose name ends in `.tmp`. For the owner of a directory,
/// when it opens it.
///
/// # Errors
/// [`DirectoryError`] if the directory cannot be listed or a file cannot be removed.
pub fn remove_temporaries(dir: &dyn Directory) -> Result<(), DirectoryError> {
    for entry in dir.list()? {
        if !entry.is_dir && entry.name.ends_with(TEMPORARY_SUFFIX) {
            dir.remove(&entry.name)?;
        }
    }
    Ok(())
}

/// Writes and syncs the file under its temporary name; removes it again if that fails.
pub(crate) fn prepare(
    dir: &dyn Directory,
    name: &str,
    magic: [u8; 8],
    number: u64,
    body: &[u8],
) -> Result<(), CheckedFileError> {
    let bytes = body.len() as u64;
    if bytes > FILE_BODY_BYTES_MAX {
        return Err(CheckedFileError::TooLarge { bytes });
    }
    let mut header = [0; HEADER_BYTES];
    put(&mut header, 0, &magic);
    put(&mut header, 8, &VERSION.to_le_bytes());
    put(&mut header, 16, &number.to_le_bytes());
    put(&mut header, 24, &bytes.to_le_bytes());
    put(&mut header, 32, &crc32c::crc32c(body).to_le_bytes());
    let crc = crc32c::crc32c(&header[..36]);
    put(&mut header, 36, &crc.to_le_bytes());

    let temporary = temporary_name(name);
    let write = || {
        let file = dir.create(&temporary)?;
        file.write_at(0, &header)?;
        file.write_at(HEADER_BYTES as u64, body)?;
        file.sync_data()
    };
    write().map_err(|error| {
        // The name was never published, so nothing is lost whether or not this removal works.
        drop(dir.remove(&temporary));
        error.into()
    })
}

/// Gives a prepared file its name, durably.
pub(crate) fn publish(dir: &dyn Directory, name: &str) -> Result<(), DirectoryError> {
    dir.rename(&temporary_name(name), name)?;
    dir.sync_dir()
}

/// Reads and checks a file and returns its body.
pub(crate) fn read(
    dir: &dyn Directory,
    name: &str,
    magic: [u8; 8],
    number: u64,
) -> Result<Vec<u8>, CheckedFileError> {
    let mut content = dir.read(name)?;
    match check(&content, magic, number) {
        Ok(()) => {
            content.drain(..HEADER_BYTES);
            Ok(content)
        }
        Err((offset, what)) => Err(damaged(dir.path(), name, offset, what)),
    }
}

fn check(content: &[u8], magic: [u8; 8], number: u64) -> Result<(), (u64, FileDamage)> {
    if content.len() < HEADER_BYTES {
        return Err((content.len() as u64, FileDamage::Short));
    }
    let (header, body) = content.split_at(HEADER_BYTES);
    if header[..8] != magic || crc32c::crc32c(&header[..36]) != u32_at(header, 36) {
        return Err((0, FileDamage::Header));
    }
    let version = u32_at(header, 8);
    if version != VERSION {
        return Err((8, FileDamage::Version { found: version, supported: VERSION }));
    }
    let found = u64_at(header, 16);
    if found != number {
        return Err((16, FileDamage::Number { expected: number, found }));
    }
    let (expected, found) = (u64_at(header, 24), body.len() as u64);
    if found != expected {
        return Err((24, FileDamage::Length { expected, found }));
    }
    if crc32c::crc32c(body) != u32_at(header, 32) {
        return Err((HEADER_BYTES as u64, FileDamage::Body));
    }
    Ok(())
}

fn damaged(dir: &Path, name: &str, offset: u64, what: FileDamage) -> CheckedFileError {
    CheckedFileError::Damaged { path: dir.join(name), offset, what }
}

fn temporary_name(name: &str) -> String {
    format!("{name}{TEMPORARY_SUFFIX}")
}
