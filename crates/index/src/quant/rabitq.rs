//! RaBitQ: 1, 2, 4 or 8 bits a value of a vector turned at random, and an estimate without bias.
//!
//! What a row r differs from the center by is rotated ([`Rotation`]) and scaled to unit length, o. Its code is the
//! vector y of a grid that lies nearest to its direction. Since y / ⟨y, o⟩ − o is at right angles to o, and points
//! anywhere else because of the rotation, ⟨y, q⟩ / ⟨y, o⟩ estimates ⟨o, q⟩ without bias and is wrong by at most
//!
//! > √(1 − a²) / a · |q|,   a = ⟨y, o⟩ / |y|,
//!
//! and by ε / √(dim − 1) of that at most but with a probability that falls as exp(−c ε²) (theorem 3.2 there, for one
//! bit). A product with the vector itself, as inner products want it, is put together from the one with what it differs
//! by: ⟨q, x⟩ = ⟨q − c, x − c⟩ + ⟨q, c⟩ + ⟨c, x − c⟩.
//!
//! Sources: Gao and Long 2024 (one bit, the estimate and its bound); Gao et al. 2025 (more bits: the grid's scale is
//! chosen for each vector); Li et al. 2025 (CAQ: single values of a code are then moved where that brings its direction
//! nearer). Departures: scales are tried at a dozen places instead of at all that matter, a fast rotation.

use dvse_types::Metric;

use super::factors::{Factors, QueryFactors, finite, weight_of};
use super::rotation::Rotation;

/// The numbers of bits there are codes of.
pub(crate) const BITS: [u8; 4] = [1, 2, 4, 8];

/// Scales of the grid that are tried.
const SCALES: usize = 12;

/// Times that each value of a code of up to 4 bits may move.
const MOVES: usize = 2;

/// What all rows are coded by.
#[derive(Debug, Clone)]
pub(crate) struct RaBitQ {
    bits: u8,
    center: Vec<f32>,
    rotation: Rotation,
    lanes: usize,
}

/// Memory that coding reuses.
#[derive(Debug, Default)]
pub(crate) struct EncodeScratch {
    turned: Vec<f32>,
    /// The lengths of the values, a unit vector.
    lengths: Vec<f32>,
    /// How far each value of the code is from 0, less a half.
    steps: Vec<u8>,
}

/// Lanes of a vector of `dim` values: whole words of bits, whole lines of codes of 4 bits.
pub(crate) fn lanes(dim: usize, bits: u8) -> usize {
    dim.next_multiple_of(if bits == 4 { 128 } else { 64 })
}

/// Bytes of codes for `dim` values.
pub(crate) fn code_bytes(dim: usize, bits: u8) -> usize {
    lanes(dim, bits) * usize::from(bits) / 8
}

impl RaBitQ {
    /// Codes of some bits ([`BITS`]) around a center.
    pub(crate) fn new(bits: u8, center: Vec<f32>, seed: u64) -> RaBitQ {
        let lanes = lanes(center.len(), bits);
        RaBitQ { bits, rotation: Rotation::new(lanes, seed), lanes, center }
    }

    pub(crate) fn center(&self) -> &[f32] {
        &self.center
    }

    /// Writes the codes of a vector and returns its factors.
    #[inline(always)]
    pub(crate) fn encode(
        &self,
        metric: Metric,
        vector: &[f32],
        scratch: &mut EncodeScratch,
        codes: &mut [u8],
    ) -> Factors {
        self.turn(vector, &mut scratch.turned);
        let length = scratch.turned.iter().map(|x| f64::from(*x) * f64::from(*x)).sum::<f64>().sqrt();
        let product = self.center.iter().zip(vector);
        let product: f64 = product.map(|(c, x)| f64::from(*c) * (f64::from(*x) - f64::from(*c))).sum();
        codes.fill(0);
        let added = if metric == Metric::L2 { length * length } else { -product };
        // Too short a vector for its inverse: nothing but its factors is kept.
        let inverse = length.recip() as f32;
        if !(inverse > 0.0 && inverse.is_finite()) {
            let weight = weight_of(metric);
            return Factors { added: finite(added), error: finite(weight * length), ..Factors::default() };
        }
        scratch.lengths.clear();
        scratch.lengths.extend(scratch.turned.iter().map(|value| (value * inverse).abs()));
        let (dot, square) = self.choose(scratch);
        let signs = scratch.turned.iter().map(|value| *value > 0.0);
        for (lane, (steps, positive)) in scratch.steps.iter().zip(signs).enumerate() {
            self.put(codes, lane, *steps, positive);
        }
        // Rounding may bring the code's direction nearer to the vector's than any can be.
        let (weight, cosine) = (weight_of(metric), (dot / square.sqrt()).min(1.0));
        Factors {
            added: finite(added),
            scale: finite(-weight * length / dot),
            error: finite(weight * length * (1.0 - cosine * cosine).sqrt() / cosine),
            spread: finite(weight * length / cosine),
            mean: 0.0,
        }
    }

    /// Makes a query ready; `values` gets as many rounded values as there are lanes.
    #[inline(always)]
    pub(crate) fn prepare(&self, metric: Metric, query: &[f32], values: &mut Vec<i8>) -> QueryFactors {
        let mut turned = Vec::new();
        self.turn(query, &mut turned);
        let mut factors = QueryFactors::round(&turned, self.lanes, values);
        let product = query.iter().zip(&self.center);
        let product = finite(product.map(|(q, c)| f64::from(*q) * f64::from(*c)).sum());
        factors.constant = match metric {
            Metric::L2 => factors.radius * factors.radius,
            Metric::InnerProduct => -product,
            Metric::Cosine => 1.0 - product,
        };
        // The values of a code count from the middle of the grid. Codes of a byte are signed already.
        let middle = if self.bits == 8 { -0.5 } else { f32::from((1_u8 << self.bits) - 1) / 2.0 };
        factors.center = middle * factors.sum;
        factors.freedom = self.lanes as f32 - 1.0;
        factors
    }

    #[inline(always)]
    fn turn(&self, vector: &[f32], turned: &mut Vec<f32>) {
        turned.clear();
        turned.extend(vector.iter().zip(&self.center).map(|(x, c)| x - c));
        turned.resize(self.lanes, 0.0);
        self.rotation.apply(turned);
    }

    /// The code whose direction is nearest, as steps from 0 of each value; gives ⟨y, o⟩ and |y|².
    #[inline(always)]
    fn choose(&self, scratch: &mut EncodeScratch) -> (f64, f64) {
        let EncodeScratch { lengths, steps, .. } = scratch;
        let most = (1_u32 << (self.bits - 1)) - 1;
        let longest = lengths.iter().copied().fold(0.0, f32::max);
        let mut best = (0.0_f32, 0.0_f32);
        let scales = if most == 0 { 1 } else { SCALES };
        for number in 0..scales {
            // From a grid that the longest value just fits to one that cuts it to about a third.
            let scale = (most as f32 + 1.0) / longest * (0.96 + 2.0 * number as f32 / SCALES as f32);
            let (dot, square) = direction(lengths, scale, most as f32);
            if best.0 * best.0 * square < dot * dot * best.1 || number == 0 {
                best = (dot, square);
                steps.clear();
                steps.extend(lengths.iter().map(|length| (length * scale).min(most as f32) as u8));
            }
        }
        if (2..=4).contains(&self.bits) {
            move_steps(lengths, steps, most as u8);
        }
        lengths.iter().zip(steps.iter()).fold((0.0, 0.0), |(dot, square), (length, steps)| {
            let value = f64::from(*steps) + 0.5;
            (dot + f64::from(*length) * value, square + value * value)
        })
    }

    /// Sets one value of a code. Bits lie in planes, a bit of all values each; halves of bytes as the kernels of sketches
    /// read them.
    #[inline(always)]
    fn put(&self, codes: &mut [u8], lane: usize, steps: u8, positive: bool) {
        let half = 1_u32 << (self.bits - 1);
        let steps = u32::from(steps);
        // Counted from the lower end of the grid.
        let code = if positive { half + steps } else { half - 1 - steps };
        match self.bits {
            8 => codes[lane] = (code as u8) ^ 0x80,
            4 => {
                let (line, place) = (lane / 128, lane % 128);
                codes[64 * line + place % 64] |= (code as u8) << (4 * (place / 64));
            }
            bits => {
                for bit in 0..usize::from(bits) {
                    codes[bit * self.lanes / 8 + lane / 8] |= ((code >> bit & 1) as u8) << (lane % 8);
                }
            }
        }
    }
}

/// ⟨y, o⟩ and |y|² of the code at a scale, in sixteen sums at a time.
#[inline(always)]
fn direction(lengths: &[f32], scale: f32, most: f32) -> (f32, f32) {
    let (mut dots, mut squares) = ([0.0_f32; 16], [0.0_f32; 16]);
    for part in lengths.as_chunks::<16>().0 {
        for ((dot, square), length) in dots.iter_mut().zip(&mut squares).zip(part) {
            // The cast cuts, as `floor` would.
            let value = (length * scale).min(most) as i32 as f32 + 0.5;
            *dot += length * value;
            *square += value * value;
        }
    }
    (dots.iter().sum(), squares.iter().sum())
}

/// Moves single values of a code by a step where its direction comes nearer.
#[inline(always)]
fn move_steps(lengths: &[f32], steps: &mut [u8], most: u8) {
    let values = lengths.iter().zip(steps.iter());
    let (mut dot, mut square) = values.fold((0.0_f32, 0.0_f32), |(dot, square), (length, steps)| {
        let value = f32::from(*steps) + 0.5;
        (dot + length * value, square + value * value)
    });
    for _ in 0..MOVES {
        for (length, steps) in lengths.iter().zip(steps.iter_mut()) {
            let twice = 2.0 * f32::from(*steps) + 1.0;
            let (up, wider) = (dot + length, square + twice + 1.0);
            let (down, narrower) = (dot - length, square - twice + 1.0);
            if *steps < most && up * up * square > dot * dot * wider {
                *steps += 1;
                (dot, square) = (up, wider);
            } else if *steps > 0 && down * down * square > dot * dot * narrower {
                *steps -= 1;
                (dot, square) = (down, narrower);
            }
        }
    }
}
