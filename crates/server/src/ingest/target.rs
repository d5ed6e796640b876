//! The collection at the end of a pipeline: whether it fits the model, and how one is made for it.

use std::sync::Arc;

use dvse_embed::{Embedder, ModelIdentity};
use dvse_types::{CollectionSchema, Metric};

/// What a pipeline needs to know of its collection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Target {
    /// Dimensions of its vectors.
    pub dim: usize,
    /// How they are compared.
    pub metric: Metric,
}

/// A collection and a model do not go together.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Unfit {
    /// The vectors of the collection have names.
    #[error("the vectors of collection {collection} have names")]
    Named {
        /// The collection.
        collection: String,
    },
    /// Vectors of two models in one collection would be compared without a meaning.
    #[error("the vectors of collection {collection} are of model {kept}, not of {model}")]
    Model {
        /// The collection.
        collection: String,
        /// Its model.
        kept: String,
        /// That of the pipeline.
        model: String,
    },
    /// The model makes vectors of another length.
    #[error("collection {collection} has {dim} dimensions, the model {model} makes {made}")]
    Dimensions {
        /// The collection.
        collection: String,
        /// Its dimensions.
        dim: usize,
        /// The model.
        model: String,
        /// Dimensions of its vectors.
        made: usize,
    },
    /// There is no collection, and no model to make one for.
    #[error("there is no collection {collection}, and no model that tells its dimensions")]
    NoModel {
        /// The collection.
        collection: String,
    },
}

impl Unfit {
    /// What to do about it.
    #[must_use]
    pub fn help(&self) -> String {
        match self {
            Unfit::Named { .. } => {
                "a pipeline fills collections with one vector without a name; choose another one".to_owned()
            }
            Unfit::Model { .. } | Unfit::Dimensions { .. } => {
                "choose another collection or --embedder, or send vectors and use --embedder none".to_owned()
            }
            Unfit::NoModel { collection } => {
                format!("create it: dvse collection create {collection} --dim N")
            }
        }
    }
}

/// Checks that a collection takes vectors of the model; without a model records bring their vectors.
///
/// # Errors
/// It does not.
pub fn fit(
    collection: &str,
    schema: &CollectionSchema,
    model: Option<&ModelIdentity>,
) -> Result<Target, Unfit> {
    let collection = || collection.to_owned();
    let Some(params) = schema.vectors.get("").filter(|_| schema.vectors.len() == 1) else {
        return Err(Unfit::Named { collection: collection() });
    };
    let target = Target { dim: params.dim, metric: params.metric };
    let Some(model) = model else { return Ok(target) };
    if let Some(kept) = &params.model
        && !model.is(kept)
    {
        return Err(Unfit::Model { collection: collection(), kept: kept.clone(), model: model.tag() });
    }
    if model.dim != target.dim {
        let (dim, model, made) = (target.dim, model.to_string(), model.dim);
        return Err(Unfit::Dimensions { collection: collection(), dim, model, made });
    }
    Ok(target)
}

/// The schema of a collection that is made for a model.
#[must_use]
pub fn schema_for(model: &ModelIdentity) -> CollectionSchema {
    let mut schema = CollectionSchema::single(model.dim, Metric::Cosine);
    for params in schema.vectors.values_mut() {
        params.model = Some(model.tag());
    }
    schema
}

/// Chooses the model for a collection: its own if that is there, else the first; of one that has none the first of its
/// dimensions. `None` only where there are no models.
#[must_use]
pub fn choose<'m>(
    schema: Option<&CollectionSchema>,
    models: &'m [Arc<dyn Embedder>],
) -> Option<&'m Arc<dyn Embedder>> {
    let params = schema.and_then(|schema| schema.vectors.get(""));
    let fits = |model: &&Arc<dyn Embedder>| {
        params.is_none_or(|params| match &params.model {
            Some(kept) => model.model().is(kept),
            None => model.model().dim == params.dim,
        })
    };
    models.iter().find(fits).or(models.first())
}

#[cfg(test)]
mod tests {
    use dvse_embed::EmbedError;
    use dvse_types::Vector;

    use super::*;

    struct Named(ModelIdentity);

    impl Embedder for Named {
        fn model(&self) -> &ModelIdentity {
            &self.0
        }

        fn embed(&self, texts: &[&str]) -> Result<Vec<Vector>, EmbedError> {
            Ok(vec![vec![0.5; self.0.dim].into(); texts.len()])
        }
    }

    fn identity(name: &str, dim: usize) -> ModelIdentity {
        ModelIdentity { name: name.to_owned(), revision: "1".to_owned(), dim, hash: "ab".to_owned() }
    }

    fn schema(dim: usize, model: Option<&str>) -> CollectionSchema {
        let mut schema = CollectionSchema::single(dim, Metric::L2);
        schema.vectors.values_mut().for_each(|params| params.model = model.map(str::to_owned));
        schema
    }

    #[test]
    fn the_model_of_a_collection_is_chosen_and_one_that_is_not_there_does_not_fit() {
        let models: Vec<Arc<dyn Embedder>> = [("a", 3), ("b", 4), ("c", 4)]
            .map(|(name, dim)| Arc::new(Named(identity(name, dim))) as Arc<dyn Embedder>)
            .into();
        let named = |schema: &CollectionSchema| {
            let model = choose(Some(schema), &models).unwrap().model();
            (model.name.clone(), fit("docs", schema, Some(model)).map_err(|unfit| unfit.to_string()))
        };
        let fits = |dim| Ok(Target { dim, metric: Metric::L2 });
        assert_eq!(choose(None, &models).unwrap().model().name, "a", "one that is made gets the first");
        for (dim, kept, name, outcome) in [
            (4, Some("c@1#ab"), "c", fits(4)),
            (4, Some("b"), "b", fits(4)),
            (4, None, "b", fits(4)),
            (3, None, "a", fits(3)),
            (
                4,
                Some("d"),
                "a",
                Err("the vectors of collection docs are of model d, not of a@1#ab".to_owned()),
            ),
            (5, None, "a", Err("collection docs has 5 dimensions, the model a@1 makes 3".to_owned())),
        ] {
            assert_eq!(named(&schema(dim, kept)), (name.to_owned(), outcome), "{dim} {kept:?}");
        }
        // Records that bring their vectors may come from any model.
        assert!(choose(Some(&schema(4, Some("d"))), &[]).is_none());
        assert_eq!(fit("docs", &schema(4, Some("d")), None), Ok(Target { dim: 4, metric: Metric::L2 }));
        let payload_only = CollectionSchema { vectors: Default::default(), ..schema(4, None) };
        assert_eq!(fit("docs", &payload_only, None), Err(Unfit::Named { collection: "docs".to_owned() }));
    }
}
