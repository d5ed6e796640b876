//! Rules for Rust files.

/// The longest a source file may be; most are far shorter.
const LINES_MAX: usize = 700;

/// Where unsafe code may stand.
fn may_be_unsafe(file: &str) -> bool {
    const FILES: &[&str] = &[
        "crates/storage/src/mmap.rs",
        "crates/server/src/priority/slice.rs",
        "crates/embed-python/src/array.rs",
        "crates/embed-python/src/interrupt.rs",
    ];
    file.starts_with("crates/simd/") || FILES.contains(&file)
}

/// The crates that are deterministic and synchronous: given the same calls they do the same.
fn is_core(file: &str) -> bool {
    ["types", "simd", "index", "storage", "engine"]
        .iter()
        .any(|name| file.starts_with(&format!("crates/{name}/src/")))
}

/// What the core must not reach for: text, what it is, and the files where it is right.
const AMBIENT: &[(&str, &str, &[&str])] = &[
    ("SystemTime::now", "the wall clock", &[]),
    ("Instant::now", "the clock", &["crates/simd/src/measure.rs"]),
    ("std::env::", "environment variables", &[]),
    ("tokio::", "an asynchronous runtime", &[]),
    ("thread_rng", "ambient randomness", &[]),
    ("std::fs::", "the file system", &["crates/storage/src/directory/fs.rs", "crates/storage/src/mmap.rs"]),
];

/// Names of modules that say nothing.
const EMPTY_NAMES: &[&str] = &["util", "utils", "common", "helpers", "misc"];

/// Checks one file. `file` is relative to the root.
pub fn check(file: &str, text: &str) -> Vec<String> {
    let mut findings = Vec::new();
    let line_count = text.lines().count();
    if line_count > LINES_MAX && file.contains("/src/") {
        findings.push(format!(
            "{file}: {line_count} lines; split it where the second idea begins (at most {LINES_MAX})"
        ));
    }
    let stem = file.rsplit('/').next().unwrap_or(file).trim_end_matches(".rs");
    if EMPTY_NAMES.contains(&stem) {
        findings.push(format!("{file}: a module named {stem} has not been understood yet"));
    }
    if file.ends_with("/src/lib.rs") && !text.starts_with("//!") {
        findings.push(format!("{file}: a crate begins with what it is and what it refuses to know"));
    }
    for (number, line) in text.lines().enumerate() {
        let number = number + 1;
        let code = line.split("//").next().unwrap_or_default();
        if !file.starts_with("xtask/") {
            check_line(file, number, code, &mut findings);
        }
    }
    findings
}

fn check_line(file: &str, number: usize, code: &str, findings: &mut Vec<String>) {
    let words = || code.split(|c: char| !c.is_alphanumeric() && c != '_');
    if !may_be_unsafe(file) && words().any(|word| word == "unsafe") {
        findings.push(format!("{file}:{number}: unsafe code outside the files in xtask/src/source.rs"));
    }
    if code.contains("#[ignore") {
        findings.push(format!("{file}:{number}: a test nobody runs proves nothing"));
    }
    if is_core(file) {
        for (needle, what, allowed) in AMBIENT {
            if code.contains(needle) && !allowed.contains(&file) {
                findings.push(format!("{file}:{number}: {what} ({needle}) in the core"));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::check;

    fn check_one(file: &str, text: &str, expect: &str) {
        let findings = check(file, text);
        assert_eq!(findings.len(), usize::from(!expect.is_empty()), "{findings:?}");
        assert!(expect.is_empty() || findings[0].contains(expect), "{findings:?}");
    }

    #[test]
    fn each_rule_finds_its_case_and_spares_the_others() {
        check_one("crates/engine/src/a.rs", "fn f() { unsafe { g() } }", "unsafe code");
        check_one("crates/simd/src/a.rs", "fn f() { unsafe { g() } }", "");
        check_one("crates/engine/src/a.rs", "// unsafe in a comment", "");
        check_one("crates/engine/src/a.rs", "let t = std::time::Instant::now();", "the clock");
        check_one("crates/server/src/a.rs", "let t = std::time::Instant::now();", "");
        check_one("crates/storage/src/directory/fs.rs", "std::fs::read(p)", "");
        check_one("crates/engine/tests/it/a.rs", "#[ignore]", "nobody runs");
        check_one("crates/engine/src/util.rs", "", "has not been understood");
        check_one("crates/engine/src/a.rs", &"\n".repeat(701), "701 lines");
        check_one("crates/engine/src/lib.rs", "mod a;", "a crate begins");
    }
}
