//! Apache Pulsar as the log of a command.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use dvse_ingest::pulsar::{Admin, PulsarLog, PulsarOptions, TopicsPlan, Watch};
use dvse_ingest::{TopicLog, TopicName, TopicSpec};

use super::{LogPlace, Waiting, block_on, log_failure};
use crate::failure::{Failure, Remedy as _, Result};
use crate::output::Output;

/// How long a command waits that only looks.
const BRIEFLY: Duration = Duration::from_secs(5);
/// A client that was killed is gone at once if its machine is there, and at the latest when the broker misses its answers.
const BUSY_WAIT: Duration = Duration::from_secs(15);
/// Has the token, so that it is not seen in the list of processes.
const TOKEN: &str = "DVSE_PULSAR_TOKEN";

impl fmt::Debug for Waiting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Waiting")
    }
}

impl Watch for Waiting {
    fn waiting(&self, what: &str) {
        if let Some(board) = &self.board {
            board.say(&format!("waiting: {what}"));
        }
        if let Some(progress) = &self.progress {
            progress.set_log_trouble(Some(what.to_owned()));
        }
    }

    fn resumed(&self) {
        if let Some(board) = &self.board {
            board.say("going on");
        }
        if let Some(progress) = &self.progress {
            progress.set_log_trouble(None);
        }
    }

    fn is_stopping(&self) -> bool {
        self.stop.as_ref().is_some_and(|stop| stop.is_asked())
            || self.progress.as_ref().is_some_and(|progress| progress.is_stopping())
    }
}

fn token() -> Option<String> {
    std::env::var(TOKEN).ok().filter(|token| !token.is_empty())
}

/// Opens a cluster.
pub fn open(url: &str, admin: Option<Admin>, waiting: Waiting) -> Result<Arc<dyn TopicLog>> {
    let options = PulsarOptions {
        url: url.to_owned(),
        admin,
        token: token(),
        patience: waiting.is_brief().then_some(BRIEFLY),
        busy_wait: BUSY_WAIT,
        watch: Arc::new(waiting),
    };
    Ok(Arc::new(PulsarLog::new(options).map_err(log_failure)?))
}

/// Reads the address of the administration.
pub fn admin(url: &str) -> Result<Admin> {
    Admin::new(url, token()).help(|| "it is where the cluster serves HTTP, port 8080 by default".to_owned())
}

/// Makes the topics of a cluster, or shows what that would change.
pub fn ensure(
    place: &LogPlace,
    admin_url: Option<&str>,
    spec: TopicSpec,
    partitions: Option<u32>,
    dry_run: bool,
    output: &Output,
) -> Result<()> {
    let LogPlace::Pulsar(url) = place else { return Err(Failure::new("this is no cluster of Pulsar")) };
    let Some(admin_url) = admin_url else {
        return Err(Failure::new("making topics needs the address of the cluster's administration")
            .with_help("give it with --admin http://HOST:8080"));
    };
    let admin = admin(admin_url)?;
    let changes = TopicsPlan::ingest(spec, partitions).changes(&admin).map_err(log_failure)?;
    for change in &changes {
        let (subject, what) = change.describe();
        output.line(format!("{subject}  {what}"))?;
        if !dry_run {
            change.carry_out(&admin).map_err(|error| log_failure(error.into()))?;
        }
    }
    if dry_run {
        return output.line(format!("{} changes, none made", changes.len()));
    }
    if changes.is_empty() {
        output.line("nothing to change")?;
    }
    // The two addresses may be of two clusters.
    let log = open(url, None, Waiting::briefly())?;
    let topic = TopicName::raw_events();
    match block_on(async { log.spec(&topic).await.map_err(log_failure) })? {
        Some(_) => Ok(()),
        None => Err(Failure::new(format!("{url} does not know {topic}, which {admin_url} has"))
            .with_help("give both addresses of one cluster")),
    }
}
