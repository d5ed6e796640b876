//! Starting, stopping, and settings.

use std::process::Stdio;

use serde_json::Value;

use crate::dvse::{Server, command, dvse};

#[test]
fn a_stopped_server_has_its_collections_at_the_next_start() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(folder.path());
    let created = server.dvse(&["collection", "create", "books", "--dim", "3", "--metric", "l2"]).ok();
    assert_eq!(created, "created books (3 dimensions, l2)\n");
    server.dvse(&["collection", "alias", "books", "shelf"]).ok();
    assert_eq!(server.stop(), Some(0));

    let server = Server::start(folder.path());
    let listed = server.dvse(&["collection", "list", "--format", "jsonl"]).ok();
    let listed: Value = serde_json::from_str(&listed).unwrap();
    assert_eq!((listed["name"].as_str(), listed["points"].as_u64()), (Some("books"), Some(0)));
    assert!(server.dvse(&["collection", "info", "shelf"]).ok().contains("size"));
    let kept = server.dvse(&["collection", "delete", "books"]).failed();
    assert!(kept.contains("was not deleted") && kept.contains("--yes"), "{kept}");
    server.dvse(&["collection", "delete", "books", "--yes"]).ok();
    assert_eq!(server.dvse(&["collection", "list", "--format", "jsonl"]).ok(), "");
    assert_eq!(server.stop(), Some(0));
}

#[test]
fn messages_are_objects_when_asked_for() {
    let folder = tempfile::tempdir().unwrap();
    let variables = [("DVSE__LOG__FORMAT", "json"), ("DVSE__LOG__FILTER", "info")];
    let (code, messages) = Server::start_with(folder.path(), &variables, Stdio::piped()).stop_and_read();
    assert_eq!(code, Some(0), "{messages}");
    let messages: Vec<Value> = messages.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let serving = messages.iter().find(|message| message["message"] == "serving").unwrap();
    assert_eq!((serving["level"].as_str(), serving["collections"].as_u64()), (Some("INFO"), Some(0)));
    assert!(messages.iter().any(|message| message["message"] == "stopped"), "{messages:?}");
}

#[test]
fn settings_are_shown_with_their_origin() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("dvse.toml");
    std::fs::write(&file, "[server]\nhttp = \"127.0.0.1:1\"\n[log]\nfilter = \"warn\"\n").unwrap();
    let ran = command()
        .args(["config", "show", "--format", "jsonl", "--data", "here"])
        .env("DVSE_CONFIG", &file)
        .env("DVSE__SERVER__HTTP", "127.0.0.1:2")
        .output()
        .unwrap();
    let shown = String::from_utf8(ran.stdout).unwrap();
    let of = |key: &str| {
        let mut all = shown.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
        let setting = all.rfind(|setting| setting["setting"] == key).unwrap();
        format!("{} from {}", setting["value"].as_str().unwrap(), setting["from"].as_str().unwrap())
    };
    assert_eq!(of("storage.data"), "here from flag");
    assert_eq!(of("server.http"), "127.0.0.1:2 from environment DVSE__SERVER__HTTP");
    assert_eq!(of("log.filter"), format!("warn from file {}", file.display()));
    assert!(of("storage.background_threads").ends_with("from default"));
}

#[test]
fn a_model_that_cannot_be_had_is_refused_before_anything_is_opened() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let ran = dvse(&["serve", "--data", data.to_str().unwrap(), "--embedder", "none"]).failed();
    assert!(ran.contains("leave it out"), "{ran}");
    assert!(!data.exists());
}
