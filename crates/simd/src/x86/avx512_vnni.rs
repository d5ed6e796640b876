//! AVX-512 with VNNI: products of bytes summed to 32 bits in one instruction. All else is AVX-512's.

use std::arch::x86_64::*;

use crate::isa::sealed::Token;
use crate::isa_from_lanes::isa_from_lanes;
use crate::lanes::{ByteLanes, CodeLanes};
use crate::x86::Avx512;

/// The token of [`Level::Avx512Vnni`](crate::Level::Avx512Vnni).
#[derive(Clone, Copy, Debug)]
pub struct Avx512Vnni(Avx512);

impl Avx512Vnni {
    /// A token, if this CPU has AVX-512 VNNI besides all that [`Avx512`] wants.
    #[inline]
    #[must_use]
    pub fn new() -> Option<Avx512Vnni> {
        Avx512::new().filter(|_| is_x86_feature_detected!("avx512vnni")).map(Avx512Vnni)
    }

    /// The level whose floats, halves and words these are.
    #[inline(always)]
    fn lower(self) -> Avx512 {
        self.0
    }
}

impl Token for Avx512Vnni {
    #[inline(always)]
    unsafe fn conjure() -> Self {
        // SAFETY: the caller vouches for a CPU with more than AVX-512 needs.
        Avx512Vnni(unsafe { Avx512::conjure() })
    }
}

isa_from_lanes!(
    Avx512Vnni,
    Avx512Vnni,
    "avx2,fma,f16c,bmi1,bmi2,lzcnt,popcnt,avx512f,avx512bw,avx512dq,avx512vl,avx512vnni",
    floats lower,
    halves lower,
    words lower
);

// In this file each intrinsic is called under the same proof: `self` exists, so the CPU has AVX-512 F, BW and VNNI.
// `dpbusd` multiplies unsigned by signed bytes and adds four products to each sum; like `dpwssd`, which does that with
// pairs of 16 bits, it does not saturate.
impl ByteLanes for Avx512Vnni {
    const BYTES: usize = 64;
    type B = __m512i;
    type Sums = __m512i;

    #[inline(always)]
    fn zero_sums(self) -> __m512i {
        self.0.zero_sums()
    }

    #[inline(always)]
    unsafe fn load_bytes(self, from: *const u8) -> __m512i {
        // SAFETY: the caller keeps the contract, which is the same.
        unsafe { self.0.load_bytes(from) }
    }

    #[inline(always)]
    unsafe fn load_bytes_part(self, from: *const u8, count: usize) -> __m512i {
        // SAFETY: the caller keeps the contract, which is the same.
        unsafe { self.0.load_bytes_part(from, count) }
    }

    #[inline(always)]
    fn flip_signs(self, bytes: __m512i) -> __m512i {
        self.0.flip_signs(bytes)
    }

    #[inline(always)]
    fn add_squared_differences(self, sums: __m512i, a: __m512i, b: __m512i) -> __m512i {
        // As in AVX2: the union of the two saturating differences is |a − b|.
        // SAFETY: the token.
        unsafe {
            let difference = _mm512_or_si512(_mm512_subs_epu8(a, b), _mm512_subs_epu8(b, a));
            let zero = _mm512_setzero_si512();
            let low = _mm512_unpacklo_epi8(difference, zero);
            let high = _mm512_unpackhi_epi8(difference, zero);
            _mm512_dpwssd_epi32(_mm512_dpwssd_epi32(sums, low, low), high, high)
        }
    }

    #[inline(always)]
    fn add_products_u8(self, sums: __m512i, a: __m512i, b: __m512i) -> __m512i {
        // a·b = a·(b − 128) + 2·64·a, where b − 128 is b with its top bit inverted, and 64 is signed as 128 is not.
        // SAFETY: the token.
        unsafe {
            let half = _mm512_dpbusd_epi32(_mm512_setzero_si512(), a, _mm512_set1_epi8(64));
            let products = _mm512_dpbusd_epi32(_mm512_add_epi32(half, half), a, self.flip_signs(b));
            _mm512_add_epi32(sums, products)
        }
    }

    #[inline(always)]
    fn add_products_i8(self, sums: __m512i, a: __m512i, b: __m512i) -> __m512i {
        // a·b = (a + 128)·b − 128·b, where a + 128 is a with its top bit inverted.
        // SAFETY: the token.
        unsafe {
            let excess = _mm512_dpbusd_epi32(_mm512_setzero_si512(), _mm512_set1_epi8(i8::MIN), b);
            _mm512_sub_epi32(_mm512_dpbusd_epi32(sums, self.flip_signs(a), b), excess)
        }
    }

    #[inline(always)]
    fn add_sums(self, a: __m512i, b: __m512i) -> __m512i {
        self.0.add_sums(a, b)
    }

    #[inline(always)]
    fn total(self, sums: __m512i) -> u32 {
        self.0.total(sums)
    }
}

impl CodeLanes for Avx512Vnni {
    /// Lanes of 32 bits: nothing has to be widened.
    type Nibbles = __m512i;

    #[inline(always)]
    fn zero_nibbles(self) -> __m512i {
        self.0.zero_nibbles()
    }

    #[inline(always)]
    fn add_nibble_products(self, sums: __m512i, codes: __m512i, signed: __m512i) -> __m512i {
        self.add_quads(sums, codes, signed)
    }

    #[inline(always)]
    fn widen_nibbles(self, sums: __m512i, nibbles: __m512i) -> __m512i {
        self.0.add_sums(sums, nibbles)
    }

    #[inline(always)]
    fn low_nibbles(self, bytes: __m512i) -> __m512i {
        self.0.low_nibbles(bytes)
    }

    #[inline(always)]
    fn high_nibbles(self, bytes: __m512i) -> __m512i {
        self.0.high_nibbles(bytes)
    }

    #[inline(always)]
    fn spread_bits(self, bits: u64, value: u8) -> __m512i {
        self.0.spread_bits(bits, value)
    }

    #[inline(always)]
    fn or_bytes(self, a: __m512i, b: __m512i) -> __m512i {
        self.0.or_bytes(a, b)
    }

    #[inline(always)]
    fn add_quads(self, sums: __m512i, unsigned: __m512i, signed: __m512i) -> __m512i {
        // SAFETY: the token.
        unsafe { _mm512_dpbusd_epi32(sums, unsigned, signed) }
    }

    #[inline(always)]
    fn splat_quad(self, quad: [u8; 4]) -> __m512i {
        self.0.splat_quad(quad)
    }

    #[inline(always)]
    unsafe fn store_sums(self, to: *mut i32, sums: __m512i) {
        // SAFETY: the caller keeps the contract, which is the same.
        unsafe { self.0.store_sums(to, sums) }
    }

    #[inline(always)]
    fn totals(self, sums: [__m512i; 4]) -> [u32; 4] {
        self.0.totals(sums)
    }
}
