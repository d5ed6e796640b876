//! From embeddings that are ready in NumPy to a log that is durable, beside what the disk does at best:
//! `cargo run --release -p dvse-embed-python --example into_log -- [ENVIRONMENT [FOLDER [ROUNDS]]]`, the environment being one with
//! NumPy (`-` for none), the folder on the disk to measure.
//!
//! Rounds of all are interleaved, so that a machine that is busy for a while is busy for each. An entry is 256 vectors of 768 numbers,
//! each with an id and a payload of one field; what it takes begins with the texts and ends when its sync returned.
//!
//! - *plain*: the bytes of such entries, written to a growing file with `write` and `fdatasync`; and into space that is reserved.
//! - *log*: the model is called, its array becomes points, these are encoded, appended to a log as a collection has it, and synced.
//! - *collection*: the same through [`EmbeddedCollection::write`], which checks them, and applies them to the growing segment.
//! - *pipeline*: what `dvse serve` does with records that are in a log of topics, each with a text: read and decoded, embedded, written to
//!   the collection as above, told to `vector-indexed` in one more synced write, acknowledged in one more file.
#![expect(clippy::print_stdout, reason = "it is a program that prints")]

use std::error::Error;
use std::fs::{self, File};
use std::io::Write as _;
use std::num::NonZeroUsize;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use dvse_embed::Embedder as _;
use dvse_embed_python::{PythonEmbedder, PythonOptions};
use dvse_engine::{Durability, EmbeddedCollection, EngineConfig, encode, encode_behind};
use dvse_ingest::pipeline::{self, Parts, PipelineConfig, Progress, ensure_topics};
use dvse_ingest::{EmbeddedLog, Embedder, Sink, TopicLog};
use dvse_server::ingest::{EngineSink, TextModel};
use dvse_storage::{Directory, FsDirectory, GatherBuf, RecoveryMode, Wal, WalOptions};
use dvse_types::{
    CollectionSchema, IndexSpec, Metric, NamedVectors, Payload, Point, PointId, SeqNo, Vector, WriteBatch,
    WriteOp,
};
use pyo3::prelude::*;

type Outcome<T> = Result<T, Box<dyn Error + Send + Sync>>;

const ROWS: usize = 256;
const DIM: usize = 768;
const TEXT: &str = "a text of some words, all of them alike";
/// Entries of a round.
const COUNT: usize = 64;

const SOURCE: &str = "
import numpy
ready, addresses = [], set()
def fill(count, rows, dim):
    numbers = numpy.random.default_rng(1)
    for _ in range(count):
        array = numbers.standard_normal((rows, dim), dtype='float32')
        array /= numpy.linalg.norm(array, axis=1, keepdims=True)
        addresses.add(array.__array_interface__['data'][0])
        ready.append(array)
        del array
def embed(texts):
    rows = ready.pop() if ready else numpy.ones((len(texts), 768), 'float32')
    return rows if len(rows) == len(texts) else rows[:len(texts)].copy()
";

fn main() -> Outcome<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let environment = arguments.first().filter(|name| *name != "-").map(PathBuf::from);
    let place = arguments.get(1).map_or_else(|| PathBuf::from("."), PathBuf::from);
    let rounds: usize = arguments.get(2).map_or(Ok(9), |text| text.parse())?;
    let module = tempfile::tempdir()?;
    fs::write(module.path().join("ready.py"), SOURCE)?;
    let options = PythonOptions {
        batch: NonZeroUsize::new(ROWS).unwrap_or(NonZeroUsize::MIN),
        search: vec![module.path().to_owned()],
        environment,
        ..PythonOptions::default()
    };
    let run = Run { model: Arc::new(PythonEmbedder::load("ready:embed".parse()?, options)?), place };
    let entry = encode(&batch(vec![Vector::from(vec![0.5; DIM]); ROWS], 0));
    println!("entries of {} bytes, {COUNT} a round, {rounds} rounds interleaved", entry.len());

    let graph = CollectionSchema::single(DIM, Metric::Cosine).vectors[""].index;
    let kinds: [(&str, &dyn Fn() -> Outcome<f64>); 11] = [
        ("plain, growing file", &|| run.plain(&entry)),
        ("plain, reserved space", &|| run.reserved(&entry)),
        ("model alone", &|| run.model_alone()),
        ("log, 1 thread", &|| run.log(1)),
        ("log, 4 threads", &|| run.log(4)),
        ("collection without index, 1 thread", &|| run.collection(1, IndexSpec::Flat)),
        ("collection without index, 4 threads", &|| run.collection(4, IndexSpec::Flat)),
        ("collection with graph, 4 threads", &|| run.collection(4, graph)),
        ("pipeline without index, 1 partition", &|| run.pipeline(1, IndexSpec::Flat)),
        ("pipeline without index, 4 partitions", &|| run.pipeline(4, IndexSpec::Flat)),
        ("pipeline with graph, 4 partitions", &|| run.pipeline(4, graph)),
    ];
    let mut seconds: Vec<Vec<f64>> = vec![Vec::new(); kinds.len()];
    for _ in 0..rounds {
        for ((_, measure), seconds) in kinds.iter().zip(&mut seconds) {
            seconds.push(measure()?);
        }
    }
    for ((name, _), own) in kinds.iter().zip(&seconds) {
        let ratios = seconds[0].iter().zip(own).map(|(plain, own)| plain / own).collect();
        let per_second = (ROWS * COUNT) as f64 / median(own.clone());
        println!(
            "{name:<36} {per_second:>9.0} embeddings/s {:>7.1} MB/s  {:>4.0} % of plain, round by round",
            per_second * entry.len() as f64 / ROWS as f64 / 1e6,
            median(ratios) * 100.0,
        );
    }
    Ok(())
}

struct Run {
    model: Arc<PythonEmbedder>,
    place: PathBuf,
}

impl Run {
    fn folder(&self) -> Outcome<tempfile::TempDir> {
        Ok(tempfile::tempdir_in(&self.place)?)
    }

    fn plain(&self, entry: &[u8]) -> Outcome<f64> {
        let folder = self.folder()?;
        let mut file = File::create(folder.path().join("plain"))?;
        file.sync_all()?;
        let started = Instant::now();
        for _ in 0..COUNT {
            file.write_all(entry)?;
            file.sync_data()?;
        }
        Ok(started.elapsed().as_secs_f64())
    }

    fn reserved(&self, entry: &[u8]) -> Outcome<f64> {
        let folder = self.folder()?;
        let handle = FsDirectory::open(folder.path())?.create("reserved")?;
        handle.allocate((entry.len() * COUNT) as u64)?;
        handle.sync_data()?;
        let file = File::options().write(true).open(folder.path().join("reserved"))?;
        let started = Instant::now();
        for number in 0..COUNT {
            file.write_all_at(entry, (number * entry.len()) as u64)?;
            file.sync_data()?;
        }
        Ok(started.elapsed().as_secs_f64())
    }

    fn model_alone(&self) -> Outcome<f64> {
        self.timed(1, &|_| self.embed().map(drop))
    }

    fn log(&self, threads: usize) -> Outcome<f64> {
        let folder = self.folder()?;
        let dir = Arc::new(FsDirectory::open(folder.path())?);
        let segment_bytes = EngineConfig::default().wal_segment_bytes;
        let options = WalOptions { segment_bytes, ..WalOptions::default() };
        let (wal, _) = Wal::open(dir, options, RecoveryMode::CutTornTail)?;
        // The first file is made by the first record: before the time begins, as it is for the plain file.
        wal.append(0, SeqNo(1), &[b"begin"])?;
        wal.sync_to(SeqNo(1))?;
        let last = Mutex::new(1);
        self.timed(threads, &|number| {
            let batch = batch(self.embed()?, number);
            let body = encode_behind(&batch, GatherBuf::new());
            let seq = {
                let mut last = last.lock().unwrap_or_else(PoisonError::into_inner);
                wal.append_gathered(0, SeqNo(*last + 1), &body)?;
                *last += 1;
                SeqNo(*last)
            };
            Ok(wal.sync_to(seq)?)
        })
    }

    fn collection(&self, threads: usize, index: IndexSpec) -> Outcome<f64> {
        let folder = self.folder()?;
        let collection = create(folder.path(), index)?;
        self.timed(threads, &|number| {
            collection.write(batch(self.embed()?, number), Durability::Synced)?;
            Ok(())
        })
    }

    fn pipeline(&self, partitions: u32, index: IndexSpec) -> Outcome<f64> {
        let folder = self.folder()?;
        let log: Arc<dyn TopicLog> = Arc::new(EmbeddedLog::open(&folder.path().join("log"))?);
        let config = PipelineConfig {
            batch_records: NonZeroUsize::new(ROWS).unwrap_or(NonZeroUsize::MIN),
            idle_wait: Duration::from_millis(1),
            until_empty: true,
            ..PipelineConfig::of("c")
        };
        tokio::runtime::Builder::new_current_thread().enable_time().build()?.block_on(async {
            ensure_topics(&*log, &config, partitions).await?;
            for partition in 0..partitions {
                let mut producer = log.producer(&config.raw_events, partition).await?;
                let count = (COUNT * ROWS) as u64 / u64::from(partitions);
                for id in u64::from(partition) * count..u64::from(partition + 1) * count {
                    let record = serde_json::json!({
                        "source_id": "s", "timestamp": 0, "id": id, "payload": {"n": id}, "text": TEXT,
                    });
                    producer.append(b"key", record.to_string().as_bytes(), Duration::ZERO).await?;
                }
                producer.flush().await?;
            }
            Outcome::Ok(())
        })?;
        let collection = Arc::new(create(&folder.path().join("collection"), index)?);
        let node = Node { collection, model: Arc::clone(&self.model) };
        let seconds = self.timed(1, &|number| match number {
            0 => Ok(pipeline::run(&log, &config, partitions, &node, &Progress::default())?),
            _ => Ok(()),
        })?;
        match node.collection.view().count(None)? {
            count if count == COUNT * ROWS => Ok(seconds),
            count => Err(format!("{count} points of {}", COUNT * ROWS).into()),
        }
    }

    /// The vectors of an entry; the model's own memory.
    fn embed(&self) -> Outcome<Vec<Vector>> {
        Ok(self.model.embed(&[TEXT; ROWS])?)
    }

    /// Does `work` for each entry on so many threads, and returns the seconds it took.
    fn timed(&self, threads: usize, work: &(dyn Fn(usize) -> Outcome<()> + Sync)) -> Outcome<f64> {
        let addresses: std::collections::HashSet<usize> = Python::attach(|py| {
            let ready = py.import("ready")?;
            ready.call_method1("fill", (COUNT + 1, ROWS, DIM))?;
            ready.getattr("addresses")?.extract()
        })?;
        let probe = self.embed()?;
        if !probe.first().is_some_and(|row| addresses.contains(&row.as_ptr().addr())) {
            return Err("the vectors are copies".into());
        }
        drop(probe);
        let started = Instant::now();
        thread::scope(|scope| {
            let workers: Vec<_> = (0..threads)
                .map(|thread| scope.spawn(move || (thread..COUNT).step_by(threads).try_for_each(work)))
                .collect();
            workers.into_iter().try_for_each(|worker| worker.join().unwrap_or(Err("a panic".into())))
        })?;
        Ok(started.elapsed().as_secs_f64())
    }
}

/// A collection whose log has its first file.
fn create(folder: &Path, index: IndexSpec) -> Outcome<EmbeddedCollection> {
    let dir: Arc<dyn Directory> = Arc::new(FsDirectory::create(folder)?);
    let mut schema = CollectionSchema::single(DIM, Metric::Cosine);
    schema.vectors.values_mut().for_each(|params| params.index = index);
    let collection = EmbeddedCollection::create_in(&dir, "c", schema, EngineConfig::default())?;
    collection.write(WriteBatch::new(Vec::new()), Durability::Synced)?;
    Ok(collection)
}

/// What a node has its pipelines work with.
struct Node {
    collection: Arc<EmbeddedCollection>,
    model: Arc<PythonEmbedder>,
}

impl Parts for Node {
    fn sink(&self) -> Box<dyn Sink> {
        Box::new(EngineSink::new(Arc::clone(&self.collection), DIM))
    }

    fn embedder(&self) -> Box<dyn Embedder> {
        Box::new(TextModel(Arc::clone(&self.model) as Arc<dyn dvse_embed::Embedder>))
    }
}

/// The entry of some vectors.
fn batch(vectors: Vec<Vector>, number: usize) -> WriteBatch {
    let first = (number * ROWS) as u64;
    let points = (first..).zip(vectors).map(|(id, vector)| Point {
        id: PointId::Num(id),
        vectors: NamedVectors::from([(String::new(), vector)]),
        payload: Payload::from_iter([("n".to_owned(), id.into())]),
    });
    WriteBatch::new(vec![WriteOp::Upsert(points.collect())])
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or_default()
}
