//! From the JSON of a filter to its conditions, within limits.

use dvse_types::{
    Condition, FieldTest, Filter, MatchValue, MinShould, PayloadPath, PointId, Range, parse_datetime_micros,
};

use super::body::{
    BoundBody, ConditionBody, FilterBody, KeyOrFlag, MatchBody, MatchValueBody, MinShouldBody, RangeBody,
};
use crate::error::RestError;
use crate::rest::fields::OneOrMany;

/// What a filter may be.
#[derive(Debug, Clone, Copy)]
pub struct FilterLimits {
    /// Levels.
    pub depth_max: usize,
    /// Conditions, those of inner filters included.
    pub conditions_max: usize,
}

/// Reads a filter from JSON text.
///
/// # Errors
/// The text is not JSON, not a filter, or a filter above a limit.
pub fn filter_from_json(json: &[u8], limits: FilterLimits) -> Result<Filter, RestError> {
    read_filter(serde_json::from_slice(json)?, limits)
}

/// Checks a filter and takes it over.
///
/// # Errors
/// Parts do not fit together, a key is none, or it is above a limit.
pub fn read_filter(body: FilterBody, limits: FilterLimits) -> Result<Filter, RestError> {
    Reader { limits, conditions: 0, nested: false }.filter(body, 1)
}

struct Reader {
    limits: FilterLimits,
    /// Conditions seen so far.
    conditions: usize,
    /// Whether the conditions are about an element of an array.
    nested: bool,
}

impl Reader {
    fn filter(&mut self, body: FilterBody, depth: usize) -> Result<Filter, RestError> {
        self.check_depth(depth)?;
        Ok(Filter {
            must: self.conditions(body.must, depth)?,
            should: self.conditions(body.should, depth)?,
            must_not: self.conditions(body.must_not, depth)?,
            min_should: body.min_should.map(|inner| self.min_should(inner, depth)).transpose()?,
        })
    }

    fn min_should(&mut self, body: MinShouldBody, depth: usize) -> Result<MinShould, RestError> {
        let min_count = usize::try_from(body.min_count).unwrap_or(usize::MAX);
        if min_count == 0 {
            let rule = "1 or larger".to_owned();
            return Err(RestError::OutOfRange {
                field: "filter.min_should.min_count",
                got: "0".to_owned(),
                rule,
            });
        }
        Ok(MinShould { conditions: self.conditions(OneOrMany(body.conditions), depth)?, min_count })
    }

    fn conditions(
        &mut self,
        bodies: OneOrMany<ConditionBody>,
        depth: usize,
    ) -> Result<Vec<Condition>, RestError> {
        self.conditions = self.conditions.saturating_add(bodies.0.len());
        if self.conditions > self.limits.conditions_max {
            return Err(RestError::AboveLimit {
                what: "conditions in a filter",
                got: self.conditions,
                max: self.limits.conditions_max,
                setting: Some("limits.filter_conditions_max"),
            });
        }
        bodies.0.into_iter().map(|body| self.condition(body, depth)).collect()
    }

    fn condition(&mut self, mut body: ConditionBody, depth: usize) -> Result<Condition, RestError> {
        body.slice.refuse("slice")?;
        if let Some(key) = body.key.take() {
            return field_condition(key.parse()?, body);
        }
        let condition = if let Some(KeyOrFlag::Key(key)) = body.is_empty.take() {
            Condition::IsEmpty(key.parse()?)
        } else if let Some(KeyOrFlag::Key(key)) = body.is_null.take() {
            Condition::IsNull(key.parse()?)
        } else if let Some(ids) = body.has_id.take() {
            self.refuse_nested("has_id")?;
            let mut ids: Vec<PointId> = ids.into_iter().map(|id| id.0).collect();
            ids.sort_unstable();
            ids.dedup();
            Condition::HasId(ids)
        } else if let Some(name) = body.has_vector.take() {
            self.refuse_nested("has_vector")?;
            Condition::HasVector(name)
        } else if let Some(nested) = body.nested.take() {
            let outer = std::mem::replace(&mut self.nested, true);
            let filter = self.filter(nested.filter, depth + 1)?;
            self.nested = outer;
            Condition::Nested { key: nested.key.parse()?, filter: Box::new(filter) }
        } else if let Some(filter) = body.filter.take() {
            Condition::Filter(Box::new(self.filter(*filter, depth + 1)?))
        } else {
            let inner = FilterBody {
                must: body.must.take().unwrap_or_default(),
                should: body.should.take().unwrap_or_default(),
                must_not: body.must_not.take().unwrap_or_default(),
                min_should: body.min_should.take().map(|inner| *inner),
            };
            Condition::Filter(Box::new(self.filter(inner, depth + 1)?))
        };
        // Whatever is still there belongs to another kind of condition.
        if body != ConditionBody::default() {
            return Err(RestError::misfit("filter", "a condition holds the fields of several conditions"));
        }
        Ok(condition)
    }

    fn check_depth(&self, depth: usize) -> Result<(), RestError> {
        if depth <= self.limits.depth_max {
            return Ok(());
        }
        Err(RestError::AboveLimit {
            what: "levels of a filter",
            got: depth,
            max: self.limits.depth_max,
            setting: Some("limits.filter_depth_max"),
        })
    }

    fn refuse_nested(&self, field: &str) -> Result<(), RestError> {
        if self.nested {
            return Err(RestError::misfit(
                "filter.nested",
                format!("`{field}` is about points, not about elements"),
            ));
        }
        Ok(())
    }
}

/// Reads a condition that has a key: exactly one test must stand beside it.
fn field_condition(key: PayloadPath, mut body: ConditionBody) -> Result<Condition, RestError> {
    body.geo_bounding_box.refuse("geo_bounding_box")?;
    body.geo_radius.refuse("geo_radius")?;
    body.geo_polygon.refuse("geo_polygon")?;
    let mut found = Vec::new();
    if let Some(matches) = body.matches.take() {
        found.push(Condition::Field { key: key.clone(), test: match_test(*matches)? });
    }
    if let Some(range) = body.range.take() {
        found.push(Condition::Field { key: key.clone(), test: range_test(&range)? });
    }
    if let Some(count) = body.values_count.take() {
        let range = Range { gt: count.gt, gte: count.gte, lt: count.lt, lte: count.lte };
        found.push(Condition::Field { key: key.clone(), test: FieldTest::ValuesCount(range) });
    }
    for (flag, make) in [
        (body.is_empty.take(), Condition::IsEmpty as fn(PayloadPath) -> Condition),
        (body.is_null.take(), Condition::IsNull),
    ] {
        match flag {
            Some(KeyOrFlag::Flag(true)) => found.push(make(key.clone())),
            Some(KeyOrFlag::Flag(false)) => {
                let must_not = vec![make(key.clone())];
                found.push(Condition::Filter(Box::new(Filter { must_not, ..Filter::default() })));
            }
            Some(KeyOrFlag::Key(_)) => {
                return Err(RestError::misfit("filter", "a condition names two keys"));
            }
            None => {}
        }
    }
    if body != ConditionBody::default() {
        return Err(RestError::misfit("filter", "a condition holds the fields of several conditions"));
    }
    let mut found = found.into_iter();
    match (found.next(), found.next()) {
        (Some(condition), None) => Ok(condition),
        (None, _) => Err(RestError::misfit(
            "filter",
            format!(
                "the condition on `{key}` has no test; give match, range, values_count, is_empty or is_null"
            ),
        )),
        (Some(_), Some(_)) => Err(RestError::misfit(
            "filter",
            format!("the condition on `{key}` has several tests; write one condition for each"),
        )),
    }
}

fn match_test(body: MatchBody) -> Result<FieldTest, RestError> {
    body.text.refuse("match.text")?;
    body.text_any.refuse("match.text_any")?;
    body.phrase.refuse("match.phrase")?;
    body.prefix.refuse("match.prefix")?;
    body.substring.refuse("match.substring")?;
    let values =
        |list: Vec<MatchValueBody>| list.into_iter().map(|value| value.0).collect::<Vec<MatchValue>>();
    match (body.value, body.any, body.except) {
        (Some(value), None, None) => Ok(FieldTest::Match(value.0)),
        (None, Some(any), None) => Ok(FieldTest::MatchAny(values(any))),
        (None, None, Some(except)) => Ok(FieldTest::MatchExcept(values(except))),
        _ => Err(RestError::misfit("filter.match", "it must hold exactly one of value, any and except")),
    }
}

fn range_test(body: &RangeBody) -> Result<FieldTest, RestError> {
    let bounds = [&body.gt, &body.gte, &body.lt, &body.lte];
    if bounds.iter().any(|bound| matches!(bound, Some(BoundBody::Date(_)))) {
        return Ok(FieldTest::DatetimeRange(Range {
            gt: date_bound(body.gt.as_ref())?,
            gte: date_bound(body.gte.as_ref())?,
            lt: date_bound(body.lt.as_ref())?,
            lte: date_bound(body.lte.as_ref())?,
        }));
    }
    let number = |bound: &Option<BoundBody>| match bound {
        Some(BoundBody::Number(value)) => Some(*value),
        _ => None,
    };
    Ok(FieldTest::Range(Range {
        gt: number(&body.gt),
        gte: number(&body.gte),
        lt: number(&body.lt),
        lte: number(&body.lte),
    }))
}

fn date_bound(bound: Option<&BoundBody>) -> Result<Option<i64>, RestError> {
    match bound {
        None => Ok(None),
        Some(BoundBody::Number(value)) => Err(RestError::misfit(
            "filter.range",
            format!("{value} is a number, but another bound is a date"),
        )),
        Some(BoundBody::Date(text)) => match parse_datetime_micros(text) {
            Some(micros) => Ok(Some(micros)),
            None => Err(RestError::misfit("filter.range", format!("{text:?} is not an RFC 3339 date"))),
        },
    }
}
