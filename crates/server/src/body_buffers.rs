//! Memory for bodies, used again.

use std::sync::{Mutex, PoisonError};

use axum::body::Bytes;

/// Buffers kept for later. Bodies of megabytes come one after the other from some connections at once; memory that is
/// new each time has to be cleared by the kernel first, which took longer than filling it.
const KEPT_MAX: usize = 8;

/// A larger buffer is given back to the system: what is kept is at most 32 MiB.
const KEPT_BYTES_MAX: usize = 4 << 20;

/// Buffers that are not in use.
#[derive(Debug, Default)]
pub struct BodyBuffers {
    idle: Mutex<Vec<Vec<u8>>>,
}

impl BodyBuffers {
    /// Puts the parts of a body together.
    pub fn join(&self, frames: &[Bytes]) -> Vec<u8> {
        let mut buffer = self.idle().pop().unwrap_or_default();
        buffer.reserve(frames.iter().map(Bytes::len).sum());
        frames.iter().for_each(|frame| buffer.extend_from_slice(frame));
        buffer
    }

    /// Takes a buffer back.
    pub fn give_back(&self, mut buffer: Vec<u8>) {
        let mut idle = self.idle();
        if idle.len() < KEPT_MAX && (1..=KEPT_BYTES_MAX).contains(&buffer.capacity()) {
            buffer.clear();
            idle.push(buffer);
        }
    }

    fn idle(&self) -> std::sync::MutexGuard<'_, Vec<Vec<u8>>> {
        // Whatever panicked, a list of empty buffers is whole.
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_come_together_in_order_and_memory_is_used_again() {
        let buffers = BodyBuffers::default();
        let frames = [Bytes::from_static(b"one"), Bytes::new(), Bytes::from_static(b"two")];
        let first = buffers.join(&frames);
        assert_eq!(first, b"onetwo");
        let at = first.as_ptr();
        buffers.give_back(first);
        let second = buffers.join(&frames[2..]);
        assert_eq!((second.as_slice(), second.as_ptr()), (b"two".as_slice(), at));
    }

    #[test]
    fn few_buffers_are_kept_and_no_large_ones() {
        let buffers = BodyBuffers::default();
        buffers.give_back(Vec::with_capacity(KEPT_BYTES_MAX + 1));
        assert_eq!(buffers.idle().len(), 0);
        (0..2 * KEPT_MAX).for_each(|_| buffers.give_back(Vec::with_capacity(1)));
        assert_eq!(buffers.idle().len(), KEPT_MAX);
    }
}
