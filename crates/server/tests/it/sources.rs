//! Batches that come from a stream.

use serde_json::{Value, json};

use crate::harness::{Server, any};

const BATCH: &str = "/collections/c/points/batch";
const TAKE_OVER: &str = "/collections/c/sources/take-over";
const SOURCES: &str = "/collections/c/sources";

fn server() -> Server {
    let server = Server::start(&[]);
    server.ok("PUT", "/collections/c", json!({"vectors": {"size": 2, "distance": "Dot"}}));
    server
}

fn take_over(server: &Server, stream: &str, partition: u32) -> Value {
    server.ok("POST", TAKE_OVER, json!({"stream": stream, "partition": partition}))
}

/// A batch that writes one point, up to a position of partition 3 of stream `raw`.
fn batch(id: u64, epoch: u64, position: &str) -> String {
    let upsert = json!({"upsert": {"points": [{"id": id, "vector": [1.0, 0.0]}]}});
    let source = json!({"stream": "raw", "partition": 3, "epoch": epoch, "position": position});
    json!({"operations": [upsert], "source": source}).to_string()
}

fn count(server: &Server) -> u64 {
    server.ok("POST", "/collections/c/points/count", json!({}))["count"].as_u64().unwrap()
}

#[test]
fn a_batch_of_records_takes_effect_once_and_only_for_the_last_who_took_over() {
    let mut server = server();
    assert_eq!(server.ok("GET", SOURCES, Value::Null), json!([]));
    let never = json!({"status": {"code": "fenced", "error": "~epoch 1 was sent, none was ever granted"}});
    server.play(&[("POST", BATCH, &batch(1, 1, "9"), 409, never)]);
    let first = json!({"stream": "raw", "partition": 3, "epoch": 1, "position": null, "seq": 0});
    assert_eq!(take_over(&server, "raw", 3), first);
    let result = |outcome: &str| {
        let operations = json!([{"operation_id": 2, "status": "completed"}]);
        json!({"result": {"operations": operations, "outcome": outcome, "position": "9", "seq": 2}})
    };
    server.play(&[
        ("POST", BATCH, &batch(1, 1, "9"), 200, result("applied")),
        ("POST", BATCH, &batch(1, 1, "9"), 200, result("duplicate")),
        ("POST", BATCH, &batch(2, 1, "8"), 200, result("duplicate")),
    ]);
    assert_eq!(count(&server), 1);
    let second = json!({"stream": "raw", "partition": 3, "epoch": 2, "position": "9", "seq": 2});
    assert_eq!(take_over(&server, "raw", 3), second);
    let error =
        "~Conflict: Partition 3 of stream \"raw\" is fenced: epoch 1 was sent, 2 is the one granted last";
    let fenced = json!({"result": null, "status": {"code": "fenced", "error": error}});
    server.play(&[
        ("POST", BATCH, &batch(2, 1, "10"), 409, fenced.clone()),
        ("POST", BATCH, &batch(2, 3, "10"), 409, any()),
        ("POST", BATCH, &batch(1, 1, "9"), 409, fenced),
    ]);
    assert_eq!(count(&server), 1);
    server.restart(&[]);
    assert_eq!(take_over(&server, "a", 0)["epoch"], 1);
    let other = json!({"stream": "a", "partition": 0, "epoch": 1, "position": null, "seq": 0});
    assert_eq!(server.ok("GET", SOURCES, Value::Null), json!([other, second]), "by stream and partition");
    let large = "340282366920938463463374607431768211455";
    server.play(&[
        ("POST", BATCH, &batch(1, 2, "9"), 200, json!({"result": {"outcome": "duplicate", "seq": 2}})),
        (
            "POST",
            BATCH,
            &batch(2, 2, large),
            200,
            json!({"result": {"outcome": "applied", "position": large}}),
        ),
    ]);
    assert_eq!(count(&server), 2);
}

#[test]
fn a_batch_without_operations_moves_the_position_on() {
    let server = server();
    take_over(&server, "raw", 3);
    let source = json!({"stream": "raw", "partition": 3, "epoch": 1, "position": "12"});
    let body = json!({"operations": [], "source": source}).to_string();
    let applied = json!({"result": {"operations": [], "outcome": "applied", "position": "12", "seq": 2}});
    server.play(&[
        ("POST", BATCH, &body, 200, applied),
        ("GET", SOURCES, "", 200, json!({"result": [{"position": "12", "seq": 2}]})),
        // As ever without a source, which may be null.
        ("POST", BATCH, r#"{"operations":[]}"#, 200, json!({"result": []})),
        ("POST", BATCH, r#"{"operations":[],"source":null}"#, 200, json!({"result": []})),
    ]);
    // An operation on no points needs no entry of its own, but its position does.
    let source = json!({"stream": "raw", "partition": 3, "epoch": 1, "position": "13"});
    let body = json!({"operations": [{"delete": {"points": []}}], "source": source});
    assert_eq!(server.ok("POST", BATCH, body)["seq"], 3);
}

#[test]
fn what_a_batch_from_a_stream_does_not_find_is_passed_over() {
    let server = server();
    take_over(&server, "raw", 3);
    let source = json!({"stream": "raw", "partition": 3, "epoch": 1, "position": "1"});
    let operations = json!([
        {"set_payload": {"payload": {"a": 1}, "points": [77]}},
        {"upsert": {"points": [{"id": 1, "vector": [1.0, 0.0]}]}}]);
    let body = json!({"operations": operations, "source": source});
    assert_eq!(server.ok("POST", &format!("{BATCH}?wait=true"), body)["outcome"], "applied");
    assert_eq!(count(&server), 1);
}

#[test]
fn a_refused_batch_leaves_the_position() {
    let server = server();
    take_over(&server, "raw", 3);
    let source = json!({"stream": "raw", "partition": 3, "epoch": 1, "position": "1"});
    let upsert = json!({"upsert": {"points": [{"id": 1, "vector": [1.0, 0.0, 0.0]}]}});
    let body = json!({"operations": [upsert], "source": source}).to_string();
    server.play(&[
        ("POST", BATCH, &body, 400, any()),
        ("GET", SOURCES, "", 200, json!({"result": [{"position": null, "seq": 0}]})),
        ("POST", BATCH, &batch(1, 1, "1"), 200, json!({"result": {"outcome": "applied"}})),
    ]);
}

#[test]
fn a_source_that_cannot_be_is_refused_with_the_name_of_its_field() {
    let server = server();
    take_over(&server, "raw", 3);
    let good = json!({"stream": "raw", "partition": 3, "epoch": 1, "position": "1"});
    let long = "x".repeat(201);
    let cases = [
        ("stream", json!(long), "takes 201 bytes; it must take 1 to 200"),
        ("stream", json!(""), "takes 0 bytes"),
        ("stream", json!("a\nb"), "holds '\\n', a control character"),
        ("stream", json!(7), "7 is not a string"),
        ("partition", json!(-1), "-1 is not a whole number from 0 to 4294967295"),
        ("partition", json!(4_294_967_296_u64), "4294967296 is not a whole number"),
        ("partition", json!("3"), "\"3\" is not a whole number"),
        ("epoch", json!(-1), "-1 is not a whole number from 0 to 18446744073709551615"),
        ("epoch", json!(1.5), "1.5 is not a whole number"),
        ("position", json!(1), "1 is not a string: a decimal number in quotes"),
        ("position", json!("-1"), "\"-1\" is not a position"),
        ("position", json!("+1"), "\"+1\" is not a position"),
        ("position", json!("1e3"), "\"1e3\" is not a position"),
        ("position", json!(""), "\"\" is not a position"),
        ("position", json!("340282366920938463463374607431768211456"), "is not a position"),
    ];
    for (field, value, problem) in &cases {
        let mut source = good.clone();
        source[*field] = value.clone();
        let body = json!({"operations": [], "source": source}).to_string();
        let answer = server.client().call("POST", BATCH, &body);
        let error = answer.json()["status"]["error"].as_str().unwrap().to_owned();
        assert_eq!(answer.status, 400, "{error}");
        assert!(error.starts_with(&format!("Wrong input: Source.{field}: ")), "{error}");
        assert!(error.contains(problem), "{error}");
    }
    for (field, value, problem) in cases.iter().filter(|case| matches!(case.0, "stream" | "partition")) {
        let mut body = json!({"stream": "raw", "partition": 3});
        body[*field] = value.clone();
        let expect = json!({"status": {"code": "invalid_input", "error": format!("~{problem}")}});
        server.play(&[("POST", TAKE_OVER, &body.to_string(), 400, expect)]);
    }
    let expect = |problem: &str| json!({"status": {"error": format!("~{problem}")}});
    server.play(&[
        (
            "POST",
            BATCH,
            r#"{"operations":[],"source":{"stream":"raw","partition":3,"epoch":1}}"#,
            400,
            expect("missing field `position`"),
        ),
        (
            "POST",
            BATCH,
            r#"{"operations":[],"source":{"topic":"raw"}}"#,
            400,
            expect("unknown field `topic`"),
        ),
        ("POST", TAKE_OVER, r#"{"stream":"raw"}"#, 400, expect("missing field `partition`")),
        ("GET", "/collections/none/sources", "", 404, any()),
        ("POST", "/collections/none/sources/take-over", r#"{"stream":"raw","partition":0}"#, 404, any()),
        ("GET", SOURCES, "", 200, json!({"result": [{"epoch": 1, "position": null}]})),
    ]);
}
