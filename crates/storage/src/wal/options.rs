//! How a log behaves and how it is opened.

use dvse_types::SeqNo;

/// Sizes of a log. Only `segment_bytes` has a trace on the disk, and any value reads any log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WalOptions {
    /// Size at which a new file is begun, in bytes; a file is preallocated to it. A larger record gets a file of its
    /// own. Default 64 MiB: large enough that beginning a file is rare, small enough that purging follows closely.
    pub segment_bytes: u64,
    /// Bytes of records that wait for a sync before `append` has to wait. Default 16 MiB; a larger record waits for
    /// an empty buffer.
    pub buffer_bytes: usize,
    /// Largest body of a record, in bytes. Default 256 MiB; at most 2³² − 1.
    pub record_bytes_max: u32,
}

impl Default for WalOptions {
    fn default() -> Self {
        WalOptions { segment_bytes: 64 << 20, buffer_bytes: 16 << 20, record_bytes_max: 256 << 20 }
    }
}

/// What opening a log does about a damaged end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RecoveryMode {
    /// Cuts what a crash left half written, and says how much. What was synced is never cut: damage to it is an error.
    CutTornTail,
    /// Any damage is an error, and opening changes nothing that is on the disk; for looking at a log.
    Refuse,
}

/// What opening found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recovery {
    /// The first number the log can give; 0 if it holds no record.
    pub first: SeqNo,
    /// The last number in the log; 0 if the log is new. After a purge of everything it is the last one that was there.
    pub last: SeqNo,
    /// Number of records.
    pub records: u64,
    /// Size of the files in bytes, preallocated space not counted.
    pub bytes: u64,
    /// Number of files.
    pub files: usize,
    /// Bytes of half-written records that were cut from the end; 0 after a clean stop.
    pub truncated_bytes: u64,
    /// File and offset at which they were cut.
    pub truncated_at: Option<(String, u64)>,
}
