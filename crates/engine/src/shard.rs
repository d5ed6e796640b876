//! One shard: takes `(SeqNo, WriteBatch)` from a log it does not own, and publishes views.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use arc_swap::ArcSwap;
use dvse_index::Level;
use dvse_storage::{
    CheckedFileError, Directory, DirectoryError, ManifestError, ManifestStore, SegmentError,
    StorageErrorKind, read_checked, remove_temporaries,
};
use dvse_types::{Classify, CollectionSchema, ErrorKind, InvalidSchema, SeqNo, WriteBatch};
use parking_lot::Mutex;

use crate::apply::{Applied, Applier, ApplyError};
use crate::config::EngineConfig;
use crate::growing::GrowError;
use crate::live_rows::LiveRows;
use crate::maintenance::Maintainer;
use crate::manifest::{Manifest, ManifestSegment};
use crate::sealed::{OpenSegmentError, SealedSegment};
use crate::search::ScratchPool;
use crate::sections::{is_segment_file, live_file};
use crate::segment::{Segment, SegmentState};
use crate::sources::Sources;
use crate::view::{CollectionView, ViewState};
use crate::wire::DecodeError;

/// A shard cannot be opened or made.
#[derive(Debug, thiserror::Error)]
pub enum OpenShardError {
    /// The directory refused.
    #[error(transparent)]
    Directory(#[from] DirectoryError),
    /// The manifest cannot be read or written.
    #[error(transparent)]
    Manifest(#[from] ManifestError),
    /// The body of the manifest is not one.
    #[error("manifest of {path}, generation {generation}: {source}")]
    ManifestBody {
        /// The directory.
        path: String,
        /// The generation.
        generation: u64,
        /// What is wrong with it.
        source: Box<DecodeError>,
    },
    /// There is no manifest: nothing was ever made here.
    #[error("{path} holds no collection: it has no manifest")]
    Missing {
        /// The directory.
        path: String,
    },
    /// There is a manifest already.
    #[error("{path} holds a collection already")]
    Exists {
        /// The directory.
        path: String,
    },
    /// The schema cannot be.
    #[error(transparent)]
    Schema(#[from] InvalidSchema),
    /// A segment cannot be opened.
    #[error(transparent)]
    Segment(#[from] OpenSegmentError),
    /// A checksum does not fit.
    #[error(transparent)]
    Verify(#[from] SegmentError),
    /// The file of a segment's live rows cannot be read.
    #[error(transparent)]
    LiveRows(#[from] CheckedFileError),
    /// The file of a segment's live rows does not fit the segment.
    #[error("{path}: expected live rows of a segment of {rows} rows")]
    LiveRowsShape {
        /// The file.
        path: String,
        /// Rows of the segment.
        rows: u32,
    },
    /// The growing segment cannot be made.
    #[error(transparent)]
    Grow(#[from] GrowError),
}

impl Classify for OpenShardError {
    fn kind(&self) -> ErrorKind {
        match self {
            OpenShardError::Directory(error) => storage_kind(error.kind()),
            OpenShardError::Manifest(error) => storage_kind(error.kind()),
            OpenShardError::Verify(error) => storage_kind(error.kind()),
            OpenShardError::LiveRows(error) => storage_kind(error.kind()),
            OpenShardError::Segment(OpenSegmentError::File(error)) => storage_kind(error.kind()),
            OpenShardError::Segment(_)
            | OpenShardError::ManifestBody { .. }
            | OpenShardError::LiveRowsShape { .. } => ErrorKind::Corrupt,
            OpenShardError::Missing { .. } => ErrorKind::NotFound,
            OpenShardError::Exists { .. } => ErrorKind::AlreadyExists,
            OpenShardError::Schema(_) => ErrorKind::InvalidInput,
            OpenShardError::Grow(_) => ErrorKind::Overloaded,
        }
    }

    fn help(&self) -> Option<String> {
        (self.kind() == ErrorKind::Corrupt).then(|| {
            "Restore the collection's folder from a backup, or move it away and load the collection again.".to_owned()
        })
    }
}

/// What a storage failure means to a user.
pub(crate) fn storage_kind(kind: StorageErrorKind) -> ErrorKind {
    match kind {
        StorageErrorKind::Corrupt => ErrorKind::Corrupt,
        StorageErrorKind::Full => ErrorKind::OutOfSpace,
        StorageErrorKind::Io | StorageErrorKind::Locked | StorageErrorKind::Poisoned => {
            ErrorKind::Unavailable
        }
        StorageErrorKind::Invalid => ErrorKind::Internal,
    }
}

/// A part of a collection: segments, and the state of the log they stand for.
///
/// The shard never writes a log. Whoever owns one applies its entries in order, and after opening applies again what
/// follows [`Shard::watermark`].
#[derive(Debug)]
pub struct Shard {
    pub(crate) dir: Arc<dyn Directory>,
    pub(crate) config: EngineConfig,
    pub(crate) manifests: ManifestStore,
    pub(crate) applier: Mutex<Applier>,
    pub(crate) maintainer: Mutex<Maintainer>,
    pub(crate) numbers: Arc<AtomicU64>,
    view: ArcSwap<CollectionView>,
    scratches: Arc<ScratchPool>,
    applied: AtomicU64,
    pub(crate) watermark: AtomicU64,
}

impl Shard {
    /// Makes an empty shard in an empty directory.
    ///
    /// # Errors
    /// [`OpenShardError`] when the schema cannot be, the directory holds a shard, or the disk refuses.
    pub fn create(
        dir: Arc<dyn Directory>,
        schema: CollectionSchema,
        config: EngineConfig,
    ) -> Result<Shard, OpenShardError> {
        schema.validate()?;
        let (manifests, found) = ManifestStore::open(Arc::clone(&dir))?;
        if found.is_some() {
            return Err(OpenShardError::Exists { path: dir.path().display().to_string() });
        }
        let manifest = Manifest {
            schema,
            watermark: SeqNo(0),
            next_number: 1,
            segments: Vec::new(),
            sources: Sources::default(),
        };
        manifests.publish(&manifest.encode())?;
        Shard::start(dir, manifests, manifest, Vec::new(), Vec::new(), config)
    }

    /// Opens a shard. Takes time in proportion to the number of segments; checksums of large sections are left to
    /// the background when there is more than [`EngineConfig::verify_bytes_max`].
    ///
    /// # Errors
    /// [`OpenShardError`] with the file and offset of what is damaged.
    pub fn open(dir: Arc<dyn Directory>, config: EngineConfig) -> Result<Shard, OpenShardError> {
        remove_temporaries(&*dir)?;
        let (manifests, found) = ManifestStore::open(Arc::clone(&dir))?;
        let Some((generation, body)) = found else {
            return Err(OpenShardError::Missing { path: dir.path().display().to_string() });
        };
        let manifest = Manifest::decode(&body).map_err(|source| OpenShardError::ManifestBody {
            path: dir.path().display().to_string(),
            generation,
            source: Box::new(source),
        })?;
        let mut segments = Vec::new();
        for entry in &manifest.segments {
            segments.push(open_segment(&*dir, entry, &manifest.schema, config.level)?);
        }
        let sealed = segments.iter().filter_map(|state| match &state.segment {
            Segment::Sealed(segment) => Some(Arc::clone(segment)),
            Segment::Growing(_) => None,
        });
        let mut unverified: Vec<Arc<SealedSegment>> = sealed.collect();
        let bytes: u64 = unverified.iter().map(|segment| segment.disk_bytes()).sum();
        if bytes <= config.verify_bytes_max {
            unverified.iter().try_for_each(|segment| segment.verify_all())?;
            unverified.clear();
        } else {
            unverified.iter().try_for_each(|segment| segment.verify_small())?;
        }
        let shard = Shard::start(dir, manifests, manifest, segments, unverified, config)?;
        shard.maintainer.lock().remove_strangers(&shard);
        Ok(shard)
    }

    fn start(
        dir: Arc<dyn Directory>,
        manifests: ManifestStore,
        manifest: Manifest,
        segments: Vec<SegmentState>,
        unverified: Vec<Arc<SealedSegment>>,
        config: EngineConfig,
    ) -> Result<Shard, OpenShardError> {
        let base = ViewState {
            seq: manifest.watermark,
            schema: Arc::new(manifest.schema.clone()),
            segments,
            sources: manifest.sources.clone(),
        };
        let numbers = Arc::new(AtomicU64::new(manifest.next_number));
        let applier = Applier::new(base.clone(), Arc::clone(&numbers), &config)?;
        let scratches = Arc::new(ScratchPool::default());
        let view = CollectionView::new(Arc::new(applier.state.clone()), Arc::clone(&scratches));
        Ok(Shard {
            dir,
            config,
            manifests,
            applier: Mutex::new(applier),
            maintainer: Mutex::new(Maintainer::new(base, &manifest, unverified)),
            numbers,
            view: ArcSwap::from_pointee(view),
            scratches,
            applied: AtomicU64::new(manifest.watermark.0),
            watermark: AtomicU64::new(manifest.watermark.0),
        })
    }

    /// Applies a log entry and publishes the state after it. An entry that was applied before is passed over, and
    /// the answer is then that it touched nothing.
    ///
    /// # Errors
    /// [`ApplyError`] when memory runs out or a segment is damaged; the shard takes no entry after that.
    pub fn apply(&self, seq: SeqNo, batch: &WriteBatch) -> Result<Applied, ApplyError> {
        let mut applier = self.applier.lock();
        if seq <= self.applied() {
            return Ok(Applied::Touched(Vec::new()));
        }
        let applied = applier.apply(seq, batch)?;
        applier.encode();
        self.publish(&applier);
        self.applied.store(seq.0, Ordering::Release);
        Ok(applied)
    }

    /// Shows readers the state of the applier. The caller holds its lock, so views are published in order.
    pub(crate) fn publish(&self, applier: &Applier) {
        let state = Arc::new(applier.state.clone());
        self.view.store(Arc::new(CollectionView::new(state, Arc::clone(&self.scratches))));
    }

    /// The newest state. Takes no lock.
    #[must_use]
    pub fn view(&self) -> Arc<CollectionView> {
        self.view.load_full()
    }

    /// The last entry applied.
    #[must_use]
    pub fn applied(&self) -> SeqNo {
        SeqNo(self.applied.load(Ordering::Acquire))
    }

    /// The last entry that durable segments include: the log is needed only after it.
    #[must_use]
    pub fn watermark(&self) -> SeqNo {
        SeqNo(self.watermark.load(Ordering::Acquire))
    }

    /// Asks that the state as it is now become durable in segments. Maintenance does the work.
    ///
    /// # Errors
    /// [`GrowError`] when there is no memory for the next growing segment.
    pub fn seal(&self) -> Result<(), GrowError> {
        let mut applier = self.applier.lock();
        let newest = applier.seal_points.last().map_or(self.watermark(), |point| point.seq);
        if newest < applier.state.seq {
            applier.seal()?;
            self.publish(&applier);
        }
        Ok(())
    }
}

fn open_segment(
    dir: &dyn Directory,
    entry: &ManifestSegment,
    schema: &CollectionSchema,
    level: Level,
) -> Result<SegmentState, OpenShardError> {
    let mut segment = SealedSegment::open(dir, entry.id, schema, level)?;
    if segment.rows() != entry.rows {
        return Err(OpenSegmentError::Mismatch {
            path: dir.path().join(crate::sections::data_file(entry.id)).display().to_string(),
            what: "the number of rows",
            got: segment.rows().to_string(),
            expected: entry.rows.to_string(),
        }
        .into());
    }
    if entry.graph > 0 {
        segment = segment.with_graphs(dir, entry.graph, schema)?;
    }
    for (path, version) in &entry.fields {
        segment = segment.with_field_file(dir, path, *version)?;
    }
    let live = match entry.live {
        0 => LiveRows::all(entry.rows),
        version => read_live(dir, &live_file(entry.id, version), entry.rows)?,
    };
    Ok(SegmentState { segment: Segment::Sealed(Arc::new(segment)), live: Arc::new(live) })
}

fn read_live(dir: &dyn Directory, name: &str, rows: u32) -> Result<LiveRows, OpenShardError> {
    let path = dir.path().join(name).display().to_string();
    let Some(body) = read_checked(dir, name)? else { return Err(OpenShardError::Missing { path }) };
    let mut words = vec![0_u64; body.len() / 8];
    let whole = body.len() % 8 == 0;
    if whole {
        bytemuck::cast_slice_mut(&mut words).copy_from_slice(&body);
    }
    LiveRows::from_words(words, rows).filter(|_| whole).ok_or(OpenShardError::LiveRowsShape { path, rows })
}

/// Removes segment files that no manifest names. What cannot be removed now is removed another time.
pub(crate) fn remove_strangers(dir: &dyn Directory, known: &HashSet<String>) {
    let Ok(entries) = dir.list() else { return };
    for entry in entries {
        if !entry.is_dir && is_segment_file(&entry.name) && !known.contains(&entry.name) {
            drop(dir.remove(&entry.name));
        }
    }
}
