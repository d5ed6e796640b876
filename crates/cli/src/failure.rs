//! What a command reports when it cannot do what it was asked.

use std::fmt;
use std::io::{self, Write as _};

/// The outcome of a command.
pub type Result<T> = std::result::Result<T, Failure>;

/// An error for a person: what went wrong, and what to do about it.
///
/// Like `anyhow::Error`, it is made by `?` out of any error; [`Remedy::help`] adds the remedy.
#[derive(Debug)]
pub struct Failure {
    error: anyhow::Error,
    help: Option<String>,
}

/// Nobody reads our standard output any more, as in `dvse … | head`. That is no failure.
#[derive(Debug)]
struct OutputClosed;

impl fmt::Display for OutputClosed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the reader of the output went away")
    }
}

impl std::error::Error for OutputClosed {}

impl Failure {
    /// A failure with a message in lower case and without a full stop.
    pub fn new(message: impl fmt::Display) -> Failure {
        Failure { error: anyhow::Error::msg(message.to_string()), help: None }
    }

    /// The same failure with a remedy. One that is there already stays: it was nearer to the cause.
    pub fn with_help(mut self, help: impl Into<String>) -> Failure {
        self.help.get_or_insert_with(|| help.into());
        self
    }

    /// The same failure with a fact before its message, and one more remedy after its own.
    pub fn doing_more(self, fact: String, remedy: String) -> Failure {
        let help = match self.help {
            Some(help) => format!("{};\n{remedy}", help.trim_end_matches('.')),
            None => remedy,
        };
        Failure { error: self.error.context(fact), help: Some(help) }
    }

    /// An error of writing to standard output.
    pub fn of_output(error: io::Error) -> Failure {
        if error.kind() == io::ErrorKind::BrokenPipe {
            return Failure { error: OutputClosed.into(), help: None };
        }
        Failure { error: anyhow::Error::new(error).context("cannot write the output"), help: None }
    }

    /// Whether the command only stopped because nobody reads what it prints.
    pub fn is_closed_output(&self) -> bool {
        self.error.is::<OutputClosed>()
    }

    /// The error of a type that caused this, if there is one.
    pub fn cause<E: std::error::Error + Send + Sync + 'static>(&self) -> Option<&E> {
        self.error.chain().find_map(|error| error.downcast_ref())
    }

    /// Tells standard error. Nothing is left to do if that is closed, too.
    pub fn report(&self) {
        drop(writeln!(io::stderr().lock(), "{self}"));
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "error: ")?;
        let mut told = String::new();
        for cause in self.error.chain() {
            let text = cause.to_string();
            // Errors often say what their source says.
            if told.contains(&text) {
                continue;
            }
            write!(f, "{}{text}", if told.is_empty() { "" } else { ": " })?;
            told.push_str(&text);
        }
        match &self.help {
            Some(help) => write!(f, "\n help: {}", help.replace('\n', "\n       ")),
            None => Ok(()),
        }
    }
}

impl<E: Into<anyhow::Error>> From<E> for Failure {
    fn from(error: E) -> Failure {
        Failure { error: error.into(), help: None }
    }
}

/// Adds to errors what a person needs to know.
pub trait Remedy<T> {
    /// Says what was being done.
    fn doing(self, what: impl FnOnce() -> String) -> Result<T>;
    /// Says what to do about it.
    fn help(self, help: impl FnOnce() -> String) -> Result<T>;
}

impl<T, E: Into<Failure>> Remedy<T> for std::result::Result<T, E> {
    fn doing(self, what: impl FnOnce() -> String) -> Result<T> {
        self.map_err(|error| {
            let Failure { error, help } = error.into();
            Failure { error: error.context(what()), help }
        })
    }

    fn help(self, help: impl FnOnce() -> String) -> Result<T> {
        self.map_err(|error| error.into().with_help(help()))
    }
}
