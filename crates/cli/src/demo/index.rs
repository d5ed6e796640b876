//! Waits for the index, and says what it is doing.

use std::time::Instant;

use dvse_engine::EmbeddedCollection;

use super::Interrupted;
use crate::failure::Result;
use crate::node::RunningNode;
use crate::output::grouped;
use crate::progress::Board;

/// Waits until every row is indexed, then puts the index on disk, so that the next start reads it.
///
/// # Errors
/// Maintenance fails, or the user asks to stop.
pub fn wait(
    collection: &EmbeddedCollection,
    node: &RunningNode,
    board: &Board,
    patience_ends: Instant,
) -> Result<()> {
    let mut task = None;
    let mut told = false;
    let mut complete = false;
    let mut interrupted = false;
    let mut watch = |indexed: usize, rows: usize| {
        interrupted = node.stop_asked();
        let (indexed, rows) = (indexed as u64, rows as u64);
        if indexed < rows {
            let task = task.get_or_insert_with(|| {
                let mut task = board.task("index", "vectors", Some(rows));
                task.resume_at(indexed);
                task
            });
            task.set(indexed);
            if !told && Instant::now() > patience_ends {
                told = true;
                board.say(&format!(
                    "the index covers {} of {} meanings; the rest is compared one by one, so {} can be asked already",
                    grouped(indexed),
                    grouped(rows),
                    node.url()
                ));
            }
        } else if let Some(mut task) = task.take() {
            task.set(indexed);
            task.finish();
            complete = true;
        } else if complete {
            // Only with settings other than the demo's own there is more than one segment.
            complete = false;
            board.say("merging segments, so that a search walks one graph");
        }
        !interrupted
    };
    collection.settle(&mut watch)?;
    if interrupted {
        return Err(Interrupted.into());
    }
    collection.flush()?;
    collection.settle(&mut |_, _| !node.stop_asked())?;
    if node.stop_asked() {
        return Err(Interrupted.into());
    }
    Ok(())
}
