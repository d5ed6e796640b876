//! Collections, aliases and payload indexes.

use serde_json::json;

use crate::harness::{Server, any};

#[test]
fn a_collection_is_made_shown_changed_and_dropped() {
    let server = Server::start(&[]);
    server.play(&[
        ("GET", "/collections", "", 200, json!({"result": {"collections": []}, "status": "ok"})),
        ("GET", "/collections/c/exists", "", 200, json!({"result": {"exists": false}})),
        (
            "GET",
            "/collections/c",
            "",
            404,
            json!({"status": {
            "error": "Not found: Collection `c` doesn't exist!", "code": "not_found"}}),
        ),
        (
            "PUT",
            "/collections/c",
            r#"{"vectors":{"size":4,"distance":"Cosine"}}"#,
            200,
            json!({"result": true}),
        ),
        (
            "PUT",
            "/collections/c",
            r#"{"vectors":{"size":4,"distance":"Cosine"}}"#,
            409,
            json!({"status": {
            "error": "~Collection `c` already exists!", "code": "already_exists"}}),
        ),
        ("GET", "/collections/c/exists", "", 200, json!({"result": {"exists": true}})),
        ("GET", "/collections", "", 200, json!({"result": {"collections": [{"name": "c"}]}})),
        (
            "GET",
            "/collections/c",
            "",
            200,
            json!({"result": {
            "status": "green", "optimizer_status": "ok", "points_count": 0, "payload_schema": {},
            "config": {"params": {"vectors": {"size": 4, "distance": "Cosine"}, "shard_number": 1},
                       "hnsw_config": {"m": 16}}}}),
        ),
        (
            "PATCH",
            "/collections/c",
            r#"{"hnsw_config":{"m":24,"ef_construct":200}}"#,
            200,
            json!({"result": true}),
        ),
        ("PATCH", "/collections/c", r#"{"optimizers_config":{"indexing_threshold":0}}"#, 200, any()),
        (
            "GET",
            "/collections/c",
            "",
            200,
            json!({"result": {"config": {
            "hnsw_config": {"m": 24, "ef_construct": 200}}}}),
        ),
        (
            "PATCH",
            "/collections/c",
            r#"{"hnsw_config":{"m":1000}}"#,
            400,
            json!({"status": {"error": "~m is 1000"}}),
        ),
        ("PATCH", "/collections/none", r#"{"hnsw_config":{"m":8}}"#, 404, any()),
        ("DELETE", "/collections/c", "", 200, json!({"result": true})),
        ("DELETE", "/collections/c", "", 200, json!({"result": false})),
        ("GET", "/collections/c/exists", "", 200, json!({"result": {"exists": false}})),
    ]);
}

#[test]
fn named_vectors_keep_their_own_parameters() {
    let server = Server::start(&[]);
    let body = r#"{"vectors":{
        "image":{"size":3,"distance":"Euclid","on_disk":true},
        "text":{"size":2,"distance":"Dot","hnsw_config":{"m":8},"datatype":"float32"}},
        "hnsw_config":{"m":12},"on_disk_payload":false,"shard_number":1,"replication_factor":1,
        "optimizers_config":{"default_segment_number":2},"wal_config":{"wal_capacity_mb":1}}"#;
    server.play(&[
        ("PUT", "/collections/named", body, 200, any()),
        (
            "GET",
            "/collections/named",
            "",
            200,
            json!({"result": {"config": {
            "hnsw_config": {"m": 12},
            "params": {"vectors": {
                "image": {"size": 3, "distance": "Euclid", "on_disk": true},
                "text": {"size": 2, "distance": "Dot", "hnsw_config": {"m": 8}}}}}}}),
        ),
        ("PATCH", "/collections/named", r#"{"vectors":{"text":{"hnsw_config":{"m":6}}}}"#, 200, any()),
        (
            "GET",
            "/collections/named",
            "",
            200,
            json!({"result": {"config": {
            "hnsw_config": {"m": 12}, "params": {"vectors": {"text": {"hnsw_config": {"m": 6}}}}}}}),
        ),
        (
            "PATCH",
            "/collections/named",
            r#"{"vectors":{"sound":{"hnsw_config":{"m":6}}}}"#,
            400,
            json!({"status": {"error": "~\"sound\""}}),
        ),
        (
            "PUT",
            "/collections/flat",
            r#"{"vectors":{"size":3,"distance":"Dot"},"hnsw_config":{"m":0,"payload_m":16}}"#,
            200,
            any(),
        ),
        ("GET", "/collections/flat", "", 200, json!({"result": {"config": {"hnsw_config": {"m": 0}}}})),
        ("PUT", "/collections/payloads", r#"{"vectors":{}}"#, 200, any()),
        ("GET", "/collections/payloads", "", 200, json!({"result": {"config": {"params": {"vectors": {}}}}})),
    ]);
}

#[test]
fn what_cannot_be_kept_is_refused() {
    let server = Server::start(&[]);
    let size_and = |rest: &str| format!(r#"{{"vectors":{{"size":4,"distance":"Dot"}},{rest}}}"#);
    let unsupported = |part: &str| json!({"status": {"error": format!("~{part}"), "code": "unsupported"}});
    for (body, expect) in [
        (r#"{"vectors":{"size":4,"distance":"Manhattan"}}"#.to_owned(), unsupported("Manhattan")),
        (r#"{"vectors":{"size":4,"distance":"Dot","datatype":"uint8"}}"#.to_owned(), unsupported("datatype")),
        (
            r#"{"vectors":{"size":4,"distance":"Dot","multivector_config":{"comparator":"max_sim"}}}"#
                .to_owned(),
            unsupported("multivector_config"),
        ),
        (
            size_and(r#""quantization_config":{"product":{"compression":"x16"}}"#),
            unsupported("quantization_config"),
        ),
        (size_and(r#""sparse_vectors":{"s":{}}"#), unsupported("sparse_vectors")),
        (size_and(r#""shard_number":2"#), unsupported("shard_number")),
        (size_and(r#""replication_factor":3"#), unsupported("replication_factor")),
        (size_and(r#""sharding_method":"custom""#), unsupported("sharding_method")),
        (size_and(r#""strict_mode_config":{"enabled":true}"#), unsupported("strict_mode_config")),
        (size_and(r#""metadata":{"a":1}"#), unsupported("metadata")),
    ] {
        server.play(&[("PUT", "/collections/c", &body, 400, expect)]);
    }
    let harmless = size_and(
        r#""quantization_config":null,"sparse_vectors":{},"strict_mode_config":{"enabled":false},"metadata":null"#,
    );
    let answer = server.client().send("PUT", "/collections/c", &[], Some(harmless.as_bytes()));
    assert_eq!(answer.status, 200, "{}", answer.text);
}

#[test]
fn the_kind_of_index_is_chosen_and_changed_while_points_stay() {
    let server = Server::start(&[]);
    let config = |expect: serde_json::Value| json!({"result": {"config": expect}});
    let body =
        r#"{"vectors":{"size":4,"distance":"Dot"},"index":"ivf_pq","ivf_pq_config":{"lists":2,"nprobe":1}}"#;
    let shown = json!({"index": "ivf_pq", "hnsw_config": {"m": 0},
        "ivf_pq_config": {"lists": 2, "values_per_code": 4, "nprobe": 1, "rerank": 0}});
    let query = r#"{"query":[1,0,0,0],"limit":1,"params":{"nprobe":2,"hnsw_ef":8}}"#;
    let found = json!({"result": {"points": [{"id": 7}]}});
    server.play(&[
        ("PUT", "/collections/c", body, 200, any()),
        ("PUT", "/collections/c/points?wait=true", r#"{"points":[{"id":7,"vector":[1,2,3,4]}]}"#, 200, any()),
        ("GET", "/collections/c", "", 200, config(shown)),
        ("POST", "/collections/c/points/query", query, 200, found.clone()),
        ("PATCH", "/collections/c", r#"{"index":"nsw","hnsw_config":{"m":8}}"#, 200, any()),
        ("GET", "/collections/c", "", 200, config(json!({"index": "nsw", "hnsw_config": {"m": 8}}))),
        ("POST", "/collections/c/points/query", query, 200, found.clone()),
        ("PATCH", "/collections/c", r#"{"quantization_config":{"none":{}}}"#, 200, any()),
        (
            "GET",
            "/collections/c",
            "",
            200,
            config(json!({"index": "nsw", "quantization_config": {"none": {}}})),
        ),
        ("PATCH", "/collections/c", r#"{"index":"flat"}"#, 200, any()),
        ("GET", "/collections/c", "", 200, config(json!({"index": "flat", "hnsw_config": {"m": 0}}))),
        ("PATCH", "/collections/c", r#"{"hnsw_config":{"m":12}}"#, 200, any()),
        ("GET", "/collections/c", "", 200, config(json!({"index": "hnsw", "hnsw_config": {"m": 12}}))),
        ("POST", "/collections/c/points/query", query, 200, found),
    ]);
    for (body, error) in [
        (r#"{"index":"tree"}"#, "~none of flat, hnsw, nsw and ivf_pq"),
        (r#"{"index":"flat","hnsw_config":{"m":8}}"#, "~asks for a graph"),
        (r#"{"index":"nsw","hnsw_config":{"m":0}}"#, "~means no graph"),
        (r#"{"vectors":{"":{"ivf_pq_config":{"lists":4}}}}"#, "~index: ivf_pq"),
        (r#"{"vectors":{"":{"index":"ivf_pq","hnsw_config":{"m":8}}}}"#, "~ivf_pq_config"),
        (r#"{"index":"ivf_pq","ivf_pq_config":{"lists":65537}}"#, "~lists is 65537"),
        (r#"{"index":"ivf_pq","ivf_pq_config":{"values_per_code":65}}"#, "~values_per_code is 65"),
    ] {
        server.play(&[("PATCH", "/collections/c", body, 400, json!({"status": {"error": error}}))]);
    }
}

/// What stays in memory and what on disk, and half precision: taken, kept, shown, changed, refused.
#[test]
fn placement_and_rerank_are_kept_and_shown() {
    let server = Server::start(&[]);
    let create = r#"{"vectors":{"size":4,"distance":"Dot","on_disk":true,"rerank":"f16"},
        "hnsw_config":{"on_disk":true},"quantization_config":{"scalar":{"type":"int8","always_ram":false}}}"#;
    let config = |expect: serde_json::Value| json!({"result": {"config": expect}});
    let all = json!({"rerank": "f16", "hnsw_config": {"on_disk": true},
        "quantization_config": {"scalar": {"type": "int8", "always_ram": false}},
        "params": {"vectors": {"size": 4, "on_disk": true}, "on_disk_payload": true}});
    let body = |body: &str| body.to_owned();
    server.play(&[
        ("PUT", "/collections/c", create, 200, any()),
        ("GET", "/collections/c", "", 200, config(all)),
        ("PATCH", "/collections/c", r#"{"vectors":{"":{"on_disk":false}}}"#, 200, any()),
        ("PATCH", "/collections/c", r#"{"rerank":"f32","hnsw_config":{"on_disk":false}}"#, 200, any()),
    ]);
    let shown = server.ok("GET", "/collections/c", json!(null));
    let shown = &shown["config"];
    assert_eq!(shown["quantization_config"]["scalar"]["always_ram"], json!(true));
    // What is as usual is left out, as clients expect.
    assert!(shown.get("rerank").is_none() && shown["hnsw_config"].get("on_disk").is_none(), "{shown}");
    assert!(shown["params"]["vectors"].get("on_disk").is_none(), "{shown}");
    for (request, error) in [
        (body(r#"{"rerank":"f8"}"#), "~none of f32 and f16"),
        (body(r#"{"vectors":{"":{"index":"flat","rerank":"f16"}}}"#), "~it is for graphs"),
        (body(r#"{"rerank":"f16","quantization_config":{"none":{}}}"#), "~say f32"),
        (
            body(r#"{"quantization_config":{"scalar":{"type":"int8","always_ram":false}}}"#),
            "~hnsw_config.on_disk",
        ),
        (
            body(r#"{"hnsw_config":{"on_disk":true},"quantization_config":{"binary":{"always_ram":true}}}"#),
            "~leave always_ram out",
        ),
        (body(r#"{"vectors":{"":{"index":"ivf_pq","hnsw_config":{"on_disk":true}}}}"#), "~ivf_pq_config"),
    ] {
        server.play(&[("PATCH", "/collections/c", &request, 400, json!({"status": {"error": error}}))]);
    }
    let unsupported = json!({"status": {"error": "~true or false", "code": "unsupported"}});
    let always = r#"{"quantization_config":{"scalar":{"type":"int8","always_ram":7}}}"#;
    server.play(&[("PATCH", "/collections/c", always, 400, unsupported)]);
}

#[test]
fn quantization_is_asked_for_in_both_dialects_and_shown() {
    let server = Server::start(&[]);
    let create =
        r#"{"vectors":{"size":4,"distance":"Dot"},"quantization_config":{"scalar":{"type":"int8"}}}"#;
    server.play(&[("PUT", "/collections/c", create, 200, any())]);
    let shown = |expect: serde_json::Value| json!({"result": {"config": {"quantization_config": expect}}});
    server.play(&[("GET", "/collections/c", "", 200, shown(json!({"scalar": {"type": "int8"}})))]);
    for (body, expect) in [
        (r#"{"binary":{}}"#, json!({"binary": {"encoding": "one_bit"}})),
        (
            r#"{"binary":{"encoding":"two_bits","always_ram":true}}"#,
            json!({"binary": {"encoding": "two_bits"}}),
        ),
        (
            r#"{"scalar":{"type":"int8","quantile":1.0,"always_ram":null}}"#,
            json!({"scalar": {"type": "int8"}}),
        ),
        (r#"{"rabitq":{"bits":8}}"#, json!({"rabitq": {"bits": 8}})),
        (r#"{"rabitq":{}}"#, json!({"rabitq": {"bits": 4}})),
        (r#"{"sq8":{}}"#, json!({"scalar": {"type": "int8"}})),
        (r#"{"none":{}}"#, json!({"none": {}})),
    ] {
        let body = format!(r#"{{"quantization_config":{body}}}"#);
        server.play(&[
            ("PATCH", "/collections/c", &body, 200, any()),
            ("GET", "/collections/c", "", 200, shown(expect)),
        ]);
    }
    for (body, error) in [
        (r#"{"product":{"compression":"x16"}}"#, "~rabitq"),
        (r#"{"scalar":{"type":"int4"}}"#, "~quantization_config.scalar.type"),
        (r#"{"scalar":{"type":"int8","quantile":0.99}}"#, "~scale of its own"),
        (r#"{"binary":{"encoding":"one_and_half_bits"}}"#, "~two_bits"),
        (r#"{"binary":{"query_encoding":"scalar4bits"}}"#, "~query_encoding"),
        (r#"{"rabitq":{"bits":3}}"#, "~1, 2, 4 and 8"),
        (r#"{"sq8":{"bits":8}}"#, "~quantization_config.sq8.bits"),
        (r#"{"sq8":{},"none":{}}"#, "~sketch"),
        ("7", "~sketch"),
    ] {
        let body = format!(r#"{{"quantization_config":{body}}}"#);
        let expect = json!({"status": {"error": error, "code": "unsupported"}});
        server.play(&[("PATCH", "/collections/c", &body, 400, expect)]);
    }
    let query = |quantization: &str| {
        format!(r#"{{"query":[1,0,0,0],"limit":1,"params":{{"quantization":{quantization}}}}}"#)
    };
    let put = r#"{"points":[{"id":7,"vector":[1,2,3,4]}]}"#;
    server.play(&[("PUT", "/collections/c/points?wait=true", put, 200, any())]);
    for good in [r#"{"ignore":true}"#, r#"{"rescore":false}"#, r#"{"rescore":true,"oversampling":3.5}"#] {
        let found = json!({"result": {"points": [{"id": 7, "score": 1.0}]}});
        server.play(&[("POST", "/collections/c/points/query", &query(good), 200, found)]);
    }
    for bad in [r#"{"oversampling":0.5}"#, r#"{"oversampling":-1}"#] {
        let expect = json!({"status": {"error": "~params.quantization.oversampling"}});
        server.play(&[("POST", "/collections/c/points/query", &query(bad), 422, expect)]);
    }
    let expect = json!({"status": {"error": "~quantization.oversampling", "help": "~limits.ef_max"}});
    server.play(&[("POST", "/collections/c/points/query", &query(r#"{"oversampling":1e9}"#), 400, expect)]);
}

#[test]
fn aliases_change_together_or_not_at_all() {
    let server = Server::start(&[]);
    for name in ["one", "two"] {
        server.ok("PUT", &format!("/collections/{name}"), json!({"vectors": {"size": 2, "distance": "Dot"}}));
    }
    server.ok(
        "PUT",
        "/collections/one/points?wait=true",
        json!({"points": [{"id": 1, "vector": [1.0, 0.0]}]}),
    );
    let swap = r#"{"actions":[{"delete_alias":{"alias_name":"now"}},
        {"create_alias":{"collection_name":"two","alias_name":"now"}}]}"#;
    server.play(&[
        (
            "POST",
            "/collections/aliases",
            r#"{"actions":[{"create_alias":{"collection_name":"one","alias_name":"now"}}]}"#,
            200,
            json!({"result": true}),
        ),
        (
            "GET",
            "/aliases",
            "",
            200,
            json!({"result": {"aliases": [{"alias_name": "now", "collection_name": "one"}]}}),
        ),
        ("POST", "/collections/now/points/count", "{}", 200, json!({"result": {"count": 1}})),
        ("GET", "/collections/now/exists", "", 200, json!({"result": {"exists": true}})),
        ("POST", "/collections/aliases", swap, 200, any()),
        ("POST", "/collections/now/points/count", "{}", 200, json!({"result": {"count": 0}})),
        ("GET", "/collections/one/aliases", "", 200, json!({"result": {"aliases": []}})),
        ("GET", "/collections/two/aliases", "", 200, json!({"result": {"aliases": [{"alias_name": "now"}]}})),
        (
            "POST",
            "/collections/aliases",
            r#"{"actions":[{"rename_alias":{"old_alias_name":"now","new_alias_name":"then"}},
            {"create_alias":{"collection_name":"none","alias_name":"x"}}]}"#,
            404,
            any(),
        ),
        (
            "GET",
            "/aliases",
            "",
            200,
            json!({"result": {"aliases": [{"alias_name": "now", "collection_name": "two"}]}}),
        ),
        (
            "POST",
            "/collections/aliases",
            r#"{"actions":[{"rename_alias":{"old_alias_name":"now","new_alias_name":"then"}}]}"#,
            200,
            any(),
        ),
        ("GET", "/aliases", "", 200, json!({"result": {"aliases": [{"alias_name": "then"}]}})),
        (
            "POST",
            "/collections/aliases",
            r#"{"actions":[{"create_alias":{"collection_name":"one","alias_name":"a/b"}}]}"#,
            400,
            any(),
        ),
    ]);
}

#[test]
fn payload_indexes_come_and_go() {
    let server = Server::start(&[]);
    server.ok("PUT", "/collections/c", json!({"vectors": {"size": 2, "distance": "Dot"}}));
    server.ok(
        "PUT",
        "/collections/c/points?wait=true",
        json!({"points": [
        {"id": 1, "vector": [1.0, 0.0], "payload": {"city": "Ulm", "year": 1999}},
        {"id": 2, "vector": [1.0, 0.0], "payload": {"city": "Bonn"}}]}),
    );
    server.play(&[
        ("PUT", "/collections/c/index?wait=true", r#"{"field_name":"city","field_schema":"keyword"}"#, 200,
            json!({"result": {"status": "completed"}})),
        ("PUT", "/collections/c/index?wait=true",
            r#"{"field_name":"year","field_schema":{"type":"integer","lookup":true,"range":true,"on_disk":true}}"#, 200,
            any()),
        ("GET", "/collections/c", "", 200, json!({"result": {"payload_schema": {
            "city": {"data_type": "keyword", "points": 2}, "year": {"data_type": "integer", "points": 1}}}})),
        ("DELETE", "/collections/c/index/year?wait=true", "", 200, json!({"result": {"status": "completed"}})),
        ("GET", "/collections/c", "", 200, json!({"result": {"payload_schema": {"city": {"points": 2}}}})),
        ("PUT", "/collections/c/index", r#"{"field_name":"t","field_schema":"text"}"#, 400,
            json!({"status": {"code": "unsupported"}})),
        ("PUT", "/collections/c/index", r#"{"field_name":"t","field_schema":"colour"}"#, 400, any()),
        ("PUT", "/collections/c/index", r#"{"field_name":"","field_schema":"keyword"}"#, 400, any()),
        ("PUT", "/collections/c/index", r#"{"field_name":"t"}"#, 400,
            json!({"status": {"error": "~Format error in JSON body: missing field `field_schema`"}})),
    ]);
}
