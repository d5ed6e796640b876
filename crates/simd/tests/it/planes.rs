//! Kernels over planes of bits, against their definition, at every level.

use std::panic::{AssertUnwindSafe, catch_unwind};

use dvse_simd::{Isa, MAX_INT_DIM, Op, available, dispatch};

use crate::probe::Values;

struct Planes<'a> {
    planes: usize,
    query: &'a [i8],
    rows: [&'a [u8]; 4],
}

impl Op for Planes<'_> {
    type Output = (i32, [i32; 4]);

    #[inline(always)]
    fn run<I: Isa>(self, isa: I) -> (i32, [i32; 4]) {
        let Planes { planes, query, rows } = self;
        match planes {
            1 => (isa.planes::<1>(query, rows[0]), isa.planes_x4::<1>(query, rows)),
            _ => (isa.planes::<2>(query, rows[0]), isa.planes_x4::<2>(query, rows)),
        }
    }
}

/// Σ code·query, as it is defined.
fn sum(planes: usize, query: &[i8], row: &[u8]) -> i64 {
    let bytes = query.len() / 8;
    let code = |lane: usize| -> i64 {
        (0..planes).map(|plane| i64::from(row[plane * bytes + lane / 8] >> (lane % 8) & 1) << plane).sum()
    };
    query.iter().enumerate().map(|(lane, value)| code(lane) * i64::from(*value)).sum()
}

/// Every level gives the sums of the definition, wherever query and rows begin.
#[track_caller]
fn check(planes: usize, query: &[i8], rows: [&[u8]; 4]) {
    let want = rows.map(|row| sum(planes, query, row));
    for &level in available() {
        for shift in [0, 1, 5, 32] {
            let moved: Vec<i8> = std::iter::repeat_n(0, shift).chain(query.iter().copied()).collect();
            let rows =
                rows.map(|row| std::iter::repeat_n(0, shift).chain(row.iter().copied()).collect::<Vec<u8>>());
            let rows = rows.each_ref().map(|row| &row[shift..]);
            let (one, four) = dispatch(level, Planes { planes, query: &moved[shift..], rows });
            assert_eq!(i64::from(one), want[0], "{level}, {planes} planes of {}, one row", query.len());
            assert_eq!(four.map(i64::from), want, "{level}, {planes} planes of {}, four rows", query.len());
        }
    }
}

const LENGTHS: [usize; 9] = [0, 64, 128, 192, 448, 512, 576, 832, 4096];

fn panics(call: impl FnOnce()) -> bool {
    catch_unwind(AssertUnwindSafe(call)).is_err()
}

tests! {
    fn planes_of_random_bits_are_summed_exactly() {
        for planes in [1, 2] {
            for lanes in LENGTHS {
                let mut values = Values::new((lanes + planes) as u64);
                for _ in 0..10 {
                    let query: Vec<i8> = (0..lanes).map(|_| ((values.bits() % 255) as i8 ^ i8::MIN).max(-127)).collect();
                    let rows: [Vec<u8>; 4] = std::array::from_fn(|_| values.bytes(planes * lanes / 8));
                    check(planes, &query, rows.each_ref().map(Vec::as_slice));
                }
            }
        }
    }

    fn planes_of_extreme_codes_do_not_saturate() {
        for planes in [1, 2] {
            for lanes in [64, 1024, MAX_INT_DIM / 64 * 64] {
                let bytes = planes * lanes / 8;
                let (full, zero, half) = (vec![0xff; bytes], vec![0; bytes], vec![0x55; bytes]);
                for extreme in [127, -127] {
                    check(planes, &vec![extreme; lanes], [&full, &zero, &half, &full]);
                }
            }
        }
    }

    fn each_bit_meets_its_own_value() {
        for planes in [1, 2] {
            let (lanes, query) = (192, |lane: usize| (lane % 127) as i8 + 1);
            let query: Vec<i8> = (0..lanes).map(query).collect();
            for bit in 0..planes * lanes {
                let mut row = vec![0; planes * lanes / 8];
                row[bit / 8] = 1 << (bit % 8);
                let want = i64::from(query[bit % lanes]) << (bit / lanes);
                assert_eq!(sum(planes, &query, &row), want);
                check(planes, &query, [&row, &row, &row, &row]);
            }
        }
    }

    fn planes_of_other_lengths_panic() {
        let (query, row) = (vec![0_i8; 128], vec![0_u8; 33]);
        for &level in available() {
            for planes in [1, 2] {
                let run = |lanes: usize, first: usize, last: usize| {
                    let rows = [&row[..first], &row[..16 * planes], &row[..16 * planes], &row[..last]];
                    dispatch(level, Planes { planes, query: &query[..lanes], rows });
                };
                let bytes = 16 * planes;
                run(128, bytes, bytes);
                assert!(panics(|| run(127, bytes, bytes)), "{level} {planes}");
                assert!(panics(|| run(64, bytes, bytes)), "{level} {planes}");
                assert!(panics(|| run(128, bytes - 1, bytes)), "{level} {planes}");
                assert!(panics(|| run(128, bytes, bytes + 1)), "{level} {planes}");
            }
        }
    }
}
