//! The DVSE node: REST in the dialect existing clients speak, configuration, telemetry, composition root.
