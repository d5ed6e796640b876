//! What a call of a model costs beside the model: `cargo run --release -p dvse-embed-python --example speed -- [ENVIRONMENT]`, the
//! environment being one with NumPy.
//!
//! The model does nothing: its vectors, 768 numbers each, are ready. So what is measured is the way of the texts to Python and of the
//! vectors back, with all checks.
#![expect(clippy::print_stdout, reason = "it is a program that prints")]

use std::error::Error;
use std::fs;
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::time::Instant;

use dvse_embed::Embedder as _;
use dvse_embed_python::{PythonEmbedder, PythonOptions};

const SOURCE: &str = "
import numpy
ready = numpy.ones((4096, 768), dtype='float32')
def embed(texts):
    return ready[:len(texts)]
";
/// Best of this many rounds.
const ROUNDS: usize = 20;
const CALLS: usize = 40;

fn main() -> Result<(), Box<dyn Error>> {
    let folder = tempfile::tempdir()?;
    fs::write(folder.path().join("ready.py"), SOURCE)?;
    let environment = std::env::args_os().nth(1).map(PathBuf::from);
    for batch in [1, 16, 64, 256] {
        let options = PythonOptions {
            batch: NonZeroUsize::new(batch).unwrap_or(NonZeroUsize::MIN),
            search: vec![folder.path().to_owned()],
            environment: environment.clone(),
            ..PythonOptions::default()
        };
        let model = PythonEmbedder::load("ready:embed".parse()?, options)?;
        let texts: Vec<String> = (0..256).map(|n| format!("a text of some words, number {n}")).collect();
        let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
        let mut best = f64::INFINITY;
        for _ in 0..ROUNDS {
            let started = Instant::now();
            for _ in 0..CALLS {
                model.embed(&texts)?;
            }
            best = best.min(started.elapsed().as_secs_f64() / CALLS as f64);
        }
        println!("batches of {batch:>3}: {:>9.0} vectors a second", 256.0 / best);
    }
    Ok(())
}
