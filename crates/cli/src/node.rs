//! A node within this process, and the signals that stop it.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread;

use dvse_engine::Database;
use dvse_server::config::RawConfig;
use dvse_server::{Node, StartError, start_logging};

use crate::failure::{Failure, Remedy as _, Result};

/// A running node. The commands are plain synchronous code; the node runs beside them on threads of its own.
pub struct RunningNode {
    node: Node,
    stop: Arc<Stop>,
    url: String,
    data: PathBuf,
    has_key: bool,
}

/// Whether Ctrl-C or SIGTERM has come.
#[derive(Default)]
struct Stop {
    asked: Mutex<bool>,
    changed: Condvar,
}

impl RunningNode {
    /// Checks the settings and starts the node.
    ///
    /// # Errors
    /// A setting is wrong, the folder cannot be opened, or the address is taken.
    pub fn start(raw: &RawConfig) -> Result<RunningNode> {
        let settings_help = || "`dvse config show` lists every setting and where it comes from".to_owned();
        let config = raw.check().help(settings_help)?;
        start_logging(&config).help(settings_help)?;
        let (data, has_key) = (config.data.clone(), config.api_key.is_some());
        // Before the node: a signal that comes while it starts must not end the process half-way.
        let stop = Arc::new(Stop::default());
        watch_signals(Arc::clone(&stop))?;
        let node = Node::start(config).map_err(|error| {
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

    /// Whether requests must carry a key.
    pub fn has_key(&self) -> bool {
        self.has_key
    }

    /// Whether Ctrl-C or SIGTERM has come.
    pub fn stop_asked(&self) -> bool {
        *self.stop.asked.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for Ctrl-C or SIGTERM.
    pub fn wait(&self) {
        let mut asked = self.stop.asked.lock().unwrap_or_else(PoisonError::into_inner);
        while !*asked {
            asked = self.stop.changed.wait(asked).unwrap_or_else(PoisonError::into_inner);
        }
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

/// Notes the first signal. A second one ends the process at once: acknowledged writes are in the log.
fn watch_signals(stop: Arc<Stop>) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let mut signals = {
        // Registered before this function returns, not when the thread gets to run.
        let _inside = runtime.enter();
        Signals::new()?
    };
    thread::Builder::new().name("dvse-signals".to_owned()).spawn(move || {
        runtime.block_on(async {
            signals.next().await;
            *stop.asked.lock().unwrap_or_else(PoisonError::into_inner) = true;
            stop.changed.notify_all();
            signals.next().await;
        });
        Failure::new("stopped at once; acknowledged writes are in the log").report();
        std::process::exit(130);
    })?;
    Ok(())
}

#[cfg(unix)]
struct Signals {
    interrupt: tokio::signal::unix::Signal,
    terminate: tokio::signal::unix::Signal,
}

#[cfg(unix)]
impl Signals {
    fn new() -> std::io::Result<Signals> {
        use tokio::signal::unix::{SignalKind, signal};
        Ok(Signals {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
        })
    }

    async fn next(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
    }
}

#[cfg(not(unix))]
struct Signals;

#[cfg(not(unix))]
impl Signals {
    fn new() -> std::io::Result<Signals> {
        Ok(Signals)
    }

    async fn next(&mut self) {
        drop(tokio::signal::ctrl_c().await);
    }
}
