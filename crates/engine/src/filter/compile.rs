//! From the filter as it was asked to one that is quick to test.

use std::collections::HashSet;

use dvse_types::{
    CollectionSchema, Condition, FieldKind, FieldTest, Filter, MatchValue, PayloadPath, PointId, Range,
};

use crate::op_codec::FILTER_DEPTH_MAX;
use crate::payload::parse_uuid;

/// A filter that cannot be evaluated.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidFilter {
    /// It nests too deep.
    #[error("the filter nests deeper than {max} levels")]
    TooDeep {
        /// Levels allowed.
        max: usize,
    },
    /// A condition on the point as a whole stands inside a nested filter, which is about one array element.
    #[error(
        "`{condition}` cannot stand inside `nested` ({key}): it is about the point, not about an array element"
    )]
    InsideNested {
        /// The condition.
        condition: &'static str,
        /// The key of the nested filter.
        key: String,
    },
    /// `min_should` asks for none of its conditions.
    #[error("min_should.min_count is 0, it must be at least 1")]
    MinCountZero,
}

/// A filter ready to be tested.
#[derive(Debug, Clone, Default)]
pub(crate) struct CompiledFilter {
    pub(crate) must: Vec<Node>,
    pub(crate) should: Vec<Node>,
    pub(crate) must_not: Vec<Node>,
    pub(crate) min_should: Option<(usize, Vec<Node>)>,
}

/// One condition.
#[derive(Debug, Clone)]
pub(crate) enum Node {
    Field {
        key: PayloadPath,
        test: Test,
    },
    IsEmpty(PayloadPath),
    IsNull(PayloadPath),
    /// Sorted, no duplicates.
    HasId(Vec<PointId>),
    HasVector(String),
    Nested {
        key: PayloadPath,
        filter: CompiledFilter,
    },
    Filter(CompiledFilter),
}

/// The test of one value.
#[derive(Debug, Clone)]
pub(crate) enum Test {
    Any(ValueSet),
    Except(ValueSet),
    Range(Range<f64>),
    Datetime(Range<i64>),
    ValuesCount(Range<u64>),
}

/// Values to compare with.
#[derive(Debug, Clone, Default)]
pub(crate) struct ValueSet {
    pub(crate) keywords: HashSet<String>,
    /// Only for a field indexed as UUIDs, where all spellings of one are the same value.
    pub(crate) uuids: HashSet<u128>,
    pub(crate) integers: HashSet<i64>,
    pub(crate) bools: Vec<bool>,
}

impl CompiledFilter {
    /// Compiles a filter against the fields a collection indexes.
    pub(crate) fn new(filter: &Filter, schema: &CollectionSchema) -> Result<CompiledFilter, InvalidFilter> {
        compile(filter, schema, None, 0)
    }
}

/// Checks a filter without keeping anything.
pub(crate) fn check(filter: &Filter, schema: &CollectionSchema) -> Result<(), InvalidFilter> {
    CompiledFilter::new(filter, schema).map(drop)
}

fn compile(
    filter: &Filter,
    schema: &CollectionSchema,
    inside: Option<&PayloadPath>,
    depth: usize,
) -> Result<CompiledFilter, InvalidFilter> {
    if depth >= FILTER_DEPTH_MAX {
        return Err(InvalidFilter::TooDeep { max: FILTER_DEPTH_MAX });
    }
    let nodes = |conditions: &[Condition]| {
        conditions
            .iter()
            .map(|condition| node(condition, schema, inside, depth))
            .collect::<Result<Vec<_>, _>>()
    };
    let min_should = match &filter.min_should {
        Some(min_should) if min_should.min_count == 0 => return Err(InvalidFilter::MinCountZero),
        Some(min_should) => Some((min_should.min_count, nodes(&min_should.conditions)?)),
        None => None,
    };
    Ok(CompiledFilter {
        must: nodes(&filter.must)?,
        should: nodes(&filter.should)?,
        must_not: nodes(&filter.must_not)?,
        min_should,
    })
}

fn node(
    condition: &Condition,
    schema: &CollectionSchema,
    inside: Option<&PayloadPath>,
    depth: usize,
) -> Result<Node, InvalidFilter> {
    let refuse_inside = |condition| match inside {
        Some(key) => Err(InvalidFilter::InsideNested { condition, key: key.to_string() }),
        None => Ok(()),
    };
    Ok(match condition {
        Condition::Field { key, test } => {
            // Keys inside a nested filter are relative, so they are not the keys of the schema.
            let uuids = inside.is_none() && schema.payload_indexes.get(key) == Some(&FieldKind::Uuid);
            Node::Field { key: key.clone(), test: compile_test(test, uuids) }
        }
        Condition::IsEmpty(key) => Node::IsEmpty(key.clone()),
        Condition::IsNull(key) => Node::IsNull(key.clone()),
        Condition::HasId(ids) => {
            refuse_inside("has_id")?;
            Node::HasId(sorted_ids(ids))
        }
        Condition::HasVector(name) => {
            refuse_inside("has_vector")?;
            Node::HasVector(name.clone())
        }
        Condition::Nested { key, filter } => {
            Node::Nested { key: key.clone(), filter: compile(filter, schema, Some(key), depth + 1)? }
        }
        Condition::Filter(filter) => Node::Filter(compile(filter, schema, inside, depth + 1)?),
    })
}

fn sorted_ids(ids: &[PointId]) -> Vec<PointId> {
    let mut ids = ids.to_vec();
    ids.sort_unstable();
    ids.dedup();
    ids
}

fn compile_test(test: &FieldTest, uuids: bool) -> Test {
    match test {
        FieldTest::Match(value) => Test::Any(value_set(std::slice::from_ref(value), uuids)),
        FieldTest::MatchAny(values) => Test::Any(value_set(values, uuids)),
        FieldTest::MatchExcept(values) => Test::Except(value_set(values, uuids)),
        FieldTest::Range(range) => Test::Range(*range),
        FieldTest::DatetimeRange(range) => Test::Datetime(*range),
        FieldTest::ValuesCount(range) => Test::ValuesCount(*range),
    }
}

fn value_set(values: &[MatchValue], uuids: bool) -> ValueSet {
    let mut set = ValueSet::default();
    for value in values {
        match value {
            MatchValue::Keyword(text) => match parse_uuid(text) {
                Some(uuid) if uuids => drop(set.uuids.insert(uuid)),
                _ => drop(set.keywords.insert(text.clone())),
            },
            MatchValue::Integer(number) => drop(set.integers.insert(*number)),
            MatchValue::Bool(truth) => set.bools.push(*truth),
        }
    }
    set
}
