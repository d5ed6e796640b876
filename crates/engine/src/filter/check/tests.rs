use super::*;
use dvse_types::{CollectionSchema, Condition, FieldTest, Filter, MatchValue, Metric, MinShould, Range};
use serde_json::json;

use crate::filter::{CompiledFilter, InvalidFilter};

fn schema() -> CollectionSchema {
    CollectionSchema::single(1, Metric::L2)
}

fn field(key: &str, test: FieldTest) -> Condition {
    Condition::Field { key: key.parse().unwrap(), test }
}

fn word(text: &str) -> MatchValue {
    MatchValue::Keyword(text.to_owned())
}

fn check(filter: Filter, payload: serde_json::Value, expect: bool) {
    let compiled = CompiledFilter::new(&filter, &schema()).unwrap();
    let has_vector = |name: &str| name == "v";
    let payload = payload.as_object().unwrap();
    let facts = PointFacts { id: Some(PointId::Num(3)), payload, has_vector: &has_vector };
    assert_eq!(compiled.passes(&facts), expect, "{filter:?} on {payload:?}");
}

fn must(condition: Condition) -> Filter {
    Filter { must: vec![condition], ..Filter::default() }
}

#[test]
fn one_element_of_an_array_is_enough() {
    let red = || must(field("k", FieldTest::Match(word("red"))));
    check(red(), json!({"k": "red"}), true);
    check(red(), json!({"k": ["blue", "red"]}), true);
    check(red(), json!({"k": [["red"]]}), false);
    check(red(), json!({"k": ["blue"]}), false);
    check(red(), json!({}), false);
    let except = |values| must(field("k", FieldTest::MatchExcept(values)));
    check(except(vec![word("red")]), json!({"k": ["red", "blue"]}), true);
    check(except(vec![word("red")]), json!({"k": ["red"]}), false);
    check(except(vec![word("red")]), json!({"k": 3}), true);
    check(except(vec![]), json!({"k": true}), false);
    check(except(vec![]), json!({"k": 1.5}), false);
    check(must(field("k", FieldTest::MatchAny(vec![]))), json!({"k": "red"}), false);
}

#[test]
fn kinds_of_values_are_not_mixed_up() {
    let equals = |value| must(field("k", FieldTest::Match(value)));
    check(equals(MatchValue::Integer(1)), json!({"k": 1}), true);
    check(equals(MatchValue::Integer(1)), json!({"k": 1.0}), false);
    check(equals(MatchValue::Integer(1)), json!({"k": "1"}), false);
    check(equals(MatchValue::Integer(-1)), json!({"k": u64::MAX}), false);
    check(equals(MatchValue::Bool(true)), json!({"k": true}), true);
    check(equals(MatchValue::Bool(true)), json!({"k": 1}), false);
    let above = must(field("k", FieldTest::Range(Range { gt: Some(1.0), ..Range::default() })));
    check(above.clone(), json!({"k": 1}), false);
    check(above.clone(), json!({"k": 1.25}), true);
    check(above.clone(), json!({"k": u64::MAX}), true);
    check(above, json!({"k": "2"}), false);
    let day = dvse_types::parse_datetime_micros("2024-02-29").unwrap();
    let since = must(field("k", FieldTest::DatetimeRange(Range { gte: Some(day), ..Range::default() })));
    check(since.clone(), json!({"k": "2024-02-29T01:00:00+01:00"}), true);
    check(since.clone(), json!({"k": "2024-02-28T23:59:59Z"}), false);
    check(since, json!({"k": "soon"}), false);
}

#[test]
fn emptiness_nulls_and_counts() {
    let empty = || must(Condition::IsEmpty("k".parse().unwrap()));
    let null = || must(Condition::IsNull("k".parse().unwrap()));
    let count = |n| {
        must(field("k", FieldTest::ValuesCount(Range { gte: Some(n), lte: Some(n), ..Range::default() })))
    };
    for (payload, is_empty, is_null, values) in [
        (json!({}), true, false, 0),
        (json!({"k": null}), true, true, 0),
        (json!({"k": []}), true, false, 0),
        (json!({"k": [null]}), false, true, 1),
        (json!({"k": [1, 2]}), false, false, 2),
        (json!({"k": {}}), false, false, 1),
        (json!({"k": ""}), false, false, 1),
    ] {
        check(empty(), payload.clone(), is_empty);
        check(null(), payload.clone(), is_null);
        check(count(values), payload.clone(), true);
        check(count(values + 1), payload, false);
    }
}

#[test]
fn a_nested_filter_is_about_one_element() {
    let inner = Filter {
        must: vec![
            field("a", FieldTest::Match(word("x"))),
            field("b", FieldTest::Match(MatchValue::Integer(1))),
        ],
        ..Filter::default()
    };
    let nested = must(Condition::Nested { key: "l".parse().unwrap(), filter: Box::new(inner.clone()) });
    check(nested.clone(), json!({"l": [{"a": "x", "b": 1}]}), true);
    check(nested.clone(), json!({"l": [{"a": "x", "b": 2}, {"a": "y", "b": 1}]}), false);
    check(nested, json!({"l": {"a": "x", "b": 1}}), false);
    let by_id = Filter { must: vec![Condition::HasId(vec![PointId::Num(3)])], ..Filter::default() };
    let refused = must(Condition::Nested { key: "l".parse().unwrap(), filter: Box::new(by_id) });
    let error = CompiledFilter::new(&refused, &schema()).unwrap_err();
    assert_eq!(error, InvalidFilter::InsideNested { condition: "has_id", key: "l".to_owned() });
}

#[test]
fn the_four_parts_hold_together() {
    let is = |text: &str| field("k", FieldTest::Match(word(text)));
    check(Filter::default(), json!({}), true);
    let filter = Filter {
        must: vec![Condition::HasId(vec![PointId::Num(3)]), Condition::HasVector("v".to_owned())],
        should: vec![is("a"), is("b")],
        must_not: vec![is("c")],
        min_should: Some(MinShould { conditions: vec![is("a"), is("b"), is("d")], min_count: 2 }),
    };
    check(filter.clone(), json!({"k": ["a", "b"]}), true);
    check(filter.clone(), json!({"k": ["a", "d"]}), true);
    check(filter.clone(), json!({"k": ["a"]}), false);
    check(filter.clone(), json!({"k": ["a", "b", "c"]}), false);
    check(filter, json!({"k": ["d", "e"]}), false);
    let zero = MinShould { conditions: vec![], min_count: 0 };
    let refused = Filter { min_should: Some(zero), ..Filter::default() };
    assert_eq!(CompiledFilter::new(&refused, &schema()).unwrap_err(), InvalidFilter::MinCountZero);
}

#[test]
fn a_filter_that_nests_too_deep_is_refused() {
    let mut filter = Filter::default();
    for _ in 0..100 {
        filter = must(Condition::Filter(Box::new(filter)));
    }
    assert!(matches!(CompiledFilter::new(&filter, &schema()), Err(InvalidFilter::TooDeep { .. })));
}
