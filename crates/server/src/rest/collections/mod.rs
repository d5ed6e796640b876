//! Collections: made, changed, shown, dropped; and their payload indexes.

mod body;
mod index;
mod quantization;
mod read;
mod show;

use dvse_engine::{Durability, EmbeddedCollection};
use dvse_types::{PayloadPath, WriteBatch, WriteOp};
use serde_json::{Value, json};

use self::body::{CreateBody, FieldIndexBody, UpdateBody};
use self::index::IndexDiff;
use self::read::{read_field_kind, read_schema, refuse_cluster, refuse_strict_mode};
use crate::app::App;
use crate::error::RestError;
use crate::rest::call::Call;
use crate::rest::reply::Reply;

/// GET `/collections`.
pub fn list(app: &App, _: &Call) -> Result<Reply, RestError> {
    let collections: Vec<Value> = app.database.names().iter().map(|name| json!({ "name": name })).collect();
    Reply::result(&json!({ "collections": collections }))
}

/// PUT `/collections/{collection}`.
pub fn create(app: &App, call: &Call) -> Result<Reply, RestError> {
    let name = call.collection()?;
    check_name("collection name", name)?;
    let body: CreateBody = call.body()?;
    let schema = read_schema(body)?;
    let (got, max) = (app.database.names().len() + 1, app.config.limits.collections_max);
    // A name that is taken is the more useful thing to hear.
    if got > max && app.database.get(name).is_err() {
        let setting = Some("limits.collections_max");
        return Err(RestError::AboveLimit { what: "collections", got, max, setting });
    }
    app.database.create(name, schema).map_err(|error| RestError::engine(&error))?;
    tracing::info!(collection = name, "collection created");
    Reply::result(&true)
}

/// GET `/collections/{collection}`.
pub fn get(app: &App, call: &Call) -> Result<Reply, RestError> {
    let collection = app.collection(call.collection()?)?;
    Reply::result(&show::show(&collection.schema(), &collection.status(), app.config.background_threads))
}

/// GET `/collections/{collection}/exists`.
pub fn exists(app: &App, call: &Call) -> Result<Reply, RestError> {
    let exists = app.database.get(call.collection()?).is_ok();
    Reply::result(&json!({ "exists": exists }))
}

/// DELETE `/collections/{collection}`. Answers whether it was there.
pub fn delete(app: &App, call: &Call) -> Result<Reply, RestError> {
    let name = call.collection()?;
    let dropped = app.database.drop_collection(name).map_err(|error| RestError::engine(&error))?;
    if dropped {
        tracing::info!(collection = name, "collection dropped");
    }
    Reply::result(&dropped)
}

/// PATCH `/collections/{collection}`. Changes what it names and nothing else. Another index is built in the background, segment
/// by segment, while searches go on with the indexes there are.
pub fn update(app: &App, call: &Call) -> Result<Reply, RestError> {
    let body: UpdateBody = call.body()?;
    let collection = app.collection(call.collection()?)?;
    if let Some(params) = &body.params {
        refuse_cluster(None, params.replication_factor, params.write_consistency_factor)?;
    }
    body.sparse_vectors.refuse("sparse_vectors")?;
    body.metadata.refuse("metadata")?;
    refuse_strict_mode(body.strict_mode_config.as_ref())?;
    let mut diffs = body.vectors.unwrap_or_default();
    let schema = collection.schema();
    if let Some(unknown) = diffs.keys().find(|name| !schema.vectors.contains_key(*name)) {
        return Err(RestError::misfit("vectors", format!("the collection has no vector {unknown:?}")));
    }
    let common = IndexDiff {
        index: body.index.as_deref(),
        rerank: body.rerank.as_deref(),
        hnsw: body.hnsw_config.as_ref(),
        ivf_pq: body.ivf_pq_config.as_ref(),
        quantization: body.quantization_config.as_ref(),
    };
    let mut changed = (*schema).clone();
    let mut ops = Vec::new();
    for (name, params) in &mut changed.vectors {
        let before = params.index;
        params.index = common.change(before, params.dim, true)?;
        if let Some(own) = diffs.remove(name) {
            if let Some(on_disk) = own.on_disk.filter(|on_disk| *on_disk != params.on_disk) {
                params.on_disk = on_disk;
                ops.push(WriteOp::SetOnDisk { vector: name.clone(), on_disk });
            }
            let own = IndexDiff {
                index: own.index.as_deref(),
                rerank: own.rerank.as_deref(),
                hnsw: own.hnsw_config.as_ref(),
                ivf_pq: own.ivf_pq_config.as_ref(),
                quantization: own.quantization_config.as_ref(),
            };
            params.index = own.change(params.index, params.dim, false)?;
        }
        if params.index != before {
            ops.push(WriteOp::SetIndex { vector: name.clone(), index: params.index });
        }
    }
    changed.validate()?;
    write(&collection, ops, Durability::Synced)?;
    Reply::result(&true)
}

/// PUT `/collections/{collection}/index`.
pub fn create_index(app: &App, call: &Call) -> Result<Reply, RestError> {
    let body: FieldIndexBody = call.body()?;
    let field: PayloadPath = body.field_name.parse()?;
    let kind = read_field_kind(body.field_schema)?;
    index_reply(app, call, WriteOp::CreateFieldIndex { field, kind })
}

/// DELETE `/collections/{collection}/index/{field}`.
pub fn delete_index(app: &App, call: &Call) -> Result<Reply, RestError> {
    let field: PayloadPath = call.parameter("field")?.parse()?;
    index_reply(app, call, WriteOp::DeleteFieldIndex(field))
}

fn index_reply(app: &App, call: &Call, op: WriteOp) -> Result<Reply, RestError> {
    let collection = app.collection(call.collection()?)?;
    let seq = write(&collection, vec![op], call.durability())?;
    let status = if call.query.wait { "completed" } else { "acknowledged" };
    Reply::result(&json!({ "operation_id": seq, "status": status }))
}

fn write(
    collection: &EmbeddedCollection,
    ops: Vec<WriteOp>,
    durability: Durability,
) -> Result<u64, RestError> {
    if ops.is_empty() {
        return Ok(collection.status().applied.0);
    }
    let receipt =
        collection.write(WriteBatch::new(ops), durability).map_err(|error| RestError::engine(&error))?;
    Ok(receipt.seq.0)
}

/// Checks a name of a collection or alias: 1 to 255 bytes that can stand in a URL and on every file system.
///
/// # Errors
/// It is not such a name.
pub fn check_name(field: &'static str, name: &str) -> Result<(), RestError> {
    if name.is_empty() || name.len() > 255 {
        let got = format!("{} bytes", name.len());
        return Err(RestError::OutOfRange { field, got, rule: "1 to 255 bytes long".to_owned() });
    }
    let forbidden = |letter: char| letter.is_control() || r#"<>:"/\|?*"#.contains(letter);
    if let Some(letter) = name.chars().find(|&letter| forbidden(letter)) {
        return Err(RestError::misfit(field, format!("{name:?} holds {letter:?}, which a name cannot")));
    }
    if name == "." || name == ".." {
        return Err(RestError::misfit(field, format!("{name:?} is the name of a folder")));
    }
    Ok(())
}
