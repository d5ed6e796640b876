//! JSON forms of requests about aliases.

use serde::Deserialize;

/// Some changes, in order.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ActionsBody {
    pub actions: Vec<ActionBody>,
}

/// One change: an object with the action's name as its only key.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum ActionBody {
    CreateAlias { collection_name: String, alias_name: String },
    RenameAlias { old_alias_name: String, new_alias_name: String },
    DeleteAlias { alias_name: String },
}
