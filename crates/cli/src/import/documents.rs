//! Files of documents: one JSON object a line, plain or compressed with gzip.

use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use dvse_embed::{Embedder as _, StaticEmbedder};
use flate2::read::MultiGzDecoder;
use serde_json::{Map, Value, json};

use super::{BODY_BYTES_MAX, Batch, ImportArguments, Source};
use crate::failure::{Failure, Remedy as _, Result};

/// A line longer than this is refused: it is no line of documents.
const LINE_BYTES_MAX: u64 = 16 << 20;

/// The lines of a file as points.
pub struct Documents {
    path: PathBuf,
    lines: Box<dyn BufRead + Send>,
    /// Bytes of the file read so far, and all of them: for the estimate of the total.
    read: Arc<AtomicU64>,
    file_bytes: u64,
    shape: Shape,
    dimensions: Vec<(String, usize)>,
    /// The first point, read early to learn the dimensions.
    peeked: Option<Value>,
    next: u64,
    /// Lines read, blank ones included: what errors name.
    line: u64,
}

/// Where the parts of a point are in a line.
struct Shape {
    id_field: String,
    vector_field: String,
    text: Option<TextField>,
    first_id: u64,
}

struct TextField {
    name: String,
    model: String,
}

struct Counted<R> {
    inner: R,
    read: Arc<AtomicU64>,
}

impl<R: Read> Read for Counted<R> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let count = self.inner.read(buffer)?;
        self.read.fetch_add(count as u64, Ordering::Relaxed);
        Ok(count)
    }
}

impl Documents {
    /// Opens the file and reads its first point.
    ///
    /// # Errors
    /// It cannot be read, is empty, or its first line is no point.
    pub fn open(arguments: &ImportArguments) -> Result<Documents> {
        let path = arguments.file.clone();
        let opening = || format!("cannot open {}", path.display());
        let file = File::open(&path).doing(opening).help(|| "check the path".to_owned())?;
        let file_bytes = file.metadata().doing(opening)?.len();
        let read = Arc::new(AtomicU64::new(0));
        let counted = Counted { inner: file, read: Arc::clone(&read) };
        let lines = decoder(&path, counted);
        let text = match &arguments.text_field {
            Some(name) => Some(TextField {
                name: name.clone(),
                model: crate::query::model_name(arguments.model.as_deref())?,
            }),
            None => None,
        };
        let shape = Shape {
            id_field: arguments.id_field.clone(),
            vector_field: arguments.vector_field.clone(),
            text,
            first_id: arguments.first_id,
        };
        let mut documents = Documents {
            path,
            lines,
            read,
            file_bytes,
            shape,
            dimensions: Vec::new(),
            peeked: None,
            next: 0,
            line: 0,
        };
        for _ in 0..arguments.skip {
            if documents.next_line()?.is_none() {
                break;
            }
            documents.next += 1;
        }
        documents.peeked = documents.next_point()?;
        documents.dimensions = match &documents.peeked {
            Some(point) => documents.dimensions_of(point)?,
            None if arguments.skip > 0 => Vec::new(),
            None => {
                return Err(Failure::new(format!("{} holds no points", documents.path.display()))
                    .with_help("give a file with one JSON object a line"));
            }
        };
        Ok(documents)
    }

    fn dimensions_of(&self, point: &Value) -> Result<Vec<(String, usize)>> {
        if self.shape.text.is_some() {
            return Ok(vec![(String::new(), StaticEmbedder::bundled()?.model().dim)]);
        }
        match point.get("vector") {
            Some(Value::Array(values)) => Ok(vec![(String::new(), values.len())]),
            Some(Value::Object(named)) => Ok(named
                .iter()
                .filter_map(|(name, vector)| Some((name.clone(), vector.as_array()?.len())))
                .collect()),
            _ => Ok(Vec::new()),
        }
    }

    /// The next line that is not blank.
    fn next_line(&mut self) -> Result<Option<Vec<u8>>> {
        loop {
            let mut line = Vec::new();
            let count = (&mut self.lines)
                .take(LINE_BYTES_MAX)
                .read_until(b'\n', &mut line)
                .doing(|| format!("cannot read {} after line {}", self.path.display(), self.line))
                .help(|| {
                    "check that the file is whole, and plain if its name does not end in .gz".to_owned()
                })?;
            if count == 0 {
                return Ok(None);
            }
            self.line += 1;
            if count as u64 == LINE_BYTES_MAX && line.last() != Some(&b'\n') {
                return Err(self.bad_line(format!("is longer than {LINE_BYTES_MAX} bytes")));
            }
            if !line.trim_ascii().is_empty() {
                return Ok(Some(line));
            }
        }
    }

    fn next_point(&mut self) -> Result<Option<Value>> {
        if let Some(point) = self.peeked.take() {
            return Ok(Some(point));
        }
        let Some(line) = self.next_line()? else { return Ok(None) };
        let number = self.shape.first_id.checked_add(self.next);
        let point = serde_json::from_slice(&line)
            .map_err(|error| format!("is not a JSON object: {error}"))
            .and_then(|line| self.shape.point_of(line, number))
            .map_err(|reason| self.bad_line(reason))?;
        self.next += 1;
        Ok(Some(point))
    }

    fn bad_line(&self, reason: String) -> Failure {
        Failure::new(format!("line {} of {} {reason}", self.line, self.path.display())).with_help(
            "--id-field, --vector-field and --text-field say where the parts of a point are; dvse import --help",
        )
    }
}

fn decoder(path: &Path, file: Counted<File>) -> Box<dyn BufRead + Send> {
    if path.extension().is_some_and(|extension| extension == "gz") {
        Box::new(BufReader::with_capacity(1 << 17, MultiGzDecoder::new(BufReader::new(file))))
    } else {
        Box::new(BufReader::with_capacity(1 << 17, file))
    }
}

impl Shape {
    /// Makes a point in the server's form out of a line; a line without an id gets `number`.
    fn point_of(
        &self,
        mut line: Map<String, Value>,
        number: Option<u64>,
    ) -> std::result::Result<Value, String> {
        let id = match line.remove(&self.id_field) {
            Some(id @ (Value::Number(_) | Value::String(_))) => id,
            Some(other) => return Err(format!("has {other} as id; ids are unsigned integers and UUIDs")),
            None => json!(number.ok_or("has no id, and there is none left to give it")?),
        };
        let vector = match &self.text {
            Some(text) => match line.get(&text.name) {
                Some(Value::String(document)) => json!({"text": document, "model": text.model}),
                _ => return Err(format!("has no text in its field {:?}", text.name)),
            },
            None => match line.remove(&self.vector_field) {
                Some(vector @ (Value::Array(_) | Value::Object(_))) => vector,
                _ => return Err(format!("has no vector in its field {:?}", self.vector_field)),
            },
        };
        let payload = match line.remove("payload") {
            Some(Value::Object(payload)) => payload,
            Some(other) => {
                line.insert("payload".to_owned(), other);
                line
            }
            None => line,
        };
        Ok(json!({"id": id, "vector": vector, "payload": payload}))
    }
}

impl Source for Documents {
    fn dimensions(&self) -> &[(String, usize)] {
        &self.dimensions
    }

    fn total(&self) -> Option<u64> {
        let read = self.read.load(Ordering::Relaxed);
        let share = read as f64 / self.file_bytes.max(1) as f64;
        (self.next > 0 && share > 0.0).then(|| (self.next as f64 / share) as u64)
    }

    fn next_batch(&mut self, points_max: u64) -> Result<Option<Batch>> {
        let first = self.next - u64::from(self.peeked.is_some());
        let mut points = 0;
        let mut body = String::from("{\"points\":[");
        while points < points_max && body.len() < BODY_BYTES_MAX {
            let Some(point) = self.next_point()? else { break };
            if points > 0 {
                body.push(',');
            }
            body.push_str(&point.to_string());
            points += 1;
        }
        body.push_str("]}");
        Ok((points > 0).then_some(Batch { first, points, body }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(shape: &Shape, line: Value, expect: std::result::Result<Value, &str>) {
        let Value::Object(line) = line else { panic!("not an object") };
        match (shape.point_of(line, Some(3)), expect) {
            (Ok(point), Ok(expect)) => assert_eq!(point, expect),
            (Err(reason), Err(expect)) => assert!(reason.contains(expect), "{reason}"),
            (got, expect) => panic!("{got:?} instead of {expect:?}"),
        }
    }

    fn shape(text: Option<&str>) -> Shape {
        let text = text.map(|name| TextField { name: name.to_owned(), model: "m".to_owned() });
        Shape { id_field: "id".to_owned(), vector_field: "vector".to_owned(), text, first_id: 0 }
    }

    #[test]
    fn lines_become_points() {
        let of_vectors = shape(None);
        let point = json!({"id": 7, "vector": [1.0], "payload": {"a": 1}});
        check(&of_vectors, point.clone(), Ok(point));
        check(
            &of_vectors,
            json!({"vector": [1.0], "a": 1, "payload": 2}),
            Ok(json!({"id": 3, "vector": [1.0], "payload": {"a": 1, "payload": 2}})),
        );
        check(
            &shape(Some("t")),
            json!({"id": "x", "t": "words"}),
            Ok(json!({"id": "x", "vector": {"text": "words", "model": "m"}, "payload": {"t": "words"}})),
        );
    }

    #[test]
    fn lines_that_are_no_points_say_what_is_missing() {
        check(&shape(None), json!({"id": 1}), Err("no vector in its field \"vector\""));
        check(&shape(None), json!({"id": null, "vector": [1]}), Err("null as id"));
        check(&shape(Some("t")), json!({"id": 1, "t": 5}), Err("no text in its field \"t\""));
    }
}
