//! Threads that stand back, and offer the processor to those that wait for it.
//!
//! A scheduler takes a processor away at its ticks only, on Linux up to 4 ms apart. That is dozens of searches long. So work that
//! may take milliseconds and is not urgent calls [`offer`] every some tens of microseconds. Only on threads that said so does
//! it do anything: a thread that yields at equal priority beside strangers gives away a whole slice each time.

use std::cell::Cell;

thread_local! {
    static STANDS_BACK: Cell<bool> = const { Cell::new(false) };
}

/// From now on the calling thread means it when it calls [`offer`].
pub fn stand_back() {
    STANDS_BACK.set(true);
}

/// Lets others that wait for a processor go first, on a thread that stands back; does nothing on any other.
pub fn offer() {
    if STANDS_BACK.get() {
        std::thread::yield_now();
    }
}
