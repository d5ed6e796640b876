//! Data and indexes the tests share.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};

use dvse_index::*;
use dvse_types::Metric;

/// SplitMix64.
pub struct Random(pub u64);

impl Random {
    pub fn bits(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// Uniform in 0..1.
    pub fn unit(&mut self) -> f32 {
        (self.bits() >> 40) as f32 / (1 << 24) as f32
    }

    /// Below `n`.
    pub fn below(&mut self, n: usize) -> usize {
        (self.bits() % n as u64) as usize
    }

    /// About normal: the sum of four uniforms, centred.
    pub fn normal(&mut self) -> f32 {
        (0..4).map(|_| self.unit() - 0.5).sum::<f32>() * 1.7
    }
}

/// `n × dim` values in overlapping clusters of a space of few true dimensions.
pub fn clustered(n: usize, dim: usize, clusters: usize, seed: u64) -> Vec<f32> {
    let mut random = Random(seed);
    let latent = 12;
    let basis: Vec<f32> = (0..latent * dim).map(|_| random.normal()).collect();
    let centers: Vec<f32> = (0..clusters * latent).map(|_| random.normal() * 1.5).collect();
    let mut values = Vec::with_capacity(n * dim);
    for _ in 0..n {
        let cluster = random.below(clusters);
        let point: Vec<f32> =
            centers[cluster * latent..][..latent].iter().map(|center| center + random.normal()).collect();
        for column in 0..dim {
            let projected: f32 =
                point.iter().zip(basis.chunks_exact(dim)).map(|(x, row)| x * row[column]).sum();
            values.push(projected + 0.1 * random.normal());
        }
    }
    values
}

/// Scales rows to unit length where the metric wants it.
pub fn prepared(mut values: Vec<f32>, dim: usize, metric: Metric) -> Vec<f32> {
    if metric == Metric::Cosine {
        values.chunks_exact_mut(dim).for_each(|row| {
            normalize(row);
        });
    }
    values
}

pub fn pool(threads: usize) -> &'static rayon::ThreadPool {
    static POOLS: [OnceLock<rayon::ThreadPool>; 3] = [OnceLock::new(), OnceLock::new(), OnceLock::new()];
    let place = match threads {
        1 => 0,
        2 => 1,
        _ => 2,
    };
    POOLS[place].get_or_init(|| rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap())
}

pub fn growing_rows(values: &[f32], dim: usize) -> Rows {
    let (mut writer, reader) = GrowingRows::with_capacity(dim, values.len() / dim).unwrap();
    for row in values.chunks_exact(dim) {
        writer.append(row).unwrap();
    }
    Rows::Growing(reader)
}

/// A graph over all rows, flushed.
pub fn linked(values: &[f32], dim: usize, metric: Metric, params: HnswParams) -> GrowingHnsw {
    let rows = growing_rows(values, dim);
    let n = rows.len();
    let index = GrowingHnsw::new(rows, n, metric, params).unwrap();
    index.link(n, true, pool(2), &|| false).unwrap();
    index
}

pub fn sealed(index: &GrowingHnsw, values: &[f32]) -> SealedHnsw {
    let mut sections = MemorySections::new();
    index.persist(&mut sections).unwrap();
    let rows = MappedRows::from_values(values, index.dim()).unwrap();
    SealedHnsw::open(&sections, rows, index.metric()).unwrap()
}

/// Distances of all rows to a query in double precision, with their rows, nearest first.
pub fn brute_force(values: &[f32], dim: usize, metric: Metric, query: &[f32]) -> Vec<(f64, u32)> {
    let distance = |row: &[f32]| {
        let pairs = row.iter().zip(query).map(|(a, b)| (f64::from(*a), f64::from(*b)));
        match metric {
            Metric::L2 => pairs.map(|(a, b)| (a - b) * (a - b)).sum::<f64>(),
            Metric::InnerProduct => -pairs.map(|(a, b)| a * b).sum::<f64>(),
            Metric::Cosine => 1.0 - pairs.map(|(a, b)| a * b).sum::<f64>(),
        }
    };
    let mut all: Vec<(f64, u32)> =
        values.chunks_exact(dim).enumerate().map(|(row, vector)| (distance(vector), row as u32)).collect();
    all.sort_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
    all
}

/// Searches with fresh memory.
pub fn search(
    index: &dyn AnnIndex,
    query: &[f32],
    params: SearchParams,
    set: RowSet<'_>,
) -> (Vec<Neighbor>, SearchStats) {
    let mut out = Vec::new();
    let stats = index.search(query, &params, set, &mut Scratch::new(), &mut out).unwrap();
    (out, stats)
}

pub const METRICS: [Metric; 3] = [Metric::L2, Metric::InnerProduct, Metric::Cosine];

/// Appends all rows and links between them, at times that a seed chooses; calls stop half way. `link` gives the rows linked.
pub fn append_and_link(
    writer: &mut RowsWriter,
    values: &[f32],
    link: impl Fn(u32, &dyn Fn() -> bool) -> u32,
) {
    let mut random = Random(5);
    for row in values.chunks_exact(writer.dim()) {
        let appended = writer.append(row).unwrap() + 1;
        if random.below(40) == 0 {
            let asked = AtomicU32::new(0);
            let limit = random.below(4) as u32;
            let stop = || asked.fetch_add(1, Ordering::Relaxed) >= limit;
            assert!(link(appended, &stop) <= appended);
        }
    }
}
