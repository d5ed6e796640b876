//! Halves leave nothing out that comparing all rows in full would return, for any data.

use dvse_simd::{Level, Scalar, available, dispatch};
use dvse_types::Metric;
use proptest::prelude::*;

use super::*;
use crate::MappedRows;
use crate::byte_rows::{ExactRows, QueryCopies, RowCopies};
use crate::computer::{Prefetch, with_kernel};
use crate::sections::MemorySections;

const METRICS: [Metric; 3] = [Metric::L2, Metric::InnerProduct, Metric::Cosine];

fn written(values: &[f32], dim: usize) -> MemorySections {
    let rows = MappedRows::from_values(values, dim).unwrap();
    let mut sections = MemorySections::new();
    HalfRows::write(&rows.view(), (values.len() / dim) as u32, true, &mut sections).unwrap();
    sections
}

fn open(sections: &MemorySections, rows: u32, dim: usize) -> Result<Option<HalfRows>, OpenIndexError> {
    // As if whole rows were dear, so that halves are asked whenever they can spare one.
    HalfRows::open(sections, dim, rows, Placement { rows_on_disk: true, index_on_disk: false })
}

/// Halves of rows whether they are of use or not.
fn forced(values: &[f32], dim: usize) -> HalfRows {
    let rows = MappedRows::from_values(values, dim).unwrap();
    let view = rows.view();
    let count = view.len();
    let largest = values.iter().fold(0.0_f32, |most, value| most.max(value.abs()));
    let exponent = exponent_for(largest);
    let mut narrow = Narrow::new(dim, exponent);
    let (mut error, mut norm, mut halves) = (0.0_f64, 0.0_f64, Vec::new());
    for row in 0..count {
        let made = narrow.narrow(view.row(row));
        let scaled =
            view.row(row)[..dim].iter().map(|value| f64::from(*value) * f64::from(scale_of(exponent)));
        let rest = scaled.clone().zip(made).map(|(value, half)| value - f64::from(f16_bits_to_f32(*half)));
        error = error.max(rest.map(|rest| rest * rest).sum::<f64>().sqrt());
        norm = norm.max(scaled.map(|value| value * value).sum::<f64>().sqrt());
        halves.extend_from_slice(made);
    }
    let meta = Meta {
        magic: MAGIC,
        version: VERSION,
        dim: dim as u32,
        rows: count,
        kind: KEPT,
        exponent,
        error: ((error * (1.0 + 1e-9)) as f32).next_up(),
        norm: (((norm + error) * (1.0 + 1e-9)) as f32).next_up(),
        reserved: [0; 7],
    };
    let mut sections = MemorySections::new();
    sections.begin(META).unwrap();
    sections.append(bytemuck::bytes_of(&meta)).unwrap();
    sections.begin(ROWS).unwrap();
    sections.append(bytemuck::cast_slice(&halves)).unwrap();
    open(&sections, count, dim).unwrap().unwrap()
}

struct Narrowed<'a, K> {
    kernel: K,
    query: &'a [f32],
    rows: &'a MappedRows,
    halves: Option<HalfView<'a>>,
    k: usize,
}

/// What halves left, and the best `k` keys of all rows: by the kernel of four rows and by that of one, whose sums differ in
/// their last bits.
struct Outcome {
    left: Vec<u32>,
    nearest: [Vec<u64>; 2],
}

impl<K: Kernel> Op for Narrowed<'_, K> {
    type Output = Outcome;

    fn run<I: Isa>(self, isa: I) -> Outcome {
        let view = self.rows.view();
        let (mut memory, mut fresh) = (QueryCopies::default(), Vec::new());
        let copies = RowCopies { bytes: None, halves: self.halves };
        let exact = ExactRows::new(isa, self.kernel, self.query, &view, copies, &mut memory);
        let all: Vec<u32> = (0..view.len()).collect();
        let best = |mut keys: Vec<u64>| {
            keys.sort_unstable();
            keys.truncate(self.k);
            keys
        };
        exact.score_batch(&all, &mut fresh, Prefetch::default());
        let fours = best(fresh.clone());
        let mut ones = Vec::new();
        for row in &all {
            exact.score_batch(&[*row], &mut fresh, Prefetch::default());
            ones.push(fresh[0]);
        }
        let mut left = all;
        exact.narrow(self.k, &mut left, &mut fresh);
        Outcome { left, nearest: [fours, best(ones)] }
    }
}

/// Halves leave the rows that comparing all in full returns, ties by row included; how many they left at most.
#[track_caller]
fn check(what: &str, values: &[f32], dim: usize, queries: &[Vec<f32>]) -> usize {
    let rows = MappedRows::from_values(values, dim).unwrap();
    let halves = forced(values, dim);
    let mut most = 0;
    for query in queries {
        let mut padded = query.clone();
        padded.resize(rows.view().stride(), 0.0);
        for metric in METRICS {
            for level in available() {
                for k in [1, 3, 10] {
                    let Outcome { left, nearest } = run(*level, metric, &padded, &rows, halves.view(), k);
                    for key in nearest.iter().flatten() {
                        let row = unpack_row(*key);
                        assert!(left.contains(&row), "{what} {metric:?} {level} k {k}: {row} was left out");
                    }
                    most = most.max(left.len());
                }
            }
        }
    }
    most
}

fn run(
    level: Level,
    metric: Metric,
    query: &[f32],
    rows: &MappedRows,
    halves: Option<HalfView<'_>>,
    k: usize,
) -> Outcome {
    with_kernel!(metric, kernel => dispatch(level, Narrowed { kernel, query, rows, halves, k }))
}

fn random(n: usize, seed: u64) -> Vec<f32> {
    let mut state = seed;
    let mut next = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 40) as f32 / (1 << 23) as f32 - 1.0
    };
    (0..n).map(|_| next()).collect()
}

#[test]
fn random_rows_are_mostly_left_out_and_none_that_matters() {
    for dim in [1, 2, 15, 16, 17, 33, 100, 384] {
        let values = random(200 * dim, dim as u64);
        let queries: Vec<Vec<f32>> = random(3 * dim, 99).chunks_exact(dim).map(<[f32]>::to_vec).collect();
        let most = check(&format!("{dim} dimensions"), &values, dim, &queries);
        // In one dimension many products are about as large.
        assert!(dim < 15 || most < 20, "{dim}: {most}");
    }
}

/// Values that halves round to the same, ties, scales at which sums are infinite or nothing, and queries that are rows.
#[test]
fn adversarial_rows_are_answered_the_same() {
    let dim = 24;
    let some = random(40 * dim, 5);
    let scaled = |factor: f32| -> Vec<f32> { some.iter().map(|value| value * factor).collect() };
    let shifted = |by: f32| -> Vec<f32> { some.iter().map(|value| value + by).collect() };
    // The last bit of a float is all that tells them apart.
    let near: Vec<f32> = (0..60_u32)
        .flat_map(|row| (0..dim as u32).map(move |at| f32::from_bits(0x3f80_0000 + (row * 7 + at) % 5)))
        .collect();
    // In the middle between two halves, where rounding goes either way by a single bit.
    let middles: Vec<f32> = (0..60_u32)
        .flat_map(|row| {
            (0..dim as u32).map(move |at| f32::from_bits(0x3f80_1000 + (at << 13) + (row + at) % 3 - 1))
        })
        .collect();
    let mut one_long = scaled(1e-3);
    one_long[..dim].fill(3e4);
    let mut mixed = some.clone();
    for (at, value) in mixed.iter_mut().enumerate() {
        *value *= 2.0_f32.powi((at / dim) as i32 % 40 - 20);
    }
    let copies: Vec<f32> = some[..dim].repeat(50);
    for (what, values) in [
        ("floats apart by a bit", near),
        ("middles between halves", middles),
        ("a common offset", shifted(1000.0)),
        ("a larger one", shifted(1e6)),
        ("one long row", one_long),
        ("lengths over 2⁴⁰", mixed),
        ("copies", copies),
        ("zeros", vec![0.0; 40 * dim]),
        ("huge", scaled(1e17)),
        ("so huge that distances are infinite", scaled(1e30)),
        ("tiny", scaled(1e-17)),
        ("so tiny that squares are nothing", scaled(1e-25)),
        ("subnormal", scaled(1e-40)),
    ] {
        let mut queries: Vec<Vec<f32>> = values.chunks_exact(dim).step_by(9).map(<[f32]>::to_vec).collect();
        for factor in [0.0, 1e-30, 1.0, 1e12, 1e30] {
            queries.push(some[..dim].iter().map(|value| value * factor).collect());
        }
        let flipped: Vec<f32> = values[..dim].iter().map(|value| -value).collect();
        queries.push(flipped);
        check(what, &values, dim, &queries);
    }
}

/// The bound holds at either end of what rounding may do: halves that are off by the largest error in the worst direction.
#[test]
fn rows_at_the_edge_of_the_bound_are_kept() {
    // Row 0 rounds away from the query by half a unit in each value and row 1 towards it, so that halves order them wrongly.
    let dim = 64;
    let (low, unit) = (1.0_f32, 2.0_f32.powi(-10));
    let above = low + unit * 0.499;
    let below = low + unit * 0.501;
    let values = [vec![above; dim], vec![below; dim], vec![3.0; dim], vec![-3.0; dim]].concat();
    for at in [0.0, 0.9, 1.0005, 1.1, 5.0] {
        let most = check("the edge", &values, dim, &[vec![at; dim]]);
        assert!(most >= 2);
    }
}

#[test]
fn rows_that_halves_do_not_tell_apart_are_not_kept() {
    let dim = 16;
    let some = random(100 * dim, 3);
    let kept = |values: &[f32]| open(&written(values, dim), 100, dim).unwrap().unwrap().view().is_some();
    assert!(kept(&some));
    assert!(kept(&some.iter().map(|value| value * 1e-30).collect::<Vec<_>>()));
    assert!(kept(&some.iter().map(|value| value * 1e15 + 1e15).collect::<Vec<_>>()));
    assert!(!kept(&some.iter().map(|value| value + 1000.0).collect::<Vec<_>>()));
    // Nothing tells these apart, and halves are as good as floats at that.
    assert!(kept(&[1.0; 1600]));
    let mut one_long = some.clone();
    one_long[..dim].fill(1e6);
    assert!(!kept(&one_long));
    let mut infinite = some;
    infinite[3] = f32::INFINITY;
    assert!(!kept(&infinite));
}

#[test]
fn halves_are_asked_where_they_can_spare_work() {
    let dim = 8;
    let sections = written(&random(50 * dim, 1), dim);
    let query = AlignedBuf::<f32>::copy_of(&[0.5; 16]);
    for (rows_on_disk, from) in [(true, 11), (false, 21)] {
        let placement = Placement { rows_on_disk, index_on_disk: false };
        let halves = HalfRows::open(&sections, dim, 50, placement).unwrap().unwrap();
        let mut memory = AlignedBuf::default();
        let query = halves.view().unwrap().read(Scalar, &query, &mut memory).unwrap();
        assert!(!query.is_worth(10, from - 1) && query.is_worth(10, from));
    }
}

/// Every field of the header, and the sizes.
#[test]
fn damaged_sections_are_refused_by_name() {
    let (dim, rows) = (20, 30);
    let sections = written(&random(rows as usize * dim, 8), dim);
    assert!(open(&sections, rows, dim).unwrap().unwrap().view().is_some());
    assert!(open(&MemorySections::new(), rows, dim).unwrap().is_none());
    let changed = |at: usize, bytes: [u8; 4]| {
        let mut changed = sections.clone();
        changed.get_mut(META).unwrap()[at..at + 4].copy_from_slice(&bytes);
        open(&changed, rows, dim).unwrap_err().to_string()
    };
    for (at, bytes, expect) in [
        (0, [0; 4], "magic"),
        (8, 2_u32.to_le_bytes(), "version 2"),
        (8, [0; 4], "version 0"),
        (12, 21_u32.to_le_bytes(), "the dimension is 21"),
        (16, 31_u32.to_le_bytes(), "the number of rows is 31"),
        (20, 2_u32.to_le_bytes(), "the kind is 2"),
        (20, [0; 4], "rows.half"),
        (24, 121_i32.to_le_bytes(), "the exponent"),
        (24, (-121_i32).to_le_bytes(), "the exponent"),
        (28, f32::NAN.to_le_bytes(), "the error"),
        (28, (-1.0_f32).to_le_bytes(), "the error"),
        (32, f32::INFINITY.to_le_bytes(), "the largest norm"),
        (60, [1, 0, 0, 0], "reserved"),
    ] {
        let error = changed(at, bytes);
        assert!(error.contains(expect), "{at}: {error}");
    }
    let mut shorter = sections.clone();
    shorter.get_mut(ROWS).unwrap().pop();
    assert!(matches!(open(&shorter, rows, dim), Err(OpenIndexError::Size { section: ROWS, .. })));
    let mut only_rows = MemorySections::new();
    only_rows.begin(ROWS).unwrap();
    only_rows.append(&[0; 64]).unwrap();
    assert!(matches!(open(&only_rows, rows, dim), Err(OpenIndexError::Missing { section: META })));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Any finite values: a few magnitudes, any bits, and steps that halves round away.
    #[test]
    fn any_rows_are_answered_the_same(
        dim in 1_usize..40,
        values in prop::collection::vec(
            prop_oneof![
                -1.0_f32..1.0,
                any::<f32>().prop_filter("finite", |value| value.is_finite()),
                (0_u32..64).prop_map(|step| f32::from_bits(0x3f80_0000 + step * 512)),
                Just(0.0),
            ],
            40..600,
        ),
        query in prop::collection::vec(
            prop_oneof![-2.0_f32..2.0, any::<f32>().prop_filter("finite", |value| value.is_finite())], 40),
    ) {
        let whole = values.len() / dim * dim;
        check("any", &values[..whole], dim, &[query[..dim].to_vec(), values[..dim].to_vec()]);
    }

    /// Rows of like size, as embeddings are, with a few near copies of the query among them.
    #[test]
    fn near_rows_are_answered_the_same(
        query in prop::collection::vec(-1.0_f32..1.0, 32),
        noise in prop::collection::vec(-1.0_f32..1.0, 32 * 20),
        scale in -14_i32..4,
    ) {
        let scale = 2.0_f32.powi(scale);
        let values: Vec<f32> =
            noise.iter().zip(query.iter().cycle()).map(|(noise, value)| value + noise * scale).collect();
        check("near", &values, 32, &[query]);
    }
}
