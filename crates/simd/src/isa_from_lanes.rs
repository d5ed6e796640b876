//! One macro that makes an [`Isa`](crate::isa::Isa) out of a token with [`Lanes`](crate::lanes::Lanes).

/// Implements `Token` and `Isa` for a token whose `Lanes` need the given target features.
///
/// Each kernel is a function of its own with those features, marked `#[inline]`: called from a function with the
/// same features it can be inlined, called from elsewhere it is one call. (`#[inline(always)]` cannot be combined
/// with target features.)
macro_rules! isa_from_lanes {
    ($token:ident, $level:ident, $features:literal) => {
        impl $crate::isa::sealed::Token for $token {
            #[inline(always)]
            unsafe fn conjure() -> Self {
                $token(())
            }
        }

        impl $crate::isa::Isa for $token {
            const LEVEL: $crate::level::Level = $crate::level::Level::$level;

            #[inline(always)]
            fn run<O: $crate::isa::Op>(self, op: O) -> O::Output {
                #[target_feature(enable = $features)]
                fn compiled_for<O: $crate::isa::Op>(isa: $token, op: O) -> O::Output {
                    op.run(isa)
                }
                // SAFETY: a value of the token exists only where the CPU was found to have these features.
                unsafe { compiled_for(self, op) }
            }

            isa_from_lanes! { kernels $token $features
                l2_squared(a: &[f32], b: &[f32]) -> f32 = sum_pairs::<SquaredDifference, f32, _>;
                dot(a: &[f32], b: &[f32]) -> f32 = sum_pairs::<Product, f32, _>;
                l2_squared_x4(q: &[f32], rows: [&[f32]; 4]) -> [f32; 4] = sum_pairs_x4::<SquaredDifference, f32, _>;
                dot_x4(q: &[f32], rows: [&[f32]; 4]) -> [f32; 4] = sum_pairs_x4::<Product, f32, _>;
                cosine_parts(a: &[f32], b: &[f32]) -> (f32, f32, f32) = cosine_parts::<_>;
                l2_squared_f16(q: &[f32], row: &[u16]) -> f32 = sum_pairs::<SquaredDifference, u16, _>;
                dot_f16(q: &[f32], row: &[u16]) -> f32 = sum_pairs::<Product, u16, _>;
                l2_squared_f16_x4(q: &[f32], rows: [&[u16]; 4]) -> [f32; 4]
                    = sum_pairs_x4::<SquaredDifference, u16, _>;
                dot_f16_x4(q: &[f32], rows: [&[u16]; 4]) -> [f32; 4] = sum_pairs_x4::<Product, u16, _>;
                l2_squared_u8_x4(q: &[u8], rows: [&[u8]; 4]) -> [u32; 4] = sum_bytes::<SquaredDifferenceU8, _, 4>;
                dot_u8_x4(q: &[u8], rows: [&[u8]; 4]) -> [u32; 4] = sum_bytes::<ProductU8, _, 4>;
                l2_squared_i8_x4(q: &[i8], rows: [&[i8]; 4]) -> [u32; 4] = sum_bytes::<SquaredDifferenceI8, _, 4>;
                f16_to_f32(from: &[u16], to: &mut [f32]) -> () = f16_to_f32::<_>;
                f32_to_f16(from: &[f32], to: &mut [u16]) -> () = f32_to_f16::<_>;
                fast_scan(codes: &[u8], tables: &[u8], sums: &mut [u16]) -> () = scan_blocks::<_>;
            }

            isa_from_lanes! { byte_kernels $token $features
                l2_squared_u8(u8) -> u32 = SquaredDifferenceU8;
                dot_u8(u8) -> u32 = ProductU8;
                l2_squared_i8(i8) -> u32 = SquaredDifferenceI8;
                dot_i8(i8) -> i32 = ProductI8;
            }

            #[inline(always)]
            fn dot_i8_x4(self, q: &[i8], rows: [&[i8]; 4]) -> [i32; 4] {
                #[inline]
                #[target_feature(enable = $features)]
                fn kernel(isa: $token, q: &[i8], rows: [&[i8]; 4]) -> [i32; 4] {
                    use $crate::generic::*;
                    sum_bytes::<ProductI8, _, 4>(isa, q, rows).map(u32::cast_signed)
                }
                // SAFETY: a value of the token exists only where the CPU was found to have these features.
                unsafe { kernel(self, q, rows) }
            }
        }
    };

    (kernels $token:ident $features:literal
        $($name:ident($($arg:ident: $type:ty),*) -> $out:ty = $generic:expr;)*) => {
        $(
            #[inline(always)]
            fn $name(self, $($arg: $type),*) -> $out {
                #[inline]
                #[target_feature(enable = $features)]
                fn kernel(isa: $token, $($arg: $type),*) -> $out {
                    use $crate::generic::*;
                    $generic(isa, $($arg),*)
                }
                // SAFETY: a value of the token exists only where the CPU was found to have these features.
                unsafe { kernel(self, $($arg),*) }
            }
        )*
    };

    (byte_kernels $token:ident $features:literal $($name:ident($byte:ty) -> $out:ty = $term:ident;)*) => {
        $(
            #[inline(always)]
            fn $name(self, a: &[$byte], b: &[$byte]) -> $out {
                #[inline]
                #[target_feature(enable = $features)]
                fn kernel(isa: $token, a: &[$byte], b: &[$byte]) -> $out {
                    let [sum] = $crate::generic::sum_bytes::<$crate::generic::$term, _, 1>(isa, a, [b]);
                    sum as $out
                }
                // SAFETY: a value of the token exists only where the CPU was found to have these features.
                unsafe { kernel(self, a, b) }
            }
        )*
    };
}

pub(crate) use isa_from_lanes;
