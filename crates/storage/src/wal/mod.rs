//! The write-ahead log: numbered bodies, durable when `sync_to` returns.
//!
//! # Group commit
//!
//! Appending copies a record to a buffer, or notes where its long parts are ([`GatherBuf`]). Syncing makes one caller the
//! *leader*: it takes the whole buffer, writes it with one call, syncs the file once, and tells everybody whose records were in it. Callers that come while a leader
//! is at work wait; the first of them leads the next round, for all that gathered meanwhile. So the number of syncs
//! adapts to what the disk can do, without a timer.
//!
//! Every write is followed by its sync before the next write begins. Recovery lives off this: the records of a round
//! carry the offset at which the round began, and that is a proof that everything before it had been synced.
//!
//! # Room
//!
//! The active file is preallocated, and a record is taken into the buffer only if it fits behind everything before it.
//! So a full disk shows when a file is to be made or grown, before a record is accepted, and not in the middle of one.

mod batch;
mod error;
mod follower;
mod format;
mod options;
mod reader;
mod recovery;
mod scanner;
mod segment_files;

use std::fmt;
use std::mem;
use std::sync::Arc;

use dvse_types::SeqNo;
use parking_lot::{Condvar, Mutex, MutexGuard};

pub use error::{WalDamage, WalError};
pub use follower::WalFollower;
pub use options::{Recovery, RecoveryMode, WalOptions};
pub use reader::{WalReader, WalRecord};

use self::batch::Batch;
use self::format::{FILE_HEADER_BYTES, record_span};
use self::recovery::LogFile;
use self::scanner::Waypoint;
use self::segment_files::ActiveFile;
use crate::directory::{Directory, DirectoryError};
use crate::error::StorageErrorKind;
use crate::gather::GatherBuf;

/// A write-ahead log in a directory of its own; see the module's documentation and `docs/format/wal.md`.
///
/// All methods take `&self` and may be called from many threads. Records are numbered by the caller: whoever gives out
/// numbers appends in their order (a lock around both), and syncs outside of that lock.
///
/// The directory must belong to one `Wal` at a time; take a [`lock`](Directory::lock) for that.
pub struct Wal {
    dir: Arc<dyn Directory>,
    options: WalOptions,
    read_only: bool,
    state: Mutex<State>,
    /// Told whenever a leader has finished.
    changed: Condvar,
}

struct State {
    /// All files in order; the last one is active. Its `end` is the end of what was written and synced.
    files: Vec<LogFile>,
    active: Option<Arc<ActiveFile>>,
    /// Bytes of the active file that may be written to without asking for space.
    allocated: u64,
    /// Records that no leader has taken yet.
    pending: Batch,
    /// The buffer of the round before, for its memory.
    spare: Batch,
    /// Bytes that the leader at work is writing.
    in_flight: u64,
    /// Last number appended.
    appended: SeqNo,
    /// Last number synced.
    durable: SeqNo,
    stream: Option<u32>,
    /// Whether somebody is at work on the files. Only the leader touches them.
    leading: bool,
    poison: Option<Arc<str>>,
}

impl Wal {
    /// Opens a log, or begins one in an empty directory.
    ///
    /// All records are read and checked, which takes time in proportion to the size of the log.
    ///
    /// # Errors
    /// [`WalError::Damaged`] or [`WalError::Gap`] if a file does not hold what was synced; [`WalError::Io`] if the
    /// directory cannot be read.
    pub fn open(
        dir: Arc<dyn Directory>,
        options: WalOptions,
        mode: RecoveryMode,
    ) -> Result<(Wal, Recovery), WalError> {
        let recovered = recovery::recover(&*dir, &options, mode)?;
        let last = recovered.recovery.last;
        let (active, allocated) = match (recovered.active, recovered.files.last()) {
            (Some((file, allocated)), Some(newest)) => {
                (Some(Arc::new(ActiveFile { file, first: newest.first })), allocated)
            }
            _ => (None, 0),
        };
        let state = State {
            files: recovered.files,
            active,
            allocated,
            pending: Batch::default(),
            spare: Batch::default(),
            in_flight: 0,
            appended: last,
            durable: last,
            stream: recovered.stream,
            leading: false,
            poison: None,
        };
        let read_only = mode == RecoveryMode::Refuse;
        let wal = Wal { dir, options, read_only, state: Mutex::new(state), changed: Condvar::new() };
        Ok((wal, recovered.recovery))
    }

    /// Takes a record into the buffer; `body` is the parts of its body, in order. It is durable once
    /// [`sync_to`](Wal::sync_to) of its number, or of a later one, returned.
    ///
    /// The first record of an empty log may have any number from 1 to 2⁶⁴ − 2, and decides the stream of the log.
    ///
    /// # Errors
    /// [`WalError::Full`] if there is no space for the record: nothing was kept, and the same call works once there is
    /// space. [`WalError::NotContiguous`], [`WalError::ForeignStream`] and [`WalError::TooLarge`] if the record cannot
    /// be in this log. [`WalError::Io`] or [`WalError::Poisoned`] if writing failed.
    pub fn append(&self, stream: u32, seq: SeqNo, body: &[&[u8]]) -> Result<(), WalError> {
        let put = |buffer: &mut GatherBuf| body.iter().for_each(|part| buffer.copy(part));
        self.append_parts(stream, seq, || body.iter().copied(), put)
    }

    /// As [`append`](Wal::append), without copying what the body does not: those parts are kept until they are written, and must
    /// not change.
    ///
    /// # Errors
    /// Those of [`append`](Wal::append).
    pub fn append_gathered(&self, stream: u32, seq: SeqNo, body: &GatherBuf) -> Result<(), WalError> {
        self.append_parts(stream, seq, || body.slices(), |buffer| buffer.append(body))
    }

    fn append_parts<'a, I: Iterator<Item = &'a [u8]>>(
        &self,
        stream: u32,
        seq: SeqNo,
        parts: impl Fn() -> I,
        put: impl FnOnce(&mut GatherBuf),
    ) -> Result<(), WalError> {
        let body_bytes = self.check_size(parts())?;
        // Outside of the lock: the checksum is what an append costs, apart from copies.
        let body_crc = parts().fold(0, crc32c::crc32c_append);
        let span = record_span(u64::from(body_bytes));
        let mut state = self.state.lock();
        loop {
            self.check_writable(&state)?;
            state.check_next(stream, seq)?;
            let fits_buffer = state.pending.is_empty()
                || state.pending.len() as u64 + span <= self.options.buffer_bytes as u64;
            if fits_buffer && span <= state.room() {
                break;
            }
            if state.leading {
                self.changed.wait(&mut state);
            } else if !state.pending.is_empty() {
                self.commit(&mut state)?;
            } else {
                self.make_room(&mut state, seq, span)?;
            }
        }
        state.pending.push(stream, seq, put, body_bytes, body_crc);
        state.appended = seq;
        state.stream = Some(stream);
        Ok(())
    }

    /// Returns once all records up to `seq` are durable.
    ///
    /// # Errors
    /// [`WalError::NotThere`] if `seq` was never appended. [`WalError::Full`] if the disk filled up in spite of the
    /// reserved space: the records stay in the buffer, are not durable, and the next sync tries again.
    /// [`WalError::Io`] or [`WalError::Poisoned`] if writing failed: whether they are durable is unknown until the log
    /// is opened again.
    pub fn sync_to(&self, seq: SeqNo) -> Result<(), WalError> {
        let mut state = self.state.lock();
        loop {
            if seq <= state.durable {
                return Ok(());
            }
            self.check_writable(&state)?;
            if seq > state.appended {
                return Err(state.not_there(seq));
            }
            if state.leading {
                self.changed.wait(&mut state);
            } else {
                self.commit(&mut state)?;
            }
        }
    }

    /// Returns the last number that is durable; 0 if there is none.
    #[must_use]
    pub fn durable(&self) -> SeqNo {
        self.state.lock().durable
    }

    /// Returns the last number that was appended, durable or not; 0 if there is none.
    #[must_use]
    pub fn last(&self) -> SeqNo {
        self.state.lock().appended
    }

    /// Returns the first number that can be read; one more than [`last`](Wal::last) if the log holds no record.
    #[must_use]
    pub fn first(&self) -> SeqNo {
        self.state.lock().first()
    }

    /// Returns the number of the first record of each file, in order: the places at which
    /// [`purge_before`](Wal::purge_before) can cut.
    #[must_use]
    pub fn file_starts(&self) -> Vec<SeqNo> {
        self.state.lock().files.iter().map(|file| file.first).collect()
    }

    /// Returns the size of the log in bytes, without the reserved space.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.state.lock().files.iter().map(|file| file.end).sum()
    }

    /// Reads the durable records from `from` on; see [`WalReader`]. None if `from` is one more than the last.
    ///
    /// # Errors
    /// [`WalError::NotThere`] if `from` was purged, or lies beyond the end.
    pub fn read(&self, from: SeqNo) -> Result<WalReader, WalError> {
        let state = self.state.lock();
        if from < state.first() || from.0 > state.appended.0.saturating_add(1) {
            return Err(state.not_there(from));
        }
        let start = state.files.partition_point(|file| file.first <= from).saturating_sub(1);
        let files = state.files[start..].to_vec();
        Ok(WalReader::new(Arc::clone(&self.dir), files, from, state.durable))
    }

    /// Writes the buffer, syncs, and leaves a mark which proves to the next opening that nothing is missing: damage
    /// anywhere in the log, its last record included, is then an error and not taken for a torn tail.
    ///
    /// # Errors
    /// As [`sync_to`](Wal::sync_to). Dropping a log without closing it loses what was not synced, and nothing else.
    pub fn close(self) -> Result<(), WalError> {
        if self.read_only {
            return Ok(());
        }
        self.check_writable(&self.state.lock())?;
        self.sync_to(self.last())?;
        let state = self.state.into_inner();
        let (Some(active), Some(newest)) = (state.active, state.files.last()) else { return Ok(()) };
        active.finish(newest.end, state.appended, state.stream.unwrap_or(0)).map_err(WalError::from)
    }

    fn check_size<'a>(&self, parts: impl Iterator<Item = &'a [u8]>) -> Result<u32, WalError> {
        let bytes = parts.fold(0u64, |sum, part| sum.saturating_add(part.len() as u64));
        let bytes_max = u64::from(self.options.record_bytes_max);
        match u32::try_from(bytes) {
            Ok(fits) if bytes <= bytes_max => Ok(fits),
            _ => Err(WalError::TooLarge { bytes, bytes_max }),
        }
    }

    fn check_writable(&self, state: &State) -> Result<(), WalError> {
        if let Some(cause) = &state.poison {
            return Err(WalError::Poisoned { cause: Arc::clone(cause) });
        }
        if self.read_only {
            return Err(WalError::ReadOnly);
        }
        Ok(())
    }

    /// Writes and syncs everything in the buffer. The caller found nobody leading.
    fn commit(&self, state: &mut MutexGuard<'_, State>) -> Result<(), WalError> {
        let Some(active) = state.active.clone() else { return Ok(()) };
        let spare = mem::take(&mut state.spare);
        let mut batch = mem::replace(&mut state.pending, spare);
        let (start, allocated) = (state.written_end(), state.allocated);
        let end = start + batch.len() as u64;
        let (first, last) = (batch.first(), batch.last());
        let room_wanted = self.options.segment_bytes.max(end);
        state.in_flight = batch.len() as u64;
        let written = self.lead(state, || {
            if end > allocated {
                // Only after the disk was full: the reserved space was given up then.
                active.file.allocate(room_wanted).map_err(CommitFailure::before_write)?;
            }
            active.write(start, batch.seal(active.first.0, start))?;
            // Here and not under the lock, since what was shared may go with its last reference.
            batch.clear();
            Ok(())
        });
        state.in_flight = 0;
        match written {
            Ok(()) => {
                state.allocated = state.allocated.max(end);
                state.written(first, start, end);
                state.durable = last;
                state.spare = batch;
                Ok(())
            }
            Err(CommitFailure::Clean(source)) => {
                batch.append(&state.pending);
                state.pending = batch;
                state.allocated = start;
                Err(source.into())
            }
            Err(CommitFailure::Unknown(source)) => Err(state.poison(source)),
        }
    }

    /// Gets space for a record of `span` bytes: in the active file if that is small, else in a new one. The caller
    /// found nobody leading and nothing in the buffer.
    fn make_room(&self, state: &mut MutexGuard<'_, State>, seq: SeqNo, span: u64) -> Result<(), WalError> {
        let end = state.written_end();
        let active = state.active.clone();
        let is_new = end <= FILE_HEADER_BYTES;
        if let Some(active) = active.as_ref().filter(|_| is_new || end + span <= self.options.segment_bytes) {
            let wanted = self.options.segment_bytes.max(end + span);
            return match self.lead(state, || active.file.allocate(wanted)) {
                Ok(()) => {
                    state.allocated = wanted;
                    Ok(())
                }
                Err(source) if source.kind() == StorageErrorKind::Full => Err(WalError::Full { source }),
                Err(source) => Err(state.poison(source)),
            };
        }
        // Nobody may append to the old file from here on: what is behind its records is about to be cut.
        state.allocated = end;
        let bytes = self.options.segment_bytes.max(FILE_HEADER_BYTES + span);
        let made = self.lead(state, || segment_files::begin(&*self.dir, active.as_deref(), end, seq, bytes));
        match made {
            Ok(file) => {
                state.active = Some(Arc::new(ActiveFile { file, first: seq }));
                state.files.push(LogFile::new(seq));
                state.allocated = bytes;
                if state.files.len() == 1 {
                    state.durable = SeqNo(seq.0 - 1);
                    state.appended = state.durable;
                }
                Ok(())
            }
            Err(CommitFailure::Clean(source)) => Err(source.into()),
            Err(CommitFailure::Unknown(source)) => Err(state.poison(source)),
        }
    }

    /// Does work on the files as the leader, without the lock, and tells everybody afterwards.
    fn lead<T>(&self, state: &mut MutexGuard<'_, State>, work: impl FnOnce() -> T) -> T {
        debug_assert!(!state.leading, "two leaders would write to the same place");
        state.leading = true;
        let result = MutexGuard::unlocked(state, work);
        state.leading = false;
        self.changed.notify_all();
        result
    }
}

impl State {
    fn written_end(&self) -> u64 {
        self.files.last().map_or(0, |file| file.end)
    }

    /// Learns that a round, whose first record is `first`, was written and synced.
    fn written(&mut self, first: Option<u64>, start: u64, end: u64) {
        if let (Some(file), Some(seq)) = (self.files.last_mut(), first) {
            file.end = end;
            file.pass(Waypoint { seq, offset: start });
        }
    }

    /// Bytes that can be put into the buffer before the active file is full.
    fn room(&self) -> u64 {
        self.allocated.saturating_sub(self.written_end() + self.in_flight + self.pending.len() as u64)
    }

    fn first(&self) -> SeqNo {
        self.files.first().map_or(self.appended.next(), |file| file.first)
    }

    fn check_next(&self, stream: u32, seq: SeqNo) -> Result<(), WalError> {
        let is_new = self.files.is_empty();
        if seq.0 == 0 || seq.0 == u64::MAX || (!is_new && seq != self.appended.next()) {
            return Err(WalError::NotContiguous { last: self.appended, got: seq });
        }
        match self.stream {
            Some(expected) if expected != stream && !is_new => {
                Err(WalError::ForeignStream { expected, got: stream })
            }
            _ => Ok(()),
        }
    }

    fn not_there(&self, seq: SeqNo) -> WalError {
        WalError::NotThere { seq, first: self.first(), last: self.appended }
    }

    /// Remembers a failure for every later call and returns it for this one.
    fn poison(&mut self, source: DirectoryError) -> WalError {
        self.poison = Some(source.to_string().into());
        WalError::Io { source }
    }
}

/// How a write failed.
enum CommitFailure {
    /// And everything is as it was before: for want of space, or before an existing file was touched.
    Clean(DirectoryError),
    /// In a way that leaves the file in an unknown state.
    Unknown(DirectoryError),
}

impl CommitFailure {
    /// Sorts a failure that happened before anything was written.
    fn before_write(source: DirectoryError) -> CommitFailure {
        match source.kind() {
            StorageErrorKind::Full => CommitFailure::Clean(source),
            _ => CommitFailure::Unknown(source),
        }
    }
}

impl fmt::Debug for Wal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = self.state.lock();
        f.debug_struct("Wal")
            .field("dir", &self.dir.path())
            .field("first", &state.first())
            .field("last", &state.appended)
            .field("durable", &state.durable)
            .field("poison", &state.poison)
            .finish_non_exhaustive()
    }
}
