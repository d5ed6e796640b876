//! Bytes that survive: directory, write-ahead log, section files, manifest, memory maps.
//!
//! This crate knows files and checksums. It refuses to know vectors, graphs, filters, schemas or who orders the log:
//! what it stores are bodies of bytes, and what it promises is that a body is either given back as it was written or
//! the reader is told which file is damaged and where.
//!
//! In reading order:
//!
//! - [`Directory`] is the only way to the disk. [`FsDirectory`] is the real one, [`MemDirectory`] lives in memory, and
//!   [`FaultyDirectory`] is a disk that stops, forgets, tears and fills up when told to.
//! - [`Bytes`] is a read-only file (or a part of one), mapped or in memory, cheap to clone.
//! - [`GatherBuf`] is bytes that are written together and lie in many places.
//! - [`Wal`] is the write-ahead log with group commit; see `docs/format/wal.md`. [`WalFollower`] reads one that another
//!   process writes.
//! - [`SegmentWriter`] and [`SegmentReader`] are immutable files of named sections; see `docs/format/segment.md`.
//! - [`ManifestStore`] is the one place where a new state of a directory is committed; see `docs/format/manifest.md`.
//! - [`write_atomic`] and [`read_checked`] are for small files that are replaced as a whole.
//!
//! Every error answers [`StorageErrorKind`] from its `kind()`, so that a caller can tell damage from a full disk and a
//! full disk from its own mistake.
//!
//! ```
//! use std::sync::Arc;
//! use dvse_storage::{Directory, MemDirectory, RecoveryMode, Wal, WalOptions};
//! use dvse_types::SeqNo;
//!
//! let dir: Arc<dyn Directory> = Arc::new(MemDirectory::new());
//! let (wal, recovery) = Wal::open(dir, WalOptions::default(), RecoveryMode::CutTornTail)?;
//! assert_eq!(recovery.last, SeqNo(0));
//! wal.append(0, SeqNo(1), &[b"first ", b"write"])?;
//! wal.sync_to(SeqNo(1))?;
//! let bodies: Result<Vec<_>, _> = wal.read(SeqNo(1))?.map(|record| record.map(|r| r.body)).collect();
//! assert_eq!(bodies?, vec![b"first write".to_vec()]);
//! # Ok::<(), dvse_storage::WalError>(())
//! ```

// Section files are written and viewed in the machine's own layout of little-endian numbers.
#[cfg(target_endian = "big")]
compile_error!("dvse-storage reads little-endian files in place and does not support big-endian machines");

mod bytes;
mod checked_file;
mod codec;
mod directory;
mod error;
mod gather;
mod manifest;
mod mmap;
mod segment;
mod wal;

pub use bytes::{Advice, Bytes};
pub use checked_file::{
    CheckedFileError, FILE_BODY_BYTES_MAX, FileDamage, read_checked, remove_temporaries, write_atomic,
};
pub use directory::{
    DirEntry, Directory, DirectoryError, FaultyDirectory, FileHandle, FsDirectory, LockGuard, MemDirectory,
    PacedDirectory, WritePace,
};
pub use error::{FormatError, StorageErrorKind};
pub use gather::GatherBuf;
pub use manifest::{ManifestError, ManifestStore, Published};
pub use segment::{Alignment, SectionTag, SegmentDamage, SegmentError, SegmentReader, SegmentWriter};
pub use wal::{
    Recovery, RecoveryMode, Wal, WalDamage, WalError, WalFollower, WalOptions, WalReader, WalRecord,
};
