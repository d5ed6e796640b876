//! The algorithms over sketches for registers of any width; the lanes of 16 bits used here panic where they overflow.

use super::*;
use crate::emulated::Emulated;
use crate::isa::Isa;
use crate::scalar::Scalar;

/// Rows of any bytes, then rows of the largest codes.
fn check_lines<L: CodeLanes, const LINES: usize>(l: L) {
    let bytes = LINES * SKETCH_LINE;
    let any: Vec<i8> =
        (0..2 * bytes).map(|i| (i * 89 % 255) as i8 ^ -128).map(|value| value.max(-127)).collect();
    let largest = vec![-127; 2 * bytes];
    for query in [&largest, &any].into_iter().take(if cfg!(miri) { 1 } else { 2 }) {
        let rows: [Vec<u8>; 4] =
            std::array::from_fn(|k| (0..bytes).map(|i| (i * 37 + k * 101) as u8).collect());
        let [a, b, c, _] = &rows;
        let full = vec![0xff; bytes];
        let four: [&[u8]; 4] = [a, b, c, &full];
        assert_eq!(sketch4_x4::<L, LINES>(l, query, four), Scalar.sketch4_x4::<LINES>(query, four));
        assert_eq!(sketch4::<L, LINES>(l, query, &full), Scalar.sketch4::<LINES>(query, &full));

        let query = &query[..bytes];
        let sevens = rows.map(|row| row.iter().map(|byte| byte & 127).collect::<Vec<u8>>());
        let four = sevens.each_ref().map(Vec::as_slice);
        assert_eq!(sketch7_x4::<L, LINES>(l, query, four), Scalar.sketch7_x4::<LINES>(query, four));
        assert_eq!(sketch7::<L, LINES>(l, query, four[3]), Scalar.sketch7::<LINES>(query, four[3]));
    }
}

fn check<L: CodeLanes>(l: L) {
    check_lines::<L, 1>(l);
    check_lines::<L, 3>(l);
    if !cfg!(miri) {
        // No other loads than of one and three lines, and minutes under Miri.
        check_lines::<L, 2>(l);
        check_lines::<L, 4>(l);
    }
    for (rows, columns) in [(0, 8), (64, 0), (64, 4), (128, 12), (192, 20)] {
        let transform: Vec<i8> = (0..rows * columns).map(|i| ((i * 89) as i8).max(-127)).collect();
        let query: Vec<u8> = (0..columns).map(|i| (i * 31 + 100) as u8 & 127).collect();
        let (mut got, mut want) = (vec![-1; rows], vec![1; rows]);
        project(l, &transform, &query, &mut got);
        Scalar.project(&transform, &query, &mut want);
        assert_eq!(got, want, "{rows} by {columns}");
    }
}

#[test]
fn algorithms_over_sketches_are_right_for_registers_of_any_width() {
    check(Emulated::<4, 16>);
    check(Emulated::<8, 32>);
    check(Emulated::<16, 64>);
}
