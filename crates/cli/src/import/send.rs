//! Sends batches over some connections at once and keeps account of what is written.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError, mpsc};
use std::thread;
use std::time::Duration;

use ureq::http::Method;

use super::{Batch, ImportArguments, Source};
use crate::client::{Client, may_pass, segment};
use crate::failure::{Failure, Result};
use crate::progress::{Board, Task};

/// How often a request is tried before the import stops, and the first pause; each next one is twice as long.
const TRIES: u32 = 5;
const FIRST_PAUSE: Duration = Duration::from_millis(200);

/// What the senders share.
struct Account {
    task: Task,
    /// Points written without a gap since the beginning of the file.
    prefix: u64,
    /// Batches written beyond the first gap: first point to number of points.
    beyond: BTreeMap<u64, u64>,
    failure: Option<Failure>,
}

impl Account {
    fn written(&mut self, first: u64, points: u64) {
        self.beyond.insert(first, points);
        while let Some(points) = self.beyond.remove(&self.prefix) {
            self.prefix += points;
        }
        self.task.add(points);
    }
}

/// Sends the whole source, or what of it is sent before `is_stopped`.
///
/// # Errors
/// The source cannot be read, the server refuses a batch, or it was stopped. The message says where to go on.
pub fn send_all(
    client: &Client,
    arguments: &ImportArguments,
    source: &mut dyn Source,
    board: &Board,
    is_stopped: &(dyn Fn() -> bool + Sync),
) -> Result<()> {
    let path = format!("/collections/{}/points?wait=true", segment(&arguments.collection));
    let mut task = board.task("import", "points", source.total());
    task.resume_at(arguments.skip);
    let account = Account { task, prefix: arguments.skip, beyond: BTreeMap::new(), failure: None };
    let account = Mutex::new(account);
    let stop = AtomicBool::new(false);
    let connections = usize::from(arguments.connections);
    let (to_senders, batches) = mpsc::sync_channel::<Batch>(connections);
    let batches = Mutex::new(batches);
    thread::scope(|scope| {
        for _ in 0..connections {
            scope.spawn(|| {
                loop {
                    let next = batches.lock().unwrap_or_else(PoisonError::into_inner).recv();
                    let Ok(batch) = next else { return };
                    // After a failure the rest is drained unsent, so that the reader is not left waiting.
                    if stop.load(Ordering::Relaxed) {
                        continue;
                    }
                    let outcome = send(client, &path, &batch, is_stopped);
                    let mut account = account.lock().unwrap_or_else(PoisonError::into_inner);
                    match outcome {
                        Ok(()) => account.written(batch.first, batch.points),
                        Err(failure) => {
                            stop.store(true, Ordering::Relaxed);
                            account.failure.get_or_insert(failure);
                        }
                    }
                }
            });
        }
        while !stop.load(Ordering::Relaxed) {
            if is_stopped() {
                let mut account = account.lock().unwrap_or_else(PoisonError::into_inner);
                account.failure.get_or_insert(Failure::new("stopped"));
                break;
            }
            let read = source.next_batch(u64::from(arguments.batch));
            let mut account = account.lock().unwrap_or_else(PoisonError::into_inner);
            account.task.expect_total(source.total());
            match read {
                Ok(Some(batch)) => {
                    drop(account);
                    if to_senders.send(batch).is_err() {
                        break;
                    }
                }
                Ok(None) => break,
                Err(failure) => {
                    account.failure.get_or_insert(failure);
                    break;
                }
            }
        }
        drop(to_senders);
    });
    let account = account.into_inner().unwrap_or_else(PoisonError::into_inner);
    let written = account.prefix;
    match account.failure {
        None => {
            account.task.finish();
            Ok(())
        }
        Some(failure) => {
            drop(account.task);
            let (fact, command) = match written {
                0 => ("no points are written".to_owned(), "run the same command again".to_owned()),
                _ => (
                    format!("the first {written} points are written"),
                    format!("run the same command with --skip {written} to go on"),
                ),
            };
            let remedy = if is_stopped() { command } else { format!("when that is mended, {command}") };
            Err(failure.doing_more(fact, remedy))
        }
    }
}

fn send(client: &Client, path: &str, batch: &Batch, is_stopped: &dyn Fn() -> bool) -> Result<()> {
    let mut pause = FIRST_PAUSE;
    for attempt in 1.. {
        match client.send(Method::PUT, path, Some(batch.body.clone())) {
            Ok(_) => break,
            Err(failure) if attempt < TRIES && may_pass(&failure) && !is_stopped() => {
                thread::sleep(pause);
                pause *= 2;
            }
            Err(failure) => return Err(failure),
        }
    }
    Ok(())
}
