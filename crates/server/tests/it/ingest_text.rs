//! Text that the node embeds: in points and in queries.

use serde_json::{Value, json};

use crate::harness::{Server, any, ids};

/// The model of this build, as an error names it.
fn model(server: &Server) -> String {
    let body = r#"{"points":[{"id":1,"vector":{"text":"boat","model":"none"}}]}"#;
    let error = server.client().call("PUT", "/collections/c/points", body).json();
    assert_eq!(error["status"]["code"], "unsupported", "{error}");
    let text = error["status"]["error"].as_str().unwrap().to_owned();
    text.split('"').nth(3).unwrap().to_owned()
}

#[test]
fn text_is_embedded_on_the_way_in_and_in_queries() {
    let server = Server::start(&[]);
    server.ok("PUT", "/collections/c", json!({"vectors": {"size": 256, "distance": "Cosine"}}));
    let model = model(&server);
    let document = |text: &str| json!({"text": text, "model": model});
    server.ok(
        "PUT",
        "/collections/c/points?wait=true",
        json!({"points": [
        {"id": 1, "vector": document("a small boat moved with a paddle")},
        {"id": 2, "vector": document("a domestic animal that purrs")},
        {"id": 3, "vector": document("money kept in a bank")}]}),
    );
    for (text, nearest) in [("canoe on the river", 1), ("cat", 2), ("savings account", 3)] {
        for query in [document(text), json!({"nearest": document(text)})] {
            let points =
                server.ok("POST", "/collections/c/points/query", json!({"query": query, "limit": 1}));
            assert_eq!(ids(&points["points"]), [json!(nearest)], "{text}");
        }
    }
    server.ok(
        "PUT",
        "/collections/c/points?wait=true",
        json!({"batch": {
        "ids": [4, 5], "vectors": [document("one"), document("two")]}}),
    );
    server.ok(
        "PUT",
        "/collections/c/points/vectors?wait=true",
        json!({"points": [
        {"id": 5, "vector": document("three")}]}),
    );
    let vector =
        |id: u64| server.ok("GET", &format!("/collections/c/points/{id}"), Value::Null)["vector"].clone();
    assert_eq!(vector(4).as_array().unwrap().len(), 256);
    assert_ne!(vector(4), vector(5));
}

#[test]
fn text_that_cannot_be_embedded_is_refused() {
    let server = Server::start(&[]);
    server.ok("PUT", "/collections/c", json!({"vectors": {"size": 256, "distance": "Cosine"}}));
    let model = model(&server);
    server.ok(
        "PUT",
        "/collections/other",
        json!({"vectors": {"size": 256, "distance": "Cosine", "model": "else"}}),
    );
    server.ok("PUT", "/collections/small", json!({"vectors": {"size": 3, "distance": "Cosine"}}));
    let point = |vector: Value| json!({"points": [{"id": 1, "vector": vector}]}).to_string();
    let text = |text: &str| point(json!({"text": text, "model": model}));
    for (path, body, part) in [
        ("/collections/c/points", text("  "), "Text 0 is empty"),
        ("/collections/other/points", text("boat"), "of model \"else\""),
        ("/collections/small/points", text("boat"), "expected dim: 3, got 256"),
        ("/collections/c/points", point(json!({"text": "boat"})), "missing field `model`"),
        (
            "/collections/c/points",
            point(json!({"image": "x.png", "model": model})),
            "only text can be embedded",
        ),
    ] {
        server.play(&[("PUT", path, &body, 400, json!({"status": {"error": format!("~{part}")}}))]);
    }
    server.play(&[
        ("GET", "/collections/other", "", 200, json!({"result": {"models": {"": "else"}}})),
        ("POST", "/collections/c/points/count", "{}", 200, json!({"result": {"count": 0}})),
        ("GET", "/collections/c", "", 200, any()),
    ]);
}
