//! Quantised rows: codes that stand in for the rows of a sealed graph, by any of the quantisers that learn nothing.
//!
//! [`RowCodes`] names them, [`Coder`] makes codes and queries ready, [`computer`] estimates distances from both for every
//! traversal, [`search`] walks, scans and compares what is near in full, [`sections`] keeps them.

pub(crate) mod coder;
pub(crate) mod computer;
pub(crate) mod search;
pub(crate) mod sections;

#[cfg(test)]
mod tests;

pub use coder::RowCodes;
pub(crate) use coder::{CodedQuery, Coder};
