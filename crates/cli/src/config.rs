//! `dvse config`: the settings of the server and where each comes from.

use std::path::PathBuf;

use clap::Subcommand;
use dvse_server::config::RawConfig;
use serde_json::json;

use crate::failure::{Failure, Remedy as _, Result};
use crate::output::{Format, Output, Table};

/// What to show.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  dvse config show --config dvse.toml")]
pub struct ConfigArguments {
    /// What to do.
    #[command(subcommand)]
    pub command: ConfigCommand,
}

/// What can be done with settings.
#[derive(Debug, Subcommand)]
pub enum ConfigCommand {
    /// Show every setting, its value and where it comes from.
    #[command(after_help = "Example:\n  DVSE__SERVER__HTTP=0.0.0.0:6333 dvse config show --config dvse.toml")]
    Show {
        /// The settings.
        #[command(flatten)]
        settings: NodeSettings,
        /// How to print them.
        #[arg(long, value_enum, default_value_t = Format::Table)]
        format: Format,
    },
}

/// The settings of a node on the command line. Each setting is also a key of the file and a variable.
#[derive(Debug, Clone, clap::Args)]
pub struct NodeSettings {
    /// The folder that holds the collections [env: DVSE__STORAGE__DATA].
    #[arg(long, value_name = "DIR")]
    pub data: Option<PathBuf>,
    /// Where to listen; port 0 takes any free one [env: DVSE__SERVER__HTTP].
    #[arg(long, value_name = "HOST:PORT")]
    pub http: Option<String>,
    /// A TOML file of settings; later files win [env: DVSE_CONFIG].
    #[arg(long, value_name = "FILE")]
    pub config: Vec<PathBuf>,
    /// Any setting, such as storage.background_threads=2; `dvse config show` lists them.
    #[arg(long, value_name = "SECTION.KEY=VALUE")]
    pub setting: Vec<String>,
}

impl NodeSettings {
    /// The settings written: defaults, then files, then the environment, then flags.
    ///
    /// # Errors
    /// A file cannot be read, or a setting is unknown or out of its range.
    pub fn raw(&self) -> Result<RawConfig> {
        let mut raw = RawConfig::default();
        for path in &self.config {
            raw.merge_file(path).help(|| "dvse config show lists the settings there are".to_owned())?;
        }
        let variables = std::env::vars_os();
        let readable =
            variables.filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)));
        raw.merge_environment(readable)
            .help(|| "dvse config show --help says how variables are named".to_owned())?;
        for pair in &self.setting {
            let (key, value) = pair.split_once('=').ok_or_else(|| {
                Failure::new(format!("--setting {pair:?} is not SECTION.KEY=VALUE"))
                    .with_help("an example is --setting storage.background_threads=2")
            })?;
            raw.set(key.trim(), value).help(|| "dvse config show lists the settings there are".to_owned())?;
        }
        if let Some(data) = &self.data {
            raw.set("storage.data", &data.to_string_lossy())?;
        }
        if let Some(http) = &self.http {
            raw.set("server.http", http).help(|| "an example is --http 127.0.0.1:6333".to_owned())?;
        }
        Ok(raw)
    }
}

/// Shows the settings.
///
/// # Errors
/// The settings cannot be read, or the output cannot be written.
pub fn run(arguments: &ConfigArguments, output: &Output) -> Result<()> {
    let ConfigCommand::Show { settings, format } = &arguments.command;
    let raw = settings.raw()?;
    let mut table = Table::new(["setting", "value", "from"]);
    for shown in raw.shown() {
        let (key, value, origin) = (shown.setting.key, shown.value, shown.origin.to_string());
        match format {
            Format::Jsonl => output.json(&json!({
                "setting": key, "value": value, "from": origin,
                "variable": shown.setting.environment_name(), "purpose": shown.setting.purpose,
            }))?,
            Format::Table => table.row([key.to_owned(), value, origin]),
        }
    }
    if *format == Format::Table {
        table.print(output)?;
    }
    // After the list, so that what is wrong can be seen in it.
    raw.check()?;
    Ok(())
}
