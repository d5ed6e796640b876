//! A consumer on a connection of its own: what sources and walks through a topic are made of.

use pulsar::message::{Message, proto};
use pulsar::proto::MessageIdData;

use super::command::{self, Subscription};
use super::decode::records;
use super::place::Place;
use super::trouble::Trouble;
use super::wire::{Connection, Endpoint, strange};
use crate::log::Record;

/// The number of the consumer on its connection, which it has for itself.
const CONSUMER: u64 = 1;
/// Bytes of records that may wait for the worker: one of its batches.
const QUEUED_BYTES_MAX: usize = 4 << 20;
/// Entries that may be on their way, whose size nobody knows before they come: as many as fit the same bytes if they are like those
/// before, but a few, and so few that memory stays bounded when large ones follow small ones.
const UNDER_WAY_MIN: u32 = 4;
const UNDER_WAY_MAX: u32 = 64;

/// What a consumer is to read.
#[derive(Debug, Clone)]
pub(super) struct Reading {
    pub endpoint: Endpoint,
    /// The topic of the partition, as Pulsar names it.
    pub topic: String,
    /// A durable subscription, or none, which leaves nothing behind.
    pub subscription: Option<String>,
}

/// A subscribed consumer.
pub(super) struct Consumer {
    connection: Connection,
    /// Messages that the broker may send.
    permits: i64,
    /// The size of an entry as it came, in the mean of the last few.
    mean_bytes: u64,
}

/// Where a subscription and its topic are.
#[derive(Debug, Clone, Copy)]
pub(super) struct Ends {
    /// The newest record.
    pub last: Place,
    /// What is acknowledged.
    pub acknowledged: Place,
}

/// What a broker sends to a consumer.
pub(super) enum Delivery {
    /// The records of an entry.
    Entry(Place, Vec<Record>),
    /// Nothing for us.
    Other,
}

impl Consumer {
    /// Subscribes. Without a subscription it begins with the entry of `from`, or with the oldest.
    pub(super) async fn open(reading: &Reading, from: Option<Place>) -> Result<Consumer, Trouble> {
        let mut connection = Connection::to(&reading.endpoint, Some(&reading.topic)).await?;
        let start = match (&reading.subscription, from) {
            (Some(_), _) => None,
            (None, None) => Some(super::place::earliest()),
            // Reading begins behind the id.
            (None, Some(place)) => Some(place.entry_before().id()),
        };
        let subscription = Subscription {
            topic: &reading.topic,
            consumer: CONSUMER,
            name: reading.subscription.as_deref().unwrap_or("dvse-reader"),
            is_durable: reading.subscription.is_some(),
            start,
        };
        let name = format!("{}-{}", subscription.name, super::random_name());
        let subscription = match reading.subscription {
            Some(_) => subscription,
            // Two readers are no rivals.
            None => Subscription { name: &name, ..subscription },
        };
        connection.request(|id| command::subscribe(&subscription, id)).await?;
        Ok(Consumer { connection, permits: 0, mean_bytes: 0 })
    }

    pub(super) async fn ends(&mut self) -> Result<Ends, Trouble> {
        let answer = self.connection.request(|id| command::last_id(CONSUMER, id)).await?;
        let Some(answer) = answer.get_last_message_id_response else { return Err(strange("for the newest")) };
        let acknowledged = answer.consumer_mark_delete_position.as_ref().map(Place::of_id);
        let nothing = Place { ledger: 0, entry: -1, index: 0 };
        Ok(Ends { last: newest(&answer.last_message_id), acknowledged: acknowledged.unwrap_or(nothing) })
    }

    /// Acknowledges everything up to an entry, and returns once the broker has heard it.
    pub(super) async fn acknowledge(&mut self, place: Place) -> Result<(), Trouble> {
        let answer =
            self.connection.request(|id| command::acknowledge(CONSUMER, place.id(), id)).await?.ack_response;
        match answer {
            Some(proto::CommandAckResponse { error: Some(code), message, .. }) => {
                Err(Trouble::answered(code, &message.unwrap_or_default()))
            }
            Some(_) => Ok(()),
            None => Err(strange("an acknowledgement")),
        }
    }

    /// Moves the subscription, so that it goes on with an entry, or with the oldest. The broker ends the consumer.
    pub(super) async fn seek(mut self, to: Option<Place>) -> Result<(), Trouble> {
        let id: MessageIdData = to.map_or_else(super::place::earliest, Place::id);
        self.connection.request(|request| command::seek(CONSUMER, id, request)).await.map(drop)
    }

    pub(super) async fn unsubscribe(mut self) -> Result<(), Trouble> {
        self.connection.request(|id| command::unsubscribe(CONSUMER, id)).await.map(drop)
    }

    /// Ends the consumer, so that the next one of the subscription need not wait until the broker misses this one.
    pub(super) async fn close(mut self) {
        drop(self.connection.request(|id| command::close_consumer(CONSUMER, id)).await);
    }

    /// Entries that are not acknowledged, and their bytes by the mean of those that came.
    pub(super) async fn backlog(&mut self) -> Result<(u64, u64), Trouble> {
        let answer = self.connection.request(|id| command::statistics(CONSUMER, id)).await?;
        let Some(answer) = answer.consumer_stats_response else { return Err(strange("for statistics")) };
        if let Some(code) = answer.error_code {
            return Err(Trouble::answered(code, &answer.error_message.unwrap_or_default()));
        }
        let entries = answer.msg_backlog.unwrap_or_default();
        Ok((entries, entries.saturating_mul(self.mean_bytes)))
    }

    /// Whether so many bytes of records that wait leave room for others.
    pub(super) fn has_room(queued_bytes: usize) -> bool {
        queued_bytes < QUEUED_BYTES_MAX
    }

    /// Lets the broker send more, where so many bytes of records wait for the worker.
    pub(super) async fn allow(&mut self, queued_bytes: usize) -> Result<(), Trouble> {
        if !Consumer::has_room(queued_bytes) {
            return Ok(());
        }
        let fit = QUEUED_BYTES_MAX as u64 / self.mean_bytes.max(1);
        let wanted = match self.mean_bytes {
            0 => UNDER_WAY_MIN,
            _ => u32::try_from(fit).unwrap_or(u32::MAX).clamp(UNDER_WAY_MIN, UNDER_WAY_MAX),
        };
        let more = i64::from(wanted).saturating_sub(self.permits);
        if more >= i64::from(wanted.div_ceil(2)) {
            let more = u32::try_from(more).unwrap_or(wanted);
            self.connection.send(command::flow(CONSUMER, more)).await?;
            self.permits += i64::from(more);
        }
        Ok(())
    }

    /// Waits for what the broker sends. Without room for records they are left packed, however large they become, and only the
    /// connection is kept alive. May be dropped while it waits.
    pub(super) async fn next(&mut self, has_room: bool) -> Result<Delivery, Trouble> {
        if !has_room {
            self.connection.hold().await?;
            return Ok(Delivery::Other);
        }
        let Message { command, payload } = self.connection.next().await?;
        if command.close_consumer.is_some() {
            return Err(Trouble::Lost("it moved the topic".to_owned()));
        }
        if command.reached_end_of_topic.is_some() {
            return Ok(Delivery::Other);
        }
        let (Some(message), Some(payload)) = (command.message, payload) else { return Ok(Delivery::Other) };
        let place = Place { index: 0, ..Place::of_id(&message.message_id) };
        let bytes = payload.data.len() as u64;
        self.mean_bytes =
            if self.mean_bytes == 0 { bytes } else { (7 * self.mean_bytes + bytes).div_ceil(8) };
        self.permits -= i64::from(payload.metadata.num_messages_in_batch.unwrap_or(1));
        Ok(Delivery::Entry(place, records(place, payload)))
    }
}

/// The newest id of a topic; of a batch it is told how many messages it has, in one of two ways.
fn newest(id: &MessageIdData) -> Place {
    let place = Place::of_id(id);
    match id.batch_size {
        Some(size) if size > 0 => Place { index: u32::try_from(size - 1).unwrap_or_default(), ..place },
        _ => place,
    }
}
