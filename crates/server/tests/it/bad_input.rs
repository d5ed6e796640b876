//! Input that is wrong gets a clear error; it never brings the node down and never leaves anything behind.

use serde_json::{Value, json};

use crate::harness::{Server, any};

fn server() -> Server {
    let server = Server::start(&[]);
    server.ok("PUT", "/collections/c", json!({"vectors": {"size": 3, "distance": "Euclid"}}));
    server.ok("PUT", "/collections/cos", json!({"vectors": {"size": 3, "distance": "Cosine"}}));
    server
}

fn error(text: &str) -> Value {
    json!({"status": {"error": format!("~{text}")}, "result": null})
}

#[test]
fn bad_points_are_refused_whole() {
    let server = server();
    for (body, status, part) in [
        (
            r#"{"points":[{"id":1,"vector":[1,2,3]},{"id":2,"vector":[1,2]}]}"#,
            400,
            "Wrong input: Vector dimension error: expected dim: 3, got 2",
        ),
        (r#"{"points":[{"id":1,"vector":[1,2,NaN]}]}"#, 400, "Format error in JSON body"),
        (
            r#"{"points":[{"id":1,"vector":[1,2,1e999]}]}"#,
            400,
            "Format error in JSON body: number out of range",
        ),
        (r#"{"points":[{"id":1,"vector":[1,2,1e39]}]}"#, 400, "must be finite"),
        (r#"{"points":[{"id":1,"vector":[1,2,"3"]}]}"#, 400, "expected a number"),
        (r#"{"points":[{"id":1,"vector":[1,2,null]}]}"#, 400, "expected a number"),
        (r#"{"points":[{"id":1,"vector":[[1,2,3]]}]}"#, 400, "a vector of vectors is not available"),
        (
            r#"{"points":[{"id":1,"vector":{"indices":[1],"values":[1]}}]}"#,
            400,
            "sparse vectors are not available",
        ),
        (r#"{"points":[{"id":1,"vector":{"x":[1,2,3]}}]}"#, 400, "\"x\""),
        (r#"{"points":[{"id":1,"vector":"a small boat"}]}"#, 400, "is not base64"),
        (r#"{"points":[{"id":1,"vector":"AACAPw=="}]}"#, 400, "dimension"),
        (r#"{"points":[{"id":1,"vector":"AACAPwA="}]}"#, 400, "multiple of the 4"),
        (r#"{"points":[{"id":1,"vector":"AADAfwAAgD8AAIA/"}]}"#, 400, "must be finite"),
        (r#"{"points":[{"id":1,"vector":null}]}"#, 400, "Format error in JSON body"),
        (r#"{"points":[{"id":1}]}"#, 400, "missing field `vector`"),
        (r#"{"points":[{"vector":[1,2,3]}]}"#, 400, "missing field `id`"),
        (r#"{"points":[{"id":-1,"vector":[1,2,3]}]}"#, 400, "expected a point id"),
        (r#"{"points":[{"id":1.5,"vector":[1,2,3]}]}"#, 400, "expected a point id"),
        (r#"{"points":[{"id":18446744073709551616,"vector":[1,2,3]}]}"#, 400, "expected a point id"),
        (r#"{"points":[{"id":"5","vector":[1,2,3]}]}"#, 400, "expected a point id"),
        (r#"{"points":[{"id":"x","vector":[1,2,3]}]}"#, 400, "expected a point id"),
        (r#"{"points":[{"id":1,"vector":[1,2,3],"payload":[1]}]}"#, 400, "Format error in JSON body"),
        (r#"{"points":[{"id":1,"vector":[1,2,3],"colour":1}]}"#, 400, "unknown field `colour`"),
        (r#"{"points":[{"id":1,"id":2,"vector":[1,2,3]}]}"#, 400, "duplicate field `id`"),
        (
            r#"{"points":[]}"#,
            422,
            "Validation error in JSON body: [points: value [] invalid, must be at least one point",
        ),
        (r#"{"batch":{"ids":[1,2],"vectors":[[1,2,3]]}}"#, 400, "1 entries stand beside 2 ids"),
        (r#"{"batch":{"ids":[1],"vectors":[[1,2,3]],"payloads":[]}}"#, 400, "0 entries stand beside 1 ids"),
        (
            r#"{"points":[{"id":1,"vector":[1,2,3]}],"batch":{"ids":[],"vectors":[]}}"#,
            400,
            "either `points` or `batch`",
        ),
        (r#"{"points":[{"id":1,"vector":[1,2,3]}],"shard_key":"a"}"#, 400, "shard_key"),
        (r#"{"points":[{"id":1,"vector":[1,2,3]}],"update_mode":"insert_only"}"#, 400, "update_mode"),
        ("{}", 400, "either `points` or `batch`"),
        ("[]", 400, "Format error in JSON body"),
        ("", 400, "Format error in JSON body: EOF"),
        ("{", 400, "Format error in JSON body: EOF"),
    ] {
        server.play(&[("PUT", "/collections/c/points?wait=true", body, status, error(part))]);
    }
    server.play(&[
        (
            "PUT",
            "/collections/cos/points",
            r#"{"points":[{"id":1,"vector":[0,0,0]}]}"#,
            400,
            error("length zero"),
        ),
        (
            "PUT",
            "/collections/none/points",
            r#"{"points":[{"id":1,"vector":[0,0,0]}]}"#,
            404,
            error("Not found: Collection `none` doesn't exist!"),
        ),
        ("POST", "/collections/c/points/count", "{}", 200, json!({"result": {"count": 0}})),
        ("POST", "/collections/cos/points/count", "{}", 200, json!({"result": {"count": 0}})),
    ]);
}

#[test]
fn bad_queries_are_refused() {
    let server = server();
    server.ok("PUT", "/collections/c/points?wait=true", json!({"points": [{"id": 1, "vector": [1, 2, 3]}]}));
    for (body, status, part) in [
        (r#"{"query":[1,2]}"#, 400, "expected dim: 3, got 2"),
        (r#"{"query":[]}"#, 400, "expected dim: 3, got 0"),
        (r#"{"query":[1,2,1e39]}"#, 400, "must be finite"),
        (r#"{"query":[1,2,3],"limit":0}"#, 422, "[limit: value 0 invalid, must be 1 or larger]"),
        (r#"{"query":[1,2,3],"limit":-1}"#, 400, "Format error in JSON body"),
        (r#"{"query":[1,2,3],"limit":1e9}"#, 400, "Format error in JSON body"),
        (r#"{"query":[1,2,3],"offset":-1}"#, 400, "Format error in JSON body"),
        (
            r#"{"query":[1,2,3],"params":{"hnsw_ef":1000000000}}"#,
            400,
            "1000000000 is above this node's limit of 16384",
        ),
        (r#"{"query":[1,2,3],"params":{"hnsw_ef":0}}"#, 422, "params.hnsw_ef"),
        (r#"{"query":[1,2,3],"params":{"speed":9}}"#, 400, "unknown field `speed`"),
        (r#"{"query":[1,2,3],"top":5}"#, 400, "unknown field `top`"),
        (r#"{"query":{}}"#, 400, "empty object"),
        (r#"{"query":{"nearest":{"nearest":[1,2,3]}}}"#, 400, "Format error in JSON body"),
        (r#"{"query":{"a":[1,2,3]}}"#, 400, "name its field with `using`"),
        (r#"{"query":"not a uuid"}"#, 400, "Format error in JSON body"),
        (r#"{"query":[1,2,3],"score_threshold":"high"}"#, 400, "Format error in JSON body"),
        (
            r#"{"query":[1,2,3],"with_payload":{"include":["a"],"exclude":["b"]}}"#,
            400,
            "one of include and exclude",
        ),
        (r#"{"query":[1,2,3],"with_payload":["a["]}"#, 400, "not a payload path"),
        (r#"{"query":[1,2,3],"filter":{"must":[{"key":"a"}]}}"#, 400, "the condition on `a` has no test"),
        (
            r#"{"query":[1,2,3],"filter":{"must":[{"key":"a","match":{"value":1},"range":{"gt":1}}]}}"#,
            400,
            "several tests",
        ),
        (
            r#"{"query":[1,2,3],"filter":{"must":[{"key":"a","match":{"value":1.5}}]}}"#,
            400,
            "Format error in JSON body",
        ),
        (
            r#"{"query":[1,2,3],"filter":{"must":[{"key":"a","match":{}}]}}"#,
            400,
            "exactly one of value, any and except",
        ),
        (r#"{"query":[1,2,3],"filter":{"must":[{"key":"","match":{"value":1}}]}}"#, 400, "a key is empty"),
        (
            r#"{"query":[1,2,3],"filter":{"must":[{"key":"a","range":{"gt":"soon"}}]}}"#,
            400,
            "\"soon\" is not an RFC 3339",
        ),
        (
            r#"{"query":[1,2,3],"filter":{"must":[{"key":"a","range":{"gt":1,"lt":"2024-01-01"}}]}}"#,
            400,
            "another bound",
        ),
        (r#"{"query":[1,2,3],"filter":{"must":[{"has_id":[1],"key":"a"}]}}"#, 400, "several conditions"),
        (r#"{"query":[1,2,3],"filter":{"must":[{"has_id":["x"]}]}}"#, 400, "expected a point id"),
        (r#"{"query":[1,2,3],"filter":{"min_should":{"conditions":[],"min_count":0}}}"#, 422, "min_count"),
        (r#"{"query":[1,2,3],"filter":{"musst":[]}}"#, 400, "unknown field `musst`"),
        (
            r#"{"query":[1,2,3],"filter":{"must":[{"nested":{"key":"a","filter":{"must":[{"has_id":[1]}]}}}]}}"#,
            400,
            "about points",
        ),
    ] {
        server.play(&[("POST", "/collections/c/points/query", body, status, error(part))]);
    }
}

#[test]
fn bad_collections_are_refused() {
    let server = server();
    for (path, body, status, part) in [
        (
            "/collections/n",
            r#"{"vectors":{"size":0,"distance":"Dot"}}"#,
            400,
            "size is 0; it must be 1 to 65536",
        ),
        ("/collections/n", r#"{"vectors":{"size":65537,"distance":"Dot"}}"#, 400, "size is 65537"),
        (
            "/collections/n",
            r#"{"vectors":{"size":18446744073709551615,"distance":"Dot"}}"#,
            400,
            "1 to 65536",
        ),
        ("/collections/n", r#"{"vectors":{"size":-4,"distance":"Dot"}}"#, 400, "Format error in JSON body"),
        ("/collections/n", r#"{"vectors":{"size":4}}"#, 400, "missing field `distance`"),
        (
            "/collections/n",
            r#"{"vectors":{"size":4,"distance":"dot"}}"#,
            400,
            "\"dot\" is none of Cosine, Euclid and Dot",
        ),
        (
            "/collections/n",
            r#"{"vectors":{"size":4,"distance":"Dot","sice":4}}"#,
            400,
            "unknown field `sice`",
        ),
        (
            "/collections/n",
            r#"{"vectors":{"a":{"size":4,"distance":"Dot"},"a":{"size":4,"distance":"Dot"}}}"#,
            400,
            "\"a\" comes twice",
        ),
        (
            "/collections/n",
            r#"{"vectors":{"size":4,"distance":"Dot","hnsw_config":{"m":1000000000}}}"#,
            400,
            "m is 1000000000",
        ),
        (
            "/collections/n",
            r#"{"vectors":{"size":4,"distance":"Dot"},"hnsw_config":{"ef_construct":1000000000}}"#,
            400,
            "ef_construct",
        ),
        ("/collections/n", r#"{"shards":1}"#, 400, "unknown field `shards`"),
        ("/collections/n", r#"{"replication_factor":0}"#, 422, "replication_factor"),
        ("/collections/a%2Fb", r#"{"vectors":{"size":4,"distance":"Dot"}}"#, 400, "holds '/'"),
        ("/collections/..%2f..%2fetc", r#"{"vectors":{"size":4,"distance":"Dot"}}"#, 400, "holds '/'"),
        ("/collections/a%00b", r#"{"vectors":{"size":4,"distance":"Dot"}}"#, 400, "which a name cannot"),
    ] {
        server.play(&[("PUT", path, body, status, error(part))]);
    }
    let long = format!("/collections/{}", "n".repeat(256));
    server.play(&[
        ("PUT", &long, r#"{"vectors":{"size":4,"distance":"Dot"}}"#, 422, error("256 bytes")),
        (
            "GET",
            "/collections",
            "",
            200,
            json!({"result": {"collections": [{"name": "c"}, {"name": "cos"}]}}),
        ),
    ]);
    let many: Vec<String> =
        (0..65).map(|field| format!(r#""v{field}":{{"size":1,"distance":"Dot"}}"#)).collect();
    let body = format!(r#"{{"vectors":{{{}}}}}"#, many.join(","));
    server.play(&[("PUT", "/collections/n", &body, 400, error("at most 64 vector fields"))]);
}

#[test]
fn bad_urls_and_methods_are_refused() {
    let server = server();
    server.play(&[
        (
            "GET",
            "/nowhere",
            "",
            404,
            json!({"status": {"error": "~Not found: There is nothing at \"/nowhere\""}}),
        ),
        ("POST", "/collections/c", "{}", 405, json!({"status": {"code": "method_not_allowed"}})),
        ("PUT", "/collections/c/points?wait=yes", "{}", 400, error("Query parameter \"wait\" is \"yes\"")),
        ("PUT", "/collections/c/points?ordering=loose", "{}", 400, error("weak, medium or strong")),
        ("PUT", "/collections/c/points?wiat=true", "{}", 400, error("\"wiat\"")),
        ("POST", "/collections/c/points/count?timeout=0", "{}", 400, error("\"timeout\"")),
        ("POST", "/collections/c/points/count?consistency=some", "{}", 400, error("majority, quorum or all")),
        ("POST", "/collections/c/points/count/", "{}", 200, any()),
        ("GET", "/collections/", "", 200, any()),
    ]);
    let answer = server.client().send("GET", "/collections/%FF", &[], None);
    assert_eq!(answer.status, 400, "{}", answer.text);
}

#[test]
fn malformed_utf8_is_refused() {
    let server = server();
    let mut body = br#"{"points":[{"id":1,"vector":[1,2,3],"payload":{"a":"X"}}]}"#.to_vec();
    let at = body.iter().position(|byte| *byte == b'X').unwrap();
    for bytes in [&[0xff_u8][..], &[0xc3, 0x28], &[0xed, 0xa0, 0x80], &[0xf8, 0x88, 0x80, 0x80, 0x80]] {
        let mut broken = body.clone();
        broken.splice(at..=at, bytes.iter().copied());
        let answer = server.client().send("PUT", "/collections/c/points", &[], Some(&broken));
        assert_eq!(answer.status, 400, "{bytes:?}: {}", answer.text);
        assert!(answer.text.contains("Format error in JSON body"), "{}", answer.text);
    }
    // A lone surrogate written as an escape is no text either.
    body.splice(at..=at, br"\ud800".iter().copied());
    assert_eq!(server.client().send("PUT", "/collections/c/points", &[], Some(&body)).status, 400);
    server.play(&[("POST", "/collections/c/points/count", "{}", 200, json!({"result": {"count": 0}}))]);
}

#[test]
fn deep_nesting_is_refused() {
    let server = server();
    let nest = |open: &str, close: &str, depth: usize, inner: &str| {
        format!("{}{inner}{}", open.repeat(depth), close.repeat(depth))
    };
    let payload = |depth: usize| {
        let inner = nest("[", "]", depth - 1, "");
        format!(r#"{{"points":[{{"id":1,"vector":[1,2,3],"payload":{{"a":{inner}}}}}]}}"#)
    };
    server.play(&[
        ("PUT", "/collections/c/points?wait=true", &payload(64), 200, any()),
        (
            "PUT",
            "/collections/c/points?wait=true",
            &payload(65),
            400,
            error("65 is above this node's limit of 64"),
        ),
        ("PUT", "/collections/c/points?wait=true", &payload(100_000), 400, error("recursion limit exceeded")),
    ]);
    let filter = |depth: usize| {
        let inner = nest(r#"{"must":["#, "]}", depth, r#"{"key":"a","match":{"value":1}}"#);
        format!(r#"{{"filter":{inner}}}"#)
    };
    server.play(&[
        ("POST", "/collections/c/points/count", &filter(16), 200, any()),
        ("POST", "/collections/c/points/count", &filter(17), 400, error("Levels of a filter: 17 is above")),
        ("POST", "/collections/c/points/count", &filter(60), 400, error("Levels of a filter")),
        ("POST", "/collections/c/points/count", &filter(50_000), 400, error("recursion limit exceeded")),
    ]);
    let nested = |depth: usize| {
        let inner = nest(
            r#"{"must":[{"nested":{"key":"a","filter":"#,
            "}}]}",
            depth,
            r#"{"must":[{"is_null":{"key":"a"}}]}"#,
        );
        format!(r#"{{"filter":{inner}}}"#)
    };
    server.play(&[
        ("POST", "/collections/c/points/count", &nested(15), 200, any()),
        ("POST", "/collections/c/points/count", &nested(16), 400, error("Levels of a filter")),
    ]);
}
