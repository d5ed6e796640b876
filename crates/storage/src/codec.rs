//! Little-endian numbers at fixed places of a header.
//!
//! Headers are arrays of a size known to the compiler; the functions are total: what is not there reads as zero, and
//! a checksum over the whole header tells whether it was.

/// Copies `value` to `out[at..]`.
pub(crate) fn put(out: &mut [u8], at: usize, value: &[u8]) {
    out[at..at + value.len()].copy_from_slice(value);
}

/// Reads a `u32` at `at`.
pub(crate) fn u32_at(bytes: &[u8], at: usize) -> u32 {
    let mut raw = [0; 4];
    if let Some(part) = bytes.get(at..at + 4) {
        raw.copy_from_slice(part);
    }
    u32::from_le_bytes(raw)
}

/// Reads a `u64` at `at`.
pub(crate) fn u64_at(bytes: &[u8], at: usize) -> u64 {
    let mut raw = [0; 8];
    if let Some(part) = bytes.get(at..at + 8) {
        raw.copy_from_slice(part);
    }
    u64::from_le_bytes(raw)
}

/// Rounds `offset` up to a multiple of `alignment`, a power of two; saturates at the top.
pub(crate) fn align_up(offset: u64, alignment: u64) -> u64 {
    offset.saturating_add(alignment - 1) & !(alignment - 1)
}
