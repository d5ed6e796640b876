//! The table of routes. The router is built from it, metrics are labelled by it, and the OpenAPI document is checked
//! against it, so nothing is served that is not listed here.

use crate::app::App;
use crate::error::RestError;
use crate::rest::call::Call;
use crate::rest::reply::Reply;
use crate::rest::{aliases, collections, health, ingest, points, search, sources, write};

/// A function that answers a request. It may block: it never runs on a thread of the asynchronous runtime.
pub type Handler = fn(&App, &Call) -> Result<Reply, RestError>;

/// One operation of the REST API.
#[derive(Debug, Clone, Copy)]
pub struct Route {
    /// The HTTP method.
    pub method: &'static str,
    /// The path, with parameters in braces.
    pub path: &'static str,
    /// What the operation needs of the node.
    pub access: Access,
    /// Who answers.
    pub handler: Handler,
}

/// What an operation needs of the node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// Nothing: it is answered at once and without a key.
    Open,
    /// A look at what is there; answered at once.
    Peek,
    /// A look at the node's own state, which may take a moment but no place among the requests: it is what one needs
    /// when the node is overloaded.
    Watch,
    /// A change of how a pipeline runs: answered once it has taken effect, or with how far it is after `timeout` seconds. It has
    /// no thread while it waits.
    Steer,
    /// Processor time: it waits for one of the reading threads.
    Read,
    /// The log: it waits for one of the writing threads.
    Write,
    /// It is part of the dialect and not available in this version; answered at once.
    Unavailable,
}

impl Route {
    /// Whether the operation is one this version carries out.
    #[must_use]
    pub fn is_available(&self) -> bool {
        self.access != Access::Unavailable
    }
}

const fn route(method: &'static str, path: &'static str, access: Access, handler: Handler) -> Route {
    Route { method, path, access, handler }
}

const fn absent(method: &'static str, path: &'static str) -> Route {
    route(method, path, Access::Unavailable, health::unsupported)
}

use Access::{Open, Peek, Read, Steer, Watch, Write};

/// Every operation, in the order of the documentation.
pub const ROUTES: &[Route] = &[
    route("GET", "/", Open, health::root),
    route("GET", "/healthz", Open, health::probe),
    route("GET", "/livez", Open, health::probe),
    route("GET", "/readyz", Open, health::probe),
    route("GET", "/metrics", Watch, health::metrics),
    route("GET", "/openapi.json", Peek, health::openapi),
    route("GET", "/ingest", Peek, ingest::list),
    route("GET", "/ingest/{collection}", Peek, ingest::get),
    route("POST", "/ingest/{collection}/pause", Steer, ingest::pause),
    route("POST", "/ingest/{collection}/drain", Steer, ingest::drain),
    route("POST", "/ingest/{collection}/resume", Steer, ingest::resume),
    route("GET", "/collections", Peek, collections::list),
    route("GET", "/collections/{collection}", Read, collections::get),
    route("PUT", "/collections/{collection}", Write, collections::create),
    route("PATCH", "/collections/{collection}", Write, collections::update),
    route("DELETE", "/collections/{collection}", Write, collections::delete),
    route("GET", "/collections/{collection}/exists", Peek, collections::exists),
    route("POST", "/collections/aliases", Write, aliases::update),
    route("GET", "/aliases", Peek, aliases::list),
    route("GET", "/collections/{collection}/aliases", Peek, aliases::list_of_collection),
    route("PUT", "/collections/{collection}/index", Write, collections::create_index),
    route("DELETE", "/collections/{collection}/index/{field}", Write, collections::delete_index),
    route("PUT", "/collections/{collection}/points", Write, write::upsert),
    route("POST", "/collections/{collection}/points", Read, points::retrieve),
    route("GET", "/collections/{collection}/points/{id}", Read, points::get),
    route("POST", "/collections/{collection}/points/delete", Write, write::delete),
    route("POST", "/collections/{collection}/points/payload", Write, write::set_payload),
    route("PUT", "/collections/{collection}/points/payload", Write, write::overwrite_payload),
    route("POST", "/collections/{collection}/points/payload/delete", Write, write::delete_payload),
    route("POST", "/collections/{collection}/points/payload/clear", Write, write::clear_payload),
    route("PUT", "/collections/{collection}/points/vectors", Write, write::update_vectors),
    route("POST", "/collections/{collection}/points/vectors/delete", Write, write::delete_vectors),
    route("POST", "/collections/{collection}/points/batch", Write, write::batch),
    route("GET", "/collections/{collection}/sources", Read, sources::list),
    route("POST", "/collections/{collection}/sources/take-over", Write, sources::take_over),
    route("POST", "/collections/{collection}/points/scroll", Read, points::scroll),
    route("POST", "/collections/{collection}/points/count", Read, points::count),
    route("POST", "/collections/{collection}/facet", Read, points::facet),
    route("POST", "/collections/{collection}/points/query", Read, search::query),
    route("POST", "/collections/{collection}/points/query/batch", Read, search::query_batch),
    route("POST", "/collections/{collection}/points/search", Read, search::search),
    route("POST", "/collections/{collection}/points/search/batch", Read, search::search_batch),
    absent("POST", "/collections/{collection}/points/query/groups"),
    absent("POST", "/collections/{collection}/points/search/groups"),
    absent("POST", "/collections/{collection}/points/recommend"),
    absent("POST", "/collections/{collection}/points/recommend/batch"),
    absent("POST", "/collections/{collection}/points/recommend/groups"),
    absent("POST", "/collections/{collection}/points/discover"),
    absent("POST", "/collections/{collection}/points/discover/batch"),
    absent("POST", "/collections/{collection}/points/search/matrix/pairs"),
    absent("POST", "/collections/{collection}/points/search/matrix/offsets"),
    absent("PUT", "/collections/{collection}/vectors/{name}"),
    absent("DELETE", "/collections/{collection}/vectors/{name}"),
    absent("GET", "/collections/{collection}/snapshots"),
    absent("POST", "/collections/{collection}/snapshots"),
    absent("GET", "/snapshots"),
    absent("POST", "/snapshots"),
    absent("GET", "/cluster"),
    absent("GET", "/collections/{collection}/cluster"),
    absent("POST", "/collections/{collection}/cluster"),
    absent("GET", "/collections/{collection}/shards"),
    absent("PUT", "/collections/{collection}/shards"),
    absent("GET", "/telemetry"),
];
