//! The configuration a node runs on: every value present and in its range.

use std::net::{SocketAddr, ToSocketAddrs};
use std::num::{NonZeroU64, NonZeroUsize};
use std::path::PathBuf;
use std::time::Duration;

use super::raw::{ConfigError, Origin, RawConfig, Value};
use super::setting::Setting;

/// The checked configuration of a node. The table [`super::SETTINGS`] documents each value.
#[derive(Debug, Clone)]
pub struct Config {
    /// Where REST is served.
    pub http: SocketAddr,
    /// The key that requests must carry, if any.
    pub api_key: Option<String>,
    /// The title that `GET /` reports.
    pub title: String,
    /// The version of the dialect that `GET /` reports.
    pub version: String,
    /// The web origins that may call.
    pub cors_origins: Vec<String>,
    /// How many reads are worked on at once.
    pub search_threads: NonZeroUsize,
    /// How many writes are worked on at once.
    pub write_threads: NonZeroUsize,
    /// How far threads that write stand back behind those that search, 0 to 19.
    pub write_nice: u8,
    /// How long a client may take to send a body.
    pub body_deadline: Duration,
    /// How long a stopping node waits for the requests it has begun.
    pub stop_deadline: Duration,
    /// The folder that holds all collections.
    pub data: PathBuf,
    /// How many threads maintain segments.
    pub background_threads: usize,
    /// How far they stand back behind all others, 0 to 19.
    pub background_nice: u8,
    /// How many rows a growing segment holds.
    pub growing_rows_max: usize,
    /// How many bytes of vectors may wait to be linked.
    pub tail_bytes_max: usize,
    /// How many bytes merges write in a second, if there is a bound.
    pub merge_bytes_per_s: Option<NonZeroU64>,
    /// What is refused for its size.
    pub limits: Limits,
    /// Which messages are logged.
    pub log_filter: String,
    /// How messages are written.
    pub log_format: LogFormat,
}

/// How log messages are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    /// A line for people.
    Text,
    /// A JSON object a line.
    Json,
}

/// The limits of one node.
#[derive(Debug, Clone)]
pub struct Limits {
    /// The largest request body, in bytes.
    pub body_bytes_max: usize,
    /// All request bodies together, in bytes.
    pub bodies_bytes_max: usize,
    /// The largest reply, in bytes.
    pub reply_bytes_max: usize,
    /// Requests at once.
    pub requests_max: usize,
    /// Points written by one request.
    pub batch_points_max: usize,
    /// Queries or operations in one batch request.
    pub batch_requests_max: usize,
    /// Levels of a filter.
    pub filter_depth_max: usize,
    /// Conditions in a filter.
    pub filter_conditions_max: usize,
    /// `hnsw_ef` of a query.
    pub ef_max: usize,
    /// Collections.
    pub collections_max: usize,
}

impl RawConfig {
    /// Makes the configuration a node runs on.
    ///
    /// # Errors
    /// An address that is none, or more bytes for one body than for all.
    pub fn check(&self) -> Result<Config, ConfigError> {
        let read = Reader { raw: self };
        let cores = std::thread::available_parallelism().map_or(1, NonZeroUsize::get);
        let search_threads = match read.number("server.search_threads")? {
            0 => cores,
            threads => threads,
        };
        let limits = Limits {
            body_bytes_max: read.number("limits.body_bytes_max")?,
            bodies_bytes_max: read.number("limits.bodies_bytes_max")?,
            reply_bytes_max: read.number("limits.reply_bytes_max")?,
            requests_max: read.number("limits.requests_max")?,
            batch_points_max: read.number("limits.batch_points_max")?,
            batch_requests_max: read.number("limits.batch_requests_max")?,
            filter_depth_max: read.number("limits.filter_depth_max")?,
            filter_conditions_max: read.number("limits.filter_conditions_max")?,
            ef_max: read.number("limits.ef_max")?,
            collections_max: read.number("limits.collections_max")?,
        };
        if limits.bodies_bytes_max < limits.body_bytes_max {
            let expected = format!("at least limits.body_bytes_max, {}", limits.body_bytes_max);
            return Err(read.invalid(
                "limits.bodies_bytes_max",
                limits.bodies_bytes_max.to_string(),
                expected,
            ));
        }
        Ok(Config {
            http: read.address("server.http")?,
            api_key: Some(read.text("server.api_key")?).filter(|key| !key.is_empty()),
            title: read.text("server.title")?,
            version: read.text("server.version")?,
            cors_origins: read.list("server.cors_origins")?,
            search_threads: NonZeroUsize::new(search_threads).unwrap_or(NonZeroUsize::MIN),
            write_threads: NonZeroUsize::new(read.number("server.write_threads")?)
                .unwrap_or(NonZeroUsize::MIN),
            write_nice: read.nice("server.write_nice")?,
            body_deadline: read.seconds("server.body_deadline_s")?,
            stop_deadline: read.seconds("server.stop_deadline_s")?,
            data: PathBuf::from(read.text("storage.data")?),
            background_threads: read.number("storage.background_threads")?,
            background_nice: read.nice("storage.background_nice")?,
            growing_rows_max: read.number("storage.growing_rows_max")?,
            tail_bytes_max: read.number("storage.tail_bytes_max")?,
            merge_bytes_per_s: NonZeroU64::new(read.number("storage.merge_bytes_per_s")? as u64),
            limits,
            log_filter: read.text("log.filter")?,
            log_format: match read.text("log.format")?.as_str() {
                "json" => LogFormat::Json,
                _ => LogFormat::Text,
            },
        })
    }
}

/// Reads values of the kinds the table promises.
struct Reader<'a> {
    raw: &'a RawConfig,
}

impl Reader<'_> {
    fn value(&self, key: &'static str) -> Result<&Value, ConfigError> {
        let missing =
            || ConfigError::UnknownKey { key: key.to_owned(), origin: Origin::Default, nearest: None };
        self.raw.value(key).map(|(value, _)| value).ok_or_else(missing)
    }

    fn text(&self, key: &'static str) -> Result<String, ConfigError> {
        match self.value(key)? {
            Value::Text(text) => Ok(text.clone()),
            other => Err(self.invalid(key, format!("{other:?}"), "a text".to_owned())),
        }
    }

    fn list(&self, key: &'static str) -> Result<Vec<String>, ConfigError> {
        match self.value(key)? {
            Value::List(texts) => Ok(texts.clone()),
            other => Err(self.invalid(key, format!("{other:?}"), "a list".to_owned())),
        }
    }

    fn number(&self, key: &'static str) -> Result<usize, ConfigError> {
        match self.value(key)? {
            Value::Number(number) => usize::try_from(*number).map_err(|_| {
                self.invalid(key, number.to_string(), "a size this machine can hold".to_owned())
            }),
            other => Err(self.invalid(key, format!("{other:?}"), "a number".to_owned())),
        }
    }

    fn nice(&self, key: &'static str) -> Result<u8, ConfigError> {
        let number = self.number(key)?;
        u8::try_from(number).map_err(|_| self.invalid(key, number.to_string(), "0 to 19".to_owned()))
    }

    fn seconds(&self, key: &'static str) -> Result<Duration, ConfigError> {
        Ok(Duration::from_secs(self.number(key)? as u64))
    }

    fn address(&self, key: &'static str) -> Result<SocketAddr, ConfigError> {
        let text = self.text(key)?;
        let found = text.to_socket_addrs().ok().and_then(|mut addresses| addresses.next());
        found.ok_or_else(|| {
            let expected = "HOST:PORT with an address or a name that can be looked up".to_owned();
            self.invalid(key, text.clone(), expected)
        })
    }

    fn invalid(&self, key: &'static str, value: String, expected: String) -> ConfigError {
        let origin = self.raw.value(key).map_or(Origin::Default, |(_, origin)| origin.clone());
        let key = Setting::find(key).map_or(key, |setting| setting.key);
        ConfigError::InvalidValue { key, value, origin, expected }
    }
}
