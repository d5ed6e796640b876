//! Which rows pass a test, by a payload index.

use dvse_types::{FieldKind, Range};

use super::compile::{Test, ValueSet};
use crate::live_rows::set_bit;
use crate::payload::{Postings, code_of_bool, code_of_f64, code_of_i64, f64_of_code, i64_of_code, uuid_text};

/// What an index says about a test.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Answer {
    /// The bits set are the rows that pass.
    Exact,
    /// The bits set are rows that pass; the index's others may pass as well.
    ButOthers,
    /// The index cannot tell.
    Unknown,
}

/// Sets the bits of the rows that pass.
pub(crate) fn answer(index: &dyn Postings, test: &Test, bits: &mut [u64]) -> Answer {
    match (index.kind(), test) {
        (FieldKind::Keyword, Test::Any(set)) if only_keywords(set) => {
            set.keywords.iter().for_each(|text| index.rows_of_text(text, &mut |row| set_bit(bits, row)));
            Answer::Exact
        }
        (FieldKind::Keyword, Test::Except(set)) if set.uuids.is_empty() => {
            index.each_text(&mut |text, rows| {
                if !set.keywords.contains(text) {
                    rows.iter().for_each(|row| set_bit(bits, *row));
                }
            });
            Answer::ButOthers
        }
        (FieldKind::Uuid, Test::Any(set)) if only_uuids(set) => {
            for uuid in &set.uuids {
                index.rows_of_text(&uuid_text(*uuid), &mut |row| set_bit(bits, row));
            }
            Answer::Exact
        }
        (FieldKind::Integer, Test::Any(set)) if only_integers(set) => {
            set.integers.iter().for_each(|number| set_code(index, code_of_i64(*number), bits));
            Answer::Exact
        }
        (FieldKind::Bool, Test::Any(set)) if only_bools(set) => {
            set.bools.iter().for_each(|truth| set_code(index, code_of_bool(*truth), bits));
            Answer::Exact
        }
        (FieldKind::Integer, Test::Range(range)) => {
            let (low, high) = bounds(range);
            // Integers are compared as floats, as a payload's are. Rounding moves one by less than this.
            let slack = |bound: f64| 1.0 + bound.abs() * 1e-15;
            let low = code_of_i64((low - slack(low)) as i64);
            let high = code_of_i64((high + slack(high)) as i64);
            index.codes(low..=high, &mut |code, row| {
                if range.contains(i64_of_code(code) as f64) {
                    set_bit(bits, row);
                }
                true
            });
            Answer::ButOthers
        }
        (FieldKind::Float, Test::Range(range)) => {
            let (low, high) = bounds(range);
            index.codes(code_of_f64(low)..=code_of_f64(high), &mut |code, row| {
                if range.contains(f64_of_code(code)) {
                    set_bit(bits, row);
                }
                true
            });
            Answer::ButOthers
        }
        (FieldKind::Datetime, Test::Datetime(range)) => {
            let low = range.gte.into_iter().chain(range.gt).max().unwrap_or(i64::MIN);
            let high = range.lte.into_iter().chain(range.lt).min().unwrap_or(i64::MAX);
            index.codes(code_of_i64(low)..=code_of_i64(high), &mut |code, row| {
                if range.contains(i64_of_code(code)) {
                    set_bit(bits, row);
                }
                true
            });
            Answer::Exact
        }
        _ => Answer::Unknown,
    }
}

fn set_code(index: &dyn Postings, code: u64, bits: &mut [u64]) {
    index.codes(code..=code, &mut |_, row| {
        set_bit(bits, row);
        true
    });
}

/// The narrowest closed interval that holds the range.
fn bounds(range: &Range<f64>) -> (f64, f64) {
    let low = range.gte.into_iter().chain(range.gt).fold(f64::NEG_INFINITY, f64::max);
    let high = range.lte.into_iter().chain(range.lt).fold(f64::INFINITY, f64::min);
    (low, high)
}

fn only_keywords(set: &ValueSet) -> bool {
    set.uuids.is_empty() && set.integers.is_empty() && set.bools.is_empty()
}

fn only_uuids(set: &ValueSet) -> bool {
    set.keywords.is_empty() && set.integers.is_empty() && set.bools.is_empty()
}

fn only_integers(set: &ValueSet) -> bool {
    set.keywords.is_empty() && set.uuids.is_empty() && set.bools.is_empty()
}

fn only_bools(set: &ValueSet) -> bool {
    set.keywords.is_empty() && set.uuids.is_empty() && set.integers.is_empty()
}
