//! Estimates against distances in double precision: bounds that must hold hold, for any data.

use dvse_simd::{Isa, Level, Op, available, dispatch};
use dvse_types::Metric;

use super::coder::Encode;
use super::computer::CodeComputer;
use super::{CodedQuery, Coder, RowCodes};
use crate::computer::DistanceComputer;
use crate::quant::rabitq::EncodeScratch;

const METRICS: [Metric; 3] = [Metric::L2, Metric::InnerProduct, Metric::Cosine];

const CODES: [RowCodes; 5] = [
    RowCodes::Scalar8,
    RowCodes::RaBitQ { bits: 1 },
    RowCodes::RaBitQ { bits: 2 },
    RowCodes::RaBitQ { bits: 4 },
    RowCodes::RaBitQ { bits: 8 },
];

struct Random(u64);

impl Random {
    fn unit(&mut self) -> f32 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        ((self.0 >> 33) as f32) / (1_u64 << 31) as f32
    }

    fn normal(&mut self) -> f32 {
        (0..12).map(|_| self.unit() - 0.5).sum()
    }

    fn vector(&mut self, dim: usize) -> Vec<f32> {
        (0..dim).map(|_| self.normal()).collect()
    }
}

fn distance(metric: Metric, a: &[f32], b: &[f32]) -> f64 {
    let pairs = || a.iter().zip(b).map(|(a, b)| (f64::from(*a), f64::from(*b)));
    let dot: f64 = pairs().map(|(a, b)| a * b).sum();
    match metric {
        Metric::L2 => pairs().map(|(a, b)| (a - b) * (a - b)).sum(),
        Metric::InnerProduct => -dot,
        Metric::Cosine => 1.0 - dot,
    }
}

fn length(a: &[f32]) -> f64 {
    a.iter().map(|a| f64::from(*a) * f64::from(*a)).sum::<f64>().sqrt()
}

fn mean(rows: &[Vec<f32>]) -> Vec<f32> {
    let mut center = vec![0.0_f64; rows[0].len()];
    for row in rows {
        center.iter_mut().zip(row).for_each(|(sum, value)| *sum += f64::from(*value));
    }
    center.iter().map(|sum| (sum / rows.len() as f64) as f32).collect()
}

/// Estimates of the distances from a query to rows, the largest errors proven, and deviations.
struct Estimates<'a> {
    coder: &'a Coder,
    query: &'a [f32],
    coded: &'a [u8],
    rows: u32,
}

impl Op for Estimates<'_> {
    type Output = Vec<(f32, f32, f32)>;

    fn run<I: Isa>(self, isa: I) -> Vec<(f32, f32, f32)> {
        let Estimates { coder, query, coded, rows } = self;
        let mut made = CodedQuery::default();
        made.prepare(coder, query);
        let computer = CodeComputer::new(isa, coder, &made, coded);
        let bytes = coder.row_bytes();
        (0..rows)
            .map(|row| {
                let factors = coder.factors(&coded[row as usize * bytes..][..bytes]);
                let (estimate, deviation) = (computer.score(row), computer.deviation(row));
                // Four at a time, and in a batch, the same number comes out.
                assert_eq!(computer.score4([row; 4]), [estimate; 4]);
                (estimate, made.factors.error_max(&factors), deviation)
            })
            .collect()
    }
}

fn coded(codes: RowCodes, metric: Metric, rows: &[Vec<f32>], level: Level) -> (Coder, Vec<u8>) {
    let center = if codes == RowCodes::Scalar8 { Vec::new() } else { mean(rows) };
    let coder = Coder::new(codes, metric, rows[0].len(), center, 11).unwrap();
    let mut bytes = vec![0; rows.len() * coder.row_bytes()];
    let mut scratch = EncodeScratch::default();
    for (vector, out) in rows.iter().zip(bytes.chunks_exact_mut(coder.row_bytes())) {
        dispatch(level, Encode { coder: &coder, vector, scratch: &mut scratch, out });
        assert!(coder.factors(out).are_sound(), "{codes:?} {metric:?}");
    }
    (coder, bytes)
}

/// Every estimate is within the proven bound, but for the rounding of floats.
#[track_caller]
fn check(what: &str, rows: &[Vec<f32>], queries: &[Vec<f32>]) {
    let level = dvse_simd::detect();
    for codes in CODES {
        for metric in METRICS {
            let (coder, bytes) = coded(codes, metric, rows, level);
            let center = length(coder.center());
            for query in queries {
                let asked = Estimates { coder: &coder, query, coded: &bytes, rows: rows.len() as u32 };
                for (row, (estimate, error, _)) in rows.iter().zip(dispatch(level, asked)) {
                    let truth = distance(metric, query, row);
                    // What floats cannot hold of numbers as large as those that are added up.
                    let size = length(query) + length(row) + center;
                    let slack = 4e-6 * size * size + 1e-30;
                    let wrong = (f64::from(estimate) - truth).abs();
                    assert!(
                        wrong <= f64::from(error) * 1.0001 + slack,
                        "{what} {codes:?} {metric:?}: {estimate} for {truth}, error {error}, slack {slack}"
                    );
                }
            }
        }
    }
}

fn set(n: usize, dim: usize, seed: u64) -> Vec<Vec<f32>> {
    let mut random = Random(seed);
    (0..n).map(|_| random.vector(dim)).collect()
}

#[test]
fn estimates_of_random_vectors_are_within_their_bound() {
    for dim in [1, 2, 3, 17, 64, 100, 130, 384, 784] {
        check(&format!("{dim} dimensions"), &set(60, dim, dim as u64), &set(4, dim, 99));
    }
}

#[test]
fn estimates_of_adversarial_vectors_are_within_their_bound() {
    for dim in [5, 64, 100, 300] {
        let random = set(8, dim, 5);
        let scaled = |factor: f32| -> Vec<Vec<f32>> {
            random.iter().map(|row| row.iter().map(|value| value * factor).collect()).collect()
        };
        let constants: Vec<Vec<f32>> = [0.0, 1.0, -3.5, 1e6].iter().map(|value| vec![*value; dim]).collect();
        let single: Vec<Vec<f32>> = (0..5)
            .map(|at| {
                let mut row = random[at].clone();
                row[at * (dim / 5)] = 1e5;
                row
            })
            .collect();
        let shifted: Vec<Vec<f32>> =
            random.iter().map(|row| row.iter().map(|value| value + 1000.0).collect()).collect();
        let mut mixed = [constants.clone(), single.clone(), scaled(1e3)].concat();
        mixed.extend([random[0].clone(), random[0].clone(), vec![0.0; dim]]);
        let signs = (0..dim).map(|at| if at % 2 == 0 { 1.0 } else { -1.0 }).collect::<Vec<f32>>();
        let queries = [random[3].clone(), vec![0.0; dim], vec![2.0; dim], single[1].clone(), signs];
        for (what, rows) in [
            ("constants", &constants),
            ("one huge value", &single),
            ("a common offset", &shifted),
            ("duplicates", &vec![random[1].clone(); 6]),
            ("huge", &scaled(1e12)),
            ("tiny", &scaled(1e-12)),
            ("mixed", &mixed),
        ] {
            check(&format!("{what}, {dim} dimensions"), rows, &queries);
            check(&format!("{what} among themselves, {dim} dimensions"), rows, rows);
        }
    }
}

/// The published bound: wrong by more than ε / √(dim − 1) of the proven most with a probability that falls with ε. Three
/// deviations are left by fewer than one in 200, two by fewer than one in 12 (normal errors: 1 in 370, 1 in 22).
#[test]
fn errors_are_as_rare_as_published() {
    for dim in [64, 100, 384, 784] {
        let (rows, queries) = (set(300, dim, 21), set(10, dim, 22));
        for codes in CODES {
            let (coder, bytes) = coded(codes, Metric::L2, &rows, dvse_simd::detect());
            let (mut all, mut beyond, mut bias, mut squares) = (0_u32, [0_u32; 2], 0.0, 0.0);
            for query in &queries {
                let asked = Estimates { coder: &coder, query, coded: &bytes, rows: rows.len() as u32 };
                for (row, (estimate, _, deviation)) in rows.iter().zip(dispatch(dvse_simd::detect(), asked)) {
                    let wrong =
                        (f64::from(estimate) - distance(Metric::L2, query, row)) / f64::from(deviation);
                    all += 1;
                    beyond[0] += u32::from(wrong.abs() > 2.0);
                    beyond[1] += u32::from(wrong.abs() > 3.0);
                    bias += wrong;
                    squares += wrong * wrong;
                }
            }
            let (bias, deviation) = (bias / f64::from(all), (squares / f64::from(all)).sqrt());
            println!("{dim} {codes:?}: {beyond:?} of {all} beyond, bias {bias:.3}, deviation {deviation:.3}");
            assert!(beyond[0] * 12 < all, "{dim} {codes:?}: {} of {all}", beyond[0]);
            assert!(beyond[1] * 200 < all, "{dim} {codes:?}: {} of {all}", beyond[1]);
            assert!(
                bias.abs() < 0.15 && (0.5..1.3).contains(&deviation),
                "{dim} {codes:?}: {bias}, {deviation}"
            );
        }
    }
}

/// More bits, smaller errors: each bit about halves them.
#[test]
fn bits_buy_precision() {
    let (rows, query) = (set(100, 384, 31), set(1, 384, 32));
    let error = |codes| {
        let (coder, bytes) = coded(codes, Metric::L2, &rows, dvse_simd::detect());
        let asked = Estimates { coder: &coder, query: &query[0], coded: &bytes, rows: 100 };
        let found = dispatch(dvse_simd::detect(), asked);
        let wrong = rows.iter().zip(found).map(|(row, (estimate, ..))| {
            (f64::from(estimate) - distance(Metric::L2, &query[0], row)).powi(2)
        });
        (wrong.sum::<f64>() / 100.0).sqrt()
    };
    let errors: Vec<f64> = [1, 2, 4, 8].map(|bits| error(RowCodes::RaBitQ { bits })).to_vec();
    println!("{errors:?}, scalar {}", error(RowCodes::Scalar8));
    assert!(
        errors[1] < 0.75 * errors[0] && errors[2] < 0.4 * errors[1] && errors[3] < 0.4 * errors[2],
        "{errors:?}"
    );
    assert!(error(RowCodes::Scalar8) < 0.4 * errors[1]);
}

/// Codes, factors and estimates are the same bits at every level.
#[test]
fn all_levels_agree() {
    for dim in [3, 64, 100, 384, 600] {
        let (rows, query) = (set(20, dim, 41), set(1, dim, 42));
        for codes in CODES {
            let (coder, bytes) = coded(codes, Metric::Cosine, &rows, Level::Scalar);
            let asked = |level| {
                let rows = rows.len() as u32;
                dispatch(level, Estimates { coder: &coder, query: &query[0], coded: &bytes, rows })
            };
            let plain = asked(Level::Scalar);
            for level in available() {
                assert_eq!(coded(codes, Metric::Cosine, &rows, *level).1, bytes, "{level} {codes:?} {dim}");
                assert_eq!(asked(*level), plain, "{level} {codes:?} {dim}");
            }
        }
    }
}

#[test]
fn rows_take_as_many_bytes_as_said() {
    for (codes, dim, bytes) in [
        (RowCodes::Scalar8, 384, 404),
        (RowCodes::Scalar8, 100, 148),
        (RowCodes::RaBitQ { bits: 1 }, 384, 64),
        (RowCodes::RaBitQ { bits: 2 }, 384, 112),
        (RowCodes::RaBitQ { bits: 4 }, 384, 208),
        (RowCodes::RaBitQ { bits: 8 }, 384, 400),
    ] {
        assert_eq!(codes.row_bytes(dim), bytes, "{codes:?}");
    }
    assert!(!RowCodes::RaBitQ { bits: 3 }.is_known());
    assert!(Coder::new(RowCodes::RaBitQ { bits: 5 }, Metric::L2, 4, vec![0.0; 4], 0).is_none());
    assert!(Coder::new(RowCodes::RaBitQ { bits: 4 }, Metric::L2, 4, vec![0.0; 3], 0).is_none());
}
