//! Aligned buffers: zeroed, aligned and independent at every size, small and mapped.

use dvse_simd::{ALIGNMENT, AlignedBuf, OutOfMemory, padded_dim};

#[test]
fn buffers_are_zeroed_and_aligned_at_every_size() {
    // Around the sizes where memory comes from elsewhere: 256 KiB (maps) and 2 MiB (huge pages).
    let small = [0, 1, 63, 64, 65, 4096];
    let large = [256 * 1024 - 1, 256 * 1024, 2 << 20, (2 << 20) + 1, 9 << 20];
    // Under Miri all memory comes from the heap, and going over megabytes takes minutes.
    let large = if cfg!(miri) { &large[..0] } else { &large };
    for &bytes in small.iter().chain(large) {
        let mut buffer = AlignedBuf::<u8>::zeroed(bytes);
        assert_eq!(buffer.len(), bytes);
        assert!(bytes == 0 || buffer.as_ptr().addr().is_multiple_of(ALIGNMENT), "{bytes}");
        assert!(buffer.iter().all(|&byte| byte == 0), "{bytes}");
        buffer.fill(7);
        assert!(AlignedBuf::<u8>::zeroed(bytes).iter().all(|&byte| byte == 0), "{bytes}");
        assert!(buffer.iter().all(|&byte| byte == 7), "{bytes}");
    }
}

#[test]
fn large_buffers_start_on_a_huge_page() {
    let buffer = AlignedBuf::<f32>::zeroed(1 << 20);
    assert!(cfg!(miri) || buffer.as_ptr().addr().is_multiple_of(2 << 20));
}

#[test]
fn clones_do_not_share_memory() {
    for len in [3, 100_000] {
        let mut original = AlignedBuf::<f32>::zeroed(len);
        original[2] = 5.0;
        let copy = original.clone();
        original[2] = 6.0;
        assert_eq!((copy[2], copy.len()), (5.0, len));
    }
    assert_eq!(&*AlignedBuf::copy_of(&[1u16, 2, 3]), &[1, 2, 3]);
    assert!(AlignedBuf::<u32>::default().is_empty());
    // Slices of nothing are aligned, too.
    assert_eq!(AlignedBuf::<u64>::zeroed(0).as_ptr().addr() % align_of::<u64>(), 0);
}

#[test]
fn impossible_sizes_are_refused_with_their_size() {
    for len in [usize::MAX, usize::MAX / 4, isize::MAX as usize / 4 + 1] {
        let refused = AlignedBuf::<f32>::try_zeroed(len).unwrap_err();
        assert_eq!(refused, OutOfMemory { bytes: len.saturating_mul(4) });
        assert!(refused.to_string().contains(&refused.bytes.to_string()));
    }
    // Addressable, but more than any machine maps.
    assert!(cfg!(miri) || AlignedBuf::<f32>::try_zeroed(1 << 58).is_err());
}

#[test]
fn rows_are_padded_to_a_cache_line() {
    for (dim, padded) in [(0, 0), (1, 16), (15, 16), (16, 16), (17, 32), (384, 384), (784, 784), (785, 800)] {
        assert_eq!(padded_dim(dim), padded, "{dim}");
    }
}
