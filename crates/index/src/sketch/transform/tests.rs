//! What is kept of a transform is the transform; a sketch is what its definition says.

use dvse_simd::{detect, dispatch};

use super::super::layout::factors;
use super::super::tests::{EncodeAll, EstimateAll, Random, kinds, learned, shapes};
use super::*;
use crate::vectors::MappedRows;

#[test]
fn a_transform_of_the_parts_kept_makes_the_same_sketches() {
    for (dim, layout) in shapes() {
        let values = Random(3).normals(300 * dim);
        let transform = learned(&MappedRows::from_values(&values, dim).unwrap(), layout);
        let (mean, scales, matrix) = transform.parts();
        assert_eq!((mean.len(), scales.len()), (dim, layout.lanes()));
        let again = Transform::from_parts(layout, transform.step(), mean, scales, matrix).unwrap();
        assert_eq!(again.parts(), transform.parts());
        assert_eq!(again.used(), transform.used());
        assert_eq!((again.dim(), again.step(), again.layout()), (dim, transform.step(), layout));
        let encode =
            |transform| dispatch(detect(), EncodeAll { transform, values: &values, euclidean: true });
        assert!(encode(&transform) == encode(&again), "dim {dim}, {layout:?}");
    }
}

#[test]
fn parts_that_do_not_fit_are_no_transform() {
    for (dim, layout) in shapes() {
        let values = Random(3).normals(50 * dim);
        let transform = learned(&MappedRows::from_values(&values, dim).unwrap(), layout);
        let (mean, scales, matrix) = transform.parts();
        let fits = |mean, scales, matrix| Transform::from_parts(layout, 1.0, mean, scales, matrix).is_some();
        assert!(fits(mean, scales, matrix));
        assert!(!fits(&[], scales, matrix));
        assert!(!fits(&mean[4..], scales, matrix));
        assert!(!fits(mean, &scales[1..], matrix));
        assert!(!fits(mean, scales, &matrix[1..]));
    }
}

/// The projection of a vector in double precision, by lane, from the parts alone.
fn projected(transform: &Transform, vector: &[f32]) -> Vec<f64> {
    let (mean, scales, matrix) = transform.parts();
    let padded = mean.len().next_multiple_of(4);
    let row = |(lane, scale): (usize, &f32)| {
        let along = |(column, (x, mean)): (usize, (&f32, &f32))| {
            let byte = matrix[lane / 64 * 64 * padded + column / 4 * 256 + lane % 64 * 4 + column % 4] as i8;
            f64::from(byte) * (f64::from(*x) - f64::from(*mean))
        };
        f64::from(*scale) * vector.iter().zip(mean).enumerate().map(along).sum::<f64>()
    };
    scales.iter().enumerate().map(row).collect()
}

/// Codes are the projection's values in steps to within one, and the factors are the squared distance from the mean and
/// twice what a decoded sketch is to be scaled by: projection and decoded sketch then have the product that the
/// projection has with itself.
#[test]
fn a_sketch_is_what_its_definition_says() {
    for (dim, layout) in shapes() {
        for (name, values) in kinds(150, dim) {
            let transform = learned(&MappedRows::from_values(&values, dim).unwrap(), layout);
            let sketches =
                dispatch(detect(), EncodeAll { transform: &transform, values: &values, euclidean: true });
            let bare =
                dispatch(detect(), EncodeAll { transform: &transform, values: &values, euclidean: false });
            let all = sketches.chunks_exact(layout.bytes()).zip(bare.chunks_exact(layout.bytes()));
            for ((sketch, bare), vector) in all.zip(values.chunks_exact(dim)) {
                let what = format!("{name}, dim {dim}, {layout:?}");
                let exact = projected(&transform, vector);
                let largest = exact.iter().fold(0.0_f64, |largest, y| largest.max(y.abs()));
                let centered =
                    vector.iter().zip(transform.mean()).map(|(x, mean)| f64::from(*x) - f64::from(*mean));
                let (mut norm, mut most) = (0.0, 0.0_f64);
                for x in centered {
                    norm += x * x;
                    most = most.max(x.abs());
                }
                let mut codes = vec![0; layout.lanes()];
                layout.unpack(sketch, &mut codes);
                let (center, max) = (f64::from(layout.center()), f64::from(layout.code_max()));
                // Reading a vector in 7 bits, once or twice, is off by so much a value at most; seldom half of it.
                let read = if layout.code_max() > 15 { most / 126.0 / 126.0 } else { most / 126.0 };
                let step = f64::from(transform.step());
                let (mut aligned, mut length) = (0.0, 0.0);
                for ((code, y), used) in codes.iter().zip(&exact).zip(transform.used()) {
                    if !used {
                        continue;
                    }
                    let decoded = f64::from(*code) - center;
                    aligned += decoded * y;
                    length += y * y;
                    if step > 0.0 {
                        let ideal = (y / step).clamp(-center, max - center);
                        let slack = 0.501 + read * (dim as f64).sqrt() / step;
                        assert!(
                            (decoded - ideal).abs() <= slack,
                            "{what}: {decoded} for {ideal}, slack {slack}"
                        );
                    }
                }
                let [added, factor] = factors(sketch).map(f64::from);
                assert!((added - norm).abs() <= 1e-5 * norm, "{what}: {added} {norm}");
                let [added, same] = factors(bare).map(f64::from);
                let mean = || transform.mean().iter().map(|mean| f64::from(*mean));
                let along: f64 =
                    vector.iter().zip(mean()).map(|(x, mean)| mean * (f64::from(*x) - mean)).sum();
                let size: f64 = vector
                    .iter()
                    .zip(mean())
                    .map(|(x, mean)| mean * mean + (mean * f64::from(*x)).abs())
                    .sum();
                assert!(
                    (added + 2.0 * along).abs() <= 1e-5 * size && same == factor,
                    "{what}: {added} {along}"
                );
                if aligned > 0.0 && step > 0.0 && largest > step {
                    let expected = 2.0 * length / aligned;
                    assert!((factor - expected).abs() <= 0.1 * expected, "{what}: {factor} {expected}");
                }
            }
        }
    }
}

/// The example of `docs/format/sketch.md`.
#[test]
fn the_example_of_the_format_is_right() {
    let layout = super::super::layout::Layout::new(super::super::layout::CodeBits::Seven, 1).unwrap();
    let unit: Vec<f32> = (0..16).map(|at| f32::from(u8::from(at % 5 == 0))).collect();
    let transform = Transform::new(layout, vec![0.0; 4], &unit, 0.03);
    let values = [0.5, -0.25, 0.0, 1.0];
    let sketch = dispatch(detect(), EncodeAll { transform: &transform, values: &values, euclidean: true });
    assert_eq!(sketch[..4], [0x50, 0x37, 0x40, 0x61]);
    assert!(sketch[4..56].iter().all(|code| *code == 0x40));
    assert_eq!(sketch[56..60], [0, 0, 0xa8, 0x3f]);
    let [added, factor] = factors(&sketch);
    assert!(added == 1.3125 && (factor - 0.05983).abs() < 1e-4, "{factor}");
    let space = super::super::query::Space::Euclidean;
    let query = &[1.0, 0.0, -0.5, 0.25];
    let estimate = EstimateAll { transform: &transform, space, query, sketches: &sketch };
    let (estimates, _) = dispatch(detect(), estimate);
    assert!((estimates[0] - 1.148).abs() < 1e-3, "{estimates:?}");
}
