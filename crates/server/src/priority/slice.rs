//! The length of a thread's turns, which no safe binding of `sched_setattr(2)` can set.
#![expect(unsafe_code, reason = "a system call without a safe binding")]

use std::mem::size_of;

use rustix::io::Errno;

/// `struct sched_attr` of `linux/sched/types.h`, as its first version has it.
#[repr(C)]
struct SchedAttr {
    size: u32,
    policy: u32,
    flags: u64,
    nice: i32,
    priority: u32,
    runtime_ns: u64,
    deadline_ns: u64,
    period_ns: u64,
}

/// Gives the calling thread the usual policy, a nice value, and turns of `slice_ns` nanoseconds, which Linux 6.12
/// and later keep between 0.1 and 100 ms and earlier ones ignore.
pub(super) fn ask(nice: i32, slice_ns: u64) -> Result<(), Errno> {
    const BYTES: usize = size_of::<SchedAttr>();
    let attr = SchedAttr {
        size: BYTES as u32,
        policy: libc::SCHED_OTHER as u32,
        flags: 0,
        nice,
        priority: 0,
        runtime_ns: slice_ns,
        deadline_ns: 0,
        period_ns: 0,
    };
    // SAFETY: the call reads `size` bytes behind the pointer, which is the size of the value that lives there until
    // the call returned, and writes nothing. Thread 0 is the calling one.
    let outcome = unsafe { libc::syscall(libc::SYS_sched_setattr, 0, &raw const attr, 0) };
    if outcome == 0 {
        return Ok(());
    }
    Err(Errno::from_io_error(&std::io::Error::last_os_error()).unwrap_or(Errno::INVAL))
}
