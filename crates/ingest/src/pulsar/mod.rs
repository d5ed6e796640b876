//! Apache Pulsar as a log of topics; cargo feature `pulsar`.
//!
//! The client is ours on the wire format of the `pulsar` crate ([`wire`] says why). In reading order:
//!
//! - [`place`]: an id of Pulsar is a position.
//! - [`wire`], [`command`]: a connection that belongs to one task.
//! - [`trouble`]: what can fail, what waiting mends, and who is told.
//! - [`consumer`], [`pump`], [`source`]: reading. [`sender`], [`producer`]: writing. [`walk`]: from the newest record back.
//! - [`admin`]: what only the administration interface can do, such as making topics. [`plan`], [`schema`]: what is missing there.
//!
//! All tasks run on a runtime of the log. A worker, which has its own runtime and blocks it while it embeds, neither holds up
//! the answers to a broker's pings nor the records that come meanwhile.

mod admin;
mod command;
mod consumer;
mod decode;
mod place;
mod plan;
mod producer;
mod pump;
mod schema;
mod sender;
mod source;
mod trouble;
mod walk;
mod wire;

use std::collections::hash_map::RandomState;
use std::fmt;
use std::hash::{BuildHasher as _, Hasher as _};
use std::sync::Arc;
use std::time::Duration;

use tokio::runtime::{Builder, Handle, Runtime};
use tokio::task::JoinHandle;

pub use self::admin::{Admin, AdminError};
use self::consumer::{Consumer, Reading};
pub use self::plan::{Change, Findings, TopicsPlan};
use self::producer::PulsarProducer;
use self::pump::Pump;
use self::sender::Sender;
use self::source::PulsarSource;
pub use self::trouble::Watch;
use self::trouble::{Patience, Trouble};
use self::walk::Walk;
use self::wire::{Connection, Endpoint, address_of, strange};
use crate::log::{LogError, Pending, Producer, Source, TopicLog};
use crate::topic::{TopicName, TopicSpec};
use dvse_types::StreamName;

/// Threads for all connections of a log: they wait for sockets, and unpack.
const THREADS: usize = 2;
/// A subscription's name has at most so many bytes, as in the embedded log.
const SUBSCRIPTION_BYTES_MAX: usize = 80;

/// How to reach a cluster.
#[derive(Debug, Clone)]
pub struct PulsarOptions {
    /// A broker or a proxy: `pulsar://HOST:PORT`.
    pub url: String,
    /// The administration interface, `http://HOST:PORT`, for making topics and telling their settings.
    pub admin: Option<Admin>,
    /// A token, where the cluster asks for one.
    pub token: Option<String>,
    /// How long to wait for a broker that is not there; `None` is for ever.
    pub patience: Option<Duration>,
    /// How long to wait for another client to let go of a partition, such as one that was killed a moment ago.
    pub busy_wait: Duration,
    /// Told of outages.
    pub watch: Arc<dyn Watch>,
}

/// A cluster of Apache Pulsar; see the module's documentation.
#[derive(Debug)]
pub struct PulsarLog {
    endpoint: Endpoint,
    patience: Patience,
    admin: Option<Admin>,
    runtime: Background,
}

/// A runtime that ends with the log, also where one must not wait for its tasks.
struct Background(Option<Runtime>);

impl Drop for Background {
    fn drop(&mut self) {
        if let Some(runtime) = self.0.take() {
            runtime.shutdown_background();
        }
    }
}

impl fmt::Debug for Background {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Background")
    }
}

impl PulsarLog {
    /// A log of this cluster. Nothing is asked of it yet.
    ///
    /// # Errors
    /// The address is not one of a broker, or the machine gives no threads.
    pub fn new(options: PulsarOptions) -> Result<PulsarLog, LogError> {
        let refused = |reason: String| LogError::Refused {
            url: options.url.clone(),
            what: "to be reached".to_owned(),
            reason,
        };
        let address = address_of(&options.url).map_err(|trouble| refused(trouble.to_string()))?;
        let mut builder = Builder::new_multi_thread();
        let runtime = builder.worker_threads(THREADS).thread_name("pulsar").enable_all().build();
        let runtime = runtime.map_err(|error| refused(error.to_string()))?;
        Ok(PulsarLog {
            endpoint: Endpoint { address, token: options.token.clone() },
            patience: Patience::new(&options.url, options.watch, options.patience, options.busy_wait),
            admin: options.admin,
            runtime: Background(Some(runtime)),
        })
    }

    fn handle(&self) -> Result<Handle, LogError> {
        let runtime = self.runtime.0.as_ref().map(|runtime| runtime.handle().clone());
        runtime.ok_or_else(|| LogError::Unreachable {
            url: self.patience.url.to_string(),
            reason: "the log was closed".to_owned(),
        })
    }

    /// Runs a request on the runtime of the log until it works.
    async fn ask<T, F>(
        &self,
        topic: Option<&TopicName>,
        job: impl Fn(Endpoint) -> F + Send + 'static,
    ) -> Result<T, LogError>
    where
        T: Send + 'static,
        F: Future<Output = Result<T, Trouble>> + Send,
    {
        let mut outage = self.patience.outage(topic, 0);
        let endpoint = self.endpoint.clone();
        let work = async move {
            loop {
                match job(endpoint.clone()).await {
                    Ok(done) => return Ok(done),
                    Err(trouble) => {
                        outage.after(trouble).await.map_err(|trouble| outage.error(trouble))?;
                    }
                }
            }
        };
        joined(self.handle()?.spawn(work)).await
    }

    /// How many partitions a topic has; `None` if there is no such topic with partitions.
    async fn partitions(&self, topic: &TopicName) -> Result<Option<u32>, LogError> {
        let name = topic.to_string();
        let asked = self.ask(Some(topic), move |endpoint| {
            let name = name.clone();
            async move {
                let mut connection = Connection::to(&endpoint, None).await?;
                let answer = connection.request(|id| command::partitions(name, id)).await?;
                let Some(found) = answer.partition_metadata_response else { return Err(strange("a topic")) };
                if let Some(code) = found.error {
                    return Err(Trouble::answered(code, &found.message.unwrap_or_default()));
                }
                Ok(found.partitions.unwrap_or_default())
            }
        });
        match asked.await {
            Ok(0) | Err(LogError::NoTopic { .. }) => Ok(None),
            Ok(partitions) => Ok(Some(partitions)),
            Err(error) => Err(error),
        }
    }

    async fn there(&self, topic: &TopicName, partition: u32) -> Result<(), LogError> {
        let partitions = self.partitions(topic).await?;
        match partitions {
            None => Err(LogError::NoTopic { topic: topic.clone() }),
            Some(partitions) if partition >= partitions => {
                Err(LogError::NoPartition { topic: topic.clone(), partition, partitions })
            }
            Some(_) => Ok(()),
        }
    }

    fn reading(&self, topic: &TopicName, partition: u32, subscription: Option<&str>) -> Reading {
        Reading {
            endpoint: self.endpoint.clone(),
            topic: partition_topic(topic, partition),
            subscription: subscription.map(str::to_owned),
        }
    }

    async fn open_source(
        &self,
        topic: &TopicName,
        partition: u32,
        subscription: Option<&str>,
    ) -> Result<Box<dyn Source>, LogError> {
        if let Some(name) = subscription
            && !(1..=SUBSCRIPTION_BYTES_MAX).contains(&name.len())
        {
            return Err(LogError::SubscriptionName(name.to_owned()));
        }
        self.there(topic, partition).await?;
        // Ledgers are never numbered anew in a cluster: no incarnation tells two topics of one name apart, their places do.
        let stream: StreamName = format!("{topic}#pulsar")
            .parse()
            .map_err(|error| LogError::Settings { topic: topic.clone(), problem: format!("{error}") })?;
        let reading = self.reading(topic, partition, subscription);
        let opening = Pump::open(reading, topic.clone(), partition, self.patience.clone());
        let pump = joined(self.handle()?.spawn(opening)).await?;
        Ok(Box::new(PulsarSource::start(stream, pump, &self.handle()?)))
    }

    async fn open_producer(
        &self,
        topic: &TopicName,
        partition: u32,
        is_exclusive: bool,
    ) -> Result<Box<dyn Producer>, LogError> {
        self.there(topic, partition).await?;
        let (endpoint, patience, name) = (self.endpoint.clone(), self.patience.clone(), topic.clone());
        let opening =
            async move { Sender::open(endpoint, (&name, partition), is_exclusive, &patience).await };
        let runtime = self.handle()?;
        let sender = joined(runtime.spawn(opening)).await?;
        let walk = Walk {
            reading: self.reading(topic, partition, None),
            topic: topic.clone(),
            partition,
            patience: self.patience.clone(),
            runtime: runtime.clone(),
        };
        Ok(Box::new(PulsarProducer::start(sender, walk, &runtime)))
    }

    async fn list(&self) -> Result<Vec<TopicName>, LogError> {
        let ours = TopicName::raw_events();
        let namespace = format!("{}/{}", ours.tenant(), ours.namespace());
        let names = self.ask(Some(&ours), move |endpoint| {
            let namespace = namespace.clone();
            async move {
                let mut connection = Connection::to(&endpoint, None).await?;
                let answer = connection.request(|id| command::topics(namespace, id)).await?;
                let found = answer.get_topics_of_namespace_response;
                Ok(found.ok_or_else(|| strange("for topics"))?.topics)
            }
        });
        let names = match names.await {
            Err(LogError::NoTopic { .. }) => Vec::new(),
            names => names?,
        };
        let mut topics: Vec<TopicName> = names
            .iter()
            .filter_map(|name| name.rsplit_once("-partition-"))
            .filter_map(|(topic, _)| topic.parse().ok())
            // Pulsar keeps its own affairs in topics, too.
            .filter(|topic: &TopicName| !topic.topic().starts_with("__"))
            .collect();
        topics.sort();
        topics.dedup();
        Ok(topics)
    }

    async fn settings(&self, topic: &TopicName) -> Result<Option<TopicSpec>, LogError> {
        let Some(partitions) = self.partitions(topic).await? else { return Ok(None) };
        let bare =
            TopicSpec { retention_ms: None, backlog_bytes_max: None, ..TopicSpec::raw_events(partitions) };
        let Some(admin) = self.admin.clone() else { return Ok(Some(bare)) };
        let topic = topic.clone();
        joined(self.handle()?.spawn_blocking(move || admin.settings(&topic, bare))).await.map(Some)
    }

    async fn give_up(&self, topic: &TopicName, subscription: &str) -> Result<(), LogError> {
        for partition in 0..self.partitions(topic).await?.unwrap_or_default() {
            let reading = self.reading(topic, partition, Some(subscription));
            // Subscribing first makes it if it is not there, which is fine, too.
            self.ask(Some(topic), move |_| {
                let reading = reading.clone();
                async move { Consumer::open(&reading, None).await?.unsubscribe().await }
            })
            .await?;
        }
        Ok(())
    }
}

impl TopicLog for PulsarLog {
    fn ensure<'a>(&'a self, topic: &'a TopicName, spec: TopicSpec) -> Pending<'a, Result<(), LogError>> {
        Box::pin(async move {
            let Some(admin) = self.admin.clone() else {
                return Err(LogError::NeedsAdministration { what: format!("making topic {topic}") });
            };
            let plan = TopicsPlan::of(topic.clone(), spec);
            joined(self.handle()?.spawn_blocking(move || plan.carry_out(&admin))).await
        })
    }

    fn spec<'a>(&'a self, topic: &'a TopicName) -> Pending<'a, Result<Option<TopicSpec>, LogError>> {
        Box::pin(self.settings(topic))
    }

    fn topics(&self) -> Pending<'_, Result<Vec<TopicName>, LogError>> {
        Box::pin(self.list())
    }

    fn source<'a>(
        &'a self,
        topic: &'a TopicName,
        partition: u32,
        subscription: Option<&'a str>,
    ) -> Pending<'a, Result<Box<dyn Source>, LogError>> {
        Box::pin(self.open_source(topic, partition, subscription))
    }

    fn producer<'a>(
        &'a self,
        topic: &'a TopicName,
        partition: u32,
    ) -> Pending<'a, Result<Box<dyn Producer>, LogError>> {
        Box::pin(self.open_producer(topic, partition, true))
    }

    fn shared_producer<'a>(
        &'a self,
        topic: &'a TopicName,
        partition: u32,
    ) -> Pending<'a, Result<Box<dyn Producer>, LogError>> {
        Box::pin(self.open_producer(topic, partition, false))
    }

    fn unsubscribe<'a>(
        &'a self,
        topic: &'a TopicName,
        subscription: &'a str,
    ) -> Pending<'a, Result<(), LogError>> {
        Box::pin(self.give_up(topic, subscription))
    }
}

/// Checks that a text is an address of brokers.
///
/// # Errors
/// It is none, and how to write one.
pub fn check_address(url: &str) -> Result<(), String> {
    address_of(url).map(drop).map_err(|trouble| trouble.to_string())
}

/// The name Pulsar has for a partition.
fn partition_topic(topic: &TopicName, partition: u32) -> String {
    format!("{topic}-partition-{partition}")
}

/// A name that nobody else has: one of the process's random hash keys, which the system seeds.
fn random_name() -> String {
    let half = || RandomState::new().build_hasher().finish();
    format!("{:016x}{:016x}", half(), half())
}

/// Waits for a task of the log's runtime.
async fn joined<T>(task: JoinHandle<Result<T, LogError>>) -> Result<T, LogError> {
    match task.await {
        Ok(done) => done,
        Err(error) if error.is_panic() => std::panic::resume_unwind(error.into_panic()),
        Err(_) => {
            Err(LogError::Unreachable { url: "pulsar".to_owned(), reason: "the log was closed".to_owned() })
        }
    }
}
