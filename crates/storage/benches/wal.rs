//! What the log costs over plain sequential writes with a sync after each.
//!
//! Rounds of the two are interleaved, so that a disk or a machine that is busy for a while is busy for both. The plain
//! side appends to a growing file with `write` and `fdatasync`, which is what the log is to be measured against, and
//! once more into preallocated space, which is the most that this file system gives.
//!
//! Run with `cargo bench -p dvse-storage --bench wal [-- DIRECTORY [ROUNDS]]`.
#![expect(clippy::print_stdout, reason = "a benchmark reports on the terminal")]

use std::error::Error;
use std::fs::{self, File};
use std::io::Write;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread;
use std::time::Instant;

use dvse_storage::{Directory, FileHandle, FsDirectory, RecoveryMode, Wal, WalOptions};
use dvse_types::SeqNo;

type Outcome<T> = Result<T, Box<dyn Error>>;

fn main() -> Outcome<()> {
    let arguments: Vec<String> = std::env::args().skip(1).filter(|argument| argument != "--bench").collect();
    let place = arguments.first().map_or(PathBuf::from(env!("CARGO_TARGET_TMPDIR")), PathBuf::from);
    let rounds = arguments.get(1).map_or(Ok(15), |text| text.parse())?;
    println!("processor: {}", processor());
    println!("record size, records a round, {rounds} rounds interleaved, median MB/s (10^6 bytes a second):");
    for (bytes, count) in [(400_000, 60), (40_000, 100), (1_000, 200)] {
        let body: Vec<u8> = (0..bytes).map(|i: u32| (i.wrapping_mul(2_654_435_761) >> 11) as u8).collect();
        let (mut plain, mut reserved, mut logged, mut shared) = (vec![], vec![], vec![], vec![]);
        for _ in 0..rounds {
            plain.push(in_directory(&place, |dir| write_plain(dir, &body, count))?);
            logged.push(in_directory(&place, |dir| write_log(dir, &body, count, 1))?);
            reserved.push(in_directory(&place, |dir| write_reserved(dir, &body, count))?);
            shared.push(in_directory(&place, |dir| write_log(dir, &body, count, 4))?);
        }
        let ratios = plain.iter().zip(&logged).map(|(plain, logged)| logged / plain).collect();
        println!(
            "{bytes:>8} × {count}: plain {:>7.1}  wal {:>7.1} ({:.0} % of plain, round by round)  \
             plain preallocated {:>7.1}  wal from 4 threads {:>7.1}",
            median(plain),
            median(logged),
            median(ratios) * 100.0,
            median(reserved),
            median(shared),
        );
    }
    Ok(())
}

/// Runs `write` in a fresh directory and returns what it returned, in MB/s.
fn in_directory(place: &Path, write: impl FnOnce(&Path) -> Outcome<f64>) -> Outcome<f64> {
    let dir = place.join("wal-bench");
    if dir.exists() {
        fs::remove_dir_all(&dir)?;
    }
    fs::create_dir_all(&dir)?;
    File::open(&dir)?.sync_all()?;
    let result = write(&dir);
    fs::remove_dir_all(&dir)?;
    result
}

fn write_plain(dir: &Path, body: &[u8], count: usize) -> Outcome<f64> {
    let mut file = File::create(dir.join("plain"))?;
    file.sync_all()?;
    let start = Instant::now();
    for _ in 0..count {
        file.write_all(body)?;
        file.sync_data()?;
    }
    Ok(rate(body, count, start))
}

fn write_reserved(dir: &Path, body: &[u8], count: usize) -> Outcome<f64> {
    let directory = FsDirectory::open(dir)?;
    let handle: Arc<dyn FileHandle> = directory.create("reserved")?;
    handle.allocate(64 << 20)?;
    handle.sync_data()?;
    let file = File::options().write(true).open(dir.join("reserved"))?;
    let start = Instant::now();
    for index in 0..count {
        file.write_all_at(body, (index * body.len()) as u64)?;
        file.sync_data()?;
    }
    Ok(rate(body, count, start))
}

/// Writes `count` records from `threads` threads, each of which waits for its record before the next.
fn write_log(dir: &Path, body: &[u8], count: usize, threads: usize) -> Outcome<f64> {
    let directory = Arc::new(FsDirectory::open(dir)?);
    let (wal, _) = Wal::open(directory, WalOptions::default(), RecoveryMode::CutTornTail)?;
    // The first file is made by the first record: outside of the time, as it is for the plain file.
    wal.append(0, SeqNo(1), &[b"begin"])?;
    wal.sync_to(SeqNo(1))?;
    let numbers = std::sync::Mutex::new(1);
    let start = Instant::now();
    let write = || -> Result<(), dvse_storage::WalError> {
        for _ in 0..count / threads {
            let seq = {
                let mut last = numbers.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
                wal.append(0, SeqNo(*last + 1), &[body])?;
                *last += 1;
                SeqNo(*last)
            };
            wal.sync_to(seq)?;
        }
        Ok(())
    };
    thread::scope(|scope| {
        let writers: Vec<_> = (0..threads).map(|_| scope.spawn(write)).collect();
        writers.into_iter().try_for_each(|writer| writer.join().unwrap_or(Ok(())))
    })?;
    Ok(rate(body, count, start))
}

fn rate(body: &[u8], count: usize, start: Instant) -> f64 {
    (body.len() * count) as f64 / start.elapsed().as_secs_f64() / 1e6
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

fn processor() -> String {
    let known = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = known.lines().find_map(|line| line.strip_prefix("model name")?.split_once(": "));
    let cores = thread::available_parallelism().map_or(1, usize::from);
    format!("{} ({cores} cores)", model.map_or("unknown", |(_, name)| name))
}
