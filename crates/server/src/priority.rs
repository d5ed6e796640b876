//! Which threads go first when there are more than cores.
//!
//! A search takes a fraction of a millisecond, a body of points several, and the background as long as it has work. At
//! equal priority the scheduler lets each of them run for its slice, and a search waits for the slices of all others.
//! So threads that write yield to those that search, and those that maintain segments yield to both. Only where cores
//! are short does any of this change anything.

/// Lets the calling thread, which has just begun, stand back behind the threads of the process that did not call this:
/// its nice value becomes `nice` more than theirs, at most 19.
///
/// Linux only, where priorities belong to threads; elsewhere they belong to the process, which is not ours to slow
/// down.
pub fn stand_back(nice: u8) {
    #[cfg(target_os = "linux")]
    {
        use rustix::process::{getpriority_process, setpriority_process};
        // No process id stands for the calling thread, and a thread begins with the value of the one that made it.
        let lower = |now: i32| setpriority_process(None, (now + i32::from(nice)).min(19));
        if let Err(error) = getpriority_process(None).and_then(lower) {
            tracing::debug!(%error, nice, "cannot lower the priority of a thread");
        }
    }
    #[cfg(not(target_os = "linux"))]
    let _ = nice;
}
