//! The navigable graph, apart from what kind of index it serves: adjacency, traversal, pruning, reachability.

pub(crate) mod adjacency;
pub(crate) mod beam_search;
pub(crate) mod chunked;
pub(crate) mod growing;
pub(crate) mod prune;
pub(crate) mod reach;
