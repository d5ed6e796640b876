//! Whether one point passes, by looking at it.

use dvse_types::{Payload, PointId, Value, parse_datetime_micros};

use super::compile::{CompiledFilter, Node, Test, ValueSet};
use crate::payload::{for_each_value, parse_uuid};

/// What a filter can ask about a point.
pub(crate) struct PointFacts<'a> {
    pub(crate) id: Option<PointId>,
    pub(crate) payload: &'a Payload,
    pub(crate) has_vector: &'a dyn Fn(&str) -> bool,
}

impl CompiledFilter {
    /// Whether a point passes.
    pub(crate) fn passes(&self, point: &PointFacts<'_>) -> bool {
        self.must.iter().all(|node| node.holds(point))
            && (self.should.is_empty() || self.should.iter().any(|node| node.holds(point)))
            && !self.must_not.iter().any(|node| node.holds(point))
            && self.min_should.as_ref().is_none_or(|(min_count, nodes)| {
                nodes.iter().filter(|node| node.holds(point)).take(*min_count).count() == *min_count
            })
    }
}

impl Node {
    /// Whether the condition holds for a point.
    pub(crate) fn holds(&self, point: &PointFacts<'_>) -> bool {
        match self {
            Node::Field { key, test: Test::ValuesCount(range) } => {
                let mut visited = false;
                let mut passes = false;
                key.visit(point.payload, &mut |value| {
                    visited = true;
                    passes |= range.contains(values_count(value));
                });
                passes || (!visited && range.contains(0))
            }
            Node::Field { key, test } => {
                let mut passes = false;
                for_each_value(key, point.payload, &mut |value| passes = passes || test.passes(value));
                passes
            }
            Node::IsEmpty(key) => {
                let mut empty = true;
                key.visit(point.payload, &mut |value| {
                    empty &= match value {
                        Value::Null => true,
                        Value::Array(elements) => elements.is_empty(),
                        _ => false,
                    };
                });
                empty
            }
            Node::IsNull(key) => {
                let mut null = false;
                for_each_value(key, point.payload, &mut |value| null |= value.is_null());
                null
            }
            Node::HasId(ids) => point.id.is_some_and(|id| ids.binary_search(&id).is_ok()),
            Node::HasVector(name) => (point.has_vector)(name),
            Node::Nested { key, filter } => {
                let mut passes = false;
                key.visit(point.payload, &mut |value| {
                    let Value::Array(elements) = value else { return };
                    passes = passes || elements.iter().any(|element| passes_nested(filter, element));
                });
                passes
            }
            Node::Filter(filter) => filter.passes(point),
        }
    }
}

fn passes_nested(filter: &CompiledFilter, element: &Value) -> bool {
    let Value::Object(payload) = element else { return false };
    filter.passes(&PointFacts { id: None, payload, has_vector: &|_| false })
}

fn values_count(value: &Value) -> u64 {
    match value {
        Value::Null => 0,
        Value::Array(elements) => elements.len() as u64,
        _ => 1,
    }
}

impl Test {
    fn passes(&self, value: &Value) -> bool {
        match self {
            Test::Any(set) => set.contains(value),
            Test::Except(set) => {
                let comparable = value.is_string() || value.as_i64().is_some() || value.as_u64().is_some();
                comparable && !set.contains(value)
            }
            Test::Range(range) => value.as_f64().is_some_and(|number| range.contains(number)),
            Test::Datetime(range) => {
                value.as_str().and_then(parse_datetime_micros).is_some_and(|micros| range.contains(micros))
            }
            Test::ValuesCount(_) => false,
        }
    }
}

impl ValueSet {
    fn contains(&self, value: &Value) -> bool {
        match value {
            Value::String(text) => {
                self.keywords.contains(text)
                    || (!self.uuids.is_empty()
                        && parse_uuid(text).is_some_and(|uuid| self.uuids.contains(&uuid)))
            }
            Value::Number(number) => number.as_i64().is_some_and(|number| self.integers.contains(&number)),
            Value::Bool(truth) => self.bools.contains(truth),
            _ => false,
        }
    }
}

#[cfg(test)]
mod tests;
