//! Quantisers: k-means, and product codes of 4 bits with the tables that score them.
//!
//! Everything here is plain arithmetic in a fixed order, compiled for each instruction set but without its fused
//! operations. So what is trained, and every code, is the same at each level and for any number of threads.

pub(crate) mod adc;
pub(crate) mod centroids;
pub(crate) mod kmeans;
pub(crate) mod pq;
