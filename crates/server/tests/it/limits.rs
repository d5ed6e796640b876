//! What is refused for its size, with the number in the error.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::Barrier;

use serde_json::{Value, json};

use crate::harness::{Server, any};

#[test]
fn each_limit_is_refused_with_its_number_and_remedy() {
    let server = Server::start(&[
        ("limits.body_bytes_max", "20 KiB"),
        ("limits.batch_points_max", "3"),
        ("limits.batch_requests_max", "2"),
        ("limits.filter_conditions_max", "4"),
        ("limits.ef_max", "100"),
        ("limits.collections_max", "2"),
        ("limits.reply_bytes_max", "64 KiB"),
    ]);
    server.ok("PUT", "/collections/c", json!({"vectors": {"size": 1, "distance": "Dot"}}));
    server.ok("PUT", "/collections/d", json!({"vectors": {"size": 1, "distance": "Dot"}}));
    let points = |count: u64| {
        let points: Vec<Value> = (0..count).map(|id| json!({"id": id, "vector": [1]})).collect();
        json!({"points": points}).to_string()
    };
    let upserts = |count: u64| {
        json!({"operations": [
            {"upsert": serde_json::from_str::<Value>(&points(count)).unwrap()},
            {"upsert": serde_json::from_str::<Value>(&points(count)).unwrap()}]})
        .to_string()
    };
    let condition = r#"{"key":"a","match":{"value":1}}"#;
    let conditions = |count: usize| {
        format!(r#"{{"filter":{{"must":[{}],"should":[{condition}]}}}}"#, vec![condition; count].join(","))
    };
    let too_large = |number: &str, setting: &str| json!({"status": {"code": "too_large", "error": format!("~limit of {number}"), "help": format!("~{setting}")}});
    server.play(&[
        ("PUT", "/collections/c/points", &points(3), 200, any()),
        ("PUT", "/collections/c/points", &points(4), 400, too_large("3", "limits.batch_points_max")),
        ("POST", "/collections/c/points/batch", &upserts(1), 200, any()),
        ("POST", "/collections/c/points/batch", &upserts(2), 400, too_large("3", "limits.batch_points_max")),
        (
            "POST",
            "/collections/c/points/batch",
            r#"{"operations":[{"delete":{"points":[9]}},
            {"delete":{"points":[9]}},{"delete":{"points":[9]}}]}"#,
            400,
            too_large("2", "limits.batch_requests_max"),
        ),
        (
            "POST",
            "/collections/c/points/query/batch",
            r#"{"searches":[{},{},{}]}"#,
            400,
            too_large("2", "limits.batch_requests_max"),
        ),
        ("POST", "/collections/c/points/count", &conditions(3), 200, any()),
        (
            "POST",
            "/collections/c/points/count",
            &conditions(4),
            400,
            too_large("4", "limits.filter_conditions_max"),
        ),
        ("POST", "/collections/c/points/query", r#"{"query":[1],"params":{"hnsw_ef":100}}"#, 200, any()),
        (
            "POST",
            "/collections/c/points/query",
            r#"{"query":[1],"params":{"hnsw_ef":101}}"#,
            400,
            too_large("100", "limits.ef_max"),
        ),
        (
            "PUT",
            "/collections/e",
            r#"{"vectors":{"size":1,"distance":"Dot"}}"#,
            400,
            too_large("2", "limits.collections_max"),
        ),
        ("PUT", "/collections/d", r#"{"vectors":{"size":1,"distance":"Dot"}}"#, 409, any()),
    ]);
    let large = format!(r#"{{"payload":{{"text":"{}"}},"points":[0,1,2]}}"#, "x".repeat(19_000));
    server.play(&[("POST", "/collections/c/points/payload?wait=true", &large, 200, any())]);
    server.ok(
        "POST",
        "/collections/c/points/batch?wait=true",
        json!({"operations": [
        {"upsert": {"points": [{"id": 3, "vector": [1], "payload": {"text": "y".repeat(19_000)}}]}}]}),
    );
    server.play(&[
        ("POST", "/collections/c/points/scroll", r#"{"limit":3}"#, 200, any()),
        (
            "POST",
            "/collections/c/points/scroll",
            r#"{"limit":4}"#,
            400,
            too_large("65536", "limits.reply_bytes_max"),
        ),
        (
            "POST",
            "/collections/c/points/query",
            r#"{"query":[1],"with_payload":true}"#,
            400,
            too_large("65536", "limits.reply_bytes_max"),
        ),
    ]);
}

#[test]
fn giant_bodies_are_refused_before_they_are_read() {
    let server = Server::start(&[("limits.body_bytes_max", "20 KiB")]);
    server.ok("PUT", "/collections/c", json!({"vectors": {"size": 1, "distance": "Dot"}}));
    let head = |framing: &str| {
        format!("PUT /collections/c/points HTTP/1.1\r\nhost: x\r\nconnection: close\r\n{framing}\r\n\r\n")
    };
    // Announced: the answer comes although not one byte of the body does.
    let mut connection = TcpStream::connect(server.address()).unwrap();
    connection.write_all(head("content-length: 1000000000000").as_bytes()).unwrap();
    let mut answer = String::new();
    connection.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 413") && answer.contains("limit of 20480 bytes"), "{answer}");

    // Not announced: the answer comes once the limit is passed.
    let mut connection = TcpStream::connect(server.address()).unwrap();
    connection.write_all(head("transfer-encoding: chunked").as_bytes()).unwrap();
    let chunk = format!("5000\r\n{}\r\n", " ".repeat(0x5000));
    connection.write_all(chunk.as_bytes()).unwrap();
    connection.write_all(b"1\r\n \r\n").unwrap();
    let mut answer = String::new();
    connection.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 413"), "{answer}");
    server.play(&[("POST", "/collections/c/points/count", "{}", 200, json!({"result": {"count": 0}}))]);
}

#[test]
fn requests_beyond_the_limit_are_told_to_come_back() {
    let server = Server::start(&[("limits.requests_max", "2")]);
    // Two requests whose bodies do not come hold both places.
    let head = "POST /collections/c/points/count HTTP/1.1\r\nhost: x\r\ncontent-length: 2\r\n\r\n";
    let mut held: Vec<TcpStream> = (0..2)
        .map(|_| {
            let mut connection = TcpStream::connect(server.address()).unwrap();
            connection.write_all(head.as_bytes()).unwrap();
            connection
        })
        .collect();
    // Both have a place once the node counts them; looking at the metrics takes none.
    while !server.client().send("GET", "/metrics", &[], None).text.contains("requests_in_flight_count 2") {}
    let answer = server.client().send("GET", "/collections/c", &[], None);
    assert_eq!(answer.status, 429);
    assert_eq!(answer.headers["retry-after"], "1");
    assert!(answer.text.contains("2 requests are being worked on"), "{}", answer.text);
    assert_eq!(server.client().send("GET", "/readyz", &[], None).status, 200);
    for connection in &mut held {
        connection.write_all(b"{}").unwrap();
        let mut first = [0; 12];
        connection.read_exact(&mut first).unwrap();
        assert_eq!(&first, b"HTTP/1.1 404");
    }
    drop(held);
}

#[test]
fn many_clients_at_once_are_all_answered() {
    let server = Server::start(&[]);
    server.ok("PUT", "/collections/c", json!({"vectors": {"size": 2, "distance": "Dot"}}));
    let barrier = Barrier::new(16);
    std::thread::scope(|scope| {
        for thread in 0..16_u64 {
            let (server, barrier) = (&server, &barrier);
            scope.spawn(move || {
                barrier.wait();
                for round in 0..20 {
                    let id = thread * 1_000 + round;
                    server.ok(
                        "PUT",
                        "/collections/c/points?wait=true",
                        json!({"points": [{"id": id, "vector": [1.0, thread as f32]}]}),
                    );
                    let found = server.ok("POST", "/collections/c/points", json!({"ids": [id]}));
                    assert_eq!(found[0]["id"], id, "a write that was answered is read");
                }
            });
        }
    });
    assert_eq!(server.ok("POST", "/collections/c/points/count", json!({}))["count"], 320);
}

#[test]
fn a_refusal_leaves_the_connection_open_although_it_needs_no_body() {
    let server = Server::start(&[]);
    let mut connection = TcpStream::connect(server.address()).unwrap();
    connection.set_nodelay(true).unwrap();
    let mut answer = |bytes: &[&[u8]]| {
        // The head alone is enough to answer, and the body comes after it.
        bytes.iter().for_each(|part| connection.write_all(part).unwrap());
        let mut first = [0; 12];
        connection.read_exact(&mut first).unwrap();
        let mut rest = Vec::new();
        while !rest.ends_with(b"\r\n\r\n") {
            let mut byte = [0];
            connection.read_exact(&mut byte).unwrap();
            rest.extend(byte);
        }
        let head = String::from_utf8(rest).unwrap();
        let length =
            head.split("content-length: ").nth(1).and_then(|rest| rest.split("\r\n").next()).unwrap();
        let mut body = vec![0; length.parse().unwrap()];
        connection.read_exact(&mut body).unwrap();
        String::from_utf8(first.to_vec()).unwrap()
    };
    let head = |query: &str| {
        format!("POST /collections/c/points/count{query} HTTP/1.1\r\nhost: x\r\ncontent-length: 2\r\n\r\n")
            .into_bytes()
    };
    for _ in 0..100 {
        assert_eq!(answer(&[&head("?consistency=some"), b"{}"]), "HTTP/1.1 400");
        assert_eq!(answer(&[&head(""), b"{}"]), "HTTP/1.1 404");
    }
}
