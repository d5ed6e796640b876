//! The search operations of older clients, still in use by some.

use dvse_types::SearchRequest;

use super::body::{SearchBody, SearchesBody};
use super::{metric_of, read_params, search_into};
use crate::app::App;
use crate::error::RestError;
use crate::rest::call::Call;
use crate::rest::points::{optional_filter, positive};
use crate::rest::projection::{PointList, read_projection};
use crate::rest::reply::Reply;
use dvse_engine::CollectionView;

/// POST `…/points/search`.
pub fn search(app: &App, call: &Call) -> Result<Reply, RestError> {
    let body: SearchBody = call.body()?;
    let view = app.collection(call.collection()?)?.view();
    let mut list = PointList::new(app.config.limits.reply_bytes_max);
    answer(app, &view, body, &mut list)?;
    Ok(Reply::Result(list.json))
}

/// POST `…/points/search/batch`.
pub fn search_batch(app: &App, call: &Call) -> Result<Reply, RestError> {
    let body: SearchesBody = call.body()?;
    app.check_batch_requests(body.searches.len())?;
    let view = app.collection(call.collection()?)?.view();
    let mut list = PointList::new(app.config.limits.reply_bytes_max);
    list.json.push(b'[');
    for (position, body) in body.searches.into_iter().enumerate() {
        if position > 0 {
            list.json.push(b',');
        }
        answer(app, &view, body, &mut list)?;
    }
    list.json.push(b']');
    Ok(Reply::Result(list.json))
}

fn answer(app: &App, view: &CollectionView, body: SearchBody, list: &mut PointList) -> Result<(), RestError> {
    body.shard_key.refuse("shard_key")?;
    let limit = positive("limit", body.limit)?;
    let offset = usize::try_from(body.offset.unwrap_or(0)).unwrap_or(usize::MAX);
    let (field, vector) = body.vector.into_parts();
    let metric = metric_of(view, &field)?;
    view.schema().check_vector(&field, &vector)?;
    let mut request = SearchRequest {
        vector_name: field,
        query: vector,
        limit: limit.saturating_add(offset),
        filter: optional_filter(app, body.filter)?,
        exclude: Vec::new(),
        distance_max: None,
        params: read_params(app, body.params, limit.saturating_add(offset))?,
    };
    let projection = read_projection(body.with_payload, body.with_vector, false)?;
    search_into(view, &mut request, metric, offset, body.score_threshold, &projection, list)
}
