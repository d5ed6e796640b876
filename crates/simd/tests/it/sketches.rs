//! Kernels over sketches and the projection that makes them, against their definition, at every level.

use std::panic::{AssertUnwindSafe, catch_unwind};

use dvse_simd::{FACTOR_BYTES, Isa, MAX_INT_DIM, Op, SKETCH_LINE, available, dispatch};

use crate::probe::Values;

/// Which kernel of sketches.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Bits {
    Four,
    Seven,
}

use Bits::{Four, Seven};

impl Bits {
    /// Values of a query for each byte of a row.
    fn codes_a_byte(self) -> usize {
        match self {
            Four => 2,
            Seven => 1,
        }
    }

    /// The largest code in every place of a byte.
    fn largest(self) -> u8 {
        match self {
            Four => 0xff,
            Seven => 127,
        }
    }

    /// Code number `k` of a row: of 4 bits, lines of 64 lower halves and then the 64 upper ones.
    fn code(self, row: &[u8], k: usize) -> u8 {
        match self {
            Four if k % 128 < 64 => row[k / 128 * 64 + k % 64] % 16,
            Four => row[k / 128 * 64 + k % 64] / 16,
            Seven => row[k],
        }
    }

    /// Σ code·query, as it is defined.
    fn sum(self, query: &[i8], row: &[u8]) -> i64 {
        (0..query.len()).map(|k| i64::from(self.code(row, k)) * i64::from(query[k])).sum()
    }
}

/// One query and four rows: the kernel of one row on the first, and the kernel of four rows.
struct Sketches<'a> {
    bits: Bits,
    query: &'a [i8],
    rows: [&'a [u8]; 4],
    lines: usize,
}

impl Op for Sketches<'_> {
    type Output = (i32, [i32; 4]);

    #[inline(always)]
    fn run<I: Isa>(self, isa: I) -> (i32, [i32; 4]) {
        let Sketches { bits, query, rows, lines } = self;
        match (bits, lines) {
            (Four, 1) => (isa.sketch4::<1>(query, rows[0]), isa.sketch4_x4::<1>(query, rows)),
            (Four, 2) => (isa.sketch4::<2>(query, rows[0]), isa.sketch4_x4::<2>(query, rows)),
            (Four, 3) => (isa.sketch4::<3>(query, rows[0]), isa.sketch4_x4::<3>(query, rows)),
            (Four, _) => (isa.sketch4::<4>(query, rows[0]), isa.sketch4_x4::<4>(query, rows)),
            (Seven, 1) => (isa.sketch7::<1>(query, rows[0]), isa.sketch7_x4::<1>(query, rows)),
            (Seven, 2) => (isa.sketch7::<2>(query, rows[0]), isa.sketch7_x4::<2>(query, rows)),
            (Seven, 3) => (isa.sketch7::<3>(query, rows[0]), isa.sketch7_x4::<3>(query, rows)),
            (Seven, _) => (isa.sketch7::<4>(query, rows[0]), isa.sketch7_x4::<4>(query, rows)),
        }
    }
}

/// Every level gives the sums of the definition.
#[track_caller]
fn check(bits: Bits, lines: usize, query: &[i8], rows: [&[u8]; 4]) {
    let want = rows.map(|row| bits.sum(query, row));
    for &level in available() {
        let (one, four) = dispatch(level, Sketches { bits, query, rows, lines });
        assert_eq!(i64::from(one), want[0], "{level} {bits:?} {lines} lines, one row");
        assert_eq!(four.map(i64::from), want, "{level} {bits:?} {lines} lines, four rows");
    }
}

/// Values in −127..=127, 0 where they meet the last bytes of a row.
fn query(values: &mut Values, bits: Bits, lines: usize) -> Vec<i8> {
    let mut query: Vec<i8> = (0..bits.codes_a_byte() * lines * SKETCH_LINE)
        .map(|_| (values.bits() % 255) as i8 ^ i8::MIN)
        .collect();
    query.iter_mut().for_each(|value| *value = (*value).max(-127));
    silence_factors(bits, &mut query);
    query
}

fn silence_factors(bits: Bits, query: &mut [i8]) {
    let len = query.len();
    query[len - FACTOR_BYTES..].fill(0);
    if bits == Four {
        query[len - SKETCH_LINE - FACTOR_BYTES..len - SKETCH_LINE].fill(0);
    }
}

/// Codes, and any bytes at the end.
fn row(values: &mut Values, bits: Bits, lines: usize) -> Vec<u8> {
    let mut row = values.bytes(lines * SKETCH_LINE);
    let len = row.len();
    row[..len - FACTOR_BYTES].iter_mut().for_each(|byte| *byte &= bits.largest());
    row
}

/// A copy of `of` that starts `shift` elements behind the start of an allocation.
fn shifted<T: Copy + Default>(of: &[T], shift: usize) -> Vec<T> {
    let mut copy = vec![T::default(); shift];
    copy.extend_from_slice(of);
    copy
}

const CASES: [(Bits, usize); 8] =
    [(Four, 1), (Four, 2), (Four, 3), (Four, 4), (Seven, 1), (Seven, 2), (Seven, 3), (Seven, 4)];

/// `transform` rows by columns, in the order the projection reads.
fn packed(rows: &[Vec<i8>], columns: usize) -> Vec<i8> {
    let mut packed = Vec::with_capacity(rows.len() * columns);
    for block in rows.chunks(64) {
        for first in (0..columns).step_by(4) {
            packed.extend(block.iter().flat_map(|row| &row[first..first + 4]));
        }
    }
    packed
}

struct Project<'a>(&'a [i8], &'a [u8], &'a mut [i32]);

impl Op for Project<'_> {
    type Output = ();

    #[inline(always)]
    fn run<I: Isa>(self, isa: I) {
        isa.project(self.0, self.1, self.2);
    }
}

/// Every level gives the matrix times the vector, whatever was in the output.
#[track_caller]
fn check_projection(rows: &[Vec<i8>], query: &[u8]) {
    let transform = packed(rows, query.len());
    let product = |row: &Vec<i8>| -> i64 {
        row.iter().zip(query).map(|(&weight, &value)| i64::from(weight) * i64::from(value)).sum()
    };
    let want: Vec<i64> = rows.iter().map(product).collect();
    for &level in available() {
        for shift in [0, 1, 13] {
            let (transform, query) = (shifted(&transform, shift), shifted(query, 2 * shift));
            let mut out = vec![i32::MAX; rows.len() + shift];
            dispatch(level, Project(&transform[shift..], &query[2 * shift..], &mut out[shift..]));
            let got: Vec<i64> = out[shift..].iter().map(|&sum| i64::from(sum)).collect();
            assert_eq!(got, want, "{level} {} by {}", rows.len(), query.len());
            assert!(out[..shift].iter().all(|&sum| sum == i32::MAX), "{level} wrote before the output");
        }
    }
}

fn panics(call: impl FnOnce()) -> bool {
    catch_unwind(AssertUnwindSafe(call)).is_err()
}

tests! {
    fn sketches_of_random_codes_are_summed_exactly() {
        for (bits, lines) in CASES {
            let mut values = Values::new(lines as u64);
            for _ in 0..50 {
                let query = query(&mut values, bits, lines);
                let rows: [Vec<u8>; 4] = std::array::from_fn(|_| row(&mut values, bits, lines));
                check(bits, lines, &query, rows.each_ref().map(Vec::as_slice));
            }
        }
    }

    fn sketches_of_extreme_codes_do_not_saturate() {
        for (bits, lines) in CASES {
            let full = vec![bits.largest(); lines * SKETCH_LINE];
            let zero = vec![0; full.len()];
            let every_other: Vec<u8> = (0..full.len()).map(|i| if i % 2 == 0 { bits.largest() } else { 0 }).collect();
            let mut factors = zero.clone();
            factors[full.len() - FACTOR_BYTES..].fill(0xff);
            for extreme in [127, -127, 1, -1] {
                // Nowhere 0 where the codes are the largest, then with any factors.
                let mut query = vec![extreme; bits.codes_a_byte() * full.len()];
                check(bits, lines, &query, [&full, &zero, &every_other, &full]);
                silence_factors(bits, &mut query);
                check(bits, lines, &query, [&factors, &full, &zero, &every_other]);
                let alternating: Vec<i8> =
                    query.iter().enumerate().map(|(i, &value)| if i % 2 == 0 { value } else { -value }).collect();
                check(bits, lines, &alternating, [&full, &every_other, &factors, &zero]);
            }
        }
    }

    fn factors_of_sketches_add_nothing() {
        for (bits, lines) in CASES {
            let mut values = Values::new(40 + lines as u64);
            let query = query(&mut values, bits, lines);
            let plain = row(&mut values, bits, lines);
            let want = bits.sum(&query, &plain);
            for factor in 0..=255 {
                let mut row = plain.clone();
                let len = row.len();
                row[len - FACTOR_BYTES..].fill(factor);
                assert_eq!(bits.sum(&query, &row), want);
                check(bits, lines, &query, [&row, &plain, &row, &plain]);
            }
        }
    }

    fn each_code_of_a_sketch_meets_its_own_value() {
        for (bits, lines) in CASES {
            let zero = vec![0; lines * SKETCH_LINE];
            for k in 0..bits.codes_a_byte() * zero.len() {
                let mut query = vec![0; bits.codes_a_byte() * zero.len()];
                query[k] = -77;
                let rows: [Vec<u8>; 4] = std::array::from_fn(|n| (0..zero.len()).map(|i| ((i * 7 + n * 3) & 127) as u8).collect());
                check(bits, lines, &query, rows.each_ref().map(Vec::as_slice));
            }
        }
    }

    fn sums_of_sketches_do_not_depend_on_alignment() {
        for (bits, lines) in CASES {
            let mut values = Values::new(80 + lines as u64);
            let query = query(&mut values, bits, lines);
            let row = row(&mut values, bits, lines);
            for shift in 0..64 {
                let moved = shifted(&query, 63 - shift);
                let rows = [shift, shift / 2, 64 - shift, 1].map(|shift| shifted(&row, shift));
                let [a, b, c, d] = &rows;
                let rows = [&a[shift..], &b[shift / 2..], &c[64 - shift..], &d[1..]];
                check(bits, lines, &moved[63 - shift..], rows);
            }
        }
    }

    fn sketches_of_other_lengths_panic() {
        let (query, row) = (vec![0i8; 512], vec![0u8; 256]);
        for &level in available() {
            for (bits, lines) in CASES {
                let (values, bytes) = (bits.codes_a_byte() * lines * SKETCH_LINE, lines * SKETCH_LINE);
                let run = |values: usize, one: usize, last: usize| {
                    let rows = [&row[..one], &row[..bytes], &row[..bytes], &row[..last]];
                    dispatch(level, Sketches { bits, query: &query[..values], rows, lines });
                };
                run(values, bytes, bytes);
                assert!(panics(|| run(values - 1, bytes, bytes)), "{level} {bits:?} {lines}");
                assert!(panics(|| run(values, bytes - 1, bytes)), "{level} {bits:?} {lines}");
                assert!(panics(|| run(values, bytes, bytes - 64)), "{level} {bits:?} {lines}");
            }
        }
    }

    fn projections_of_random_matrices_are_exact() {
        for columns in [4, 8, 60, 384, 784, 4096] {
            for count in [64, 128, 192, 256, 384] {
                let mut values = Values::new((columns + count) as u64);
                let weight = |bits: u64| (bits % 255) as i16 as i8;
                let rows: Vec<Vec<i8>> = (0..count)
                    .map(|_| (0..columns).map(|_| weight(values.bits()).max(-127)).collect())
                    .collect();
                let query: Vec<u8> = values.bytes(columns).iter().map(|byte| byte & 127).collect();
                check_projection(&rows, &query);
            }
        }
    }

    fn projections_of_extreme_matrices_do_not_saturate() {
        for columns in [0, 4, 12, 1024, MAX_INT_DIM] {
            for weight in [127, -127] {
                let rows: Vec<Vec<i8>> =
                    (0..128).map(|row| vec![if row % 3 == 0 { -weight } else { weight }; columns]).collect();
                check_projection(&rows, &vec![127; columns]);
            }
        }
        check_projection(&[], &[1, 2, 3, 4]);
    }

    fn projections_of_other_shapes_panic() {
        for &level in available() {
            let run = |transform: usize, query: usize, out: usize| {
                dispatch(level, Project(&vec![0; transform], &vec![0; query], &mut vec![0; out]));
            };
            run(256, 4, 64);
            for (transform, query, out) in [(255, 4, 64), (512, 4, 64), (378, 6, 63), (384, 6, 64), (128, 4, 32), (4, 0, 64)] {
                assert!(panics(|| run(transform, query, out)), "{level} {transform} {query} {out}");
            }
            let columns = MAX_INT_DIM + 4;
            assert!(panics(|| run(columns * 64, columns, 64)), "{level}");
        }
    }
}
