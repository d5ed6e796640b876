//! Where the demo keeps its data, and other settings that suit a first look.

use std::env;
use std::path::PathBuf;

use dvse_server::config::{Origin, RawConfig};

use crate::failure::Result;

/// Replaces defaults that suit a server by ones that suit the demo. What the user set stays.
///
/// # Errors
/// Never, unless the settings' names have changed.
pub fn adapt(raw: &mut RawConfig) -> Result<()> {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let better = [
        ("storage.data", default_folder().to_string_lossy().into_owned()),
        // Nothing else runs yet, so the index may have the whole machine.
        ("storage.background_threads", cores.to_string()),
        // Who starts a demo waits for it: it does not stand back before whatever else the machine does.
        ("storage.background_nice", "0".to_owned()),
        ("server.write_nice", "0".to_owned()),
        // All meanings fit into one segment, so the index is built once and nothing is merged.
        ("storage.growing_rows_max", "131072".to_owned()),
        ("log.filter", "warn".to_owned()),
    ];
    for (key, value) in better {
        let untouched =
            raw.shown().iter().any(|shown| shown.setting.key == key && shown.origin == Origin::Default);
        if untouched {
            raw.set(key, &value)?;
        }
    }
    Ok(())
}

/// A folder of the user's own that outlives the day, so that the second run finds the finished index. It can be
/// deleted without loss: the demo makes it again.
fn default_folder() -> PathBuf {
    let set = |name: &str| env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let cache = if cfg!(target_os = "macos") {
        set("HOME").map(|home| home.join("Library/Caches"))
    } else if cfg!(windows) {
        set("LOCALAPPDATA")
    } else {
        set("XDG_CACHE_HOME")
            .filter(|path| path.is_absolute())
            .or_else(|| set("HOME").map(|home| home.join(".cache")))
    };
    cache.unwrap_or_else(env::temp_dir).join("dvse").join("demo")
}
