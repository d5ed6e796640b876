//! Kernels over sketches, the compact codes of the nodes of a graph, and the projection that makes them.
//!
//! A sketch is one to four cache lines of codes of 4 or 7 bits. Its last [`FACTOR_BYTES`] bytes hold numbers of the
//! caller's, with any bits: the query is 0 there, so they add nothing and nothing is masked. Sums of four rows are
//! reduced together, by transposing, which costs about what one alone does.

use crate::lanes::CodeLanes;
use crate::scalar::{ROWS_A_BLOCK, check_project, check_sketch};

/// Bytes of a cache line, the unit of a sketch.
pub const SKETCH_LINE: usize = 64;

/// Bytes at the end of a sketch that are the caller's and add nothing.
pub const FACTOR_BYTES: usize = 8;

/// See [`Isa::sketch4`](crate::Isa::sketch4).
#[inline(always)]
pub(crate) fn sketch4<L: CodeLanes, const LINES: usize>(l: L, query: &[i8], row: &[u8]) -> i32 {
    let [sums] = nibble_sums::<L, LINES, 1>(l, query, [row]);
    l.total(sums).cast_signed()
}

/// See [`Isa::sketch4_x4`](crate::Isa::sketch4_x4).
#[inline(always)]
pub(crate) fn sketch4_x4<L: CodeLanes, const LINES: usize>(l: L, query: &[i8], rows: [&[u8]; 4]) -> [i32; 4] {
    l.totals(nibble_sums::<L, LINES, 4>(l, query, rows)).map(u32::cast_signed)
}

/// See [`Isa::sketch7`](crate::Isa::sketch7).
#[inline(always)]
pub(crate) fn sketch7<L: CodeLanes, const LINES: usize>(l: L, query: &[i8], row: &[u8]) -> i32 {
    let [sums] = byte_sums::<L, LINES, 1>(l, query, [row]);
    l.total(sums).cast_signed()
}

/// See [`Isa::sketch7_x4`](crate::Isa::sketch7_x4).
#[inline(always)]
pub(crate) fn sketch7_x4<L: CodeLanes, const LINES: usize>(l: L, query: &[i8], rows: [&[u8]; 4]) -> [i32; 4] {
    l.totals(byte_sums::<L, LINES, 4>(l, query, rows)).map(u32::cast_signed)
}

/// The sums of codes of 4 bits, for `N` rows.
#[inline(always)]
fn nibble_sums<L: CodeLanes, const LINES: usize, const N: usize>(
    l: L,
    query: &[i8],
    rows: [&[u8]; N],
) -> [L::Sums; N] {
    for row in rows {
        check_sketch::<LINES, 2>(query.len(), row.len());
    }
    let query = query.as_ptr().cast::<u8>();
    let rows = rows.map(<[u8]>::as_ptr);
    let mut sums = [l.zero_sums(); N];
    let mut at = 0;
    while at < LINES * SKETCH_LINE {
        // Four registers of codes are eight additions, as many as are exact before the sums must be widened.
        let end = (at + 4 * L::BYTES).min(LINES * SKETCH_LINE);
        let mut nibbles = [l.zero_nibbles(); N];
        while at < end {
            // The query holds the lower halves of a line's bytes, then the upper ones.
            let line = at - at % SKETCH_LINE;
            // SAFETY: checked above: a row has LINES lines of bytes, the query twice as many. at + BYTES is within
            // the row, as BYTES divides a line, and the register of lower halves at line + at and of upper ones a line
            // behind it end at line + at + 64 + BYTES ≤ 2·line + 128 ≤ 2·64·LINES.
            unsafe {
                let low = l.load_bytes(query.add(line + at));
                let high = l.load_bytes(query.add(line + at + SKETCH_LINE));
                for (sum, row) in nibbles.iter_mut().zip(rows) {
                    let codes = l.load_bytes(row.add(at));
                    *sum = l.add_nibble_products(*sum, l.low_nibbles(codes), low);
                    *sum = l.add_nibble_products(*sum, l.high_nibbles(codes), high);
                }
            }
            at += L::BYTES;
        }
        for (sum, nibbles) in sums.iter_mut().zip(nibbles) {
            *sum = l.widen_nibbles(*sum, nibbles);
        }
    }
    sums
}

/// The sums of codes of 7 bits, for `N` rows.
#[inline(always)]
fn byte_sums<L: CodeLanes, const LINES: usize, const N: usize>(
    l: L,
    query: &[i8],
    rows: [&[u8]; N],
) -> [L::Sums; N] {
    for row in rows {
        check_sketch::<LINES, 1>(query.len(), row.len());
    }
    let query = query.as_ptr().cast::<u8>();
    let rows = rows.map(<[u8]>::as_ptr);
    let mut sums = [l.zero_sums(); N];
    let mut at = 0;
    while at < LINES * SKETCH_LINE {
        // SAFETY: checked above: rows and query have LINES lines of bytes, and BYTES divides a line.
        unsafe {
            let signed = l.load_bytes(query.add(at));
            for (sum, row) in sums.iter_mut().zip(rows) {
                *sum = l.add_quads(*sum, l.load_bytes(row.add(at)), signed);
            }
        }
        at += L::BYTES;
    }
    sums
}

/// See [`Isa::project`](crate::Isa::project).
#[inline(always)]
pub(crate) fn project<L: CodeLanes>(l: L, transform: &[i8], query: &[u8], out: &mut [i32]) {
    check_project(transform.len(), query.len(), out.len());
    if query.is_empty() {
        // No pointer into an empty transform is ever made.
        out.fill(0);
        return;
    }
    let (quads, _) = query.as_chunks::<4>();
    let registers = out.len() / (L::BYTES / 4);
    let mut done = 0;
    // Eight sums at a time hide the latency of a product. With the widest registers that is two blocks, and one block
    // is left of an odd number.
    while registers - done >= 8 {
        // SAFETY: checked above; 8 registers of rows are left.
        unsafe { project_rows::<L, 8>(l, transform, quads, out, done) };
        done += 8;
    }
    while registers - done >= 4 {
        // SAFETY: checked above; 4 registers of rows are left.
        unsafe { project_rows::<L, 4>(l, transform, quads, out, done) };
        done += 4;
    }
}

/// Projects onto `N` registers of rows.
///
/// # Safety
/// `transform` holds `out.len()` rows of `quads.len()` > 0 quads in blocks of 64, and `first + N` registers are not more
/// than the rows.
#[inline(always)]
unsafe fn project_rows<L: CodeLanes, const N: usize>(
    l: L,
    transform: &[i8],
    quads: &[[u8; 4]],
    out: &mut [i32],
    first: usize,
) {
    const { assert!((ROWS_A_BLOCK * 4).is_multiple_of(4 * L::BYTES)) };
    let rows = L::BYTES / 4;
    let mut from = [transform.as_ptr().cast::<u8>(); N];
    for (k, from) in from.iter_mut().enumerate() {
        let row = (first + k) * rows;
        let start = (row / ROWS_A_BLOCK) * ROWS_A_BLOCK * 4 * quads.len() + (row % ROWS_A_BLOCK) * 4;
        // SAFETY: the start of the row's block, and of the row in its first quad: within the transform.
        *from = unsafe { from.add(start) };
    }
    let mut sums = [l.zero_sums(); N];
    for (quad, &bytes) in quads.iter().enumerate() {
        let query = l.splat_quad(bytes);
        for (sum, from) in sums.iter_mut().zip(from) {
            // SAFETY: each quad of a block is 256 bytes behind the one before; the register's rows are in one block,
            // as both the rows of a register and the first row divide it.
            let weights = unsafe { l.load_bytes(from.add(quad * ROWS_A_BLOCK * 4)) };
            *sum = l.add_quads(*sum, query, weights);
        }
    }
    for (k, sum) in sums.into_iter().enumerate() {
        // SAFETY: the caller vouches for that many rows in `out`.
        unsafe { l.store_sums(out.as_mut_ptr().add((first + k) * rows), sum) };
    }
}

#[cfg(test)]
mod tests;
