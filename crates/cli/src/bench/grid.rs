//! `--set key=a,b`: which indexes to build.

use std::collections::BTreeMap;

use dvse_types::{HnswSpec, IndexSpec};
use serde_json::{Value, json};

use super::ann::IndexName;
use crate::failure::{Failure, Result};

/// All combinations of the values given, in the order in which they were given; a key given again replaces the
/// earlier. Without any, one index with default parameters.
///
/// # Errors
/// A pair is not one, or the index does not have such a parameter.
pub fn specs(index: IndexName, pairs: &[String]) -> Result<Vec<IndexSpec>> {
    let mut settings: BTreeMap<&str, Vec<usize>> = BTreeMap::new();
    for pair in pairs {
        let parsed = pair.split_once('=').and_then(|(key, values)| {
            let values = values.split(',').map(|value| value.trim().parse().ok());
            Some((key.trim(), values.collect::<Option<Vec<usize>>>()?))
        });
        let (key, values) = parsed.ok_or_else(|| {
            Failure::new(format!("--set {pair:?} is not KEY=NUMBER"))
                .with_help("an example is --set m=24, or --set m=16,24 for both")
        })?;
        settings.insert(key, values);
    }
    let mut specs = vec![match index {
        IndexName::Flat => IndexSpec::Flat,
        IndexName::Hnsw => IndexSpec::Hnsw(HnswSpec::default()),
    }];
    for (key, values) in settings {
        let mut more = Vec::new();
        for spec in &specs {
            for value in &values {
                more.push(with(*spec, key, *value)?);
            }
        }
        specs = more;
    }
    Ok(specs)
}

fn with(spec: IndexSpec, key: &str, value: usize) -> Result<IndexSpec> {
    let IndexSpec::Hnsw(mut hnsw) = spec else {
        return Err(Failure::new(format!("a flat index has no parameter {key:?}"))
            .with_help("leave out --set, or build a graph with --index hnsw"));
    };
    let (field, least, most) = match key {
        // The engine builds no graph of fewer links than four.
        "m" => (&mut hnsw.m, 4, 128),
        "ef_construction" => (&mut hnsw.ef_construction, 4, 4_096),
        "full_scan_rows" => (&mut hnsw.full_scan_rows, 0, usize::MAX),
        _ => {
            return Err(Failure::new(format!("hnsw has no parameter {key:?}"))
                .with_help("it has m, ef_construction and full_scan_rows"));
        }
    };
    if !(least..=most).contains(&value) {
        return Err(Failure::new(format!("{key} is {value}"))
            .with_help(format!("it must be a whole number from {least} to {most}")));
    }
    *field = value;
    Ok(IndexSpec::Hnsw(hnsw))
}

/// The parameters of an index by name.
pub fn shown(spec: &IndexSpec) -> Value {
    match spec {
        IndexSpec::Flat => json!({}),
        IndexSpec::Hnsw(hnsw) => json!({
            "m": hnsw.m,
            "ef_construction": hnsw.ef_construction,
            "full_scan_rows": hnsw.full_scan_rows,
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hnsw(pairs: &[&str]) -> Result<Vec<IndexSpec>> {
        let pairs: Vec<String> = pairs.iter().map(|pair| (*pair).to_owned()).collect();
        specs(IndexName::Hnsw, &pairs)
    }

    #[test]
    fn lists_give_all_combinations() {
        let specs = hnsw(&["m=8", "ef_construction = 60,80", "m=16, 32"]).unwrap();
        let found: Vec<(usize, usize)> = specs
            .iter()
            .map(|spec| match spec {
                IndexSpec::Hnsw(hnsw) => (hnsw.m, hnsw.ef_construction),
                IndexSpec::Flat => (0, 0),
            })
            .collect();
        assert_eq!(found, [(16, 60), (32, 60), (16, 80), (32, 80)]);
        assert_eq!(hnsw(&[]).unwrap(), [IndexSpec::Hnsw(HnswSpec::default())]);
    }

    #[test]
    fn what_cannot_be_set_is_refused() {
        for pair in ["m", "m=", "m=x", "m=1.5", "m=1000", "m=16,1", "mm=3", "m=-1"] {
            assert!(hnsw(&[pair]).is_err(), "{pair}");
        }
        assert!(specs(IndexName::Flat, &["m=8".to_owned()]).is_err());
    }
}
