//! Reading points: by id, page by page, counted, by facet.

pub mod body;
mod read_upsert;

use dvse_types::{FacetCount, Filter, MatchValue, PayloadPath, PointId};
use serde_json::{Value, json};

pub use self::read_upsert::read_upsert;

use self::body::{CountRequestBody, FacetRequestBody, IdsBody, ScrollBody};
use crate::app::App;
use crate::error::RestError;
use crate::rest::call::Call;
use crate::rest::fields::IdBody;
use crate::rest::filter::{FilterBody, read_filter};
use crate::rest::projection::{PointList, ShownPoint, read_projection};
use crate::rest::reply::Reply;
use crate::rest::write::columns_to_points;

/// GET `…/points/{id}`.
pub fn get(app: &App, call: &Call) -> Result<Reply, RestError> {
    let id: PointId = call.parameter("id")?.parse()?;
    let view = app.collection(call.collection()?)?.view();
    let projection = read_projection(None, Some(body::WithVectorBody::Flag(true)), true)?;
    let records = view.retrieve(&[id], &projection).map_err(|error| RestError::engine(&error))?;
    let record = records.first().ok_or(RestError::NoPoint(id))?;
    let mut list = PointList::new(app.config.limits.reply_bytes_max);
    list.write_record(record, None)?;
    Ok(Reply::Result(list.json))
}

/// POST `…/points`.
pub fn retrieve(app: &App, call: &Call) -> Result<Reply, RestError> {
    let body: IdsBody = call.body()?;
    body.shard_key.refuse("shard_key")?;
    let view = app.collection(call.collection()?)?.view();
    let projection = read_projection(body.with_payload, body.with_vector, true)?;
    let points: Vec<ShownPoint> = body.ids.iter().map(|id| ShownPoint { id: id.0, score: None }).collect();
    let mut list = PointList::new(app.config.limits.reply_bytes_max);
    list.write(&view, &points, &projection)?;
    Ok(Reply::Result(list.json))
}

/// POST `…/points/scroll`.
pub fn scroll(app: &App, call: &Call) -> Result<Reply, RestError> {
    let body: ScrollBody = call.body()?;
    body.shard_key.refuse("shard_key")?;
    body.order_by.refuse("order_by")?;
    let limit = positive("limit", body.limit.unwrap_or(10))?;
    let filter = optional_filter(app, body.filter)?;
    let projection = read_projection(body.with_payload, body.with_vector, true)?;
    let view = app.collection(call.collection()?)?.view();
    let page = view
        .scroll(body.offset.map(|id| id.0), limit, filter.as_ref())
        .map_err(|error| RestError::engine(&error))?;
    let points: Vec<ShownPoint> = page.ids.iter().map(|&id| ShownPoint { id, score: None }).collect();
    let mut list = PointList::new(app.config.limits.reply_bytes_max);
    list.json.extend_from_slice(br#"{"points":"#);
    list.write(&view, &points, &projection)?;
    list.json.extend_from_slice(br#","next_page_offset":"#);
    serde_json::to_writer(&mut list.json, &page.next.map(IdBody))?;
    list.json.push(b'}');
    Ok(Reply::Result(list.json))
}

/// POST `…/points/count`. Counts are exact whatever is asked for.
pub fn count(app: &App, call: &Call) -> Result<Reply, RestError> {
    let body: CountRequestBody = call.body()?;
    body.shard_key.refuse("shard_key")?;
    let filter = optional_filter(app, body.filter)?;
    let view = app.collection(call.collection()?)?.view();
    let count = view.count(filter.as_ref()).map_err(|error| RestError::engine(&error))?;
    Reply::result(&json!({ "count": count }))
}

/// POST `…/facet`. Counts are exact whatever is asked for.
pub fn facet(app: &App, call: &Call) -> Result<Reply, RestError> {
    let body: FacetRequestBody = call.body()?;
    body.shard_key.refuse("shard_key")?;
    let key: PayloadPath = body.key.parse()?;
    let limit = positive("limit", body.limit.unwrap_or(10))?;
    let filter = optional_filter(app, body.filter)?;
    let view = app.collection(call.collection()?)?.view();
    let counts = view.facet(&key, filter.as_ref(), limit).map_err(|error| RestError::engine(&error))?;
    let hits: Vec<Value> = counts.iter().map(show_facet).collect();
    Reply::result(&json!({ "hits": hits }))
}

fn show_facet(facet: &FacetCount) -> Value {
    let value = match &facet.value {
        MatchValue::Keyword(text) => Value::from(text.as_str()),
        MatchValue::Integer(number) => Value::from(*number),
        MatchValue::Bool(truth) => Value::from(*truth),
    };
    json!({ "value": value, "count": facet.count })
}

/// Reads a filter that may be absent.
///
/// # Errors
/// See [`read_filter`].
pub fn optional_filter(app: &App, body: Option<FilterBody>) -> Result<Option<Filter>, RestError> {
    let filter = body.map(|filter| read_filter(filter, app.filter_limits())).transpose()?;
    Ok(filter.filter(|filter| !filter.is_empty()))
}

/// Checks a number that must be at least 1. Numbers too large for this machine are as good as the largest.
///
/// # Errors
/// It is 0.
pub fn positive(field: &'static str, number: u64) -> Result<usize, RestError> {
    if number == 0 {
        let rule = "1 or larger".to_owned();
        return Err(RestError::OutOfRange { field, got: "0".to_owned(), rule });
    }
    Ok(usize::try_from(number).unwrap_or(usize::MAX))
}

/// Reads the body of an upsert and returns how many points it holds and how many bytes their vectors take. Nothing is
/// checked against a collection; this is for measuring and fuzzing the parser alone.
///
/// # Errors
/// The text is not the body of an upsert.
pub fn measure_upsert(json: &[u8]) -> Result<(usize, usize), RestError> {
    let body = read_upsert(json)?;
    let points = match (body.points, body.batch) {
        (Some(points), _) => points,
        (None, Some(batch)) => columns_to_points(batch)?,
        (None, None) => Vec::new(),
    };
    let bytes = points.iter().map(|point| point.vector.numbers() * size_of::<f32>()).sum();
    Ok((points.len(), bytes))
}
