//! Text for models that the node was started with.

use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};

use dvse_embed::{EmbedError, Embedder, ModelError, ModelIdentity};
use dvse_types::Vector;
use serde_json::{Value, json};

use crate::harness::{Server, ids};

/// A model of three dimensions: how often a text has each of the letters a, b and c. It does not answer for `slow` before it is
/// told to, and fails for `fail`.
struct Letters {
    identity: ModelIdentity,
    called: Mutex<Sender<Vec<String>>>,
    go_on: Mutex<Receiver<()>>,
}

/// The test's side of a model.
struct Watch {
    called: Receiver<Vec<String>>,
    go_on: Sender<()>,
}

impl Letters {
    fn watched(name: &str, revision: &str) -> (Arc<dyn Embedder>, Watch) {
        let (called, calls) = channel();
        let (go_on, told) = channel();
        let identity = ModelIdentity {
            name: name.to_owned(),
            revision: revision.to_owned(),
            dim: 3,
            hash: "00".to_owned(),
        };
        let model = Letters { identity, called: Mutex::new(called), go_on: Mutex::new(told) };
        (Arc::new(model), Watch { called: calls, go_on })
    }
}

impl Embedder for Letters {
    fn model(&self) -> &ModelIdentity {
        &self.identity
    }

    fn embed(&self, texts: &[&str]) -> Result<Vec<Vector>, EmbedError> {
        let owned = texts.iter().map(|text| (*text).to_owned()).collect();
        self.called.lock().unwrap().send(owned).unwrap();
        if texts.contains(&"slow") {
            self.go_on.lock().unwrap().recv().unwrap();
        }
        if let Some(index) = texts.iter().position(|text| text.is_empty()) {
            return Err(EmbedError::EmptyText { index });
        }
        if texts.contains(&"fail") {
            return Err(ModelError::Axes { got: 1 }.into());
        }
        let count = |text: &&str, letter| text.matches(letter).count() as f32 + 0.01;
        Ok(texts.iter().map(|text| ['a', 'b', 'c'].map(|letter| count(text, letter)).into()).collect())
    }
}

fn document(text: &str, model: &str) -> Value {
    json!({"text": text, "model": model})
}

/// A node with one model, and a collection of it with three points.
fn start(settings: &[(&str, &str)]) -> (Server, Watch) {
    let (model, watch) = Letters::watched("letters", "1");
    let server = Server::start_with(settings, vec![model]);
    let vectors = json!({"size": 3, "distance": "Cosine", "model": "letters@1#00"});
    server.ok("PUT", "/collections/c", json!({"vectors": vectors}));
    let points: Vec<Value> = ["aa", "bb", "cc"]
        .iter()
        .zip(1..)
        .map(|(text, id)| json!({"id": id, "vector": document(text, "letters")}))
        .collect();
    server.ok("PUT", "/collections/c/points?wait=true", json!({"points": points}));
    // All texts of a request are one call.
    assert_eq!(watch.called.try_iter().collect::<Vec<_>>(), [["aa", "bb", "cc"]]);
    (server, watch)
}

#[test]
fn a_query_goes_to_the_model_of_the_field() {
    let (server, watch) = start(&[]);
    for (query, nearest) in [
        (json!({"text": "abb"}), 2),
        (json!({"nearest": {"text": "a"}}), 1),
        (document("c", "letters"), 3),
        (document("c", "letters@1"), 3),
    ] {
        let found = server.ok("POST", "/collections/c/points/query", json!({"query": query, "limit": 1}));
        assert_eq!(ids(&found["points"]), [json!(nearest)], "{query}");
    }
    watch.called.try_iter().for_each(drop);
    // Several at once are one call, in their order, beside a vector and a point.
    let searches: Vec<Value> = [json!({"text": "c"}), json!([0.0, 1.0, 0.0]), json!({"text": "a"}), json!(3)]
        .map(|query| json!({"query": query, "limit": 1}))
        .to_vec();
    let found = server.ok("POST", "/collections/c/points/query/batch", json!({"searches": searches}));
    let first: Vec<Value> =
        found.as_array().unwrap().iter().map(|found| ids(&found["points"])[0].clone()).collect();
    assert_eq!(first[..3], [json!(3), json!(2), json!(1)]);
    assert_eq!(watch.called.try_iter().collect::<Vec<_>>(), [["c", "a"]]);
}

#[test]
fn operations_of_one_batch_are_embedded_together() {
    let (server, watch) = start(&[]);
    let operations = json!({"operations": [
        {"upsert": {"points": [{"id": 4, "vector": document("ab", "letters")}]}},
        {"delete": {"points": [1]}},
        {"update_vectors": {"points": [{"id": 4, "vector": document("cb", "letters")}, {"id": 2, "vector": [1, 0, 0]}]}},
    ]});
    server.ok("POST", "/collections/c/points/batch?wait=true", operations);
    assert_eq!(watch.called.try_iter().collect::<Vec<_>>(), [["ab", "cb"]]);
    let found =
        server.ok("POST", "/collections/c/points/query", json!({"query": {"text": "bc"}, "limit": 1}));
    assert_eq!(ids(&found["points"]), [json!(4)]);
}

#[test]
fn what_a_model_cannot_do_is_an_error_that_changes_nothing() {
    let (server, _watch) = start(&[]);
    let bundled = json!({"vectors": {"size": 256, "distance": "Cosine"}});
    server.ok("PUT", "/collections/table", bundled);
    let foreign = json!({"vectors": {"size": 3, "distance": "Cosine", "model": "else"}});
    server.ok("PUT", "/collections/foreign", foreign);
    let write = |vectors: &[Value]| {
        let points: Vec<Value> = vectors.iter().map(|vector| json!({"id": 9, "vector": vector})).collect();
        json!({"points": points}).to_string()
    };
    let query = |query: Value| json!({"query": query}).to_string();
    let part = |part: &str| json!({"status": {"error": format!("~{part}")}});
    let table = "PUT";
    server.play(&[
        // The place is that among all texts of the request.
        (
            table,
            "/collections/c/points",
            &write(&[document("a", "letters"), document("", "letters")]),
            400,
            part("ext 1 is empty"),
        ),
        (
            table,
            "/collections/c/points",
            &write(&[document("fail", "letters")]),
            500,
            part("1 axes, expected 2"),
        ),
        (table, "/collections/c/points", &write(&[json!({"text": "a"})]), 400, part("missing field `model`")),
        (
            table,
            "/collections/table/points",
            &write(&[document("a", "letters")]),
            400,
            part("expected dim: 256, got 3"),
        ),
        (
            "POST",
            "/collections/c/points/query",
            &query(document("a", "letters@2")),
            400,
            part("this node embeds with"),
        ),
        (
            "POST",
            "/collections/foreign/points/query",
            &query(json!({"text": "a"})),
            400,
            part("of model \"else\"; this node embeds"),
        ),
        (
            "POST",
            "/collections/foreign/points/query",
            &query(document("a", "letters")),
            400,
            part("cannot be mixed in"),
        ),
        (
            "POST",
            "/collections/c/points/query",
            &json!({"query": {"text": "a"}, "using": "x"}).to_string(),
            400,
            part("\"x\""),
        ),
        ("POST", "/collections/c/points/count", "{}", 200, json!({"result": {"count": 3}})),
    ]);
}

#[test]
fn a_name_of_two_models_means_that_of_the_field() {
    let (models, _watches): (Vec<_>, Vec<_>) =
        ["1", "2"].map(|revision| Letters::watched("letters", revision)).into_iter().unzip();
    let server = Server::start_with(&[], models);
    let vectors = |model: &str| json!({"vectors": {"size": 3, "distance": "Cosine", "model": model}});
    server.ok("PUT", "/collections/two", vectors("letters@2#00"));
    server.ok("PUT", "/collections/none", json!({"vectors": {"size": 3, "distance": "Cosine"}}));
    let body = json!({"points": [{"id": 1, "vector": document("a", "letters")}]}).to_string();
    server.play(&[
        ("PUT", "/collections/two/points", &body, 200, json!({"status": "ok"})),
        (
            "PUT",
            "/collections/none/points",
            &body,
            400,
            json!({"status": {"error": "~the name of several models here; name one of \"letters@1#00\", \"letters@2#00\""}}),
        ),
    ]);
}

#[test]
fn a_model_that_works_holds_no_search_up() {
    let (server, watch) = start(&[("server.search_threads", "1")]);
    std::thread::scope(|scope| {
        let slow = scope.spawn(|| {
            let body = json!({"query": {"text": "slow"}, "limit": 1});
            server.ok("POST", "/collections/c/points/query", body)
        });
        assert_eq!(watch.called.recv().unwrap(), ["slow"]);
        // The only thread for searches is free.
        let found = server.ok("POST", "/collections/c/points/query", json!({"query": [0, 1, 0], "limit": 1}));
        assert_eq!(ids(&found["points"]), [json!(2)]);
        // The next text waits for its turn, and for no longer than its client.
        let body = json!({"query": {"text": "b"}, "limit": 1}).to_string();
        let late = server.client().call("POST", "/collections/c/points/query?timeout=1", &body);
        assert_eq!(late.status, 408, "{}", late.text);
        watch.go_on.send(()).unwrap();
        assert_eq!(slow.join().unwrap()["points"].as_array().unwrap().len(), 1);
    });
    assert_eq!(watch.called.try_iter().count(), 0, "nobody waits for the text of a client that is gone");
    let found = server.ok("POST", "/collections/c/points/query", json!({"query": {"text": "b"}, "limit": 1}));
    assert_eq!(ids(&found["points"]), [json!(2)]);
}
