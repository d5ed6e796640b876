//! Records through the embedded log into a collection.

use std::path::Path;

use serde_json::{Value, json};

use crate::dvse::{Server, dvse, dvse_reading};

fn produce(log: &Path, lines: &str) {
    dvse_reading(&["produce", "--quiet", "--to", &at(log), "--file", "-", "--partitions", "2"], lines).ok();
}

fn at(log: &Path) -> String {
    format!("file:{}", log.display())
}

fn record(id: u64, more: &str) -> String {
    format!(
        "{{\"source_id\":\"s{id}\",\"timestamp\":1700000000000,\"payload\":{{\"n\":{id}}},\"id\":{id},{more}}}\n"
    )
}

#[test]
fn records_become_points_and_poison_becomes_letters_that_can_be_sent_again() {
    let folder = tempfile::tempdir().unwrap();
    let (data, log) = (folder.path().join("data"), folder.path().join("log"));
    let server = Server::start(&data);
    let mut lines: String = (0..40).map(|id| record(id, "\"text\":\"a small boat\"")).collect();
    lines.push_str(&record(7, "\"op\":\"delete\""));
    lines.push_str("no json\n\n");
    lines.push_str(&record(900, "\"vector\":[1,2]"));
    produce(&log, &lines);
    let ingest = ["ingest", "--quiet", "--until-empty", "--from", &at(&log), "--collection", "docs"];
    let told = server.dvse(&ingest).ok();
    assert!(told.starts_with("43 records: 4"), "{told}");
    assert!(told.trim_end().ends_with("2 dead letters; 0 records left"), "{told}");
    let found =
        server.dvse(&["query", "a boat", "--collection", "docs", "--limit", "50", "--format", "jsonl"]).ok();
    assert_eq!(found.lines().count(), 39, "{found}");
    // Nothing is done twice, whoever runs it again.
    assert!(server.dvse(&ingest).ok().starts_with("0 records: 0 changes"));

    let list = ["dead-letters", "list", "--from", &at(&log), "--format", "jsonl"];
    let letters: Vec<Value> =
        dvse(&list).ok().lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let mut records: Vec<&str> = letters.iter().map(|letter| letter["record"].as_str().unwrap()).collect();
    records.sort_unstable();
    assert_eq!(records, ["no json", record(900, "\"vector\":[1,2]").trim_end()]);
    assert!(letters.iter().any(|letter| {
        letter["reason"]
            .as_str()
            .unwrap()
            .starts_with("field `vector` has 2 dimensions, the collection has 256")
    }));
    assert_eq!(dvse(&["dead-letters", "retry", "--from", &at(&log)]).ok(), "2 records sent again\n");
    assert_eq!(dvse(&list).ok(), "");
    assert_eq!(dvse(&["dead-letters", "retry", "--from", &at(&log)]).ok(), "0 records sent again\n");
    // They are still what they were.
    assert!(server.dvse(&ingest).ok().contains("2 dead letters"));
    assert_eq!(dvse(&list).ok().lines().count(), 2);
    let position = log.join("dvse/ingest/raw-events/partition-0000/subscriptions/docs.position");
    assert!(position.exists());
    dvse(&["topics", "unsubscribe", "--log", &at(&log), "--subscription", "docs"]).ok();
    assert!(!position.exists());
    let topics = dvse(&["topics", "list", "--log", &at(&log)]).ok();
    let row = |topic: &str| topics.lines().find(|line| line.contains(topic)).unwrap().to_owned();
    assert!(row("raw-events").contains(" 45 ") && row("dead-letters").contains(" 4 "), "{topics}");
    assert_eq!(server.stop(), Some(0));
}

#[test]
fn records_with_vectors_need_no_model_but_a_collection() {
    let folder = tempfile::tempdir().unwrap();
    let (data, log) = (folder.path().join("data"), folder.path().join("log"));
    let server = Server::start(&data);
    produce(&log, &(0..5).map(|id| record(id, "\"vector\":[1,2,3]")).collect::<String>());
    let ingest = [
        "ingest",
        "--quiet",
        "--until-empty",
        "--from",
        &at(&log),
        "--collection",
        "v",
        "--embedder",
        "none",
    ];
    assert!(server.dvse(&ingest).failed().contains("dvse collection create"));
    server.dvse(&["collection", "create", "v", "--dim", "3"]).ok();
    assert!(server.dvse(&ingest).ok().starts_with("5 records: 5 changes"));
    let other = ["ingest", "--quiet", "--until-empty", "--from", &at(&log), "--collection", "v"];
    assert!(server.dvse(&other).failed().contains("has 3 dimensions"));
    assert_eq!(server.stop(), Some(0));
}

#[test]
fn a_collection_keeps_its_model_and_refuses_another() {
    let folder = tempfile::tempdir().unwrap();
    let (data, log) = (folder.path().join("data"), folder.path().join("log"));
    let server = Server::start(&data);
    produce(&log, &record(1, "\"text\":\"a boat\""));
    let ingest = |collection: &str| {
        let log = at(&log);
        server.dvse(&["ingest", "--quiet", "--until-empty", "--from", &log, "--collection", collection])
    };
    assert!(ingest("made").ok().starts_with("1 records: 1 changes"));
    let made = server.dvse(&["collection", "info", "made", "--format", "jsonl"]).ok();
    let made: Value = serde_json::from_str(&made).unwrap();
    let kept = made["models"][""].as_str().unwrap().to_owned();
    let (name, hash) = kept.split_once('#').unwrap();
    assert!(name.starts_with("wordllama") && name.contains('@') && hash.len() == 64, "{kept}");
    assert!(ingest("made").ok().starts_with("0 records"));
    assert!(server.dvse(&["query", "a boat", "--collection", "made"]).ok().contains('1'));

    let other = json!({"vectors": {"size": 256, "distance": "Cosine", "model": "another@1#ab"}});
    server.put("/collections/other", &other);
    let error = ingest("other").failed();
    let expected = format!("the vectors of collection other are of model another@1#ab, not of {kept}");
    assert!(error.contains(&expected), "{error}");
    // The name alone, as the demo keeps it.
    let named =
        json!({"vectors": {"size": 256, "distance": "Cosine", "model": name.split_once('@').unwrap().0}});
    server.put("/collections/named", &named);
    assert!(ingest("named").ok().starts_with("1 records: 1 changes"));
    assert_eq!(server.stop(), Some(0));
}

#[test]
fn topics_are_shown_before_they_are_made_and_made_once() {
    let folder = tempfile::tempdir().unwrap();
    let log = at(&folder.path().join("log"));
    let ensure = ["topics", "ensure", "--log", &log, "--partitions", "2"];
    let planned = dvse(&[&ensure[..], &["--dry-run"]].concat()).ok();
    assert_eq!(planned.lines().filter(|line| line.contains("new: 2 partitions")).count(), 3, "{planned}");
    assert_eq!(dvse(&["topics", "list", "--log", &log, "--format", "jsonl"]).ok(), "");
    assert_eq!(dvse(&ensure).ok(), planned);
    assert_eq!(dvse(&ensure).ok().lines().filter(|line| line.ends_with("is as asked")).count(), 3);
    let changed = dvse(&[&ensure[..], &["--retention-hours", "48"]].concat()).ok();
    assert!(
        changed.contains("kept 24 h, producers held at 1024 MiB -> 2 partitions, kept 48 h"),
        "{changed}"
    );
    let more = ["topics", "ensure", "--log", &log, "--partitions", "3"];
    let error = dvse(&more).failed();
    assert_eq!(dvse(&[&more[..], &["--dry-run"]].concat()).failed(), error);
    assert!(error.contains("has 2 partitions, which cannot become 3"), "{error}");
}

#[test]
fn what_is_not_there_yet_is_said_and_a_log_that_is_taken_too() {
    let folder = tempfile::tempdir().unwrap();
    let log = at(&folder.path().join("log"));
    // A build with Pulsar takes it for an address, and this is none.
    let pulsar = dvse(&["produce", "--to", "pulsar://127.0.0.1:x", "--file", "-"]);
    assert_eq!(pulsar.code, Some(2));
    let says = if cfg!(feature = "pulsar") { "pulsar://HOST:PORT" } else { "--features pulsar" };
    assert!(pulsar.stderr.contains(says), "{}", pulsar.stderr);
    #[cfg(not(feature = "python"))]
    {
        let python = dvse(&["ingest", "--from", &log, "--collection", "c", "--embedder", "python:m:f"]);
        assert_eq!(python.code, Some(2));
        assert!(python.stderr.contains("build it with `cargo build"), "{}", python.stderr);
    }
    assert!(dvse(&["dead-letters", "list", "--from", &log]).failed().contains("there is no log"));
    produce(&folder.path().join("log"), "x\n");
    // As another process would, whose lock this one meets.
    let lock = folder.path().join("log/dvse/ingest/raw-events/partition-0001/producer.lock");
    let held = std::fs::File::options().write(true).open(lock).unwrap();
    held.lock().unwrap();
    let error = dvse_reading(&["produce", "--to", &log, "--file", "-"], "y\n").failed();
    assert!(
        error.contains("partition 1 of persistent://dvse/ingest/raw-events is being written by"),
        "{error}"
    );
}

/// All points as `dvse export` writes them.
fn points(server: &Server) -> String {
    server.dvse(&["export", "--quiet", "--collection", "docs", "--output", "-"]).ok()
}

#[test]
fn a_collection_is_rebuilt_from_its_events_and_goes_on() {
    let folder = tempfile::tempdir().unwrap();
    let (data, log, restored) =
        (folder.path().join("data"), folder.path().join("log"), folder.path().join("restored"));
    let server = Server::start(&data);
    let mut lines: String = (0..60).map(|id| record(id, "\"text\":\"a small boat\"")).collect();
    lines.push_str(&record(5, "\"text\":\"another thing\""));
    lines.push_str(&record(7, "\"op\":\"delete\""));
    produce(&log, &lines);
    let ingest = ["ingest", "--quiet", "--until-empty", "--from", &at(&log), "--collection", "docs"];
    server.dvse(&ingest).ok();
    let before = points(&server);
    assert_eq!((before.lines().count(), server.stop()), (59, Some(0)));

    let restored_text = restored.display().to_string();
    let rebuild =
        ["rebuild", "--quiet", "--from", &at(&log), "--collection", "docs", "--data", &restored_text];
    let told = dvse(&rebuild).ok();
    assert!(told.contains("made collection docs with 59 points in"), "{told}");
    let error = dvse(&rebuild).failed();
    assert!(error.contains("`docs` already exists") && error.contains("--replace"), "{error}");
    assert!(dvse(&[&rebuild[..], &["--replace"]].concat()).ok().contains("with 59 points"));

    let server = Server::start(&restored);
    assert_eq!(points(&server), before);
    // The records that made it are in it: only new ones are ingested.
    assert!(server.dvse(&ingest).ok().starts_with("0 records: 0 changes"));
    produce(&log, &record(7, "\"text\":\"here again\""));
    assert!(server.dvse(&ingest).ok().starts_with("1 records: 1 changes"));
    let after = points(&server);
    assert_eq!((after.lines().count(), server.stop()), (60, Some(0)));
    // What a rebuilt collection went on with is part of its history.
    assert!(dvse(&[&rebuild[..], &["--replace"]].concat()).ok().contains("with 60 points"));
    let server = Server::start(&restored);
    assert_eq!(points(&server), after);
    assert!(dvse(&rebuild).failed().contains("stop the server"));
    assert_eq!(server.stop(), Some(0));

    let other = ["rebuild", "--quiet", "--from", &at(&log), "--collection", "x", "--data", &restored_text];
    assert!(dvse(&other).failed().contains("has no vector of a collection x"));
    let raw = [&other[..], &["--topic", "persistent://dvse/ingest/raw-events"]].concat();
    assert!(dvse(&raw).failed().contains("--topic NAME"));
}
