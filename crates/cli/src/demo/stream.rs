//! `dvse demo --pipeline`: the meanings as records of a stream, through a log in the demo's folder, into the same collection.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use dvse_embed::StaticEmbedder;
use dvse_embed::wordnet::{self, Gloss};
use dvse_engine::EmbeddedCollection;
use dvse_ingest::pipeline::{PipelineConfig, Progress, WorkerState, ensure_topics};
use dvse_ingest::{Clock, EmbeddedLog, Producer, TopicLog, TopicName, key_of, partition_of};
use dvse_server::ingest::PipelineSpec;
use dvse_types::PointId;
use serde_json::{Value, json};

use super::dictionary::payload_of;
use super::{COLLECTION, Interrupted};
use crate::failure::{Failure, Remedy as _, Result};
use crate::node::RunningNode;
use crate::output::grouped;
use crate::progress::{Board, Task};
use crate::stream::{PARTITIONS, block_on, log_failure};

/// The folder of the log, in the demo's own.
const FOLDER: &str = "log";
/// Records that are made durable at once.
const FLUSH_RECORDS: usize = 4_096;
/// More than the log lets wait is never sent here: it is a few tens of megabytes.
const HELD_WAIT: Duration = Duration::from_secs(60);
/// Between two looks at the workers.
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// The log, and the pipeline of the node that takes its records.
pub struct Stream {
    log: Arc<dyn TopicLog>,
    folder: PathBuf,
    progress: Arc<Progress>,
}

impl Stream {
    /// Begins the pipeline.
    ///
    /// # Errors
    /// The folder cannot be written.
    pub fn begin(node: &RunningNode, embedder: &Arc<StaticEmbedder>) -> Result<Stream> {
        let folder = node.data().join(FOLDER);
        let (log, config) = open(&folder)?;
        let progress = Arc::new(Progress::default());
        let spec = PipelineSpec {
            config,
            source: format!("file:{}", folder.display()),
            log: Arc::clone(&log),
            partitions: PARTITIONS,
            models: vec![Arc::clone(embedder) as Arc<dyn dvse_embed::Embedder>],
            progress: Arc::clone(&progress),
        };
        node.ingest(spec)?;
        Ok(Stream { log, folder, progress })
    }

    /// Sends the meanings that are not there yet, and waits until they are. A run that was cut off is gone on with.
    ///
    /// # Errors
    /// The log cannot be written, the pipeline stops, or the user asks to stop.
    pub fn fill(&self, collection: &EmbeddedCollection, node: &RunningNode, board: &Board) -> Result<()> {
        let glosses = wordnet::load()?;
        let is_missing = |view: &dvse_engine::CollectionView, gloss: &Gloss| {
            !view.contains(PointId::Num(u64::from(gloss.id)))
        };
        // What is in the log already is on its way. Only where that is not so, such as for a collection that was deleted long
        // after, it is sent again.
        for skips_sent in [true, false] {
            let view = collection.view();
            let missing: Vec<&Gloss> = glosses.iter().filter(|gloss| is_missing(&view, gloss)).collect();
            drop(view);
            if missing.is_empty() {
                if skips_sent {
                    board.say(&format!(
                        "all {} meanings are here from an earlier run",
                        grouped(glosses.len() as u64)
                    ));
                }
                return Ok(());
            }
            let mut done = board.task("ingest", "points", Some(missing.len() as u64));
            let before = self.progress.counts().records;
            let look = |done: &mut Task| {
                done.set(self.progress.counts().records - before);
                if node.stop_asked() { Err(Interrupted.into()) } else { Ok(()) }
            };
            let mut sent = board.task("send", "records", Some(missing.len() as u64));
            block_on(async {
                send(&*self.log, &missing, skips_sent, &mut |records| {
                    sent.set(records);
                    look(&mut done)
                })
                .await
            })?;
            sent.finish();
            self.drain(&mut || look(&mut done))?;
            done.finish();
        }
        let view = collection.view();
        match glosses.iter().filter(|gloss| is_missing(&view, gloss)).count() {
            0 => Ok(()),
            left => Err(Failure::new(format!("{left} meanings did not come through the pipeline"))
                .with_help(format!("see why: dvse dead-letters list --from file:{}", self.folder.display()))),
        }
    }

    /// Waits until nothing is left.
    fn drain(&self, look: &mut dyn FnMut() -> Result<()>) -> Result<()> {
        self.progress.drain();
        loop {
            look()?;
            let status = self.progress.status((Clock::system().0)());
            match status.state {
                WorkerState::Drained => return Ok(()),
                WorkerState::Stopped => {
                    let reason = status.reason.unwrap_or_else(|| "the log of messages says why".to_owned());
                    return Err(Failure::new(format!("ingest stopped: {reason}"))
                        .with_help("run the same command again: it goes on where it stopped"));
                }
                _ => thread::sleep(LOOK_EVERY),
            }
        }
    }

    /// Takes records again, of whoever sends some, and says where to.
    pub fn serve(&self, board: &Board) {
        self.progress.resume();
        board.say(&format!(
            "what is sent to the log is in the collection a moment later:\n  \
             dvse produce --to file:{} --file records.jsonl",
            self.folder.display()
        ));
    }
}

fn open(folder: &Path) -> Result<(Arc<dyn TopicLog>, PipelineConfig)> {
    let opened = EmbeddedLog::open(folder).doing(|| format!("cannot open the log in {}", folder.display()));
    let log: Arc<dyn TopicLog> =
        Arc::new(opened.help(|| "choose another folder with --data DIR".to_owned())?);
    let config = PipelineConfig::of(COLLECTION);
    block_on(async { ensure_topics(&*log, &config, PARTITIONS).await.map_err(log_failure) })?;
    Ok((log, config))
}

/// Sends records, in the order of their ids; without those that are in the log already, if so asked. Those are the ones up to
/// the newest record of their partition, as every run sends in this order.
async fn send(
    log: &dyn TopicLog,
    glosses: &[&Gloss],
    skips_sent: bool,
    look: &mut dyn FnMut(u64) -> Result<()>,
) -> Result<()> {
    let topic = TopicName::raw_events();
    let partitions = log.spec(&topic).await.map_err(log_failure)?.map_or(PARTITIONS, |spec| spec.partitions);
    let (mut producers, mut newest) = (Vec::new(), Vec::new());
    for partition in 0..partitions {
        let mut producer = log.producer(&topic, partition).await.map_err(log_failure)?;
        newest.push(if skips_sent { newest_id(&mut *producer).await? } else { None });
        producers.push(producer);
    }
    let now_ms = (Clock::system().0)();
    let mut records = 0;
    for some in glosses.chunks(FLUSH_RECORDS) {
        for gloss in some {
            let record = record_of(gloss, now_ms);
            let key = key_of(&record);
            let partition = partition_of(&key, partitions) as usize;
            let is_sent = newest.get(partition).is_some_and(|newest| Some(u64::from(gloss.id)) <= *newest);
            if let Some(producer) = producers.get_mut(partition).filter(|_| !is_sent) {
                producer.append(&key, &record, HELD_WAIT).await.map_err(log_failure)?;
            }
        }
        for producer in &mut producers {
            producer.flush().await.map_err(log_failure)?;
        }
        records += some.len() as u64;
        look(records)?;
    }
    Ok(())
}

/// Returns the id of the newest record of a partition.
async fn newest_id(producer: &mut dyn Producer) -> Result<Option<u64>> {
    let mut newest = None;
    let mut visit = |record: dvse_ingest::Record| {
        let value: Option<Value> = serde_json::from_slice(&record.payload).ok();
        newest = value.and_then(|value| value.get("id")?.as_u64());
        std::ops::ControlFlow::Break(())
    };
    producer.visit_newest_first(&mut visit).await.map_err(log_failure)?;
    Ok(newest)
}

fn record_of(gloss: &Gloss, now_ms: u64) -> Vec<u8> {
    let record = json!({
        "source_id": gloss.synset,
        "timestamp": now_ms,
        "id": gloss.id,
        "payload": payload_of(gloss),
        "text": gloss.text(),
    });
    record.to_string().into_bytes()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use dvse_ingest::{RawChange, RawEvent, ReadLimits};

    use super::*;

    /// Ids of all records in the log, and how many records there are.
    async fn sent(log: &dyn TopicLog) -> (BTreeSet<PointId>, usize) {
        let (mut ids, mut count) = (BTreeSet::new(), 0);
        for partition in 0..PARTITIONS {
            let mut source = log.source(&TopicName::raw_events(), partition, None).await.unwrap();
            let limits = ReadLimits { records: 100_000, bytes: 1 << 30, wait: Duration::ZERO };
            for record in source.read(limits).await.unwrap() {
                let event = RawEvent::decode(&record.payload, 256).unwrap();
                assert!(matches!(event.change, RawChange::Upsert { .. }));
                ids.insert(event.id);
                count += 1;
            }
        }
        (ids, count)
    }

    #[test]
    fn a_run_that_was_cut_off_sends_the_rest() {
        let folder = tempfile::tempdir().unwrap();
        let (log, _) = open(folder.path()).unwrap();
        let glosses: Vec<Gloss> =
            wordnet::glosses().take(3 * FLUSH_RECORDS).collect::<std::result::Result<_, _>>().unwrap();
        let all: Vec<&Gloss> = glosses.iter().collect();
        block_on(async {
            let mut cut_off = |records| {
                if records > FLUSH_RECORDS as u64 { Err(Interrupted.into()) } else { Ok(()) }
            };
            let failure = send(&*log, &all, true, &mut cut_off).await.unwrap_err();
            assert!(failure.cause::<Interrupted>().is_some());
            assert_eq!(sent(&*log).await.1, 2 * FLUSH_RECORDS);
            // The first are in the collection meanwhile.
            let (mut looks, missing) = (Vec::new(), all.get(1_000..).unwrap());
            let mut look = |records| {
                looks.push(records);
                Ok(())
            };
            send(&*log, missing, true, &mut look).await.unwrap();
            let (ids, count) = sent(&*log).await;
            assert_eq!((ids.len(), count), (all.len(), all.len()), "each once");
            assert_eq!(looks.last().copied(), Some(missing.len() as u64));
            send(&*log, missing, false, &mut |_| Ok(())).await.unwrap();
            assert_eq!(sent(&*log).await, (ids, all.len() + missing.len()));
            Ok(())
        })
        .unwrap();
    }
}
