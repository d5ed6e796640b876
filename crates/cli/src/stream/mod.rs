//! Streams of records: `dvse produce`, `ingest`, `dead-letters` and `topics`.

pub mod dead_letters;
pub mod ingest;
mod model;
pub mod produce;
mod rest_sink;
pub mod topics;

use std::future::Future;
use std::path::PathBuf;
use std::sync::Arc;

use dvse_ingest::{EmbeddedLog, LogError, TopicLog};

use crate::failure::{Failure, Remedy as _, Result};

/// How many partitions a topic gets that is made on the way. As many workers feed the collection at once; more than the log
/// of one collection can take side by side gain nothing.
pub const PARTITIONS: u32 = 4;

/// Where a log of topics is, as written on the command line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LogPlace {
    /// A folder.
    Folder(PathBuf),
}

/// Reads `file:DIR` or a bare path.
///
/// # Errors
/// It names a kind of log that this build does not have.
pub fn parse_place(text: &str) -> std::result::Result<LogPlace, String> {
    if text.starts_with("pulsar:") || text.starts_with("pulsar+ssl:") {
        return Err("this build has no Apache Pulsar yet; keep the log in a folder: file:DIR".to_owned());
    }
    let path = text.strip_prefix("file:").unwrap_or(text);
    // `file://DIR` is how some write it.
    let path = path.strip_prefix("//").filter(|_| text.starts_with("file:")).unwrap_or(path);
    if path.is_empty() {
        return Err("a log needs a folder: file:DIR".to_owned());
    }
    if path.contains("://") {
        return Err("not a place of a log; keep it in a folder: file:DIR".to_owned());
    }
    Ok(LogPlace::Folder(PathBuf::from(path)))
}

impl LogPlace {
    /// Opens the log; a folder that is not there is made.
    pub fn open(&self) -> Result<Arc<dyn TopicLog>> {
        let LogPlace::Folder(folder) = self;
        let opened = EmbeddedLog::open(folder);
        let opened = opened.doing(|| format!("cannot open the log in {}", folder.display()));
        Ok(Arc::new(opened.help(|| "give a folder that can be written: file:DIR".to_owned())?))
    }

    /// Opens a log that must be there.
    pub fn open_existing(&self) -> Result<Arc<dyn TopicLog>> {
        let LogPlace::Folder(folder) = self;
        if !folder.is_dir() {
            return Err(Failure::new(format!("there is no log in {}", folder.display()))
                .with_help("send it some records first: dvse produce --to file:DIR --file records.jsonl"));
        }
        self.open()
    }
}

/// Runs a future of the log on this thread.
pub fn block_on<T>(future: impl Future<Output = Result<T>>) -> Result<T> {
    tokio::runtime::Builder::new_current_thread().enable_time().build()?.block_on(future)
}

/// An error of a log with what to do about it.
pub fn log_failure(error: LogError) -> Failure {
    let help = match &error {
        LogError::Busy { .. } => {
            "one process at a time writes a partition: wait for it to end, or stop it.\n\
             One `dvse ingest` serves a log; give a second one a log of its own"
        }
        LogError::Held { .. } => "start `dvse ingest` on this log, which takes the records away",
        LogError::NoTopic { .. } => "see which topics there are: dvse topics list --log file:DIR",
        LogError::Partitions { .. } => "leave --partitions out, or make another log",
        LogError::Gone { .. } => {
            "the records were dropped before they were read, or the log is another one than before.\n\
             Ingest into a new collection, or send the records again"
        }
        LogError::TooLarge { .. } => {
            "leave the record out, or keep its content elsewhere and send a reference"
        }
        _ => "look at the disk, and at whether another program changed the folder",
    };
    Failure::from(error).with_help(help)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_read_as_people_write_them() {
        for text in ["file:/tmp/log", "/tmp/log", "file:///tmp/log"] {
            assert_eq!(parse_place(text), Ok(LogPlace::Folder("/tmp/log".into())), "{text}");
        }
        assert_eq!(parse_place("file:log"), Ok(LogPlace::Folder("log".into())));
        for (text, says) in [
            ("pulsar://h:6650", "no Apache Pulsar yet"),
            ("", "folder"),
            ("file:", "folder"),
            ("http://x", "folder"),
        ] {
            assert!(parse_place(text).is_err_and(|error| error.contains(says)), "{text}");
        }
    }
}
