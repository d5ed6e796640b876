//! Recall and latency of the index against exact search, on texts that are not in the base.

use std::time::Instant;

use dvse_embed::wordnet::{self, Gloss};
use dvse_embed::{Embedder as _, StaticEmbedder};
use dvse_engine::EmbeddedCollection;
use dvse_index::{RecallSummary, recall_at};
use dvse_types::SearchParams;

use super::Interrupted;
use super::ask::request;
use crate::bench::percentile;
use crate::failure::{Failure, Result};
use crate::output::{Output, Table};

/// How many queries are measured.
const QUERIES: usize = 200;
/// How many neighbours each asks for.
const K: usize = 10;
/// The settings that are measured.
const EF_SEARCH: [usize; 5] = [16, 32, 64, 128, 256];
/// Exact and indexed search add up the same products in another order.
const SLACK: f32 = 1e-6;

/// Measures and prints a table.
///
/// # Errors
/// A search fails, the user asks to stop, or the output cannot be written.
pub fn measure(
    collection: &EmbeddedCollection,
    embedder: &StaticEmbedder,
    output: &Output,
    stop: &dyn Fn() -> bool,
) -> Result<()> {
    let queries = queries(embedder)?;
    let view = collection.view();
    let run = |params: SearchParams| -> Result<Run> {
        let mut run = Run { distances: Vec::with_capacity(queries.len()), times_us: Vec::new() };
        for query in &queries {
            if stop() {
                return Err(Interrupted.into());
            }
            let request = request(query.clone(), K, params);
            let started = Instant::now();
            let hits = view.search(&request)?.hits;
            run.times_us.push(started.elapsed().as_secs_f64() * 1e6);
            run.distances.push(hits.into_iter().map(|hit| hit.distance).collect());
        }
        run.times_us.sort_unstable_by(f64::total_cmp);
        Ok(run)
    };
    let exact = run(SearchParams { exact: true, ..SearchParams::default() })?;
    let mut table = Table::new(["ef_search", "recall@10", "p50 µs", "p99 µs", "queries/s"]);
    for ef in EF_SEARCH {
        let params = SearchParams { ef_search: Some(ef), ..SearchParams::default() };
        // The first pass is the warm-up.
        run(params)?;
        let found = run(params)?;
        let recalls =
            found.distances.iter().zip(&exact.distances).map(|(f, truth)| recall_at(K, f, truth, SLACK));
        let recall = RecallSummary::of(&recalls.collect::<Vec<_>>()).map_or(1.0, |summary| summary.mean);
        table.row(found.cells(ef.to_string(), recall));
    }
    table.row(exact.cells("exact".to_owned(), 1.0));
    output.line("")?;
    output.line(format!(
        "recall and latency against exact search: {} example sentences of WordNet, none of them in the collection,\n\
         each asked for its {K} nearest meanings, one thread, without the time to embed",
        queries.len()
    ))?;
    table.print(output)?;
    output.line("")
}

struct Run {
    /// Per query, the distances found, nearest first.
    distances: Vec<Vec<f32>>,
    /// Ascending.
    times_us: Vec<f64>,
}

impl Run {
    fn cells(&self, setting: String, recall: f32) -> [String; 5] {
        let total: f64 = self.times_us.iter().sum();
        [
            setting,
            format!("{recall:.4}"),
            format!("{:.0}", percentile(&self.times_us, 50)),
            format!("{:.0}", percentile(&self.times_us, 99)),
            format!("{:.0}", self.times_us.len() as f64 * 1e6 / total.max(1e-9)),
        ]
    }
}

/// Example sentences, spread evenly over the dictionary. Only definitions are embedded into the collection.
fn queries(embedder: &StaticEmbedder) -> Result<Vec<Vec<f32>>> {
    let glosses = wordnet::load()?;
    let sentences: Vec<&str> =
        glosses.iter().filter_map(|gloss: &Gloss| gloss.examples.first().map(String::as_str)).collect();
    let step = (sentences.len() / QUERIES).max(1);
    let chosen: Vec<&str> = sentences.into_iter().step_by(step).take(QUERIES).collect();
    if chosen.is_empty() {
        return Err(Failure::new("the dictionary has no example sentences"));
    }
    let vectors = embedder.embed(&chosen)?;
    Ok(vectors.iter().map(|vector| vector.to_vec()).collect())
}
