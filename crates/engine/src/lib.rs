//! One shard: growing and sealed segments, views, filters, flush, merge; and the embedded collection around it.
//!
//! A [`Shard`] takes `(SeqNo, WriteBatch)` from a log it does not own, applies it deterministically, and publishes a
//! [`CollectionView`]: an immutable, consistent state that searches run on. An [`EmbeddedCollection`] is a shard with a
//! log of its own, and a [`Database`] is all collections under one folder. The crate refuses to know who else orders
//! a log, replicas, networks, asynchronous runtimes and distance kernels.
//!
//! In reading order: [`EngineConfig`]; [`Database`] and [`EmbeddedCollection`] with [`WriteReceipt`], [`MarkOutcome`],
//! [`Durability`] and [`CollectionStatus`]; [`CollectionView`] with [`ScrollPage`]; [`Shard`]; [`encode`] and [`decode`], the bytes of
//! a log entry. How it is built: `docs/adr/0006-engine-segments-and-views.md`; what is on disk:
//! `docs/format/shard.md` and `docs/format/operations.md`.
//!
//! ```
//! use std::sync::Arc;
//! use dvse_engine::{Durability, EmbeddedCollection, EngineConfig};
//! use dvse_storage::{Directory, MemDirectory};
//! use dvse_types::*;
//!
//! let dir: Arc<dyn Directory> = Arc::new(MemDirectory::new());
//! let schema = CollectionSchema::single(2, Metric::L2);
//! let collection = EmbeddedCollection::create_in(&dir, "places", schema, EngineConfig::default())?;
//! let point = |id, x| Point {
//!     id: PointId::Num(id),
//!     vectors: NamedVectors::from([(String::new(), [x, 0.0].into())]),
//!     payload: Payload::new(),
//! };
//! let ops = vec![WriteOp::Upsert(vec![point(1, 0.0), point(2, 5.0)])];
//! collection.write(WriteBatch::new(ops), Durability::Synced)?;
//!
//! let found = collection.view().search(&SearchRequest {
//!     vector_name: String::new(),
//!     query: vec![4.0, 0.0],
//!     limit: 1,
//!     filter: None,
//!     exclude: vec![],
//!     distance_max: None,
//!     params: SearchParams::default(),
//! })?;
//! assert_eq!(found.hits, [Hit { id: PointId::Num(2), distance: 1.0 }]);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod apply;
mod background;
mod build;
mod config;
mod database;
mod embedded;
mod filter;
mod growing;
mod index_kind;
mod live_rows;
mod maintenance;
mod manifest;
mod merge;
mod op_codec;
mod payload;
mod row_map;
mod seal;
mod sealed;
mod search;
mod sections;
mod segment;
mod shard;
mod sources;
mod validate;
mod view;
mod wire;

pub use apply::{Applied, ApplyError};
pub use config::{EngineConfig, ThreadHook};
pub use database::{AliasOp, Database, DatabaseError};
pub use embedded::{
    CollectionStatus, Durability, EmbeddedCollection, Health, MarkOutcome, OpenCollectionError, WriteError,
    WriteReceipt,
};
pub use filter::{FilterChoice, InvalidFilter};
pub use growing::GrowError;
pub use maintenance::MaintenanceError;
pub use merge::{MergePace, Pacer};
pub use op_codec::{decode, encode, encode_behind};
pub use payload::FieldIndexError;
pub use seal::SealError;
pub use sealed::OpenSegmentError;
pub use segment::SegmentFault;
pub use shard::{OpenShardError, Shard};
pub use sources::Refusal;
pub use validate::InvalidBatch;
pub use view::{CollectionView, ScrollPage, SearchError};
pub use wire::{DecodeError, DecodeError as DecodeOpError};
