//! The matrix that is read while it grows.

use std::sync::atomic::{AtomicBool, Ordering};

use dvse_simd::{ALIGNMENT, Full, GrowingRows, RowsError, detect, dispatch, padded_dim};

use crate::probe;

/// A row whose every component tells its number and place, so that a torn or misplaced row shows.
fn row(number: u32, dim: usize) -> Vec<f32> {
    (0..dim).map(|place| (number * 31 + place as u32 % 7) as f32).collect()
}

#[test]
fn rows_come_back_in_order_across_chunks() {
    // One row per chunk (32 MiB rows), some rows, and many; a dimension that is padded and one that is not.
    let shapes = [(8 << 20, 3, 3), (400_000, 40, 25), (100, 70_000, 70_000), (16, 70_000, 66_000)];
    // Chunks are small under Miri, which takes minutes for megabytes.
    let shapes = if cfg!(miri) { &[(1100, 3, 3), (17, 90, 70), (16, 70, 70)] } else { &shapes[..] };
    for &(dim, capacity, rows) in shapes {
        let (mut writer, reader) = GrowingRows::with_capacity(dim, capacity).unwrap();
        assert_eq!((reader.dim(), reader.capacity(), reader.is_empty()), (dim, capacity, true));
        for number in 0..rows as u32 {
            assert_eq!(writer.append(&row(number, dim)), Ok(number));
            assert_eq!(reader.len(), number as usize + 1);
        }
        let view = reader.rows();
        for number in 0..rows as u32 {
            let got = view.row(number);
            assert_eq!(got, row(number, dim), "dim {dim}, row {number}");
            assert!(got.as_ptr().addr().is_multiple_of(ALIGNMENT));
            let padded = view.padded_row(number);
            assert_eq!(padded.len(), padded_dim(dim));
            assert!(padded[dim..].iter().all(|&x| x == 0.0));
        }
        assert!(writer.allocated_bytes() >= rows * padded_dim(dim) * 4);
    }
}

#[test]
fn a_full_matrix_refuses_rows_and_stays_readable() {
    let (mut writer, reader) = GrowingRows::with_capacity(5, 3).unwrap();
    for number in 0..3 {
        assert_eq!(writer.append(&row(number, 5)), Ok(number));
    }
    assert_eq!(writer.append(&row(3, 5)), Err(Full::Capacity { rows: 3 }));
    assert_eq!(writer.append(&row(3, 5)).unwrap_err().to_string(), "all 3 rows are taken");
    assert_eq!((reader.len(), reader.row(2)), (3, row(2, 5).as_slice()));
}

#[test]
fn a_matrix_without_capacity_is_full_at_once() {
    let (mut writer, reader) = GrowingRows::with_capacity(5, 0).unwrap();
    assert_eq!(writer.append(&[0.0; 5]), Err(Full::Capacity { rows: 0 }));
    assert!(reader.is_empty() && reader.get(0).is_none());
}

#[test]
fn impossible_shapes_are_refused_before_memory_is_taken() {
    assert_eq!(GrowingRows::with_capacity(0, 10).unwrap_err(), RowsError::NoColumns);
    for (dim, capacity) in [(1, usize::MAX), (16, 1 << 33), (1 << 20, 1 << 50), (usize::MAX, 1), (1 << 61, 1)]
    {
        match GrowingRows::with_capacity(dim, capacity).unwrap_err() {
            RowsError::TooLarge { dim: d, capacity: c, max_capacity } => {
                assert_eq!((d, c), (dim, capacity));
                assert!(max_capacity < capacity);
            }
            error => panic!("{error}"),
        }
    }
    // The largest shapes that are possible cost nothing until rows come.
    let capacity = if cfg!(miri) { 10_000 } else { 100_000_000 };
    let (writer, _) = GrowingRows::with_capacity(384, capacity).unwrap();
    assert_eq!(writer.allocated_bytes(), 0);
}

#[test]
fn rows_beyond_the_length_are_not_given_out() {
    let (mut writer, reader) = GrowingRows::with_capacity(3, 100).unwrap();
    writer.append(&[1.0, 2.0, 3.0]).unwrap();
    let view = reader.rows();
    writer.append(&[4.0, 5.0, 6.0]).unwrap();
    assert_eq!(view.len(), 1);
    assert!(view.get(1).is_none() && reader.get(1).is_some() && reader.get(2).is_none());
    view.prefetch(7, 4);
    assert!(std::panic::catch_unwind(|| view.row(1).len()).is_err());
    assert!(std::panic::catch_unwind(|| reader.row(u32::MAX).len()).is_err());
}

#[test]
#[should_panic(expected = "a row of 2 floats was appended to rows of 3")]
fn rows_of_another_dimension_panic() {
    let (mut writer, _) = GrowingRows::with_capacity(3, 100).unwrap();
    let _ = writer.append(&[1.0, 2.0]);
}

#[test]
fn readers_keep_the_rows_alive_after_the_writer_is_gone() {
    let (mut writer, reader) = GrowingRows::with_capacity(10, 10).unwrap();
    writer.append(&row(0, 10)).unwrap();
    let other = writer.reader();
    drop(writer);
    drop(reader);
    assert_eq!(other.clone().row(0), row(0, 10));
}

#[test]
fn readers_see_whole_rows_while_the_writer_appends() {
    let (dim, rows) = if cfg!(miri) { (9, 60) } else { (150, 60_000) };
    let (mut writer, reader) = GrowingRows::with_capacity(dim, rows).unwrap();
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        for seed in 1..4u64 {
            let (reader, done) = (reader.clone(), &done);
            scope.spawn(move || {
                let mut values = probe::Values::new(seed);
                let mut last = 0;
                loop {
                    let finished = done.load(Ordering::Acquire);
                    let view = reader.rows();
                    assert!(view.len() >= last, "the length went back");
                    last = view.len();
                    if last > 0 {
                        // The newest row, which the writer has just left, and some other one.
                        for number in [last as u32 - 1, (values.bits() % last as u64) as u32] {
                            assert_eq!(view.row(number), row(number, dim));
                            // And through a kernel, as a search reads it.
                            let same = probe::floats(detect(), view.row(number), [view.row(number); 4]);
                            assert_eq!((same.l2, same.l2_x4), (0.0, [0.0; 4]));
                        }
                    }
                    if finished {
                        assert_eq!(last, rows);
                        break;
                    }
                }
            });
        }
        for number in 0..rows as u32 {
            assert_eq!(writer.append(&row(number, dim)), Ok(number));
        }
        done.store(true, Ordering::Release);
    });
}

#[test]
fn a_search_over_a_view_runs_as_one_op() {
    struct Nearest<'a> {
        query: &'a [f32],
        rows: dvse_simd::Rows<'a>,
    }
    impl dvse_simd::Op for Nearest<'_> {
        type Output = Option<(u32, f32)>;
        #[inline(always)]
        fn run<I: dvse_simd::Isa>(self, isa: I) -> Self::Output {
            let distances =
                (0..self.rows.len() as u32).map(|i| (i, isa.l2_squared(self.query, self.rows.row(i))));
            distances.min_by(|a, b| a.1.total_cmp(&b.1))
        }
    }
    let (mut writer, reader) = GrowingRows::with_capacity(33, 500).unwrap();
    for number in 0..if cfg!(miri) { 130 } else { 500 } {
        writer.append(&row(number, 33)).unwrap();
    }
    for &level in dvse_simd::available() {
        let query = row(123, 33);
        let nearest = dispatch(level, Nearest { query: &query, rows: reader.rows() });
        assert_eq!(nearest, Some((123, 0.0)), "{level}");
    }
}
