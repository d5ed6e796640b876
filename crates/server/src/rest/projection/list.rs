//! A list of points written piece by piece, so that no answer takes more memory than the limit allows.

use dvse_engine::CollectionView;
use dvse_types::{Hit, Metric, PayloadSelector, PointId, Projection, Record, VectorSelector};

use super::body::{PointBody, VectorsOut};
use crate::error::RestError;
use crate::rest::fields::IdBody;

/// How many points are read from the engine at a time.
const POINTS_AT_ONCE: usize = 256;

/// What stands in a list of points: an id, with a score where the list is the answer to a search.
#[derive(Debug, Clone, Copy)]
pub struct ShownPoint {
    /// The point.
    pub id: PointId,
    /// Its score.
    pub score: Option<f32>,
}

impl ShownPoint {
    /// A hit with its distance turned into the score users see.
    #[must_use]
    pub fn hit(hit: &Hit, metric: Metric) -> ShownPoint {
        ShownPoint { id: hit.id, score: Some(metric.score(hit.distance)) }
    }
}

/// Writes lists of points as JSON.
#[derive(Debug)]
pub struct PointList {
    /// The JSON text so far.
    pub json: Vec<u8>,
    bytes_max: usize,
}

impl PointList {
    /// An empty text that may grow to a number of bytes.
    #[must_use]
    pub fn new(bytes_max: usize) -> PointList {
        PointList { json: Vec::new(), bytes_max }
    }

    /// Writes the points as a JSON list, in this order. Points that are not there are left out.
    ///
    /// # Errors
    /// The text grows beyond its limit, or the engine cannot read a point.
    pub fn write(
        &mut self,
        view: &CollectionView,
        points: &[ShownPoint],
        projection: &Projection,
    ) -> Result<(), RestError> {
        let bare = projection.payload == PayloadSelector::None && projection.vectors == VectorSelector::None;
        let scored = points.iter().all(|point| point.score.is_some());
        self.json.push(b'[');
        let mut first = true;
        for points in points.chunks(POINTS_AT_ONCE) {
            let ids: Vec<PointId> = points.iter().map(|point| point.id).collect();
            let records = if bare && scored {
                // Hits come from this very view, so they need no look-up.
                ids.into_iter().map(|id| Record { id, payload: None, vectors: None }).collect()
            } else {
                view.retrieve(&ids, projection).map_err(|error| RestError::engine(&error))?
            };
            let mut points = points.iter();
            for record in &records {
                // Records come in the order of the ids, some left out.
                let score = points.find(|point| point.id == record.id).and_then(|point| point.score);
                if !std::mem::take(&mut first) {
                    self.json.push(b',');
                }
                self.write_record(record, score)?;
            }
        }
        self.json.push(b']');
        Ok(())
    }

    /// Writes one point.
    ///
    /// # Errors
    /// The text grows beyond its limit.
    pub fn write_record(&mut self, record: &Record, score: Option<f32>) -> Result<(), RestError> {
        let body = PointBody {
            id: IdBody(record.id),
            // Points have no version of their own here; clients ask for the field.
            version: score.map(|_| 0),
            score,
            payload: record.payload.as_ref(),
            vector: record.vectors.as_ref().map(VectorsOut),
        };
        serde_json::to_writer(&mut self.json, &body)?;
        if self.json.len() <= self.bytes_max {
            return Ok(());
        }
        Err(RestError::AboveLimit {
            what: "bytes in the reply",
            got: self.json.len(),
            max: self.bytes_max,
            setting: Some("limits.reply_bytes_max"),
        })
    }
}
