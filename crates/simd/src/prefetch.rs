//! Asking for memory ahead of its use.

/// Bytes of a cache line on every CPU DVSE is built for (some ARM cores have 128: then every second hint is idle).
pub const CACHE_LINE: usize = 64;

/// Asks the CPU to bring the first `lines` cache lines of `slice` (all of it if it is shorter) near the core: into the
/// second-level cache where there is a choice.
///
/// Only a hint: it never faults and changes no result. Why the second level: lines on their way to the first wait in its
/// miss buffers, of which there are few, and a full set of them stops the core (docs/adr/0010-sketches.md).
#[inline(always)]
pub fn prefetch_read<T>(slice: &[T], lines: usize) {
    let bytes = size_of_val(slice).min(lines.saturating_mul(CACHE_LINE));
    let base = slice.as_ptr().cast::<u8>();
    let mut offset = 0;
    while offset < bytes {
        prefetch_line(base.wrapping_add(offset));
        offset += CACHE_LINE;
    }
}

#[inline(always)]
fn prefetch_line(address: *const u8) {
    #[cfg(all(target_arch = "x86_64", not(miri)))]
    {
        use std::arch::x86_64::{_MM_HINT_T1, _mm_prefetch};
        // SAFETY: SSE belongs to every x86-64 CPU, and a prefetch reads nothing the program can see: any address,
        // mapped or not, is allowed.
        unsafe { _mm_prefetch::<_MM_HINT_T1>(address.cast()) }
    }
    #[cfg(all(target_arch = "aarch64", not(miri)))]
    // SAFETY: `prfm` is a hint of the base instruction set: it never faults and writes no register or memory.
    unsafe {
        std::arch::asm!("prfm pldl1keep, [{0}]", in(reg) address, options(nostack, readonly, preserves_flags));
    }
    #[cfg(any(miri, not(any(target_arch = "x86_64", target_arch = "aarch64"))))]
    let _ = address;
}
