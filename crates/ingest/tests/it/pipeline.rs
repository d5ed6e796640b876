//! What the pipeline does beyond surviving: fencing, several partitions, collections made anew.

use std::sync::Arc;
use std::time::Duration;

use dvse_ingest::pipeline::{self, PipelineConfig, PipelineError, Progress};
use dvse_ingest::{
    Clock, DeadLetter, EmbeddedLog, RECORD_BYTES_MAX, Sink, SinkError, TopicLog, TopicName, Written,
    partition_of,
};
use dvse_storage::MemDirectory;
use dvse_types::{Position, SourceMark, SourceState, StreamName};
use serde_json::json;

use crate::conformance::run;
use crate::crash::{check_exactly_once, config, ingest, log_on, prepared};
use crate::memory_sink::TestParts;

#[test]
fn the_older_of_two_workers_can_write_nothing() {
    let (disk, parts) = (prepared(), TestParts::default());
    let log = log_on(&disk);
    let mut old = parts.sink.clone();
    run(async {
        let stream = log.source(&TopicName::raw_events(), 0, None).await.unwrap().stream().clone();
        let state = old.take_over(&stream, 0).await.unwrap();
        // The new worker takes over, and works to the end.
        ingest(&disk, &parts).unwrap();
        let mark = SourceMark { stream, partition: 0, epoch: state.epoch, position: Position(1000) };
        assert!(matches!(old.write(&[], &mark).await, Err(SinkError::Fenced(_))));
    });
    check_exactly_once(&disk, &parts.sink, "after fencing");
}

#[test]
fn a_worker_that_is_fenced_stops_and_says_so() {
    /// Takes the partition over behind the back of the worker whenever it writes.
    #[derive(Clone)]
    struct Rivalled(TestParts);
    impl Sink for Rivalled {
        fn dim(&self) -> usize {
            self.0.sink.dim()
        }
        fn objection(&self, vector: &[f32]) -> Option<String> {
            self.0.sink.objection(vector)
        }
        fn take_over<'a>(
            &'a mut self,
            stream: &'a StreamName,
            partition: u32,
        ) -> dvse_ingest::Pending<'a, Result<SourceState, SinkError>> {
            self.0.sink.take_over(stream, partition)
        }
        fn write<'a>(
            &'a mut self,
            changes: &'a [dvse_ingest::Change],
            mark: &'a SourceMark,
        ) -> dvse_ingest::Pending<'a, Result<Written, SinkError>> {
            Box::pin(async move {
                self.0.sink.take_over(&mark.stream, mark.partition).await?;
                self.0.sink.write(changes, mark).await
            })
        }
        fn vectors<'a>(
            &'a mut self,
            ids: &'a [dvse_types::PointId],
        ) -> dvse_ingest::Pending<'a, Result<Vec<Option<Vec<f32>>>, SinkError>> {
            self.0.sink.vectors(ids)
        }
    }
    impl pipeline::Parts for Rivalled {
        fn sink(&self) -> Box<dyn Sink> {
            Box::new(self.clone())
        }
        fn embedder(&self) -> Box<dyn dvse_ingest::Embedder> {
            self.0.embedder()
        }
    }
    let (disk, parts) = (prepared(), TestParts::default());
    let error = pipeline::run(&log_on(&disk), &config(), 1, &Rivalled(parts.clone()), &Progress::default());
    let Err(PipelineError::Sink { partition: 0, source: SinkError::Fenced(_) }) = error else {
        panic!("{error:?}")
    };
    assert!(parts.sink.0.lock().unwrap().entries.is_empty());
    ingest(&disk, &parts).unwrap();
    check_exactly_once(&disk, &parts.sink, "by a worker that nobody fences");
}

#[test]
fn a_second_pipeline_on_the_same_log_is_refused() {
    let (disk, parts) = (prepared(), TestParts::default());
    let log = log_on(&disk);
    let held = run(log.producer(&TopicName::vector_indexed(), 0)).unwrap();
    let error = ingest(&disk, &parts).unwrap_err();
    let PipelineError::Log { source, .. } = error else { panic!("{error}") };
    assert!(matches!(*source, dvse_ingest::LogError::Busy { .. }), "{source}");
    drop(held);
    ingest(&disk, &parts).unwrap();
}

#[test]
fn a_collection_made_anew_gets_the_stream_from_its_beginning() {
    let (disk, parts) = (prepared(), TestParts::default());
    ingest(&disk, &parts).unwrap();
    let (events, anew) = (parts.sink.0.lock().unwrap().entries.len(), TestParts::default());
    ingest(&disk, &anew).unwrap();
    assert_eq!(parts.sink.0.lock().unwrap().points.len(), anew.sink.0.lock().unwrap().points.len());
    assert_eq!(anew.sink.0.lock().unwrap().entries.len(), events);
}

#[test]
fn a_topic_made_anew_is_another_stream() {
    let parts = TestParts::default();
    for disk in [prepared(), prepared()] {
        ingest(&disk, &parts).unwrap();
    }
    let collection = parts.sink.0.lock().unwrap();
    assert_eq!(collection.sources.len(), 2, "{:?}", collection.sources);
}

#[test]
fn partitions_are_worked_on_side_by_side_and_each_in_order() {
    let log: Arc<dyn TopicLog> = Arc::new(EmbeddedLog::over(Arc::new(MemDirectory::new()), Clock::system()));
    check_partitions(&log, config());
}

/// Sends 300 records through three partitions of a log that has none of the topics.
pub fn check_partitions(log: &Arc<dyn TopicLog>, config: PipelineConfig) {
    let parts = TestParts::default();
    let config = PipelineConfig { batch_records: 10.try_into().unwrap(), ..config };
    run(async {
        assert_eq!(pipeline::ensure_topics(&**log, &config, 3).await.unwrap(), 3);
        assert_eq!(pipeline::ensure_topics(&**log, &config, 7).await.unwrap(), 3, "what is there stays");
        let mut producers = Vec::new();
        for partition in 0..3 {
            producers.push(log.producer(&config.raw_events, partition).await.unwrap());
        }
        for number in 0..300 {
            let id = number % 20;
            let record = json!({"source_id": "s", "timestamp": 0, "id": id, "payload": {"n": number}, "vector": [1, 2, 3]});
            let record = record.to_string();
            let key = dvse_ingest::key_of(record.as_bytes());
            assert_eq!(key, id.to_string().into_bytes());
            let producer = &mut producers[partition_of(&key, 3) as usize];
            producer.append(&key, record.as_bytes(), Duration::ZERO).await.unwrap();
        }
        for producer in &mut producers {
            producer.flush().await.unwrap();
        }
    });
    let progress = Progress::default();
    pipeline::run(log, &config, 3, &parts, &progress).unwrap();
    let collection = parts.sink.0.lock().unwrap();
    assert_eq!(collection.points.len(), 20);
    for (id, (_, payload)) in &collection.points {
        let last = 280 + id.to_string().parse::<u64>().unwrap();
        assert_eq!(payload["n"], last, "the last of {id}");
    }
    let counts = progress.counts();
    assert_eq!((counts.records, counts.dead, counts.lag.records), (300, 0, 0), "{counts:?}");
    assert_eq!(counts.events, counts.changes);
}

#[test]
fn a_pipeline_asked_to_stop_ends_although_the_collection_cannot_be_reached() {
    let (disk, parts) = (prepared(), TestParts::default());
    for call in 1..=1000 {
        parts.sink.0.lock().unwrap().faults.insert(call, crate::memory_sink::Fault::Busy);
    }
    let config = PipelineConfig { retry_first: Duration::from_secs(600), until_empty: false, ..config() };
    let progress = Progress::default();
    std::thread::scope(|scope| {
        let worker = scope.spawn(|| pipeline::run(&log_on(&disk), &config, 1, &parts, &progress));
        while progress.trouble().is_none() {
            std::thread::yield_now();
        }
        assert!(progress.trouble().unwrap().contains("busy"));
        progress.stop();
        worker.join().unwrap().unwrap();
    });
}

#[test]
fn a_record_that_is_too_large_is_a_letter_without_it_and_its_neighbours_go_in() {
    let log: Arc<dyn TopicLog> = Arc::new(EmbeddedLog::over(Arc::new(MemDirectory::new()), Clock::system()));
    let (parts, config, bytes) = (TestParts::default(), config(), RECORD_BYTES_MAX + 1);
    let neighbour = |id| {
        json!({"source_id": "s", "timestamp": 0, "id": id, "payload": {}, "vector": [1, 2, 3]}).to_string()
    };
    run(async {
        pipeline::ensure_topics(&*log, &config, 1).await.unwrap();
        let mut producer = log.producer(&config.raw_events, 0).await.unwrap();
        for record in [neighbour(1).into_bytes(), vec![b'x'; bytes], neighbour(2).into_bytes()] {
            producer.append(b"", &record, Duration::ZERO).await.unwrap();
        }
        producer.flush().await.unwrap();
    });
    pipeline::run(&log, &config, 1, &parts, &Progress::default()).unwrap();
    assert_eq!(parts.sink.0.lock().unwrap().points.len(), 2);
    let letters = run(async {
        let mut source = log.source(&config.dead_letters, 0, None).await.unwrap();
        crate::conformance::read_all(&mut *source, 10).await
    });
    let [letter] = letters.as_slice() else { panic!("{} letters", letters.len()) };
    let letter = DeadLetter::from_json(&letter.payload).unwrap();
    assert_eq!((letter.position, &*letter.code, letter.record.len()), (Position(2), "too_large", 0));
    assert!(
        letter.reason.contains(&bytes.to_string()) && letter.reason.contains("left out"),
        "{}",
        letter.reason
    );
}
