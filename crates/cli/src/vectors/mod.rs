//! Files that hold vectors: npy, fvecs, ivecs, bvecs and idx, each also gzipped.
//!
//! [`VectorFile::open`] reads the header, checks the shape it claims against the size of the file, and only then is memory
//! taken in proportion to that shape. Rows come out as `f32` whatever the file stores, in one piece
//! ([`VectorFile::to_f32`]) or in ranges ([`VectorFile::read_rows_f32`]); ground truth comes out as row numbers
//! ([`VectorFile::to_ids`]).

mod element;
mod error;
mod file;
mod idx;
mod npy;
mod source;
mod texmex;

#[cfg(test)]
mod tests;

pub use element::{ByteOrder, Element};
pub use error::{HeaderError, ReadVectorsError};
pub use file::{Matrix, VectorFile};
