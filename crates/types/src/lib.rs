//! The shared vocabulary of DVSE: plain data, all fields meaningful, no behaviour beyond validation.
//!
//! Read [`PointId`], [`Metric`], [`Point`], [`CollectionSchema`], [`WriteOp`], [`SourceMark`], [`Filter`] and
//! [`SearchRequest`], in this order. The crate knows no files, no sockets, no formats and no kernels. JSON appears only as the
//! value type of payloads, which are JSON objects.
//!
//! ```
//! use dvse_types::{CollectionSchema, Metric, PointId};
//!
//! let schema = CollectionSchema::single(3, Metric::Cosine);
//! assert!(schema.validate().is_ok());
//! assert!(schema.check_vector("", &[1.0, 0.0, 0.0]).is_ok());
//! assert!(schema.check_vector("", &[1.0, f32::NAN, 0.0]).is_err());
//! assert_eq!("42".parse(), Ok(PointId::Num(42)));
//! ```

mod datetime;
mod error_kind;
mod filter;
mod id;
mod metric;
mod op;
mod payload;
mod point;
mod schema;
mod search;
mod source;
pub mod turn;
mod vector;

pub use datetime::parse_datetime_micros;
pub use error_kind::{Classify, ErrorKind};
pub use filter::{Condition, FieldTest, Filter, MatchValue, MinShould, Range};
pub use id::{ParsePointIdError, PointId, RowId, SeqNo};
pub use metric::Metric;
pub use op::{PointSelector, WriteBatch, WriteOp};
pub use payload::{NESTING_MAX, ParsePathError, PathStep, Payload, PayloadPath, Value, depth};
pub use point::{PayloadSelector, Point, PointVectors, Projection, Record, VectorSelector};
pub use schema::{
    CODES_MAX, CollectionSchema, FieldKind, HnswSpec, IndexSpec, InvalidSchema, IvfPqSpec,
    PAYLOAD_INDEXES_MAX, Quantization, Rerank, VECTOR_FIELDS_MAX, VectorParams,
};
pub use search::{FacetCount, Hit, Rescore, SearchParams, SearchRequest, SearchResult, SearchStats};
pub use source::{
    InvalidStreamName, ParsePositionError, Position, SOURCES_MAX, STREAM_NAME_BYTES_MAX, SourceMark,
    SourceState, StreamName,
};
pub use vector::{DIM_MAX, InvalidVector, NORM_SQUARED_MAX, NamedVectors, SharedBytes, Vector, VectorName};
