//! The scan of 4-bit codes: every level gives the sums of the definition.

use dvse_simd::{
    Isa, Level, Op, SCAN_COLUMNS, SCAN_COLUMNS_MAX, SCAN_ENTRY_MAX, SCAN_ROWS, available, dispatch,
};

use crate::probe::Values;

struct Scan<'a> {
    codes: &'a [u8],
    tables: &'a [u8],
    sums: &'a mut [u16],
}

impl Op for Scan<'_> {
    type Output = ();

    #[inline(always)]
    fn run<I: Isa>(self, isa: I) {
        isa.fast_scan(self.codes, self.tables, self.sums);
    }
}

fn sums(level: Level, codes: &[u8], tables: &[u8], blocks: usize) -> Vec<u16> {
    // What stood there before must not matter.
    let mut sums = vec![0xabcd; blocks * SCAN_ROWS];
    dispatch(level, Scan { codes, tables, sums: &mut sums });
    sums
}

/// The sum of one row, by the words of the documentation.
fn sum_of(codes: &[u8], tables: &[u8], row: usize) -> u16 {
    let columns = tables.len() / 16;
    let block = &codes[row / SCAN_ROWS * columns * 16..][..columns * 16];
    (0..columns)
        .map(|column| {
            let byte = block[column * 16 + row % 16];
            let code = if row % SCAN_ROWS < 16 { byte & 15 } else { byte >> 4 };
            u16::from(tables[column * 16 + usize::from(code)])
        })
        .sum()
}

tests! {
    fn a_scan_sums_what_the_codes_pick_at_every_level() {
        for columns in (0..=72).step_by(SCAN_COLUMNS).chain([96, 132, 192, 392, SCAN_COLUMNS_MAX]) {
            for blocks in 0..4 {
                let mut values = Values::new((columns * 8 + blocks + 1) as u64);
                let codes = values.bytes(blocks * columns * 16);
                let tables: Vec<u8> =
                    values.bytes(columns * 16).into_iter().map(|byte| byte % (SCAN_ENTRY_MAX + 1)).collect();
                let want: Vec<u16> = (0..blocks * SCAN_ROWS).map(|row| sum_of(&codes, &tables, row)).collect();
                for &level in available() {
                    let got = sums(level, &codes, &tables, blocks);
                    assert_eq!(got, want, "{level}, {columns} columns, {blocks} blocks");
                }
            }
        }
    }

    fn the_largest_sum_fits() {
        let (codes, tables) = (vec![0xff; SCAN_COLUMNS_MAX * 16], vec![SCAN_ENTRY_MAX; SCAN_COLUMNS_MAX * 16]);
        for &level in available() {
            let got = sums(level, &codes, &tables, 1);
            assert!(got.iter().all(|sum| usize::from(*sum) == SCAN_COLUMNS_MAX * 63), "{level}: {got:?}");
        }
    }

    fn unaligned_codes_and_tables_are_read_as_they_lie() {
        let mut values = Values::new(9);
        let codes = values.bytes(3 * 20 * 16 + 1);
        let tables: Vec<u8> = values.bytes(20 * 16 + 1).into_iter().map(|byte| byte & 63).collect();
        let want: Vec<u16> = (0..3 * SCAN_ROWS).map(|row| sum_of(&codes[1..], &tables[1..], row)).collect();
        for &level in available() {
            assert_eq!(sums(level, &codes[1..], &tables[1..], 3), want, "{level}");
        }
    }

    fn shapes_that_do_not_fit_are_refused() {
        let shapes = [
            // columns, bytes of codes, sums
            (5, 5 * 16, 32),
            (4, 4 * 16, 31),
            (4, 4 * 16 - 1, 32),
            (4, 4 * 16, 64),
            (SCAN_COLUMNS_MAX + 4, (SCAN_COLUMNS_MAX + 4) * 16, 32),
        ];
        for (columns, codes, rows) in shapes {
            for &level in available() {
                let (codes, tables) = (vec![0; codes], vec![0; columns * 16]);
                let refused = std::panic::catch_unwind(|| {
                    let mut sums = vec![0; rows];
                    dispatch(level, Scan { codes: &codes, tables: &tables, sums: &mut sums });
                });
                assert!(refused.is_err(), "{level} took {columns} columns, {} bytes, {rows} sums", codes.len());
            }
        }
    }
}
