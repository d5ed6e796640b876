//! A query made of a sketch compares as decoded sketches do.

use dvse_simd::{Isa, Op, available, detect, dispatch};

use super::super::codes::SealedCodes;
use super::super::computer::SketchComputer;
use super::super::tests::{EncodeAll, kinds, learned, shapes};
use super::*;
use crate::vectors::MappedRows;

struct FromSketch<'a> {
    transform: &'a Transform,
    row: usize,
    sketches: &'a [u8],
}

impl Op for FromSketch<'_> {
    type Output = Vec<f32>;

    fn run<I: Isa>(self, isa: I) -> Vec<f32> {
        let layout = self.transform.layout();
        let bytes = layout.bytes();
        let mut query = SketchQuery::default();
        query.prepare_sketch(self.transform, &self.sketches[self.row * bytes..][..bytes]);
        let rows: Vec<u32> = (0..(self.sketches.len() / bytes) as u32).collect();
        let mut estimates = vec![f32::NAN; rows.len()];
        let codes = SealedCodes::new(self.sketches, layout);
        SketchComputer::new(isa, &query, &codes).estimate(&rows, &mut estimates);
        estimates
    }
}

/// Factors and the decoded values that count, of a sketch.
fn decoded(transform: &Transform, sketch: &[u8]) -> ([f64; 2], Vec<f64>) {
    let layout = transform.layout();
    let mut codes = vec![0; layout.lanes()];
    layout.unpack(sketch, &mut codes);
    let center = f64::from(layout.center());
    let values = codes.iter().zip(transform.used());
    let values = values.map(|(code, used)| if *used { f64::from(*code) - center } else { 0.0 }).collect();
    (factors(sketch).map(f64::from), values)
}

/// The estimate between rows x and y is |x|² + |y|² − 2·(fₓ/2)·(f_y/2)·⟨codes of x, codes of y⟩ about the center, not
/// below 0; so it is the same from either side.
#[test]
fn a_query_of_a_sketch_compares_as_decoded_sketches_do() {
    for (dim, layout) in shapes() {
        for (name, values) in kinds(41, dim) {
            let transform = learned(&MappedRows::from_values(&values, dim).unwrap(), layout);
            let sketches =
                dispatch(detect(), EncodeAll { transform: &transform, values: &values, euclidean: true });
            let all: Vec<_> =
                sketches.chunks_exact(layout.bytes()).map(|sketch| decoded(&transform, sketch)).collect();
            for level in available() {
                for row in [0, 17, 40] {
                    let ([norm, factor], codes) = &all[row];
                    let estimates =
                        dispatch(*level, FromSketch { transform: &transform, row, sketches: &sketches });
                    for (([other_norm, other_factor], other_codes), got) in all.iter().zip(&estimates) {
                        let product: f64 = codes.iter().zip(other_codes).map(|(a, b)| a * b).sum();
                        let scaled = factor * other_factor / 2.0 * product;
                        let expected = (norm + other_norm - scaled).max(0.0);
                        let slack = 1e-5 * (norm + other_norm + scaled.abs());
                        let what = format!("{name}, dim {dim}, {layout:?}, {level}, row {row}");
                        assert!(
                            (f64::from(*got) - expected).abs() <= slack,
                            "{what}: {got}, expected {expected}"
                        );
                    }
                }
            }
        }
    }
}

/// What the walk relies on where it prunes: over random rows an estimate between two sketches is off by less than a
/// quarter of the distance, mostly by far less.
#[test]
fn estimates_between_sketches_are_near_the_distance() {
    for (dim, layout) in shapes() {
        let (_, values) = kinds(200, dim).swap_remove(0);
        let transform = learned(&MappedRows::from_values(&values, dim).unwrap(), layout);
        let sketches =
            dispatch(detect(), EncodeAll { transform: &transform, values: &values, euclidean: true });
        let estimates = dispatch(detect(), FromSketch { transform: &transform, row: 5, sketches: &sketches });
        let from = &values[5 * dim..6 * dim];
        let mut worst = 0.0_f32;
        for (row, (vector, estimate)) in values.chunks_exact(dim).zip(&estimates).enumerate() {
            let exact: f32 = vector.iter().zip(from).map(|(a, b)| (a - b) * (a - b)).sum();
            if row != 5 {
                worst = worst.max((estimate - exact).abs() / exact);
            }
        }
        println!("dim {dim}, {layout:?}: {worst}");
        assert!(worst < 0.25, "dim {dim}, {layout:?}: {worst}");
    }
}
