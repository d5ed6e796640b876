//! Standard output: results, and nothing else. Progress and errors go to standard error.
//!
//! Everything is written with `writeln!` to a lock, because `println!` panics when the reader has gone.

use std::fmt::Display;
use std::io::{self, BufWriter, StdoutLock, Write};

use serde::Serialize;

use crate::failure::{Failure, Result};

/// How results are printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Format {
    /// For people.
    Table,
    /// One JSON object a line.
    Jsonl,
}

/// Writes lines of results.
#[derive(Debug, Default)]
pub struct Output;

impl Output {
    /// Writes a line at once.
    ///
    /// # Errors
    /// The output is closed or cannot be written.
    pub fn line(&self, text: impl Display) -> Result<()> {
        let mut stdout = io::stdout().lock();
        writeln!(stdout, "{text}").and_then(|()| stdout.flush()).map_err(Failure::of_output)
    }

    /// Writes a value as one line of JSON.
    ///
    /// # Errors
    /// The output is closed or cannot be written.
    pub fn json(&self, value: &impl Serialize) -> Result<()> {
        self.line(serde_json::to_string(value)?)
    }

    /// Writes a text as it is, such as a whole file.
    ///
    /// # Errors
    /// The output is closed or cannot be written.
    pub fn bytes(&self, bytes: &[u8]) -> Result<()> {
        let mut stdout = io::stdout().lock();
        stdout.write_all(bytes).and_then(|()| stdout.flush()).map_err(Failure::of_output)
    }

    /// A buffered writer for much output. Map its errors with [`Failure::of_output`].
    pub fn buffered(&self) -> BufWriter<StdoutLock<'static>> {
        BufWriter::new(io::stdout().lock())
    }
}

/// Rows of text in columns.
#[derive(Debug)]
pub struct Table {
    headers: Vec<String>,
    rows: Vec<Vec<String>>,
}

/// A cell longer than this is cut, so that a row fits a wide terminal.
const CELL_CHARS_MAX: usize = 64;

impl Table {
    /// An empty table. A column whose cells all look like numbers stands to the right.
    pub fn new(headers: impl IntoIterator<Item = impl Into<String>>) -> Table {
        Table { headers: headers.into_iter().map(Into::into).collect(), rows: Vec::new() }
    }

    /// Adds a row: a cell for each header.
    pub fn row(&mut self, cells: impl IntoIterator<Item = String>) {
        let mut cells: Vec<String> = cells.into_iter().map(|cell| shorten(&cell, CELL_CHARS_MAX)).collect();
        cells.resize(self.headers.len(), String::new());
        self.rows.push(cells);
    }

    /// Prints the table.
    ///
    /// # Errors
    /// The output is closed or cannot be written.
    pub fn print(&self, output: &Output) -> Result<()> {
        for line in self.lines() {
            output.line(line)?;
        }
        Ok(())
    }

    /// The table's lines, the header first.
    pub fn lines(&self) -> Vec<String> {
        let columns = self.headers.len();
        let width = |column: usize| {
            let cells = self.rows.iter().map(|row| row[column].chars().count());
            cells.chain([self.headers[column].chars().count()]).max().unwrap_or(0)
        };
        let widths: Vec<usize> = (0..columns).map(width).collect();
        let to_right: Vec<bool> = (0..columns)
            .map(|column| !self.rows.is_empty() && self.rows.iter().all(|row| looks_numeric(&row[column])))
            .collect();
        std::iter::once(&self.headers)
            .chain(&self.rows)
            .map(|row| {
                let cells = row.iter().zip(&widths).zip(&to_right).map(|((cell, width), to_right)| {
                    if *to_right { format!("{cell:>width$}") } else { format!("{cell:<width$}") }
                });
                cells.collect::<Vec<_>>().join("  ").trim_end().to_owned()
            })
            .collect()
    }
}

fn looks_numeric(cell: &str) -> bool {
    cell.is_empty() || cell.trim_start_matches('-').starts_with(|first: char| first.is_ascii_digit())
}

/// Cuts a text to a number of characters and replaces what would break a line.
pub fn shorten(text: &str, chars_max: usize) -> String {
    let mut clean: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    if let Some((at, _)) = clean.char_indices().nth(chars_max) {
        clean.truncate(at);
        clean.pop();
        clean.push('…');
    }
    clean
}

/// A number with its thousands set apart: 117,659.
pub fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (position, digit) in digits.chars().enumerate() {
        if position > 0 && (digits.len() - position).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_grouped_by_thousands() {
        for (number, text) in [(0, "0"), (999, "999"), (1_000, "1,000"), (117_659, "117,659")] {
            assert_eq!(grouped(number), text);
        }
    }

    #[test]
    fn long_cells_are_cut_at_a_character_and_stay_on_one_line() {
        assert_eq!(shorten("größe", 3), "gr…");
        assert_eq!(shorten("größe", 5), "größe");
        assert_eq!(shorten("a\nb\tc", 9), "a b c");
    }

    #[test]
    fn numbers_stand_to_the_right_and_texts_to_the_left() {
        let mut table = Table::new(["name", "count"]);
        table.row(["a".to_owned(), "7".to_owned()]);
        table.row(["long name".to_owned(), "1,234".to_owned()]);
        assert_eq!(table.lines(), ["name       count", "a              7", "long name  1,234"]);
    }
}
