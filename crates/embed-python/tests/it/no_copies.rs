//! From the array that a model returned to the write of the log: the same memory.

use std::num::NonZeroUsize;
use std::ops::Range;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use dvse_embed::Embedder as _;
use dvse_embed_python::PythonOptions;
use dvse_engine::{Durability, EmbeddedCollection, EngineConfig};
use dvse_ingest::pipeline::{self, Parts, PipelineConfig, Progress, ensure_topics};
use dvse_ingest::{Clock, EmbeddedLog, Embedder, IndexedEvent, Sink, TopicLog, TopicName, TopicSpec};
use dvse_server::ingest::{EngineSink, TextModel};
use dvse_types::{
    CollectionSchema, Metric, NamedVectors, Payload, Point, PointId, Vector, WriteBatch, WriteOp,
};
use pyo3::prelude::*;
use serde_json::json;

use crate::models::Module;
use crate::recording::Recording;

const DIM: usize = 768;
const ROW_BYTES: usize = 4 * DIM;

/// Each row is of numbers of its own. `{}` is what becomes of the arrays beside.
const SOURCE: &str = "
import numpy
addresses, rows_made, kept = [], 0, []
def embed(texts):
    global rows_made
    firsts = numpy.arange(rows_made, rows_made + len(texts), dtype='float32') + 1
    rows_made += len(texts)
    rows = firsts[:, None] * numpy.linspace(1, 2, 768, dtype='float32')
    addresses.append((rows.__array_interface__['data'][0], len(texts)))
    {}
    return rows
";

/// The memory of the rows of all arrays that a module made, after the probe.
fn rows_made(module: &Module) -> Vec<Range<usize>> {
    let arrays: Vec<(usize, usize)> = Python::attach(|py| {
        py.import(module.name.as_str()).unwrap().getattr("addresses").unwrap().extract().unwrap()
    });
    let rows = arrays.iter().skip(1).flat_map(|(start, rows)| (0..*rows).map(|row| *start + row * ROW_BYTES));
    rows.map(|start| start..start + ROW_BYTES).collect()
}

/// What the files of a directory were asked to write.
type Written = Arc<Mutex<Vec<Range<usize>>>>;

fn recording(folder: &tempfile::TempDir) -> (Arc<dyn dvse_storage::Directory>, Written) {
    let written = Written::default();
    let theirs = Arc::clone(&written);
    let dir = Recording::telling(folder.path(), move |parts| {
        let parts = parts.iter().map(|part| part.as_ptr().addr()..part.as_ptr().addr() + part.len());
        theirs.lock().unwrap().extend(parts);
    });
    (dir, written)
}

fn point(id: u64, vector: &Vector) -> Point {
    let vectors = NamedVectors::from([(String::new(), vector.clone())]);
    Point { id: PointId::Num(id), vectors, payload: Payload::new() }
}

/// Writes the vectors of ten texts, of three calls of the model, to a collection and to a log of events, and returns how many of the
/// model's rows were written from where the model made them: to the collection, and to the log.
fn rows_written_in_place(name: &str, beside: &str) -> (usize, usize) {
    let module = Module::new(name, &SOURCE.replace("{}", beside));
    let options = PythonOptions { batch: NonZeroUsize::new(4).unwrap(), ..module.options() };
    let model = module.load_with("embed", options).unwrap();
    let texts: Vec<String> = (0..10).map(|number| "t".repeat(1 + number * 7 % 10)).collect();
    let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
    let vectors = model.embed(&texts).unwrap();

    let folder = tempfile::tempdir().unwrap();
    let (dir, written) = recording(&folder);
    let config = EngineConfig { background_threads: 0, ..EngineConfig::default() };
    let schema = CollectionSchema::single(DIM, Metric::L2);
    let collection = EmbeddedCollection::create_in(&dir, "c", schema, config.clone()).unwrap();
    let points = vectors.iter().zip(0..).map(|(vector, id)| point(id, vector)).collect();
    let batch = WriteBatch::new(vec![WriteOp::Upsert(points)]);
    collection.write(batch, Durability::Synced).unwrap();
    let made = rows_made(&module);
    assert_eq!(made.len(), 10);
    let in_place = |written: &Written| {
        let written = written.lock().unwrap();
        made.iter().filter(|row| written.contains(row)).count()
    };
    let to_collection = in_place(&written);
    // The disk has what the model returned, text by text: the log is read again.
    drop(collection);
    let collection = EmbeddedCollection::open_in(&dir, "c", config).unwrap();
    for (vector, id) in vectors.iter().zip(0..) {
        assert_eq!(*vector, collection.view().vector(PointId::Num(id), "").unwrap().unwrap(), "{id}");
    }

    let folder = tempfile::tempdir().unwrap();
    let (dir, written) = recording(&folder);
    tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(async {
        let log = EmbeddedLog::over(dir, Clock::system());
        let topic = TopicName::vector_indexed();
        log.ensure(&topic, TopicSpec::vector_indexed(1)).await.unwrap();
        let mut producer = log.producer(&topic, 0).await.unwrap();
        for vector in &vectors {
            let event = IndexedEvent { embedding: vector.clone(), ..IndexedEvent::default() };
            producer.append_gathered(b"key", event.gather(), Duration::ZERO).await.unwrap();
        }
        producer.flush().await.unwrap();
        let mut events = Vec::new();
        let mut visit = |record: dvse_ingest::Record| {
            events.push(IndexedEvent::decode(&record.payload).unwrap().embedding);
            std::ops::ControlFlow::Continue(())
        };
        producer.visit_newest_first(&mut visit).await.unwrap();
        events.reverse();
        assert_eq!(events, vectors);
    });
    (to_collection, in_place(&written))
}

#[test]
fn the_logs_write_the_models_memory_itself() {
    assert_eq!(rows_written_in_place("given_away", "pass"), (10, 10));
}

#[test]
fn the_logs_do_not_write_memory_that_a_model_still_reaches() {
    let (to_collection, to_log) = rows_written_in_place("kept_back", "kept.append(rows)");
    assert_eq!((to_collection, to_log), (0, 0));
}

/// What `dvse serve` has its pipelines work with.
struct Node {
    collection: Arc<EmbeddedCollection>,
    model: Arc<dyn dvse_embed::Embedder>,
}

impl Parts for Node {
    fn sink(&self) -> Box<dyn Sink> {
        Box::new(EngineSink::new(Arc::clone(&self.collection), DIM))
    }

    fn embedder(&self) -> Box<dyn Embedder> {
        Box::new(TextModel(Arc::clone(&self.model)))
    }
}

/// The pipeline inside a node, from records of a topic to the collection and the topic of its events.
#[test]
fn a_pipeline_in_a_node_writes_the_models_memory_twice_and_copies_none() {
    let module = Module::new("in_a_pipeline", &SOURCE.replace("{}", "pass"));
    let options = PythonOptions { batch: NonZeroUsize::new(4).unwrap(), ..module.options() };
    let model = Arc::new(module.load_with("embed", options).unwrap());
    let folder = tempfile::tempdir().unwrap();
    let (dir, written) = recording(&folder);
    dir.create_dir("log").unwrap();
    dir.create_dir("collection").unwrap();

    let log: Arc<dyn TopicLog> = Arc::new(EmbeddedLog::over(dir.sub("log"), Clock::system()));
    let config = PipelineConfig { until_empty: true, ..PipelineConfig::of("c") };
    tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(async {
        ensure_topics(&*log, &config, 1).await.unwrap();
        let mut producer = log.producer(&config.raw_events, 0).await.unwrap();
        for number in 0..10 {
            let text = "t".repeat(1 + number * 7 % 10);
            let record = json!({"source_id": "s", "timestamp": 0, "id": number, "payload": {}, "text": text});
            producer.append(b"key", record.to_string().as_bytes(), Duration::ZERO).await.unwrap();
        }
        producer.flush().await.unwrap();
    });
    let engine = EngineConfig { background_threads: 0, ..EngineConfig::default() };
    let schema = CollectionSchema::single(DIM, Metric::Cosine);
    let collection = EmbeddedCollection::create_in(&dir.sub("collection"), "c", schema, engine).unwrap();
    let node = Node { collection: Arc::new(collection), model };
    pipeline::run(&log, &config, 1, &node, &Progress::default()).unwrap();

    assert_eq!(node.collection.view().count(None).unwrap(), 10);
    let written = written.lock().unwrap();
    let times: Vec<usize> =
        rows_made(&module).iter().map(|row| written.iter().filter(|part| *part == row).count()).collect();
    assert_eq!(times, [2; 10]);
}
