//! Reading points: by id, by page, counted, by facet.

use serde_json::{Value, json};

use crate::harness::{Server, any, ids};

fn with_points() -> Server {
    let server = Server::start(&[]);
    server.ok("PUT", "/collections/c", json!({"vectors": {"size": 2, "distance": "Euclid"}}));
    server.ok(
        "PUT",
        "/collections/c/points?wait=true",
        json!({"points": [
            {"id": 3, "vector": [3.0, 0.0], "payload": {"kind": "a", "n": 3, "deep": {"x": [1, 2]}, "gone": null}},
            {"id": 1, "vector": [1.0, 0.0], "payload": {"kind": "b", "n": 1}},
            {"id": 18446744073709551615_u64, "vector": [9.0, 0.0], "payload": {"kind": "a", "n": 9}},
            {"id": "550e8400-e29b-41d4-a716-446655440000", "vector": [4.0, 0.0]},
        ]}),
    );
    server
}

#[test]
fn points_are_read_by_id_in_the_order_asked() {
    let server = with_points();
    server.play(&[
        (
            "POST",
            "/collections/c/points",
            r#"{"ids":[3,7,1]}"#,
            200,
            json!({"result": [
            {"id": 3, "payload": {"kind": "a", "gone": null}}, {"id": 1}]}),
        ),
        (
            "POST",
            "/collections/c/points",
            r#"{"ids":[3],"with_payload":false,"with_vector":true}"#,
            200,
            json!({"result": [{"id": 3, "vector": [3.0, 0.0]}]}),
        ),
        (
            "POST",
            "/collections/c/points",
            r#"{"ids":[3],"with_payload":["deep.x"]}"#,
            200,
            json!({"result": [{"payload": {"deep": {"x": [1, 2]}}}]}),
        ),
        (
            "POST",
            "/collections/c/points",
            r#"{"ids":[3],"with_payload":{"exclude":["deep","gone"]}}"#,
            200,
            json!({"result": [{"payload": {"kind": "a", "n": 3}}]}),
        ),
        ("GET", "/collections/c/points/3", "", 200, json!({"result": {"id": 3, "vector": [3.0, 0.0]}})),
        (
            "GET",
            "/collections/c/points/8",
            "",
            404,
            json!({"status": {"error": "~Not found: No point with id 8"}}),
        ),
        (
            "GET",
            "/collections/c/points/eight",
            "",
            400,
            json!({"status": {"error": "~\"eight\" is not a point id"}}),
        ),
        ("GET", "/collections/none/points/3", "", 404, any()),
    ]);
    let shown = server.ok(
        "POST",
        "/collections/c/points",
        json!({"ids": [3], "with_payload": {"exclude": ["deep"]}}),
    );
    assert_eq!(shown[0]["payload"], json!({"kind": "a", "n": 3, "gone": null}), "nulls in payloads stay");
    assert!(shown[0].get("vector").is_none(), "what was not asked for is absent, not null");
}

#[test]
fn largest_id_and_three_spellings_of_a_uuid_survive() {
    let server = with_points();
    let uuid = "550e8400-e29b-41d4-a716-446655440000";
    for spelling in
        [uuid, "550E8400E29B41D4A716446655440000", "urn:uuid:550e8400-e29b-41d4-a716-446655440000"]
    {
        let found = server.ok("POST", "/collections/c/points", json!({"ids": [spelling]}));
        assert_eq!(ids(&found), [json!(uuid)], "{spelling}");
        let path = format!("/collections/c/points/{spelling}");
        assert_eq!(server.ok("GET", &path, Value::Null)["id"], json!(uuid));
    }
    let found = server.ok("GET", "/collections/c/points/18446744073709551615", Value::Null);
    assert_eq!(found["id"], json!(u64::MAX));
    // Writing under another spelling replaces the same point.
    server.ok(
        "PUT",
        "/collections/c/points?wait=true",
        json!({"points": [
        {"id": "550e8400e29b41d4a716446655440000", "vector": [5.0, 0.0]}]}),
    );
    assert_eq!(server.ok("POST", "/collections/c/points/count", json!({}))["count"], 4);
}

#[test]
fn scrolling_goes_through_integers_then_uuids() {
    let server = with_points();
    let mut seen = Vec::new();
    let mut offset = Value::Null;
    loop {
        let page = server.ok("POST", "/collections/c/points/scroll", {
            let mut body = json!({"limit": 1, "with_payload": false});
            if !offset.is_null() {
                body["offset"] = offset;
            }
            body
        });
        seen.extend(ids(&page["points"]));
        offset = page["next_page_offset"].clone();
        if offset.is_null() {
            break;
        }
    }
    assert_eq!(seen, [json!(1), json!(3), json!(u64::MAX), json!("550e8400-e29b-41d4-a716-446655440000")]);
    server.play(&[
        (
            "POST",
            "/collections/c/points/scroll",
            r#"{"limit":999999999}"#,
            200,
            json!({"result": {"next_page_offset": null}}),
        ),
        (
            "POST",
            "/collections/c/points/scroll",
            r#"{"filter":{"must":{"key":"kind","match":{"value":"a"}},"should":[]}}"#,
            200,
            json!({"result": {"points": [{"id": 3}, {"id": 18446744073709551615_u64}]}}),
        ),
        (
            "POST",
            "/collections/c/points/scroll",
            r#"{"order_by":"n"}"#,
            400,
            json!({"status": {"code": "unsupported"}}),
        ),
        (
            "POST",
            "/collections/c/points/scroll",
            r#"{"limit":0}"#,
            422,
            json!({"status": {
            "error": "Validation error in JSON body: [limit: value 0 invalid, must be 1 or larger]"}}),
        ),
    ]);
}

#[test]
fn filters_select_what_they_say() {
    let server = with_points();
    server.ok("PUT", "/collections/c/points?wait=true", json!({"points": [
        {"id": 20, "vector": [0.0, 0.0], "payload": {
            "at": "2024-03-01T12:00:00Z", "flag": true, "list": [1, 2, 3], "items": [{"a": 1, "b": 2}, {"a": 3, "b": 4}],
            "empty": [], "kind": ["b", "c"]}}]}));
    for (filter, expect) in [
        (json!({"must": [{"key": "kind", "match": {"value": "b"}}]}), vec![json!(1), json!(20)]),
        (
            json!({"must": [{"key": "kind", "match": {"any": ["a", "c"]}}]}),
            vec![json!(3), json!(20), json!(u64::MAX)],
        ),
        (json!({"must": [{"key": "kind", "match": {"any": []}}]}), vec![]),
        (json!({"must": [{"key": "kind", "match": {"except": ["a"]}}]}), vec![json!(1), json!(20)]),
        (json!({"must": [{"key": "n", "range": {"gte": 3, "lt": 9.5}}]}), vec![json!(3), json!(u64::MAX)]),
        (
            json!({"must": [{"key": "at", "range": {"gt": "2024-03-01", "lt": "2024-03-02"}}]}),
            vec![json!(20)],
        ),
        (json!({"must": [{"key": "flag", "match": {"value": true}}]}), vec![json!(20)]),
        (json!({"must": [{"key": "list", "values_count": {"gte": 3}}]}), vec![json!(20)]),
        (json!({"must": [{"is_null": {"key": "gone"}}]}), vec![json!(3)]),
        (json!({"must": [{"is_empty": {"key": "empty"}}, {"has_id": [20, 21]}]}), vec![json!(20)]),
        (json!({"must": [{"key": "flag", "is_empty": false}]}), vec![json!(20)]),
        (
            json!({"must": [{"has_id": [1, 3, 77]}], "must_not": [{"key": "n", "match": {"value": 1}}]}),
            vec![json!(3)],
        ),
        (
            json!({"must": [{"nested": {"key": "items", "filter": {"must": [
            {"key": "a", "match": {"value": 1}}, {"key": "b", "match": {"value": 4}}]}}}]}),
            vec![],
        ),
        (
            json!({"must": [{"nested": {"key": "items", "filter": {"must": [
            {"key": "a", "match": {"value": 3}}, {"key": "b", "match": {"value": 4}}]}}}]}),
            vec![json!(20)],
        ),
        (json!({"must": [{"key": "items[].a", "match": {"value": 3}}]}), vec![json!(20)]),
        (json!({"must": [{"has_vector": ""}, {"has_id": [1]}]}), vec![json!(1)]),
        (
            json!({"min_should": {"min_count": 2, "conditions": [
            {"key": "kind", "match": {"value": "a"}}, {"key": "n", "match": {"value": 3}}, {"has_id": [3, 1]}]}}),
            vec![json!(3)],
        ),
        (
            json!({"should": [{"must": [{"key": "n", "match": {"value": 1}}]}, {"filter": {"must": [{"has_id": [3]}]}}]}),
            vec![json!(1), json!(3)],
        ),
        (
            json!({}),
            vec![
                json!(1),
                json!(3),
                json!(20),
                json!(u64::MAX),
                json!("550e8400-e29b-41d4-a716-446655440000"),
            ],
        ),
    ] {
        let page = server.ok("POST", "/collections/c/points/scroll", json!({"filter": filter, "limit": 100}));
        assert_eq!(ids(&page["points"]), expect, "{filter}");
        let count =
            server.ok("POST", "/collections/c/points/count", json!({"filter": filter, "exact": false}));
        assert_eq!(count["count"], json!(expect.len()), "{filter}");
    }
}

#[test]
fn facets_count_the_values_of_an_indexed_field() {
    let server = with_points();
    server.play(&[
        ("POST", "/collections/c/facet", r#"{"key":"kind"}"#, 400, any()),
        (
            "PUT",
            "/collections/c/index?wait=true",
            r#"{"field_name":"kind","field_schema":"keyword"}"#,
            200,
            any(),
        ),
        (
            "POST",
            "/collections/c/facet",
            r#"{"key":"kind"}"#,
            200,
            json!({"result": {"hits": [
            {"value": "a", "count": 2}, {"value": "b", "count": 1}]}}),
        ),
        (
            "POST",
            "/collections/c/facet",
            r#"{"key":"kind","limit":1,"filter":{"must":{"has_id":[1]}},"exact":true}"#,
            200,
            json!({"result": {"hits": [{"value": "b", "count": 1}]}}),
        ),
        ("POST", "/collections/c/facet", r#"{"key":"kind","limit":0}"#, 422, any()),
    ]);
}
