//! The log that needs nothing but a folder.
//!
//! ```text
//! FOLDER/TENANT/NAMESPACE/TOPIC/
//!     topic                         settings and incarnation
//!     partition-0000/wal-….log      records (docs/format/topics.md)
//!                    producer.lock  held by the one who appends
//!                    subscriptions/NAME.position
//! ```
//!
//! One process at a time appends to a partition; any number of processes read it meanwhile, each with subscriptions of its
//! own or sharing one, in which case the farthest commit counts.

mod producer;
mod raw;
mod record;
mod source;
mod subscriptions;

use std::collections::hash_map::RandomState;
use std::fmt;
use std::hash::{BuildHasher as _, Hasher as _};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use dvse_storage::{Directory, DirectoryError, FsDirectory, LockGuard, WalError, read_checked, write_atomic};

use self::producer::EmbeddedProducer;
use self::raw::TopicFile;
use self::source::EmbeddedSource;
use self::subscriptions::Subscriptions;
use crate::log::{LogError, Pending, Producer, Source, TopicLog};
use crate::topic::{PARTITIONS_MAX, TopicName, TopicSpec};
use dvse_types::{Position, StreamName};

const TOPIC_FILE: &str = "topic";
const LOCK: &str = "log.lock";
/// How long making a topic waits for another process that makes one.
const LOCK_TRIES: u32 = 200;
const LOCK_PAUSE: Duration = Duration::from_millis(10);
/// A file of a partition holds this much at least: each costs a preallocation and three syncs.
const SEGMENT_BYTES_MIN: u64 = 4096;

/// Tells the time in milliseconds since 1970; a value, so that tests of retention do not wait.
#[derive(Clone)]
pub struct Clock(pub Arc<dyn Fn() -> u64 + Send + Sync>);

impl Clock {
    /// The clock of the machine.
    #[must_use]
    pub fn system() -> Clock {
        Clock(Arc::new(|| {
            let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
            u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
        }))
    }
}

impl fmt::Debug for Clock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Clock")
    }
}

/// A log of topics in a folder; see the module's documentation.
#[derive(Debug, Clone)]
pub struct EmbeddedLog {
    dir: Arc<dyn Directory>,
    clock: Clock,
}

/// One partition: which, and where it is.
#[derive(Debug, Clone)]
struct Partition {
    topic: TopicName,
    number: u32,
    dir: Arc<dyn Directory>,
}

impl EmbeddedLog {
    /// Opens the log in a folder, which is made if it is not there.
    ///
    /// # Errors
    /// The folder cannot be made.
    pub fn open(folder: &Path) -> Result<EmbeddedLog, LogError> {
        Ok(EmbeddedLog::over(Arc::new(FsDirectory::create(folder)?), Clock::system()))
    }

    /// A log in any directory with any clock.
    #[must_use]
    pub fn over(dir: Arc<dyn Directory>, clock: Clock) -> EmbeddedLog {
        EmbeddedLog { dir, clock }
    }

    fn folder(&self, topic: &TopicName) -> Arc<dyn Directory> {
        self.dir.sub(topic.tenant()).sub(topic.namespace()).sub(topic.topic())
    }

    fn topic_file(&self, topic: &TopicName) -> Result<Option<TopicFile>, LogError> {
        let Some(body) = read_checked(&*self.folder(topic), TOPIC_FILE)? else { return Ok(None) };
        let problem = match serde_json::from_slice::<TopicFile>(&body) {
            Ok(file) if file.version == 1 && (1..=PARTITIONS_MAX).contains(&file.partitions) => {
                return Ok(Some(file));
            }
            Ok(file) => format!("version {} with {} partitions", file.version, file.partitions),
            Err(error) => error.to_string(),
        };
        Err(LogError::Settings { topic: topic.clone(), problem })
    }

    fn there(&self, topic: &TopicName) -> Result<TopicFile, LogError> {
        self.topic_file(topic)?.ok_or_else(|| LogError::NoTopic { topic: topic.clone() })
    }

    fn partition(&self, topic: &TopicName, file: &TopicFile, number: u32) -> Result<Partition, LogError> {
        if number >= file.partitions {
            let (topic, partitions) = (topic.clone(), file.partitions);
            return Err(LogError::NoPartition { topic, partition: number, partitions });
        }
        let dir = self.folder(topic).sub(&partition_folder(number));
        Ok(Partition { topic: topic.clone(), number, dir })
    }

    async fn lock(&self) -> Result<LockGuard, LogError> {
        for _ in 0..LOCK_TRIES {
            match self.dir.lock(LOCK) {
                Err(DirectoryError::Locked { .. }) => tokio::time::sleep(LOCK_PAUSE).await,
                locked => return Ok(locked?),
            }
        }
        Ok(self.dir.lock(LOCK)?)
    }

    async fn make(&self, topic: &TopicName, spec: TopicSpec) -> Result<(), LogError> {
        check(topic, &spec)?;
        let _lock = self.lock().await?;
        let incarnation = match self.topic_file(topic)? {
            Some(file) if file.partitions != spec.partitions => {
                let (topic, there, asked) = (topic.clone(), file.partitions, spec.partitions);
                return Err(LogError::Partitions { topic, there, asked });
            }
            Some(file) if file.spec() == spec => return Ok(()),
            Some(file) => file.incarnation,
            None => {
                self.make_folders(topic, spec.partitions)?;
                new_incarnation()
            }
        };
        let file = TopicFile::new(incarnation, spec);
        let body = serde_json::to_vec(&file).map_err(|error| {
            let problem = error.to_string();
            LogError::Settings { topic: topic.clone(), problem }
        })?;
        // Last, so that a topic that can be seen is whole.
        Ok(write_atomic(&*self.folder(topic), TOPIC_FILE, &body)?)
    }

    fn make_folders(&self, topic: &TopicName, partitions: u32) -> Result<(), LogError> {
        let mut dir = Arc::clone(&self.dir);
        for part in [topic.tenant(), topic.namespace(), topic.topic()] {
            dir.create_dir(part)?;
            dir.sync_dir()?;
            dir = dir.sub(part);
        }
        for number in 0..partitions {
            let name = partition_folder(number);
            dir.create_dir(&name)?;
            Subscriptions::make_folder(&*dir.sub(&name))?;
        }
        Ok(dir.sync_dir()?)
    }

    fn list(&self) -> Result<Vec<TopicName>, LogError> {
        let folders = |dir: &dyn Directory| -> Result<Vec<String>, LogError> {
            Ok(dir.list()?.into_iter().filter(|entry| entry.is_dir).map(|entry| entry.name).collect())
        };
        let mut topics = Vec::new();
        for tenant in folders(&*self.dir)? {
            let tenant_dir = self.dir.sub(&tenant);
            for namespace in folders(&*tenant_dir)? {
                for topic in folders(&*tenant_dir.sub(&namespace))? {
                    // A folder that no topic can have is not ours.
                    let Ok(name) = format!("persistent://{tenant}/{namespace}/{topic}").parse() else {
                        continue;
                    };
                    if self.topic_file(&name)?.is_some() {
                        topics.push(name);
                    }
                }
            }
        }
        topics.sort();
        Ok(topics)
    }
}

impl TopicLog for EmbeddedLog {
    fn ensure<'a>(&'a self, topic: &'a TopicName, spec: TopicSpec) -> Pending<'a, Result<(), LogError>> {
        Box::pin(self.make(topic, spec))
    }

    fn spec<'a>(&'a self, topic: &'a TopicName) -> Pending<'a, Result<Option<TopicSpec>, LogError>> {
        Box::pin(async move { Ok(self.topic_file(topic)?.map(|file| file.spec())) })
    }

    fn topics(&self) -> Pending<'_, Result<Vec<TopicName>, LogError>> {
        Box::pin(async move { self.list() })
    }

    fn source<'a>(
        &'a self,
        topic: &'a TopicName,
        partition: u32,
        subscription: Option<&'a str>,
    ) -> Pending<'a, Result<Box<dyn Source>, LogError>> {
        Box::pin(async move {
            let file = self.there(topic)?;
            let partition = self.partition(topic, &file, partition)?;
            let stream: StreamName = format!("{topic}#{}", file.incarnation).parse().map_err(|error| {
                let problem = format!("incarnation {:?}: {error}", file.incarnation);
                LogError::Settings { topic: topic.clone(), problem }
            })?;
            Ok(Box::new(EmbeddedSource::open(partition, stream, subscription)?) as Box<dyn Source>)
        })
    }

    fn producer<'a>(
        &'a self,
        topic: &'a TopicName,
        partition: u32,
    ) -> Pending<'a, Result<Box<dyn Producer>, LogError>> {
        Box::pin(async move {
            let file = self.there(topic)?;
            let partition = self.partition(topic, &file, partition)?;
            let producer = EmbeddedProducer::open(partition, file.spec(), self.clock.clone())?;
            Ok(Box::new(producer) as Box<dyn Producer>)
        })
    }

    fn unsubscribe<'a>(
        &'a self,
        topic: &'a TopicName,
        subscription: &'a str,
    ) -> Pending<'a, Result<(), LogError>> {
        Box::pin(async move {
            let file = self.there(topic)?;
            for number in 0..file.partitions {
                Subscriptions::of(&self.partition(topic, &file, number)?).remove(subscription)?;
            }
            Ok(())
        })
    }
}

impl Partition {
    fn damaged(&self, what: &'static str, problem: String) -> LogError {
        LogError::Damaged { topic: self.topic.clone(), partition: self.number, what, problem }
    }

    /// Turns what the files said into what a reader asked for.
    fn records(&self, error: WalError) -> LogError {
        let (topic, partition) = (self.topic.clone(), self.number);
        let position = |seq: dvse_types::SeqNo| Position(u128::from(seq.0));
        match error {
            WalError::NotThere { seq, first, last } => LogError::Gone {
                topic,
                partition,
                position: position(seq),
                oldest: position(first),
                newest: position(last),
            },
            source => LogError::Records { topic, partition, source: Box::new(source) },
        }
    }
}

fn partition_folder(number: u32) -> String {
    format!("partition-{number:04}")
}

fn check(topic: &TopicName, spec: &TopicSpec) -> Result<(), LogError> {
    let wrong = |field, got, rule| Err(LogError::Setting { topic: topic.clone(), field, got, rule });
    if !(1..=PARTITIONS_MAX).contains(&spec.partitions) {
        return wrong("the number of partitions", u64::from(spec.partitions), "1 to 256");
    }
    if !(SEGMENT_BYTES_MIN..=1 << 30).contains(&spec.segment_bytes) {
        return wrong("the size of files", spec.segment_bytes, "4 KiB to 1 GiB");
    }
    Ok(())
}

/// 128 bits that no other topic has: two of the process's random hash keys, which the system seeds.
fn new_incarnation() -> String {
    let half = || RandomState::new().build_hasher().finish();
    format!("{:016x}{:016x}", half(), half())
}
