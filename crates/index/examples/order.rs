//! Measures what the order of rows does to searches: one graph, kept with its rows as they came and in other orders, in which
//! neighbours lie near each other. What is found, and by how many comparisons, is the same in all of them.
//!
//! ```text
//! cargo run --release -p dvse-index --example order -- --base base.npy --queries queries.npy --metric cosine \
//!     --orders given,window64,given,window64,breadth --ef 24,96 --seconds 25
//! ```
//!
//! `given` is the order of the file, twice to see what the measurement itself varies by; `breadth` the order of a walk by
//! breadth from the entry; `windowW` puts that row next which the last W rows name most often (the greedy rule of Gorder2016
//! over out-edges alone). With `--relink` each order is also linked afresh, its rows in that order.
//!
//! Blocks of 50 queries take turns. Of each query the least and the median time over all passes count, in sums over the
//! queries: what interrupts a pass is in neither. Reads npy (f4, f2, u1).

#![expect(clippy::print_stdout, reason = "a measuring program prints what it measured")]
#![expect(clippy::unwrap_used, clippy::panic, reason = "a measuring program may stop")]

mod npy;

use std::collections::HashMap;
use std::time::Instant;

use dvse_index::*;
use dvse_types::Metric;

fn read_npy(path: &str) -> (Vec<f32>, usize) {
    let bytes = std::fs::read(path).unwrap_or_else(|error| panic!("cannot read {path}: {error}"));
    let (values, _, dim) = npy::parse(&bytes);
    (values, dim)
}

/// No neighbour.
const EMPTY: u32 = u32::MAX;

/// Queries measured before the next index has its turn.
const BLOCK: usize = 50;

const K: usize = 10;

fn numbers(bytes: &[u8]) -> Vec<u32> {
    bytes.chunks_exact(4).map(|b| u32::from_le_bytes(b.try_into().unwrap())).collect()
}

/// The lists of layer 0.
struct Lists {
    slots: Vec<u32>,
    width: usize,
}

impl Lists {
    fn rows(&self) -> usize {
        self.slots.len() / self.width
    }

    fn of(&self, row: u32) -> impl Iterator<Item = u32> + '_ {
        let start = row as usize * self.width;
        self.slots[start..start + self.width].iter().copied().filter(|id| *id != EMPTY)
    }

    fn by_breadth(&self, entry: u32) -> Vec<u32> {
        let mut seen = vec![false; self.rows()];
        let mut order = Vec::with_capacity(self.rows());
        let mut at = 0;
        for start in std::iter::once(entry).chain(0..self.rows() as u32) {
            if !std::mem::replace(&mut seen[start as usize], true) {
                order.push(start);
            }
            while let Some(row) = order.get(at).copied() {
                at += 1;
                order.extend(self.of(row).filter(|id| !std::mem::replace(&mut seen[*id as usize], true)));
            }
        }
        order
    }

    /// Greedy: the row that the last `window` rows name most often, the first of equals; where they name none that is left,
    /// one that the nearest row before them does.
    fn by_window(&self, window: usize) -> Vec<u32> {
        let mut placed = vec![false; self.rows()];
        let mut named = vec![0_u16; self.rows()];
        let mut order: Vec<u32> = Vec::with_capacity(self.rows());
        let (mut candidates, mut open): (Vec<u32>, Vec<u32>) = (Vec::new(), Vec::new());
        let mut first_left = 0;
        while order.len() < self.rows() {
            candidates.retain(|row| !placed[*row as usize] && named[*row as usize] > 0);
            let best = candidates.iter().max_by_key(|row| (named[**row as usize], std::cmp::Reverse(**row)));
            let row = best.copied().unwrap_or_else(|| {
                while let Some(last) = open.last() {
                    if let Some(row) = self.of(*last).find(|row| !placed[*row as usize]) {
                        return row;
                    }
                    open.pop();
                }
                while placed[first_left as usize] {
                    first_left += 1;
                }
                first_left
            });
            placed[row as usize] = true;
            order.push(row);
            open.push(row);
            for id in self.of(row).filter(|id| !placed[*id as usize]) {
                if named[id as usize] == 0 {
                    candidates.push(id);
                }
                named[id as usize] += 1;
            }
            if order.len() > window {
                let left = order[order.len() - 1 - window];
                self.of(left).filter(|id| !placed[*id as usize]).for_each(|id| named[id as usize] -= 1);
            }
        }
        order
    }

    /// The mean logarithm of the distance of neighbours in an order, and the part of them within 64 rows.
    fn gaps(&self, new_rows: &[u32]) -> (f64, f64) {
        let (mut logs, mut near, mut edges) = (0.0, 0.0, 0.0);
        for row in 0..self.rows() as u32 {
            for id in self.of(row) {
                let gap = new_rows[row as usize].abs_diff(new_rows[id as usize]);
                logs += f64::from(gap.max(1)).log2();
                near += f64::from(u8::from(gap < 64));
                edges += 1.0;
            }
        }
        (logs / edges, near / edges)
    }
}

/// The sections of a graph whose rows lie in another order.
fn renumbered(sections: &MemorySections, order: &[u32], new_rows: &[u32]) -> MemorySections {
    let new = |id: u32| if id == EMPTY { EMPTY } else { new_rows[id as usize] };
    let renumber = |bytes: &[u8]| numbers(bytes).into_iter().flat_map(|id| new(id).to_le_bytes()).collect();
    let mut out = MemorySections::new();
    for (name, bytes) in sections.iter() {
        let width = bytes.len() / order.len();
        let moved = || -> Vec<u8> {
            order.iter().flat_map(|row| &bytes[*row as usize * width..][..width]).copied().collect()
        };
        let written: Vec<u8> = match name {
            // The row of the entry: see `docs/format/hnsw.md`.
            "hnsw.meta" => {
                let mut meta = bytes.to_vec();
                meta[48..52].copy_from_slice(&new(numbers(&bytes[48..52])[0]).to_le_bytes());
                meta
            }
            "hnsw.layer0" => renumber(&moved()),
            "hnsw.upper" | "sketch.entries" => renumber(bytes),
            "hnsw.levels" | "hnsw.offsets" | "sketch.codes" | "rows.bytes" => moved(),
            _ => bytes.to_vec(),
        };
        out.begin(name).unwrap();
        out.append(&written).unwrap();
    }
    out
}

fn link(values: &[f32], dim: usize, metric: Metric, pool: &rayon::ThreadPool) -> MemorySections {
    let n = (values.len() / dim) as u32;
    let (mut writer, reader) = GrowingRows::with_capacity(dim, n as usize).unwrap();
    values.chunks_exact(dim).for_each(|row| {
        writer.append(row).unwrap();
    });
    let growing = GrowingHnsw::new(Rows::Growing(reader), n, metric, HnswParams::default()).unwrap();
    let start = Instant::now();
    growing.link(n, true, pool, &|| false).unwrap();
    println!("linked {n} rows in {:.1} s, {} reachable", start.elapsed().as_secs_f64(), growing.reachable());
    let mut sections = MemorySections::new();
    growing.persist_on(Some(pool), &mut sections).unwrap();
    sections
}

/// An index under measurement.
struct Kept {
    name: String,
    index: SealedHnsw,
    scratch: Scratch,
    /// For each query the seconds of all passes.
    times: Vec<Vec<f64>>,
    distances: u64,
    recall: f64,
}

impl Kept {
    /// Recall and comparisons of one pass.
    fn judge(&mut self, queries: &[f32], truth: &[Vec<f32>], ef: usize) {
        let (params, mut out, mut recalls) = (SearchParams::new(K, ef), Vec::new(), Vec::new());
        self.distances = 0;
        self.times = vec![Vec::new(); truth.len()];
        for (query, truth) in queries.chunks_exact(self.index.dim()).zip(truth) {
            let stats = self.index.search(query, &params, RowSet::All, &mut self.scratch, &mut out).unwrap();
            self.distances += stats.distances;
            let found: Vec<f32> = out.iter().map(|neighbor| neighbor.distance).collect();
            recalls.push(recall_at(K, &found, truth, 1e-5));
        }
        self.recall = f64::from(RecallSummary::of(&recalls).unwrap().mean);
    }

    fn measure(&mut self, queries: &[f32], from: usize, ef: usize) {
        let (params, mut out, dim) = (SearchParams::new(K, ef), Vec::new(), self.index.dim());
        for (at, query) in queries.chunks_exact(dim).enumerate().skip(from).take(BLOCK) {
            let start = Instant::now();
            self.index.search(query, &params, RowSet::All, &mut self.scratch, &mut out).unwrap();
            self.times[at].push(start.elapsed().as_secs_f64());
        }
    }

    /// The least and the median time of each query, summed.
    fn sums(&mut self) -> (f64, f64) {
        self.times.iter_mut().for_each(|times| times.sort_unstable_by(f64::total_cmp));
        let median = self.times.iter().map(|times| times[times.len() / 2]).sum();
        (self.times.iter().map(|times| times[0]).sum(), median)
    }
}

fn main() {
    let mut options: HashMap<String, String> = HashMap::new();
    let mut arguments = std::env::args().skip(1).peekable();
    while let Some(name) = arguments.next() {
        let value = arguments.next_if(|value| !value.starts_with("--")).unwrap_or_default();
        options.insert(name.trim_start_matches('-').to_owned(), value);
    }
    let text = |name: &str, default: &str| options.get(name).cloned().unwrap_or(default.to_owned());
    let metric = match text("metric", "l2").as_str() {
        "l2" => Metric::L2,
        "cosine" => Metric::Cosine,
        other => panic!("unknown metric {other}: use l2 or cosine"),
    };
    let ((mut base, dim), (mut queries, _)) = (read_npy(&text("base", "")), read_npy(&text("queries", "")));
    if metric == Metric::Cosine {
        for row in base.chunks_exact_mut(dim).chain(queries.chunks_exact_mut(dim)) {
            normalize(row);
        }
    }
    let pool = rayon::ThreadPoolBuilder::new().num_threads(2).build().unwrap();
    let given = link(&base, dim, metric, &pool);
    let lists = Lists {
        slots: numbers(given.iter().find(|(name, _)| *name == "hnsw.layer0").unwrap().1),
        width: 2 * usize::from(HnswParams::default().m),
    };
    let entry = numbers(&given.iter().find(|(name, _)| *name == "hnsw.meta").unwrap().1[48..52])[0];

    let mut kept = Vec::new();
    for name in text("orders", "given,window64,given").split(',') {
        let start = Instant::now();
        let order: Vec<u32> = match name.strip_prefix("window") {
            Some(window) => lists.by_window(window.parse().unwrap()),
            None if name == "breadth" => lists.by_breadth(entry),
            None => (0..lists.rows() as u32).collect(),
        };
        let seconds = start.elapsed().as_secs_f64();
        let mut new_rows = vec![0; order.len()];
        order.iter().zip(0..).for_each(|(row, new)| new_rows[*row as usize] = new);
        let (log, near) = lists.gaps(&new_rows);
        println!("{name}: {seconds:.2} s, mean log2 of gaps {log:.2}, within 64 rows {near:.3}");
        let values: Vec<f32> =
            order.iter().flat_map(|row| &base[*row as usize * dim..][..dim]).copied().collect();
        let keep = |name: &str, sections: &MemorySections| Kept {
            name: name.to_owned(),
            index: SealedHnsw::open(sections, MappedRows::from_values(&values, dim).unwrap(), metric)
                .unwrap(),
            scratch: Scratch::new(),
            times: Vec::new(),
            distances: 0,
            recall: 0.0,
        };
        kept.push(keep(name, &renumbered(&given, &order, &new_rows)));
        if options.contains_key("relink") && name != "given" {
            kept.push(keep(&format!("{name}, relinked"), &link(&values, dim, metric, &pool)));
        }
    }

    let rows = MappedRows::from_values(&base, dim).unwrap();
    let flat = FlatIndex::new(Rows::Sealed(rows), metric);
    let (mut scratch, mut out) = (Scratch::new(), Vec::new());
    let truth: Vec<Vec<f32>> = queries
        .chunks_exact(dim)
        .map(|query| {
            flat.scan(query, K, 0..u32::MAX, RowSet::All, &mut scratch, &mut out).unwrap();
            out.iter().map(|neighbor| neighbor.distance).collect()
        })
        .collect();
    let seconds: f64 = text("seconds", "25").parse().unwrap();
    for ef in text("ef", "24,96").split(',') {
        let ef: usize = ef.parse().unwrap();
        kept.iter_mut().for_each(|kept| kept.judge(&queries, &truth, ef));
        let (start, mut turn) = (Instant::now(), 0);
        while start.elapsed().as_secs_f64() < seconds || turn == 0 {
            for from in (0..truth.len()).step_by(BLOCK) {
                let count = kept.len();
                (0..count).for_each(|at| kept[(at + turn) % count].measure(&queries, from, ef));
                turn += 1;
            }
        }
        let sums: Vec<(f64, f64)> = kept.iter_mut().map(Kept::sums).collect();
        for (kept, (least, median)) in kept.iter().zip(&sums) {
            println!(
                "ef {ef:4} {:20} recall {:.4} comparisons {:6.0} speed {:.3} by least times, {:.3} by medians",
                kept.name,
                kept.recall,
                kept.distances as f64 / truth.len() as f64,
                sums[0].0 / least,
                sums[0].1 / median,
            );
        }
    }
}
