//! Named steps at which a test has a process killed: what `kill -9` does, at a moment that can be chosen.
//!
//! This crate knows a name and a count. It refuses to know what the steps are of. Without cargo feature `fault-points`, which is for
//! tests only, passing a step is nothing at all.
//!
//! With it, `DVSE_KILL_AT=STEP:N` in the environment kills the process when it passes the step for the N-th time, N from 1. The
//! last line of its standard error says which step it was.

#[cfg(feature = "fault-points")]
mod armed;

/// Passes a step.
#[inline]
pub fn passed(step: &'static str) {
    #[cfg(feature = "fault-points")]
    armed::passed(step);
    #[cfg(not(feature = "fault-points"))]
    let _ = step;
}
