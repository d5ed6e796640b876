//! One connection to a broker, used by one task: commands out, answers and messages in.
//!
//! Frames and messages are those of the `pulsar` crate; its client is not used. What that lacks is what exactly-once
//! needs: answers to acknowledgements, the place a subscription has acknowledged, permits that follow what is consumed,
//! producers that keep their sequence numbers and their epoch (`docs/adr/0018-pulsar.md`).

use std::collections::VecDeque;
use std::time::Duration;

use futures_util::{SinkExt as _, StreamExt as _};
use pulsar::message::{Codec, Message, proto};
use pulsar::proto::BaseCommand;
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout, timeout_at};
use tokio_util::codec::Framed;

use super::command;
use super::trouble::Trouble;

/// How long a connection and an answer may take.
const CONNECT_WAIT: Duration = Duration::from_secs(5);
const ANSWER_WAIT: Duration = Duration::from_secs(15);
/// After this silence the broker is asked whether it is there, and after twice as much it is not.
const SILENCE: Duration = Duration::from_secs(15);
/// The largest message of a broker that does not say.
pub(super) const MESSAGE_BYTES_MAX: usize = 5 << 20;
/// What a message takes beside its payload and its key.
const HEADER_BYTES: usize = 1 << 10;
/// A topic is not looked up from more brokers than this, one after another.
const REDIRECTS_MAX: usize = 20;

/// Where brokers are, and who asks them.
#[derive(Clone)]
pub(super) struct Endpoint {
    /// HOST:PORT.
    pub address: String,
    pub token: Option<String>,
}

impl std::fmt::Debug for Endpoint {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // Not the token.
        f.debug_struct("Endpoint").field("address", &self.address).finish_non_exhaustive()
    }
}

/// An open connection.
pub(super) struct Connection {
    framed: Framed<TcpStream, Codec>,
    /// What came while an answer was awaited.
    inbox: VecDeque<Message>,
    requests: u64,
    heard: Instant,
    is_pinged: bool,
    message_bytes_max: usize,
}

impl Connection {
    /// Connects and introduces ourselves.
    async fn open(
        address: &str,
        token: Option<&str>,
        proxy_to: Option<String>,
    ) -> Result<Connection, Trouble> {
        let lost = |error: std::io::Error| Trouble::Lost(error.to_string());
        let stream = timeout(CONNECT_WAIT, TcpStream::connect(address)).await;
        let stream = stream.map_err(|_| Trouble::Lost("it does not answer".to_owned()))?.map_err(lost)?;
        // Commands are small, and somebody waits for each.
        stream.set_nodelay(true).map_err(lost)?;
        let mut connection = Connection {
            framed: Framed::new(stream, Codec),
            inbox: VecDeque::new(),
            requests: 0,
            heard: Instant::now(),
            is_pinged: false,
            message_bytes_max: MESSAGE_BYTES_MAX,
        };
        connection.send(command::connect(token, proxy_to)).await?;
        let answer = timeout(ANSWER_WAIT, connection.next()).await.map_err(|_| silent())?;
        let answer = match answer {
            Ok(message) => message.command,
            // What came is the beginning of no frame, such as an answer in HTTP.
            Err(Trouble::Lost(text)) if text.contains("bytes remaining on stream") => return Err(no_pulsar()),
            Err(trouble) => return Err(trouble),
        };
        match (answer.connected, answer.error) {
            (Some(connected), _) => {
                if let Some(bytes) = connected.max_message_size.and_then(|bytes| usize::try_from(bytes).ok())
                {
                    connection.message_bytes_max = bytes;
                }
                Ok(connection)
            }
            (None, Some(error)) => Err(Trouble::answered(error.error, &error.message)),
            (None, None) => Err(no_pulsar()),
        }
    }

    /// Connects to whichever broker serves a topic; `None` asks any.
    pub(super) async fn to(endpoint: &Endpoint, topic: Option<&str>) -> Result<Connection, Trouble> {
        let token = endpoint.token.as_deref();
        let mut address = endpoint.address.clone();
        let mut connection = Connection::open(&address, token, None).await?;
        let Some(topic) = topic else { return Ok(connection) };
        let mut is_authoritative = false;
        for _ in 0..REDIRECTS_MAX {
            let asked =
                connection.request(|id| command::lookup(topic.to_owned(), is_authoritative, id)).await?;
            let Some(found) = asked.lookup_topic_response else { return Err(strange("a lookup")) };
            let kind = found.response.unwrap_or_default();
            if kind == proto::command_lookup_topic_response::LookupType::Failed as i32 {
                let message = found.message.unwrap_or_default();
                return Err(Trouble::answered(found.error.unwrap_or_default(), &message));
            }
            let broker = address_of(&found.broker_service_url.unwrap_or_default())?;
            if kind == proto::command_lookup_topic_response::LookupType::Connect as i32 {
                if found.proxy_through_service_url.unwrap_or_default() {
                    return Connection::open(&endpoint.address, token, Some(broker)).await;
                }
                return if broker == address {
                    Ok(connection)
                } else {
                    Connection::open(&broker, token, None).await
                };
            }
            is_authoritative = found.authoritative.unwrap_or_default();
            address = broker;
            connection = Connection::open(&address, token, None).await?;
        }
        Err(Trouble::Lost("the brokers send us from one to the other".to_owned()))
    }

    /// The largest key and payload that the broker takes together.
    pub(super) fn message_bytes_max(&self) -> usize {
        self.message_bytes_max.saturating_sub(HEADER_BYTES)
    }

    /// Sends a command.
    pub(super) async fn send(&mut self, message: Message) -> Result<(), Trouble> {
        self.framed.send(message).await.map_err(Trouble::from)
    }

    /// Takes a command without sending it before [`flush`](Connection::flush).
    pub(super) async fn feed(&mut self, message: Message) -> Result<(), Trouble> {
        self.framed.feed(message).await.map_err(Trouble::from)
    }

    pub(super) async fn flush(&mut self) -> Result<(), Trouble> {
        self.framed.flush().await.map_err(Trouble::from)
    }

    /// Returns what comes next, and keeps the connection alive meanwhile. May be dropped while it waits.
    pub(super) async fn next(&mut self) -> Result<Message, Trouble> {
        match self.inbox.pop_front() {
            Some(message) => Ok(message),
            None => self.receive().await,
        }
    }

    /// Waits for what comes next, and keeps it for [`next`](Connection::next). May be dropped while it waits.
    pub(super) async fn hold(&mut self) -> Result<(), Trouble> {
        let message = self.receive().await?;
        self.inbox.push_back(message);
        Ok(())
    }

    async fn receive(&mut self) -> Result<Message, Trouble> {
        loop {
            let patience = if self.is_pinged { SILENCE * 2 } else { SILENCE };
            match timeout_at(self.heard + patience, self.framed.next()).await {
                Err(_) if self.is_pinged => return Err(silent()),
                Err(_) => {
                    self.is_pinged = true;
                    self.send(command::ping()).await?;
                }
                Ok(None) => return Err(Trouble::Lost("it closed the connection".to_owned())),
                Ok(Some(message)) => {
                    let message = message.map_err(Trouble::from)?;
                    self.heard = Instant::now();
                    self.is_pinged = false;
                    if message.command.ping.is_some() {
                        self.send(command::pong()).await?;
                    } else if message.command.pong.is_none() {
                        return Ok(message);
                    }
                }
            }
        }
    }

    /// Sends a request and returns its answer; what comes between is kept for [`next`](Connection::next).
    pub(super) async fn request(
        &mut self,
        message: impl FnOnce(u64) -> Message,
    ) -> Result<BaseCommand, Trouble> {
        self.requests += 1;
        let id = self.requests;
        self.send(message(id)).await?;
        let deadline = Instant::now() + ANSWER_WAIT;
        loop {
            let message = timeout_at(deadline, self.receive()).await.map_err(|_| silent())??;
            if request_of(&message.command) != Some(id) {
                self.inbox.push_back(message);
                continue;
            }
            if let Some(error) = message.command.error {
                return Err(Trouble::answered(error.error, &error.message));
            }
            return Ok(message.command);
        }
    }
}

fn no_pulsar() -> Trouble {
    Trouble::Refused("what is there does not speak Pulsar's protocol".to_owned())
}

fn silent() -> Trouble {
    Trouble::Lost("it does not answer".to_owned())
}

pub(super) fn strange(what: &str) -> Trouble {
    Trouble::Refused(format!("it answered {what} with something unexpected"))
}

/// Which request a command answers.
fn request_of(command: &BaseCommand) -> Option<u64> {
    macro_rules! first {
        ($($field:ident),*) => { None$(.or(command.$field.as_ref().map(|answer| answer.request_id)))* };
    }
    let answered: Option<u64> = first!(
        success,
        error,
        lookup_topic_response,
        partition_metadata_response,
        producer_success,
        consumer_stats_response,
        get_last_message_id_response,
        get_topics_of_namespace_response
    );
    answered.or_else(|| command.ack_response.as_ref().and_then(|answer| answer.request_id))
}

/// Reads `pulsar://HOST:PORT`, possibly with several hosts of which the first is taken.
pub(super) fn address_of(url: &str) -> Result<String, Trouble> {
    let wrong = |what: &str| Err(Trouble::Refused(format!("{url:?} {what}: write pulsar://HOST:PORT")));
    let Some(rest) = url.strip_prefix("pulsar://") else {
        return match url.starts_with("pulsar+ssl://") {
            true => wrong("asks for TLS, which this build does not speak"),
            false => wrong("is no address of a broker"),
        };
    };
    let host = rest.trim_end_matches('/').split(',').next().unwrap_or_default();
    let (name, port) = host.rsplit_once(':').unwrap_or((host, "6650"));
    if name.is_empty() || name.contains(['/', '?', '@']) || port.parse::<u16>().is_err() {
        return wrong("is no address of a broker");
    }
    Ok(format!("{name}:{port}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read_and_others_are_refused_with_the_way_to_write_them() {
        for (url, address) in [
            ("pulsar://h", "h:6650"),
            ("pulsar://h:1", "h:1"),
            ("pulsar://[::1]:6650/", "[::1]:6650"),
            ("pulsar://a:1,b:2", "a:1"),
        ] {
            assert_eq!(address_of(url).as_deref(), Ok(address));
        }
        for url in [
            "pulsar+ssl://h:1",
            "http://h",
            "pulsar://",
            "pulsar://h:x",
            "pulsar://h:99999",
            "pulsar://h/t/n",
        ] {
            assert!(address_of(url).unwrap_err().to_string().contains("pulsar://HOST:PORT"), "{url}");
        }
    }
}
