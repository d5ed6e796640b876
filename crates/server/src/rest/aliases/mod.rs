//! Aliases: further names of collections, changed together or not at all.

mod body;

use dvse_engine::AliasOp;
use serde_json::{Value, json};

use self::body::{ActionBody, ActionsBody};
use crate::app::App;
use crate::error::RestError;
use crate::rest::call::Call;
use crate::rest::collections::check_name;
use crate::rest::reply::Reply;

/// POST `/collections/aliases`.
pub fn update(app: &App, call: &Call) -> Result<Reply, RestError> {
    let body: ActionsBody = call.body()?;
    app.check_batch_requests(body.actions.len())?;
    let mut ops = Vec::with_capacity(body.actions.len());
    for action in body.actions {
        ops.push(match action {
            ActionBody::CreateAlias { collection_name, alias_name } => {
                check_name("alias_name", &alias_name)?;
                AliasOp::Create { alias: alias_name, collection: collection_name }
            }
            ActionBody::RenameAlias { old_alias_name, new_alias_name } => {
                check_name("new_alias_name", &new_alias_name)?;
                AliasOp::Rename { from: old_alias_name, to: new_alias_name }
            }
            ActionBody::DeleteAlias { alias_name } => AliasOp::Delete { alias: alias_name },
        });
    }
    app.database.update_aliases(&ops).map_err(|error| RestError::engine(&error))?;
    Reply::result(&true)
}

/// GET `/aliases`.
pub fn list(app: &App, _: &Call) -> Result<Reply, RestError> {
    show(app, |_| true)
}

/// GET `/collections/{collection}/aliases`.
pub fn list_of_collection(app: &App, call: &Call) -> Result<Reply, RestError> {
    let name = app.collection(call.collection()?)?.name().to_owned();
    show(app, |collection| collection == name)
}

fn show(app: &App, wanted: impl Fn(&str) -> bool) -> Result<Reply, RestError> {
    let aliases: Vec<Value> = app
        .database
        .aliases()
        .into_iter()
        .filter(|(_, collection)| wanted(collection))
        .map(|(alias, collection)| json!({ "alias_name": alias, "collection_name": collection }))
        .collect();
    Reply::result(&json!({ "aliases": aliases }))
}
