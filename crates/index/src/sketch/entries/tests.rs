//! The rows to begin at are spread over all and are the nearest of them.

use dvse_simd::{Op, available, dispatch};

use super::super::query::Space;
use super::super::tests::{EncodeAll, EstimateAll, kinds, learned, shapes};
use super::super::transform::Transform;
use super::*;
use crate::vectors::MappedRows;

#[test]
fn entries_are_spread_over_all_rows() {
    for rows in [0, 1, 2, 127, 128, 129, 1000, 62_436, u32::MAX] {
        let chosen = Entries::spread(rows);
        assert_eq!(chosen.len(), (rows as usize).min(ENTRIES_MAX), "{rows}");
        assert!(chosen.first().is_none_or(|first| *first == 0), "{rows}");
        assert!(chosen.last().is_none_or(|last| *last < rows), "{rows}");
        let gap = rows / ENTRIES_MAX as u32;
        let ends = chosen.iter().skip(1).chain([&rows]);
        for (row, next) in chosen.iter().zip(ends) {
            assert!((gap.max(1)..=gap + 1).contains(&(next - row)), "{rows}: {row} and {next}");
        }
    }
}

struct Nearest<'a> {
    entries: &'a Entries,
    transform: &'a Transform,
    query: &'a [f32],
}

impl Op for Nearest<'_> {
    type Output = (Vec<(u32, f32)>, u64);

    fn run<I: Isa>(self, isa: I) -> (Vec<(u32, f32)>, u64) {
        let mut query = SketchQuery::default();
        query.prepare(isa, self.transform, Space::Euclidean, self.query);
        let mut starts = vec![(9, 9.0)];
        let compared = self.entries.nearest(isa, &query, &mut starts);
        (starts, compared)
    }
}

#[test]
fn a_walk_begins_at_the_nearest_entries() {
    let count = 400;
    for (dim, layout) in shapes() {
        for (name, values) in kinds(count, dim) {
            let transform = learned(&MappedRows::from_values(&values, dim).unwrap(), layout);
            for level in available() {
                let encode = EncodeAll { transform: &transform, values: &values, euclidean: true };
                let sketches = dispatch(*level, encode);
                let codes = SealedCodes::new(&sketches, layout);
                let query = &values[33 * dim..34 * dim];
                let (estimates, _) = dispatch(
                    *level,
                    EstimateAll {
                        transform: &transform,
                        space: Space::Euclidean,
                        query,
                        sketches: &sketches,
                    },
                );
                // More rows than are taken, all that are taken, fewer than a walk begins at, none.
                let spread = Entries::spread(count as u32);
                let chosen = [(0..count as u32).rev().collect(), spread, vec![7, 3], vec![]];
                for rows in chosen {
                    let entries = Entries::copy(&rows, count as u32, layout, &codes);
                    let taken = &rows[..rows.len().min(ENTRIES_MAX)];
                    assert_eq!((entries.rows(), entries.taken_from()), (taken, count as u32));
                    let find = Nearest { entries: &entries, transform: &transform, query };
                    let (starts, compared) = dispatch(*level, find);
                    assert_eq!(compared, taken.len() as u64);
                    // Ties go to the entry that comes first.
                    let mut expected: Vec<(u32, f32)> =
                        taken.iter().map(|row| (*row, estimates[*row as usize])).collect();
                    expected.sort_by(|a, b| a.1.total_cmp(&b.1));
                    expected.truncate(STARTS);
                    assert_eq!(starts, expected, "{name}, {layout:?}, {level}");
                }
            }
        }
    }
}
