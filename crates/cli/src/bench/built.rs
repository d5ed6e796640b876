//! A collection of the engine, built from a matrix, sealed, closed and opened again: what is measured is read from mapped
//! files, as a server reads it.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use dvse_engine::{Durability, EmbeddedCollection, EngineConfig};
use dvse_storage::{Directory, FsDirectory};
use dvse_types::{
    CollectionSchema, FieldKind, IndexSpec, Metric, Payload, PayloadPath, Point, PointId, VectorName,
    VectorParams, WriteBatch, WriteOp,
};

use super::clock;
use super::measure::row;
use crate::failure::{Remedy as _, Result};
use crate::progress::Board;
use crate::vectors::Matrix;

/// How a collection is built.
pub struct Recipe<'a> {
    /// The index.
    pub spec: IndexSpec,
    /// How vectors are compared.
    pub metric: Metric,
    /// Whether the vectors are left on the disk.
    pub on_disk: bool,
    /// Payload fields to be indexed.
    pub fields: &'a [(PayloadPath, FieldKind)],
    /// The settings of the engine; building only lets all rows fit one growing segment.
    pub config: EngineConfig,
}

/// A collection and what it took to make.
pub struct Built {
    /// The collection: one segment. Points have the numbers of their rows as ids.
    pub collection: EmbeddedCollection,
    /// How it was built.
    pub spec: IndexSpec,
    /// Seconds from the vectors in memory to files that can be searched.
    pub build_s: f64,
    /// Processor time of that, of all threads together, in seconds.
    pub build_cpu_s: f64,
    /// Bytes of its files, all mapped: vectors, graph, ids and payloads.
    pub bytes: u64,
    /// Bytes of them that the index takes beside the vectors: what a search needs in memory.
    pub index_bytes: u64,
    _folder: Folder,
}

/// What the segment is when it is searched.
#[derive(Clone, Copy)]
enum Form {
    /// In memory, linked row by row.
    Growing,
    /// In files, mapped.
    Sealed,
}

/// Points in one entry of the log.
const BATCH_ROWS: usize = 1_024;

impl Recipe<'_> {
    /// The schema of such a collection.
    pub fn schema(&self, dim: usize) -> CollectionSchema {
        let Recipe { metric, spec: index, on_disk, .. } = *self;
        let params = VectorParams { dim, metric, index, on_disk, model: None };
        CollectionSchema {
            vectors: BTreeMap::from([(VectorName::new(), params)]),
            payload_indexes: self.fields.iter().cloned().collect(),
        }
    }

    /// Writes some rows of a matrix with their payloads, seals them, and opens the collection again.
    ///
    /// # Errors
    /// The disk refuses, or there is no memory.
    pub fn build(
        &self,
        base: &Matrix,
        rows: &[usize],
        payload: &dyn Fn(usize) -> Payload,
        board: &Board,
    ) -> Result<Built> {
        self.make(Form::Sealed, base, rows, payload, board)
    }

    /// Writes some rows of a matrix and links them in the order they came, as they stay until their segment is full.
    ///
    /// # Errors
    /// There is no memory.
    pub fn grow(&self, base: &Matrix, rows: &[usize], board: &Board) -> Result<Built> {
        self.make(Form::Growing, base, rows, &|_| Payload::default(), board)
    }

    fn make(
        &self,
        form: Form,
        base: &Matrix,
        rows: &[usize],
        payload: &dyn Fn(usize) -> Payload,
        board: &Board,
    ) -> Result<Built> {
        let folder = Folder::create()?;
        let dir: Arc<dyn Directory> = Arc::new(FsDirectory::open(&folder.path)?);
        let config = EngineConfig {
            growing_rows_max: rows.len() + 1,
            growing_bytes_max: usize::MAX,
            wal_bytes_max: u64::MAX,
            ..self.config.clone()
        };
        let (started, cpu) = (Instant::now(), clock::process_time());
        let collection = EmbeddedCollection::create_in(&dir, "bench", self.schema(base.dim), config)?;
        let mut task = board.task("write", "vectors", Some(rows.len() as u64));
        let mut written = 0;
        for batch in rows.chunks(BATCH_ROWS) {
            let points =
                batch.iter().map(|number| point(*number, row(base, *number), payload(*number))).collect();
            collection.write(WriteBatch::new(vec![WriteOp::Upsert(points)]), Durability::Buffered)?;
            written += batch.len() as u64;
            task.set(written);
        }
        task.finish();
        let mut task = board.task("build", "vectors", Some(rows.len() as u64));
        collection.settle(&mut |indexed, _| {
            task.set(indexed as u64);
            true
        })?;
        task.finish();
        let collection = match form {
            Form::Growing => collection,
            Form::Sealed => {
                collection.close()?;
                drop(collection);
                EmbeddedCollection::open_in(&dir, "bench", self.config.clone())?
            }
        };
        let build_s = started.elapsed().as_secs_f64();
        let build_cpu_s = clock::process_time().saturating_sub(cpu).as_secs_f64();
        let status = collection.status();
        let (bytes, index_bytes) = (status.disk_bytes, status.index_bytes);
        Ok(Built { collection, spec: self.spec, build_s, build_cpu_s, bytes, index_bytes, _folder: folder })
    }
}

/// The point of a row.
pub fn point(number: usize, vector: &[f32], payload: Payload) -> Point {
    let vectors = BTreeMap::from([(VectorName::new(), vector.into())]);
    Point { id: PointId::Num(number as u64), vectors, payload }
}

/// A folder for as long as a bench runs, in the system's place for such.
pub struct Folder {
    /// Where it is.
    pub path: PathBuf,
}

impl Folder {
    /// Makes an empty folder.
    ///
    /// # Errors
    /// It cannot be made.
    pub fn create() -> Result<Folder> {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("dvse-bench-{}-{number}", std::process::id()));
        std::fs::create_dir(&path)
            .doing(|| format!("cannot make {}", path.display()))
            .help(|| "name a folder with room for the vectors in TMPDIR".to_owned())?;
        Ok(Folder { path })
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        // What cannot be removed stays behind in a place that the system cleans.
        drop(std::fs::remove_dir_all(&self.path));
    }
}
