//! The administration interface of a cluster: REST over HTTP.

use std::fmt;
use std::time::Duration;

use serde_json::Value;
use thiserror::Error;
use ureq::Agent;
use ureq::http::{Method, Request};

use crate::log::LogError;
use crate::topic::{TopicName, TopicSpec};

const CONNECT_WAIT: Duration = Duration::from_secs(5);
const ANSWER_WAIT: Duration = Duration::from_secs(60);
const ANSWER_BYTES_MAX: u64 = 16 << 20;
/// Where backlog quotas by size are found.
const BY_SIZE: &str = "destination_storage";

/// The administration interface of a cluster.
#[derive(Clone)]
pub struct Admin {
    agent: Agent,
    base: String,
    token: Option<String>,
}

/// The administration interface did not do what it was asked.
#[derive(Debug, Error)]
pub enum AdminError {
    /// The address is not one.
    #[error("{0:?} is no address of Pulsar's administration: write http://HOST:PORT")]
    Address(String),
    /// It cannot be reached.
    #[error("Pulsar's administration at {base} cannot be reached")]
    Unreachable {
        /// Where it should be.
        base: String,
        /// What was seen of it.
        source: Box<ureq::Error>,
    },
    /// It does not let us in.
    #[error("Pulsar's administration at {base} lets us not in: {reason}")]
    Denied {
        /// Where it is.
        base: String,
        /// What it said.
        reason: String,
    },
    /// It refuses.
    #[error("Pulsar's administration answered {status} to {what}: {reason}")]
    Refused {
        /// What was asked.
        what: String,
        /// The status of HTTP.
        status: u16,
        /// What it said.
        reason: String,
    },
}

impl fmt::Debug for Admin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Not the token.
        f.debug_struct("Admin").field("base", &self.base).finish_non_exhaustive()
    }
}

impl Admin {
    /// The interface at an address, `http://HOST:PORT`. Nothing is asked of it yet.
    ///
    /// # Errors
    /// It is no such address.
    pub fn new(url: &str, token: Option<String>) -> Result<Admin, AdminError> {
        let base = url.trim_end_matches('/');
        let host = base.strip_prefix("http://").unwrap_or_default();
        if host.is_empty() || host.contains('/') {
            return Err(AdminError::Address(url.to_owned()));
        }
        let config = Agent::config_builder()
            .http_status_as_error(false)
            // A proxy set for the internet has no way to a cluster here.
            .proxy(None)
            .timeout_connect(Some(CONNECT_WAIT))
            .timeout_global(Some(ANSWER_WAIT))
            .build();
        Ok(Admin { agent: config.new_agent(), base: base.to_owned(), token })
    }

    /// Returns what is at a path; `None` if nothing is.
    pub(super) fn get(&self, path: &str) -> Result<Option<Value>, AdminError> {
        match self.send(&Method::GET, path, None) {
            Ok(found) => Ok(Some(found)),
            Err(AdminError::Refused { status: 404, .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Sends a request. An answer without a body is null.
    pub(super) fn send(
        &self,
        method: &Method,
        path: &str,
        body: Option<&Value>,
    ) -> Result<Value, AdminError> {
        let unreachable =
            |error: ureq::Error| AdminError::Unreachable { base: self.base.clone(), source: Box::new(error) };
        let mut request =
            Request::builder().method(method.clone()).uri(format!("{}/admin/v2/{path}", self.base));
        if let Some(token) = &self.token {
            request = request.header("authorization", format!("Bearer {token}"));
        }
        let answer = match body {
            Some(body) => request
                .header("content-type", "application/json")
                .body(body.to_string())
                .map_err(|error| unreachable(error.into()))
                .and_then(|request| self.agent.run(request).map_err(unreachable)),
            None => request
                .body(())
                .map_err(|error| unreachable(error.into()))
                .and_then(|request| self.agent.run(request).map_err(unreachable)),
        };
        let mut answer = answer?;
        let status = answer.status().as_u16();
        let text = answer.body_mut().with_config().limit(ANSWER_BYTES_MAX).read_to_string();
        let text = text.map_err(unreachable)?;
        if status < 400 {
            return Ok(serde_json::from_str(&text).unwrap_or_default());
        }
        let told: Value = serde_json::from_str(&text).unwrap_or_default();
        // Some refusals are pages, with the reason as their title.
        let page = text.split_once("<title>").map_or(text.as_str(), |(_, title)| title);
        let reason = told.get("reason").and_then(Value::as_str).unwrap_or(page);
        // Others begin with a line that says nothing, and name the message behind it.
        let reason = reason.split_once("Message: ").map_or(reason, |(_, message)| message).trim_start();
        let reason: String = reason.lines().next().unwrap_or_default().chars().take(300).collect();
        match status {
            401 | 403 => Err(AdminError::Denied { base: self.base.clone(), reason }),
            _ => Err(AdminError::Refused { what: format!("{method} {path}"), status, reason }),
        }
    }

    /// Fills the settings that a topic has of its own into those that say nothing.
    pub(super) fn settings(&self, topic: &TopicName, bare: TopicSpec) -> Result<TopicSpec, LogError> {
        let path = topic_path(topic);
        let found = || -> Result<(Option<Value>, Option<Value>), AdminError> {
            Ok((self.get(&format!("{path}/retention"))?, self.get(&format!("{path}/backlogQuotaMap"))?))
        };
        let (retention, quota) = found()?;
        let number = |value: &Option<Value>, pointer: &str| {
            let number = value.as_ref()?.pointer(pointer)?.as_i64()?;
            u64::try_from(number).ok()
        };
        Ok(TopicSpec {
            retention_ms: number(&retention, "/retentionTimeInMinutes").map(|minutes| minutes * 60_000),
            retention_bytes: number(&retention, "/retentionSizeInMB").map(|mb| mb << 20),
            backlog_bytes_max: number(&quota, &format!("/{BY_SIZE}/limitSize")),
            ..bare
        })
    }
}

/// The path of a topic.
pub(super) fn topic_path(topic: &TopicName) -> String {
    format!("persistent/{}/{}/{}", topic.tenant(), topic.namespace(), topic.topic())
}

/// The path of a topic's backlog quota by size.
pub(super) fn quota_path(topic: &TopicName) -> String {
    format!("{}/backlogQuota?backlogQuotaType={BY_SIZE}", topic_path(topic))
}

impl From<AdminError> for LogError {
    fn from(error: AdminError) -> LogError {
        match error {
            AdminError::Unreachable { base, source } => {
                LogError::Unreachable { url: base, reason: source.to_string() }
            }
            AdminError::Denied { base, reason } => LogError::Denied { url: base, reason },
            AdminError::Address(url) => {
                let reason = AdminError::Address(url.clone()).to_string();
                LogError::Refused { url, what: "to be reached".to_owned(), reason }
            }
            AdminError::Refused { what, status, reason } => LogError::Refused {
                url: "Pulsar's administration".to_owned(),
                what,
                reason: format!("{status}: {reason}"),
            },
        }
    }
}
