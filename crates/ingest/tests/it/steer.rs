//! Pipelines that are paused, drained, and begun again, and what they tell of themselves.

use std::sync::Arc;
use std::thread;
use std::time::Duration;

use dvse_ingest::pipeline::{
    self, FailureKind, Mode, PipelineConfig, PipelineError, PipelineStatus, Progress, WorkerState,
};
use dvse_ingest::{Clock, EmbeddedLog, SinkError, TopicLog, TopicName, TopicSpec};
use dvse_storage::MemDirectory;
use serde_json::json;

use crate::conformance::run;
use crate::crash::config;
use crate::memory_sink::TestParts;

/// When all records are appended.
const APPENDED_MS: u64 = 1_000;

/// A log whose records are appended at one time, with topics of two partitions and a bound on what waits.
fn log() -> Arc<dyn TopicLog> {
    let clock = Clock(Arc::new(|| APPENDED_MS));
    let log: Arc<dyn TopicLog> = Arc::new(EmbeddedLog::over(Arc::new(MemDirectory::new()), clock));
    let spec = TopicSpec { backlog_bytes_max: Some(2_000), ..TopicSpec::raw_events(2) };
    run(async {
        log.ensure(&TopicName::raw_events(), spec).await.unwrap();
        assert_eq!(pipeline::ensure_topics(&*log, &config(), 2).await.unwrap(), 2);
    });
    log
}

/// Sends records to both partitions, as many as there is room for; returns how many.
fn send(log: &dyn TopicLog, most: u64) -> u64 {
    run(async {
        let mut sent = 0;
        for partition in 0..2 {
            let mut producer = log.producer(&TopicName::raw_events(), partition).await.unwrap();
            for id in 0..most {
                let record =
                    json!({"source_id": "s", "timestamp": 0, "id": id, "payload": {}, "text": "text"});
                match producer.append(b"", record.to_string().as_bytes(), Duration::ZERO).await {
                    Ok(()) => sent += 1,
                    Err(error) => {
                        assert!(error.is_held(), "{error}");
                        break;
                    }
                }
            }
            producer.flush().await.unwrap();
        }
        sent
    })
}

/// Waits until the pipeline is as wanted.
fn wait(progress: &Progress, is_as_wanted: impl Fn(&PipelineStatus) -> bool) -> PipelineStatus {
    run(async {
        let mut changes = progress.watch();
        loop {
            let status = progress.status(APPENDED_MS);
            if is_as_wanted(&status) {
                return status;
            }
            changes.changed().await.unwrap();
        }
    })
}

fn wait_for(progress: &Progress, state: WorkerState) -> PipelineStatus {
    wait(progress, |status| status.state == state && status.partitions.len() == 2)
}

/// Runs a pipeline for as long as the work takes, and then stops it.
fn with_pipeline(
    log: &Arc<dyn TopicLog>,
    parts: &TestParts,
    progress: &Progress,
    work: impl FnOnce(),
) -> Result<(), PipelineError> {
    let config = PipelineConfig { until_empty: false, idle_wait: Duration::from_millis(1), ..config() };
    thread::scope(|scope| {
        let running = scope.spawn(|| pipeline::run(log, &config, 2, parts, progress));
        work();
        progress.stop();
        running.join().unwrap()
    })
}

#[test]
fn a_paused_pipeline_begins_no_batch_holds_senders_and_ages() {
    let (log, parts, progress) = (log(), TestParts::default(), Progress::default());
    let sent = send(&*log, 5);
    assert!(progress.pause());
    let ended = with_pipeline(&log, &parts, &progress, || {
        let status = wait_for(&progress, WorkerState::Paused);
        assert_eq!((status.mode, status.counts.records), (Mode::Pause, 0));
        assert_eq!((status.counts.lag.records, status.partitions[1].epoch), (sent, 1));
        // However long it stands still, the age is that of the oldest record.
        for minutes in [1, 10, 600] {
            let status = progress.status(APPENDED_MS + minutes * 60_000);
            assert_eq!((status.age_ms, status.partitions[1].age_ms), (minutes * 60_000, minutes * 60_000));
        }
        // Who sends is held by the bound of the log, and nothing is lost.
        let more = send(&*log, 1_000);
        assert!(more > 0 && more < 2_000, "{more}");
        assert!(parts.sink.0.lock().unwrap().entries.is_empty());
        assert!(progress.resume());
        let status = wait_for(&progress, WorkerState::Running);
        assert_eq!((status.mode, status.reason), (Mode::Run, None));
        assert!(progress.drain());
        assert_eq!(wait_for(&progress, WorkerState::Drained).counts.records, sent + more);
    });
    ended.unwrap();
    let status = progress.status(APPENDED_MS);
    assert_eq!((status.state, status.mode), (WorkerState::Stopped, Mode::Stop));
    assert!(!progress.pause() && !progress.drain() && !progress.resume());
}

#[test]
fn a_drained_pipeline_looks_anew_each_time_it_is_asked() {
    let (log, parts, progress) = (log(), TestParts::default(), Progress::default());
    let ended = with_pipeline(&log, &parts, &progress, || {
        let mut total = 0;
        for _ in 0..5 {
            total += send(&*log, 4);
            assert!(progress.drain());
            let status = wait_for(&progress, WorkerState::Drained);
            assert_eq!((status.counts.records, status.counts.lag.records), (total, 0));
        }
        // From drained it can be paused, and from paused drained.
        assert!(progress.pause());
        wait_for(&progress, WorkerState::Paused);
        total += send(&*log, 4);
        assert!(progress.drain());
        assert_eq!(wait_for(&progress, WorkerState::Drained).counts.records, total);
        let collection = parts.sink.0.lock().unwrap();
        assert!(collection.sources.values().all(|state| state.epoch == 1), "nobody took over again");
    });
    ended.unwrap();
}

#[test]
fn a_paused_worker_keeps_nobody_from_taking_over() {
    let (log, parts, progress) = (log(), TestParts::default(), Progress::default());
    let sent = send(&*log, 5);
    assert!(progress.pause());
    let ended = with_pipeline(&log, &parts, &progress, || {
        wait_for(&progress, WorkerState::Paused);
        for state in parts.sink.0.lock().unwrap().sources.values_mut() {
            state.epoch += 1;
        }
        assert!(progress.resume());
        wait_for(&progress, WorkerState::Stopped);
    });
    let Err(error @ PipelineError::Sink { source: SinkError::Fenced(_), .. }) = ended else {
        panic!("{ended:?}")
    };
    let fenced = FailureKind::ALL.iter().position(|kind| *kind == FailureKind::Fenced).unwrap();
    let of_workers = |progress: &Progress| {
        progress.status(0).partitions.iter().map(|one| one.failures[fenced]).sum::<u64>()
    };
    assert!((1..=2).contains(&of_workers(&progress)) && error.kind() == FailureKind::Fenced);
    assert!(parts.sink.0.lock().unwrap().entries.is_empty());

    // Whoever runs it can begin it again, which takes the partitions back. Counters go on.
    let progress = Progress::default();
    progress.ended(Some(FailureKind::Log), "the log is away".to_owned());
    let status = progress.status(0);
    assert_eq!((status.state, status.reason.as_deref()), (WorkerState::Stopped, Some("the log is away")));
    assert_eq!(status.failures.iter().sum::<u64>(), 1);
    assert!(!progress.pause() && !progress.drain());
    assert!(progress.resume() && progress.wait_for_resume().unwrap());
    assert_eq!(progress.status(0).state, WorkerState::Waiting);
    let ended = with_pipeline(&log, &parts, &progress, || {
        progress.drain();
        assert_eq!(wait_for(&progress, WorkerState::Drained).counts.records, sent);
    });
    ended.unwrap();
    assert!(!progress.wait_for_resume().unwrap(), "it was stopped for good");
}

#[test]
fn a_worker_that_waits_says_so_and_counts_what_failed() {
    let (log, parts, progress) = (log(), TestParts::default(), Progress::default());
    let sent = send(&*log, 5);
    // The calls that take over are the first two, the next are writes.
    for call in [1, 3, 4] {
        parts.sink.0.lock().unwrap().faults.insert(call, crate::memory_sink::Fault::Busy);
    }
    let ended = with_pipeline(&log, &parts, &progress, || {
        progress.drain();
        let status = wait_for(&progress, WorkerState::Drained);
        assert_eq!((status.counts.records, status.counts.retries), (sent, 3));
        let collection = FailureKind::Collection as usize;
        assert_eq!(status.partitions.iter().map(|one| one.failures[collection]).sum::<u64>(), 3);
    });
    ended.unwrap();
    // What the log waits for is of all workers that would run.
    progress.set_log_trouble(Some("no broker".to_owned()));
    assert_eq!(progress.status(0).reason.as_deref(), Some("no broker"));
}
