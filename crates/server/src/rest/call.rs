//! One request as a handler sees it: collected, checked for form, nothing read yet.

use dvse_engine::Durability;
use serde::de::DeserializeOwned;

use crate::embedding::Made;
use crate::error::RestError;

/// A request whose body has arrived.
#[derive(Debug)]
pub struct Call {
    /// The parameters of the path, by name.
    pub path: Vec<(String, String)>,
    /// The parameters after the question mark.
    pub query: QueryParameters,
    /// The body.
    pub body: Vec<u8>,
    /// Vectors of texts in the body, where a model had to make them first.
    pub made: Made,
}

/// The query parameters of the dialect. Those that mean nothing on one node are checked and passed over.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct QueryParameters {
    /// Answer a write when it is durable. The dialect's default on the wire is not to wait.
    pub wait: bool,
    /// How many seconds the client waits.
    pub timeout_s: Option<u64>,
}

impl Call {
    /// A parameter of the path.
    ///
    /// # Errors
    /// The route has no such parameter, which is a defect of the route table.
    pub fn parameter(&self, name: &str) -> Result<&str, RestError> {
        let found = self.path.iter().find(|(key, _)| key == name);
        found.map(|(_, value)| value.as_str()).ok_or(RestError::Panicked)
    }

    /// The collection in the path.
    ///
    /// # Errors
    /// The route has none, which is a defect of the route table.
    pub fn collection(&self) -> Result<&str, RestError> {
        self.parameter("collection")
    }

    /// Reads the body.
    ///
    /// # Errors
    /// It is not JSON, or not of the shape asked for.
    pub fn body<T: DeserializeOwned>(&self) -> Result<T, RestError> {
        Ok(serde_json::from_slice(&self.body)?)
    }

    /// When a write is answered.
    #[must_use]
    pub fn durability(&self) -> Durability {
        if self.query.wait { Durability::Synced } else { Durability::Buffered }
    }
}

impl QueryParameters {
    /// Reads the part of the URL after the question mark.
    ///
    /// # Errors
    /// A parameter is unknown, or not what it must be.
    pub fn parse(query: &str) -> Result<QueryParameters, RestError> {
        let mut parameters = QueryParameters::default();
        for pair in query.split('&').filter(|pair| !pair.is_empty()) {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            let rule = match name {
                "wait" => match value {
                    "true" => {
                        parameters.wait = true;
                        continue;
                    }
                    "false" => {
                        parameters.wait = false;
                        continue;
                    }
                    _ => "true or false",
                },
                "timeout" => match value.parse() {
                    Ok(seconds @ 1..) => {
                        parameters.timeout_s = Some(seconds);
                        continue;
                    }
                    _ => "a whole number of seconds, at least 1",
                },
                "ordering" if matches!(value, "weak" | "medium" | "strong") => continue,
                "ordering" => "weak, medium or strong",
                "consistency"
                    if matches!(value, "majority" | "quorum" | "all")
                        || value.parse::<usize>().is_ok_and(|nodes| nodes > 0) =>
                {
                    continue;
                }
                "consistency" => "a number of nodes from 1, majority, quorum or all",
                _ => "one of wait, timeout, ordering and consistency",
            };
            return Err(RestError::BadUrl {
                part: "query parameter",
                name: name.to_owned(),
                got: value.to_owned(),
                rule,
            });
        }
        Ok(parameters)
    }
}
