//! A node within this process.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use dvse_embed::Embedder;
use dvse_engine::Database;
use dvse_server::config::RawConfig;
use dvse_server::ingest::PipelineSpec;
use dvse_server::{Node, StartError, start_logging};

use crate::failure::{Failure, Remedy as _, Result};
use crate::stop::Stop;

/// A running node. The commands are plain synchronous code; the node runs beside them on threads of its own.
pub struct RunningNode {
    node: Node,
    stop: Arc<Stop>,
    url: String,
    data: PathBuf,
    has_key: bool,
}

impl RunningNode {
    /// Checks the settings and starts the node, with models for texts beside the bundled one.
    ///
    /// # Errors
    /// A setting is wrong, the folder cannot be opened, or the address is taken.
    pub fn start(raw: &RawConfig, models: Vec<Arc<dyn Embedder>>) -> Result<RunningNode> {
        let settings_help = || "`dvse config show` lists every setting and where it comes from".to_owned();
        let config = raw.check().help(settings_help)?;
        start_logging(&config).help(settings_help)?;
        let (data, has_key) = (config.data.clone(), config.api_key.is_some());
        // Before the node: a signal that comes while it starts must not end the process half-way.
        let stop = Stop::watch()?;
        let node = Node::start_with(config, models).map_err(|error| {
            let help = advice(&error);
            let failure = Failure::from(error);
            match help {
                Some(help) => failure.with_help(help),
                None => failure,
            }
        })?;
        let url = format!("http://{}", node.address());
        Ok(RunningNode { node, stop, url, data, has_key })
    }

    /// The address to ask at.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// The folder that holds the collections.
    pub fn data(&self) -> &Path {
        &self.data
    }

    /// The collections.
    pub fn database(&self) -> &Database {
        self.node.database()
    }

    /// Begins a pipeline into one of the collections.
    ///
    /// # Errors
    /// There is one into that collection already.
    pub fn ingest(&self, spec: PipelineSpec) -> Result<()> {
        self.node.ingest(spec).help(|| "name another collection for each --ingest".to_owned())
    }

    /// Whether requests must carry a key.
    pub fn has_key(&self) -> bool {
        self.has_key
    }

    /// Whether Ctrl-C or SIGTERM has come.
    pub fn stop_asked(&self) -> bool {
        self.stop.is_asked()
    }

    /// Waits for Ctrl-C or SIGTERM.
    pub fn wait(&self) {
        self.stop.wait();
    }

    /// Answers the requests under way, then closes the folder.
    ///
    /// # Errors
    /// Something could not be brought to disk.
    pub fn stop(self) -> Result<()> {
        self.node
            .stop()
            .help(|| "acknowledged writes are in the log and are read again at the next start".to_owned())
    }
}

fn advice(error: &StartError) -> Option<String> {
    match error {
        StartError::Listen { source, .. } if source.kind() == std::io::ErrorKind::AddrInUse => {
            Some("a server is there already; stop it, or choose another address: --http 127.0.0.1:0 takes any free port".to_owned())
        }
        StartError::Listen { .. } => Some("choose another address with --http HOST:PORT".to_owned()),
        StartError::OpenData { source, .. } => {
            use dvse_types::Classify as _;
            source.help().or_else(|| Some("choose another folder with --data DIR".to_owned()))
        }
        _ => None,
    }
}
