//! `dvse bench ann` on small files.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::dvse::dvse;

/// A repeatable sequence of numbers from -1 to 1.
fn numbers(count: usize, mut state: u64) -> Vec<f32> {
    let mut next = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 40) as f32 / 8_388_608.0 - 1.0
    };
    (0..count).map(|_| next()).collect()
}

fn write_npy(path: &Path, kind: &str, dim: usize, values: &[[u8; 4]]) {
    let shape = format!("({}, {dim})", values.len() / dim);
    let mut header = format!("{{'descr': '{kind}', 'fortran_order': False, 'shape': {shape}, }}");
    while (10 + header.len() + 1) % 64 != 0 {
        header.push(' ');
    }
    header.push('\n');
    let mut bytes = b"\x93NUMPY\x01\x00".to_vec();
    bytes.extend(u16::try_from(header.len()).unwrap().to_le_bytes());
    bytes.extend(header.as_bytes());
    bytes.extend(values.concat());
    fs::write(path, bytes).unwrap();
}

const DIM: usize = 12;

struct Files {
    folder: tempfile::TempDir,
}

impl Files {
    fn new(base_rows: usize, query_rows: usize) -> Files {
        let files = Files { folder: tempfile::tempdir().unwrap() };
        for (name, rows, seed) in [("base", base_rows, 1), ("queries", query_rows, 2)] {
            let values: Vec<[u8; 4]> = numbers(rows * DIM, seed).into_iter().map(f32::to_le_bytes).collect();
            write_npy(&files.path(name), "<f4", DIM, &values);
        }
        files
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(format!("{name}.npy"))
    }

    fn arguments(&self) -> Vec<String> {
        let (base, queries) = (self.path("base"), self.path("queries"));
        [
            "bench",
            "ann",
            "--quiet",
            "--repeat",
            "1",
            "--base",
            base.to_str().unwrap(),
            "--queries",
            queries.to_str().unwrap(),
        ]
        .map(str::to_owned)
        .to_vec()
    }

    fn run(&self, more: &[&str]) -> crate::dvse::Ran {
        let arguments = self.arguments();
        let all: Vec<&str> = arguments.iter().map(String::as_str).chain(more.iter().copied()).collect();
        dvse(&all)
    }

    fn records(&self, more: &[&str]) -> Vec<Value> {
        let printed = self.run(&[&["--format", "jsonl"][..], more].concat()).ok();
        printed.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }
}

#[test]
fn each_setting_gives_a_record_with_all_keys() {
    let files = Files::new(2_000, 40);
    let records = files.records(&[
        "--ef",
        "10,200",
        "--set",
        "m=8",
        "--set",
        "ef_construction=60",
        "--build-threads",
        "1",
    ]);
    assert_eq!(records.len(), 2);
    for (record, ef) in records.iter().zip([10, 200]) {
        for key in [
            "index",
            "params",
            "metric",
            "n",
            "dim",
            "queries",
            "k",
            "build_s",
            "build_threads",
            "mem_mib",
            "search",
            "threads",
            "recall",
            "recall_p5",
            "qps",
            "p50_us",
            "p99_us",
            "isa",
            "processor",
            "best_of",
            "truth",
        ] {
            assert!(record.get(key).is_some(), "no {key} in {record}");
        }
        assert_eq!((record["n"].as_u64(), record["dim"].as_u64()), (Some(2_000), Some(DIM as u64)));
        assert_eq!((record["index"].as_str(), record["params"]["m"].as_u64()), (Some("hnsw"), Some(8)));
        assert_eq!(record["search"]["ef"].as_u64(), Some(ef));
        assert_eq!(record["truth"], "computed");
        assert!(record["mem_mib"].as_f64().unwrap() > (2_000 * DIM * 4) as f64 / f64::from(1 << 20));
    }
    let recall = |index: usize| records[index]["recall"].as_f64().unwrap();
    assert!(recall(0) <= recall(1) && recall(1) >= 0.99, "{records:?}");
}

#[test]
fn a_flat_index_finds_everything_under_each_metric_and_instruction_set() {
    let files = Files::new(500, 30);
    for metric in ["l2", "cosine", "ip"] {
        for more in [&[][..], &["--isa", "scalar"], &["--threads", "3", "--k", "7"]] {
            let records = files.records(&[&["--index", "flat", "--metric", metric][..], more].concat());
            assert_eq!(records.len(), 1);
            assert_eq!(
                (records[0]["recall"].as_f64(), records[0]["recall_p5"].as_f64()),
                (Some(1.0), Some(1.0))
            );
            assert_eq!(records[0]["metric"], metric);
        }
    }
}

#[test]
fn given_truth_decides_and_cuts_the_queries() {
    let files = Files::new(500, 30);
    let truth = files.path("truth");
    // Rows that are almost surely not the nearest: a result that is exact is wrong by this truth, but for what lies
    // as near as the farthest of them.
    write_npy(&truth, "<i4", 1, &[0_i32, 1, 2].map(i32::to_le_bytes));
    let truth = truth.to_str().unwrap();
    let records = files.records(&["--index", "flat", "--k", "1", "--truth", truth]);
    assert_eq!((records[0]["queries"].as_u64(), records[0]["truth"].as_str()), (Some(3), Some("file")));
    assert_eq!(records[0]["recall"].as_f64(), Some(1.0), "what is nearer than the truth is right");
    let error = files.run(&["--index", "flat", "--k", "2", "--truth", truth]).failed();
    assert!(error.contains("lists 1 rows for query 0, not 2"), "{error}");
}

#[test]
fn what_does_not_fit_is_refused() {
    let files = Files::new(50, 5);
    let odd = files.path("odd");
    write_npy(&odd, "<f4", 3, &[1.0_f32; 6].map(f32::to_le_bytes));
    let missing = files.path("missing");
    for (more, expect) in [
        (&["--queries", odd.to_str().unwrap()][..], "has vectors of 12 dimensions"),
        (&["--truth", missing.to_str().unwrap()], "cannot open"),
        (&["--k", "51"], "but the base has 50 vectors"),
        (&["--set", "m=1"], "m is 1"),
        (&["--set", "width=1"], "hnsw has no parameter \"width\""),
        (&["--set", "m"], "is not KEY=NUMBER"),
        (&["--index", "flat", "--set", "m=8"], "a flat index has no parameter"),
    ] {
        let mut arguments = files.arguments();
        if more[0] == "--queries" {
            arguments.truncate(arguments.len() - 2);
        }
        let all: Vec<&str> = arguments.iter().map(String::as_str).chain(more.iter().copied()).collect();
        let error = dvse(&all).failed();
        assert!(error.contains(expect), "{more:?}: {error}");
    }
}

#[test]
fn the_table_names_the_index_and_the_machine() {
    let printed = Files::new(300, 5).run(&["--ef", "20"]).ok();
    assert!(printed.contains("hnsw") && printed.contains("recall@10 over 5 queries"), "{printed}");
    assert_eq!(printed.lines().count(), 4, "{printed}");
}
