//! Which threads go first when there are more than cores.
//!
//! A search takes a fraction of a millisecond, a body of points several, and the background as long as it has work. At
//! equal priority the scheduler lets each of them run for its slice, and a search waits for the slices of all others.
//! So threads that write yield to those that search, and those that maintain segments yield to both. Only where cores
//! are short does any of this change anything.
//!
//! A nice value says how much of a core a thread gets, not how soon. Since Linux 6.6 a thread that runs keeps the core
//! for its slice of some milliseconds, whoever wakes up; since 6.12 one that asks for a shorter slice than the running one
//! gets the core at once. So threads that search ask for short slices. Those that stand back offer the core themselves, every
//! some tens of microseconds ([`turn`]); what a thread loses by an offer is one slice, so theirs are the shortest there are.

#[cfg(target_os = "linux")]
use dvse_types::turn;

#[cfg(target_os = "linux")]
mod slice;

/// The slice of a thread that searches: longer than most searches take.
#[cfg(target_os = "linux")]
const SHORT_NS: u64 = 200_000;

/// The slice of a thread that stands back: the shortest that Linux gives.
#[cfg(target_os = "linux")]
const SHORTEST_NS: u64 = 100_000;

/// Lets the calling thread, which has just begun, stand back behind the threads of the process that did not call this:
/// its nice value becomes `nice` more than theirs, at most 19. With 0 it stays as it is.
///
/// Linux only, where priorities belong to threads; elsewhere they belong to the process, which is not ours to slow
/// down.
pub fn stand_back(nice: u8) {
    #[cfg(target_os = "linux")]
    if nice > 0 {
        adjust(nice, SHORTEST_NS);
        turn::stand_back();
    }
    #[cfg(not(target_os = "linux"))]
    let _ = nice;
}

/// Lets the calling thread, which has just begun, have a core soon after it wakes up, for a short time.
pub fn step_forward() {
    #[cfg(target_os = "linux")]
    adjust(0, SHORT_NS);
}

#[cfg(target_os = "linux")]
fn adjust(nice: u8, slice_ns: u64) {
    use rustix::process::{getpriority_process, setpriority_process};
    // No process id stands for the calling thread, and a thread begins with the value of the one that made it.
    let adjust = |now: i32| {
        let nice = (now + i32::from(nice)).min(19);
        setpriority_process(None, nice)?;
        slice::ask(nice, slice_ns)
    };
    if let Err(error) = getpriority_process(None).and_then(adjust) {
        tracing::debug!(%error, nice, "cannot change the priority of a thread");
    }
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use rustix::process::getpriority_process;

    use super::*;

    #[test]
    fn a_thread_stands_back_alone() {
        let before = getpriority_process(None).unwrap();
        let after = std::thread::spawn(|| {
            stand_back(7);
            getpriority_process(None).unwrap()
        });
        assert_eq!(after.join().unwrap(), (before + 7).min(19));
        let forward = std::thread::spawn(|| {
            step_forward();
            getpriority_process(None).unwrap()
        });
        assert_eq!(forward.join().unwrap(), before);
        assert_eq!(getpriority_process(None).unwrap(), before);
    }

    #[test]
    fn a_slice_is_taken_and_one_that_cannot_be_is_an_error() {
        std::thread::spawn(|| {
            let nice = getpriority_process(None).unwrap();
            slice::ask(nice, SHORTEST_NS).unwrap();
            assert!(slice::ask(20, SHORT_NS).is_ok(), "values past the last nice one are cut by the kernel");
            assert_eq!(getpriority_process(None).unwrap(), 19);
        })
        .join()
        .unwrap();
    }
}
