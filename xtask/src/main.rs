//! Repository checks that the compiler does not make. `cargo xtask tidy` prints each finding and fails if there is one.

mod layers;
mod markdown;
mod source;
mod tree;

use std::path::Path;
use std::process::ExitCode;

const USAGE: &str = "usage: cargo xtask tidy\n\n  tidy   walls between crates, unsafe code, ambient power, file sizes, links in documents";

fn main() -> ExitCode {
    let verb = std::env::args().nth(1);
    match verb.as_deref() {
        Some("tidy") => tidy(),
        _ => {
            eprintln!("{USAGE}");
            ExitCode::from(2)
        }
    }
}

fn tidy() -> ExitCode {
    // The manifest of this package lies one folder below the root of the workspace.
    let Some(root) = Path::new(env!("CARGO_MANIFEST_DIR")).parent() else {
        eprintln!("xtask: the workspace has no root folder");
        return ExitCode::FAILURE;
    };
    match findings(root) {
        Ok(findings) if findings.is_empty() => {
            eprintln!("tidy: nothing to mend");
            ExitCode::SUCCESS
        }
        Ok(findings) => {
            for finding in &findings {
                eprintln!("{finding}");
            }
            eprintln!("tidy: {} to mend", findings.len());
            ExitCode::FAILURE
        }
        Err(error) => {
            eprintln!("xtask: {error}");
            ExitCode::FAILURE
        }
    }
}

fn findings(root: &Path) -> Result<Vec<String>, String> {
    let files = tree::tracked_files(root)?;
    let mut findings = layers::check(root)?;
    for file in &files {
        let Ok(text) = std::fs::read_to_string(root.join(file)) else {
            continue; // Binary files have nothing to check.
        };
        if file.ends_with(".rs") {
            findings.extend(source::check(file, &text));
        }
        if file.ends_with(".md") {
            findings.extend(markdown::check_links(root, file, &text));
        }
    }
    findings.extend(markdown::check_requirements(root));
    Ok(findings)
}
