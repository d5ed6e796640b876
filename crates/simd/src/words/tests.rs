//! The algorithms over words for registers of any width.

use super::*;
use crate::emulated::Emulated;
use crate::isa::Isa;
use crate::scalar::Scalar;

fn check<L: WordLanes>(l: L) {
    for len in (0..=70).step_by(if cfg!(miri) { 7 } else { 1 }) {
        // Just as many bits as are needed, and an output just as long: under Miri a step beyond either is an error.
        let limit = 100;
        let visited = [0x5a5a_0ff0, 0, u32::MAX, 0b1010];
        let ids: Vec<u32> =
            (0..len as u32).map(|i| if i % 5 == 4 { u32::MAX - i % 2 } else { i * 37 % 110 }).collect();
        let (mut got, mut want) = (vec![0; len + 16], vec![0; len + 16]);
        let count = Scalar.gather_unvisited(&ids, &visited, limit, &mut want);
        assert_eq!(gather_unvisited(l, &ids, &visited, limit, &mut got), count, "{len}");
        assert_eq!(got[..count], want[..count], "{len}");

        let estimates: Vec<f32> = ids.iter().map(|&id| if id > 200 { f32::NAN } else { id as f32 }).collect();
        let count = Scalar.keys_below(&estimates, 50.0, &mut want);
        assert_eq!(keys_below(l, &estimates, 50.0, &mut got), count, "{len}");
        assert_eq!(got[..count], want[..count], "{len}");

        assert_eq!(min_u32(l, &ids), Scalar.min_u32(&ids), "{len}");
        for wanted in [0, 37, 109, u32::MAX, 12_345] {
            assert_eq!(position_u32(l, &ids, wanted), Scalar.position_u32(&ids, wanted), "{len} {wanted}");
        }
    }
}

#[test]
fn algorithms_over_words_are_right_for_registers_of_any_width() {
    check(Emulated::<4, 16>);
    check(Emulated::<8, 32>);
    check(Emulated::<16, 64>);
}
