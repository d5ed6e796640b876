//! A rotation that knows nothing of the data: signs and Hadamard transforms, drawn from a seed.
//!
//! A random orthogonal matrix would take dim² products a vector; four rounds of random signs and a fast Hadamard
//! transform take dim · log dim additions and spread a vector as evenly. A transform is of a power of two: where the
//! lanes are none, the rounds take the first and the last such part in turns, and the two halves are mixed after each
//! (Andoni et al. 2015; the parts in turns as the RaBitQ authors do it).

/// Rounds of signs and transform.
const ROUNDS: usize = 4;

/// An orthogonal map of vectors padded with zeros. Additions, and products with one number, in a fixed order: the same
/// bits on every machine.
#[derive(Debug, Clone)]
pub(crate) struct Rotation {
    lanes: usize,
    /// The least power of two above half the lanes, or all of them.
    part: usize,
    /// One factor, 1 or −1, for each lane and round.
    signs: Vec<f32>,
}

impl Rotation {
    /// A rotation of `lanes` values, an even number.
    pub(crate) fn new(lanes: usize, seed: u64) -> Rotation {
        let part = if lanes.is_power_of_two() { lanes } else { lanes.next_power_of_two() / 2 };
        let mut state = seed;
        let mut signs = Vec::with_capacity(ROUNDS * lanes);
        while signs.len() < ROUNDS * lanes {
            let bits = split_mix(&mut state);
            let left = ROUNDS * lanes - signs.len();
            signs.extend((0..left.min(64)).map(|bit| if bits >> bit & 1 == 1 { -1.0_f32 } else { 1.0 }));
        }
        Rotation { lanes, part, signs }
    }

    /// Rotates in place; `values` has as many elements as there are lanes.
    #[inline(always)]
    pub(crate) fn apply(&self, values: &mut [f32]) {
        let scale = (self.part as f32).sqrt().recip();
        for (round, signs) in self.signs.chunks_exact(self.lanes.max(1)).enumerate() {
            values.iter_mut().zip(signs).for_each(|(value, sign)| *value *= sign);
            let first = if round % 2 == 0 { 0 } else { self.lanes - self.part };
            let part = &mut values[first..first + self.part];
            hadamard(part);
            part.iter_mut().for_each(|value| *value *= scale);
            if self.part < self.lanes {
                let (low, high) = values.split_at_mut(self.lanes / 2);
                mix(low, high, std::f32::consts::FRAC_1_SQRT_2);
            }
        }
    }
}

/// The transform of a power of two of values, not scaled.
#[inline(always)]
fn hadamard(values: &mut [f32]) {
    let mut half = 1;
    while half < values.len() {
        for block in values.chunks_exact_mut(2 * half) {
            let (low, high) = block.split_at_mut(half);
            mix(low, high, 1.0);
        }
        half *= 2;
    }
}

#[inline(always)]
fn mix(low: &mut [f32], high: &mut [f32], scale: f32) {
    for (low, high) in low.iter_mut().zip(high) {
        let (sum, difference) = (*low + *high, *low - *high);
        *low = sum * scale;
        *high = difference * scale;
    }
}

/// The next number of a seed (Steele, Lea and Flood 2014).
fn split_mix(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut z = *state;
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn norm(values: &[f32]) -> f64 {
        values.iter().map(|value| f64::from(*value) * f64::from(*value)).sum::<f64>().sqrt()
    }

    #[test]
    fn lengths_and_products_stay() {
        for lanes in [64, 128, 192, 384, 448, 832, 896] {
            let rotation = Rotation::new(lanes, 7);
            let mut one: Vec<f32> = (0..lanes).map(|i| (i * i % 17) as f32 - 4.0).collect();
            let mut other: Vec<f32> = (0..lanes).map(|i| (i * 5 % 23) as f32 - 9.0).collect();
            let dot = |a: &[f32], b: &[f32]| -> f64 {
                a.iter().zip(b).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum()
            };
            let (before, length) = (dot(&one, &other), norm(&one));
            rotation.apply(&mut one);
            rotation.apply(&mut other);
            assert!((norm(&one) - length).abs() < 1e-5 * length, "{lanes}");
            assert!((dot(&one, &other) - before).abs() < 1e-5 * length * norm(&other), "{lanes}");
        }
    }

    /// A vector of one value ends up spread: no lane keeps more than a few times its share.
    #[test]
    fn a_single_value_is_spread_over_all_lanes() {
        for lanes in [64, 192, 384, 448, 832] {
            let rotation = Rotation::new(lanes, 1);
            for at in (0..lanes).step_by(7) {
                let mut values = vec![0.0; lanes];
                values[at] = 1.0;
                rotation.apply(&mut values);
                let most = values.iter().fold(0.0_f32, |most, value| most.max(value.abs()));
                assert!(f64::from(most) < 12.0 / (lanes as f64).sqrt(), "{lanes} lanes, {at}: {most}");
                let filled = values.iter().filter(|value| value.abs() > 0.05 / (lanes as f32).sqrt()).count();
                assert!(filled * 2 > lanes, "{lanes} lanes, {at}: {filled}");
            }
        }
    }

    #[test]
    fn seeds_differ_and_repeat() {
        let turned = |seed| {
            let mut values: Vec<f32> = (0..192).map(|i| i as f32).collect();
            Rotation::new(192, seed).apply(&mut values);
            values
        };
        assert_eq!(turned(3), turned(3));
        assert_ne!(turned(3), turned(4));
    }
}
