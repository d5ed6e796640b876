//! An index, built and timed.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::time::Instant;

use dvse_index::{
    AnnIndex, FlatIndex, GrowingHnsw, HnswParams, Level, MappedRows, MemorySections, Rows, SealedHnsw,
};
use dvse_types::Metric;
use serde_json::{Map, Value, json};

use super::ann::{AnnArguments, IndexName};
use crate::failure::{Failure, Remedy as _, Result};
use crate::progress::Board;
use crate::vectors::Matrix;

/// An index and what it took to make.
pub struct Built {
    /// The index.
    pub index: Box<dyn AnnIndex>,
    /// The parameters it was built with.
    pub params: Value,
    /// Seconds from the vectors in memory to an index ready to search, copies included.
    pub build_s: f64,
    /// Memory of rows and index together.
    pub bytes: u64,
}

/// Builds the index the arguments ask for.
///
/// # Errors
/// A parameter is unknown or out of its range, or there are too many rows.
pub fn build(arguments: &AnnArguments, base: &Matrix, level: Level, board: &Board) -> Result<Built> {
    let set = parse_settings(&arguments.set)?;
    let metric = arguments.metric.metric();
    let started = Instant::now();
    let rows = rows_of(base, metric)?;
    let rows_bytes = rows.as_bytes().len() as u64;
    let (index, params): (Box<dyn AnnIndex>, Value) = match arguments.index {
        IndexName::Flat => {
            if let Some(key) = set.keys().next() {
                return Err(Failure::new(format!("a flat index has no parameter {key:?}"))
                    .with_help("leave out --set, or build a graph with --index hnsw"));
            }
            (Box::new(FlatIndex::new(Rows::Sealed(rows), metric).with_level(level)), json!({}))
        }
        IndexName::Hnsw => {
            let params = hnsw_params(&set)?;
            let index = build_hnsw(rows, metric, params, level, arguments.build_threads, board)?;
            (Box::new(index), shown(&params))
        }
    };
    let bytes = rows_bytes + index.index_bytes();
    Ok(Built { index, params, build_s: started.elapsed().as_secs_f64(), bytes })
}

/// The vectors in the form an index reads; for cosine, of length 1.
pub fn rows_of(base: &Matrix, metric: Metric) -> Result<MappedRows> {
    if metric != Metric::Cosine {
        return Ok(MappedRows::from_values(&base.data, base.dim)?);
    }
    let mut unit = base.data.clone();
    for (number, row) in unit.chunks_exact_mut(base.dim).enumerate() {
        if dvse_index::normalize(row) == 0.0 {
            return Err(Failure::new(format!("vector {number} of the base has length zero"))
                .with_help("cosine compares directions; use --metric l2 or leave that vector out"));
        }
    }
    Ok(MappedRows::from_values(&unit, base.dim)?)
}

/// Links all rows, then seals the graph: what a server searches is sealed, too.
fn build_hnsw(
    rows: MappedRows,
    metric: Metric,
    params: HnswParams,
    level: Level,
    threads: usize,
    board: &Board,
) -> Result<SealedHnsw> {
    let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build()?;
    let all = Rows::Sealed(rows.clone());
    let count = all.len();
    let growing = GrowingHnsw::new(all, count, metric, params)?.with_level(level);
    let task = RefCell::new(board.task("build", "vectors", Some(u64::from(count))));
    growing.link(count, true, &pool, &|| {
        task.borrow_mut().set(u64::from(growing.linked()));
        false
    })?;
    task.borrow_mut().set(u64::from(count));
    task.into_inner().finish();
    let mut sections = MemorySections::new();
    growing.persist(&mut sections).doing(|| "cannot seal the graph".to_owned())?;
    drop(growing);
    let sealed = SealedHnsw::open(&sections, rows, metric)?;
    Ok(sealed.with_level(level).with_traversal(params.traversal))
}

/// Reads `key=value` pairs; a later one replaces an earlier one.
fn parse_settings(pairs: &[String]) -> Result<BTreeMap<String, f64>> {
    let mut settings = BTreeMap::new();
    for pair in pairs {
        let parsed =
            pair.split_once('=').and_then(|(key, value)| Some((key.trim(), value.trim().parse().ok()?)));
        let (key, value) = parsed.ok_or_else(|| {
            Failure::new(format!("--set {pair:?} is not KEY=NUMBER")).with_help("an example is --set m=24")
        })?;
        settings.insert(key.to_owned(), value);
    }
    Ok(settings)
}

fn hnsw_params(settings: &BTreeMap<String, f64>) -> Result<HnswParams> {
    let mut params = HnswParams::default();
    for (key, value) in settings {
        let whole = || {
            (value.fract() == 0.0 && (0.0..=f64::from(u16::MAX)).contains(value))
                .then_some(*value as u16)
                .ok_or_else(|| {
                    Failure::new(format!("{key} is {value}"))
                        .with_help("it must be a whole number up to 65535")
                })
        };
        match key.as_str() {
            "m" => params.m = whole()?,
            "ef_construction" => params.ef_construction = whole()?,
            "alpha" => params.alpha = *value as f32,
            "batch_max" => params.batch_max = whole()?,
            "seed" => params.seed = u64::from(whole()?),
            "expansions" => params.traversal.expansions = usize::from(whole()?),
            _ => {
                return Err(Failure::new(format!("hnsw has no parameter {key:?}"))
                    .with_help("it has m, ef_construction, alpha, batch_max, seed and expansions"));
            }
        }
    }
    params.check().help(|| "dvse bench ann --help names the parameters".to_owned())?;
    Ok(params)
}

fn shown(params: &HnswParams) -> Value {
    let pairs = [
        ("m", json!(params.m)),
        ("ef_construction", json!(params.ef_construction)),
        ("alpha", json!(params.alpha)),
        ("batch_max", json!(params.batch_max)),
        ("seed", json!(params.seed)),
        ("expansions", json!(params.traversal.expansions)),
    ];
    Value::Object(Map::from_iter(pairs.map(|(key, value)| (key.to_owned(), value))))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_are_read_and_checked() {
        let pairs = ["m=24".to_owned(), "alpha = 1.2".to_owned(), "m=32".to_owned()];
        let params = hnsw_params(&parse_settings(&pairs).unwrap()).unwrap();
        assert_eq!((params.m, params.alpha), (32, 1.2));
        for pair in ["m", "m=x", "m=1.5", "m=1000", "alpha=9", "mm=3", "m=-1"] {
            let settings = parse_settings(&[pair.to_owned()]);
            assert!(settings.and_then(|settings| hnsw_params(&settings)).is_err(), "{pair}");
        }
    }
}
