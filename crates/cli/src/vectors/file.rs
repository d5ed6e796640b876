//! One vector file, opened and checked.

use std::fs::File;
use std::ops::Range;
use std::path::{Path, PathBuf};

use super::source::{Source, UNPACK_LIMIT};
use super::{ByteOrder, Element, HeaderError, ReadVectorsError, idx, npy, texmex};

/// Longer rows than this are taken for a damaged header.
const MAX_DIM: u64 = 1 << 20;
/// Rows are decoded in pieces of about this many bytes, so that reading needs little memory beside the result.
const CHUNK_BYTES: usize = 1 << 20;

/// A file of `rows` vectors of `dim` numbers each.
pub struct VectorFile {
    path: PathBuf,
    source: Source,
    layout: Layout,
}

/// Vectors in memory.
#[derive(Debug, Clone, PartialEq)]
pub struct Matrix {
    /// Number of vectors.
    pub rows: usize,
    /// Numbers in each, at least 1.
    pub dim: usize,
    /// All numbers, row by row; `rows × dim`, all finite.
    pub data: Vec<f32>,
}

/// Where the numbers lie; checked against the size of the file, so that `rows × dim` numbers are really there.
#[derive(Debug, Clone, Copy)]
struct Layout {
    element: Element,
    order: ByteOrder,
    rows: usize,
    dim: usize,
    data_at: u64,
    /// Bytes in front of each row: its length, in the record formats.
    row_prefix: usize,
}

impl Layout {
    fn row_bytes(&self) -> usize {
        self.row_prefix + self.dim * self.element.size()
    }

    fn offset(&self, row: usize) -> u64 {
        self.data_at + row as u64 * self.row_bytes() as u64
    }
}

impl VectorFile {
    /// Opens a file and checks its header against its size. The first bytes tell npy, idx and gzip; the record formats
    /// have no mark and go by the extension `.fvecs`, `.ivecs` or `.bvecs`, before an optional `.gz`.
    ///
    /// # Errors
    ///
    /// Everything that [`ReadVectorsError`] lists about files and headers.
    pub fn open(path: &Path) -> Result<VectorFile, ReadVectorsError> {
        VectorFile::open_with_limit(path, UNPACK_LIMIT)
    }

    pub(super) fn open_with_limit(path: &Path, limit: u64) -> Result<VectorFile, ReadVectorsError> {
        let path = path.to_owned();
        let file = match File::open(&path) {
            Ok(file) => file,
            Err(source) => return Err(ReadVectorsError::Open { path, source }),
        };
        match Source::new(file, limit) {
            Ok(Some(source)) => {
                let layout = find_layout(&path, &source)?;
                Ok(VectorFile { path, source, layout })
            }
            Ok(None) => Err(ReadVectorsError::UnpacksTooLarge { path, limit }),
            Err(source) => Err(ReadVectorsError::Read { path, source }),
        }
    }

    /// Number of vectors.
    pub fn rows(&self) -> usize {
        self.layout.rows
    }

    /// Numbers in each vector, at least 1.
    pub fn dim(&self) -> usize {
        self.layout.dim
    }

    /// The type the file stores.
    pub fn element(&self) -> Element {
        self.layout.element
    }

    /// Reads everything. Takes `rows × dim × 4` bytes, at most four times the size of the (unpacked) file.
    ///
    /// # Errors
    ///
    /// As [`VectorFile::read_rows_f32`].
    pub fn to_f32(&self) -> Result<Matrix, ReadVectorsError> {
        let mut data = Vec::new();
        self.read_rows_f32(0..self.rows(), &mut data)?;
        Ok(Matrix { rows: self.rows(), dim: self.dim(), data })
    }

    /// Replaces the contents of `out` with the numbers of some rows, `range.len() × dim` of them.
    ///
    /// # Errors
    ///
    /// When the range reaches beyond the rows, the file cannot be read or was changed since it was opened, a record has
    /// another length than the first, or a number is not a finite `f32`.
    pub fn read_rows_f32(&self, range: Range<usize>, out: &mut Vec<f32>) -> Result<(), ReadVectorsError> {
        out.clear();
        self.check_range(&range)?;
        out.reserve_exact(range.len() * self.dim());
        let (element, order) = (self.layout.element, self.layout.order);
        self.for_each_row(range, |row, bytes| {
            let start = out.len();
            element.append_f32(order, bytes, out);
            match out[start..].iter().position(|value| !value.is_finite()) {
                None => Ok(()),
                Some(column) => {
                    let value = out[start + column];
                    Err(ReadVectorsError::NotFinite { path: self.path.clone(), row, column, value })
                }
            }
        })
    }

    /// Reads row numbers, such as the true neighbours of queries: one list per row of the file, each `dim` long.
    ///
    /// # Errors
    ///
    /// When the file holds no integers, or one that is negative or above `u32::MAX`, and as
    /// [`VectorFile::read_rows_f32`] otherwise.
    pub fn to_ids(&self) -> Result<Vec<Vec<u32>>, ReadVectorsError> {
        let (element, order) = (self.layout.element, self.layout.order);
        if !element.is_integer() {
            return Err(ReadVectorsError::NotIntegers { path: self.path.clone(), element });
        }
        let mut lists = Vec::with_capacity(self.rows());
        let mut numbers = Vec::with_capacity(self.dim());
        self.for_each_row(0..self.rows(), |row, bytes| {
            numbers.clear();
            element.append_integers(order, bytes, &mut numbers);
            let ids = numbers.iter().enumerate().map(|(column, value)| {
                u32::try_from(*value).map_err(|_| ReadVectorsError::NotARowNumber {
                    path: self.path.clone(),
                    row,
                    column,
                    value: *value,
                })
            });
            lists.push(ids.collect::<Result<_, _>>()?);
            Ok(())
        })?;
        Ok(lists)
    }

    fn check_range(&self, range: &Range<usize>) -> Result<(), ReadVectorsError> {
        let rows = self.rows();
        if range.start <= range.end && range.end <= rows {
            return Ok(());
        }
        Err(ReadVectorsError::NoSuchRows {
            path: self.path.clone(),
            start: range.start,
            end: range.end,
            rows,
        })
    }

    /// Calls `each` with the number of every row and its bytes, without the record prefix, which is checked here.
    fn for_each_row(
        &self,
        range: Range<usize>,
        mut each: impl FnMut(usize, &[u8]) -> Result<(), ReadVectorsError>,
    ) -> Result<(), ReadVectorsError> {
        let row_bytes = self.layout.row_bytes();
        let rows_at_once = (CHUNK_BYTES / row_bytes).clamp(1, range.len().max(1));
        let mut chunk = vec![0; rows_at_once * row_bytes];
        for first in range.clone().step_by(rows_at_once) {
            let rows = rows_at_once.min(range.end - first);
            let chunk = &mut chunk[..rows * row_bytes];
            self.source
                .read_exact_at(self.layout.offset(first), chunk)
                .map_err(|source| ReadVectorsError::Read { path: self.path.clone(), source })?;
            for (row, bytes) in (first..).zip(chunk.chunks_exact(row_bytes)) {
                let (prefix, numbers) = bytes.split_at(self.layout.row_prefix);
                self.check_record(row, prefix)?;
                each(row, numbers)?;
            }
        }
        Ok(())
    }

    fn check_record(&self, row: usize, prefix: &[u8]) -> Result<(), ReadVectorsError> {
        let Some(prefix) = prefix.first_chunk() else { return Ok(()) };
        let (got, expected) = (i32::from_le_bytes(*prefix), self.dim());
        if usize::try_from(got) == Ok(expected) {
            return Ok(());
        }
        let offset = self.layout.offset(row);
        Err(ReadVectorsError::RowDim { path: self.path.clone(), row, offset, got, expected })
    }
}

fn find_layout(path: &Path, source: &Source) -> Result<Layout, ReadVectorsError> {
    let prefix = source
        .first_bytes(npy::PREFIX_LIMIT.max(idx::PREFIX_LIMIT))
        .map_err(|source| ReadVectorsError::Read { path: path.to_owned(), source })?;
    let refused = |problem| ReadVectorsError::Header { path: path.to_owned(), problem };
    let extension = extension(path);
    if let Some(element) = texmex::element(&extension) {
        let dim = texmex::record_dim(&prefix, MAX_DIM).map_err(refused)?;
        return record_layout(path, source.len(), element, dim);
    }
    if extension == "npy" || prefix.starts_with(b"\x93NUMPY") {
        let header = npy::parse_npy_header(&prefix).map_err(refused)?;
        let claimed = Claimed { element: header.element, order: header.order, data_at: header.data_at };
        return array_layout(path, source.len(), claimed, &header.shape);
    }
    if extension == "idx" || idx::looks_like_idx(&prefix) {
        let header = idx::parse_idx_header(&prefix).map_err(refused)?;
        let claimed = Claimed { element: header.element, order: idx::ORDER, data_at: header.data_at };
        return array_layout(path, source.len(), claimed, &header.shape);
    }
    Err(ReadVectorsError::UnknownFormat { path: path.to_owned() })
}

/// The last extension in lower case, leaving out `.gz`; empty when there is none.
fn extension(path: &Path) -> String {
    let lower = |path: &Path| path.extension().unwrap_or_default().to_string_lossy().to_ascii_lowercase();
    match lower(path) {
        gz if gz == "gz" => lower(&path.with_extension("")),
        other => other,
    }
}

struct Claimed {
    element: Element,
    order: ByteOrder,
    data_at: usize,
}

/// The layout of an array with a header. All dimensions after the first are flattened into one.
fn array_layout(path: &Path, len: u64, claimed: Claimed, shape: &[u64]) -> Result<Layout, ReadVectorsError> {
    let refused = |problem| Err(ReadVectorsError::Header { path: path.to_owned(), problem });
    let [rows, rest @ ..] = shape else { return refused(HeaderError::Dimensions { got: 0 }) };
    if rest.is_empty() || shape.len() > 32 {
        return refused(HeaderError::Dimensions { got: shape.len() });
    }
    let dim = rest.iter().try_fold(1_u64, |dim, length| dim.checked_mul(*length)).unwrap_or(u64::MAX);
    if !(1..=MAX_DIM).contains(&dim) {
        return refused(HeaderError::Dim { got: dim, limit: MAX_DIM });
    }
    let Claimed { element, order, data_at } = claimed;
    let got = len.saturating_sub(data_at as u64);
    let expected = rows.saturating_mul(dim * element.size() as u64);
    match usize::try_from(*rows) {
        Ok(rows) if expected == got => {
            Ok(Layout { element, order, rows, dim: dim as usize, data_at: data_at as u64, row_prefix: 0 })
        }
        _ => Err(ReadVectorsError::WrongSize {
            path: path.to_owned(),
            rows: *rows,
            dim,
            element,
            data_at: data_at as u64,
            expected,
            got,
        }),
    }
}

/// The layout of a file of records, each with its length in front.
fn record_layout(path: &Path, len: u64, element: Element, dim: u64) -> Result<Layout, ReadVectorsError> {
    let record = texmex::PREFIX as u64 + dim * element.size() as u64;
    match usize::try_from(len / record) {
        Ok(rows) if len.is_multiple_of(record) => Ok(Layout {
            element,
            order: ByteOrder::Little,
            rows,
            dim: dim as usize,
            data_at: 0,
            row_prefix: texmex::PREFIX,
        }),
        _ => Err(ReadVectorsError::CutRecord { path: path.to_owned(), got: len, record, dim }),
    }
}
