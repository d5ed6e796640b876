//! Approximate nearest-neighbour structures over borrowed rows: flat, HNSW, NSW and IVF-PQ.
//!
//! An index works on rows that someone else keeps ([`Rows`]: growing in memory, or sealed in a mapping) and knows
//! nothing of files, of what users call their points, or of who deletes them: rows to be hidden are left out of the
//! [`RowSet`] a search is given. Threads to build with come in as an argument.
//!
//! In reading order: [`Rows`] and [`VectorView`]; [`AnnIndex`], [`SearchParams`], [`RowSet`], [`Scratch`],
//! [`Neighbor`]; [`FlatIndex`]; [`GrowingHnsw`] and [`SealedHnsw`] with [`HnswParams`]; [`GrowingIvf`] and
//! [`SealedIvf`] with [`IvfParams`] and [`Probing`]; [`GrowingIndex`] and [`open_index`], any of them; [`SectionSink`] and [`SectionSource`], through which an index is
//! kept; [`recall_at`].
//!
//! ```
//! use dvse_index::{AnnIndex, FlatIndex, MappedRows, RowSet, Rows, Scratch, SearchParams};
//! use dvse_types::Metric;
//!
//! let rows = MappedRows::from_values(&[0.0, 0.0, 3.0, 4.0, 1.0, 1.0], 2)?;
//! let index = FlatIndex::new(Rows::Sealed(rows), Metric::L2);
//! let mut nearest = Vec::new();
//! index.search(&[2.9, 4.1], &SearchParams::new(1, 1), RowSet::All, &mut Scratch::new(), &mut nearest)?;
//! assert_eq!(nearest[0].row, 1);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod ann;
mod byte_rows;
mod candidates;
mod coded;
mod computer;
mod flat;
mod graph;
mod half_rows;
mod hnsw;
mod ivf;
mod kinds;
mod norms;
mod quant;
mod recall;
mod row_set;
mod scratch;
mod sections;
mod sketch;
mod vectors;
mod visited;

pub use ann::{AnnIndex, Neighbor, SearchError, SearchParams, SearchStats};
pub use candidates::ROWS_MAX;
pub use coded::RowCodes;
pub use computer::Prefetch;
pub use flat::FlatIndex;
pub use graph::beam_search::Traversal;
pub use hnsw::{GrowingHnsw, HnswParams, HnswParamsError, LinkError, LinkProgress, SealedHnsw};
pub use ivf::{GrowingIvf, IvfParams, IvfParamsError, Probing, SealedIvf};
pub use kinds::{GrowingIndex, IndexParams, IndexParamsError, open_index};
pub use norms::{NormLists, NormOrder};
pub use recall::{RecallSummary, recall_at};
pub use row_set::RowSet;
pub use scratch::Scratch;
pub use sections::{
    BytesOwner, MemorySections, OpenIndexError, Placement, SectionBytes, SectionSink, SectionSource,
};
pub use sketch::growing::SketchBasis;
pub use vectors::{MappedRows, Rows, RowsError, VectorView};

/// Memory and instruction sets, passed on so that users of an index need not know the kernels.
pub use dvse_simd::{
    AlignedBuf, Full as RowsFull, GrowingRows, Level, RowsError as GrowingRowsError, RowsReader, RowsWriter,
    all_finite, available as available_levels, detect as detect_level, measure as measure_kernels, norm,
    normalize, padded_dim,
};
