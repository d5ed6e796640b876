//! The reference page of the settings, made from the table.

use std::fmt::Write;

use super::setting::SETTINGS;

/// Returns `docs/guide/configuration.md`. A test compares the file with this.
#[must_use]
pub fn reference_page() -> String {
    let mut page = String::from(
        "# Configuration\n\n\
         <!-- Made from the table of settings in crates/server/src/config/setting.rs; a test keeps it current. \
         To renew it: DVSE_UPDATE_DOCS=1 cargo test -p dvse-server configuration -->\n\n\
         A node reads one TOML file (`dvse serve --config FILE`). Environment variables replace values of the file, and \
         flags replace both. An unknown key or a value out of range stops the start with a message that says where the \
         value came from. `dvse config show` prints every value with its origin.\n\n\
         ```toml\n\
         [server]\n\
         http = \"127.0.0.1:6333\"\n\n\
         [storage]\n\
         data = \"/var/lib/dvse\"\n\n\
         [limits]\n\
         body_bytes_max = \"64 MiB\"\n\
         ```\n",
    );
    let mut section = "";
    for setting in SETTINGS {
        let (this, name) = setting.key.split_once('.').unwrap_or(("", setting.key));
        if this != section {
            section = this;
            // Writing to a String cannot fail.
            let _ = write!(page, "\n## [{section}]\n");
        }
        let default =
            if setting.default.is_empty() { "empty".to_owned() } else { format!("`{}`", setting.default) };
        let _ = write!(
            page,
            "\n### `{name}`\n\n{}\n\n- values: {}\n- default: {default}\n- environment: `{}`\n",
            setting.purpose,
            setting.kind.describe(),
            setting.environment_name()
        );
    }
    page
}
