//! Embeds the meanings on all cores and writes them as they come.

use std::sync::{Mutex, PoisonError, mpsc};
use std::thread;

use dvse_embed::wordnet::{self, Gloss};
use dvse_embed::{Embedder as _, StaticEmbedder};
use dvse_engine::{Durability, EmbeddedCollection};
use dvse_types::{Point, PointId, WriteBatch, WriteOp};

use super::Interrupted;
use super::dictionary::point_of;
use crate::failure::Result;
use crate::output::grouped;
use crate::progress::Board;

/// Points in one entry of the log. Each entry is synced before the next, so this is what one sync pays for.
const BATCH: usize = 1_024;

/// Writes the meanings that are not there yet. A run that was cut off is gone on with.
///
/// # Errors
/// A write fails, or the user asks to stop.
pub fn fill(
    collection: &EmbeddedCollection,
    embedder: &StaticEmbedder,
    board: &Board,
    stop: &(dyn Fn() -> bool + Sync),
) -> Result<()> {
    let view = collection.view();
    let there = view.count(None)?;
    if there == wordnet::COUNT {
        board.say(&format!("all {} meanings are here from an earlier run", grouped(there as u64)));
        return Ok(());
    }
    let mut missing = wordnet::load()?;
    missing.retain(|gloss| !view.contains(PointId::Num(u64::from(gloss.id))));
    drop(view);
    let total = Some(missing.len() as u64);
    let mut embedded = board.task("embed", "texts", total);
    let mut written = board.task("insert", "points", total);
    let cores = thread::available_parallelism().map_or(1, usize::from);
    let batches = Mutex::new(missing.chunks(BATCH));
    // Bounded, so that embedding does not run ahead of writing by more than some megabytes.
    let (sender, receiver) = mpsc::sync_channel::<Result<Vec<Point>>>(2 * cores);
    thread::scope(|scope| {
        for _ in 0..cores {
            let (sender, batches) = (sender.clone(), &batches);
            scope.spawn(move || {
                loop {
                    let next = batches.lock().unwrap_or_else(PoisonError::into_inner).next();
                    let Some(glosses) = next else { return };
                    // The receiver is gone when a write has failed; that error is the one to tell.
                    if sender.send(embed(embedder, glosses)).is_err() {
                        return;
                    }
                }
            });
        }
        drop(sender);
        let write_all = || -> Result<()> {
            for points in receiver {
                if stop() {
                    return Err(Interrupted.into());
                }
                let points = points?;
                let count = points.len() as u64;
                embedded.add(count);
                let batch = WriteBatch::new(vec![WriteOp::Upsert(points)]);
                collection.write(batch, Durability::Synced)?;
                written.add(count);
            }
            Ok(())
        };
        write_all()
    })?;
    embedded.finish();
    written.finish();
    Ok(())
}

fn embed(embedder: &StaticEmbedder, glosses: &[Gloss]) -> Result<Vec<Point>> {
    let texts: Vec<&str> = glosses.iter().map(Gloss::text).collect();
    let vectors = embedder.embed(&texts)?;
    Ok(glosses.iter().zip(vectors).map(|(gloss, vector)| point_of(gloss, vector)).collect())
}
