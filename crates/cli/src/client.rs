//! A client of the REST interface: one request, one answer, errors that say what to do.

use std::time::Duration;

use serde_json::Value;
use ureq::Agent;
use ureq::http::{Method, Request};

use crate::failure::{Failure, Remedy as _, Result};

/// Where the server is.
#[derive(Debug, Clone, clap::Args)]
pub struct Connection {
    /// The server's address.
    #[arg(long, value_name = "URL", default_value = "http://127.0.0.1:6333")]
    pub url: String,
    /// Seconds to wait for an answer.
    #[arg(long, value_name = "SECONDS", default_value_t = 60, value_parser = clap::value_parser!(u64).range(1..))]
    pub timeout: u64,
    /// The key, where the server asks for one.
    #[arg(long, value_name = "KEY", hide_env_values = true)]
    pub api_key: Option<String>,
}

/// A server over HTTP.
#[derive(Debug, Clone)]
pub struct Client {
    agent: Agent,
    base: String,
    api_key: Option<String>,
}

/// What the server answered when it did not do what it was asked.
#[derive(Debug, thiserror::Error)]
#[error("the server answered {status}: {message}")]
pub struct Refusal {
    /// The status code.
    pub status: u16,
    /// Its explanation.
    pub message: String,
    /// Its advice.
    pub help: Option<String>,
}

/// The largest answer taken. A page of 1,000 points of the largest dimension fits.
const ANSWER_BYTES_MAX: u64 = 2 << 30;

impl Client {
    /// A client of the server at an address. Nothing is sent yet.
    ///
    /// # Errors
    /// The address is not one of plain HTTP.
    pub fn new(connection: &Connection) -> Result<Client> {
        let url = connection.url.trim_end_matches('/');
        if url.starts_with("https://") {
            return Err(Failure::new(format!("{url} asks for TLS, which this client does not speak"))
                .with_help("use http:// on a trusted network, or a TLS-ending proxy on this machine"));
        }
        let base = if url.contains("://") { url.to_owned() } else { format!("http://{url}") };
        if !base.starts_with("http://") {
            return Err(Failure::new(format!("{url:?} is not an address of a server"))
                .with_help("give one such as http://127.0.0.1:6333"));
        }
        let config = Agent::config_builder()
            .http_status_as_error(false)
            // A proxy set for the internet has no way to a server on this machine.
            .proxy(None)
            .timeout_connect(Some(Duration::from_secs(connection.timeout.min(10))))
            .timeout_global(Some(Duration::from_secs(connection.timeout)))
            .build();
        Ok(Client { agent: config.new_agent(), base, api_key: connection.api_key.clone() })
    }

    /// Asks for something.
    ///
    /// # Errors
    /// The server cannot be reached or refuses.
    pub fn get(&self, path: &str) -> Result<Value> {
        self.send(Method::GET, path, None)
    }

    /// Puts a body somewhere.
    ///
    /// # Errors
    /// The server cannot be reached or refuses.
    pub fn put(&self, path: &str, body: &Value) -> Result<Value> {
        self.send(Method::PUT, path, Some(body.to_string()))
    }

    /// Posts a body.
    ///
    /// # Errors
    /// The server cannot be reached or refuses.
    pub fn post(&self, path: &str, body: &Value) -> Result<Value> {
        self.send(Method::POST, path, Some(body.to_string()))
    }

    /// Changes something.
    ///
    /// # Errors
    /// The server cannot be reached or refuses.
    pub fn patch(&self, path: &str, body: &Value) -> Result<Value> {
        self.send(Method::PATCH, path, Some(body.to_string()))
    }

    /// Deletes something.
    ///
    /// # Errors
    /// The server cannot be reached or refuses.
    pub fn delete(&self, path: &str) -> Result<Value> {
        self.send(Method::DELETE, path, None)
    }

    /// Sends a request and returns the `result` of the answer.
    ///
    /// # Errors
    /// The server cannot be reached or refuses, see [`Refusal`].
    pub fn send(&self, method: Method, path: &str, body: Option<String>) -> Result<Value> {
        let mut request = Request::builder().method(method).uri(format!("{}{path}", self.base));
        if let Some(key) = &self.api_key {
            request = request.header("api-key", key);
        }
        let answer = match body {
            Some(body) => self.agent.run(request.header("content-type", "application/json").body(body)?),
            None => self.agent.run(request.body(())?),
        };
        let mut answer = answer.map_err(|error| self.unreachable(error))?;
        let status = answer.status().as_u16();
        let text = answer
            .body_mut()
            .with_config()
            .limit(ANSWER_BYTES_MAX)
            .read_to_string()
            .doing(|| format!("cannot read the answer of {}", self.base))?;
        self.result_of(status, &text)
    }

    fn result_of(&self, status: u16, text: &str) -> Result<Value> {
        let body: Option<Value> = serde_json::from_str(text).ok();
        if status >= 400 {
            let refused = body.as_ref().and_then(|body| body.get("status"));
            let field = |name: &str| refused?.get(name)?.as_str().map(str::to_owned);
            let message = field("error").unwrap_or_else(|| text.trim().chars().take(300).collect());
            let help = field("help");
            let refusal = Refusal { status, message, help: help.clone() };
            let failure = Failure::from(refusal);
            return Err(match help.or_else(|| self.advice(status, text)) {
                Some(help) => failure.with_help(help),
                None => failure,
            });
        }
        match body {
            Some(Value::Object(mut body)) if body.contains_key("result") => {
                Ok(body.remove("result").unwrap_or_default())
            }
            _ => Err(Failure::new(format!("{} answered {status} with something unexpected", self.base))
                .with_help(
                    "check that the address is that of a DVSE server: dvse --help shows how to start one",
                )),
        }
    }

    /// Advice for refusals that came without.
    fn advice(&self, status: u16, text: &str) -> Option<String> {
        match status {
            401 | 403 => Some("give the server's key with --api-key or DVSE_API_KEY".to_owned()),
            404 if text.contains("doesn't exist") => {
                Some(format!("see which collections there are: dvse collection list --url {}", self.base))
            }
            409 => Some("choose another name, or delete what is there first".to_owned()),
            413 => Some("send less at once, such as with a smaller --batch".to_owned()),
            429 | 503 => Some("the server is busy; try again in a moment".to_owned()),
            507 => Some("make room on the server's disk; writing goes on by itself then".to_owned()),
            _ => None,
        }
    }

    fn unreachable(&self, error: ureq::Error) -> Failure {
        let timed_out = matches!(error, ureq::Error::Timeout(_));
        let refused = matches!(&error, ureq::Error::Io(error) if error.kind() == std::io::ErrorKind::ConnectionRefused)
            || matches!(error, ureq::Error::ConnectionFailed | ureq::Error::HostNotFound);
        let failure = Failure::from(
            anyhow::Error::new(error).context(format!("cannot reach a server at {}", self.base)),
        );
        if refused {
            failure.with_help(
                "start one with `dvse serve --data DIR` or `dvse demo`,\nor say where it is with --url http://HOST:PORT",
            )
        } else if timed_out {
            failure.with_help("give it more time with --timeout SECONDS")
        } else {
            failure
        }
    }
}

/// Whether trying the same request again can help: the server is busy, or the connection broke.
pub fn may_pass(failure: &Failure) -> bool {
    match failure.cause::<Refusal>() {
        Some(refusal) => matches!(refusal.status, 429 | 502 | 503 | 504),
        None => failure.cause::<ureq::Error>().is_some_and(|error| {
            matches!(error, ureq::Error::Io(_) | ureq::Error::ConnectionFailed | ureq::Error::Timeout(_))
        }),
    }
}

/// A name as a segment of a path.
pub fn segment(name: &str) -> String {
    let mut text = String::with_capacity(name.len());
    for byte in name.bytes() {
        if byte.is_ascii_alphanumeric() || b"-_.~".contains(&byte) {
            text.push(char::from(byte));
        } else {
            text.push_str(&format!("%{byte:02X}"));
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_escaped_in_paths() {
        assert_eq!(segment("a-b_c.d~9"), "a-b_c.d~9");
        assert_eq!(segment("a/b ?ö"), "a%2Fb%20%3F%C3%B6");
    }
}
