//! Configuration: what was written, where each value came from, and the checked form the node runs on.
//!
//! One TOML file, `DVSE__SECTION__KEY` in the environment over it, flags over that. [`RawConfig`] keeps each value
//! with its [`Origin`]; [`RawConfig::check`] makes the [`Config`]. Every setting stands once, in [`SETTINGS`].

mod checked;
mod raw;
mod reference;
mod setting;

pub use checked::{Config, Limits, LogFormat};
pub use raw::{ConfigError, Origin, RawConfig, ShownSetting};
pub use reference::reference_page;
pub use setting::{Kind, SETTINGS, Setting};
