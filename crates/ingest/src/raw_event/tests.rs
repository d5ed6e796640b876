use serde_json::json;

use super::*;

fn event(change: &Value) -> Vec<u8> {
    let mut event = json!({"source_id": "a", "timestamp": 1, "payload": {"k": 1}, "vector": [1.0, 2.0]});
    for (name, value) in change.as_object().unwrap() {
        if value == "MISSING" {
            event.as_object_mut().unwrap().remove(name);
        } else {
            event[name] = value.clone();
        }
    }
    event.to_string().into_bytes()
}

#[track_caller]
fn check_poison(record: &[u8], code: &str, says: &str) {
    let poison = RawEvent::decode(record, 2).unwrap_err();
    assert_eq!(poison.code(), code, "{poison}");
    assert!(poison.to_string().contains(says), "{poison}");
}

#[test]
fn a_record_without_an_id_has_that_of_its_source_for_ever() {
    let decoded = RawEvent::decode(&event(&json!({})), 2).unwrap();
    // Computed with Python: uuid.uuid5(uuid.UUID("5315a75c-5c5b-5270-97c9-6450872ae7b0"), "a").
    assert_eq!(decoded.id.to_string(), "7e1f4ff4-04af-51a5-93d9-ab0bc2fa8f91");
    let RawChange::Upsert { content, payload } = decoded.change else { panic!("no upsert") };
    assert_eq!((content, payload["k"].as_u64()), (Content::Vector(vec![1.0, 2.0]), Some(1)));
}

#[test]
fn fields_that_may_be_are_read() {
    for (change, id) in [
        (json!({"id": 7}), "7"),
        (json!({"id": "550E8400-E29B-41D4-A716-446655440000"}), "550e8400-e29b-41d4-a716-446655440000"),
        (json!({"id": 7, "timestamp": "2024-02-29T12:00:00Z", "added_later": [1]}), "7"),
        (json!({"id": 7, "op": "delete", "payload": "MISSING", "vector": null}), "7"),
        (json!({"id": 7, "op": "upsert", "vector": "MISSING", "text": "hello"}), "7"),
    ] {
        let record = event(&change);
        assert_eq!(RawEvent::decode(&record, 2).unwrap().id.to_string(), id, "{change}");
        assert_eq!(key_of(&record), id.as_bytes(), "{change}");
    }
}

#[test]
fn poison_is_told_with_its_reason() {
    check_poison(b"{\"source_id\": \"\xff\"}", "not_utf8", "byte 15");
    check_poison(&vec![b' '; RECORD_BYTES_MAX + 1], "too_large", "16777217");
    check_poison(b"", "not_an_event", "EOF");
    check_poison(b"not json", "not_an_event", "expected");
    check_poison(b"[1, 2]", "not_an_event", "");
    check_poison(b"{\"vector\": [NaN]}", "not_an_event", "expected value");
    for (change, code, says) in [
        (json!({"source_id": "MISSING"}), "not_an_event", "source_id"),
        (json!({"source_id": 5}), "not_an_event", "invalid type: integer"),
        (json!({"source_id": ""}), "invalid_field", "source_id"),
        (json!({"timestamp": "MISSING"}), "not_an_event", "timestamp"),
        (json!({"timestamp": -1}), "invalid_field", "1970"),
        (json!({"timestamp": 1e300}), "invalid_field", "1970"),
        (json!({"timestamp": "yesterday"}), "invalid_field", "RFC 3339"),
        (json!({"timestamp": 253_402_300_800_000_i64}), "invalid_field", "9999"),
        (json!({"payload": "MISSING"}), "invalid_field", "payload"),
        (json!({"payload": [1]}), "not_an_event", "invalid type: sequence"),
        (json!({"id": -1}), "invalid_field", "-1"),
        (json!({"id": "7"}), "invalid_field", "UUID"),
        (json!({"id": 1.5}), "invalid_field", "1.5"),
        (json!({"op": "update"}), "invalid_field", "update"),
        (json!({"vector": [1.0]}), "invalid_field", "1 dimensions, the collection has 2"),
        (json!({"vector": [1.0, 1e39]}), "not_an_event", "number out of range"),
        (json!({"vector": ["a"]}), "not_an_event", "invalid type: string"),
        (json!({"vector": "MISSING"}), "invalid_field", "no `text`"),
    ] {
        check_poison(&event(&change), code, says);
    }
    let deep = format!("{}1{}", "[".repeat(NESTING_MAX), "]".repeat(NESTING_MAX));
    let deep = format!(r#"{{"source_id":"a","timestamp":1,"vector":[1,2],"payload":{{"k":{deep}}}}}"#);
    assert!(RawEvent::decode(deep.as_bytes(), 2).is_err());
}
