//! Quantisers: k-means and product codes of 4 bits with the tables that score them; and codes that nothing is learned
//! for, scalar ones of 8 bits and `RaBitQ`, with the factors that make estimates of distances out of both.
//!
//! Everything here is plain arithmetic in a fixed order, compiled for each instruction set but without its fused
//! operations. So what is trained, and every code, is the same at each level and for any number of threads.

pub(crate) mod adc;
pub(crate) mod centroids;
pub(crate) mod factors;
pub(crate) mod kmeans;
pub(crate) mod pq;
pub(crate) mod rabitq;
pub(crate) mod rotation;
pub(crate) mod scalar8;
