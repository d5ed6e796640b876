//! The only place with unsafe code in this crate: mapping a file.
#![expect(unsafe_code, reason = "mapping a file is a promise about other processes that no type can make")]

use std::fs::File;
use std::io;

use memmap2::Mmap;

/// Maps a whole file read-only. The file must not be empty.
///
/// The kernel ends the process when a page is touched that the file no longer has. This crate's answer: only files that
/// are immutable by construction are opened this way. They are written under another name, synced, renamed, and from
/// then on only ever read or unlinked (an unlinked file keeps its pages while it is mapped).
pub(crate) fn map_whole_file(file: &File) -> io::Result<Mmap> {
    // SAFETY: the map is private to this process and read-only. The bytes behind it do not change while it lives:
    // `Directory::open_bytes` is documented to be for finished files, every file this crate opens through it was
    // published by a rename after its last write, and the directory is held by a lock against a second process.
    unsafe { Mmap::map(file) }
}
