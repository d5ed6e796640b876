//! `dvse bench ann` on small files.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::dvse::{dvse, dvse_reading};

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

    fn arguments(&self, what: &str) -> Vec<String> {
        let (base, queries) = (self.path("base"), self.path("queries"));
        [
            "bench",
            what,
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

    fn run(&self, what: &str, more: &[&str]) -> crate::dvse::Ran {
        let arguments = self.arguments(what);
        let all: Vec<&str> = arguments.iter().map(String::as_str).chain(more.iter().copied()).collect();
        dvse(&all)
    }

    fn records(&self, what: &str, more: &[&str]) -> Vec<Value> {
        lines(&self.run(what, &[&["--format", "jsonl"][..], more].concat()).ok())
    }
}

fn lines(printed: &str) -> Vec<Value> {
    printed.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn number(record: &Value, key: &str) -> f64 {
    assert!(record[key].is_number(), "no number {key} in {record}");
    record[key].as_f64().unwrap()
}

#[test]
fn each_setting_gives_a_record_with_all_keys() {
    let files = Files::new(2_000, 40);
    let records = files.records(
        "ann",
        &["--ef", "10,200", "--set", "m=8", "--set", "ef_construction=60", "--build-threads", "1"],
    );
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
            "qps_cpu",
            "half",
            "build_cpu_s",
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
            let records =
                files.records("ann", &[&["--index", "flat", "--metric", metric][..], more].concat());
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
    let records = files.records("ann", &["--index", "flat", "--k", "1", "--truth", truth]);
    assert_eq!((records[0]["queries"].as_u64(), records[0]["truth"].as_str()), (Some(3), Some("file")));
    assert_eq!(records[0]["recall"].as_f64(), Some(1.0), "what is nearer than the truth is right");
    let error = files.run("ann", &["--index", "flat", "--k", "2", "--truth", truth]).failed();
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
        (&["--index", "flat", "--set", "m=8"], "flat has no parameter"),
        (&["--serve", "--set", "m=8,16"], "--serve builds one index"),
    ] {
        let mut arguments = files.arguments("ann");
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
    let printed = Files::new(300, 5).run("ann", &["--ef", "20"]).ok();
    assert!(printed.contains("hnsw") && printed.contains("recall@10 over 5 queries"), "{printed}");
    assert_eq!(printed.lines().count(), 4, "{printed}");
}

#[test]
fn a_list_of_values_builds_each_and_every_combination() {
    let files = Files::new(300, 5);
    let records =
        files.records("ann", &["--ef", "20,40", "--set", "m=4,8", "--set", "ef_construction=10,20,30"]);
    let built: Vec<_> = records.iter().map(|record| record["params"].to_string()).collect();
    assert_eq!(records.len(), 12);
    assert_eq!(built.iter().collect::<std::collections::BTreeSet<_>>().len(), 6, "{built:?}");
    let printed = files.run("ann", &["--ef", "20", "--set", "m=4,8"]).ok();
    assert_eq!(printed.lines().count(), 6, "{printed}");
}

#[test]
fn halves_of_the_queries_are_measured_apart() {
    let files = Files::new(200, 9);
    for (half, queries) in [("tune", 5), ("report", 4), ("all", 9)] {
        let records = files.records("ann", &["--index", "flat", "--half", half]);
        assert_eq!(records[0]["queries"].as_u64(), Some(queries), "{half}");
        assert_eq!((records[0]["half"].as_str(), records[0]["recall"].as_f64()), (Some(half), Some(1.0)));
    }
}

#[test]
fn serving_answers_each_line_until_input_ends() {
    let files = Files::new(3_000, 20);
    let mut arguments = files.arguments("ann");
    arguments.extend(["--serve", "--k", "10"].map(str::to_owned));
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let asked = "{\"ef\": 10}\n{\"ef\": 100}\n{\"ef\": 100, \"k\": 1}\n";
    let answers = lines(&dvse_reading(&arguments, asked).ok());
    assert_eq!(answers.len(), 4, "{answers:?}");
    assert!(number(&answers[0], "build_s") > 0.0 && answers[0].get("recall").is_none());
    assert_eq!((number(&answers[1], "k"), number(&answers[3], "k")), (10.0, 1.0));
    assert!(number(&answers[1], "recall") < number(&answers[2], "recall"), "{answers:?}");
    for line in ["64", "{\"ef\": 64, \"k\": 11}"] {
        let error = dvse_reading(&arguments, line).failed();
        assert!(error.contains("is no setting") || error.contains("not 11"), "{error}");
    }
}

#[test]
fn filters_of_all_kinds_are_measured_against_exact_answers() {
    let files = Files::new(4_000, 10);
    let records = files.records("filter", &["--percent", "50,1,0.01", "--set", "full_scan_rows=100"]);
    assert_eq!(records.len(), 9);
    for (record, kind) in
        records.iter().zip(["random", "correlated", "anti-correlated"].iter().flat_map(|kind| [kind; 3]))
    {
        assert_eq!(record["kind"].as_str(), Some(*kind));
        assert!(number(record, "recall") >= 0.9 && number(record, "recall_p5") >= 0.5, "{record}");
        assert!(number(record, "scan_qps") > 0.0 && number(record, "qps") > 0.0, "{record}");
    }
    for (record, passing) in records.iter().zip([2_000.0, 40.0, 1.0].iter().cycle()) {
        assert_eq!(number(record, "passing"), *passing);
        // The few that pass are compared one by one, so nothing is missed.
        assert!(
            *passing > 100.0 || (number(record, "recall"), number(record, "exact")) == (1.0, 1.0),
            "{record}"
        );
    }
    let error = files.run("filter", &["--percent", "0"]).failed();
    assert!(error.contains("--percent is 0"), "{error}");
    assert!(files.run("filter", &["--percent", "10", "--kind", "random"]).ok().contains("passing"));
}

#[test]
fn churn_tells_how_a_collection_ages_and_how_a_fresh_one_is() {
    let files = Files::new(2_000, 10);
    let records = files.records("churn", &["--turnovers", "2", "--steps", "20", "--every", "10"]);
    let states: Vec<&str> = records.iter().map(|record| record["state"].as_str().unwrap()).collect();
    assert_eq!(states, ["built", "churned", "churned", "churned", "churned", "rested", "fresh"]);
    let turnovers: Vec<f64> = records.iter().map(|record| number(record, "turnovers")).collect();
    assert_eq!(turnovers, [0.0, 0.5, 1.0, 1.5, 2.0, 2.0, 2.0]);
    for record in &records {
        assert!(number(record, "recall") >= 0.9, "{record}");
        assert!(number(record, "disk_mib") > 0.0 && number(record, "segments") >= 1.0, "{record}");
    }
    let printed = files.run("churn", &["--turnovers", "1", "--steps", "4"]).ok();
    assert!(printed.contains("250 points a step") && printed.contains("maintain ms"), "{printed}");
    let error = files.run("churn", &["--k", "1001"]).failed();
    assert!(error.contains("only 1000 points are there at a time"), "{error}");
}

#[test]
fn kernels_and_machine_name_what_they_ran_on() {
    let kernels = dvse(&["bench", "kernels", "--dim", "7,32", "--repeat", "1", "--format", "jsonl"]);
    let timings = lines(&kernels.ok());
    assert!(timings.len() >= 22, "{timings:?}");
    assert!(timings.iter().all(|timing| number(timing, "ns") >= 0.0 && timing["isa"].is_string()));
    let scalar = dvse(&["bench", "kernels", "--isa", "scalar", "--kernel", "dot_i8", "--repeat", "1"]).ok();
    assert!(scalar.contains("scalar ns") && !scalar.contains("avx") && !scalar.contains("l2"), "{scalar}");

    let machine = lines(&dvse(&["bench", "machine", "--mib", "2", "--format", "jsonl"]).ok());
    for key in ["random_line_ns", "overlapped_line_ns", "sequential_line_ns", "cores"] {
        assert!(number(&machine[0], key) > 0.0, "{machine:?}");
    }
    let printed = dvse(&["bench", "machine", "--mib", "1", "--isa", "scalar"]).ok();
    assert!(printed.contains("processor") && printed.contains("instruction set      scalar"), "{printed}");
}
