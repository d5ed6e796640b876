//! Reading a log that somebody else writes, perhaps in another process.
//!
//! A follower sees the files and nothing of the writer's memory, so it has to tell three things apart by itself:
//! what is there, what is not there yet, and what is damaged. And it must not hand out what a power loss could still
//! take away: a writer's round can be read before it was synced. Hence it syncs the file itself before it returns
//! records. If they were synced already that costs next to nothing.

use std::fmt;
use std::sync::Arc;

use dvse_types::SeqNo;

use super::error::{WalDamage, WalError};
use super::format::{
    FILE_HEADER_BYTES, HeaderFault, RECORD_HEADER_BYTES, RecordHeader, RecordKind, check_file_header,
    file_name, parse_file_name, record_span,
};
use super::reader::WalRecord;
use super::scanner::{Scanner, Waypoint};
use crate::directory::{Directory, FileHandle};

/// Bytes read from a file at a time.
const WINDOW_BYTES: usize = 256 << 10;

/// A place in a log that another [`Wal`](super::Wal) writes, moving forwards.
///
/// Any number of followers may read while one writer appends, in this process or others, and the writer may crash and
/// be opened again meanwhile. Nothing is locked. What the writer purges before a follower read it is an error then,
/// never a gap; `truncate_after` must not be used on a log that is followed.
///
/// Where the file system cannot reserve space, a round that finds the disk full is cut again by its writer, who keeps the
/// records and writes them again; if the writer dies before that, a follower may have been given what is lost then.
pub struct WalFollower {
    dir: Arc<dyn Directory>,
    /// The file that holds the next record, once it was found.
    file: Option<Followed>,
    next: SeqNo,
}

struct Followed {
    handle: Arc<dyn FileHandle>,
    first: SeqNo,
    /// Where the next record begins, or will begin.
    offset: u64,
    /// Part of the file, from `window_start`. Forgotten between calls: what was zero then may be a record now.
    window: Vec<u8>,
    window_start: u64,
}

/// What stands at a place in a file.
enum Found {
    Record(RecordHeader),
    /// Nothing was ever written here, or it is not there in full.
    Nothing,
    /// Bytes that are no sound record: a round under way, or damage.
    Unsound(WalDamage),
}

impl WalFollower {
    /// Stands before the record `from`. Nothing is opened yet, and the log may be empty or not there.
    #[must_use]
    pub fn new(dir: Arc<dyn Directory>, from: SeqNo) -> WalFollower {
        WalFollower { dir, file: None, next: SeqNo(from.0.max(1)) }
    }

    /// Returns the number of the oldest record that the log in a directory can give; 1 for a log without files.
    ///
    /// # Errors
    /// [`WalError::Io`] if the directory cannot be listed.
    pub fn oldest(dir: &dyn Directory) -> Result<SeqNo, WalError> {
        Ok(list(dir)?.first().copied().unwrap_or(SeqNo(1)))
    }

    /// Returns the number of the record that is read next.
    #[must_use]
    pub fn next(&self) -> SeqNo {
        self.next
    }

    /// Reads the records that are there: at most `records_max`, and not beyond `bytes_max` bytes of bodies unless
    /// the first alone is larger. All of them are durable. None if there is nothing new.
    ///
    /// # Errors
    /// [`WalError::NotThere`] if the next record was purged, or lies beyond the end of the log;
    /// [`WalError::Damaged`] if a file does not hold what was written; [`WalError::Io`] if it cannot be read.
    pub fn read(&mut self, records_max: usize, bytes_max: usize) -> Result<Vec<WalRecord>, WalError> {
        let mut records: Vec<WalRecord> = Vec::new();
        let mut bytes = 0;
        self.forget();
        while records.len() < records_max {
            let Some(header) = self.find_next()? else { break };
            bytes += header.body_bytes as usize;
            if bytes > bytes_max && !records.is_empty() {
                break;
            }
            let Some(file) = &mut self.file else { break };
            let Some(body) = file.body(&header)? else {
                self.check_proof(WalDamage::Body { seq: header.seq })?;
                break;
            };
            file.pass(&header);
            records.push(WalRecord { stream: header.stream, seq: self.next, body });
            self.next = self.next.next();
        }
        if let (Some(file), false) = (&self.file, records.is_empty()) {
            // Earlier files were synced before their successor got its name.
            file.handle.sync_data()?;
        }
        Ok(records)
    }

    /// Moves to the end of what is there and returns the last record passed, without looking at those before it; none
    /// if there is nothing new. For measuring how far behind a reader is.
    ///
    /// # Errors
    /// As [`read`](WalFollower::read).
    pub fn skip_to_last(&mut self) -> Result<Option<WalRecord>, WalError> {
        let mut last = None;
        self.forget();
        while let Some(header) = self.find_next()? {
            let Some(file) = &mut self.file else { break };
            last = Some((Arc::clone(&file.handle), file.offset, header));
            file.pass(&header);
            self.next = self.next.next();
        }
        let Some((handle, offset, header)) = last else { return Ok(None) };
        let mut body = vec![0; header.body_bytes as usize];
        let filled = handle.read_at(offset + RECORD_HEADER_BYTES, &mut body)?;
        // A record that is being written is measured the next time.
        let sound = filled == body.len() && crc32c::crc32c(&body) == header.body_crc;
        Ok(sound.then_some(WalRecord { stream: header.stream, seq: SeqNo(header.seq), body }))
    }

    fn forget(&mut self) {
        if let Some(file) = &mut self.file {
            file.window.clear();
        }
    }

    /// Returns the header of the next record, going to the file that holds it; `None` if it is not there yet.
    fn find_next(&mut self) -> Result<Option<RecordHeader>, WalError> {
        loop {
            let Some(file) = &mut self.file else {
                self.file = self.locate()?;
                if self.file.is_none() {
                    return Ok(None);
                }
                continue;
            };
            let found = file.look(self.next)?;
            match found {
                Found::Record(header) if header.kind == RecordKind::Mark => {
                    file.pass(&header);
                    continue;
                }
                Found::Record(header) => return Ok(Some(header)),
                Found::Nothing | Found::Unsound(_) => {}
            }
            // The successor has exactly this name, and gets it only after this file was cut to its records.
            let follows = self.next != file.first && self.dir.exists(&file_name(self.next))?;
            let is_purged = !follows && !self.dir.exists(&file_name(file.first))?;
            if follows || is_purged {
                self.file = None;
                continue;
            }
            if let Found::Unsound(what) = found {
                self.check_proof(what)?;
            }
            return Ok(None);
        }
    }

    /// Opens the file that holds the next record and goes there.
    fn locate(&self) -> Result<Option<Followed>, WalError> {
        let firsts = list(&*self.dir)?;
        let Some(&oldest) = firsts.first() else {
            let not_there = WalError::NotThere { seq: self.next, first: SeqNo(1), last: SeqNo(0) };
            return if self.next == SeqNo(1) { Ok(None) } else { Err(not_there) };
        };
        let Some(&first) = firsts.iter().rev().find(|first| **first <= self.next) else {
            let last = SeqNo(oldest.0.saturating_sub(1));
            return Err(WalError::NotThere { seq: self.next, first: oldest, last });
        };
        // For writing, although nothing is written: what is read has to be synced.
        let handle = match self.dir.open(&file_name(first)) {
            Err(error) if error.is_not_found() => {
                // Purged just now; the next look at the directory says so.
                return Err(WalError::NotThere { seq: self.next, first: SeqNo(first.0 + 1), last: first });
            }
            opened => opened?,
        };
        let window = Vec::new();
        let mut file = Followed { handle, first, offset: FILE_HEADER_BYTES, window, window_start: 0 };
        file.check_header()?;
        let mut at = first;
        while at < self.next {
            match file.look(at)? {
                Found::Record(header) => {
                    file.pass(&header);
                    if header.kind == RecordKind::Entry {
                        at = at.next();
                    }
                }
                Found::Nothing | Found::Unsound(_) => {
                    let last = SeqNo(at.0 - 1);
                    return Err(WalError::NotThere { seq: self.next, first: oldest, last });
                }
            }
        }
        Ok(Some(file))
    }

    /// Fails if what stands at the next place is damage: if a later record proves that the place had been synced.
    fn check_proof(&self, what: WalDamage) -> Result<(), WalError> {
        let Some(file) = &self.file else { return Ok(()) };
        let end = file.handle.len()?;
        let mut scanner = Scanner::new(Arc::clone(&file.handle), file.first.0, end, None);
        scanner.go_to(Waypoint { seq: self.next.0, offset: file.offset });
        match scanner.look_ahead() {
            Ok(ahead) if ahead.proof.is_some() => Err(scanner.damaged(file.offset, what)),
            Err(damaged @ WalError::Damaged { .. }) => Err(damaged),
            // The file may be cut while it is looked at: by a writer that opens it after a crash.
            Ok(_) | Err(_) => Ok(()),
        }
    }
}

impl Followed {
    fn check_header(&mut self) -> Result<(), WalError> {
        let first = self.first;
        let checked = match self.bytes(0, FILE_HEADER_BYTES as usize)? {
            Some(header) => check_file_header(header, first),
            None => Err(WalDamage::ShortFileHeader),
        };
        checked.map_err(|what| self.damaged(0, what))
    }

    /// Looks at the record here, whose number should be `expected`.
    fn look(&mut self, expected: SeqNo) -> Result<Found, WalError> {
        let (offset, first) = (self.offset, self.first.0);
        let Some(header) = self.bytes(offset, RECORD_HEADER_BYTES as usize)? else {
            return Ok(Found::Nothing);
        };
        let header = match RecordHeader::decode(header, first, offset) {
            Ok(header) => header,
            Err(HeaderFault::Zero) => return Ok(Found::Nothing),
            Err(HeaderFault::Checksum) => return Ok(Found::Unsound(WalDamage::RecordHeader)),
            Err(fault @ HeaderFault::Kind(_)) => return Err(self.damaged(offset, fault.damage())),
        };
        let wanted = match header.kind {
            RecordKind::Entry => expected.0,
            RecordKind::Mark => expected.0 - 1,
        };
        if header.seq != wanted {
            return Err(self.damaged(offset, WalDamage::Order { expected: wanted, found: header.seq }));
        }
        Ok(Found::Record(header))
    }

    /// Reads the body of the record here; `None` if it is not there in full, or fails its checksum.
    fn body(&mut self, header: &RecordHeader) -> Result<Option<Vec<u8>>, WalError> {
        let (start, bytes) = (self.offset + RECORD_HEADER_BYTES, header.body_bytes as usize);
        let body = if bytes <= WINDOW_BYTES {
            match self.bytes(start, bytes)? {
                Some(body) => body.to_vec(),
                None => return Ok(None),
            }
        } else {
            // Not longer than the file, whatever its header says.
            if start + u64::from(header.body_bytes) > self.handle.len()? {
                return Ok(None);
            }
            let mut body = vec![0; bytes];
            if self.handle.read_at(start, &mut body)? < bytes {
                return Ok(None);
            }
            body
        };
        Ok((crc32c::crc32c(&body) == header.body_crc).then_some(body))
    }

    fn pass(&mut self, header: &RecordHeader) {
        self.offset += record_span(u64::from(header.body_bytes));
    }

    /// Returns `len` bytes at `offset`, at most a window of them; `None` if the file ends before.
    fn bytes(&mut self, offset: u64, len: usize) -> Result<Option<&[u8]>, WalError> {
        let end = self.window_start + self.window.len() as u64;
        if offset < self.window_start || offset + len as u64 > end || self.window.is_empty() {
            self.window.resize(WINDOW_BYTES, 0);
            let filled = self.handle.read_at(offset, &mut self.window);
            self.window.truncate(*filled.as_ref().unwrap_or(&0));
            self.window_start = offset;
            filled?;
        }
        let start = (offset - self.window_start) as usize;
        Ok(self.window.get(start..start + len))
    }

    fn damaged(&self, offset: u64, what: WalDamage) -> WalError {
        WalError::Damaged { path: self.handle.path().to_path_buf(), offset, what }
    }
}

impl fmt::Debug for WalFollower {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WalFollower")
            .field("dir", &self.dir.path())
            .field("next", &self.next)
            .finish_non_exhaustive()
    }
}

/// Returns the first numbers of the files of a log, in order; none if the directory is not there.
fn list(dir: &dyn Directory) -> Result<Vec<SeqNo>, WalError> {
    let entries = match dir.list() {
        Err(error) if error.is_not_found() => return Ok(Vec::new()),
        listed => listed?,
    };
    let mut firsts: Vec<SeqNo> = entries.iter().filter_map(|entry| parse_file_name(&entry.name)).collect();
    firsts.sort_unstable();
    Ok(firsts)
}
