//! Searching: against scores worked out by hand, and against brute force.

use serde_json::{Value, json};

use crate::harness::{Server, any, ids};

/// Points on a line, at distance `id` from the origin.
fn line(distance: &str) -> Server {
    let server = Server::start(&[]);
    server.ok("PUT", "/collections/c", json!({"vectors": {"size": 2, "distance": distance}}));
    let points: Vec<Value> = (1..=9)
        .map(|id| json!({"id": id, "vector": [id, 1], "payload": {"id": id, "even": id % 2 == 0}}))
        .collect();
    server.ok("PUT", "/collections/c/points?wait=true", json!({"points": points}));
    server
}

#[test]
fn scores_are_distances_for_euclid_and_products_for_dot() {
    let server = line("Euclid");
    server.play(&[
        (
            "POST",
            "/collections/c/points/query",
            r#"{"query":[0,1],"limit":3}"#,
            200,
            json!({"result": {"points": [
            {"id": 1, "score": 1.0, "version": 0}, {"id": 2, "score": 2.0}, {"id": 3, "score": 3.0}]}}),
        ),
        (
            "POST",
            "/collections/c/points/query",
            r#"{"query":[0,1],"score_threshold":2}"#,
            200,
            json!({"result": {"points": [{"id": 1}, {"id": 2}]}}),
        ),
        (
            "POST",
            "/collections/c/points/query",
            r#"{"query":[0,1],"score_threshold":-1}"#,
            200,
            json!({"result": {"points": []}}),
        ),
    ]);
    let server = line("Dot");
    server.play(&[
        (
            "POST",
            "/collections/c/points/query",
            r#"{"query":[1,0.5],"limit":2}"#,
            200,
            json!({"result": {"points": [
            {"id": 9, "score": 9.5}, {"id": 8, "score": 8.5}]}}),
        ),
        (
            "POST",
            "/collections/c/points/query",
            r#"{"query":[1,0.5],"score_threshold":8.5}"#,
            200,
            json!({"result": {"points": [{"id": 9}, {"id": 8}]}}),
        ),
        (
            "POST",
            "/collections/c/points/query",
            r#"{"query":[-1,0],"limit":1}"#,
            200,
            json!({"result": {"points": [{"id": 1, "score": -1.0}]}}),
        ),
    ]);
    let server = line("Cosine");
    server.play(&[(
        "POST",
        "/collections/c/points/query",
        r#"{"query":[1,1],"limit":2}"#,
        200,
        json!({"result": {"points": [{"id": 1, "score": 1.0}, {"id": 2, "score": 0.948_683_3}]}}),
    )]);
}

#[test]
fn every_form_of_nearest_is_understood() {
    let server = line("Euclid");
    server.play(&[
        ("POST", "/collections/c/points/query", r#"{"query":{"nearest":[0,1]},"limit":1}"#, 200,
            json!({"result": {"points": [{"id": 1}]}})),
        ("POST", "/collections/c/points/query", r#"{"query":5,"limit":2}"#, 200,
            json!({"result": {"points": [{"id": 4, "score": 1.0}, {"id": 6, "score": 1.0}]}})),
        ("POST", "/collections/c/points/query", r#"{"query":{"nearest":5},"limit":2,"offset":1}"#, 200,
            json!({"result": {"points": [{"id": 6}, {"id": 3}]}})),
        ("POST", "/collections/c/points/query", r#"{"query":55}"#, 404,
            json!({"status": {"error": "Not found: No point with id 55 found"}})),
        ("POST", "/collections/c/points/query", r#"{"limit":2,"offset":1}"#, 200,
            json!({"result": {"points": [{"id": 2}, {"id": 3}]}})),
        ("POST", "/collections/c/points/query",
            r#"{"query":[0,1],"filter":{"must":[{"key":"even","match":{"value":true}}]},"limit":2,"with_payload":["id"]}"#,
            200, json!({"result": {"points": [{"id": 2, "payload": {"id": 2}}, {"id": 4}]}})),
        ("POST", "/collections/c/points/query", r#"{"query":[0,1],"limit":1,"with_vector":true}"#, 200,
            json!({"result": {"points": [{"id": 1, "vector": [1.0, 1.0]}]}})),
        ("POST", "/collections/c/points/query",
            r#"{"query":[0,1],"limit":1,"params":{"hnsw_ef":64,"exact":true,"indexed_only":false,
                "quantization":{"rescore":true}}}"#, 200, json!({"result": {"points": [{"id": 1}]}})),
        ("POST", "/collections/c/points/query?timeout=10&consistency=majority", r#"{"query":[0,1],"limit":999999999}"#,
            200, any()),
        ("POST", "/collections/c/points/query/batch",
            r#"{"searches":[{"query":[0,1],"limit":1},{"query":[9,1],"limit":1,"with_payload":true}]}"#, 200,
            json!({"result": [{"points": [{"id": 1}]}, {"points": [{"id": 9, "payload": {"id": 9}}]}]})),
        ("POST", "/collections/c/points/query/batch", r#"{"searches":[]}"#, 200, json!({"result": []})),
    ]);
    let bare = server.ok("POST", "/collections/c/points/query", json!({"query": [0, 1], "limit": 1}));
    assert!(bare["points"][0].get("payload").is_none() && bare["points"][0].get("vector").is_none());
    let all = server.ok("POST", "/collections/c/points/query", json!({"query": 5, "limit": 100}));
    assert_eq!(all["points"].as_array().unwrap().len(), 8, "the point itself is not in its answer");
}

#[test]
fn the_older_search_is_answered() {
    let server = line("Euclid");
    server.play(&[
        (
            "POST",
            "/collections/c/points/search",
            r#"{"vector":[0,1],"limit":1,"with_payload":true}"#,
            200,
            json!({"result": [{"id": 1, "score": 1.0, "payload": {"id": 1}}]}),
        ),
        (
            "POST",
            "/collections/c/points/search",
            r#"{"vector":{"name":"","vector":[0,1]},"limit":1,"offset":2}"#,
            200,
            json!({"result": [{"id": 3}]}),
        ),
        (
            "POST",
            "/collections/c/points/search/batch",
            r#"{"searches":[{"vector":[0,1],"limit":1},{"vector":[9,1],"limit":1,"score_threshold":0.5}]}"#,
            200,
            json!({"result": [[{"id": 1}], [{"id": 9}]]}),
        ),
        ("POST", "/collections/c/points/search", r#"{"vector":[0,1],"limit":0}"#, 422, any()),
        (
            "POST",
            "/collections/c/points/search",
            r#"{"vector":[0,1]}"#,
            400,
            json!({"status": {"error": "~missing field `limit`"}}),
        ),
    ]);
}

#[test]
fn named_fields_and_lookups_in_other_collections() {
    let server = line("Euclid");
    server.ok(
        "PUT",
        "/collections/named",
        json!({"vectors": {
        "a": {"size": 2, "distance": "Euclid"}, "b": {"size": 1, "distance": "Dot"}}}),
    );
    server.ok(
        "PUT",
        "/collections/named/points?wait=true",
        json!({"points": [
        {"id": 1, "vector": {"a": [5, 1], "b": [1]}}, {"id": 2, "vector": {"a": [7, 1]}}]}),
    );
    server.play(&[
        (
            "POST",
            "/collections/named/points/query",
            r#"{"query":[6.6,1],"using":"a"}"#,
            200,
            json!({"result": {"points": [{"id": 2}, {"id": 1}]}}),
        ),
        (
            "POST",
            "/collections/named/points/query",
            r#"{"query":[1],"using":"b"}"#,
            200,
            json!({"result": {"points": [{"id": 1}]}}),
        ),
        (
            "POST",
            "/collections/named/points/query",
            r#"{"query":2,"using":"b"}"#,
            400,
            json!({"status": {"error": "~point 2 has no vector \"b\""}}),
        ),
        ("POST", "/collections/named/points/query", r#"{"query":[1,2]}"#, 400, any()),
        (
            "POST",
            "/collections/named/points/query",
            r#"{"query":[1,2],"using":"c"}"#,
            400,
            json!({"status": {"error": "~\"a\", \"b\""}}),
        ),
        (
            "POST",
            "/collections/named/points/query",
            r#"{"query":5,"using":"a","lookup_from":{"collection":"c","vector":""},"limit":1}"#,
            200,
            json!({"result": {"points": [{"id": 1, "score": 0.0}]}}),
        ),
        (
            "POST",
            "/collections/named/points/query",
            r#"{"query":5,"using":"a","lookup_from":{"collection":"none"}}"#,
            404,
            any(),
        ),
    ]);
}

#[test]
fn what_this_version_lacks_is_said() {
    let server = line("Euclid");
    let unsupported =
        || json!({"status": {"code": "unsupported", "error": "~Not available in this version"}});
    for query in [
        r#"{"prefetch":[{"query":[0,1]}],"query":{"fusion":"rrf"}}"#,
        r#"{"query":{"fusion":"rrf"}}"#,
        r#"{"query":{"recommend":{"positive":[1]}}}"#,
        r#"{"query":{"discover":{"target":1,"context":[]}}}"#,
        r#"{"query":{"context":[]}}"#,
        r#"{"query":{"order_by":"id"}}"#,
        r#"{"query":{"sample":"random"}}"#,
        r#"{"query":{"formula":{"sum":[1]}}}"#,
        r#"{"query":{"nearest":[0,1],"mmr":{"diversity":0.5}}}"#,
        r#"{"query":{"indices":[1],"values":[1]}}"#,
        r#"{"query":[0,1],"shard_key":"s"}"#,
        r#"{"query":[0,1],"filter":{"must":[{"key":"t","match":{"text":"x"}}]}}"#,
        r#"{"query":[0,1],"filter":{"must":[{"key":"t","geo_radius":{"center":{"lat":1,"lon":1},"radius":1}}]}}"#,
    ] {
        server.play(&[("POST", "/collections/c/points/query", query, 400, unsupported())]);
    }
    for (method, path) in [
        ("POST", "/collections/c/points/query/groups"),
        ("POST", "/collections/c/points/recommend"),
        ("POST", "/collections/c/points/discover"),
        ("GET", "/collections/c/snapshots"),
        ("GET", "/cluster"),
        ("GET", "/telemetry"),
    ] {
        server.play(&[(method, path, "", 400, unsupported())]);
    }
}

#[test]
fn answers_agree_with_brute_force() {
    const DIM: usize = 16;
    const POINTS: usize = 3_000;
    let mut state = 7_u64;
    let mut next = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        ((state >> 40) as f32 / (1 << 24) as f32) - 0.5
    };
    let rows: Vec<Vec<f32>> = (0..POINTS).map(|_| (0..DIM).map(|_| next()).collect()).collect();
    let query: Vec<f32> = (0..DIM).map(|_| next()).collect();
    for distance in ["Euclid", "Dot", "Cosine"] {
        let server = Server::start(&[]);
        server.ok("PUT", "/collections/c", json!({"vectors": {"size": DIM, "distance": distance}}));
        for (batch, rows) in rows.chunks(500).enumerate() {
            let points: Vec<Value> = rows
                .iter()
                .enumerate()
                .map(|(row, vector)| json!({"id": batch * 500 + row, "vector": vector, "payload": {"m": row % 7}}))
                .collect();
            server.ok("PUT", "/collections/c/points?wait=true", json!({"points": points}));
        }
        let score = |row: &[f32]| -> f64 {
            let dot = |a: &[f32], b: &[f32]| -> f64 {
                a.iter().zip(b).map(|(x, y)| f64::from(*x) * f64::from(*y)).sum()
            };
            match distance {
                "Dot" => dot(row, &query),
                "Cosine" => dot(row, &query) / (dot(row, row) * dot(&query, &query)).sqrt(),
                _ => -(dot(row, row) - 2.0 * dot(row, &query) + dot(&query, &query)).sqrt(),
            }
        };
        for filtered in [false, true] {
            let mut expect: Vec<(f64, usize)> = (0..POINTS)
                .filter(|id| !filtered || id % 500 % 7 == 3)
                .map(|id| (score(&rows[id]), id))
                .collect();
            expect.sort_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(&b.1)));
            let filter =
                if filtered { json!({"must": [{"key": "m", "match": {"value": 3}}]}) } else { json!({}) };
            let body = json!({"query": query, "limit": 20, "filter": filter, "params": {"exact": true}});
            let points = server.ok("POST", "/collections/c/points/query", body)["points"].clone();
            let want: Vec<Value> = expect.iter().take(20).map(|(_, id)| json!(id)).collect();
            assert_eq!(ids(&points), want, "{distance}, filtered: {filtered}");
            for (point, (score, _)) in points.as_array().unwrap().iter().zip(&expect) {
                let got = point["score"].as_f64().unwrap() * if distance == "Euclid" { -1.0 } else { 1.0 };
                assert!((got - score).abs() < 1e-4, "{distance}: {got} instead of {score}");
            }
        }
    }
}
