//! The task behind a producer. Records are numbered and kept until the broker confirms them; after an outage the same
//! producer is made again under its name, and what is not confirmed is sent again in order under the same numbers. A topic
//! with deduplication, as `dvse topics ensure` makes it, then holds each once.

use std::collections::VecDeque;
use std::time::{SystemTime, UNIX_EPOCH};

use pulsar::message::{Message, Payload, proto};
use pulsar::proto::BaseCommand;
use pulsar::proto::base_command::Type;
use tokio::sync::{mpsc, oneshot, watch};

use super::command::{self, ProducerTerms};
use super::decode::key_text;
use super::trouble::{Outage, Patience, Subject, Trouble};
use super::wire::{Connection, Endpoint, strange};
use crate::log::LogError;
use crate::topic::TopicName;
use dvse_fault::passed;

/// The number of the producer on its connection, which it has for itself.
const PRODUCER: u64 = 1;
/// Records that may be unconfirmed.
const UNCONFIRMED_MAX: usize = 4096;
const UNCONFIRMED_BYTES: usize = 16 << 20;

/// A record to be sent.
#[derive(Debug)]
pub(super) struct Outgoing {
    pub key: Vec<u8>,
    pub payload: Vec<u8>,
    /// Its size before it was packed with Zstandard, if it was.
    pub unpacked_bytes: Option<u32>,
}

/// What the handle asks for.
pub(super) enum Order {
    /// Send these.
    Append(Vec<Outgoing>),
    /// Say when all so far is confirmed.
    Flush(oneshot::Sender<()>),
}

/// How the task is.
#[derive(Debug)]
pub(super) enum Status {
    Well,
    /// Producers are held.
    Held(Trouble),
    /// The task gave up.
    Failed(Trouble),
}

/// See the module's documentation.
pub(super) struct Sender {
    endpoint: Endpoint,
    /// The topic of the partition, as Pulsar names it.
    topic: String,
    is_exclusive: bool,
    outage: Outage,
    connection: Option<Connection>,
    name: String,
    /// How often the producer was made, and what the broker said when access was granted.
    epoch: u64,
    topic_epoch: Option<u64>,
    schema_version: Option<Vec<u8>>,
    /// The largest record that the broker takes.
    pub record_bytes_max: usize,
    unconfirmed: VecDeque<(u64, Outgoing)>,
    unconfirmed_bytes: usize,
    next: u64,
    /// Whoever waits until all before a number is confirmed.
    flushes: VecDeque<(u64, oneshot::Sender<()>)>,
}

impl Sender {
    /// Makes the producer, and waits for a broker as long as the log's patience says.
    ///
    /// # Errors
    /// There is no such topic, somebody else writes it, or no waiting helps.
    pub(super) async fn open(
        endpoint: Endpoint,
        (topic, partition): (&TopicName, u32),
        is_exclusive: bool,
        patience: &Patience,
    ) -> Result<Sender, LogError> {
        let mut sender = Sender {
            endpoint,
            topic: super::partition_topic(topic, partition),
            is_exclusive,
            outage: patience.outage(Some(topic), partition),
            connection: None,
            name: format!("dvse-{}", super::random_name()),
            epoch: 0,
            topic_epoch: None,
            schema_version: None,
            record_bytes_max: super::wire::MESSAGE_BYTES_MAX,
            unconfirmed: VecDeque::new(),
            unconfirmed_bytes: 0,
            next: 0,
            flushes: VecDeque::new(),
        };
        loop {
            match sender.establish().await {
                Ok(()) => break,
                // Held before the first record: whoever appends will hear of it.
                Err(Trouble::Held(_)) => break,
                Err(trouble) => {
                    let waited = sender.outage.after(trouble).await;
                    waited.map_err(|trouble| sender.outage.error(trouble))?;
                }
            }
        }
        sender.outage.over();
        Ok(sender)
    }

    pub(super) fn subject(&self) -> Subject {
        self.outage.subject().clone()
    }

    /// One try at making the producer and sending again what is not confirmed.
    async fn establish(&mut self) -> Result<(), Trouble> {
        let mut connection = Connection::to(&self.endpoint, Some(&self.topic)).await?;
        let terms = ProducerTerms {
            topic: &self.topic,
            producer: PRODUCER,
            name: &self.name,
            epoch: self.epoch,
            is_exclusive: self.is_exclusive,
            topic_epoch: self.topic_epoch,
        };
        let made = connection.request(|id| command::producer(&terms, id)).await?.producer_success;
        let Some(made) = made else { return Err(strange("a producer")) };
        self.epoch += 1;
        self.topic_epoch = made.topic_epoch.or(self.topic_epoch);
        self.schema_version = made.schema_version.filter(|version| !version.is_empty());
        // Known only where the topic has deduplication; else −1.
        self.confirm(made.last_sequence_id.unwrap_or(-1));
        for (number, record) in &self.unconfirmed {
            connection.feed(self.message(*number, record)).await?;
        }
        connection.flush().await?;
        self.record_bytes_max = connection.message_bytes_max();
        self.connection = Some(connection);
        Ok(())
    }

    /// Everything up to a number is in the topic.
    fn confirm(&mut self, number: i64) {
        let Ok(number) = u64::try_from(number) else { return };
        while self.unconfirmed.front().is_some_and(|(first, _)| *first <= number) {
            let bytes = self.unconfirmed.pop_front().map_or(0, |(_, record)| record.payload.len());
            self.unconfirmed_bytes = self.unconfirmed_bytes.saturating_sub(bytes);
        }
        self.tell_flushes();
    }

    fn tell_flushes(&mut self) {
        let confirmed = self.unconfirmed.front().map_or(self.next, |(first, _)| *first);
        while self.flushes.front().is_some_and(|(upto, _)| *upto <= confirmed) {
            if let Some((_, reply)) = self.flushes.pop_front() {
                let _given_up = reply.send(());
            }
        }
    }

    fn message(&self, number: u64, record: &Outgoing) -> Message {
        let (partition_key, partition_key_b64_encoded) = key_text(&record.key);
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let metadata = proto::MessageMetadata {
            producer_name: self.name.clone(),
            sequence_id: number,
            publish_time: u64::try_from(since.as_millis()).unwrap_or(u64::MAX),
            partition_key,
            partition_key_b64_encoded,
            schema_version: self.schema_version.clone(),
            compression: record.unpacked_bytes.map(|_| proto::CompressionType::Zstd as i32),
            uncompressed_size: record.unpacked_bytes,
            ..proto::MessageMetadata::default()
        };
        let send = proto::CommandSend {
            producer_id: PRODUCER,
            sequence_id: number,
            ..proto::CommandSend::default()
        };
        Message {
            command: BaseCommand { send: Some(send), ..command::of(Type::Send) },
            payload: Some(Payload { metadata, data: record.payload.clone() }),
        }
    }

    /// Works until the handle is dropped and everything is confirmed, or nothing can be.
    pub(super) async fn run(mut self, mut orders: mpsc::Receiver<Order>, status: watch::Sender<Status>) {
        let mut is_open = true;
        while is_open || !self.unconfirmed.is_empty() {
            let Some(connection) = &mut self.connection else {
                match self.establish().await {
                    Ok(()) => {
                        self.outage.over();
                        status.send_replace(Status::Well);
                    }
                    Err(trouble) => {
                        if let Trouble::Held(_) = &trouble {
                            status.send_replace(Status::Held(trouble.clone()));
                        }
                        if let Err(trouble) = self.outage.after(trouble).await {
                            status.send_replace(Status::Failed(trouble));
                            return;
                        }
                        // Nobody waits for it any more.
                        if orders.is_closed() {
                            return;
                        }
                    }
                }
                continue;
            };
            let has_room =
                self.unconfirmed.len() < UNCONFIRMED_MAX && self.unconfirmed_bytes < UNCONFIRMED_BYTES;
            let outcome = tokio::select! {
                message = connection.next() => match message {
                    Ok(message) => self.hear(&message.command),
                    Err(trouble) => Err(trouble),
                },
                order = orders.recv(), if is_open && has_room => match order {
                    Some(order) => self.obey(order).await,
                    None => {
                        is_open = false;
                        Ok(())
                    }
                },
            };
            if outcome.is_err() {
                self.connection = None;
            }
        }
    }

    async fn obey(&mut self, order: Order) -> Result<(), Trouble> {
        match order {
            Order::Flush(reply) => {
                self.flushes.push_back((self.next, reply));
                self.tell_flushes();
                Ok(())
            }
            Order::Append(records) => {
                let first = self.unconfirmed.len();
                for record in records {
                    self.unconfirmed_bytes += record.payload.len();
                    self.unconfirmed.push_back((self.next, record));
                    self.next += 1;
                }
                let messages: Vec<Message> = self
                    .unconfirmed
                    .iter()
                    .skip(first)
                    .map(|(number, record)| self.message(*number, record))
                    .collect();
                let Some(connection) = &mut self.connection else { return Ok(()) };
                for message in messages {
                    connection.feed(message).await?;
                    passed("sent");
                }
                connection.flush().await
            }
        }
    }

    /// What the broker says; an error is that another producer has to be made.
    fn hear(&mut self, command: &BaseCommand) -> Result<(), Trouble> {
        if let Some(receipt) = &command.send_receipt {
            self.confirm(receipt.sequence_id.cast_signed());
            passed("confirmed");
        }
        if let Some(error) = &command.send_error {
            return Err(Trouble::answered(error.error, &error.message));
        }
        if command.close_producer.is_some() {
            return Err(Trouble::Lost("it closed the producer".to_owned()));
        }
        Ok(())
    }
}
