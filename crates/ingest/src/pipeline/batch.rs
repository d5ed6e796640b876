//! Records on their way: decoded, then with vectors, then one change a point.

use std::collections::HashSet;

use dvse_types::{PointId, Vector};
use serde_json::{Map, Value};

use crate::log::Record;
use crate::raw_event::{Content, Poison, RawChange, RawEvent};
use crate::sink::{Change, Sink};
use dvse_types::Position;

/// A record and what is known of it.
#[derive(Debug)]
pub(super) struct Item {
    pub record: Record,
    pub state: State,
    /// Whether its dead letter is written.
    pub lettered: bool,
}

/// What is known of a record.
#[derive(Debug)]
pub(super) enum State {
    /// It waits for its vector.
    Text { id: PointId, text: String, payload: Map<String, Value> },
    /// It is complete.
    Ready(Change),
    /// Nothing can be made of it.
    Poison(Poison),
}

impl Item {
    pub(super) fn decode(record: Record, sink: &dyn Sink) -> Item {
        let state = match RawEvent::decode(&record.payload, sink.dim()) {
            Ok(RawEvent { id, change: RawChange::Delete }) => State::Ready(Change::Delete { id }),
            Ok(RawEvent { id, change: RawChange::Upsert { content, payload } }) => match content {
                Content::Vector(vector) => match sink.objection(&vector) {
                    None => State::Ready(Change::Upsert { id, vector: vector.into(), payload }),
                    Some(objection) => State::Poison(Poison::Refused(objection)),
                },
                Content::Text(text) => State::Text { id, text, payload },
            },
            Err(poison) => State::Poison(poison),
        };
        Item { record, state, lettered: false }
    }

    pub(super) fn id(&self) -> Option<PointId> {
        match &self.state {
            State::Text { id, .. } => Some(*id),
            State::Ready(change) => Some(change.id()),
            State::Poison(_) => None,
        }
    }

    /// Gives the record its vector.
    pub(super) fn complete(&mut self, vector: Vector) {
        if let State::Text { id, payload, .. } = &mut self.state {
            let (id, payload) = (*id, std::mem::take(payload));
            self.state = State::Ready(Change::Upsert { id, vector, payload });
        }
    }
}

/// Returns which of the records count: of those of one point the last, in the order of the records.
///
/// The others would not be seen by anybody, as a batch takes effect as a whole; and only what the collection holds after the
/// batch can be read again to publish it after a crash.
pub(super) fn last_of_each_point(items: &[Item]) -> Vec<usize> {
    let mut seen = HashSet::new();
    let mut kept: Vec<usize> = (0..items.len())
        .rev()
        .filter(|index| items.get(*index).and_then(Item::id).is_some_and(|id| seen.insert(id)))
        .collect();
    kept.reverse();
    kept
}

/// A change with the place of the record that asked for it.
#[derive(Debug)]
pub(super) struct Placed {
    pub position: Position,
    pub ordinal: u32,
}
