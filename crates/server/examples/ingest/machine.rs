//! What the machine gave: the disk alone, processor time by thread, latencies in figures.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Write;
use std::path::Path;
use std::time::{Duration, Instant};

use super::load::{BATCH, Outcome};

/// How long plain appends take, each batch synced before the next.
pub fn raw_seconds(folder: &Path, rows: &[Vec<f32>]) -> Outcome<f64> {
    let path = folder.join("raw");
    let batches: Vec<Vec<u8>> = rows
        .chunks(BATCH)
        .map(|rows| rows.iter().flatten().flat_map(|value| value.to_le_bytes()).collect())
        .collect();
    let mut file = File::create(&path)?;
    let started = Instant::now();
    for batch in &batches {
        file.write_all(batch)?;
        file.sync_data()?;
    }
    let took = started.elapsed().as_secs_f64();
    std::fs::remove_file(path)?;
    Ok(took)
}

/// Processor time and time spent waiting for a core, by the names of this process's threads. Empty where the system
/// does not tell (it is read from `/proc`).
pub struct Cpu(BTreeMap<String, (Duration, Duration)>);

impl Cpu {
    pub fn now() -> Cpu {
        let mut all = BTreeMap::new();
        for task in std::fs::read_dir("/proc/self/task").into_iter().flatten().flatten() {
            let Ok(name) = std::fs::read_to_string(task.path().join("comm")) else { continue };
            let name = name.trim().trim_end_matches(|c: char| c == '-' || c.is_ascii_digit()).to_owned();
            let (ran, waited) = read_schedstat(&task.path().join("schedstat"));
            let sum: &mut (Duration, Duration) = all.entry(name).or_default();
            *sum = (sum.0 + ran, sum.1 + waited);
        }
        Cpu(all)
    }

    pub fn since(mut self, before: &Cpu) -> Cpu {
        for (name, (ran, waited)) in &before.0 {
            if let Some(now) = self.0.get_mut(name) {
                *now = (now.0.saturating_sub(*ran), now.1.saturating_sub(*waited));
            }
        }
        self
    }

    /// Prints the threads that did something, and the clients, whose threads have ended.
    pub fn show(&self, clients: Duration) {
        let threads = self.0.iter().filter(|(name, (ran, _))| name.starts_with("dvse") && !ran.is_zero());
        let threads: Vec<String> = threads
            .map(|(name, (ran, waited))| {
                format!("{name} {:.2} s (waited {:.2} s)", ran.as_secs_f64(), waited.as_secs_f64())
            })
            .collect();
        eprintln!("processor time: clients {:.2} s, {}", clients.as_secs_f64(), threads.join(", "));
    }
}

/// Processor time of the calling thread so far.
pub fn own_cpu() -> Duration {
    read_schedstat(Path::new("/proc/thread-self/schedstat")).0
}

fn read_schedstat(path: &Path) -> (Duration, Duration) {
    let text = std::fs::read_to_string(path).unwrap_or_default();
    let mut nanos = text.split_whitespace().map(|number| number.parse().unwrap_or(0));
    let mut next = || Duration::from_nanos(nanos.next().unwrap_or(0));
    (next(), next())
}

/// The latency at a share of the sorted ones, in milliseconds.
pub fn at(sorted: &[Duration], share: f64) -> f64 {
    let position = ((sorted.len() as f64 * share) as usize).min(sorted.len().saturating_sub(1));
    sorted.get(position).map_or(0.0, |taken| taken.as_secs_f64() * 1e3)
}

pub fn show(name: &str, sorted: &[Duration]) {
    let [p50, p90, p99] = [0.5, 0.9, 0.99].map(|share| at(sorted, share));
    eprintln!("{name}: {} searches, p50 {p50:.2} ms, p90 {p90:.2} ms, p99 {p99:.2} ms", sorted.len());
}
