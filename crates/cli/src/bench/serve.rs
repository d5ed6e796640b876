//! `dvse bench ann --serve`: a collection that is asked for one setting after another, so that another program can let
//! several engines take turns.

use std::collections::BTreeMap;
use std::io::BufRead as _;

use serde_json::{Value, json};

use super::ann::measure_one;
use super::report::Report;
use super::truth::Truth;
use crate::failure::{Failure, Remedy as _, Result};
use crate::output::Output;

/// Prints what was built, then answers each line of standard input with the record of its setting, until it ends.
///
/// # Errors
/// A line is not a setting, or asks for more neighbours than the truth has.
pub fn run(report: &Report<'_>, lists: &[Vec<u32>], output: &Output) -> Result<()> {
    output.json(&report.built_record())?;
    let mut truths = BTreeMap::new();
    for line in std::io::stdin().lock().lines() {
        let line = line.doing(|| "cannot read standard input".to_owned())?;
        let (ef, k) = setting(&line, report.arguments.k)?;
        let (ef, k) = (u32::try_from(ef).unwrap_or(u32::MAX), usize::try_from(k).unwrap_or(usize::MAX));
        let truth = match truths.entry(k) {
            std::collections::btree_map::Entry::Occupied(entry) => entry.into_mut(),
            std::collections::btree_map::Entry::Vacant(entry) => {
                entry.insert(Truth::of_lists(lists, k, report.inputs)?)
            }
        };
        let measured = measure_one(report.built, report.inputs, truth, k, ef, &report.arguments.run)?;
        output.json(&report.record(k, ef, &measured))?;
    }
    Ok(())
}

/// The candidates to keep and the neighbours to find.
fn setting(line: &str, k: u32) -> Result<(u64, u64)> {
    let wrong = || {
        Failure::new(format!("{line:?} is no setting"))
            .with_help(format!("a line is a JSON object such as {}", json!({"ef": 64, "k": 10})))
    };
    let value: Value = serde_json::from_str(line).map_err(|_| wrong())?;
    let ef = value["ef"].as_u64().filter(|ef| *ef > 0).ok_or_else(wrong)?;
    let k = match &value["k"] {
        Value::Null => u64::from(k),
        given => given.as_u64().filter(|k| *k > 0).ok_or_else(wrong)?,
    };
    Ok((ef, k))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_setting_names_ef_and_may_name_k() {
        assert_eq!(setting(r#"{"ef": 64}"#, 10).unwrap(), (64, 10));
        assert_eq!(setting(r#"{"ef": 64, "k": 1}"#, 10).unwrap(), (64, 1));
        for line in ["", "64", "{}", r#"{"ef": 0}"#, r#"{"ef": "64"}"#, r#"{"ef": 64, "k": -1}"#] {
            assert!(setting(line, 10).is_err(), "{line}");
        }
    }
}
