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
    check_poison(b"not json", "not_an_event", "expected ident at line 1 column 2, near \"not json\"");
    check_poison(b"[1, 2]", "not_an_event", "expected an object with the fields of a record");
    check_poison(b"{\"id\": 1} {", "not_an_event", "trailing characters");
    for number in ["NaN", "Infinity", "-Infinity"] {
        let record = format!("{{\"vector\": [{number}]}}");
        check_poison(record.as_bytes(), "not_an_event", "in field `vector`");
    }
    for (change, code, says) in [
        (json!({"source_id": "MISSING"}), "invalid_field", "`source_id` is missing"),
        (json!({"source_id": null}), "invalid_field", "`source_id` is missing"),
        (
            json!({"source_id": 5}),
            "invalid_field",
            "`source_id` is not what it has to be: invalid type: integer `5`",
        ),
        (json!({"source_id": "x".repeat(1025)}), "invalid_field", "1025 bytes"),
        (json!({"source_id": ""}), "invalid_field", "source_id"),
        (json!({"timestamp": "MISSING"}), "invalid_field", "`timestamp` is missing"),
        (json!({"timestamp": -1}), "invalid_field", "is -1: send whole milliseconds since 1970"),
        (json!({"timestamp": i64::MIN}), "invalid_field", "is -9223372036854775808"),
        (json!({"timestamp": u64::MAX}), "invalid_field", "is 18446744073709551615"),
        (json!({"timestamp": 1e300}), "invalid_field", "1970"),
        (json!({"timestamp": 1.5}), "invalid_field", "is 1.5: send whole milliseconds"),
        (json!({"timestamp": true}), "invalid_field", "is true"),
        (json!({"timestamp": [1]}), "invalid_field", "is [1]"),
        (json!({"timestamp": "yesterday"}), "invalid_field", "RFC 3339"),
        (json!({"timestamp": "10000-01-01T00:00:00Z"}), "invalid_field", "RFC 3339"),
        (json!({"timestamp": "1969-12-31T23:59:59Z"}), "invalid_field", "1970"),
        (json!({"timestamp": 253_402_300_800_000_i64}), "invalid_field", "9999"),
        (json!({"payload": "MISSING"}), "invalid_field", "payload"),
        (
            json!({"payload": [1]}),
            "invalid_field",
            "`payload` is not what it has to be: invalid type: sequence",
        ),
        (json!({"id": -1}), "invalid_field", "-1"),
        (json!({"id": "7"}), "invalid_field", "UUID"),
        (json!({"id": 18_446_744_073_709_551_616_f64}), "invalid_field", "below 2^64"),
        (json!({"id": "x".repeat(5000)}), "invalid_field", "…, not an unsigned integer"),
        (json!({"id": 1.5}), "invalid_field", "1.5"),
        (json!({"op": "update"}), "invalid_field", "update"),
        (json!({"op": 1}), "invalid_field", "`op` is not what it has to be"),
        (json!({"text": 7, "vector": "MISSING"}), "invalid_field", "`text` is not what it has to be"),
        (json!({"vector": [1.0]}), "invalid_field", "1 dimensions, the collection has 2"),
        (json!({"vector": [1.0, 1e39]}), "invalid_field", "number out of range"),
        (json!({"vector": ["a"]}), "invalid_field", "invalid type: string"),
        (json!({"vector": 5}), "invalid_field", "expected a sequence"),
        (json!({"vector": "MISSING"}), "invalid_field", "no `text`"),
    ] {
        check_poison(&event(&change), code, says);
    }
    for levels in [NESTING_MAX, 127, 128, 100_000] {
        let deep = format!("{}1{}", "[".repeat(levels), "]".repeat(levels));
        let deep = format!(r#"{{"source_id":"a","timestamp":1,"vector":[1,2],"payload":{{"k":{deep}}}}}"#);
        check_poison(deep.as_bytes(), "invalid_field", "field `payload` is nested too deeply");
    }
    for (field, says) in [("\"id\": 1, \"id\": 2", "`id`"), ("\"vector\": [1e400, 2]", "`vector`")] {
        let record = format!("{{\"source_id\":\"a\",\"timestamp\":1,\"payload\":{{}},{field}}}");
        check_poison(record.as_bytes(), "invalid_field", says);
    }
}

#[test]
fn a_reason_is_short_whatever_the_record_is() {
    let long = "ö".repeat(1 << 20);
    for change in [
        json!({"id": long}),
        json!({"op": long}),
        json!({"timestamp": long}),
        json!({"vector": [long]}),
        json!({"payload": long}),
        json!({"timestamp": [long]}),
    ] {
        let reason = RawEvent::decode(&event(&change), 2).unwrap_err().to_string();
        assert!(reason.chars().count() < 500, "{} characters: {reason:.100}", reason.len());
    }
    let torn = format!("{{\"source_id\": \"{long}");
    check_poison(torn.as_bytes(), "not_an_event", "EOF while parsing a string");
}
