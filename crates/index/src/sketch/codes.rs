//! Where sketches are kept: in a chunked matrix while rows come, in a section once they are sealed.

use dvse_simd::{Full, GrowingRows, RowsError, RowsReader, RowsWriter};

use super::layout::Layout;

/// Read access to sketches.
pub(crate) trait CodeView: Sync {
    /// The sketch of a row. Panics past the end.
    fn sketch(&self, row: u32) -> &[u8];

    /// The sketches of rows from `row` on, one after the other: at least one, at most `count`, and as many as lie in one
    /// piece. Panics past the end, and if `count` is 0.
    fn run(&self, row: u32, count: usize) -> &[u8];
}

/// Sketches in one piece.
#[derive(Debug, Clone, Copy)]
pub(crate) struct SealedCodes<'a> {
    bytes: &'a [u8],
    stride: usize,
}

impl<'a> SealedCodes<'a> {
    /// `bytes` holds whole sketches of a layout.
    pub(crate) fn new(bytes: &'a [u8], layout: Layout) -> SealedCodes<'a> {
        SealedCodes { bytes, stride: layout.bytes() }
    }
}

impl CodeView for SealedCodes<'_> {
    #[inline(always)]
    fn sketch(&self, row: u32) -> &[u8] {
        let start = row as usize * self.stride;
        &self.bytes[start..start + self.stride]
    }

    #[inline(always)]
    fn run(&self, row: u32, count: usize) -> &[u8] {
        let start = row as usize * self.stride;
        let end = start.saturating_add(count * self.stride).min(self.bytes.len());
        assert!(start < end, "sketches from row {row} on, of which there is none");
        &self.bytes[start..end]
    }
}

/// The first so many sketches of a growing index.
impl CodeView for dvse_simd::Rows<'_> {
    #[inline(always)]
    fn sketch(&self, row: u32) -> &[u8] {
        bytemuck::cast_slice(self.padded_row(row))
    }

    #[inline(always)]
    fn run(&self, row: u32, count: usize) -> &[u8] {
        bytemuck::cast_slice(self.padded_run(row, count))
    }
}

/// Makes room for `capacity` sketches that one writer appends.
///
/// The matrix of growing rows has the protocol that is needed and holds floats; a sketch is whole cache lines, as its
/// rows are, and passes through as the bits of floats that nobody computes with.
pub(crate) fn growing_codes(layout: Layout, capacity: usize) -> Result<(CodeWriter, RowsReader), RowsError> {
    let (writer, reader) = GrowingRows::with_capacity(layout.bytes() / size_of::<f32>(), capacity)?;
    Ok((CodeWriter { writer, aligned: Vec::new() }, reader))
}

/// The one handle that appends sketches.
#[derive(Debug)]
pub(crate) struct CodeWriter {
    writer: RowsWriter,
    aligned: Vec<f32>,
}

impl CodeWriter {
    /// Sketches appended.
    pub(crate) fn len(&self) -> u32 {
        self.writer.len() as u32
    }

    /// Appends the next row's sketch.
    pub(crate) fn append(&mut self, sketch: &[u8]) -> Result<(), Full> {
        self.aligned.clear();
        self.aligned.resize(sketch.len() / size_of::<f32>(), 0.0);
        bytemuck::cast_slice_mut::<f32, u8>(&mut self.aligned).copy_from_slice(sketch);
        self.writer.append(&self.aligned).map(|_| ())
    }

    /// Bytes taken.
    pub(crate) fn bytes(&self) -> u64 {
        self.writer.allocated_bytes() as u64
    }
}
