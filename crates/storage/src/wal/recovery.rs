//! Opening a log: what is valid, what a crash left half written, and what is damage.

use std::sync::Arc;

use dvse_types::SeqNo;

use super::error::{WalDamage, WalError};
use super::format::{FILE_HEADER_BYTES, parse_file_name};
use super::options::{Recovery, RecoveryMode, WalOptions};
use super::scanner::{Scanner, Step, Waypoint};
use crate::checked_file::TEMPORARY_SUFFIX;
use crate::directory::{Directory, FileHandle};
use crate::error::StorageErrorKind;

/// One file of the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct LogFile {
    /// Number of its first record, or of the next to be written if it has none.
    pub first: SeqNo,
    /// End of its valid records, in bytes.
    pub end: u64,
    /// Some places where records begin, in order and [`WAYPOINT_BYTES`] apart, so that reading from a number does not
    /// have to walk the file from its front.
    pub waypoints: Vec<Waypoint>,
}

/// Least distance of the waypoints of a file. Two numbers for each MiB cost nothing; walking a MiB takes well under a
/// millisecond.
const WAYPOINT_BYTES: u64 = 1 << 20;

impl LogFile {
    pub(super) fn new(first: SeqNo) -> LogFile {
        LogFile { first, end: FILE_HEADER_BYTES, waypoints: Vec::new() }
    }

    /// Learns that a record begins at a place, if that is far enough from the last one known.
    pub(super) fn pass(&mut self, place: Waypoint) {
        let last = self.waypoints.last().map_or(FILE_HEADER_BYTES, |waypoint| waypoint.offset);
        if place.offset >= last + WAYPOINT_BYTES {
            self.waypoints.push(place);
        }
    }

    /// Returns the last known place at or before the record `seq`.
    pub(super) fn place_before(&self, seq: SeqNo) -> Waypoint {
        let after = self.waypoints.partition_point(|waypoint| waypoint.seq <= seq.0);
        let front = Waypoint { seq: self.first.0, offset: FILE_HEADER_BYTES };
        after.checked_sub(1).and_then(|index| self.waypoints.get(index)).copied().unwrap_or(front)
    }

    /// Forgets what is behind a new end.
    pub(super) fn cut(&mut self, end: u64) {
        self.end = end;
        self.waypoints.retain(|waypoint| waypoint.offset < end);
    }
}

/// What the rest of the log needs to go on.
#[derive(Debug)]
pub(super) struct Recovered {
    pub files: Vec<LogFile>,
    /// The last file, open for writing, and the bytes it has allocated.
    pub active: Option<(Arc<dyn FileHandle>, u64)>,
    pub stream: Option<u32>,
    pub recovery: Recovery,
}

/// Checks every record of the log, cuts a torn tail if `mode` says so, and makes what is left durable.
pub(super) fn recover(
    dir: &dyn Directory,
    options: &WalOptions,
    mode: RecoveryMode,
) -> Result<Recovered, WalError> {
    let firsts = list_files(dir, mode)?;
    let mut recovery = Recovery {
        first: SeqNo(0),
        last: SeqNo(0),
        records: 0,
        bytes: 0,
        files: firsts.len(),
        truncated_bytes: 0,
        truncated_at: None,
    };
    let mut recovered =
        Recovered { files: Vec::new(), active: None, stream: None, recovery: recovery.clone() };
    for (index, (first, name)) in firsts.iter().enumerate() {
        let is_last = index + 1 == firsts.len();
        let file = match mode {
            RecoveryMode::CutTornTail if is_last => dir.open(name)?,
            _ => dir.open_read(name)?,
        };
        if index > 0 && first.0 != recovery.last.0.wrapping_add(1) {
            let path = file.path().to_path_buf();
            return Err(WalError::Gap { path, last: recovery.last, found: *first });
        }
        let file_bytes = file.len()?;
        let mut scanner = Scanner::new(Arc::clone(&file), first.0, file_bytes, recovered.stream);
        let mut log_file = LogFile::new(*first);
        let torn_bytes = scan(&mut scanner, &mut log_file, is_last)?;
        let end = scanner.offset;
        recovery.records += scanner.expected - first.0;
        recovery.last = SeqNo(scanner.expected - 1);
        recovery.bytes += end;
        recovered.stream = scanner.stream;
        log_file.end = end;
        recovered.files.push(log_file);
        if torn_bytes > 0 {
            if mode == RecoveryMode::Refuse {
                return Err(scanner.damaged(end, WalDamage::RecordHeader));
            }
            recovery.truncated_bytes = torn_bytes;
            recovery.truncated_at = Some((name.clone(), end));
        }
        if is_last {
            let allocated = if mode == RecoveryMode::Refuse {
                file_bytes
            } else {
                settle(&*file, end, file_bytes, torn_bytes, options)?
            };
            recovered.active = Some((file, allocated));
        }
    }
    if recovery.records > 0 {
        recovery.first = recovered.files.first().map_or(SeqNo(0), |file| file.first);
    }
    recovered.recovery = recovery;
    Ok(recovered)
}

/// Returns first number and name of each file in order; removes files that were never finished.
fn list_files(dir: &dyn Directory, mode: RecoveryMode) -> Result<Vec<(SeqNo, String)>, WalError> {
    let mut files = Vec::new();
    for entry in dir.list()? {
        if let Some(first) = parse_file_name(&entry.name) {
            files.push((first, entry.name));
        } else if entry.name.starts_with("wal-")
            && entry.name.ends_with(TEMPORARY_SUFFIX)
            && mode == RecoveryMode::CutTornTail
        {
            dir.remove(&entry.name)?;
        }
    }
    files.sort();
    Ok(files)
}

/// Walks a file to the end of its valid records and returns the bytes of torn records behind them.
fn scan(scanner: &mut Scanner, file: &mut LogFile, is_last: bool) -> Result<u64, WalError> {
    scanner.check_file_header()?;
    loop {
        let what = match scanner.step()? {
            Step::End => return Ok(0),
            Step::Record(header) => {
                if scanner.body_is_sound(&header)? {
                    file.pass(Waypoint { seq: scanner.expected, offset: scanner.offset });
                    scanner.pass(&header);
                    continue;
                }
                WalDamage::Body { seq: header.seq }
            }
            Step::Fault(what) => what,
        };
        // A crash leaves bytes missing. It does not make valid headers with wrong contents, and it does not reach back
        // into a file that was synced before the next one was made.
        let crash_can_do_it = matches!(
            what,
            WalDamage::Hole | WalDamage::RecordHeader | WalDamage::PastEnd { .. } | WalDamage::Body { .. }
        );
        if !is_last || !crash_can_do_it {
            return Err(scanner.damaged(scanner.offset, what));
        }
        let ahead = scanner.look_ahead()?;
        return match ahead.proof {
            Some(_) => Err(scanner.damaged(scanner.offset, what)),
            None => Ok(ahead.torn_bytes),
        };
    }
}

/// Brings the last file into the state that appending expects: zeros behind the valid records, space reserved, and
/// everything that was found durable. Returns the allocated length.
fn settle(
    file: &dyn FileHandle,
    end: u64,
    file_bytes: u64,
    torn_bytes: u64,
    options: &WalOptions,
) -> Result<u64, WalError> {
    let mut allocated = file_bytes;
    if torn_bytes > 0 {
        // Left in place, the tail of a torn record could one day follow a shorter new one.
        file.set_len(end)?;
        allocated = end;
    }
    // What a process wrote just before it was killed may still be only in the page cache, and is about to be
    // treated as acknowledged.
    file.sync_data()?;
    if allocated < options.segment_bytes {
        match file.allocate(options.segment_bytes) {
            Ok(()) => allocated = options.segment_bytes,
            // A full disk must not keep a log from being read.
            Err(error) if error.kind() == StorageErrorKind::Full => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(allocated)
}
