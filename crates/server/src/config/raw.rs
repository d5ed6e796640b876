//! What was written in the file, the environment and the flags, each value with where it came from.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};

use super::setting::{Kind, SETTINGS, Setting, show_bytes};

/// Values of settings as they were written, each with its origin. Later sources replace earlier ones.
#[derive(Debug, Clone)]
pub struct RawConfig {
    values: BTreeMap<&'static str, (Value, Origin)>,
}

/// Where a value came from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    /// Nobody set it.
    Default,
    /// A configuration file.
    File(PathBuf),
    /// An environment variable of this name.
    Environment(String),
    /// A flag on the command line, or a program that embeds the node.
    Flag,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Origin::Default => f.write_str("default"),
            Origin::File(path) => write!(f, "file {}", path.display()),
            Origin::Environment(name) => write!(f, "environment {name}"),
            Origin::Flag => f.write_str("flag"),
        }
    }
}

/// A setting with its value and origin, for people to read.
#[derive(Debug, Clone)]
pub struct ShownSetting {
    /// The setting.
    pub setting: &'static Setting,
    /// Its value; secrets are only said to be set or not.
    pub value: String,
    /// Where the value came from.
    pub origin: Origin,
}

/// A configuration that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("cannot read configuration file {}", path.display())]
    ReadFile {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The file is not TOML.
    #[error("configuration file {} is not valid TOML: {reason}", path.display())]
    ParseFile {
        /// The file.
        path: PathBuf,
        /// What is wrong, and where.
        reason: String,
    },
    /// There is no such setting.
    #[error("there is no setting {key:?} ({origin}){}", did_you_mean(nearest))]
    UnknownKey {
        /// What was written.
        key: String,
        /// Where.
        origin: Origin,
        /// The setting with the most similar name.
        nearest: Option<&'static str>,
    },
    /// A value is not one the setting takes.
    #[error("setting {key} is {value:?} ({origin}); it must be {expected}")]
    InvalidValue {
        /// The setting.
        key: &'static str,
        /// What was written.
        value: String,
        /// Where.
        origin: Origin,
        /// What it takes.
        expected: String,
    },
}

fn did_you_mean(nearest: &Option<&'static str>) -> String {
    nearest.map_or_else(String::new, |key| format!("; did you mean {key:?}?"))
}

/// A value as its kind holds it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Value {
    Text(String),
    List(Vec<String>),
    Number(u64),
}

impl Default for RawConfig {
    fn default() -> Self {
        let mut raw = RawConfig { values: BTreeMap::new() };
        for setting in SETTINGS {
            // A default out of its own range is a defect of the table, which a test of the table finds; the
            // value is then missing here, and `check` says so.
            if let Some(value) = parse_text(setting.kind, setting.default) {
                raw.values.insert(setting.key, (value, Origin::Default));
            }
        }
        raw
    }
}

impl RawConfig {
    /// Takes over the values of a TOML file.
    ///
    /// # Errors
    /// The file cannot be read or parsed, holds an unknown key, or a value of the wrong kind.
    pub fn merge_file(&mut self, path: &Path) -> Result<(), ConfigError> {
        let text = std::fs::read_to_string(path)
            .map_err(|source| ConfigError::ReadFile { path: path.to_owned(), source })?;
        self.merge_toml(&text, path)
    }

    /// Takes over the values of a TOML text; `path` is what errors and origins name.
    ///
    /// # Errors
    /// The text cannot be parsed, holds an unknown key, or a value of the wrong kind.
    pub fn merge_toml(&mut self, text: &str, path: &Path) -> Result<(), ConfigError> {
        let table: toml::Table = text.parse().map_err(|error: toml::de::Error| ConfigError::ParseFile {
            path: path.to_owned(),
            reason: error.to_string().trim().replace('\n', " "),
        })?;
        let origin = Origin::File(path.to_owned());
        for (section, value) in &table {
            let toml::Value::Table(entries) = value else {
                return Err(unknown_key(section, origin));
            };
            for (name, value) in entries {
                self.set_toml(&format!("{section}.{name}"), value, origin.clone())?;
            }
        }
        Ok(())
    }

    /// Takes over the variables whose names begin with `DVSE__`; others are passed over.
    ///
    /// # Errors
    /// A variable names no setting, or its value is not one the setting takes.
    pub fn merge_environment(
        &mut self,
        variables: impl IntoIterator<Item = (String, String)>,
    ) -> Result<(), ConfigError> {
        for (name, value) in variables {
            let Some(path) = name.strip_prefix("DVSE__") else { continue };
            let key = path.to_lowercase().replacen("__", ".", 1);
            self.set_text(&key, &value, Origin::Environment(name.clone()))?;
        }
        Ok(())
    }

    /// Sets one value, as a flag does.
    ///
    /// # Errors
    /// There is no such setting, or the value is not one it takes.
    pub fn set(&mut self, key: &str, value: &str) -> Result<(), ConfigError> {
        self.set_text(key, value, Origin::Flag)
    }

    /// Every setting with its value and origin, in the order of [`SETTINGS`].
    #[must_use]
    pub fn shown(&self) -> Vec<ShownSetting> {
        let shown = SETTINGS.iter().filter_map(|setting| {
            let (value, origin) = self.values.get(setting.key)?;
            let value = match (setting.kind, value) {
                (Kind::Secret, Value::Text(text)) if text.is_empty() => "(not set)".to_owned(),
                (Kind::Secret, _) => "(set)".to_owned(),
                (Kind::Bytes { .. }, Value::Number(bytes)) => show_bytes(*bytes),
                (_, Value::Number(number)) => number.to_string(),
                (_, Value::Text(text)) => text.clone(),
                (_, Value::List(texts)) => texts.join(","),
            };
            Some(ShownSetting { setting, value, origin: origin.clone() })
        });
        shown.collect()
    }

    pub(super) fn value(&self, key: &str) -> Option<&(Value, Origin)> {
        self.values.get(key)
    }

    fn set_text(&mut self, key: &str, text: &str, origin: Origin) -> Result<(), ConfigError> {
        let Some(setting) = Setting::find(key) else { return Err(unknown_key(key, origin)) };
        match parse_text(setting.kind, text) {
            Some(value) => drop(self.values.insert(setting.key, (value, origin))),
            None => return Err(invalid(setting, text, origin)),
        }
        Ok(())
    }

    fn set_toml(&mut self, key: &str, value: &toml::Value, origin: Origin) -> Result<(), ConfigError> {
        let Some(setting) = Setting::find(key) else { return Err(unknown_key(key, origin)) };
        match (setting.kind, value) {
            (Kind::List, toml::Value::Array(array)) => {
                let texts: Option<Vec<String>> =
                    array.iter().map(|inner| inner.as_str().map(str::to_owned)).collect();
                let texts = texts.ok_or_else(|| invalid(setting, &value.to_string(), origin.clone()))?;
                self.values.insert(setting.key, (Value::List(texts), origin));
                Ok(())
            }
            (_, toml::Value::String(text)) => self.set_text(key, text, origin),
            (Kind::Count { .. } | Kind::Bytes { .. }, toml::Value::Integer(number)) => {
                self.set_text(key, &number.to_string(), origin)
            }
            _ => Err(invalid(setting, &value.to_string(), origin)),
        }
    }
}

fn invalid(setting: &'static Setting, value: &str, origin: Origin) -> ConfigError {
    let value = if setting.kind == Kind::Secret { "(secret)" } else { value };
    let expected = setting.kind.describe();
    ConfigError::InvalidValue { key: setting.key, value: value.to_owned(), origin, expected }
}

fn unknown_key(key: &str, origin: Origin) -> ConfigError {
    let nearest = SETTINGS
        .iter()
        .map(|setting| (edit_distance(key, setting.key), setting.key))
        .min()
        .and_then(|(distance, nearest)| (distance <= 3 + key.len() / 4).then_some(nearest));
    ConfigError::UnknownKey { key: key.to_owned(), origin, nearest }
}

/// How many letters have to be added, dropped or changed to turn one text into the other.
fn edit_distance(from: &str, to: &str) -> usize {
    let to: Vec<char> = to.chars().collect();
    let mut row: Vec<usize> = (0..=to.len()).collect();
    for (line, letter) in from.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = line + 1;
        for (column, other) in to.iter().enumerate() {
            let change = diagonal + usize::from(letter != *other);
            diagonal = row[column + 1];
            row[column + 1] = change.min(diagonal + 1).min(row[column] + 1);
        }
    }
    row[to.len()]
}

fn parse_text(kind: Kind, text: &str) -> Option<Value> {
    let within = |number: u64, min, max| (min..=max).contains(&number).then_some(Value::Number(number));
    let text = text.trim();
    match kind {
        Kind::Text | Kind::Secret => Some(Value::Text(text.to_owned())),
        Kind::Path => (!text.is_empty()).then(|| Value::Text(text.to_owned())),
        Kind::Choice(choices) => choices.contains(&text).then(|| Value::Text(text.to_owned())),
        Kind::Address => {
            let (host, port) = text.rsplit_once(':')?;
            (!host.is_empty() && port.parse::<u16>().is_ok()).then(|| Value::Text(text.to_owned()))
        }
        Kind::Version => {
            let numbers: Vec<_> = text.split('.').map(str::parse::<u32>).collect();
            (numbers.len() == 3 && numbers.iter().all(Result::is_ok)).then(|| Value::Text(text.to_owned()))
        }
        Kind::List => {
            let texts = text.split(',').map(str::trim).filter(|text| !text.is_empty());
            Some(Value::List(texts.map(str::to_owned).collect()))
        }
        Kind::Count { min, max, .. } => within(text.replace('_', "").parse().ok()?, min, max),
        Kind::Bytes { min, max } => {
            let digits = text.find(|letter: char| !letter.is_ascii_digit()).unwrap_or(text.len());
            let (number, unit) = text.split_at(digits);
            let unit: u64 = match unit.trim() {
                "" | "bytes" | "B" => 1,
                "KiB" => 1 << 10,
                "MiB" => 1 << 20,
                "GiB" => 1 << 30,
                _ => return None,
            };
            within(number.parse::<u64>().ok()?.checked_mul(unit)?, min, max)
        }
    }
}
