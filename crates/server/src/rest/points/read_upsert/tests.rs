use proptest::prelude::*;

use super::*;

fn by_reader(text: &[u8]) -> Option<UpsertBody> {
    Reader { text, at: 0, vectors: 0, numbers: 0 }.upsert()
}

fn check(text: &str, is_read: bool) {
    let general = serde_json::from_str::<UpsertBody>(text);
    match by_reader(text.as_bytes()) {
        Some(body) => assert_eq!(body, general.unwrap(), "{text}"),
        None => assert!(!is_read, "left to the general parser: {text}"),
    }
    if !is_read {
        assert!(by_reader(text.as_bytes()).is_none(), "read here: {text}");
    }
}

#[test]
fn usual_bodies_are_read_in_one_pass() {
    for text in [
        r#"{"points":[{"id":1,"vector":[0.5,-1,2e-3]}]}"#,
        r#" { "points" : [ { "vector" : [ 1 , 2 ] , "payload" : { "a" : [ {} ] } , "id" : 7 } ] } "#,
        r#"{"points":[{"id":0,"payload":null,"vector":[]},{"id":18446744073709551615,"vector":[1]}]}"#,
        r#"{"points":[{"id":"550e8400-e29b-41d4-a716-446655440000","vector":{"a":[1],"text":[2,3]}}]}"#,
        r#"{"points":[{"id":1,"vector":{}}],"shard_key":null,"update_mode":"upsert","update_filter":{"x":1}}"#,
        r#"{"points":[],"update_mode":null}"#,
        r#"{"batch":{"ids":[1,2],"vectors":[[1,2],[3,4]],"payloads":[null,{"k":"\u00e9é"}]}}"#,
        r#"{"batch":{"ids":[1],"vectors":{"a":[[1,2]],"b":[[3]]}}}"#,
        r#"{"batch":{"ids":[],"vectors":[],"payloads":[]}}"#,
        r#"{"points":[{"id":1,"vector":"AACAPwAAAEA="},{"id":2,"vector": "" }]}"#,
        r#"{"points":[{"id":1,"vector":{"a":"AACAPw==","b":[1]}}]}"#,
        r#"{"batch":{"ids":[1,2],"vectors":["AACAPw==",[2]]}}"#,
        r#"{"batch":{"ids":[1],"vectors":{"text":["AACAPw=="]}}}"#,
        "{}",
    ] {
        check(text, true);
    }
}

#[test]
fn everything_else_is_left_to_the_general_parser() {
    for text in [
        "",
        "null",
        "[]",
        "{",
        r#"{"points":null}"#,
        r#"{"points":[{"id":1,"vector":[1]}]} x"#,
        r#"{"points":[{"id":1,"vector":[1]}]"#,
        r#"{"points":[{"id":1,"vector":[1]},]}"#,
        r#"{"points":[{"id":1,"vector":[1]}],}"#,
        r#"{"points":[{"id":1}]}"#,
        r#"{"points":[{"vector":[1]}]}"#,
        r#"{"points":[{"id":1,"id":2,"vector":[1]}]}"#,
        r#"{"points":[{"id":1,"vector":[1],"more":1}]}"#,
        r#"{"points":[{"id":01,"vector":[1]}]}"#,
        r#"{"points":[{"id":-1,"vector":[1]}]}"#,
        r#"{"points":[{"id":1.5,"vector":[1]}]}"#,
        r#"{"points":[{"id":1e2,"vector":[1]}]}"#,
        r#"{"points":[{"id":18446744073709551616,"vector":[1]}]}"#,
        r#"{"points":[{"id":"x","vector":[1]}]}"#,
        r#"{"points":[{"id":1,"vector":[[1]]}]}"#,
        r#"{"points":[{"id":1,"vector":["1"]}]}"#,
        r#"{"points":[{"id":1,"vector":null}]}"#,
        r#"{"points":[{"id":1,"vector":{"text":"a","model":"b"}}]}"#,
        r#"{"points":[{"id":1,"vector":{"indices":[1],"values":[2]}}]}"#,
        r#"{"points":[{"id":1,"vector":{"a":[1],"a":[2]}}]}"#,
        r#"{"points":[{"id":1,"vector":"AACAPw"}]}"#,
        r#"{"points":[{"id":1,"vector":"AACAPwA="}]}"#,
        r#"{"points":[{"id":1,"vector":"AACA\u0050w=="}]}"#,
        r#"{"points":[{"id":1,"vector":"AACAPw==}]}"#,
        r#"{"points":[{"id":1,"vector":{"a":"no"}}]}"#,
        r#"{"points":[{"id":1,"vector":{"model":"AACAPw=="}}]}"#,
        r#"{"points":[{"id":1,"vector":{"image":"AACAPw=="}}]}"#,
        r#"{"points":[{"\u0069d":1,"vector":[1]}]}"#,
        r#"{"points":[],"points":[]}"#,
        r#"{"batch":{"ids":[1]}}"#,
        r#"{"batch":{"ids":[1],"vectors":[[1]],"payloads":null}}"#,
        r#"{"update_mode":1}"#,
        r#"{"unknown":1}"#,
    ] {
        check(text, false);
    }
}

#[test]
fn deep_payloads_are_refused_in_the_words_of_the_general_parser() {
    for levels in [NESTING_MAX - 1, NESTING_MAX + 1, 120, 130] {
        let deep = format!("{}{}", "[".repeat(levels), "]".repeat(levels));
        let text = format!(r#"{{"points":[{{"id":1,"vector":[1],"payload":{{"a":{deep}}}}}]}}"#);
        check(&text, levels < NESTING_MAX);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_048))]

    /// Whatever is cut out, put in or changed: where both take a body, it is the same one, and the reader takes none
    /// that the general parser refuses.
    #[test]
    fn damaged_bodies_are_read_alike_or_left(
        seed in 0_usize..3, at in any::<prop::sample::Index>(), cut in 0_usize..4, put in "[-\"{}\\[\\],:.0-9e a\\\\]{0,3}",
    ) {
        let text = [
            r#"{"points":[{"id":12,"vector":[0.25,-1.5e-3,3],"payload":{"a":"b"}},{"id":2,"vector":{"a":[1]}}]}"#,
            r#"{"batch":{"ids":[1,2],"vectors":{"a":[[1,2.5],[3,4]]},"payloads":[null,{"k":1}]},"shard_key":null}"#,
            r#"{"points":[{"id":"550e8400-e29b-41d4-a716-446655440000","vector":[1]}],"update_mode":"upsert"}"#,
        ][seed];
        let at = at.index(text.len());
        let after = text.get(at + cut..).unwrap_or_default();
        let text = format!("{}{put}{after}", &text[..at]);
        if let Some(body) = by_reader(text.as_bytes()) {
            let general = serde_json::from_str::<UpsertBody>(&text);
            prop_assert_eq!(body, general.unwrap(), "{}", text);
        }
    }
}
