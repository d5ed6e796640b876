//! The sample questions and their answers.

use dvse_embed::StaticEmbedder;
use dvse_embed::wordnet::SAMPLE_QUESTIONS;
use dvse_engine::EmbeddedCollection;
use dvse_types::{Hit, PayloadSelector, Projection, SearchParams, SearchRequest, VectorName, VectorSelector};

use crate::failure::Result;
use crate::output::{Output, Table};

/// How many of the samples are shown: what fits beside the rest on a screen.
const SHOWN: usize = 8;
/// How many answers each gets.
const ANSWERS: usize = 3;

/// A request for the nearest meanings to a vector.
pub fn request(query: Vec<f32>, limit: usize, params: SearchParams) -> SearchRequest {
    SearchRequest {
        vector_name: VectorName::new(),
        query,
        limit,
        filter: None,
        exclude: Vec::new(),
        distance_max: None,
        params,
    }
}

/// Asks the samples and prints the words found.
///
/// # Errors
/// A search fails, or the output cannot be written.
pub fn answer_samples(
    collection: &EmbeddedCollection,
    embedder: &StaticEmbedder,
    output: &Output,
) -> Result<()> {
    let mut table = Table::new(["question", "nearest meanings"]);
    for (question, _) in SAMPLE_QUESTIONS.iter().take(SHOWN) {
        let query = embedder.embed_parallel(&[question], 1)?;
        let view = collection.view();
        let hits = view.search(&request(query, ANSWERS, SearchParams::default()))?.hits;
        let ids: Vec<_> = hits.iter().map(|hit: &Hit| hit.id).collect();
        let wanted = Projection {
            payload: PayloadSelector::Include(vec!["words".parse()?]),
            vectors: VectorSelector::None,
        };
        let records = view.retrieve(&ids, &wanted)?;
        let words = records.iter().filter_map(|record| {
            record.payload.as_ref()?.get("words")?.as_array()?.first()?.as_str().map(str::to_owned)
        });
        table.row([(*question).to_owned(), words.collect::<Vec<_>>().join(", ")]);
    }
    output.line("")?;
    table.print(output)?;
    output.line("")
}
