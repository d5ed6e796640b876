//! Streams of records: `dvse produce`, `ingest`, `serve --ingest`, `rebuild`, `dead-letters` and `topics`.

pub mod dead_letters;
pub mod ingest;
mod model;
pub mod produce;
#[cfg(feature = "pulsar")]
mod pulsar;
pub mod rebuild;
mod rest_sink;
pub mod role;
pub mod steer;
pub mod topics;

pub use self::model::{EmbedderName, ModelCalls, parse_embedder};

use std::fmt;
use std::future::Future;
use std::path::PathBuf;
use std::sync::Arc;

use dvse_ingest::pipeline::Progress;
use dvse_ingest::{EmbeddedLog, LogError, TopicLog};

use crate::failure::{Failure, Remedy as _, Result};
use crate::progress::Board;
use crate::stop::Stop;

/// How many partitions a topic gets that is made on the way. As many workers feed the collection at once; more than the log
/// of one collection can take side by side gain nothing.
pub const PARTITIONS: u32 = 4;

/// Where a log of topics is, as written on the command line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LogPlace {
    /// A folder.
    Folder(PathBuf),
    /// A cluster of Apache Pulsar.
    #[cfg(feature = "pulsar")]
    Pulsar(String),
}

/// Reads `file:DIR`, a bare path, or `pulsar://HOST:PORT`.
///
/// # Errors
/// It names a kind of log that this build does not have.
pub fn parse_place(text: &str) -> std::result::Result<LogPlace, String> {
    if text.starts_with("pulsar:") || text.starts_with("pulsar+ssl:") {
        return pulsar_place(text);
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

#[cfg(not(feature = "pulsar"))]
fn pulsar_place(_: &str) -> std::result::Result<LogPlace, String> {
    Err("this build has no Apache Pulsar: build it with `cargo build --release --features pulsar` (which needs \
         protoc), or keep the log in a folder: file:DIR"
        .to_owned())
}

#[cfg(feature = "pulsar")]
fn pulsar_place(text: &str) -> std::result::Result<LogPlace, String> {
    dvse_ingest::pulsar::check_address(text)?;
    Ok(LogPlace::Pulsar(text.to_owned()))
}

/// Who hears of a broker that is away, and says when waiting for it has no point any more.
#[cfg_attr(not(feature = "pulsar"), expect(dead_code, reason = "a folder is there or is not"))]
#[derive(Clone, Default)]
pub struct Waiting {
    board: Option<Board>,
    progress: Option<Arc<Progress>>,
    stop: Option<Arc<Stop>>,
}

impl Waiting {
    /// For ever, until told to stop.
    pub fn until(stop: &Arc<Stop>, board: &Board) -> Waiting {
        Waiting { board: Some(board.clone()), progress: None, stop: Some(Arc::clone(stop)) }
    }

    /// A few seconds.
    pub fn briefly() -> Waiting {
        Waiting::default()
    }

    /// For ever, until the pipeline is to end, which tells of it.
    pub fn within(progress: &Arc<Progress>) -> Waiting {
        Waiting { board: None, progress: Some(Arc::clone(progress)), stop: None }
    }

    #[cfg(feature = "pulsar")]
    fn is_brief(&self) -> bool {
        self.stop.is_none() && self.progress.is_none()
    }

    /// The same, told by a pipeline as well.
    pub fn told_by(self, progress: &Arc<Progress>) -> Waiting {
        Waiting { progress: Some(Arc::clone(progress)), ..self }
    }
}

impl fmt::Display for LogPlace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            LogPlace::Folder(folder) => write!(f, "file:{}", folder.display()),
            #[cfg(feature = "pulsar")]
            LogPlace::Pulsar(url) => f.write_str(url),
        }
    }
}

impl LogPlace {
    /// Opens the log; a folder that is not there is made.
    #[cfg_attr(not(feature = "pulsar"), expect(unused_variables, reason = "a folder is there or is not"))]
    pub fn open(&self, waiting: Waiting) -> Result<Arc<dyn TopicLog>> {
        match self {
            LogPlace::Folder(folder) => {
                let opened = EmbeddedLog::open(folder);
                let opened = opened.doing(|| format!("cannot open the log in {}", folder.display()));
                Ok(Arc::new(opened.help(|| "give a folder that can be written: file:DIR".to_owned())?))
            }
            #[cfg(feature = "pulsar")]
            LogPlace::Pulsar(url) => pulsar::open(url, None, waiting),
        }
    }

    /// Opens a log that must be there, for a command that does not wait for long.
    pub fn open_existing(&self) -> Result<Arc<dyn TopicLog>> {
        if let LogPlace::Folder(folder) = self
            && !folder.is_dir()
        {
            return Err(Failure::new(format!("there is no log in {}", folder.display()))
                .with_help("send it some records first: dvse produce --to file:DIR --file records.jsonl"));
        }
        self.open(Waiting::briefly())
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
        LogError::Held { .. } | LogError::HeldByBroker { .. } => {
            "start `dvse ingest` on this log, which takes the records away"
        }
        LogError::NoTopic { .. } => {
            "see which topics there are: dvse topics list --log SOURCE.\n\
             On Pulsar make them with dvse topics ensure --pulsar pulsar://HOST:6650 --admin http://HOST:8080"
        }
        LogError::NeedsAdministration { .. } => {
            "make the topics once: dvse topics ensure --pulsar pulsar://HOST:6650 --admin http://HOST:8080"
        }
        LogError::Unreachable { .. } => "start it, or check the address: the same command goes on then",
        LogError::Denied { .. } => {
            "give a token that may produce and consume in the namespace as DVSE_PULSAR_TOKEN"
        }
        LogError::Refused { .. } => "check the address and the topic with who runs the cluster",
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
        #[cfg(feature = "pulsar")]
        assert_eq!(parse_place("pulsar://h:6650"), Ok(LogPlace::Pulsar("pulsar://h:6650".to_owned())));
        let pulsar = if cfg!(feature = "pulsar") { "write pulsar://HOST:PORT" } else { "--features pulsar" };
        for (text, says) in [
            ("pulsar://h:x", pulsar),
            ("pulsar+ssl://h:6651", pulsar),
            ("", "folder"),
            ("file:", "folder"),
            ("http://x", "folder"),
        ] {
            assert!(parse_place(text).is_err_and(|error| error.contains(says)), "{text}");
        }
    }
}
