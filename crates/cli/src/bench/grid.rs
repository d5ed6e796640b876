//! `--set key=a,b`: which indexes to build.

use std::collections::BTreeMap;

use dvse_types::{IndexSpec, Quantization, Rerank};
use serde_json::{Value, json};

use crate::collection::{IndexName, QuantizationName};
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
    let mut specs = vec![index.spec()];
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

fn with(mut spec: IndexSpec, key: &str, value: usize) -> Result<IndexSpec> {
    let (kind, any) = (spec.name(), usize::MAX);
    // The engine builds no graph of fewer links than four.
    let found = match (&mut spec, key) {
        (IndexSpec::Hnsw(graph) | IndexSpec::Nsw(graph), "m") => Ok((&mut graph.m, 4, 128)),
        (IndexSpec::Hnsw(graph) | IndexSpec::Nsw(graph), "ef_construction") => {
            Ok((&mut graph.ef_construction, 4, 4_096))
        }
        (IndexSpec::Hnsw(graph) | IndexSpec::Nsw(graph), "full_scan_rows") => {
            Ok((&mut graph.full_scan_rows, 0, any))
        }
        (IndexSpec::Hnsw(_) | IndexSpec::Nsw(_), _) => Err("it has m, ef_construction and full_scan_rows"),
        (IndexSpec::IvfPq(lists), "lists") => Ok((&mut lists.lists, 0, 65_536)),
        (IndexSpec::IvfPq(lists), "values_per_code") => Ok((&mut lists.values_per_code, 0, 64)),
        (IndexSpec::IvfPq(lists), "nprobe") => Ok((&mut lists.nprobe, 0, 65_536)),
        (IndexSpec::IvfPq(lists), "rerank") => Ok((&mut lists.rerank, 0, any)),
        (IndexSpec::IvfPq(lists), "full_scan_rows") => Ok((&mut lists.full_scan_rows, 0, any)),
        (IndexSpec::IvfPq(_), _) => Err("it has lists, values_per_code, nprobe, rerank and full_scan_rows"),
        (IndexSpec::Flat, _) => Err("leave out --set, or build a graph with --index hnsw"),
    };
    let (field, least, most) =
        found.map_err(|help| Failure::new(format!("{kind} has no parameter {key:?}")).with_help(help))?;
    if !(least..=most).contains(&value) {
        return Err(Failure::new(format!("{key} is {value}"))
            .with_help(format!("it must be a whole number from {least} to {most}")));
    }
    *field = value;
    Ok(spec)
}

/// The parameters of an index by name.
pub fn shown(spec: &IndexSpec) -> Value {
    match spec {
        IndexSpec::Flat => json!({}),
        IndexSpec::Hnsw(graph) | IndexSpec::Nsw(graph) => {
            let mut shown = json!({
                "m": graph.m,
                "ef_construction": graph.ef_construction,
                "full_scan_rows": graph.full_scan_rows,
            });
            if graph.quantization != Quantization::Sketch {
                shown["quantization"] = json!(QuantizationName(graph.quantization).to_string());
            }
            if graph.rerank != Rerank::default() {
                shown["rerank"] = json!(graph.rerank.name());
            }
            if graph.on_disk {
                shown["on_disk"] = json!(true);
            }
            shown
        }
        IndexSpec::IvfPq(lists) => json!({
            "lists": lists.lists,
            "values_per_code": lists.values_per_code,
            "nprobe": lists.nprobe,
            "rerank": lists.rerank,
            "full_scan_rows": lists.full_scan_rows,
        }),
    }
}

#[cfg(test)]
mod tests {
    use dvse_types::HnswSpec;

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
                _ => (0, 0),
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
        assert!(specs(IndexName::IvfPq, &["m=8".to_owned()]).is_err());
        assert!(specs(IndexName::Nsw, &["nprobe=8".to_owned()]).is_err());
    }
}
