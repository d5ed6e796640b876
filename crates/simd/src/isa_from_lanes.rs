//! One macro that makes an [`Isa`](crate::isa::Isa) out of a token with [`lanes`](crate::lanes).

/// Implements `Isa` for a token whose lanes need the given target features.
///
/// Each kernel is a function of its own with those features, marked `#[inline]`: called from a function with the
/// same features, or with more, it can be inlined, called from elsewhere it is one call. (`#[inline(always)]` cannot
/// be combined with target features.)
///
/// The kernels of bytes and codes are always compiled from the token's own lanes. Those of floats, halves and words are
/// `own`, or those of a `lower` level, whose token the method of that name gives. The scan of codes goes with the halves.
macro_rules! isa_from_lanes {
    ($token:ident, $level:ident, $features:literal, floats $floats:ident, halves $halves:ident, words $words:ident) => {
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

            isa_from_lanes! { $floats $token $features
                l2_squared(a: &[f32], b: &[f32]) -> f32 = generic::sum_pairs::<SquaredDifference, f32, _>;
                dot(a: &[f32], b: &[f32]) -> f32 = generic::sum_pairs::<Product, f32, _>;
                l2_squared_x4(q: &[f32], rows: [&[f32]; 4]) -> [f32; 4]
                    = generic::sum_pairs_x4::<SquaredDifference, f32, _>;
                dot_x4(q: &[f32], rows: [&[f32]; 4]) -> [f32; 4] = generic::sum_pairs_x4::<Product, f32, _>;
                cosine_parts(a: &[f32], b: &[f32]) -> (f32, f32, f32) = generic::cosine_parts::<_>;
            }

            isa_from_lanes! { $halves $token $features
                l2_squared_f16(q: &[f32], row: &[u16]) -> f32 = generic::sum_pairs::<SquaredDifference, u16, _>;
                dot_f16(q: &[f32], row: &[u16]) -> f32 = generic::sum_pairs::<Product, u16, _>;
                l2_squared_f16_x4(q: &[f32], rows: [&[u16]; 4]) -> [f32; 4]
                    = generic::sum_pairs_x4::<SquaredDifference, u16, _>;
                dot_f16_x4(q: &[f32], rows: [&[u16]; 4]) -> [f32; 4] = generic::sum_pairs_x4::<Product, u16, _>;
                f16_to_f32(from: &[u16], to: &mut [f32]) -> () = generic::f16_to_f32::<_>;
                f32_to_f16(from: &[f32], to: &mut [u16]) -> () = generic::f32_to_f16::<_>;
                fast_scan(codes: &[u8], tables: &[u8], sums: &mut [u16]) -> () = fast_scan::scan_blocks::<_>;
            }

            isa_from_lanes! { $words $token $features
                gather_unvisited(ids: &[u32], visited: &[u32], limit: u32, out: &mut [u32]) -> usize
                    = words::gather_unvisited::<_>;
                keys_below(estimates: &[f32], gate: f32, out: &mut [u32]) -> usize = words::keys_below::<_>;
                min_u32(values: &[u32]) -> u32 = words::min_u32::<_>;
                position_u32(values: &[u32], wanted: u32) -> Option<usize> = words::position_u32::<_>;
            }

            isa_from_lanes! { own $token $features
                l2_squared_u8(a: &[u8], b: &[u8]) -> u32 = generic::sum_byte_pairs::<SquaredDifferenceU8, _>;
                dot_u8(a: &[u8], b: &[u8]) -> u32 = generic::sum_byte_pairs::<ProductU8, _>;
                l2_squared_i8(a: &[i8], b: &[i8]) -> u32 = generic::sum_byte_pairs::<SquaredDifferenceI8, _>;
                dot_i8(a: &[i8], b: &[i8]) -> i32 = generic::dot_i8::<_>;
                l2_squared_u8_x4(q: &[u8], rows: [&[u8]; 4]) -> [u32; 4]
                    = generic::sum_bytes::<SquaredDifferenceU8, _, 4>;
                dot_u8_x4(q: &[u8], rows: [&[u8]; 4]) -> [u32; 4] = generic::sum_bytes::<ProductU8, _, 4>;
                l2_squared_i8_x4(q: &[i8], rows: [&[i8]; 4]) -> [u32; 4]
                    = generic::sum_bytes::<SquaredDifferenceI8, _, 4>;
                dot_i8_x4(q: &[i8], rows: [&[i8]; 4]) -> [i32; 4] = generic::dot_i8_x4::<_>;
                project(transform: &[i8], query: &[u8], out: &mut [i32]) -> () = sketch::project::<_>;
            }

            isa_from_lanes! { sized planes $token $features
                planes(row: &[u8]) -> i32 = planes;
                planes_x4(rows: [&[u8]; 4]) -> [i32; 4] = planes_x4;
            }

            isa_from_lanes! { sized sketch $token $features
                sketch4(row: &[u8]) -> i32 = sketch4;
                sketch4_x4(rows: [&[u8]; 4]) -> [i32; 4] = sketch4_x4;
                sketch7(row: &[u8]) -> i32 = sketch7;
                sketch7_x4(rows: [&[u8]; 4]) -> [i32; 4] = sketch7_x4;
            }
        }
    };

    (own $token:ident $features:literal
        $($name:ident($($arg:ident: $type:ty),*) -> $out:ty = $algorithm:expr;)*) => {
        $(
            #[inline(always)]
            fn $name(self, $($arg: $type),*) -> $out {
                #[inline]
                #[target_feature(enable = $features)]
                fn kernel(isa: $token, $($arg: $type),*) -> $out {
                    #[expect(unused_imports, reason = "no algorithm needs all of them")]
                    use $crate::{fast_scan, generic::{self, *}, sketch, words};
                    $algorithm(isa, $($arg),*)
                }
                // SAFETY: a value of the token exists only where the CPU was found to have these features.
                unsafe { kernel(self, $($arg),*) }
            }
        )*
    };

    (lower $token:ident $features:literal
        $($name:ident($($arg:ident: $type:ty),*) -> $out:ty = $algorithm:expr;)*) => {
        $(
            #[inline(always)]
            fn $name(self, $($arg: $type),*) -> $out {
                self.lower().$name($($arg),*)
            }
        )*
    };

    (sized $module:ident $token:ident $features:literal $($name:ident($arg:ident: $type:ty) -> $out:ty = $algorithm:ident;)*) => {
        $(
            #[inline(always)]
            fn $name<const SIZE: usize>(self, query: &[i8], $arg: $type) -> $out {
                #[inline]
                #[target_feature(enable = $features)]
                fn kernel<const SIZE: usize>(isa: $token, query: &[i8], $arg: $type) -> $out {
                    $crate::$module::$algorithm::<_, SIZE>(isa, query, $arg)
                }
                // SAFETY: a value of the token exists only where the CPU was found to have these features.
                unsafe { kernel::<SIZE>(self, query, $arg) }
            }
        )*
    };
}

pub(crate) use isa_from_lanes;
