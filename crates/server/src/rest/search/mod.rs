//! Searching: every form of query becomes one [`SearchRequest`], and its hits one list of points.

mod body;
mod legacy;

use dvse_engine::CollectionView;
use dvse_types::{Metric, PointId, Projection, Rescore, SearchParams, SearchRequest};

use self::body::{NearestInput, ParamsBody, QuantizationParamsBody, QueriesBody, QueryBody, QueryKind};
pub use self::legacy::{search, search_batch};
use crate::app::App;
use crate::error::RestError;
use crate::rest::call::Call;
use crate::rest::points::{optional_filter, positive};
use crate::rest::projection::{PointList, ShownPoint, read_projection};
use crate::rest::reply::Reply;
use crate::rest::vectors::{Documents, VectorBody};

/// POST `…/points/query`.
pub fn query(app: &App, call: &Call) -> Result<Reply, RestError> {
    let mut body: QueryBody = call.body()?;
    let view = app.collection(call.collection()?)?.view();
    embed_texts(app, call, &view, std::iter::once(&mut body))?;
    let mut list = PointList::new(app.config.limits.reply_bytes_max);
    list.json.extend_from_slice(br#"{"points":"#);
    answer(app, &view, body, &mut list)?;
    list.json.push(b'}');
    Ok(Reply::Result(list.json))
}

/// POST `…/points/query/batch`. All queries see the same state of the collection.
pub fn query_batch(app: &App, call: &Call) -> Result<Reply, RestError> {
    let mut body: QueriesBody = call.body()?;
    app.check_batch_requests(body.searches.len())?;
    let view = app.collection(call.collection()?)?.view();
    embed_texts(app, call, &view, body.searches.iter_mut())?;
    let mut list = PointList::new(app.config.limits.reply_bytes_max);
    list.json.push(b'[');
    for (position, body) in body.searches.into_iter().enumerate() {
        list.json.extend_from_slice(if position == 0 {
            br#"{"points":"#.as_slice()
        } else {
            br#",{"points":"#
        });
        answer(app, &view, body, &mut list)?;
        list.json.push(b'}');
    }
    list.json.push(b']');
    Ok(Reply::Result(list.json))
}

/// Answers one query by appending its list of points.
fn answer(app: &App, view: &CollectionView, body: QueryBody, list: &mut PointList) -> Result<(), RestError> {
    body.shard_key.refuse("shard_key")?;
    body.prefetch.refuse("prefetch")?;
    let limit = positive("limit", body.limit.unwrap_or(10))?;
    let offset = usize::try_from(body.offset.unwrap_or(0)).unwrap_or(usize::MAX);
    let params = read_params(app, body.params, limit.saturating_add(offset))?;
    let filter = optional_filter(app, body.filter)?;
    let projection = read_projection(body.with_payload, body.with_vector, false)?;
    let field = body.using.unwrap_or_default();
    let input = match body.query {
        None => {
            return answer_without_query(view, filter.as_ref(), limit, offset, &projection, list);
        }
        Some(QueryKind::Unavailable(kind)) => {
            return Err(RestError::unsupported(format!("query of kind `{kind}`")));
        }
        Some(QueryKind::Nearest(input)) => input,
    };
    // Looking the parameters up first gives an unknown name the same error whatever the query is.
    let metric = metric_of(view, &field)?;
    let (query, exclude) = match (input, body.lookup_from) {
        (NearestInput::Id(id), Some(lookup)) => {
            lookup.shard_key.refuse("lookup_from.shard_key")?;
            let other = app.collection(&lookup.collection)?.view();
            (stored_vector(&other, id, &lookup.vector.unwrap_or_else(|| field.clone()))?, Vec::new())
        }
        (NearestInput::Id(id), None) => (stored_vector(view, id, &field)?, vec![id]),
        (NearestInput::Vector(VectorBody::Dense(vector)), _) => (vector, Vec::new()),
        // All texts have become vectors before this.
        (NearestInput::Vector(VectorBody::Document(_)), _) => return Err(RestError::Panicked),
    };
    view.schema().check_vector(&field, &query)?;
    let mut request = SearchRequest {
        vector_name: field,
        query,
        limit: limit.saturating_add(offset),
        filter,
        exclude,
        distance_max: None,
        params,
    };
    search_into(view, &mut request, metric, offset, body.score_threshold, &projection, list)
}

/// Searches and appends the hits from `offset` on.
fn search_into(
    view: &CollectionView,
    request: &mut SearchRequest,
    metric: Metric,
    offset: usize,
    score_threshold: Option<f32>,
    projection: &Projection,
    list: &mut PointList,
) -> Result<(), RestError> {
    request.distance_max = score_threshold.map(|threshold| distance_bound(metric, threshold));
    let result = view.search(request).map_err(|error| RestError::engine(&error))?;
    let points: Vec<ShownPoint> = result
        .hits
        .iter()
        .map(|hit| ShownPoint::hit(hit, metric))
        .filter(|point| within_threshold(metric, point.score, score_threshold))
        .skip(offset)
        .collect();
    list.write(view, &points, projection)
}

/// A query without a query is a page of points by id.
fn answer_without_query(
    view: &CollectionView,
    filter: Option<&dvse_types::Filter>,
    limit: usize,
    offset: usize,
    projection: &Projection,
    list: &mut PointList,
) -> Result<(), RestError> {
    let page =
        view.scroll(None, limit.saturating_add(offset), filter).map_err(|error| RestError::engine(&error))?;
    let points: Vec<ShownPoint> =
        page.ids.iter().skip(offset).map(|&id| ShownPoint { id, score: Some(1.0) }).collect();
    list.write(view, &points, projection)
}

fn metric_of(view: &CollectionView, field: &str) -> Result<Metric, RestError> {
    let schema = view.schema();
    schema.vectors.get(field).map(|params| params.metric).ok_or_else(|| {
        let known = schema.vectors.keys().cloned().collect();
        dvse_types::InvalidVector::UnknownName { name: field.to_owned(), known }.into()
    })
}

fn stored_vector(view: &CollectionView, id: PointId, field: &str) -> Result<Vec<f32>, RestError> {
    metric_of(view, field)?;
    match view.vector(id, field).map_err(|error| RestError::engine(&error))? {
        Some(vector) => Ok(vector),
        None if view.contains(id) => {
            Err(RestError::misfit("query", format!("point {id} has no vector {field:?}")))
        }
        None => Err(RestError::NoPoint(id)),
    }
}

/// Turns the texts among the queries of a request into their vectors, all together.
fn embed_texts<'a>(
    app: &App,
    call: &Call,
    view: &CollectionView,
    bodies: impl Iterator<Item = &'a mut QueryBody>,
) -> Result<(), RestError> {
    let mut documents = Documents::default();
    let mut pending = Vec::new();
    for body in bodies {
        let field = body.using.as_deref().unwrap_or_default();
        if let Some(QueryKind::Nearest(NearestInput::Vector(vector @ VectorBody::Document(_)))) =
            &mut body.query
        {
            metric_of(view, field)?;
            let taken = std::mem::replace(vector, VectorBody::Dense(Vec::new()));
            pending.push((documents.take(taken, field, view.schema(), &app.embedding)?, vector));
        }
    }
    let mut embedded = documents.embed(&call.made)?;
    for (place, vector) in pending {
        *vector = VectorBody::Dense(embedded.finish(place).to_vec());
    }
    Ok(())
}

/// `wanted` is how many points are to be found.
fn read_params(app: &App, body: Option<ParamsBody>, wanted: usize) -> Result<SearchParams, RestError> {
    let Some(body) = body else { return Ok(SearchParams::default()) };
    body.acorn.refuse("params.acorn")?;
    body.idf.refuse("params.idf")?;
    let ef_search = match body.hnsw_ef {
        None => None,
        Some(ef) => {
            let ef = positive("params.hnsw_ef", ef)?;
            let max = app.config.limits.ef_max;
            if ef > max {
                let setting = Some("limits.ef_max");
                return Err(RestError::AboveLimit { what: "params.hnsw_ef", got: ef, max, setting });
            }
            Some(ef)
        }
    };
    let nprobe = body.nprobe.map(|lists| positive("params.nprobe", lists)).transpose()?;
    let quantization = body.quantization.unwrap_or_default();
    Ok(SearchParams {
        ef_search,
        nprobe,
        exact: body.exact.unwrap_or(false),
        ignore_codes: quantization.ignore.unwrap_or(false),
        rescore: read_rescore(app, &quantization, wanted)?,
    })
}

fn read_rescore(app: &App, body: &QuantizationParamsBody, wanted: usize) -> Result<Rescore, RestError> {
    const FIELD: &str = "params.quantization.oversampling";
    let Some(times) = body.oversampling else {
        return Ok(if body.rescore == Some(false) { Rescore::Chosen } else { Rescore::Usual });
    };
    // Written so that NaN is refused.
    if !(times >= 1.0 && times.is_finite()) {
        let rule = "it must be a number from 1 on".to_owned();
        return Err(RestError::OutOfRange { field: FIELD, got: times.to_string(), rule });
    }
    let (rows, max) = ((times * wanted as f64).ceil() as usize, app.config.limits.ef_max.max(wanted));
    if rows > max {
        return Err(RestError::AboveLimit { what: FIELD, got: rows, max, setting: Some("limits.ef_max") });
    }
    Ok(if body.rescore == Some(false) { Rescore::Chosen } else { Rescore::AtLeast(rows) })
}

/// The internal distance that no point within the threshold exceeds. It is a little too far, because distance and
/// score are rounded apart; [`within_threshold`] decides by the score users see.
fn distance_bound(metric: Metric, threshold: f32) -> f32 {
    match metric {
        Metric::L2 if threshold < 0.0 => -1.0,
        Metric::L2 => threshold * threshold * (1.0 + 1e-6),
        Metric::InnerProduct => -threshold + threshold.abs() * 1e-6,
        Metric::Cosine => 1.0 - threshold + 1e-6,
    }
}

fn within_threshold(metric: Metric, score: Option<f32>, threshold: Option<f32>) -> bool {
    match (score, threshold) {
        (Some(score), Some(threshold)) if metric.larger_score_is_closer() => score >= threshold,
        (Some(score), Some(threshold)) => score <= threshold,
        _ => true,
    }
}
