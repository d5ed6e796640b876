//! `/ingest` and `/metrics` of a process that is no node: the same answers, on an address of its own.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::Body;
use axum::extract::{Path, RawQuery, Request, State};
use axum::http::{HeaderMap, Response};
use axum::middleware::{self, Next};
use axum::routing::{get, post};
use tokio::net::TcpListener;
use tokio::runtime::Runtime;

use super::metrics::exposition;
use super::pipelines::Pipelines;
use crate::auth;
use crate::error::RestError;
use crate::rest::{Ask, QueryParameters, Reply, error_response, ingest, skip_body};

/// How long open requests are waited for at the end.
const STOP_PATIENCE: Duration = Duration::from_secs(1);

/// A small server that shows and steers the pipelines of this process.
#[derive(Debug)]
pub struct Admin {
    runtime: Runtime,
    address: SocketAddr,
}

/// The small server did not start.
#[derive(Debug, thiserror::Error)]
pub enum AdminError {
    /// The threads could not be started.
    #[error("cannot start threads")]
    Runtime(#[source] std::io::Error),
    /// The address could not be listened on.
    #[error("cannot listen on {address}")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// Why.
        source: std::io::Error,
    },
}

/// What its handlers work with.
#[derive(Debug)]
struct Shared {
    pipelines: Arc<Pipelines>,
    api_key: Option<String>,
}

impl Admin {
    /// Listens, and answers until it is stopped. With a key every request but `/healthz` must carry it.
    ///
    /// # Errors
    /// The address cannot be listened on.
    pub fn start(
        address: SocketAddr,
        pipelines: Arc<Pipelines>,
        api_key: Option<String>,
    ) -> Result<Admin, AdminError> {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .thread_name("dvse-admin")
            .enable_all()
            .build()
            .map_err(AdminError::Runtime)?;
        let listen = |source| AdminError::Listen { address, source };
        let listener = runtime.block_on(TcpListener::bind(address)).map_err(listen)?;
        let address = listener.local_addr().map_err(listen)?;
        let shared = Arc::new(Shared { pipelines, api_key });
        runtime.spawn(async move {
            // It ends with the runtime.
            let _ = axum::serve(listener, router(shared)).await;
        });
        Ok(Admin { runtime, address })
    }

    /// Where it answers, with the real port.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Ends it.
    pub fn stop(self) {
        self.runtime.shutdown_timeout(STOP_PATIENCE);
    }
}

fn router(shared: Arc<Shared>) -> Router {
    let guarded = Router::new()
        .route("/metrics", get(metrics))
        .route("/ingest", get(list))
        .route("/ingest/{collection}", get(one))
        .route("/ingest/{collection}/pause", post(pause))
        .route("/ingest/{collection}/drain", post(drain))
        .route("/ingest/{collection}/resume", post(resume))
        .layer(middleware::from_fn_with_state(Arc::clone(&shared), guard))
        .with_state(shared);
    Router::new()
        .route("/healthz", get(async || Reply::Text("ok".to_owned()).into_response(0.0)))
        .merge(guarded)
        .fallback(async |request: Request| {
            error_response(&RestError::NoRoute(request.uri().path().to_owned()), 0.0)
        })
        .method_not_allowed_fallback(async |request: Request| {
            let (path, method) = (request.uri().path().to_owned(), request.method().to_string());
            error_response(&RestError::NoMethod { path, method }, 0.0)
        })
}

async fn guard(State(shared): State<Arc<Shared>>, request: Request, next: Next) -> Response<Body> {
    let (head, body) = request.into_parts();
    // Nothing here has a use for one; and unread it would end the connection under the client's next request.
    skip_body(&head.headers, body).await;
    match admit(&head.headers, shared.api_key.as_deref()) {
        Ok(()) => next.run(Request::from_parts(head, Body::empty())).await,
        Err(error) => error_response(&error, 0.0),
    }
}

fn admit(headers: &HeaderMap, key: Option<&str>) -> Result<(), RestError> {
    auth::check_origin(headers, &[])?;
    auth::check_key(headers, key)
}

async fn metrics(State(shared): State<Arc<Shared>>) -> Response<Body> {
    Reply::Metrics(exposition(&shared.pipelines)).into_response(0.0)
}

async fn list(State(shared): State<Arc<Shared>>) -> Response<Body> {
    respond(ingest::show_all(&shared.pipelines), Instant::now())
}

async fn one(State(shared): State<Arc<Shared>>, Path(collection): Path<String>) -> Response<Body> {
    respond(ingest::show(&shared.pipelines, &collection), Instant::now())
}

async fn pause(state: State<Arc<Shared>>, path: Path<String>, query: RawQuery) -> Response<Body> {
    steer(&state, &path, query, Ask::Pause).await
}

async fn drain(state: State<Arc<Shared>>, path: Path<String>, query: RawQuery) -> Response<Body> {
    steer(&state, &path, query, Ask::Drain).await
}

async fn resume(state: State<Arc<Shared>>, path: Path<String>, query: RawQuery) -> Response<Body> {
    steer(&state, &path, query, Ask::Resume).await
}

async fn steer(shared: &Shared, collection: &str, RawQuery(query): RawQuery, ask: Ask) -> Response<Body> {
    let started = Instant::now();
    let asked = QueryParameters::parse(&query.unwrap_or_default()).and_then(|query| {
        ingest::ask(&shared.pipelines, collection, ask)?;
        Ok(query)
    });
    let query = match asked {
        Ok(query) => query,
        Err(error) => return error_response(&error, started.elapsed().as_secs_f64()),
    };
    ingest::settled(&shared.pipelines, collection, query.timeout_s).await;
    respond(ingest::show(&shared.pipelines, collection), started)
}

fn respond(reply: Result<Reply, RestError>, started: Instant) -> Response<Body> {
    let seconds = started.elapsed().as_secs_f64();
    match reply {
        Ok(reply) => reply.into_response(seconds),
        Err(error) => error_response(&error, seconds),
    }
}
