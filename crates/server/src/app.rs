//! What every handler works with.

use std::fmt;
use std::sync::Arc;

use dvse_engine::{Database, EmbeddedCollection};
use tokio::runtime::Handle;

use crate::body_buffers::BodyBuffers;
use crate::config::Config;
use crate::embedding::Embedding;
use crate::error::RestError;
use crate::ingest::Pipelines;
use crate::rest::FilterLimits;
use crate::telemetry::Telemetry;

/// The parts of a running node that requests need.
pub struct App {
    /// The collections.
    pub database: Arc<Database>,
    /// The configuration.
    pub config: Config,
    /// The models.
    pub embedding: Embedding,
    /// The pipelines that this node runs.
    pub pipelines: Pipelines,
    /// The counters.
    pub telemetry: Telemetry,
    /// Memory for bodies.
    pub body_buffers: BodyBuffers,
    /// Threads for writes, apart from those for reads because they yield to them.
    pub write_threads: Handle,
}

impl fmt::Debug for App {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("App").field("config", &self.config).finish_non_exhaustive()
    }
}

impl App {
    /// The collection of a name or alias.
    ///
    /// # Errors
    /// There is none.
    pub fn collection(&self, name: &str) -> Result<Arc<EmbeddedCollection>, RestError> {
        self.database.get(name).map_err(|error| RestError::engine(&error))
    }

    /// What filters may be.
    #[must_use]
    pub fn filter_limits(&self) -> FilterLimits {
        FilterLimits {
            depth_max: self.config.limits.filter_depth_max,
            conditions_max: self.config.limits.filter_conditions_max,
        }
    }

    /// Checks how many requests stand in a batch.
    ///
    /// # Errors
    /// There are too many.
    pub fn check_batch_requests(&self, got: usize) -> Result<(), RestError> {
        let max = self.config.limits.batch_requests_max;
        if got <= max {
            return Ok(());
        }
        let setting = Some("limits.batch_requests_max");
        Err(RestError::AboveLimit { what: "requests in one batch", got, max, setting })
    }
}
