//! Import, query, export, and import again, against a real server.

use std::collections::BTreeMap;
use std::fs;
use std::io::Write as _;
use std::path::Path;

use flate2::Compression;
use flate2::write::GzEncoder;
use serde_json::{Value, json};

use crate::dvse::Server;

const POINTS: u64 = 700;

/// Points with vectors that JSON and `f32` hold exactly, so that what comes back can be compared.
fn line(id: u64) -> Value {
    let vector: Vec<f32> =
        (0..4_u8).map(|axis| ((id * 7 + u64::from(axis) * 13) % 97) as f32 / 8.0).collect();
    json!({"id": id, "vector": vector, "payload": {"name": format!("n{id}"), "even": id.is_multiple_of(2), "big": u64::MAX - id}})
}

fn write_lines(path: &Path, lines: impl Iterator<Item = Value>) {
    let mut encoder = GzEncoder::new(fs::File::create(path).unwrap(), Compression::fast());
    lines.for_each(|line| writeln!(encoder, "{line}").unwrap());
    encoder.finish().unwrap();
}

fn by_id(text: &str) -> BTreeMap<u64, Value> {
    let points = text.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    points.map(|point| (point["id"].as_u64().unwrap(), point)).collect()
}

fn name(path: &Path) -> &str {
    path.to_str().unwrap()
}

#[test]
fn what_is_imported_is_exported() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(&folder.path().join("data"));
    let (first, second) = (folder.path().join("in.jsonl.gz"), folder.path().join("out.jsonl"));
    write_lines(&first, (0..POINTS).map(line));

    let ran = server.dvse(&["import", name(&first), "-c", "a", "--metric", "l2", "--batch", "64"]);
    assert!(ran.stderr.contains("700 points in"), "{}", ran.stderr);
    assert_eq!(ran.ok(), "");
    let expect: BTreeMap<u64, Value> = (0..POINTS).map(|id| (id, line(id))).collect();
    server.dvse(&["export", "-c", "a", "-o", name(&second), "--batch", "100", "--quiet"]).ok();
    assert_eq!(by_id(&fs::read_to_string(&second).unwrap()), expect);

    server.dvse(&["import", name(&second), "-c", "b", "--metric", "l2", "--connections", "1", "-q"]).ok();
    assert_eq!(by_id(&server.dvse(&["export", "-c", "b", "-o", "-", "-q"]).ok()), expect);

    let filter = r#"{"must":[{"key":"even","match":{"value":true}}]}"#;
    let even =
        by_id(&server.dvse(&["export", "-c", "b", "-o", "-", "--filter", filter, "--no-vectors"]).ok());
    assert_eq!(even.len() as u64, POINTS / 2);
    assert!(even.values().all(|point| point.get("vector").is_none()));
    assert_eq!(server.stop(), Some(0));
}

#[test]
fn texts_are_embedded_by_the_server_and_found_by_meaning() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(&folder.path().join("data"));
    let file = folder.path().join("docs.jsonl.gz");
    let texts = [
        ("boat", "a small and light boat, pointed at both ends, propelled with a paddle"),
        ("fear", "a morbid fear of great heights"),
        ("heat", "a measuring instrument for measuring temperature"),
    ];
    let lines = texts.iter().map(|(tag, text)| json!({"tag": tag, "text": text}));
    write_lines(&file, lines);
    server.dvse(&["import", name(&file), "-c", "docs", "--text-field", "text", "-q"]).ok();

    let found =
        server.dvse(&["query", "canoe with a paddle", "-c", "docs", "-n", "2", "--format", "jsonl"]).ok();
    let hits: Vec<Value> = found.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(hits.len(), 2);
    assert_eq!((hits[0]["id"].as_u64(), hits[0]["payload"]["tag"].as_str()), (Some(0), Some("boat")));
    assert!(hits[0]["score"].as_f64() > hits[1]["score"].as_f64());

    let filter = r#"{"must":[{"key":"tag","match":{"value":"heat"}}]}"#;
    let table =
        server.dvse(&["query", "canoe", "-c", "docs", "--filter", filter, "--fields", "tag", "--exact"]).ok();
    let rows: Vec<Vec<&str>> = table.lines().map(|line| line.split_whitespace().collect()).collect();
    assert_eq!(rows[0], ["score", "id", "tag"]);
    assert_eq!((rows.len(), rows[1][1], rows[1][2]), (2, "2", "heat"));
}

#[test]
fn an_import_that_stops_says_where_to_go_on() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(&folder.path().join("data"));
    let file = folder.path().join("half.jsonl.gz");
    // The vector of point 250 is too short.
    let broken = |id| if id == 250 { json!({"id": id, "vector": [1.0]}) } else { line(id) };
    write_lines(&file, (0..400).map(broken));
    let import =
        ["import", name(&file), "-c", "c", "--metric", "l2", "--batch", "100", "--connections", "1", "-q"];
    let error = server.dvse(&import).failed();
    assert!(error.contains("the first 200 points are written"), "{error}");
    assert!(error.contains("expected dim: 4, got 1") && error.contains("--skip 200"), "{error}");

    write_lines(&file, (0..400).map(line));
    server.dvse(&[&import[..], &["--skip", "200"]].concat()).ok();
    let exported = by_id(&server.dvse(&["export", "-c", "c", "-o", "-", "-q"]).ok());
    assert_eq!(exported, (0..400).map(|id| (id, line(id))).collect());

    let flat = folder.path().join("flat.jsonl.gz");
    write_lines(&flat, std::iter::once(json!({"id": 1, "vector": [1.0, 2.0]})));
    let error = server.dvse(&["import", name(&flat), "-c", "c"]).failed();
    assert!(error.contains("have 2 dimensions; collection c has 4"), "{error}");
}

#[test]
fn rows_of_a_vector_file_become_points() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(&folder.path().join("data"));
    let file = folder.path().join("rows.fvecs");
    let mut bytes = Vec::new();
    for row in 0..5_u8 {
        bytes.extend(2_i32.to_le_bytes());
        bytes.extend([f32::from(row), 0.5].iter().flat_map(|value| value.to_le_bytes()));
    }
    fs::write(&file, bytes).unwrap();
    server
        .dvse(&[
            "import",
            name(&file),
            "-c",
            "rows",
            "--metric",
            "ip",
            "--first-id",
            "10",
            "--skip",
            "1",
            "-q",
        ])
        .ok();
    let exported = by_id(&server.dvse(&["export", "-c", "rows", "-o", "-", "-q"]).ok());
    assert_eq!(exported.keys().copied().collect::<Vec<_>>(), [11, 12, 13, 14]);
    assert_eq!(exported[&13]["vector"], json!([3.0, 0.5]));
}
