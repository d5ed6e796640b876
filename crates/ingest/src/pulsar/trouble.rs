//! What goes wrong with a broker, and waiting for it to pass.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use pulsar::error::ConnectionError;
use pulsar::proto::ServerError;
use tokio::time::Instant;

use crate::log::LogError;
use crate::topic::TopicName;

/// The first and the longest pause between two tries.
const FIRST_PAUSE: Duration = Duration::from_millis(50);
const LONGEST_PAUSE: Duration = Duration::from_secs(2);
/// An outage that is over sooner is not worth a line.
const QUIET: Duration = Duration::from_millis(500);

/// Why a call to a broker failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Trouble {
    /// It cannot be reached, or is not ready: the same call works later.
    Lost(String),
    /// Producers are held until consumers have caught up.
    Held(String),
    /// Somebody else has what only one may have.
    Busy(String),
    /// It does not let us in.
    Denied(String),
    /// The topic or its namespace is not there.
    NotThere(String),
    /// It will not do it, now or later.
    Refused(String),
}

impl fmt::Display for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (Trouble::Lost(text)
        | Trouble::Held(text)
        | Trouble::Busy(text)
        | Trouble::Denied(text)
        | Trouble::NotThere(text)
        | Trouble::Refused(text)) = self;
        f.write_str(text)
    }
}

impl From<ConnectionError> for Trouble {
    fn from(error: ConnectionError) -> Trouble {
        Trouble::Lost(match error {
            ConnectionError::Io(error) => error.to_string(),
            error => error.to_string(),
        })
    }
}

impl Trouble {
    /// Sorts an error that a broker answered.
    pub(super) fn answered(code: i32, message: &str) -> Trouble {
        // The broker sends stack traces: what a person can use is the first line.
        let text = message.lines().next().unwrap_or_default();
        let text = text.rsplit("Exception: ").next().unwrap_or(text).trim();
        let code = ServerError::try_from(code).unwrap_or(ServerError::UnknownError);
        let text = if text.is_empty() { code.as_str_name().to_owned() } else { text.to_owned() };
        // Missing namespaces are told in words only, with one of several codes.
        let is_missing = ["Namespace not found", "Policies not found", "does not exist", "Topic not found"]
            .iter()
            .any(|words| text.contains(words));
        match code {
            ServerError::AuthenticationError | ServerError::AuthorizationError => Trouble::Denied(text),
            ServerError::TopicNotFound => Trouble::NotThere(text),
            ServerError::MetadataError | ServerError::UnknownError if is_missing => Trouble::NotThere(text),
            ServerError::ConsumerBusy | ServerError::ProducerBusy | ServerError::ProducerFenced => {
                Trouble::Busy(text)
            }
            ServerError::ProducerBlockedQuotaExceededError
            | ServerError::ProducerBlockedQuotaExceededException => Trouble::Held(text),
            ServerError::InvalidTopicName
            | ServerError::IncompatibleSchema
            | ServerError::NotAllowedError
            | ServerError::TopicTerminatedError
            | ServerError::UnsupportedVersionError => Trouble::Refused(text),
            _ => Trouble::Lost(text),
        }
    }
}

/// Told of what a log waits for, and asked whether waiting has a point.
pub trait Watch: fmt::Debug + Send + Sync {
    /// The log waits for something; told once.
    fn waiting(&self, what: &str);

    /// All is well again.
    fn resumed(&self) {}

    /// Whether to give up waiting.
    fn is_stopping(&self) -> bool;
}

/// What all parts of a log share about waiting.
#[derive(Debug, Clone)]
pub(super) struct Patience {
    pub url: Arc<str>,
    pub watch: Arc<dyn Watch>,
    /// How long to wait for a broker; `None` is for ever.
    pub longest: Option<Duration>,
    /// How long to wait for somebody who has what only one may have.
    pub busy: Duration,
    waiting: Arc<AtomicUsize>,
}

impl Patience {
    pub(super) fn new(
        url: &str,
        watch: Arc<dyn Watch>,
        longest: Option<Duration>,
        busy: Duration,
    ) -> Patience {
        Patience { url: url.into(), watch, longest, busy, waiting: Arc::default() }
    }

    /// An outage that begins now, if it does.
    pub(super) fn outage(&self, topic: Option<&TopicName>, partition: u32) -> Outage {
        let name = Subject { url: Arc::clone(&self.url), topic: topic.cloned(), partition };
        Outage { patience: self.clone(), subject: name, since: None, pause: FIRST_PAUSE, is_told: false }
    }
}

/// What a call is about, for its errors.
#[derive(Debug, Clone)]
pub(super) struct Subject {
    url: Arc<str>,
    topic: Option<TopicName>,
    partition: u32,
}

impl Subject {
    pub(super) fn error(&self, trouble: Trouble) -> LogError {
        let (url, partition) = (self.url.to_string(), self.partition);
        match (trouble, self.topic.clone()) {
            (Trouble::Denied(reason), _) => LogError::Denied { url, reason },
            (Trouble::Lost(reason), _) => LogError::Unreachable { url, reason },
            (Trouble::NotThere(_), Some(topic)) => LogError::NoTopic { topic },
            (Trouble::Busy(holder), Some(topic)) => LogError::Busy { topic, partition, holder },
            (Trouble::Held(reason), Some(topic)) => LogError::HeldByBroker { topic, partition, reason },
            (trouble, topic) => {
                let what = topic.map_or_else(|| "the request".to_owned(), |topic| topic.to_string());
                LogError::Refused { url, what, reason: trouble.to_string() }
            }
        }
    }
}

/// One call that is tried again until it works.
#[derive(Debug)]
pub(super) struct Outage {
    patience: Patience,
    subject: Subject,
    since: Option<Instant>,
    pause: Duration,
    is_told: bool,
}

impl Outage {
    /// Waits before the next try.
    ///
    /// # Errors
    /// There is no point in one.
    pub(super) async fn after(&mut self, trouble: Trouble) -> Result<(), Trouble> {
        let now = Instant::now();
        let waited = now.duration_since(*self.since.get_or_insert(now));
        let longest = match &trouble {
            Trouble::Lost(_) => self.patience.longest,
            // Whoever is held learns it from the producer, not from here.
            Trouble::Held(_) => None,
            Trouble::Busy(_) => Some(self.patience.busy),
            _ => return Err(trouble),
        };
        if longest.is_some_and(|longest| waited >= longest) || self.patience.watch.is_stopping() {
            return Err(trouble);
        }
        if waited >= QUIET && !self.is_told && !matches!(trouble, Trouble::Held(_)) {
            self.is_told = true;
            if self.patience.waiting.fetch_add(1, Ordering::Relaxed) == 0 {
                self.patience.watch.waiting(&self.subject.error(trouble).to_string());
            }
        }
        tokio::time::sleep(self.pause).await;
        self.pause = (self.pause * 2).min(LONGEST_PAUSE);
        Ok(())
    }

    /// It worked.
    pub(super) fn over(&mut self) {
        self.since = None;
        self.pause = FIRST_PAUSE;
        if std::mem::take(&mut self.is_told) && self.patience.waiting.fetch_sub(1, Ordering::Relaxed) == 1 {
            self.patience.watch.resumed();
        }
    }

    pub(super) fn subject(&self) -> &Subject {
        &self.subject
    }

    /// The error of a call that is given up.
    pub(super) fn error(&self, trouble: Trouble) -> LogError {
        self.subject.error(trouble)
    }
}

impl Drop for Outage {
    fn drop(&mut self) {
        self.over();
    }
}
