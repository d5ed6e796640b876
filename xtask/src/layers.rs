//! The walls: which crate of the workspace may depend on which.

use std::path::Path;
use std::process::Command;

use serde_json::Value;

/// Each package with the packages of ours it may use. Development dependencies count as well, but for the
/// exceptions in [`DEV_EDGES`].
const EDGES: &[(&str, &[&str])] = &[
    ("dvse-types", &[]),
    ("dvse-simd", &[]),
    ("dvse-index", &["dvse-types", "dvse-simd"]),
    ("dvse-storage", &["dvse-types"]),
    ("dvse-engine", &["dvse-types", "dvse-index", "dvse-storage"]),
    ("dvse-embed", &["dvse-types"]),
    // Python stays at the edge: only the command line knows it, behind the feature `python`.
    ("dvse-embed-python", &["dvse-types", "dvse-embed"]),
    // Streams reach collections through traits: not the engine, not HTTP, not a model.
    ("dvse-ingest", &["dvse-types", "dvse-storage"]),
    (
        "dvse-server",
        &["dvse-types", "dvse-index", "dvse-storage", "dvse-engine", "dvse-embed", "dvse-ingest"],
    ),
    // The command line is a client of a running node, or it starts one. `bench` and `demo` measure the engine and
    // the index themselves.
    (
        "dvse-cli",
        &[
            "dvse-types",
            "dvse-index",
            "dvse-storage",
            "dvse-engine",
            "dvse-embed",
            "dvse-embed-python",
            "dvse-ingest",
            "dvse-server",
        ],
    ),
    ("xtask", &[]),
];

/// Edges that only tests and benchmarks may use.
const DEV_EDGES: &[(&str, &str)] = &[
    // From an array of NumPy to the logs of a collection and of topics: no copy on the way.
    ("dvse-embed-python", "dvse-engine"),
    ("dvse-embed-python", "dvse-ingest"),
    ("dvse-embed-python", "dvse-server"),
    ("dvse-embed-python", "dvse-storage"),
];

/// Compares the edges `cargo metadata` tells with the table.
///
/// # Errors
/// What cargo says when it cannot tell.
pub fn check(root: &Path) -> Result<Vec<String>, String> {
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--format-version", "1", "--no-deps", "--offline"])
        .current_dir(root)
        .output()
        .map_err(|error| format!("cargo did not start: {error}"))?;
    if !output.status.success() {
        return Err(format!("cargo metadata failed: {}", String::from_utf8_lossy(&output.stderr)));
    }
    let metadata: Value =
        serde_json::from_slice(&output.stdout).map_err(|error| format!("cargo metadata: {error}"))?;
    Ok(check_metadata(&metadata))
}

fn check_metadata(metadata: &Value) -> Vec<String> {
    let packages = metadata["packages"].as_array().map(Vec::as_slice).unwrap_or_default();
    let ours: Vec<&str> = packages.iter().filter_map(|package| package["name"].as_str()).collect();
    let mut findings = Vec::new();
    for package in packages {
        let name = package["name"].as_str().unwrap_or_default();
        let Some((_, allowed)) = EDGES.iter().find(|(known, _)| *known == name) else {
            findings.push(format!(
                "{name}: the table of layers in xtask/src/layers.rs does not know this package"
            ));
            continue;
        };
        for dependency in package["dependencies"].as_array().map(Vec::as_slice).unwrap_or_default() {
            let target = dependency["name"].as_str().unwrap_or_default();
            let is_dev = dependency["kind"] == "dev";
            let is_excused = is_dev && DEV_EDGES.contains(&(name, target));
            if ours.contains(&target) && !allowed.contains(&target) && !is_excused {
                findings.push(format!("{name}: may not depend on {target} (ARCHITECTURE.md, layers)"));
            }
        }
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn package(name: &str, dependency: &str) -> Value {
        json!({"name": name, "dependencies": [{"name": dependency, "kind": null}]})
    }

    #[test]
    fn an_edge_upwards_is_found_and_one_downwards_is_not() {
        let upwards =
            json!({"packages": [package("dvse-types", "dvse-engine"), package("dvse-engine", "dvse-types")]});
        let findings = check_metadata(&upwards);
        assert_eq!(findings.len(), 1, "{findings:?}");
        assert!(findings[0].starts_with("dvse-types: may not depend on dvse-engine"));
    }

    #[test]
    fn a_package_the_table_does_not_know_is_found() {
        let unknown = json!({"packages": [package("dvse-helpers", "serde")]});
        assert_eq!(check_metadata(&unknown).len(), 1);
    }
}
