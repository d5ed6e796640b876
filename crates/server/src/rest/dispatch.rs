//! The asynchronous half of every request: key, origin, admission, body, deadline; then a thread for the handler.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::{RawPathParams, Request};
use axum::http::header::CONTENT_LENGTH;
use axum::http::{HeaderMap, Method, Response};
use axum::routing::{MethodFilter, on};
use http_body_util::BodyExt;
use tokio::runtime::Handle;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::block_in_place;
use tower_http::CompressionLevel;
use tower_http::catch_panic::CatchPanicLayer;
use tower_http::compression::CompressionLayer;

use super::call::{Call, QueryParameters};
use super::ingest;
use super::reply::{Reply, error_response};
use super::routes::{Access, ROUTES, Route};
use crate::app::App;
use crate::auth;
use crate::embedding::Made;
use crate::error::RestError;

/// Bodies are admitted in units, because a semaphore counts in 32 bits.
const BODY_UNIT: usize = 1_024;
/// How often a model may make vectors for one request: once is enough unless the collection's model changes meanwhile.
const EMBEDDINGS_MAX: usize = 4;

/// What bounds the work on requests.
#[derive(Debug)]
struct Admission {
    /// Requests begun and not yet answered.
    requests: Arc<Semaphore>,
    /// Memory for bodies, in units.
    bodies: Arc<Semaphore>,
    /// Reads being worked on.
    reads: Arc<Semaphore>,
    /// Writes being worked on.
    writes: Arc<Semaphore>,
}

/// Builds the router of all routes.
pub fn router(app: &Arc<App>) -> Router {
    let config = &app.config;
    let semaphore = |permits: usize| Arc::new(Semaphore::new(permits.clamp(1, Semaphore::MAX_PERMITS)));
    let admission = Arc::new(Admission {
        requests: semaphore(config.limits.requests_max),
        bodies: semaphore(config.limits.bodies_bytes_max / BODY_UNIT),
        reads: semaphore(config.search_threads.get()),
        writes: semaphore(config.write_threads.get()),
    });
    let mut router = Router::new();
    for route in ROUTES {
        let Ok(method) = Method::from_bytes(route.method.as_bytes()) else { continue };
        let Ok(filter) = MethodFilter::try_from(method) else { continue };
        let (app, admission) = (Arc::clone(app), Arc::clone(&admission));
        let handler = move |path: RawPathParams, request: Request| {
            dispatch(Arc::clone(&app), Arc::clone(&admission), route, path, request)
        };
        router = router.route(route.path, on(filter, handler.clone()));
        if route.path != "/" {
            router = router.route(&format!("{}/", route.path), on(filter, handler));
        }
    }
    let compression = CompressionLayer::new().gzip(true).quality(CompressionLevel::Fastest);
    router
        .fallback(no_route)
        .method_not_allowed_fallback(no_method)
        .layer(CatchPanicLayer::custom(|_: Box<dyn std::any::Any + Send>| {
            tracing::error!("a request panicked outside its handler");
            error_response(&RestError::Panicked, 0.0)
        }))
        .layer(auth::cors(&config.cors_origins))
        .layer(compression)
}

async fn no_route(request: Request) -> Response<Body> {
    error_response(&RestError::NoRoute(request.uri().path().to_owned()), 0.0)
}

async fn no_method(request: Request) -> Response<Body> {
    let (path, method) = (request.uri().path().to_owned(), request.method().to_string());
    error_response(&RestError::NoMethod { path, method }, 0.0)
}

async fn dispatch(
    app: Arc<App>,
    admission: Arc<Admission>,
    route: &'static Route,
    path: RawPathParams,
    request: Request,
) -> Response<Body> {
    let started = Instant::now();
    let outcome = answer(&app, &admission, route, &path, request).await;
    let took = started.elapsed();
    let response = match outcome {
        Ok(reply) => reply.into_response(took.as_secs_f64()),
        Err(error) => {
            report(route, &error);
            error_response(&error, took.as_secs_f64())
        }
    };
    app.telemetry.answered(route, response.status(), took);
    tracing::debug!(
        method = route.method,
        route = route.path,
        status = response.status().as_u16(),
        micros = u64::try_from(took.as_micros()).unwrap_or(u64::MAX),
        "request answered"
    );
    response
}

struct InFlight<'a>(&'a App);

impl Drop for InFlight<'_> {
    fn drop(&mut self) {
        self.0.telemetry.in_flight.decrement(1.0);
    }
}

/// Errors of clients are theirs to handle; those of the node are logged here, once.
fn report(route: &Route, error: &RestError) {
    if error.status().is_server_error() {
        tracing::error!(method = route.method, route = route.path, code = error.code(), %error, "request failed");
    }
}

async fn answer(
    app: &Arc<App>,
    admission: &Admission,
    route: &'static Route,
    path: &RawPathParams,
    request: Request,
) -> Result<Reply, RestError> {
    let query = match admit(app, route, &request) {
        Ok(query) => query,
        Err(error) => {
            skip(request).await;
            return Err(error);
        }
    };
    let path = path.iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
    if matches!(route.access, Access::Open | Access::Peek | Access::Unavailable) {
        skip(request).await;
        let call = Call { path, query, body: Vec::new(), made: Made::default() };
        return (route.handler)(app, &call);
    }
    if route.access == Access::Steer {
        skip(request).await;
        let call = Call { path, query, body: Vec::new(), made: Made::default() };
        (route.handler)(app, &call)?;
        ingest::settled(&app.pipelines, call.collection()?, query.timeout_s).await;
        return ingest::get(app, &call);
    }
    if route.access == Access::Watch {
        skip(request).await;
        let call = Call { path, query, body: Vec::new(), made: Made::default() };
        return run(Arc::clone(app), None, route, call, Vec::new()).await.0;
    }

    let Ok(_request_permit) = Arc::clone(&admission.requests).try_acquire_owned() else {
        app.telemetry.rejected("overload");
        return Err(RestError::Overloaded { requests_max: app.config.limits.requests_max });
    };
    app.telemetry.in_flight.increment(1.0);
    // Decrements also when the client goes away and this future is dropped.
    let _in_flight = InFlight(app);
    let (frames, body_permit) = read_body(app, admission, request).await?;
    let call = Call { path, query, body: Vec::new(), made: Made::default() };
    let lane = if route.access == Access::Write { &admission.writes } else { &admission.reads };
    let lane = Arc::clone(lane);
    let work = work(app, lane, body_permit, route, call, frames);
    match query.timeout_s {
        None => work.await,
        Some(seconds) => tokio::time::timeout(Duration::from_secs(seconds), work)
            .await
            .unwrap_or(Err(RestError::Timeout { seconds })),
    }
}

/// Runs the handler, and again each time that a model has made what it wanted. The lane is free while the model works.
async fn work(
    app: &Arc<App>,
    lane: Arc<Semaphore>,
    mut body_permit: OwnedSemaphorePermit,
    route: &'static Route,
    mut call: Call,
    mut frames: Vec<Bytes>,
) -> Result<Reply, RestError> {
    for _ in 0..EMBEDDINGS_MAX {
        let lane_permit = Arc::clone(&lane).acquire_owned().await.map_err(|_| RestError::Stopping)?;
        let permits = Permits { lane: lane_permit, body: body_permit };
        let (wanted, unfinished) = match run(Arc::clone(app), Some(permits), route, call, frames).await {
            (Err(RestError::Texts(wanted)), Some(unfinished)) => (wanted, unfinished),
            (outcome, _) => return outcome,
        };
        (call, body_permit, frames) = (unfinished.call, unfinished.permit, Vec::new());
        call.made = app.embedding.embed(wanted).await?;
    }
    let problem = "of the field changed again and again while its texts were embedded; send them once more";
    Err(RestError::misfit("model", problem))
}

/// What a handler that is under way holds.
struct Permits {
    lane: OwnedSemaphorePermit,
    body: OwnedSemaphorePermit,
}

/// A call whose handler wants vectors first; its body is joined.
struct Unfinished {
    call: Call,
    permit: OwnedSemaphorePermit,
}

/// What is known from the head alone: whether the caller may come in, and what stands in the address.
fn admit(app: &App, route: &Route, request: &Request) -> Result<QueryParameters, RestError> {
    let headers = request.headers();
    auth::check_origin(headers, &app.config.cors_origins)
        .inspect_err(|_| app.telemetry.rejected("origin"))?;
    if route.access != Access::Open {
        auth::check_key(headers, app.config.api_key.as_deref())
            .inspect_err(|_| app.telemetry.rejected("key"))?;
    }
    QueryParameters::parse(request.uri().query().unwrap_or_default())
}

/// Leaves the body of a request unread, see [`skip_body`].
async fn skip(request: Request) {
    let (head, body) = request.into_parts();
    skip_body(&head.headers, body).await;
}

/// Takes a small body that nobody asked for off the connection. A reply that overtakes the body of its request ends the
/// connection, and a client that keeps connections would find its next request refused.
pub async fn skip_body(headers: &HeaderMap, body: Body) {
    const BYTES_MAX: usize = 64 << 10;
    const WAIT_MAX: Duration = Duration::from_millis(200);
    if content_length(headers).is_some_and(|bytes| bytes <= BYTES_MAX as u64) {
        // Whatever goes wrong here, the reply says what matters.
        let _ = tokio::time::timeout(WAIT_MAX, read_frames(body, BYTES_MAX)).await;
    }
}

/// Runs the handler where it may block; `frames` become the body of the call there, unless it has one. A call that is to be
/// run again comes back.
///
/// A read runs on the thread that received it, which hands its other connections to a thread that waits: waking one
/// thread for the work and another for the reply would take several times as long as a search. With a deadline it goes to
/// a thread of its own all the same, because only then can the reply be earlier than the work's end.
///
/// The permits move into the work: when a client goes away or its time is up, what was begun still counts until it is
/// done.
async fn run(
    app: Arc<App>,
    permits: Option<Permits>,
    route: &'static Route,
    mut call: Call,
    frames: Vec<Bytes>,
) -> (Result<Reply, RestError>, Option<Unfinished>) {
    let here = route.access == Access::Read && call.query.timeout_s.is_none();
    let threads = if route.access == Access::Write { app.write_threads.clone() } else { Handle::current() };
    let job = move || {
        // Here, because copying megabytes takes a moment that the threads of the runtime do not have.
        if call.body.is_empty() {
            call.body = app.body_buffers.join(&frames);
        }
        drop(frames);
        let reply = (route.handler)(&app, &call);
        match permits {
            Some(Permits { lane, body }) if matches!(reply, Err(RestError::Texts(_))) => {
                drop(lane);
                (reply, Some(Unfinished { call, permit: body }))
            }
            permits => {
                app.body_buffers.give_back(call.body);
                drop(permits);
                (reply, None)
            }
        }
    };
    if here {
        // What a panic leaves behind is dropped unread.
        let job = AssertUnwindSafe(|| block_in_place(job));
        return catch_unwind(job).unwrap_or((Err(RestError::Panicked), None));
    }
    match threads.spawn_blocking(job).await {
        Ok(outcome) => outcome,
        Err(error) if error.is_panic() => (Err(RestError::Panicked), None),
        Err(_) => (Err(RestError::Stopping), None),
    }
}

/// Collects the parts of the body within its limit, its deadline and the memory that all bodies share.
async fn read_body(
    app: &App,
    admission: &Admission,
    request: Request,
) -> Result<(Vec<Bytes>, OwnedSemaphorePermit), RestError> {
    let max = app.config.limits.body_bytes_max;
    let announced = content_length(request.headers());
    if announced.is_some_and(|bytes| bytes > max as u64) {
        app.telemetry.rejected("body size");
        return Err(RestError::BodyTooLarge { max });
    }
    // Without a length the body may be as large as any.
    let reserve = announced.and_then(|bytes| usize::try_from(bytes).ok()).unwrap_or(max).div_ceil(BODY_UNIT);
    let reserve = u32::try_from(reserve).unwrap_or(u32::MAX);
    let deadline = app.config.body_deadline;
    let read = async {
        let permit = Arc::clone(&admission.bodies).acquire_many_owned(reserve);
        let permit = permit.await.map_err(|_| RestError::Stopping)?;
        Ok((read_frames(request.into_body(), max).await?, permit))
    };
    tokio::time::timeout(deadline, read)
        .await
        .unwrap_or(Err(RestError::BodyTooSlow { seconds: deadline.as_secs() }))
}

async fn read_frames(mut body: Body, max: usize) -> Result<Vec<Bytes>, RestError> {
    let (mut frames, mut bytes) = (Vec::new(), 0_usize);
    while let Some(frame) = body.frame().await {
        // What is no data is a trailer, which means nothing here.
        let Ok(data) = frame.map_err(RestError::BodyBroken)?.into_data() else { continue };
        bytes = bytes.saturating_add(data.len());
        if bytes > max {
            return Err(RestError::BodyTooLarge { max });
        }
        frames.push(data);
    }
    Ok(frames)
}

fn content_length(headers: &HeaderMap) -> Option<u64> {
    headers.get(CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}
