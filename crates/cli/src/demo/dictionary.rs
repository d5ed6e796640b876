//! WordNet as a collection: a point for each meaning.

use std::collections::BTreeMap;
use std::sync::Arc;

use dvse_embed::wordnet::Gloss;
use dvse_embed::{Embedder as _, StaticEmbedder};
use dvse_engine::{Database, EmbeddedCollection};
use dvse_types::{
    CollectionSchema, FieldKind, Metric, NamedVectors, Payload, Point, PointId, Vector, VectorName,
};
use serde_json::json;

use super::COLLECTION;
use crate::failure::{Failure, Result};

/// Opens the collection, or creates it.
///
/// # Errors
/// The folder cannot be written, or it has a collection of this name that is another one.
pub fn open(database: &Database, embedder: &StaticEmbedder) -> Result<Arc<EmbeddedCollection>> {
    let schema = schema(embedder)?;
    if !database.names().iter().any(|name| name == COLLECTION) {
        return Ok(database.create(COLLECTION, schema)?);
    }
    let collection = database.get(COLLECTION)?;
    if collection.schema().vectors != schema.vectors {
        return Err(Failure::new(format!("the folder has a collection {COLLECTION} that is not the demo's"))
            .with_help("choose another folder with --data"));
    }
    Ok(collection)
}

/// Unit vectors of the bundled table under cosine, and indexes on what one would filter by.
fn schema(embedder: &StaticEmbedder) -> Result<CollectionSchema> {
    let mut schema = CollectionSchema::single(embedder.model().dim, Metric::Cosine);
    for params in schema.vectors.values_mut() {
        params.model = Some(embedder.model().name.clone());
    }
    for field in ["pos", "domain"] {
        schema.payload_indexes.insert(field.parse()?, FieldKind::Keyword);
    }
    Ok(schema)
}

/// The point of a meaning.
pub fn point_of(gloss: &Gloss, vector: Vector) -> Point {
    let vectors: NamedVectors = BTreeMap::from([(VectorName::new(), vector)]);
    Point { id: PointId::Num(u64::from(gloss.id)), vectors, payload: payload_of(gloss) }
}

/// What the point of a meaning holds beside its vector.
pub fn payload_of(gloss: &Gloss) -> Payload {
    let mut fields = vec![
        ("words", json!(gloss.lemmas)),
        ("pos", json!(gloss.pos.as_str())),
        ("definition", json!(gloss.definition)),
        ("domain", json!(gloss.domain)),
        ("synset", json!(gloss.synset)),
    ];
    if !gloss.examples.is_empty() {
        fields.push(("examples", json!(gloss.examples)));
    }
    fields.into_iter().map(|(key, value)| (key.to_owned(), value)).collect()
}
