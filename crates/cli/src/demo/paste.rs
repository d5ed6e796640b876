//! Lines to paste: the same question through curl, a client library and this program.

use dvse_embed::wordnet::SAMPLE_QUESTIONS;
use dvse_embed::{Embedder as _, StaticEmbedder};
use serde_json::json;

use super::COLLECTION;
use crate::failure::Result;
use crate::node::RunningNode;
use crate::output::Output;

/// The server's address when nobody says otherwise; `dvse query` asks there.
const DEFAULT_URL: &str = "http://127.0.0.1:6333";

/// Prints the lines.
///
/// # Errors
/// The output cannot be written.
pub fn print(node: &RunningNode, embedder: &StaticEmbedder, exits: bool, output: &Output) -> Result<()> {
    let question = SAMPLE_QUESTIONS.first().map_or("a small boat", |(question, _)| question);
    let model = &embedder.model().name;
    let url = node.url();
    let key = node.has_key();
    let body = json!({"query": {"text": question, "model": model}, "limit": 3, "with_payload": true});
    let header = if key { " -H \"api-key: $DVSE_API_KEY\"" } else { "" };
    let python_key = if key { "api_key=os.environ['DVSE_API_KEY'], " } else { "" };
    let program =
        std::env::args_os().next().map_or("dvse".to_owned(), |name| name.to_string_lossy().into_owned());
    let to = if url == DEFAULT_URL { String::new() } else { format!(" --url {url}") };
    if exits {
        output.line("the same questions when the server runs (leave out --exit):")?;
    } else {
        output.line(format!("serving at {url} until Ctrl-C; ask from another terminal:"))?;
    }
    output.line(format!(
        "\n  curl -s {url}/collections/{COLLECTION}/points/query -H 'content-type: application/json'{header} -d {}",
        quoted(&body.to_string())
    ))?;
    output.line("\n  pip install qdrant-client && python3 - <<'END'")?;
    if key {
        output.line("import os")?;
    }
    output.line(format!(
        "from qdrant_client import QdrantClient, models\n\
         client = QdrantClient(url=\"{url}\", {python_key}cloud_inference=True)\n\
         question = models.Document(text={}, model={})\n\
         for point in client.query_points(\"{COLLECTION}\", query=question, limit=3).points:\n    \
         print(round(point.score, 3), point.payload[\"words\"], point.payload[\"definition\"])\n\
         END",
        json!(question),
        json!(model)
    ))?;
    output.line(format!("\n  {} query {}{to}\n", quoted(&program), quoted(question)))
}

/// A text as one word of a shell.
fn quoted(text: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "/._-".contains(c);
    if !text.is_empty() && text.chars().all(plain) {
        return text.to_owned();
    }
    format!("'{}'", text.replace('\'', "'\\''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_of_a_shell_keep_their_text() {
        for (text, word) in [
            ("target/release/dvse", "target/release/dvse"),
            ("a b", "'a b'"),
            ("it's", "'it'\\''s'"),
            ("", "''"),
        ] {
            assert_eq!(quoted(text), word);
        }
    }
}
