//! The level of each row, drawn from the seed and the row's number.
//!
//! A level is geometric with P(level ≥ l) = m⁻ˡ, which is Malkov & Yashunin's ⌊−ln(u)·mL⌋ with mL = 1/ln m. Drawn
//! by comparing integers, it is the same on every machine.

use super::params::HnswParams;
use crate::graph::growing::LEVEL_MAX;

/// The level of `row` in a graph of these parameters: 0 for all where it has no upper layers.
pub(super) fn level_in(params: &HnswParams, row: u32) -> u8 {
    if params.layers { level_of(params.seed, row, params.m) } else { 0 }
}

/// The level of `row`.
fn level_of(seed: u64, row: u32, m: u16) -> u8 {
    let mut draw = mix(seed ^ mix(u64::from(row)));
    let mut level = 0;
    let threshold = u64::MAX / u64::from(m.max(2));
    while level < LEVEL_MAX && draw < threshold {
        level += 1;
        draw = mix(draw);
    }
    level
}

/// One step of SplitMix64 (Steele, Lea & Flood 2014).
fn mix(state: u64) -> u64 {
    let mut z = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn levels_are_geometric() {
        for m in [4_u16, 16, 32] {
            let rows = 200_000;
            let mut at_least = [0_u32; LEVEL_MAX as usize + 1];
            for row in 0..rows {
                for count in &mut at_least[..=level_of(7, row, m) as usize] {
                    *count += 1;
                }
            }
            assert_eq!(at_least[0], rows);
            for level in 1..3 {
                let expected = f64::from(rows) / f64::from(m).powi(level);
                let got = f64::from(at_least[level as usize]);
                let spread = 5.0 * expected.sqrt();
                assert!(
                    (got - expected).abs() < spread,
                    "m {m} level {level}: {got} rows, expected {expected}"
                );
            }
        }
    }

    #[test]
    fn a_level_depends_on_seed_and_row_alone() {
        assert!((0..1000).any(|row| level_of(1, row, 4) != level_of(2, row, 4)));
        assert!((0..1000).all(|row| level_of(1, row, 4) == level_of(1, row, 4)));
    }
}
