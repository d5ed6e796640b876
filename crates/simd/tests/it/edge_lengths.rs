//! Lengths 0 and unequal, starts at every alignment, and nothing read beyond the end.

use std::panic::{AssertUnwindSafe, catch_unwind};

use dvse_simd::{Isa, MAX_INT_DIM, Op, available, dispatch};

use crate::probe::{self, Values};

/// Whether the call panics. The message goes to standard error, as of any panic.
fn panics(call: impl FnOnce()) -> bool {
    catch_unwind(AssertUnwindSafe(call)).is_err()
}

/// Calls one kernel, chosen by number, with slices of two lengths.
struct Mismatched {
    kernel: usize,
    a: usize,
    b: usize,
}

const KERNELS: usize = 19;

impl Op for Mismatched {
    type Output = ();

    #[inline(always)]
    fn run<I: Isa>(self, isa: I) {
        let (fa, fb) = (vec![0.0f32; self.a], vec![0.0f32; self.b]);
        let (hb, ba, bb) = (vec![0u16; self.b], vec![0u8; self.a], vec![0u8; self.b]);
        let (ia, ib) = (vec![0i8; self.a], vec![0i8; self.b]);
        // Only the last of four rows is of the wrong length.
        let (fr, hr) = ([&*fa, &fa, &fa, &fb], vec![0u16; self.a]);
        match self.kernel {
            0 => drop(isa.l2_squared(&fa, &fb)),
            1 => drop(isa.dot(&fa, &fb)),
            2 => drop(isa.l2_squared_x4(&fa, fr)),
            3 => drop(isa.dot_x4(&fa, fr)),
            4 => drop(isa.cosine_parts(&fa, &fb)),
            5 => drop(isa.l2_squared_f16(&fa, &hb)),
            6 => drop(isa.dot_f16(&fa, &hb)),
            7 => drop(isa.l2_squared_f16_x4(&fa, [&hr, &hr, &hr, &hb])),
            8 => drop(isa.dot_f16_x4(&fa, [&hr, &hr, &hr, &hb])),
            9 => drop(isa.l2_squared_u8(&ba, &bb)),
            10 => drop(isa.dot_u8(&ba, &bb)),
            11 => drop(isa.l2_squared_i8(&ia, &ib)),
            12 => drop(isa.dot_i8(&ia, &ib)),
            13 => drop(isa.l2_squared_u8_x4(&ba, [&ba, &ba, &ba, &bb])),
            14 => drop(isa.dot_u8_x4(&ba, [&ba, &ba, &ba, &bb])),
            15 => drop(isa.l2_squared_i8_x4(&ia, [&ia, &ia, &ia, &ib])),
            16 => drop(isa.dot_i8_x4(&ia, [&ia, &ia, &ia, &ib])),
            17 => isa.f16_to_f32(&hb, &mut vec![0.0; self.a]),
            _ => isa.f32_to_f16(&fb, &mut vec![0; self.a]),
        }
    }
}

tests! {
    fn no_components_are_at_no_distance() {
        for &level in available() {
            let floats = probe::floats(level, &[], [&[]; 4]);
            assert_eq!((floats.l2, floats.dot, floats.parts), (0.0, 0.0, (0.0, 0.0, 0.0)), "{level}");
            assert_eq!((floats.l2_x4, floats.dot_x4), ([0.0; 4], [0.0; 4]), "{level}");
            let halves = probe::halves(level, &[], [&[]; 4]);
            assert_eq!((halves.l2, halves.dot), (0.0, 0.0), "{level}");
            let bytes = probe::bytes(level, &[], [&[]; 4]);
            assert_eq!((bytes.l2_u8, bytes.dot_u8, bytes.l2_i8, bytes.dot_i8), (0, 0, 0, 0), "{level}");
        }
    }

    fn unequal_lengths_panic_in_every_kernel() {
        for &level in available() {
            for kernel in 0..KERNELS {
                for (a, b) in [(0, 1), (1, 0), (8, 7), (64, 65), (65, 64)] {
                    assert!(panics(|| dispatch(level, Mismatched { kernel, a, b })), "{level} {kernel} {a} {b}");
                }
                dispatch(level, Mismatched { kernel, a: 65, b: 65 });
            }
        }
    }

    fn integer_kernels_refuse_lengths_that_could_overflow() {
        for &level in available() {
            for kernel in 9..17 {
                let len = MAX_INT_DIM + 1;
                assert!(panics(|| dispatch(level, Mismatched { kernel, a: len, b: len })), "{level} {kernel}");
            }
        }
    }

    fn results_do_not_depend_on_alignment() {
        let mut values = Values::new(3);
        for len in [1, 3, 7, 8, 15, 16, 17, 33, 63, 64, 65, 100, 130] {
            let (a, b) = (values.floats(len), values.floats(len));
            let (h, u, v) = (values.halves(len), values.bytes(len), values.bytes(len));
            for &level in available() {
                let floats = probe::floats(level, &a, [&b; 4]);
                let halves = probe::halves(level, &a, [&h; 4]);
                let bytes = probe::bytes(level, &u, [&v; 4]);
                for shift in 0..17 {
                    let (a, b) = (Fenced::new(&a, shift, f32::NAN), Fenced::new(&b, shift / 2, f32::NAN));
                    let h = Fenced::new(&h, shift, 0x7e00);
                    let (u, v) = (Fenced::new(&u, shift, 0xa5), Fenced::new(&v, shift / 3, 0x5a));
                    let moved = probe::floats(level, a.inner(), [b.inner(); 4]);
                    assert_eq!((moved.l2, moved.dot, moved.parts), (floats.l2, floats.dot, floats.parts), "{level}");
                    assert_eq!((moved.l2_x4, moved.dot_x4), (floats.l2_x4, floats.dot_x4), "{level}");
                    let moved = probe::halves(level, a.inner(), [h.inner(); 4]);
                    assert_eq!((moved.l2, moved.dot), (halves.l2, halves.dot), "{level}");
                    assert_eq!((moved.l2_x4, moved.dot_x4), (halves.l2_x4, halves.dot_x4), "{level}");
                    assert_eq!(probe::bytes(level, u.inner(), [v.inner(); 4]), bytes, "{level}");
                }
            }
        }
    }
}

/// Values with others before and behind them that would show in any sum (a NaN, say). The start is `shift` elements
/// behind the start of an allocation.
struct Fenced<T> {
    values: Vec<T>,
    shift: usize,
    len: usize,
}

impl<T: Copy> Fenced<T> {
    fn new(inner: &[T], shift: usize, fence: T) -> Fenced<T> {
        let mut values = vec![fence; shift];
        values.extend_from_slice(inner);
        values.extend(std::iter::repeat_n(fence, 80));
        Fenced { values, shift, len: inner.len() }
    }

    fn inner(&self) -> &[T] {
        &self.values[self.shift..self.shift + self.len]
    }
}
