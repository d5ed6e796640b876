//! Eight bits a value, with a scale and an offset of each vector's own.
//!
//! Nothing is learned, so any vector can be coded at any time, whatever its length. A vector x is written as its mean m
//! and the rest, x = m·1 + x̃, and the rest as t·1 + s·c + e with whole numbers c in −127..=127. The rest of a query has
//! the sum 0, so that t·1 adds nothing to a product with it and is not kept: ⟨q̃, x̃⟩ = s ⟨q̃, c⟩ + ⟨q̃, e⟩. With the
//! query rounded too, q̃ = u·k + f, what a kernel sums is ⟨k, c⟩, exactly, and what is left out is at most
//! |q̃|·|e| + |f|·s|c| by the inequality of Cauchy and Schwarz. A common offset of all values, however large, cancels in
//! m before any product is taken.

use dvse_types::Metric;

use super::factors::{Factors, QueryFactors, finite, weight_of};

/// Bytes of codes for `dim` values: whole registers of AVX2.
pub(crate) fn code_bytes(dim: usize) -> usize {
    dim.next_multiple_of(32)
}

/// Writes the codes of a vector of `dim` values, zeros behind them, and returns its factors.
#[inline(always)]
pub(crate) fn encode(metric: Metric, vector: &[f32], codes: &mut [u8]) -> Factors {
    let mean = mean_of(vector);
    let rest = |value: &f32| f64::from(*value) - f64::from(mean);
    let (mut least, mut most) = (f64::INFINITY, f64::NEG_INFINITY);
    for value in vector {
        least = least.min(rest(value));
        most = most.max(rest(value));
    }
    let (middle, step) = ((least + most) / 2.0, (most - least) / 254.0);
    let per_step = if step > 0.0 { step.recip() } else { 0.0 };
    let (mut length, mut error, mut shift, mut code_length) = (0.0, 0.0, 0.0, 0.0);
    codes.fill(0);
    for (value, code) in vector.iter().zip(codes) {
        let rest = rest(value);
        let rounded = ((rest - middle) * per_step).round().clamp(-127.0, 127.0);
        let left = rest - middle - step * rounded;
        length += rest * rest;
        error += left * left;
        shift += left;
        code_length += rounded * rounded;
        *code = (rounded as i8).cast_unsigned();
    }
    // What the query's rest cannot see of the error does not count.
    let error = (error - shift * shift / vector.len().max(1) as f64).max(0.0).sqrt();
    let weight = weight_of(metric);
    Factors {
        added: if metric == Metric::L2 { finite(length) } else { 0.0 },
        scale: finite(-weight * step),
        error: finite(weight * error),
        spread: finite(weight * step * code_length.sqrt()),
        mean,
    }
}

/// Makes a query of `dim` values ready: writes its rounded values, zeros behind them.
#[inline(always)]
pub(crate) fn prepare(metric: Metric, query: &[f32], values: &mut Vec<i8>) -> QueryFactors {
    let mean = mean_of(query);
    let rest: Vec<f32> = query.iter().map(|value| value - mean).collect();
    let mut factors = QueryFactors::round(&rest, code_bytes(query.len()), values);
    factors.mean = mean;
    factors.freedom = query.len().max(2) as f32 - 1.0;
    let dim = query.len() as f32;
    match metric {
        Metric::L2 => {
            factors.constant = factors.radius * factors.radius;
            factors.mean_square = dim;
        }
        Metric::InnerProduct => factors.mean_product = -dim * mean,
        Metric::Cosine => {
            factors.constant = 1.0;
            factors.mean_product = -dim * mean;
        }
    }
    factors
}

/// The mean of the values, as a float: what is left is taken from that number and not from a nearer one.
fn mean_of(vector: &[f32]) -> f32 {
    let sum: f64 = vector.iter().map(|value| f64::from(*value)).sum();
    finite(sum / vector.len().max(1) as f64)
}
