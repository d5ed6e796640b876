//! A collection in memory that keeps marks as the real one does, and fails when told to; and a model that is arithmetic.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use dvse_ingest::pipeline::Parts;
use dvse_ingest::{Change, EmbedFailure, Embedder, Pending, Sink, SinkError, Written};
use dvse_types::{PointId, Position, SeqNo, SourceMark, SourceState, StreamName, Vector};
use serde_json::{Map, Value};

pub const DIM: usize = 3;

/// How a call fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// Nothing happens, and the caller is told to try again.
    Busy,
    /// It happens, and the answer is lost.
    AnswerLost,
    /// The worker dies before it happens.
    CrashBefore,
    /// It happens, and the worker dies before it learns of it.
    CrashAfter,
}

/// A point: vector and payload.
pub type Held = (Vector, Map<String, Value>);

#[derive(Debug, Default)]
pub struct Collection {
    pub points: BTreeMap<PointId, Held>,
    pub sources: BTreeMap<(StreamName, u32), SourceState>,
    /// Each entry that was committed: its number, its mark and its changes.
    pub entries: Vec<(u64, SourceMark, Vec<Change>)>,
    pub seq: u64,
    pub calls: u64,
    /// Faults by number of the call, from 1.
    pub faults: BTreeMap<u64, Fault>,
}

/// A handle that is shared by workers and tests.
#[derive(Debug, Clone, Default)]
pub struct Shared(pub Arc<Mutex<Collection>>);

impl Shared {
    fn call<T>(&self, work: impl FnOnce(&mut Collection) -> Result<T, SinkError>) -> Result<T, SinkError> {
        let mut collection = self.0.lock().unwrap();
        collection.calls += 1;
        let call = collection.calls;
        let fault = collection.faults.get(&call).copied();
        let died = || SinkError::Hopeless("the worker died".to_owned());
        let busy = || SinkError::Unavailable("busy".to_owned());
        match fault {
            Some(Fault::Busy) => return Err(busy()),
            Some(Fault::CrashBefore) => return Err(died()),
            _ => {}
        }
        let done = work(&mut collection);
        match fault {
            Some(Fault::AnswerLost) => Err(busy()),
            Some(Fault::CrashAfter) => Err(died()),
            _ => done,
        }
    }
}

impl Collection {
    fn take_over(&mut self, stream: &StreamName, partition: u32) -> SourceState {
        let first = SourceState { epoch: 0, position: None, seq: SeqNo(0) };
        let state = self.sources.entry((stream.clone(), partition)).or_insert(first);
        state.epoch += 1;
        *state
    }

    fn write(&mut self, changes: &[Change], mark: &SourceMark) -> Result<Written, SinkError> {
        let Some(state) = self.sources.get_mut(&(mark.stream.clone(), mark.partition)) else {
            return Err(SinkError::Fenced("nobody took it over".to_owned()));
        };
        if state.epoch != mark.epoch {
            return Err(SinkError::Fenced(format!("epoch {} is over, it is {}", mark.epoch, state.epoch)));
        }
        if let Some(position) = state.position
            && mark.position <= position
        {
            return Ok(Written::Duplicate { position, seq: state.seq.0 });
        }
        let is_refused = |change: &Change| matches!(change, Change::Upsert { payload, .. } if payload.contains_key("refuse"));
        if changes.iter().any(is_refused) {
            return Err(SinkError::Refused("it says so".to_owned()));
        }
        self.seq += 1;
        *state = SourceState { position: Some(mark.position), seq: SeqNo(self.seq), ..*state };
        for change in changes {
            match change {
                Change::Upsert { id, vector, payload } => {
                    self.points.insert(*id, (vector.clone(), payload.clone()));
                }
                Change::Delete { id } => drop(self.points.remove(id)),
            }
        }
        self.entries.push((self.seq, mark.clone(), changes.to_vec()));
        Ok(Written::Applied { seq: self.seq })
    }

    /// The mark of a partition.
    pub fn mark(&self, partition: u32) -> Option<Position> {
        self.sources.iter().find(|((_, number), _)| *number == partition)?.1.position
    }
}

impl Sink for Shared {
    fn dim(&self) -> usize {
        DIM
    }

    fn objection(&self, vector: &[f32]) -> Option<String> {
        vector.iter().all(|value| *value == 0.0).then(|| "no direction".to_owned())
    }

    fn take_over<'a>(
        &'a mut self,
        stream: &'a StreamName,
        partition: u32,
    ) -> Pending<'a, Result<SourceState, SinkError>> {
        Box::pin(async move { self.call(|collection| Ok(collection.take_over(stream, partition))) })
    }

    fn write<'a>(
        &'a mut self,
        changes: &'a [Change],
        mark: &'a SourceMark,
    ) -> Pending<'a, Result<Written, SinkError>> {
        Box::pin(async move { self.call(|collection| collection.write(changes, mark)) })
    }

    fn vectors<'a>(
        &'a mut self,
        ids: &'a [PointId],
    ) -> Pending<'a, Result<Vec<Option<Vec<f32>>>, SinkError>> {
        Box::pin(async move {
            self.call(|collection| {
                Ok(ids
                    .iter()
                    .map(|id| collection.points.get(id).map(|(vector, _)| vector.to_vec()))
                    .collect())
            })
        })
    }
}

/// A model whose vectors are never the same twice in their last number, as those of some real ones.
#[derive(Debug, Clone, Default)]
pub struct Restless(Arc<Mutex<u32>>);

impl Restless {
    /// What of a vector the text decides.
    pub fn of(text: &str) -> [f32; 2] {
        [text.len() as f32, f32::from(text.as_bytes()[0])]
    }
}

impl Embedder for Restless {
    fn embed(&mut self, texts: &[&str]) -> Result<Vec<Vector>, EmbedFailure> {
        let mut calls = self.0.lock().unwrap();
        *calls += 1;
        if let Some(index) = texts.iter().position(|text| text.is_empty()) {
            return Err(EmbedFailure::Text { index, reason: "it is empty".to_owned() });
        }
        let call = *calls;
        Ok(texts.iter().map(|text| [&Restless::of(text)[..], &[call as f32]].concat().into()).collect())
    }
}

/// What the workers of a test get.
#[derive(Debug, Clone, Default)]
pub struct TestParts {
    pub sink: Shared,
    pub model: Restless,
}

impl Parts for TestParts {
    fn sink(&self) -> Box<dyn Sink> {
        Box::new(self.sink.clone())
    }

    fn embedder(&self) -> Box<dyn Embedder> {
        Box::new(self.model.clone())
    }
}
