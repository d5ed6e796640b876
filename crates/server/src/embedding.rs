//! Text to vectors for requests that bring text.
//!
//! The bundled table answers where it is asked. Another model may be slow, or hang: a handler that waited for it would hold a
//! thread that searches need. So a handler that meets a text of such a model ends with what it [wants](RestError::Texts); its
//! thread is free while the model works, one call at a time; then the handler begins again and finds the vectors [made](Made).

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use dvse_embed::{EmbedError, Embedder, ModelIdentity, StaticEmbedder};
use dvse_types::Vector;
use tokio::sync::Semaphore;
use tokio::task::spawn_blocking;

use crate::error::RestError;

/// The models of this node: the bundled table, loaded when the first text comes, and those the node was started with.
#[derive(Debug, Default)]
pub struct Embedding {
    models: Vec<Model>,
}

/// A model that the node was started with.
struct Model {
    embedder: Arc<dyn Embedder>,
    /// Who calls it: requests wait for their turn where they hold no thread.
    turn: Arc<Semaphore>,
}

impl fmt::Debug for Model {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Model").field(self.embedder.model()).finish()
    }
}

/// One of the models.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ModelKey {
    /// The bundled table.
    Bundled,
    /// One that the node was started with, by its number.
    Loaded(usize),
}

/// Texts that a handler needs the vectors of, each with its place among the texts of the request.
#[derive(Debug, Default)]
pub struct Wanted(pub HashMap<usize, Vec<(usize, String)>>);

/// Vectors that were made for a request, by the number of the model and the text.
#[derive(Debug, Default)]
pub struct Made(HashMap<usize, HashMap<String, Vector>>);

impl Made {
    /// The vector of a text.
    #[must_use]
    pub fn get(&self, model: usize, text: &str) -> Option<&Vector> {
        self.0.get(&model)?.get(text)
    }
}

impl Embedding {
    /// The bundled table and these.
    #[must_use]
    pub fn new(models: Vec<Arc<dyn Embedder>>) -> Embedding {
        let models = models.into_iter();
        let models = models.map(|embedder| Model { embedder, turn: Arc::new(Semaphore::new(1)) });
        Embedding { models: models.collect() }
    }

    /// How many models there are beside the bundled one; as many threads may wait for them.
    #[must_use]
    pub fn loaded(&self) -> usize {
        self.models.len()
    }

    /// Finds the model of a text: the one `asked` for, or without a name that of the field it is for. `kept` is what the collection
    /// keeps of the field's model.
    ///
    /// # Errors
    /// The node has no such model, or several; or the field belongs to another.
    pub fn find(&self, asked: Option<&str>, kept: Option<&str>) -> Result<ModelKey, RestError> {
        let table = StaticEmbedder::bundled()?;
        let loaded = self.models.iter().enumerate();
        let loaded = loaded.map(|(number, model)| (ModelKey::Loaded(number), model.embedder.model()));
        let all: Vec<_> = std::iter::once((ModelKey::Bundled, table.model())).chain(loaded).collect();
        let is_asked = |model: &ModelIdentity| asked.is_none_or(|asked| model.is(asked));
        let found: Vec<_> = all.iter().filter(|(_, model)| is_asked(model)).collect();
        if let (Some(asked), []) = (asked, found.as_slice()) {
            return Err(RestError::unsupported(format!(
                "model {asked:?}; this node embeds with {}",
                names(&all)
            )));
        }
        let Some(kept) = kept else {
            return match (asked, found.as_slice()) {
                (_, [(key, _)]) => Ok(*key),
                // A field that does not tell its model was most likely filled by the table, which every node has.
                (None, _) => Ok(ModelKey::Bundled),
                (Some(asked), several) => {
                    let tags: Vec<String> =
                        several.iter().map(|(_, model)| format!("{:?}", model.tag())).collect();
                    let problem = format!(
                        "{asked:?} is the name of several models here; name one of {}",
                        tags.join(", ")
                    );
                    Err(RestError::misfit("model", problem))
                }
            };
        };
        match (found.iter().find(|(_, model)| model.is(kept)), asked) {
            (Some((key, _)), _) => Ok(*key),
            (None, Some(asked)) => Err(RestError::misfit(
                "model",
                format!(
                    "the vectors of this field are of model {kept:?}; those of {asked:?} cannot be mixed in"
                ),
            )),
            (None, None) => Err(RestError::unsupported(format!(
                "the vectors of this field are of model {kept:?}; this node embeds with {}",
                names(&all)
            ))),
        }
    }

    /// Embeds texts with the models the node was started with, each as soon as nobody else asks it.
    ///
    /// # Errors
    /// A model fails, or a text has no vector; the error names its place among the texts of the request.
    pub async fn embed(&self, wanted: Wanted) -> Result<Made, RestError> {
        let mut made = Made::default();
        for (number, texts) in wanted.0 {
            let Some(model) = self.models.get(number) else { return Err(RestError::Panicked) };
            let turn = Arc::clone(&model.turn).acquire_owned().await.map_err(|_| RestError::Stopping)?;
            let embedder = Arc::clone(&model.embedder);
            let job = spawn_blocking(move || {
                let outcome = embed(&*embedder, &texts);
                // Not before: whoever asked may be gone, but the model works all the same.
                drop(turn);
                outcome.map(|rows| (texts, rows))
            });
            let (texts, rows) = job.await.map_err(|_| RestError::Panicked)??;
            made.0.insert(number, texts.into_iter().map(|(_, text)| text).zip(rows).collect());
        }
        Ok(made)
    }
}

/// Embeds texts with their places; an error names the place in the request.
pub fn embed(embedder: &dyn Embedder, texts: &[(usize, String)]) -> Result<Vec<Vector>, EmbedError> {
    let plain: Vec<&str> = texts.iter().map(|(_, text)| text.as_str()).collect();
    embedder.embed(&plain).map_err(|error| {
        let place = error.text().and_then(|index| texts.get(index)).map(|(place, _)| *place);
        match place {
            Some(place) => error.at(place),
            None => error,
        }
    })
}

fn names(models: &[(ModelKey, &ModelIdentity)]) -> String {
    let names: Vec<String> = models.iter().map(|(_, model)| format!("{:?}", model.name)).collect();
    names.join(", ")
}
