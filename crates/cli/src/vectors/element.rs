//! The number types that vector files store.

use std::fmt;

use half::f16;

/// Type of one stored number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Element {
    /// IEEE 754 half precision.
    F16,
    /// IEEE 754 single precision.
    F32,
    /// IEEE 754 double precision; rounded to single precision when read.
    F64,
    /// Signed, 8 bits.
    I8,
    /// Unsigned, 8 bits.
    U8,
    /// Signed, 16 bits.
    I16,
    /// Unsigned, 16 bits.
    U16,
    /// Signed, 32 bits.
    I32,
    /// Unsigned, 32 bits.
    U32,
    /// Signed, 64 bits.
    I64,
    /// Unsigned, 64 bits.
    U64,
}

/// Order of the bytes of one stored number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ByteOrder {
    /// Least significant byte first.
    Little,
    /// Most significant byte first.
    Big,
}

/// Runs `$each` with `$value` bound to every number in `$bytes`, decoded as `$type`.
macro_rules! decode {
    ($type:ty, $order:expr, $bytes:expr, $value:ident => $each:expr) => {{
        let (words, _) = $bytes.as_chunks::<{ size_of::<$type>() }>();
        match $order {
            ByteOrder::Little => words.iter().for_each(|word| {
                let $value = <$type>::from_le_bytes(*word);
                $each
            }),
            ByteOrder::Big => words.iter().for_each(|word| {
                let $value = <$type>::from_be_bytes(*word);
                $each
            }),
        }
    }};
}

impl Element {
    /// Bytes of one number.
    pub fn size(self) -> usize {
        match self {
            Element::I8 | Element::U8 => 1,
            Element::F16 | Element::I16 | Element::U16 => 2,
            Element::F32 | Element::I32 | Element::U32 => 4,
            Element::F64 | Element::I64 | Element::U64 => 8,
        }
    }

    /// Whether it stores whole numbers.
    pub fn is_integer(self) -> bool {
        !matches!(self, Element::F16 | Element::F32 | Element::F64)
    }

    /// Appends the numbers in `bytes`, rounded to `f32`. A `f64` outside the range of `f32` becomes infinite.
    #[expect(clippy::cast_precision_loss, reason = "rounding to f32 is what this function is for")]
    pub fn append_f32(self, order: ByteOrder, bytes: &[u8], out: &mut Vec<f32>) {
        match self {
            Element::F16 => decode!(f16, order, bytes, x => out.push(x.to_f32())),
            Element::F32 => decode!(f32, order, bytes, x => out.push(x)),
            Element::F64 => decode!(f64, order, bytes, x => out.push(x as f32)),
            Element::I8 => decode!(i8, order, bytes, x => out.push(f32::from(x))),
            Element::U8 => decode!(u8, order, bytes, x => out.push(f32::from(x))),
            Element::I16 => decode!(i16, order, bytes, x => out.push(f32::from(x))),
            Element::U16 => decode!(u16, order, bytes, x => out.push(f32::from(x))),
            Element::I32 => decode!(i32, order, bytes, x => out.push(x as f32)),
            Element::U32 => decode!(u32, order, bytes, x => out.push(x as f32)),
            Element::I64 => decode!(i64, order, bytes, x => out.push(x as f32)),
            Element::U64 => decode!(u64, order, bytes, x => out.push(x as f32)),
        }
    }

    /// Appends the whole numbers in `bytes`; nothing for the floating-point types.
    pub fn append_integers(self, order: ByteOrder, bytes: &[u8], out: &mut Vec<i128>) {
        match self {
            Element::F16 | Element::F32 | Element::F64 => {}
            Element::I8 => decode!(i8, order, bytes, x => out.push(x.into())),
            Element::U8 => decode!(u8, order, bytes, x => out.push(x.into())),
            Element::I16 => decode!(i16, order, bytes, x => out.push(x.into())),
            Element::U16 => decode!(u16, order, bytes, x => out.push(x.into())),
            Element::I32 => decode!(i32, order, bytes, x => out.push(x.into())),
            Element::U32 => decode!(u32, order, bytes, x => out.push(x.into())),
            Element::I64 => decode!(i64, order, bytes, x => out.push(x.into())),
            Element::U64 => decode!(u64, order, bytes, x => out.push(x.into())),
        }
    }
}

impl fmt::Display for Element {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Element::F16 => "float16",
            Element::F32 => "float32",
            Element::F64 => "float64",
            Element::I8 => "int8",
            Element::U8 => "uint8",
            Element::I16 => "int16",
            Element::U16 => "uint16",
            Element::I32 => "int32",
            Element::U32 => "uint32",
            Element::I64 => "int64",
            Element::U64 => "uint64",
        })
    }
}
