//! Exceptions of Python as errors.

use dvse_embed::ModelError;
use pyo3::prelude::*;
use pyo3::types::PyTraceback;

/// Messages are cut here: some frameworks put whole tensors into them.
const MESSAGE_CHARS: usize = 400;

/// What was raised, and where.
pub fn raised(py: Python<'_>, error: &PyErr) -> ModelError {
    let exception = type_name(error.get_type(py).as_any());
    let message = match error.value(py).str() {
        Ok(text) => one_line(&text.to_string_lossy()),
        Err(_) => "a message that cannot be shown".to_owned(),
    };
    let message = if message.is_empty() { "no message".to_owned() } else { message };
    let place = error.traceback(py).and_then(|first| last_entry(first).ok());
    ModelError::Raised { exception, message, place: place.unwrap_or_else(|| "no traceback".to_owned()) }
}

/// The name of a type, with its module unless that is Python's own.
pub fn type_name(class: &Bound<'_, PyAny>) -> String {
    let text = |name: &str| class.getattr(name).and_then(|value| value.extract::<String>()).ok();
    let name = text("__qualname__").unwrap_or_else(|| "an unknown type".to_owned());
    match text("__module__") {
        Some(module) if module != "builtins" => format!("{module}.{name}"),
        _ => name,
    }
}

fn one_line(text: &str) -> String {
    let words: Vec<&str> = text.split_whitespace().collect();
    let line = words.join(" ");
    match line.char_indices().nth(MESSAGE_CHARS) {
        Some((end, _)) => format!("{}…", line.get(..end).unwrap_or_default()),
        None => line,
    }
}

/// The entry where it was raised, the innermost one.
fn last_entry(first: Bound<'_, PyTraceback>) -> PyResult<String> {
    let mut entry = first.into_any();
    loop {
        let next = entry.getattr("tb_next")?;
        if next.is_none() {
            break;
        }
        entry = next;
    }
    let code = entry.getattr("tb_frame")?.getattr("f_code")?;
    let file: String = code.getattr("co_filename")?.extract()?;
    let function: String = code.getattr("co_name")?.extract()?;
    let line: u32 = entry.getattr("tb_lineno")?.extract()?;
    Ok(format!("{file}, line {line}, in {function}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_one_line_and_not_without_end() {
        assert_eq!(one_line(" a\n  b\tc "), "a b c");
        let cut = one_line(&"é".repeat(1000));
        assert_eq!(cut.chars().count(), MESSAGE_CHARS + 1);
        assert!(cut.ends_with('…'));
    }
}
