//! The only place with unsafe code in this crate: mapping a file, and letting go of parts of a map.
#![expect(unsafe_code, reason = "mapping a file is a promise about other processes that no type can make")]

use std::fs::File;
use std::io;

use memmap2::Mmap;
#[cfg(unix)]
use memmap2::UncheckedAdvice;

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

/// Gives the pages of a range back to the system; reading them again finds the same bytes. A hint: failures have no
/// consequence.
pub(crate) fn forget(map: &Mmap, start: usize, len: usize) {
    #[cfg(unix)]
    if len > 0 {
        // SAFETY: what makes this advice unchecked is that pages of memory that belongs to no file become zeros, and that
        // changes which were not written are lost. This map is of a file and read-only, so its pages come back from the
        // file, which does not change while it is mapped (see above).
        drop(unsafe { map.unchecked_advise_range(UncheckedAdvice::DontNeed, start, len) });
    }
    #[cfg(not(unix))]
    let _ = (map, start, len);
}
