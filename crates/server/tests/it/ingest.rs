//! Pipelines as a role of a node: records through a log into a collection, seen, steered, stopped and begun again.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use dvse_embed::{Embedder, StaticEmbedder};
use dvse_ingest::pipeline::{PipelineConfig, Progress};
use dvse_ingest::{EmbeddedLog, TopicLog, TopicName, key_of, partition_of};
use dvse_server::ingest::{Admin, Pipeline, PipelineSpec, Pipelines, schema_for};
use serde_json::{Value, json};

use crate::harness::{Client, Server, any};

const PARTITIONS: u32 = 2;

fn bundled() -> Arc<dyn Embedder> {
    StaticEmbedder::bundled().unwrap()
}

fn spec(log: &Arc<dyn TopicLog>, collection: &str, models: Vec<Arc<dyn Embedder>>) -> PipelineSpec {
    PipelineSpec {
        config: PipelineConfig { idle_wait: Duration::from_millis(2), ..PipelineConfig::of(collection) },
        source: "file:log".to_owned(),
        log: Arc::clone(log),
        partitions: PARTITIONS,
        models,
        progress: Arc::new(Progress::default()),
    }
}

fn open_log(folder: &Path) -> Arc<dyn TopicLog> {
    Arc::new(EmbeddedLog::open(&folder.join("log")).unwrap())
}

/// Sends lines to a topic that is there.
fn send(log: &dyn TopicLog, lines: &[Value]) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    runtime.block_on(async {
        for line in lines {
            let line = line.to_string();
            let key = key_of(line.as_bytes());
            let partition = partition_of(&key, PARTITIONS);
            let mut producer = log.producer(&TopicName::raw_events(), partition).await.unwrap();
            producer.append(&key, line.as_bytes(), Duration::ZERO).await.unwrap();
            producer.flush().await.unwrap();
        }
    });
}

fn record(id: u64, text: &str) -> Value {
    json!({"source_id": format!("s{id}"), "timestamp": 1_700_000_000_000_u64, "id": id, "payload": {"n": id}, "text": text})
}

fn drained(server: &Server, collection: &str) -> Value {
    let status = server.ok("POST", &format!("/ingest/{collection}/drain?timeout=60"), Value::Null);
    assert_eq!(status["state"], "drained", "{status}");
    status
}

#[test]
fn records_become_points_of_a_collection_that_is_made_for_them() {
    let server = Server::start(&[]);
    let log = open_log(server.folder.path());
    server.node().ingest(spec(&log, "docs", vec![bundled()])).unwrap();
    drained(&server, "docs");
    let mut lines: Vec<Value> = (0..20).map(|id| record(id, "a small boat")).collect();
    lines.push(record(3, "another thing"));
    lines.push(json!({"source_id": "x", "timestamp": 0, "id": 5, "payload": {}, "op": "delete"}));
    lines.push(json!("no record"));
    lines.push(json!({"source_id": "v", "timestamp": 0, "id": 90, "payload": {}, "vector": [1, 2]}));
    send(&*log, &lines);
    let status = drained(&server, "docs");
    assert_eq!(
        (status["records"].as_u64(), status["dead_letters"].as_u64()),
        (Some(24), Some(2)),
        "{status}"
    );
    assert_eq!((status["lag_records"].as_u64(), status["asked"].as_str()), (Some(0), Some("drain")));
    assert_eq!(status["events"], status["changes"]);
    assert!(status["model"].as_str().unwrap().starts_with("wordllama"), "{status}");
    let count = server.ok("POST", "/collections/docs/points/count", json!({}));
    assert_eq!(count["count"], 19);
    // The same collection as one that `dvse ingest` asks for over REST.
    let identity = bundled().model().clone();
    let vectors = json!({"size": identity.dim, "distance": "Cosine", "model": identity.tag()});
    server.ok("PUT", "/collections/asked", json!({ "vectors": vectors }));
    let schema = |name: &str| server.node().database().get(name).unwrap().schema();
    assert_eq!(schema("docs"), schema("asked"));
    assert_eq!(*schema("docs"), schema_for(&identity));
    // What was sent twice is what was sent last, and the vector is that of the model.
    let made = bundled().embed(&["another thing"]).unwrap();
    let point = server.ok("GET", "/collections/docs/points/3", Value::Null);
    let stored: Vec<f64> =
        point["vector"].as_array().unwrap().iter().map(|value| value.as_f64().unwrap()).collect();
    assert!(stored.iter().zip(&made[0][..]).all(|(a, b)| (a - f64::from(*b)).abs() < 1e-6));
    let text = server.client().send("GET", "/metrics", &[], None);
    assert_eq!(text.headers["content-type"], "text/plain; version=0.0.4; charset=utf-8");
    for line in [
        r#"dvse_ingest_pipeline_state{collection="docs",state="drained"} 1"#,
        r#"dvse_ingest_pipeline_state{collection="docs",state="running"} 0"#,
        r#"dvse_ingest_epoch{collection="docs",partition="1"} 1"#,
        r#"dvse_ingest_lag_records{collection="docs",partition="0"} 0"#,
        r#"dvse_ingest_failures_total{collection="docs",partition="0",kind="fenced"} 0"#,
        "# TYPE dvse_ingest_age_seconds gauge",
    ] {
        assert!(text.text.lines().any(|found| found == line), "{line} is not in\n{}", text.text);
    }
}

#[test]
fn a_pipeline_is_paused_and_goes_on_and_one_that_is_not_there_is_said() {
    let server = Server::start(&[]);
    let log = open_log(server.folder.path());
    server.node().ingest(spec(&log, "docs", vec![bundled()])).unwrap();
    drained(&server, "docs");
    let paused = server.ok("POST", "/ingest/docs/pause", Value::Null);
    assert_eq!((paused["state"].as_str(), paused["asked"].as_str()), (Some("paused"), Some("pause")));
    send(&*log, &(0..8).map(|id| record(id, "a small boat")).collect::<Vec<_>>());
    let resumed = server.ok("POST", "/ingest/docs/resume", Value::Null);
    assert_eq!((resumed["state"].as_str(), resumed["asked"].as_str()), (Some("running"), Some("run")));
    assert_eq!(drained(&server, "docs")["records"], 8);
    let all = server.ok("GET", "/ingest", Value::Null);
    assert_eq!(all["pipelines"][0]["collection"], "docs");
    server.play(&[
        (
            "GET",
            "/ingest/none",
            "",
            404,
            json!({"status": {"code": "not_found", "help": "~--ingest SOURCE"}}),
        ),
        ("POST", "/ingest/none/pause", "", 404, any()),
        ("GET", "/ingest/docs/pause", "", 405, any()),
        ("POST", "/ingest/docs/pause?timeout=0", "", 400, any()),
    ]);
    let two = server.node().ingest(spec(&log, "docs", vec![bundled()])).unwrap_err();
    assert_eq!(two.to_string(), "collection docs has a pipeline in this process already");
}

#[test]
fn a_pipeline_that_is_fenced_stops_the_node_serves_on_and_it_can_be_resumed() {
    let server = Server::start(&[]);
    let log = open_log(server.folder.path());
    server.node().ingest(spec(&log, "docs", vec![bundled()])).unwrap();
    drained(&server, "docs");
    let sources = server.ok("GET", "/collections/docs/sources", Value::Null);
    for source in sources.as_array().unwrap() {
        let body = json!({"stream": source["stream"], "partition": source["partition"]});
        server.ok("POST", "/collections/docs/sources/take-over", body);
    }
    send(&*log, &(0..8).map(|id| record(id, "a small boat")).collect::<Vec<_>>());
    // It drains until it meets the fence.
    let status = server.ok("POST", "/ingest/docs/drain?timeout=60", Value::Null);
    assert_eq!((status["state"].as_str(), status["asked"].as_str()), (Some("stopped"), Some("stop")));
    assert!(status["reason"].as_str().unwrap().contains("fenced"), "{status}");
    assert!(status["reason"].as_str().unwrap().contains("dvse ingest resume"), "{status}");
    server.play(&[
        (
            "POST",
            "/ingest/docs/pause",
            "",
            409,
            json!({"status": {"code": "ingest_stopped", "error": "~fenced"}}),
        ),
        ("POST", "/collections/docs/points/count", "{}", 200, json!({"result": {"count": 0}})),
    ]);
    let text = server.client().send("GET", "/metrics", &[], None).text;
    assert!(text.contains(r#"kind="fenced"} 1"#), "{text}");
    let resumed = server.ok("POST", "/ingest/docs/resume", Value::Null);
    assert_eq!(resumed["reason"], Value::Null, "{resumed}");
    let status = drained(&server, "docs");
    assert_eq!((status["records"].as_u64(), status["partitions"][0]["epoch"].as_u64()), (Some(8), Some(3)));
}

#[test]
fn collections_and_models_that_do_not_fit_stop_a_pipeline_with_a_remedy() {
    let server = Server::start(&[]);
    let (three, other) =
        (json!({"size": 3, "distance": "Dot"}), json!({"size": 256, "distance": "Dot", "model": "m@1#ab"}));
    server.ok("PUT", "/collections/three", json!({ "vectors": three }));
    server.ok("PUT", "/collections/other", json!({ "vectors": other }));
    server.ok("PUT", "/collections/named", json!({"vectors": {"a": {"size": 256, "distance": "Dot"}}}));
    let log = open_log(server.folder.path());
    for (collection, models, says) in [
        ("three", vec![bundled()], "collection three has 3 dimensions"),
        ("other", vec![bundled()], "are of model m@1#ab, not of wordllama"),
        ("named", vec![bundled()], "the vectors of collection named have names"),
        ("none", vec![], "dvse collection create none --dim N"),
    ] {
        server.node().ingest(spec(&log, collection, models)).unwrap();
        let path = format!("/ingest/{collection}");
        let status = poll(|| server.ok("GET", &path, Value::Null), |status| status["state"] == "stopped");
        assert!(status["reason"].as_str().unwrap().contains(says), "{status}");
        let text = server.client().send("GET", "/metrics", &[], None).text;
        let line = format!(r#"dvse_ingest_start_failures_total{{collection="{collection}",kind="other"}} 1"#);
        assert!(text.contains(&line), "{line} is not in\n{text}");
    }
    // Once there is what was missing, it goes on without a new start.
    server.ok("PUT", "/collections/none", json!({"vectors": {"size": 2, "distance": "Euclid"}}));
    server.ok("POST", "/ingest/none/resume", Value::Null);
    drained(&server, "none");
    send(
        &*log,
        &[
            json!({"source_id": "v", "timestamp": 0, "id": 1, "payload": {}, "vector": [1, 2]}),
            record(2, "a text that no model embeds"),
        ],
    );
    let status = drained(&server, "none");
    assert_eq!((status["changes"].as_u64(), status["dead_letters"].as_u64()), (Some(1), Some(1)));
    // A collection that is dropped under a pipeline ends it; begun again, it makes the collection anew.
    server.ok("DELETE", "/collections/none", Value::Null);
    send(&*log, &[json!({"source_id": "v", "timestamp": 0, "id": 1, "payload": {}, "vector": [3, 4]})]);
    let status = poll(
        || server.client().send("POST", "/ingest/none/drain?timeout=60", &[], None).json(),
        |answer| answer["status"]["code"] == "ingest_stopped",
    );
    assert!(status["status"]["error"].as_str().unwrap().contains("is closed"), "{status}");
}

#[test]
fn a_node_that_stops_ends_its_pipelines_and_the_next_goes_on() {
    let mut server = Server::start(&[]);
    let log = open_log(server.folder.path());
    server.node().ingest(spec(&log, "docs", vec![bundled()])).unwrap();
    drained(&server, "docs");
    server.ok("POST", "/ingest/docs/resume", Value::Null);
    send(&*log, &(0..40).map(|id| record(id, "a small boat")).collect::<Vec<_>>());
    server.restart(&[]);
    server.node().ingest(spec(&log, "docs", vec![bundled()])).unwrap();
    drained(&server, "docs");
    let count = server.ok("POST", "/collections/docs/points/count", json!({}));
    assert_eq!(count["count"], 40);
    let sources = server.ok("GET", "/collections/docs/sources", Value::Null);
    assert_eq!(sources[0]["epoch"], 2, "{sources}");
}

#[test]
fn pipelines_beside_a_node_are_seen_and_steered_in_the_same_way() {
    let (pipelines, progress) = (Arc::new(Pipelines::default()), Arc::new(Progress::default()));
    let strange = "ä b}=,#{c";
    pipelines.add(Arc::new(Pipeline::new(strange, "file:log", "t", Arc::clone(&progress)))).unwrap();
    pipelines.add(Arc::new(Pipeline::new("c", "file:log", "t", progress))).unwrap();
    let key = Some("secret".to_owned());
    let admin = Admin::start("127.0.0.1:0".parse().unwrap(), pipelines, key).unwrap();
    let client = Client::new(admin.address());
    let send = |method: &str, path: &str| client.send(method, path, &[("api-key", "secret")], None);
    assert_eq!(client.send("GET", "/healthz", &[], None).text, "ok");
    for path in ["/metrics", "/ingest", "/ingest/c"] {
        assert_eq!(client.send("GET", path, &[], None).status, 401, "{path}");
    }
    let foreign = [("api-key", "secret"), ("origin", "https://evil.example.org")];
    assert_eq!(client.send("POST", "/ingest/c/pause", &foreign, None).status, 403);
    assert_eq!(send("GET", "/ingest").json()["result"]["pipelines"][1]["state"], "waiting");
    let paused = send("POST", "/ingest/c/pause?timeout=1").json();
    assert_eq!(
        (paused["result"]["asked"].as_str(), paused["result"]["state"].as_str()),
        (Some("pause"), Some("waiting"))
    );
    for (method, path, status) in [
        ("GET", "/ingest/none", 404),
        ("POST", "/ingest/none/drain", 404),
        ("GET", "/collections", 404),
        ("POST", "/metrics", 405),
        ("POST", "/ingest/c/resume?x=1", 400),
        ("POST", "/ingest/c/resume", 200),
    ] {
        let answer = send(method, path);
        assert_eq!(answer.status, status, "{method} {path}: {}", answer.text);
        assert_eq!(answer.json()["status"] == "ok", status == 200, "{}", answer.text);
    }
    // A body that nobody reads does not end the connection under the next request.
    let body = vec![b' '; 48 << 10];
    for _ in 0..20 {
        let unread = client.send("POST", "/ingest/none/pause", &[("api-key", "secret")], Some(&body));
        assert_eq!(unread.status, 404, "{}", unread.text);
    }
    let text = send("GET", "/metrics").text;
    let line = r#"dvse_ingest_pipeline_state{collection="ä b}=,#{c",state="waiting"} 1"#;
    assert!(text.lines().any(|found| found == line), "{line} is not in\n{text}");
    admin.stop();
}

/// Asks again and again until the answer is as wanted. Each question is a request, which takes its time.
fn poll(ask: impl Fn() -> Value, is_as_wanted: impl Fn(&Value) -> bool) -> Value {
    for _ in 0..100_000 {
        let answer = ask();
        if is_as_wanted(&answer) {
            return answer;
        }
    }
    panic!("it never came: {}", ask());
}
