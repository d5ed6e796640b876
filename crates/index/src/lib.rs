//! Approximate nearest-neighbour structures over borrowed rows: flat and HNSW.
