//! Reading a range of the log while others append to it.

use std::sync::Arc;
use std::vec;

use dvse_types::SeqNo;

use super::error::{WalDamage, WalError};
use super::format::{RecordKind, file_name};
use super::recovery::LogFile;
use super::scanner::{Scanner, Step};
use crate::directory::Directory;

/// One record of the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WalRecord {
    /// The stream it belongs to.
    pub stream: u32,
    /// Its number.
    pub seq: SeqNo,
    /// What was appended, its parts joined.
    pub body: Vec<u8>,
}

/// The records from a number on that were durable when [`Wal::read`](super::Wal::read) was called, in order.
///
/// Each item is checked against its checksum. After an error the iterator ends.
#[derive(Debug)]
pub struct WalReader {
    dir: Arc<dyn Directory>,
    /// Files still to be read.
    files: vec::IntoIter<LogFile>,
    scanner: Option<Scanner>,
    next: u64,
    last: u64,
}

impl WalReader {
    pub(super) fn new(dir: Arc<dyn Directory>, files: Vec<LogFile>, from: SeqNo, last: SeqNo) -> WalReader {
        WalReader { dir, files: files.into_iter(), scanner: None, next: from.0, last: last.0 }
    }

    fn read_next(&mut self) -> Result<Option<WalRecord>, WalError> {
        loop {
            let Some(scanner) = &mut self.scanner else {
                let Some(file) = self.files.next() else {
                    // The files are those of the moment of the call; all up to `last` is in them.
                    return Ok(None);
                };
                let handle = self.dir.open_read(&file_name(file.first))?;
                let mut scanner = Scanner::new(handle, file.first.0, file.end, None);
                scanner.check_file_header()?;
                scanner.go_to(file.place_before(SeqNo(self.next)));
                self.scanner = Some(scanner);
                continue;
            };
            let header = match scanner.step()? {
                Step::Record(header) => header,
                Step::End => {
                    self.scanner = None;
                    continue;
                }
                Step::Fault(what) => return Err(scanner.damaged(scanner.offset, what)),
            };
            if header.kind == RecordKind::Mark || header.seq < self.next {
                scanner.pass(&header);
                continue;
            }
            let Some(body) = scanner.body(&header)? else {
                return Err(scanner.damaged(scanner.offset, WalDamage::Body { seq: header.seq }));
            };
            scanner.pass(&header);
            self.next = header.seq + 1;
            return Ok(Some(WalRecord { stream: header.stream, seq: SeqNo(header.seq), body }));
        }
    }
}

impl Iterator for WalReader {
    type Item = Result<WalRecord, WalError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.next > self.last {
            return None;
        }
        let item = self.read_next().transpose();
        if !matches!(item, Some(Ok(_))) {
            self.next = u64::MAX;
            self.last = 0;
        }
        item
    }
}
