//! The node itself: what it says of itself, keys, origins, starting and stopping.

use std::io::{Read, Write};
use std::net::TcpStream;

use dvse_server::config::RawConfig;
use dvse_server::{Node, StartError};
use serde_json::{Value, json};

use crate::harness::{Server, any};

#[test]
fn root_and_probes_answer() {
    let server = Server::start(&[]);
    server.play(&[(
        "GET",
        "/",
        "",
        200,
        json!({"title": "dvse - vector search engine", "version": "1.19.0"}),
    )]);
    for probe in ["/healthz", "/livez", "/readyz"] {
        let answer = server.client().send("GET", probe, &[], None);
        assert_eq!(
            (answer.status, answer.headers["content-type"].to_str().unwrap()),
            (200, "text/plain; charset=utf-8")
        );
    }
    let document: Value = server.client().send("GET", "/openapi.json", &[], None).json();
    assert_eq!(document["openapi"], "3.0.3");
    let server = Server::start(&[("server.title", "another"), ("server.version", "1.20.1")]);
    server.play(&[("GET", "/", "", 200, json!({"title": "another", "version": "1.20.1"}))]);
}

#[test]
fn metrics_count_what_happened() {
    let server = Server::start(&[]);
    server.ok("PUT", "/collections/c", json!({"vectors": {"size": 1, "distance": "Dot"}}));
    server.ok("PUT", "/collections/c/points?wait=true", json!({"points": [{"id": 1, "vector": [1]}]}));
    server.play(&[("GET", "/collections/none", "", 404, any())]);
    let text = server.client().send("GET", "/metrics", &[], None).text;
    for line in [
        r#"dvse_server_requests_total{method="PUT",route="/collections/{collection}/points",status="200"} 1"#,
        r#"dvse_server_requests_total{method="GET",route="/collections/{collection}",status="404"} 1"#,
        r#"dvse_server_request_duration_seconds_count{route="/collections/{collection}/points"} 1"#,
        "dvse_server_requests_in_flight_count 0",
        r#"dvse_engine_points_count{collection="c"} 1"#,
    ] {
        assert!(text.lines().any(|found| found == line), "{line} is not in\n{text}");
    }
}

#[test]
fn everything_but_probes_asks_for_the_key() {
    let server = Server::start(&[("server.api_key", "secret")]);
    for path in ["/", "/healthz", "/livez", "/readyz"] {
        assert_eq!(server.client().send("GET", path, &[], None).status, 200, "{path}");
    }
    for path in ["/collections", "/metrics", "/openapi.json", "/collections/c", "/aliases", "/cluster"] {
        let answer = server.client().call("GET", path, "");
        assert_eq!(answer.status, 401, "{path}");
        assert_eq!(answer.headers["content-type"], "text/plain; charset=utf-8");
        assert_eq!(server.client().send("GET", path, &[("api-key", "wrong")], None).status, 401);
    }
    for header in [("api-key", "secret"), ("authorization", "Bearer secret")] {
        assert_eq!(server.client().send("GET", "/collections", &[header], None).status, 200);
    }
}

#[test]
fn pages_from_elsewhere_may_not_call() {
    let server = Server::start(&[("server.cors_origins", "https://app.example.org")]);
    let send = |method: &str, origin: &str| {
        let headers = [("origin", origin), ("access-control-request-method", "PUT")];
        server.client().send(method, "/collections", &headers, None)
    };
    let refused = send("GET", "https://evil.example.org");
    assert_eq!(refused.status, 403, "{}", refused.text);
    assert!(
        refused.text.contains("server.cors_origins")
            && !refused.headers.contains_key("access-control-allow-origin")
    );
    for origin in ["https://app.example.org", "http://localhost:3000"] {
        let taken = send("GET", origin);
        assert_eq!(taken.status, 200);
        assert_eq!(taken.headers["access-control-allow-origin"], origin);
        assert_eq!(send("OPTIONS", origin).headers["access-control-allow-origin"], origin);
    }
    assert!(!send("OPTIONS", "https://evil.example.org").headers.contains_key("access-control-allow-origin"));
}

#[test]
fn replies_are_compressed_on_request() {
    let server = Server::start(&[]);
    let answer = server.client().send("GET", "/openapi.json", &[("accept-encoding", "gzip")], None);
    assert_eq!(answer.headers["content-encoding"], "gzip");
    let plain = server.client().send("GET", "/openapi.json", &[("accept-encoding", "identity")], None);
    assert!(!plain.headers.contains_key("content-encoding") && answer.text.len() < plain.text.len());
}

#[test]
fn stopping_finishes_the_requests_begun() {
    let server = Server::start(&[]);
    server.ok("PUT", "/collections/c", json!({"vectors": {"size": 1, "distance": "Dot"}}));
    let body = br#"{"points":[{"id":1,"vector":[1]}]}"#;
    let mut connection = TcpStream::connect(server.address()).unwrap();
    let head = format!(
        "PUT /collections/c/points?wait=true HTTP/1.1\r\nhost: x\r\ncontent-length: {}\r\n\r\n",
        body.len()
    );
    connection.write_all(head.as_bytes()).unwrap();
    // The head has arrived once the node counts the request.
    while !server.client().send("GET", "/metrics", &[], None).text.contains("requests_in_flight_count 1") {}
    let stopping = std::thread::spawn(move || drop(server));
    connection.write_all(body).unwrap();
    let mut answer = String::new();
    connection.read_to_string(&mut answer).unwrap();
    stopping.join().unwrap();
    assert!(answer.starts_with("HTTP/1.1 200") && answer.contains("completed"), "{answer}");
}

#[test]
fn a_request_that_never_ends_does_not_keep_a_node_from_stopping() {
    let server = Server::start(&[("server.stop_deadline_s", "0")]);
    let mut connection = TcpStream::connect(server.address()).unwrap();
    connection.write_all(b"PUT /collections/c HTTP/1.1\r\nhost: x\r\ncontent-length: 5\r\n\r\n").unwrap();
    drop(server);
    let mut answer = Vec::new();
    // The connection is closed or reset; either way it ends.
    let _ = connection.read_to_end(&mut answer);
}

#[test]
fn two_nodes_cannot_share_a_folder_or_an_address() {
    let server = Server::start(&[]);
    let start = |address: &str, folder: &str| {
        let mut raw = RawConfig::default();
        raw.set("server.http", address).unwrap();
        raw.set("storage.data", folder).unwrap();
        Node::start(raw.check().unwrap())
    };
    let same_folder = server.folder.path().join("data");
    let error = start("127.0.0.1:0", same_folder.to_str().unwrap()).unwrap_err();
    assert!(matches!(error, StartError::OpenData { .. }), "{error}");
    let other_folder = server.folder.path().join("other");
    let error = start(&server.address().to_string(), other_folder.to_str().unwrap()).unwrap_err();
    assert!(matches!(error, StartError::Listen { .. }), "{error}");
    assert!(!other_folder.exists(), "a node that cannot listen leaves no folder behind");
}

#[test]
fn an_embedding_program_and_clients_see_the_same_collections() {
    let server = Server::start(&[]);
    server.ok("PUT", "/collections/c", json!({"vectors": {"size": 1, "distance": "Dot"}}));
    assert_eq!(server.node().database().names(), ["c"]);
}
