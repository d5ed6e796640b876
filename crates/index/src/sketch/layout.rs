//! Where the values of a sketch lie.
//!
//! A sketch is 1 to 4 cache lines. Its last 8 bytes are two factors (`f32`, little-endian), the bytes before them are
//! codes: either two values of 4 bits a byte or one value of 7 bits a byte (7 and not 8, so that products of two bytes
//! summed in pairs fit 16 bits, which is all that AVX2 offers).
//!
//! The query has one `i8` lane for every place a value could have, factors included; lanes over factors are 0, so
//! that kernels run over whole lines without a tail. In 4-bit lines the low halves of the 64 bytes come first, then the
//! high halves.

/// Bytes of a cache line.
pub(crate) const LINE: usize = 64;

/// Bytes at the end of a sketch that hold its factors.
pub(crate) const FACTOR_BYTES: usize = 8;

/// Bits of a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum CodeBits {
    /// Values of 0 to 15.
    Four,
    /// Values of 0 to 127.
    Seven,
}

/// The shape of the sketches of one index.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Layout {
    bits: CodeBits,
    lines: u8,
}

/// The most lines a sketch may have.
pub(crate) const LINES_MAX: usize = 4;

impl Layout {
    /// A layout of `lines` cache lines, or `None` where there is none of so many.
    pub(crate) fn new(bits: CodeBits, lines: usize) -> Option<Layout> {
        let lines = u8::try_from(lines).ok().filter(|lines| (1..=LINES_MAX as u8).contains(lines))?;
        Some(Layout { bits, lines })
    }

    /// The layout for vectors of a dimension.
    ///
    /// Vectors of up to 120 values are kept whole, 7 bits a value; so is the head of those slightly longer. Beyond, two
    /// lines of 4 bits hold the 240 directions that vary most: measured on word, sentence and image vectors, one
    /// line loses recall that no beam brings back, and a third line costs more than it gives.
    pub(crate) fn for_dim(dim: usize) -> Layout {
        let (bits, lines) = match dim {
            0..=56 => (CodeBits::Seven, 1),
            57..=160 => (CodeBits::Seven, 2),
            _ => (CodeBits::Four, 2),
        };
        Layout { bits, lines }
    }

    pub(crate) fn bits(self) -> CodeBits {
        self.bits
    }

    pub(crate) fn lines(self) -> usize {
        usize::from(self.lines)
    }

    /// Bytes of a sketch.
    pub(crate) fn bytes(self) -> usize {
        LINE * self.lines()
    }

    /// Lanes of a query: values a sketch of all lines and no factors would hold.
    pub(crate) fn lanes(self) -> usize {
        match self.bits {
            CodeBits::Four => 2 * self.bytes(),
            CodeBits::Seven => self.bytes(),
        }
    }

    /// Values a sketch holds.
    pub(crate) fn values(self) -> usize {
        match self.bits {
            CodeBits::Four => 2 * (self.bytes() - FACTOR_BYTES),
            CodeBits::Seven => self.bytes() - FACTOR_BYTES,
        }
    }

    /// The largest code.
    pub(crate) fn code_max(self) -> u8 {
        match self.bits {
            CodeBits::Four => 15,
            CodeBits::Seven => 127,
        }
    }

    /// The code that stands for 0, half way between two codes.
    pub(crate) fn center(self) -> f32 {
        f32::from(self.code_max()) / 2.0
    }

    /// The lane of the value with this number, below [`Layout::values`].
    pub(crate) fn lane(self, value: usize) -> usize {
        match self.bits {
            CodeBits::Seven => value,
            CodeBits::Four => {
                // Whole lines hold 128 values in a row; the last line's two halves stop short of the factors.
                let last = self.lines() - 1;
                let (line, rest) = (value / (2 * LINE), value % (2 * LINE));
                let half = LINE - FACTOR_BYTES;
                if line == last && rest >= half { line * 2 * LINE + LINE + (rest - half) } else { value }
            }
        }
    }

    /// Writes codes, given by lane, into a sketch. Lanes over the factors are left out.
    pub(crate) fn pack(self, codes: &[u8], sketch: &mut [u8]) {
        let end = self.bytes() - FACTOR_BYTES;
        match self.bits {
            CodeBits::Seven => sketch[..end].copy_from_slice(&codes[..end]),
            CodeBits::Four => {
                for (line, bytes) in sketch[..end].chunks_mut(LINE).enumerate() {
                    let (low, high) = codes[line * 2 * LINE..][..2 * LINE].split_at(LINE);
                    for ((byte, low), high) in bytes.iter_mut().zip(low).zip(high) {
                        *byte = low | high << 4;
                    }
                }
            }
        }
    }

    /// Reads the codes of a sketch by lane; lanes over the factors become what their bytes say.
    pub(crate) fn unpack(self, sketch: &[u8], codes: &mut [u8]) {
        match self.bits {
            CodeBits::Seven => codes[..self.bytes()].copy_from_slice(&sketch[..self.bytes()]),
            CodeBits::Four => {
                for (bytes, lanes) in sketch.chunks(LINE).zip(codes.chunks_mut(2 * LINE)) {
                    let (low, high) = lanes.split_at_mut(LINE);
                    for ((byte, low), high) in bytes.iter().zip(low).zip(high) {
                        *low = byte & 15;
                        *high = byte >> 4;
                    }
                }
            }
        }
    }
}

/// The factors of a sketch: what is added to the query's constant, and what the product is scaled by.
#[inline(always)]
pub(crate) fn factors(sketch: &[u8]) -> [f32; 2] {
    let at = sketch.len() - FACTOR_BYTES;
    let word = |at: usize| f32::from_le_bytes([sketch[at], sketch[at + 1], sketch[at + 2], sketch[at + 3]]);
    [word(at), word(at + 4)]
}

/// Writes the factors of a sketch.
pub(crate) fn set_factors(sketch: &mut [u8], factors: [f32; 2]) {
    let at = sketch.len() - FACTOR_BYTES;
    sketch[at..at + 4].copy_from_slice(&factors[0].to_le_bytes());
    sketch[at + 4..].copy_from_slice(&factors[1].to_le_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn layouts() -> impl Iterator<Item = Layout> {
        let all = [CodeBits::Four, CodeBits::Seven].into_iter();
        all.flat_map(|bits| (1..=LINES_MAX).filter_map(move |lines| Layout::new(bits, lines)))
    }

    #[test]
    fn every_value_has_a_lane_of_its_own_that_no_factor_covers() {
        for layout in layouts() {
            let mut lanes: Vec<usize> = (0..layout.values()).map(|value| layout.lane(value)).collect();
            lanes.sort_unstable();
            lanes.dedup();
            assert_eq!(lanes.len(), layout.values(), "{layout:?}");
            let mut codes = vec![0; layout.lanes()];
            for lane in &lanes {
                codes[*lane] = layout.code_max();
            }
            let mut sketch = vec![0; layout.bytes()];
            set_factors(&mut sketch, [1.5, -2.5]);
            layout.pack(&codes, &mut sketch);
            assert_eq!(factors(&sketch), [1.5, -2.5], "{layout:?}");
            let mut back = vec![0; layout.lanes()];
            layout.unpack(&sketch, &mut back);
            for lane in lanes {
                assert_eq!(back[lane], layout.code_max(), "{layout:?} lane {lane}");
            }
        }
    }

    proptest! {
        /// Value by value, from the place that the format gives it.
        #[test]
        fn codes_lie_where_the_format_says(seed in prop::collection::vec(any::<u8>(), 512)) {
            for layout in layouts() {
                let codes: Vec<u8> =
                    seed.iter().take(layout.lanes()).map(|code| code & layout.code_max()).collect();
                let mut sketch = vec![0; layout.bytes()];
                set_factors(&mut sketch, [0.25, 3e38]);
                layout.pack(&codes, &mut sketch);
                prop_assert_eq!(factors(&sketch), [0.25, 3e38]);
                let mut back = vec![0; layout.lanes()];
                layout.unpack(&sketch, &mut back);
                for value in 0..layout.values() {
                    // Byte and half of a value: the low halves of a line first, and 56 in the last line.
                    let (byte, half) = match layout.bits() {
                        CodeBits::Seven => (value, None),
                        CodeBits::Four => {
                            let (line, rest) = (value / 128, value % 128);
                            let halves = if line + 1 == layout.lines() { 56 } else { 64 };
                            (64 * line + rest % halves, Some(rest / halves))
                        }
                    };
                    let found = match half {
                        None => sketch[byte],
                        Some(half) => sketch[byte] >> (4 * half) & 15,
                    };
                    prop_assert_eq!(found, codes[layout.lane(value)], "{:?}, value {}", layout, value);
                    prop_assert_eq!(back[layout.lane(value)], found);
                }
            }
        }
    }

    #[test]
    fn layouts_outside_the_lines_are_refused() {
        assert_eq!(Layout::new(CodeBits::Four, 0), None);
        assert_eq!(Layout::new(CodeBits::Four, LINES_MAX + 1), None);
    }
}
