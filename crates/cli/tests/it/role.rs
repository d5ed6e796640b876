//! `dvse serve --ingest`, and the commands that look at pipelines and steer them.

use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Child, Stdio};

use serde_json::Value;

use crate::dvse::{Server, command, dvse, dvse_reading};

fn at(log: &Path) -> String {
    format!("file:{}", log.display())
}

fn lines(ids: std::ops::Range<u64>) -> String {
    ids.map(|id| {
        format!(
            "{{\"source_id\":\"s{id}\",\"timestamp\":1700000000000,\"payload\":{{\"n\":{id}}},\"id\":{id},\"text\":\"a small boat\"}}\n"
        )
    })
    .collect()
}

fn produce(log: &Path, records: &str) {
    dvse_reading(&["produce", "--quiet", "--to", &at(log), "--file", "-"], records).ok();
}

fn serve(data: &Path, log: &Path, more: &[&str]) -> Server {
    let log = at(log);
    let arguments = [&["--ingest", log.as_str(), "--collection", "docs"], more].concat();
    Server::start_with_arguments(data, &arguments)
}

fn status(server: &Server) -> Value {
    serde_json::from_str(&server.dvse(&["ingest", "status", "--format", "jsonl"]).ok()).unwrap()
}

#[test]
fn a_server_brings_the_records_of_a_log_into_a_collection() {
    let folder = tempfile::tempdir().unwrap();
    let (data, log) = (folder.path().join("data"), folder.path().join("log"));
    let server = serve(&data, &log, &[]);
    produce(&log, &lines(0..40));
    produce(&log, "no json\n");
    let drained = server.dvse(&["ingest", "drain"]).ok();
    let row = drained.lines().find(|line| line.starts_with("docs")).unwrap();
    assert!(row.contains("drained") && row.contains(" 41 "), "{drained}");
    let found =
        server.dvse(&["query", "a boat", "--collection", "docs", "--limit", "50", "--format", "jsonl"]).ok();
    assert_eq!(found.lines().count(), 40, "{found}");
    // Nothing is taken while it is paused, and no records are lost over a restart, which ends the pause.
    server.dvse(&["ingest", "pause", "--collection", "docs"]).ok();
    produce(&log, &lines(40..60));
    assert_eq!(status(&server)["state"], "paused");
    assert_eq!(server.stop(), Some(0));
    let server = serve(&data, &log, &[]);
    server.dvse(&["ingest", "drain"]).ok();
    let status = status(&server);
    assert_eq!((status["records"].as_u64(), status["partitions"][0]["epoch"].as_u64()), (Some(20), Some(2)));
    server.dvse(&["ingest", "resume"]).ok();
    let error = server.dvse(&["ingest", "pause", "--collection", "none"]).failed();
    assert!(error.contains("No pipeline of this process fills collection"), "{error}");
    assert_eq!(server.stop(), Some(0));
    // A process of its own goes on where the server was.
    let server = Server::start(&data);
    let error = server.dvse(&["ingest", "drain"]).failed();
    assert!(error.contains("no pipeline runs there") && error.contains("--metrics"), "{error}");
    produce(&log, &lines(60..70));
    let told = server
        .dvse(&["ingest", "--quiet", "--until-empty", "--from", &at(&log), "--collection", "docs"])
        .ok();
    assert!(told.starts_with("10 records: 10 changes"), "{told}");
    assert_eq!(server.stop(), Some(0));
}

#[test]
fn a_process_of_its_own_is_seen_and_steered_at_its_metrics() {
    let folder = tempfile::tempdir().unwrap();
    let (data, log) = (folder.path().join("data"), folder.path().join("log"));
    let server = Server::start(&data);
    let server_url = server.url.clone();
    let mut worker = Worker::start(&server_url, &log);
    produce(&log, &lines(0..30));
    worker.dvse(&["ingest", "drain"]);
    let status: Value =
        serde_json::from_str(&worker.dvse(&["ingest", "status", "--format", "jsonl"])).unwrap();
    assert_eq!((status["records"].as_u64(), status["state"].as_str()), (Some(30), Some("drained")));
    let metrics =
        ureq::get(format!("{}/metrics", worker.url)).call().unwrap().body_mut().read_to_string().unwrap();
    assert!(
        metrics.contains(r#"dvse_ingest_worker_state{collection="docs",partition="0",state="drained"} 1"#)
    );
    worker.dvse(&["ingest", "resume"]);
    // While the server is away it waits, and says what is left when the time is over.
    assert_eq!(server.stop(), Some(0));
    produce(&log, &lines(30..40));
    let drain = ["ingest", "drain", "--timeout", "1", "--url", &worker.url];
    let error = dvse(&drain).failed();
    assert!(error.contains("ingest into docs is waiting") && error.contains("records are left"), "{error}");
    let server = Server::start_at(&data, &server_url);
    worker.dvse(&["ingest", "drain"]);
    // The server is not the one to ask.
    assert!(server.dvse(&["ingest", "pause"]).failed().contains("--metrics"));
    assert_eq!((worker.stop(), server.stop()), (Some(0), Some(0)));
}

/// A `dvse ingest` with metrics.
struct Worker {
    child: Child,
    url: String,
}

impl Worker {
    fn start(server: &str, log: &Path) -> Worker {
        let mut command = command();
        command.args([
            "ingest",
            "--metrics",
            "127.0.0.1:0",
            "--collection",
            "docs",
            "--url",
            server,
            "--from",
        ]);
        let mut child = command.arg(at(log)).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stderr.take().unwrap()).read_line(&mut line).unwrap();
        let url = line.trim().strip_prefix("metrics at ").and_then(|url| url.strip_suffix("/metrics"));
        assert!(url.is_some(), "{line:?}");
        Worker { url: url.unwrap().to_owned(), child }
    }

    fn dvse(&self, arguments: &[&str]) -> String {
        dvse(&[arguments, &["--url", &self.url]].concat()).ok()
    }

    fn stop(&mut self) -> Option<i32> {
        let id = self.child.id().to_string();
        assert!(std::process::Command::new("kill").args(["-TERM", &id]).status().unwrap().success());
        self.child.wait().unwrap().code()
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

#[test]
fn a_collection_for_each_log_is_asked_for() {
    let folder = tempfile::tempdir().unwrap();
    let (data, log) = (folder.path().join("data").display().to_string(), at(&folder.path().join("log")));
    let serve = ["serve", "--http", "127.0.0.1:0", "--data", &data];
    for (more, says) in [
        (vec!["--ingest", &log], "each --ingest needs a --collection: there are 1 and 0"),
        (vec!["--embedder", "none"], "Alone with --ingest"),
        (
            vec!["--ingest", &log, "--ingest", &log, "--collection", "a", "--collection", "a"],
            "--collection a is there twice",
        ),
    ] {
        let error = dvse(&[&serve[..], &more].concat()).failed();
        assert!(error.contains(says), "{error}");
    }
    assert_eq!(dvse(&["ingest", "--from", &log]).code, Some(2));
    assert_eq!(dvse(&["ingest", "--from", &log, "--collection", "c", "--metrics", "nowhere"]).code, Some(2));
}
