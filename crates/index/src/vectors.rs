//! The rows an index works on, borrowed from whoever keeps them.

use std::sync::Arc;

use dvse_simd::{AlignedBuf, RowsReader, padded_dim};

use crate::sections::SectionBytes;

/// Read access to a matrix of `f32` rows.
///
/// Rows are `stride` long: `dim` values, then zeros, so that kernels run over whole vectors without a tail. Zeros
/// add nothing to any of the distances.
pub trait VectorView: Sync {
    /// Values a vector has.
    fn dim(&self) -> usize;

    /// Values a row slice has: `dim` and its padding.
    fn stride(&self) -> usize;

    /// How many rows there are now. A growing matrix never shrinks.
    fn len(&self) -> u32;

    /// Whether there is no row.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// One row, `stride` long.
    ///
    /// # Panics
    /// If `row` is not below [`VectorView::len`].
    fn row(&self, row: u32) -> &[f32];
}

/// Sealed rows: a matrix that never changes, in a mapped file or a buffer.
#[derive(Debug, Clone)]
pub struct MappedRows {
    bytes: SectionBytes,
    dim: usize,
    stride: usize,
    len: u32,
}

/// Why bytes are not a matrix of rows.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RowsError {
    /// The size is not that of `rows` rows, or the memory is not aligned to four bytes.
    #[error("the rows have {got} bytes, expected {rows} rows of {stride} floats (aligned to 4 bytes)")]
    Size {
        /// Bytes found.
        got: usize,
        /// Rows asked for.
        rows: u32,
        /// Floats a row.
        stride: usize,
    },
    /// The dimension is 0 or above the stride.
    #[error("rows of {stride} floats cannot hold vectors of dimension {dim}")]
    Dim {
        /// The dimension asked for.
        dim: usize,
        /// Floats a row.
        stride: usize,
    },
}

impl MappedRows {
    /// Takes `len` rows of `stride` little-endian floats each; the first `dim` of a row are the vector, the rest
    /// must be zeros (this is not checked: wrong padding gives wrong distances).
    ///
    /// # Errors
    /// [`RowsError`] when the sizes do not fit.
    pub fn new(bytes: SectionBytes, dim: usize, stride: usize, len: u32) -> Result<MappedRows, RowsError> {
        if dim == 0 || dim > stride {
            return Err(RowsError::Dim { dim, stride });
        }
        let got = bytes.as_slice().len();
        let expected = (len as usize).checked_mul(stride).and_then(|floats| floats.checked_mul(4));
        if expected != Some(got) || bytes.cast::<f32>().is_none() {
            return Err(RowsError::Size { got, rows: len, stride });
        }
        Ok(MappedRows { bytes, dim, stride, len })
    }

    /// Copies a plain `len × dim` matrix into aligned, padded memory.
    ///
    /// # Errors
    /// [`RowsError`] when `values` is not a whole number of vectors or `dim` is 0.
    pub fn from_values(values: &[f32], dim: usize) -> Result<MappedRows, RowsError> {
        let stride = padded_dim(dim);
        if dim == 0 {
            return Err(RowsError::Dim { dim, stride });
        }
        let len = u32::try_from(values.len() / dim).unwrap_or(u32::MAX);
        if len as usize * dim != values.len() {
            return Err(RowsError::Size { got: values.len() * 4, rows: len, stride: dim });
        }
        if len == 0 {
            return MappedRows::new(SectionBytes::from_vec(Vec::new()), dim, stride, 0);
        }
        let mut buffer = AlignedBuf::zeroed(len as usize * stride);
        for (to, from) in buffer.chunks_exact_mut(stride).zip(values.chunks_exact(dim)) {
            to[..dim].copy_from_slice(from);
        }
        let owner = Arc::new(FloatBytes(buffer));
        let bytes = (len as usize) * stride * 4;
        let bytes =
            SectionBytes::new(owner, 0..bytes).ok_or(RowsError::Size { got: 0, rows: len, stride })?;
        MappedRows::new(bytes, dim, stride, len)
    }

    /// The rows as one slice, found once a search.
    pub(crate) fn view(&self) -> MatrixView<'_> {
        let data = self.bytes.cast().unwrap_or(&[]);
        MatrixView { data, dim: self.dim, stride: self.stride, len: self.len }
    }

    /// The matrix as bytes: `len × stride` little-endian floats.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        self.bytes.as_slice()
    }
}

struct FloatBytes(AlignedBuf<f32>);

impl AsRef<[u8]> for FloatBytes {
    fn as_ref(&self) -> &[u8] {
        bytemuck::cast_slice(&self.0)
    }
}

/// A borrowed row-major matrix.
#[derive(Debug, Clone, Copy)]
pub(crate) struct MatrixView<'a> {
    data: &'a [f32],
    dim: usize,
    stride: usize,
    len: u32,
}

impl VectorView for MatrixView<'_> {
    fn dim(&self) -> usize {
        self.dim
    }

    fn stride(&self) -> usize {
        self.stride
    }

    fn len(&self) -> u32 {
        self.len
    }

    #[inline(always)]
    fn row(&self, row: u32) -> &[f32] {
        let start = row as usize * self.stride;
        &self.data[start..start + self.stride]
    }
}

impl VectorView for dvse_simd::Rows<'_> {
    fn dim(&self) -> usize {
        dvse_simd::Rows::dim(self)
    }

    fn stride(&self) -> usize {
        padded_dim(dvse_simd::Rows::dim(self))
    }

    fn len(&self) -> u32 {
        u32::try_from(dvse_simd::Rows::len(self)).unwrap_or(u32::MAX)
    }

    #[inline(always)]
    fn row(&self, row: u32) -> &[f32] {
        self.padded_row(row)
    }
}

/// The rows of one segment, growing or sealed.
///
/// Work on rows is generic over [`VectorView`] inside this crate; this closed pair is what crosses its wall, so
/// that the hot loops are compiled here and nowhere else.
#[derive(Debug, Clone)]
pub enum Rows {
    /// Rows still being appended; read without locks.
    Growing(RowsReader),
    /// Rows that never change.
    Sealed(MappedRows),
}

/// Runs an expression with `$view` bound to the concrete view of some [`Rows`].
macro_rules! with_rows {
    ($rows:expr, $view:ident => $body:expr) => {
        match $rows {
            $crate::vectors::Rows::Growing(reader) => {
                let view = reader.rows();
                let $view = &view;
                $body
            }
            $crate::vectors::Rows::Sealed(mapped) => {
                let view = mapped.view();
                let $view = &view;
                $body
            }
        }
    };
}
pub(crate) use with_rows;

impl Rows {
    /// Values a vector has.
    #[must_use]
    pub fn dim(&self) -> usize {
        with_rows!(self, view => view.dim())
    }

    /// How many rows there are now.
    #[must_use]
    pub fn len(&self) -> u32 {
        with_rows!(self, view => VectorView::len(view))
    }

    /// Whether there is no row.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// A copy of one vector, `dim` long, or `None` past the end.
    #[must_use]
    pub fn get(&self, row: u32) -> Option<Vec<f32>> {
        with_rows!(self, view => {
            (row < VectorView::len(view)).then(|| VectorView::row(view, row)[..view.dim()].to_vec())
        })
    }
}
