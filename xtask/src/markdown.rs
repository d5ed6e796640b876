//! Rules for documents.

use std::path::Path;

/// Checks that each relative link of a document leads to a file or folder.
pub fn check_links(root: &Path, file: &str, text: &str) -> Vec<String> {
    let folder = root.join(file).parent().map(Path::to_path_buf).unwrap_or_default();
    links(text)
        .into_iter()
        .filter(|(_, target)| !folder.join(target).exists())
        .map(|(line, target)| format!("{file}:{line}: the link to {target} leads nowhere"))
        .collect()
}

/// The relative targets of a document's links with their line numbers, without anchors. Code blocks do not count.
fn links(text: &str) -> Vec<(usize, String)> {
    let mut found = Vec::new();
    let mut in_code = false;
    for (number, line) in text.lines().enumerate() {
        if line.trim_start().starts_with("```") {
            in_code = !in_code;
        }
        if in_code {
            continue;
        }
        for part in line.split("](").skip(1) {
            let target = part.split([')', ' ']).next().unwrap_or_default();
            let path = target.split('#').next().unwrap_or_default();
            if !path.is_empty() && !target.contains("://") && !target.starts_with("mailto:") {
                found.push((number + 1, path.to_owned()));
            }
        }
    }
    found
}

/// Checks that docs/requirements.md has a row for each of R1 to R31.
pub fn check_requirements(root: &Path) -> Vec<String> {
    let file = "docs/requirements.md";
    let text = std::fs::read_to_string(root.join(file)).unwrap_or_default();
    (1..=31)
        .filter(|number| !text.lines().any(|line| line.starts_with(&format!("| R{number} |"))))
        .map(|number| format!("{file}: R{number} has no row"))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::links;

    #[test]
    fn relative_links_are_found_without_anchors_and_code() {
        let text =
            "[a](docs/a.md#part) [b](https://example.org)\n```\n[c](c.md)\n```\n![d](d.svg) [e](#here)";
        assert_eq!(links(text), vec![(1, "docs/a.md".to_owned()), (5, "d.svg".to_owned())]);
    }
}
