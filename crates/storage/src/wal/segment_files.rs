//! The files of the log: writing to the last one, beginning the next, removing old and cut ones.

use std::sync::Arc;

use dvse_types::SeqNo;

use super::format::{
    FILE_HEADER_BYTES, RECORD_HEADER_BYTES, RecordHeader, RecordKind, encode_file_header, file_name,
};
use super::recovery::LogFile;
use super::scanner::{Scanner, Step};
use super::{CommitFailure, Wal, WalError};
use crate::checked_file::TEMPORARY_SUFFIX;
use crate::directory::{Directory, DirectoryError, FileHandle};
use crate::error::StorageErrorKind;
use crate::gather::GatherBuf;

/// The file that records are appended to.
#[derive(Debug)]
pub(super) struct ActiveFile {
    pub file: Arc<dyn FileHandle>,
    /// Number of its first record.
    pub first: SeqNo,
}

impl ActiveFile {
    /// Writes a batch at `start`, the end of what is valid, and syncs it.
    ///
    /// If there is no space, what was written of it is cut off again and the file is as before, without its reserved
    /// space.
    pub(super) fn write(&self, start: u64, bytes: &GatherBuf) -> Result<(), CommitFailure> {
        let written = match bytes.is_contiguous() {
            true => self.file.write_at(start, bytes.copies()),
            false => self.file.write_vectored_at(start, &mut bytes.io_slices()),
        };
        match written {
            Ok(()) => self.file.sync_data().map_err(CommitFailure::Unknown),
            Err(source) if source.kind() == StorageErrorKind::Full => {
                self.file.set_len(start).map_err(CommitFailure::Unknown)?;
                self.file.sync_data().map_err(CommitFailure::Unknown)?;
                Err(CommitFailure::Clean(source))
            }
            Err(source) => Err(CommitFailure::Unknown(source)),
        }
    }

    /// Leaves a mark behind the last record and cuts the reserved space.
    pub(super) fn finish(&self, end: u64, last: SeqNo, stream: u32) -> Result<(), DirectoryError> {
        let mark = RecordHeader {
            body_bytes: 0,
            body_crc: 0,
            stream,
            kind: RecordKind::Mark,
            seq: last.0,
            batch_start: end,
        };
        let mut bytes = [0; RECORD_HEADER_BYTES as usize];
        mark.encode(&mut bytes, self.first.0, end);
        self.file.write_at(end, &bytes)?;
        self.file.set_len(end + RECORD_HEADER_BYTES)?;
        self.file.sync_data()
    }
}

/// Makes the file whose first record will be `first`, `bytes` long, and closes the one before it at `end`.
///
/// The new file is complete and synced before it gets its name, and it gets its name only after the old one was cut to
/// its records and synced: so a file that has a name has a header, and a file that has a successor is complete.
pub(super) fn begin(
    dir: &dyn Directory,
    old: Option<&ActiveFile>,
    end: u64,
    first: SeqNo,
    bytes: u64,
) -> Result<Arc<dyn FileHandle>, CommitFailure> {
    let name = file_name(first);
    let temporary = format!("{name}{TEMPORARY_SUFFIX}");
    // Nothing is touched yet when the file cannot be made, as for want of file handles.
    let file = dir.create(&temporary).map_err(CommitFailure::Clean)?;
    if let Err(source) = prepare(&*file, first, bytes) {
        // The name was never published, so nothing is lost whether or not this removal works.
        drop(dir.remove(&temporary));
        return Err(CommitFailure::before_write(source));
    }
    if let Some(old) = old {
        old.file.set_len(end).map_err(CommitFailure::Unknown)?;
        old.file.sync_data().map_err(CommitFailure::Unknown)?;
    }
    dir.rename(&temporary, &name).map_err(CommitFailure::Unknown)?;
    dir.sync_dir().map_err(CommitFailure::Unknown)?;
    Ok(file)
}

fn prepare(file: &dyn FileHandle, first: SeqNo, bytes: u64) -> Result<(), DirectoryError> {
    file.allocate(bytes)?;
    file.write_at(0, &encode_file_header(first))?;
    file.sync_data()
}

impl Wal {
    /// Removes the files whose records all have numbers below `seq`. The last file always stays.
    ///
    /// # Errors
    /// [`WalError::Io`] if a file cannot be removed; the log goes on with the rest.
    pub fn purge_before(&self, seq: SeqNo) -> Result<(), WalError> {
        let mut state = self.state.lock();
        loop {
            self.check_writable(&state)?;
            if state.leading {
                self.changed.wait(&mut state);
                continue;
            }
            // The numbers of a file end where the next file begins.
            let Some(oldest) = state.files.first().map(|file| file.first) else { return Ok(()) };
            if state.files.get(1).is_none_or(|next| next.first > seq) {
                return Ok(());
            }
            // From the old end, each one durably before the next: a crash leaves no gap.
            self.lead(&mut state, || {
                self.dir.remove(&file_name(oldest))?;
                self.dir.sync_dir()
            })?;
            state.files.remove(0);
        }
    }

    /// Removes all records with numbers above `seq`, synced or not. The next record appended is `seq + 1`; if none is
    /// left, the log is empty and takes any number.
    ///
    /// # Errors
    /// [`WalError::Io`] if a file cannot be cut or removed; the log is poisoned then.
    pub fn truncate_after(&self, seq: SeqNo) -> Result<(), WalError> {
        let mut state = self.state.lock();
        loop {
            self.check_writable(&state)?;
            if seq >= state.appended {
                return Ok(());
            }
            if state.leading {
                self.changed.wait(&mut state);
            } else if !state.pending.is_empty() {
                self.commit(&mut state)?;
            } else {
                break;
            }
        }
        // From here to the end nobody appends: there is no room in a file that is about to go.
        state.allocated = 0;
        let files = state.files.clone();
        let segment_bytes = self.options.segment_bytes;
        let dir = &*self.dir;
        match self.lead(&mut state, || cut_after(dir, files, seq, segment_bytes)) {
            Ok(cut) => {
                state.appended = if cut.files.is_empty() { SeqNo(0) } else { seq };
                state.durable = state.appended;
                state.allocated = cut.allocated;
                state.active = cut.active.map(Arc::new);
                state.files = cut.files;
                if state.files.is_empty() {
                    state.stream = None;
                }
                Ok(())
            }
            Err(WalError::Io { source } | WalError::Full { source }) => Err(state.poison(source)),
            Err(damaged) => {
                state.poison = Some(damaged.to_string().into());
                Err(damaged)
            }
        }
    }
}

/// The files that are left after a cut.
struct CutFiles {
    files: Vec<LogFile>,
    active: Option<ActiveFile>,
    allocated: u64,
}

fn cut_after(
    dir: &dyn Directory,
    mut files: Vec<LogFile>,
    seq: SeqNo,
    segment_bytes: u64,
) -> Result<CutFiles, WalError> {
    // From the new end, each one durably before the next: a crash leaves a log that ends earlier, without a gap.
    while let Some(newest) = files.last().map(|file| file.first)
        && newest > seq
    {
        dir.remove(&file_name(newest))?;
        dir.sync_dir()?;
        files.pop();
    }
    let Some(newest) = files.last_mut() else {
        return Ok(CutFiles { files, active: None, allocated: 0 });
    };
    let file = dir.open(&file_name(newest.first))?;
    let end = offset_after(&file, newest, seq)?;
    file.set_len(end)?;
    file.sync_data()?;
    newest.cut(end);
    let mut allocated = end;
    match file.allocate(segment_bytes.max(FILE_HEADER_BYTES)) {
        Ok(()) => allocated = allocated.max(segment_bytes),
        // The next append will ask again and say so.
        Err(error) if error.kind() == StorageErrorKind::Full => {}
        Err(error) => return Err(error.into()),
    }
    let active = Some(ActiveFile { file, first: newest.first });
    Ok(CutFiles { files, active, allocated })
}

/// Returns where the record `seq` of a file ends.
fn offset_after(file: &Arc<dyn FileHandle>, place: &LogFile, seq: SeqNo) -> Result<u64, WalError> {
    let mut scanner = Scanner::new(Arc::clone(file), place.first.0, place.end, None);
    scanner.go_to(place.place_before(seq));
    while scanner.expected <= seq.0 {
        match scanner.step()? {
            Step::Record(header) => scanner.pass(&header),
            Step::End => break,
            Step::Fault(what) => return Err(scanner.damaged(scanner.offset, what)),
        }
    }
    Ok(scanner.offset)
}
