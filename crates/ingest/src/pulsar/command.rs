//! The commands that are sent, each as a message of the protocol.

use pulsar::message::{Message, proto};
use pulsar::proto::base_command::Type;
use pulsar::proto::command_subscribe::{InitialPosition, SubType};
use pulsar::proto::{BaseCommand, MessageIdData};

/// Which version of the protocol is spoken: the first whose brokers answer acknowledgements is 17.
const PROTOCOL: i32 = 19;

pub(super) fn connect(token: Option<&str>, proxy_to: Option<String>) -> Message {
    let connect = proto::CommandConnect {
        client_version: concat!("dvse-", env!("CARGO_PKG_VERSION")).to_owned(),
        protocol_version: Some(PROTOCOL),
        auth_method_name: token.map(|_| "token".to_owned()),
        auth_data: token.map(|token| token.as_bytes().to_vec()),
        proxy_to_broker_url: proxy_to,
        ..proto::CommandConnect::default()
    };
    bare(BaseCommand { connect: Some(connect), ..of(Type::Connect) })
}

pub(super) fn ping() -> Message {
    bare(BaseCommand { ping: Some(proto::CommandPing {}), ..of(Type::Ping) })
}

pub(super) fn pong() -> Message {
    bare(BaseCommand { pong: Some(proto::CommandPong {}), ..of(Type::Pong) })
}

pub(super) fn partitions(topic: String, request_id: u64) -> Message {
    let metadata = proto::CommandPartitionedTopicMetadata {
        topic,
        request_id,
        ..proto::CommandPartitionedTopicMetadata::default()
    };
    bare(BaseCommand { partition_metadata: Some(metadata), ..of(Type::PartitionedMetadata) })
}

pub(super) fn lookup(topic: String, is_authoritative: bool, request_id: u64) -> Message {
    let lookup = proto::CommandLookupTopic {
        topic,
        request_id,
        authoritative: Some(is_authoritative),
        ..proto::CommandLookupTopic::default()
    };
    bare(BaseCommand { lookup_topic: Some(lookup), ..of(Type::Lookup) })
}

pub(super) fn topics(namespace: String, request_id: u64) -> Message {
    let topics = proto::CommandGetTopicsOfNamespace {
        namespace,
        request_id,
        ..proto::CommandGetTopicsOfNamespace::default()
    };
    bare(BaseCommand { get_topics_of_namespace: Some(topics), ..of(Type::GetTopicsOfNamespace) })
}

/// One consumer: a durable one under the name of a subscription, or one that leaves nothing behind and begins behind an id.
pub(super) struct Subscription<'a> {
    pub topic: &'a str,
    pub consumer: u64,
    /// Its name and whether it is durable.
    pub name: &'a str,
    pub is_durable: bool,
    pub start: Option<MessageIdData>,
}

pub(super) fn subscribe(subscription: &Subscription<'_>, request_id: u64) -> Message {
    let subscribe = proto::CommandSubscribe {
        topic: subscription.topic.to_owned(),
        subscription: subscription.name.to_owned(),
        sub_type: SubType::Exclusive as i32,
        consumer_id: subscription.consumer,
        request_id,
        durable: Some(subscription.is_durable),
        start_message_id: subscription.start.clone(),
        initial_position: Some(InitialPosition::Earliest as i32),
        force_topic_creation: Some(false),
        ..proto::CommandSubscribe::default()
    };
    bare(BaseCommand { subscribe: Some(subscribe), ..of(Type::Subscribe) })
}

pub(super) fn unsubscribe(consumer_id: u64, request_id: u64) -> Message {
    let unsubscribe = proto::CommandUnsubscribe { consumer_id, request_id };
    bare(BaseCommand { unsubscribe: Some(unsubscribe), ..of(Type::Unsubscribe) })
}

pub(super) fn flow(consumer_id: u64, message_permits: u32) -> Message {
    bare(BaseCommand { flow: Some(proto::CommandFlow { consumer_id, message_permits }), ..of(Type::Flow) })
}

pub(super) fn acknowledge(consumer_id: u64, id: MessageIdData, request_id: u64) -> Message {
    let ack = proto::CommandAck {
        consumer_id,
        ack_type: proto::command_ack::AckType::Cumulative as i32,
        message_id: vec![id],
        request_id: Some(request_id),
        ..proto::CommandAck::default()
    };
    bare(BaseCommand { ack: Some(ack), ..of(Type::Ack) })
}

pub(super) fn seek(consumer_id: u64, id: MessageIdData, request_id: u64) -> Message {
    let seek =
        proto::CommandSeek { consumer_id, request_id, message_id: Some(id), ..proto::CommandSeek::default() };
    bare(BaseCommand { seek: Some(seek), ..of(Type::Seek) })
}

pub(super) fn last_id(consumer_id: u64, request_id: u64) -> Message {
    let last = proto::CommandGetLastMessageId { consumer_id, request_id };
    bare(BaseCommand { get_last_message_id: Some(last), ..of(Type::GetLastMessageId) })
}

pub(super) fn statistics(consumer_id: u64, request_id: u64) -> Message {
    let stats = proto::CommandConsumerStats { request_id, consumer_id };
    bare(BaseCommand { consumer_stats: Some(stats), ..of(Type::ConsumerStats) })
}

pub(super) fn close_consumer(consumer_id: u64, request_id: u64) -> Message {
    let close = proto::CommandCloseConsumer { consumer_id, request_id };
    bare(BaseCommand { close_consumer: Some(close), ..of(Type::CloseConsumer) })
}

/// Who sends to a topic.
pub(super) struct ProducerTerms<'a> {
    pub topic: &'a str,
    pub producer: u64,
    pub name: &'a str,
    /// How often this producer was made before.
    pub epoch: u64,
    pub is_exclusive: bool,
    /// What the broker said when access was granted first: with it, whoever was replaced cannot come back.
    pub topic_epoch: Option<u64>,
}

pub(super) fn producer(terms: &ProducerTerms<'_>, request_id: u64) -> Message {
    let access = match terms.is_exclusive {
        true => proto::ProducerAccessMode::Exclusive,
        false => proto::ProducerAccessMode::Shared,
    };
    let producer = proto::CommandProducer {
        topic: terms.topic.to_owned(),
        producer_id: terms.producer,
        request_id,
        producer_name: Some(terms.name.to_owned()),
        epoch: Some(terms.epoch),
        // With a name of its own making, a producer that comes back replaces what the broker still has of it.
        user_provided_producer_name: Some(false),
        producer_access_mode: Some(access as i32),
        topic_epoch: terms.topic_epoch,
        ..proto::CommandProducer::default()
    };
    bare(BaseCommand { producer: Some(producer), ..of(Type::Producer) })
}

pub(super) fn of(kind: Type) -> BaseCommand {
    BaseCommand { r#type: kind as i32, ..BaseCommand::default() }
}

fn bare(command: BaseCommand) -> Message {
    Message { command, payload: None }
}
