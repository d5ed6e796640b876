//! Writing points, payloads and vectors.

use serde_json::{Value, json};

use crate::harness::{Server, any};

fn unnamed() -> Server {
    let server = Server::start(&[]);
    server.ok("PUT", "/collections/c", json!({"vectors": {"size": 2, "distance": "Dot"}}));
    server
}

fn point(server: &Server, id: u64) -> Value {
    server.ok("GET", &format!("/collections/c/points/{id}"), Value::Null)
}

#[test]
fn upsert_takes_a_list_or_columns_and_replaces_whole_points() {
    let server = unnamed();
    server.play(&[
        ("PUT", "/collections/c/points?wait=true",
            r#"{"points":[{"id":1,"vector":[1,0],"payload":{"a":1,"b":null}},{"id":2,"vector":[0.5,-2e-1]}]}"#, 200,
            json!({"result": {"status": "completed"}})),
        ("PUT", "/collections/c/points",
            r#"{"batch":{"ids":[3,4],"vectors":[[3,0],[4,0]],"payloads":[{"a":3},null]}}"#, 200,
            json!({"result": {"status": "acknowledged"}})),
        ("POST", "/collections/c/points", r#"{"ids":[1,2,3,4],"with_vector":true}"#, 200, json!({"result": [
            {"id": 1, "vector": [1.0, 0.0], "payload": {"a": 1, "b": null}},
            {"id": 2, "vector": [0.5, -0.2], "payload": {}},
            {"id": 3, "vector": [3.0, 0.0], "payload": {"a": 3}},
            {"id": 4, "vector": [4.0, 0.0], "payload": {}}]})),
        ("PUT", "/collections/c/points?wait=true", r#"{"points":[{"id":1,"vector":[7,0],"payload":{"z":1}}]}"#, 200, any()),
    ]);
    assert_eq!(point(&server, 1), json!({"id": 1, "vector": [7.0, 0.0], "payload": {"z": 1}}));
    let again = r#"{"points":[{"id":9,"vector":[1,0]},{"id":9,"vector":[2,0]}]}"#;
    server.play(&[
        ("PUT", "/collections/c/points?wait=true&ordering=strong&timeout=30", again, 200, any()),
        ("GET", "/collections/c/points/9", "", 200, json!({"result": {"vector": [2.0, 0.0]}})),
        ("POST", "/collections/c/points/count", "{}", 200, json!({"result": {"count": 5}})),
    ]);
}

#[test]
fn operation_numbers_grow() {
    let server = unnamed();
    let upsert = || {
        let body = json!({"points": [{"id": 1, "vector": [1.0, 0.0]}]});
        server.ok("PUT", "/collections/c/points", body)["operation_id"].as_u64().unwrap()
    };
    let first = upsert();
    assert!(upsert() > first);
}

#[test]
fn points_are_deleted_by_id_and_by_filter() {
    let server = unnamed();
    let points: Vec<Value> =
        (0..10).map(|id| json!({"id": id, "vector": [1.0, 0.0], "payload": {"odd": id % 2 == 1}})).collect();
    server.ok("PUT", "/collections/c/points?wait=true", json!({"points": points}));
    server.play(&[
        ("POST", "/collections/c/points/delete?wait=true", r#"{"points":[0,77]}"#, 200, any()),
        ("POST", "/collections/c/points/count", "{}", 200, json!({"result": {"count": 9}})),
        (
            "POST",
            "/collections/c/points/delete?wait=true",
            r#"{"filter":{"must":{"key":"odd","match":{"value":true}},"should":[]}}"#,
            200,
            any(),
        ),
        ("POST", "/collections/c/points/count", "{}", 200, json!({"result": {"count": 4}})),
        ("POST", "/collections/c/points/delete?wait=true", r#"{"points":[]}"#, 200, any()),
        ("POST", "/collections/c/points/delete?wait=true", "{}", 400, any()),
        ("POST", "/collections/c/points/delete?wait=true", r#"{"points":[1],"filter":{}}"#, 400, any()),
        ("POST", "/collections/c/points/count", "{}", 200, json!({"result": {"count": 4}})),
    ]);
}

#[test]
fn payloads_are_merged_replaced_cut_and_emptied() {
    let server = unnamed();
    server.ok(
        "PUT",
        "/collections/c/points?wait=true",
        json!({"points": [
        {"id": 1, "vector": [1.0, 0.0], "payload": {"a": 1, "deep": {"x": 1}}},
        {"id": 2, "vector": [1.0, 0.0], "payload": {"a": 2}}]}),
    );
    let payload = |id| point(&server, id)["payload"].clone();

    server.ok(
        "POST",
        "/collections/c/points/payload?wait=true",
        json!({"payload": {"b": null}, "points": [1]}),
    );
    assert_eq!(payload(1), json!({"a": 1, "b": null, "deep": {"x": 1}}));
    server.ok(
        "POST",
        "/collections/c/points/payload?wait=true",
        json!({"payload": {"y": 2}, "key": "deep", "points": [1]}),
    );
    assert_eq!(payload(1)["deep"], json!({"x": 1, "y": 2}));
    server.ok(
        "POST",
        "/collections/c/points/payload?wait=true",
        json!({"payload": {"seen": true}, "filter": {"must": [{"key": "a", "match": {"value": 2}}]}}),
    );
    assert_eq!(payload(2), json!({"a": 2, "seen": true}));
    server.ok(
        "POST",
        "/collections/c/points/payload/delete?wait=true",
        json!({"keys": ["deep.x", "b"], "points": [1]}),
    );
    assert_eq!(payload(1), json!({"a": 1, "deep": {"y": 2}}));
    server.ok(
        "PUT",
        "/collections/c/points/payload?wait=true",
        json!({"payload": {"new": 1}, "points": [1]}),
    );
    assert_eq!(payload(1), json!({"new": 1}));
    server.ok("POST", "/collections/c/points/payload/clear?wait=true", json!({"points": [1]}));
    assert_eq!(payload(1), json!({}));
    server.play(&[
        (
            "POST",
            "/collections/c/points/payload?wait=true",
            r#"{"payload":{"a":1},"points":[1,99]}"#,
            404,
            json!({"status": {"error": "~No point with id 99"}}),
        ),
        ("POST", "/collections/c/points/payload?wait=true", r#"{"payload":{"a":1}}"#, 400, any()),
        ("POST", "/collections/c/points/payload?wait=true", r#"{"payload":[1],"points":[1]}"#, 400, any()),
        (
            "POST",
            "/collections/c/points/payload/delete?wait=true",
            r#"{"keys":["a..b"],"points":[1]}"#,
            400,
            json!({"status": {"error": "~\"a..b\" is not a payload path"}}),
        ),
    ]);
}

#[test]
fn named_vectors_are_written_replaced_and_taken_away() {
    let server = Server::start(&[]);
    server.ok(
        "PUT",
        "/collections/c",
        json!({"vectors": {
        "a": {"size": 2, "distance": "Dot"}, "b": {"size": 1, "distance": "Euclid"}}}),
    );
    server.play(&[
        ("PUT", "/collections/c/points?wait=true",
            r#"{"points":[{"id":1,"vector":{"a":[1,2],"b":[3]}},{"id":2,"vector":{"b":[4]}},{"id":3,"vector":{}}]}"#, 200,
            any()),
        ("POST", "/collections/c/points", r#"{"ids":[1,2,3],"with_vector":true}"#, 200, json!({"result": [
            {"vector": {"a": [1.0, 2.0], "b": [3.0]}}, {"vector": {"b": [4.0]}}, {"vector": {}}]})),
        ("POST", "/collections/c/points", r#"{"ids":[1],"with_vector":["b"]}"#, 200,
            json!({"result": [{"vector": {"b": [3.0]}}]})),
        ("PUT", "/collections/c/points/vectors?wait=true", r#"{"points":[{"id":1,"vector":{"b":[9]}}]}"#, 200, any()),
        ("GET", "/collections/c/points/1", "", 200, json!({"result": {"vector": {"a": [1.0, 2.0], "b": [9.0]}}})),
        ("POST", "/collections/c/points/vectors/delete?wait=true", r#"{"points":[1],"vector":["a"]}"#, 200, any()),
        ("GET", "/collections/c/points/1", "", 200, json!({"result": {"vector": {"b": [9.0]}}})),
        ("PUT", "/collections/c/points/vectors?wait=true", r#"{"points":[{"id":8,"vector":{"b":[9]}}]}"#, 404, any()),
        ("PUT", "/collections/c/points?wait=true",
            r#"{"batch":{"ids":[5,6],"vectors":{"a":[[5,0],[6,0]],"b":[[5],[6]]}}}"#, 200, any()),
        ("GET", "/collections/c/points/6", "", 200, json!({"result": {"vector": {"a": [6.0, 0.0], "b": [6.0]}}})),
        ("PUT", "/collections/c/points?wait=true", r#"{"points":[{"id":7,"vector":{"c":[9]}}]}"#, 400,
            json!({"status": {"error": "~\"c\""}})),
        ("PUT", "/collections/c/points?wait=true", r#"{"points":[{"id":7,"vector":[9]}]}"#, 400, any()),
        ("PUT", "/collections/c/points?wait=true", r#"{"points":[{"id":7,"vector":{"b":[9],"b":[8]}}]}"#, 400,
            json!({"status": {"error": "~vector \"b\" comes twice"}})),
        ("POST", "/collections/c/points/count", "{}", 200, json!({"result": {"count": 5}})),
    ]);
}

#[test]
fn a_batch_of_operations_takes_effect_in_order_and_together() {
    let server = unnamed();
    let operations = r#"{"operations":[
        {"upsert":{"points":[{"id":1,"vector":[1,0]},{"id":2,"vector":[2,0]},{"id":3,"vector":[3,0]}]}},
        {"set_payload":{"payload":{"a":1},"points":[1,2]}},
        {"overwrite_payload":{"payload":{"b":1},"points":[2]}},
        {"delete_payload":{"keys":["a"],"points":[1]}},
        {"update_vectors":{"points":[{"id":1,"vector":[5,0]}]}},
        {"clear_payload":{"points":[2]}},
        {"delete":{"points":[3]}}]}"#;
    let completed = json!({"status": "completed"});
    server.play(&[
        (
            "POST",
            "/collections/c/points/batch?wait=true",
            operations,
            200,
            json!({"result": vec![completed; 7]}),
        ),
        (
            "POST",
            "/collections/c/points",
            r#"{"ids":[1,2,3],"with_vector":true}"#,
            200,
            json!({"result": [
            {"id": 1, "vector": [5.0, 0.0], "payload": {}}, {"id": 2, "payload": {}}]}),
        ),
        (
            "POST",
            "/collections/c/points/batch?wait=true",
            r#"{"operations":[{"delete":{"points":[1]}},{"upsert":{"points":[{"id":9,"vector":[1,2,3]}]}}]}"#,
            400,
            any(),
        ),
        ("GET", "/collections/c/points/1", "", 200, any()),
        (
            "POST",
            "/collections/c/points/batch",
            r#"{"operations":[{"explode":{}}]}"#,
            400,
            json!({"status": {"error": "~unknown variant `explode`"}}),
        ),
    ]);
}

#[test]
fn what_was_acknowledged_is_there_after_a_restart() {
    let mut server = unnamed();
    server.ok(
        "PUT",
        "/collections/c/points?wait=true",
        json!({"points": [
        {"id": 1, "vector": [1.0, 0.0], "payload": {"a": null}}, {"id": 2, "vector": [1.0, 0.0]}]}),
    );
    server.ok("POST", "/collections/c/points/delete?wait=true", json!({"points": [2]}));
    server.restart(&[]);
    assert_eq!(point(&server, 1), json!({"id": 1, "vector": [1.0, 0.0], "payload": {"a": null}}));
    assert_eq!(server.ok("POST", "/collections/c/points/count", json!({}))["count"], 1);
}

#[test]
fn cosine_vectors_come_back_with_length_one() {
    let server = Server::start(&[]);
    server.ok("PUT", "/collections/c", json!({"vectors": {"size": 2, "distance": "Cosine"}}));
    server.play(&[
        ("PUT", "/collections/c/points?wait=true", r#"{"points":[{"id":1,"vector":[3,4]}]}"#, 200, any()),
        ("GET", "/collections/c/points/1", "", 200, json!({"result": {"vector": [0.6, 0.8]}})),
    ]);
}

#[test]
fn vectors_in_base64_are_the_vectors_they_say() {
    let server = Server::start(&[]);
    server.ok(
        "PUT",
        "/collections/c",
        json!({"vectors": {"a": {"size": 2, "distance": "Euclid"}, "b": {"size": 1, "distance": "Euclid"}}}),
    );
    server.ok("PUT", "/collections/one", json!({"vectors": {"size": 2, "distance": "Dot"}}));
    // 1.0 and 8.0; -0.5.
    let (pair, half) = ("AACAPwAAAEE=", "AAAAvw==");
    let written = |path: &str, body: Value| server.ok("PUT", &format!("/collections/{path}?wait=true"), body);
    written("one/points", json!({"points": [{"id": 1, "vector": pair}, {"id": 2, "vector": [0.5, 0.5]}]}));
    written("one/points", json!({"batch": {"ids": [3], "vectors": [pair]}}));
    written("c/points", json!({"points": [{"id": 1, "vector": {"a": pair, "b": [2.0]}}]}));
    written("c/points/vectors", json!({"points": [{"id": 1, "vector": {"b": half}}]}));
    // An escape is for the general parser.
    server.play(&[(
        "PUT",
        "/collections/one/points?wait=true",
        r#"{"points":[{"id":4,"vector":"AACAPwAA\u0041EE="}]}"#,
        200,
        json!({}),
    )]);
    let ids = [
        ("one", 1, json!([1.0, 8.0])),
        ("one", 2, json!([0.5, 0.5])),
        ("one", 3, json!([1.0, 8.0])),
        ("one", 4, json!([1.0, 8.0])),
        ("c", 1, json!({"a": [1.0, 8.0], "b": [-0.5]})),
    ];
    for (collection, id, vector) in ids {
        let point = server.ok("GET", &format!("/collections/{collection}/points/{id}"), json!(null));
        assert_eq!(point["vector"], vector, "{collection} {id}");
    }
}
