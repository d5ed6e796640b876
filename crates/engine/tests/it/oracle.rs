//! A collection as an ordered map, with every answer found by looking at everything.

use std::collections::BTreeMap;

use dvse_types::*;
use serde_json::Value;

/// The points of a collection, vectors as the engine stores them.
#[derive(Debug, Clone, Default)]
pub struct Oracle {
    pub schema: Option<CollectionSchema>,
    pub points: BTreeMap<PointId, (NamedVectors, Payload)>,
    pub sources: BTreeMap<(StreamName, u32), SourceState>,
}

/// What becomes of a batch.
#[derive(Debug, PartialEq)]
pub enum Answer {
    /// For each operation how many points it touched.
    Touched(Vec<usize>),
    Duplicate(Position, SeqNo),
    Fenced,
}

impl Oracle {
    pub fn new(schema: CollectionSchema) -> Oracle {
        Oracle { schema: Some(schema), ..Oracle::default() }
    }

    fn schema(&self) -> &CollectionSchema {
        self.schema.as_ref().unwrap()
    }

    fn stored(&self, name: &str, vector: &[f32]) -> Vec<f32> {
        let mut vector = vector.to_vec();
        if self.schema().vectors[name].metric == Metric::Cosine {
            dvse_index::normalize(&mut vector);
        }
        vector
    }

    fn stored_all(&self, vectors: &NamedVectors) -> NamedVectors {
        vectors.iter().map(|(name, vector)| (name.clone(), self.stored(name, vector).into())).collect()
    }

    /// Carries out a batch that gets this place in the log if it takes effect.
    pub fn write(&mut self, seq: SeqNo, batch: &WriteBatch) -> Answer {
        if let Some(mark) = &batch.source {
            match self.sources.get_mut(&(mark.stream.clone(), mark.partition)) {
                Some(state) if state.epoch == mark.epoch => match state.position {
                    Some(stored) if stored.0 >= mark.position.0 => {
                        return Answer::Duplicate(stored, state.seq);
                    }
                    _ => (state.position, state.seq) = (Some(mark.position), seq),
                },
                _ => return Answer::Fenced,
            }
        }
        Answer::Touched(batch.ops.iter().map(|op| self.apply_op(op)).collect())
    }

    /// As a view lists them.
    pub fn sources(&self) -> Vec<(StreamName, u32, SourceState)> {
        let sources = self.sources.iter();
        sources.map(|((stream, partition), state)| (stream.clone(), *partition, *state)).collect()
    }

    fn apply_op(&mut self, op: &WriteOp) -> usize {
        match op {
            WriteOp::Upsert(points) => {
                for point in points {
                    let vectors = self.stored_all(&point.vectors);
                    self.points.insert(point.id, (vectors, point.payload.clone()));
                }
                points.len()
            }
            WriteOp::Delete(selector) => {
                let ids = self.select(selector);
                ids.iter().for_each(|id| drop(self.points.remove(id)));
                ids.len()
            }
            WriteOp::UpdateVectors(points) => {
                let mut touched = 0;
                for point in points {
                    let vectors = self.stored_all(&point.vectors);
                    if let Some((old, _)) = self.points.get_mut(&point.id) {
                        old.extend(vectors);
                        touched += 1;
                    }
                }
                touched
            }
            WriteOp::DeleteVectors { points, names } => self.change(points, |vectors, _| {
                names.iter().for_each(|name| drop(vectors.remove(name)));
            }),
            WriteOp::SetPayload { points, payload: patch, key } => {
                self.change(points, |_, payload| match key {
                    Some(key) => key.merge(payload, patch),
                    None => payload.extend(patch.clone()),
                })
            }
            WriteOp::OverwritePayload { points, payload: new } => {
                self.change(points, |_, payload| *payload = new.clone())
            }
            WriteOp::DeletePayload { points, keys } => {
                self.change(points, |_, payload| keys.iter().for_each(|key| key.remove(payload)))
            }
            WriteOp::ClearPayload(points) => self.change(points, |_, payload| payload.clear()),
            WriteOp::CreateFieldIndex { field, kind } => {
                self.schema.as_mut().unwrap().payload_indexes.insert(field.clone(), *kind);
                0
            }
            WriteOp::DeleteFieldIndex(field) => {
                self.schema.as_mut().unwrap().payload_indexes.remove(field);
                0
            }
            WriteOp::SetIndex { vector, index } => {
                let params = self.schema.as_mut().unwrap().vectors.get_mut(vector).unwrap();
                params.index = *index;
                0
            }
            WriteOp::SetOnDisk { vector, on_disk } => {
                self.schema.as_mut().unwrap().vectors.get_mut(vector).unwrap().on_disk = *on_disk;
                0
            }
            WriteOp::TakeOver { stream, partition } => {
                let none = SourceState { epoch: 0, position: None, seq: SeqNo(0) };
                self.sources.entry((stream.clone(), *partition)).or_insert(none).epoch += 1;
                0
            }
        }
    }

    fn change(
        &mut self,
        selector: &PointSelector,
        change: impl Fn(&mut NamedVectors, &mut Payload),
    ) -> usize {
        let ids = self.select(selector);
        for id in &ids {
            let (vectors, payload) = self.points.get_mut(id).unwrap();
            change(vectors, payload);
        }
        ids.len()
    }

    fn select(&self, selector: &PointSelector) -> Vec<PointId> {
        match selector {
            PointSelector::Ids(ids) => {
                let mut ids: Vec<_> = ids.iter().filter(|id| self.points.contains_key(id)).copied().collect();
                ids.sort();
                ids.dedup();
                ids
            }
            PointSelector::Filter(filter) => self.passing(Some(filter)),
        }
    }

    pub fn passing(&self, filter: Option<&Filter>) -> Vec<PointId> {
        let passes = |id: &PointId, (vectors, payload): &(NamedVectors, Payload)| {
            filter.is_none_or(|filter| self.passes(filter, Some((*id, vectors)), payload))
        };
        self.points.iter().filter(|(id, point)| passes(id, point)).map(|(id, _)| *id).collect()
    }

    /// All passing points with the vector, nearest first.
    pub fn nearest(&self, name: &str, query: &[f32], filter: Option<&Filter>) -> Vec<(f32, PointId)> {
        let metric = self.schema().vectors[name].metric;
        let query = self.stored(name, query);
        let mut found: Vec<_> = self
            .passing(filter)
            .into_iter()
            .filter_map(|id| {
                self.points[&id].0.get(name).map(|vector| (distance(metric, &query, vector), id))
            })
            .collect();
        found.sort_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
        found
    }

    fn passes(&self, filter: &Filter, point: Option<(PointId, &NamedVectors)>, payload: &Payload) -> bool {
        let holds = |condition: &Condition| self.holds(condition, point, payload);
        filter.must.iter().all(holds)
            && (filter.should.is_empty() || filter.should.iter().any(holds))
            && !filter.must_not.iter().any(holds)
            && filter
                .min_should
                .as_ref()
                .is_none_or(|min| min.conditions.iter().filter(|c| holds(c)).count() >= min.min_count)
    }

    fn holds(
        &self,
        condition: &Condition,
        point: Option<(PointId, &NamedVectors)>,
        payload: &Payload,
    ) -> bool {
        match condition {
            Condition::Field { key, test } => {
                let uuids =
                    point.is_some() && self.schema().payload_indexes.get(key) == Some(&FieldKind::Uuid);
                let found = values(key, payload);
                if let FieldTest::ValuesCount(range) = test {
                    return match found.as_slice() {
                        [] => range.contains(0),
                        found => found.iter().any(|value| {
                            range.contains(match value {
                                Value::Null => 0,
                                Value::Array(elements) => elements.len() as u64,
                                _ => 1,
                            })
                        }),
                    };
                }
                flat(found).iter().any(|value| passes_test(test, value, uuids))
            }
            Condition::IsEmpty(key) => {
                values(key, payload).iter().all(|value| value.is_null() || **value == Value::Array(vec![]))
            }
            Condition::IsNull(key) => flat(values(key, payload)).iter().any(|value| value.is_null()),
            Condition::HasId(ids) => ids.contains(&point.unwrap().0),
            Condition::HasVector(name) => point.unwrap().1.contains_key(name),
            Condition::Nested { key, filter } => values(key, payload).iter().any(|value| {
                value.as_array().is_some_and(|elements| {
                    elements.iter().any(|element| {
                        element.as_object().is_some_and(|object| self.passes(filter, None, object))
                    })
                })
            }),
            Condition::Filter(filter) => self.passes(filter, point, payload),
        }
    }
}

fn values<'v>(key: &PayloadPath, payload: &'v Payload) -> Vec<&'v Value> {
    let mut found = Vec::new();
    key.visit(payload, &mut |value| found.push(value));
    found
}

fn flat(values: Vec<&Value>) -> Vec<&Value> {
    let mut flat = Vec::new();
    for value in values {
        match value {
            Value::Array(elements) => flat.extend(elements),
            other => flat.push(other),
        }
    }
    flat
}

fn passes_test(test: &FieldTest, value: &Value, uuids: bool) -> bool {
    let equal = |wanted: &MatchValue| match (wanted, value) {
        (MatchValue::Keyword(wanted), Value::String(text)) => {
            let same_uuid = match (wanted.parse::<PointId>(), text.parse::<PointId>()) {
                (Ok(a @ PointId::Uuid(_)), Ok(b)) => a == b,
                _ => false,
            };
            wanted == text || (uuids && same_uuid)
        }
        (MatchValue::Integer(wanted), Value::Number(number)) => {
            !number.is_f64() && number.as_i64() == Some(*wanted)
        }
        (MatchValue::Bool(wanted), Value::Bool(truth)) => wanted == truth,
        _ => false,
    };
    match test {
        FieldTest::Match(wanted) => equal(wanted),
        FieldTest::MatchAny(wanted) => wanted.iter().any(equal),
        FieldTest::MatchExcept(wanted) => {
            let comparable = match value {
                Value::String(_) => true,
                Value::Number(number) => !number.is_f64(),
                _ => false,
            };
            comparable && !wanted.iter().any(equal)
        }
        FieldTest::Range(range) => value.as_f64().is_some_and(|number| range.contains(number)),
        FieldTest::DatetimeRange(range) => {
            value.as_str().and_then(parse_datetime_micros).is_some_and(|micros| range.contains(micros))
        }
        FieldTest::ValuesCount(_) => false,
    }
}

fn distance(metric: Metric, a: &[f32], b: &[f32]) -> f32 {
    let sum: f64 = match metric {
        Metric::L2 => a.iter().zip(b).map(|(a, b)| (f64::from(*a) - f64::from(*b)).powi(2)).sum(),
        _ => a.iter().zip(b).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum(),
    };
    (match metric {
        Metric::L2 => sum,
        Metric::InnerProduct => -sum,
        Metric::Cosine => 1.0 - sum,
    }) as f32
}
