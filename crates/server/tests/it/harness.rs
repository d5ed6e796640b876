//! A node on a free port with a folder of its own, and a small client that checks every reply against the OpenAPI
//! document.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use dvse_embed::Embedder;
use dvse_server::Node;
use dvse_server::config::{Config, RawConfig};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::schema::Document;

/// A node that is stopped, and its folder removed, when this goes away.
pub struct Server {
    node: Option<Node>,
    client: Client,
    pub folder: TempDir,
}

/// An answer.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub headers: ureq::http::HeaderMap,
    pub text: String,
}

impl Answer {
    /// The body as JSON; a text that is not JSON is a JSON string.
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|_| Value::String(self.text.clone()))
    }
}

/// Sends requests to one address.
pub struct Client {
    agent: ureq::Agent,
    address: SocketAddr,
    document: Document,
}

impl Client {
    pub fn new(address: SocketAddr) -> Client {
        let config = ureq::Agent::config_builder()
            .http_status_as_error(false)
            .timeout_global(Some(Duration::from_secs(120)))
            .build();
        Client { agent: config.into(), address, document: Document::load() }
    }

    /// Sends bytes with headers and returns the answer, whatever it is.
    pub fn send(&self, method: &str, path: &str, headers: &[(&str, &str)], body: Option<&[u8]>) -> Answer {
        let mut request =
            ureq::http::Request::builder().method(method).uri(format!("http://{}{path}", self.address));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let outcome = match body {
            Some(body) => {
                let request = request.header("content-type", "application/json").body(body.to_vec()).unwrap();
                self.agent.run(request)
            }
            None => self.agent.run(request.body(()).unwrap()),
        };
        let mut response = outcome.unwrap_or_else(|error| panic!("{method} {path}: {error}"));
        let text = response.body_mut().with_config().limit(1 << 30).read_to_vec().unwrap();
        Answer {
            status: response.status().as_u16(),
            headers: response.headers().clone(),
            text: String::from_utf8_lossy(&text).into_owned(),
        }
    }

    /// Sends JSON text (empty: no body), and checks the reply, and the body where it was taken, against the
    /// document.
    pub fn call(&self, method: &str, path: &str, body: &str) -> Answer {
        let answer = self.send(method, path, &[], (!body.is_empty()).then_some(body.as_bytes()));
        let plain_path = path.split('?').next().unwrap();
        let plain_path = if plain_path == "/" { plain_path } else { plain_path.trim_end_matches('/') };
        if let Some(problem) = self.document.check(method, plain_path, body, answer.status, &answer.json()) {
            panic!("{method} {path} {body:.400}\n-> {} {:.800}\n{problem}", answer.status, answer.text);
        }
        answer
    }
}

impl Server {
    /// Starts a node with some settings.
    pub fn start(settings: &[(&str, &str)]) -> Server {
        let folder = TempDir::new().unwrap();
        let node = start_node(folder.path(), settings);
        Server { client: Client::new(node.address()), node: Some(node), folder }
    }

    /// Starts a node that has models beside the bundled one.
    pub fn start_with(settings: &[(&str, &str)], models: Vec<Arc<dyn Embedder>>) -> Server {
        let folder = TempDir::new().unwrap();
        let node = Node::start_with(config(folder.path(), settings), models).unwrap();
        Server { client: Client::new(node.address()), node: Some(node), folder }
    }

    pub fn client(&self) -> &Client {
        &self.client
    }

    pub fn address(&self) -> SocketAddr {
        self.node.as_ref().unwrap().address()
    }

    pub fn node(&self) -> &Node {
        self.node.as_ref().unwrap()
    }

    /// Stops the node and starts another on the same folder.
    pub fn restart(&mut self, settings: &[(&str, &str)]) {
        self.node.take().unwrap().stop().unwrap();
        let node = start_node(self.folder.path(), settings);
        self.client = Client::new(node.address());
        self.node = Some(node);
    }

    /// Sends a request that must be answered 200, and returns its `result`.
    pub fn ok(&self, method: &str, path: &str, body: Value) -> Value {
        let body = if body.is_null() { String::new() } else { body.to_string() };
        let answer = self.client.call(method, path, &body);
        assert_eq!(answer.status, 200, "{method} {path} {body:.400}: {:.800}", answer.text);
        answer.json()["result"].clone()
    }

    /// Plays requests one after the other: method, path, body, status, and what the reply must contain.
    pub fn play(&self, cases: &[(&str, &str, &str, u16, Value)]) {
        for (method, path, body, status, expect) in cases {
            let answer = self.client.call(method, path, body);
            let context =
                || format!("{method} {path} {body:.400}\n-> {} {:.800}", answer.status, answer.text);
            assert_eq!(answer.status, *status, "{}", context());
            if let Err(difference) = contains(&answer.json(), expect) {
                panic!("{}\n{difference}", context());
            }
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Some(node) = self.node.take() {
            node.stop().unwrap();
        }
    }
}

fn start_node(folder: &std::path::Path, settings: &[(&str, &str)]) -> Node {
    Node::start(config(folder, settings)).unwrap()
}

fn config(folder: &std::path::Path, settings: &[(&str, &str)]) -> Config {
    let mut raw = RawConfig::default();
    raw.set("server.http", "127.0.0.1:0").unwrap();
    raw.set("storage.data", folder.join("data").to_str().unwrap()).unwrap();
    for (key, value) in settings {
        raw.set(key, value).unwrap();
    }
    raw.check().unwrap()
}

/// Whether a reply contains what is expected: objects may hold more, lists may not, numbers may differ by rounding, and
/// an expected text that begins with `~` may stand anywhere in the text.
pub fn contains(got: &Value, expect: &Value) -> Result<(), String> {
    let differ = || Err(format!("expected {expect}\n     got {got}"));
    match (got, expect) {
        (Value::Object(got), Value::Object(expect)) => expect.iter().try_for_each(|(key, expect)| {
            let inner = got.get(key).ok_or_else(|| format!("{key:?} is missing"))?;
            contains(inner, expect).map_err(|inner| format!("in {key:?}: {inner}"))
        }),
        (Value::Array(got), Value::Array(expect)) => {
            if got.len() != expect.len() {
                return differ();
            }
            got.iter().zip(expect).try_for_each(|(got, expect)| contains(got, expect))
        }
        (Value::String(got), Value::String(expect)) => match expect.strip_prefix('~') {
            Some(part) if got.contains(part) => Ok(()),
            None if got == expect => Ok(()),
            _ => differ(),
        },
        (Value::Number(got), Value::Number(expect)) => {
            let (a, b) = (got.as_f64().unwrap(), expect.as_f64().unwrap());
            if got == expect || (got.is_f64() && (a - b).abs() <= 1e-5 * b.abs().max(1.0)) {
                return Ok(());
            }
            differ()
        }
        _ if got == expect => Ok(()),
        _ => differ(),
    }
}

/// What any good reply contains.
pub fn any() -> Value {
    json!({})
}

/// The ids of a list of points.
pub fn ids(points: &Value) -> Vec<Value> {
    points.as_array().unwrap().iter().map(|point| point["id"].clone()).collect()
}
