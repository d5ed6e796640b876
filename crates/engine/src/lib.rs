//! One shard: growing and sealed segments, views, filters, flush, merge; and the embedded collection around it.
#![allow(clippy::todo, unused_variables, dead_code, missing_docs)]

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use dvse_types::*;

#[derive(Debug, Clone)]
pub struct EngineConfig { /// threads for background linking, sealing, merging
    pub background_threads: usize,
    /// rows after which a growing segment is sealed
    pub growing_rows_max: usize,
}
impl Default for EngineConfig { fn default() -> Self { EngineConfig { background_threads: 1, growing_rows_max: 32_768 } } }

/// All collections under one folder, and their aliases. Locks the folder.
pub struct Database;
#[derive(Debug, thiserror::Error)] #[error("{0}")] pub struct DatabaseError(String); // real: enum by operation family, each Classify
impl Classify for DatabaseError { fn kind(&self) -> ErrorKind { todo!() } }
#[derive(Debug, Clone)]
pub enum AliasOp { Create { alias: String, collection: String }, Rename { from: String, to: String }, Delete { alias: String } }
impl Database {
    pub fn open(path: &Path, config: EngineConfig) -> Result<Database, DatabaseError> { todo!() }
    pub fn create(&self, name: &str, schema: CollectionSchema) -> Result<Arc<EmbeddedCollection>, DatabaseError> { todo!() } // AlreadyExists: "Collection `x` already exists!"
    /// by name or alias; NotFound: "Collection `x` doesn't exist!"
    pub fn get(&self, name_or_alias: &str) -> Result<Arc<EmbeddedCollection>, DatabaseError> { todo!() }
    pub fn drop_collection(&self, name: &str) -> Result<bool, DatabaseError> { todo!() }
    pub fn names(&self) -> Vec<String> { todo!() }
    /// alias -> collection
    pub fn aliases(&self) -> BTreeMap<String, String> { todo!() }
    /// all or nothing
    pub fn update_aliases(&self, ops: &[AliasOp]) -> Result<(), DatabaseError> { todo!() }
    /// seals what is growing, publishes manifests, joins the background threads
    pub fn close(&self) -> Result<(), DatabaseError> { todo!() }
}

/// One collection on this machine with its own write-ahead log.
pub struct EmbeddedCollection;
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Durability { /// answer after fdatasync
    Synced, /// answer once in the log's buffer
    Buffered }
#[derive(Debug, Clone)]
pub struct WriteReceipt { pub seq: SeqNo, /// per op: how many points it touched
    pub touched: Vec<usize> }
#[derive(Debug, thiserror::Error)] #[error("{0}")] pub struct WriteError(String);
impl Classify for WriteError { fn kind(&self) -> ErrorKind { todo!() } }
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Health { /// everything is indexed
    Green, /// linking or merging goes on
    Yellow, /// poisoned
    Red }
#[derive(Debug, Clone)]
pub struct CollectionStatus {
    pub health: Health, /// why it is not green
    pub reason: Option<String>,
    pub points: usize, pub vectors: usize, pub indexed_vectors: usize, pub segments: usize,
    pub wal_bytes: u64, pub disk_bytes: u64, pub applied: SeqNo, pub durable: SeqNo,
    pub deleted_rows: usize,
    pub payload_index_points: BTreeMap<PayloadPath, usize>,
}
impl EmbeddedCollection {
    pub fn name(&self) -> &str { todo!() }
    pub fn schema(&self) -> Arc<CollectionSchema> { todo!() }
    /// checks the batch against the schema, logs it, applies it
    pub fn write(&self, batch: WriteBatch, durability: Durability) -> Result<WriteReceipt, WriteError> { todo!() }
    /// an immutable, consistent state; cheap
    pub fn view(&self) -> Arc<CollectionView> { todo!() }
    pub fn status(&self) -> CollectionStatus { todo!() }
    /// waits until everything is linked and merges are done (tests, bench, demo); with a progress callback returning false to stop: (indexed rows, rows)
    pub fn settle(&self, progress: &mut dyn FnMut(usize, usize) -> bool) -> Result<(), WriteError> { todo!() }
    /// seals the growing segment and publishes the manifest
    pub fn flush(&self) -> Result<(), WriteError> { todo!() }
}

/// What a reader holds.
pub struct CollectionView;
#[derive(Debug, thiserror::Error)] #[error("{0}")] pub struct SearchError(String);
impl Classify for SearchError { fn kind(&self) -> ErrorKind { todo!() } }
pub struct ScrollPage { pub ids: Vec<PointId>, pub next: Option<PointId> }
impl CollectionView {
    pub fn schema(&self) -> &Arc<CollectionSchema> { todo!() }
    pub fn search(&self, request: &SearchRequest) -> Result<SearchResult, SearchError> { todo!() }
    /// in the order asked; ids that do not exist are left out
    pub fn retrieve(&self, ids: &[PointId], projection: &Projection) -> Result<Vec<Record>, SearchError> { todo!() }
    /// the stored vector (cosine: normalised)
    pub fn vector(&self, id: PointId, name: &str) -> Result<Option<Vec<f32>>, SearchError> { todo!() }
    pub fn contains(&self, id: PointId) -> bool { todo!() }
    /// in id order from `from` (inclusive)
    pub fn scroll(&self, from: Option<PointId>, limit: usize, filter: Option<&Filter>) -> Result<ScrollPage, SearchError> { todo!() }
    pub fn count(&self, filter: Option<&Filter>) -> Result<usize, SearchError> { todo!() }
    /// by count descending, then value; the field must have a payload index
    pub fn facet(&self, key: &PayloadPath, filter: Option<&Filter>, limit: usize) -> Result<Vec<FacetCount>, SearchError> { todo!() }
}
