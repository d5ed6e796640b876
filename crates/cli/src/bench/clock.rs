//! Processor time and memory of this process.

use std::fs;
use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};

/// Processor time that this thread has used. Unlike time on the wall it stands still while the thread waits for its turn.
pub fn thread_time() -> Duration {
    time_of(ClockId::ThreadCPUTime)
}

/// Processor time that all threads of this process have used.
pub fn process_time() -> Duration {
    time_of(ClockId::ProcessCPUTime)
}

fn time_of(clock: ClockId) -> Duration {
    let time = clock_gettime(clock);
    // Such a clock starts at zero and only grows.
    Duration::new(time.tv_sec.unsigned_abs(), u32::try_from(time.tv_nsec).unwrap_or(0))
}

/// A line of `/proc/self/status` that tells kibibytes, as mebibytes: `RssAnon` is memory of this process alone, `VmHWM`
/// the most it ever had. `None` on systems without such a file.
pub fn memory_mib(key: &str) -> Option<f64> {
    let text = fs::read_to_string("/proc/self/status").ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(':'))?;
    Some(line.split_whitespace().next()?.parse::<f64>().ok()? / 1024.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn processor_time_grows_with_work() {
        let (thread, process) = (thread_time(), process_time());
        let work = (0..200_000_u64).fold(1, |sum, value| std::hint::black_box(sum ^ value));
        std::hint::black_box(work);
        assert!(thread_time() > thread && process_time() > process);
    }
}
