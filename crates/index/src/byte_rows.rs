//! Rows of whole numbers from 0 to 255, kept a second time as bytes.
//!
//! Pictures, and descriptors of pictures such as SIFT, are bytes by nature. A row of bytes is a quarter of the cache lines of
//! one of floats, so the last step of a search, which compares rows in full and waits for memory, takes a quarter of
//! them. Nothing is rounded: products of such numbers are summed as integers, which is exact where sums of floats
//! round, and the sum becomes a float once.
//!
//! The bytes are a section of the index, written when all rows are such, and mapped like the floats, which stay.

use dvse_simd::{AlignedBuf, Isa, MAX_INT_DIM, Op};
use dvse_types::Metric;

use crate::candidates::pack;
use crate::computer::{DistanceComputer, Kernel, Prefetch, RowComputer};
use crate::half_rows::{HalfQuery, HalfView};
use crate::sections::{OpenIndexError, SectionBytes, SectionSink, SectionSource, sized, write_items};
use crate::sketch::transform::low_byte;
use crate::vectors::VectorView;

const BYTES: &str = "rows.bytes";

/// Rows begin at multiples of this many bytes, a cache line.
const ALIGNED: usize = 64;

/// Rows asked for ahead: they are a few lines each.
const ROWS_AHEAD: usize = 16;

/// The bytes of all rows of a sealed index.
#[derive(Debug)]
pub(crate) struct ByteRows {
    bytes: SectionBytes,
    stride: usize,
}

/// The same, borrowed.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ByteView<'a> {
    bytes: &'a [u8],
    stride: usize,
}

impl ByteRows {
    /// Writes the first `count` rows if there is a use for them as bytes, and says whether there is: all of them are whole
    /// numbers, and the metric does not scale them.
    pub(crate) fn write<V: VectorView>(
        rows: &V,
        count: u32,
        metric: Metric,
        sink: &mut dyn SectionSink,
    ) -> std::io::Result<bool> {
        let (dim, stride) = (rows.dim(), rows.dim().next_multiple_of(ALIGNED));
        let whole = |row: u32| rows.row(row)[..dim].iter().all(|value| as_byte(*value).is_some());
        if metric == Metric::Cosine || dim > MAX_INT_DIM || count == 0 || !(0..count).all(whole) {
            return Ok(false);
        }
        sink.begin(BYTES)?;
        write_items(count, sink, |row, piece| {
            let begin = piece.len();
            piece.extend(rows.row(row)[..dim].iter().map(|value| as_byte(*value).unwrap_or(0)));
            piece.resize(begin + stride, 0);
        })?;
        Ok(true)
    }

    /// Finds the bytes of `rows` rows of `dim` values; `None` where there are none.
    pub(crate) fn open(
        source: &dyn SectionSource,
        dim: usize,
        rows: u32,
    ) -> Result<Option<ByteRows>, OpenIndexError> {
        if source.section(BYTES).is_none() {
            return Ok(None);
        }
        let stride = dim.next_multiple_of(ALIGNED);
        let bytes = sized(source, BYTES, u64::from(rows) * stride as u64, 1)?;
        Ok(Some(ByteRows { bytes, stride }))
    }

    pub(crate) fn view(&self) -> ByteView<'_> {
        ByteView { bytes: self.bytes.as_slice(), stride: self.stride }
    }

    /// Writes the section again.
    pub(crate) fn copy_to(&self, sink: &mut dyn SectionSink) -> std::io::Result<()> {
        sink.begin(BYTES)?;
        sink.append(self.bytes.as_slice())
    }
}

impl<'a> ByteView<'a> {
    #[inline(always)]
    fn row(self, row: u32) -> &'a [u8] {
        let start = row as usize * self.stride;
        &self.bytes[start..start + self.stride]
    }

    /// Reads a query as bytes, if it is whole numbers as well. `query` may be padded with zeros.
    #[inline(always)]
    fn read<'q>(self, query: &[f32], bytes: &'q mut Vec<u8>) -> Option<&'q [u8]> {
        bytes.clear();
        bytes.resize(self.stride, 0);
        let mut whole = true;
        // No way out in the middle: whole registers are compared.
        for (byte, value) in bytes.iter_mut().zip(query) {
            *byte = low_byte(*value);
            whole &= f32::from(*byte) == *value;
        }
        whole.then_some(bytes)
    }
}

/// A whole number from 0 to 255 as a byte.
fn as_byte(value: f32) -> Option<u8> {
    // Anything else is cut to the nearest byte, which then is another number; negative zero is 0 in every product.
    let byte = value as u8;
    (f32::from(byte) == value).then_some(byte)
}

/// The forms in which an index has its rows besides whole ones.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct RowCopies<'a> {
    /// As bytes, where they are whole numbers.
    pub(crate) bytes: Option<ByteView<'a>>,
    /// In half precision.
    pub(crate) halves: Option<HalfView<'a>>,
}

/// A query in the forms in which there are rows.
#[derive(Debug, Default)]
pub(crate) struct QueryCopies {
    bytes: Vec<u8>,
    scaled: AlignedBuf<f32>,
}

/// Exact distances from one query: by bytes where rows and query are whole numbers, else by floats, and by halves first where
/// there are any.
pub(crate) struct ExactRows<'a, I, V, K> {
    isa: I,
    kernel: K,
    floats: RowComputer<'a, I, V, K>,
    bytes: Option<(ByteView<'a>, &'a [u8])>,
    halves: Option<HalfQuery<'a>>,
}

impl<'a, I: Isa, V: VectorView, K: Kernel> ExactRows<'a, I, V, K> {
    /// `query` is as long as the view's rows, padding included; `memory` keeps its other forms.
    #[inline(always)]
    pub(crate) fn new(
        isa: I,
        kernel: K,
        query: &'a [f32],
        rows: &'a V,
        copies: RowCopies<'a>,
        memory: &'a mut QueryCopies,
    ) -> ExactRows<'a, I, V, K> {
        let QueryCopies { bytes, scaled } = memory;
        let bytes = copies.bytes.and_then(|view| view.read(query, bytes).map(|query| (view, query)));
        let halves = copies.halves.filter(|_| bytes.is_none());
        let halves = halves.and_then(|view| view.read(isa, query, scaled));
        ExactRows { isa, kernel, floats: RowComputer::new(isa, kernel, query, rows), bytes, halves }
    }

    /// Leaves out rows of the batch that are not among its `k` nearest, as far as halves prove that; how many rows it
    /// compared so. `fresh` is overwritten.
    pub(crate) fn narrow(&self, k: usize, batch: &mut Vec<u32>, fresh: &mut Vec<u64>) -> u64 {
        match &self.halves {
            Some(halves) if halves.is_worth(k, batch.len()) => {
                halves.narrow(self.isa, self.kernel, k, batch, fresh)
            }
            _ => 0,
        }
    }

    /// As [`DistanceComputer::score_batch`] without a bound; `prefetch` is for floats.
    pub(crate) fn score_batch(&self, batch: &[u32], fresh: &mut Vec<u64>, prefetch: Prefetch) {
        match self.bytes {
            Some((view, query)) => {
                self.isa.run(ScoreBytes::<K> { view, query, batch, fresh, kernel: std::marker::PhantomData });
            }
            None => self.floats.score_batch(batch, u64::MAX, fresh, prefetch),
        }
    }
}

/// Not a closure: those are not always compiled into the function that has the instruction set.
struct ScoreBytes<'a, K> {
    view: ByteView<'a>,
    query: &'a [u8],
    batch: &'a [u32],
    fresh: &'a mut Vec<u64>,
    kernel: std::marker::PhantomData<K>,
}

impl<K: Kernel> Op for ScoreBytes<'_, K> {
    type Output = ();

    #[inline(always)]
    fn run<I: Isa>(self, isa: I) {
        let ScoreBytes { view, query, batch, fresh, .. } = self;
        fresh.clear();
        for row in batch.iter().take(ROWS_AHEAD) {
            isa.prefetch(view.row(*row), usize::MAX);
        }
        let mut ahead = batch.iter().skip(ROWS_AHEAD);
        let (fours, rest) = batch.as_chunks::<4>();
        for four in fours {
            for row in ahead.by_ref().take(4) {
                isa.prefetch(view.row(*row), usize::MAX);
            }
            // Spelled out: a closure given to `map` is not always compiled into the loop.
            let [a, b, c, d] = *four;
            let rows = [view.row(a), view.row(b), view.row(c), view.row(d)];
            let distances = K::four_bytes(isa, query, rows);
            fresh.extend(distances.into_iter().zip(four).map(|(distance, row)| pack(distance, *row)));
        }
        for row in rest {
            fresh.push(pack(K::one_bytes(isa, query, view.row(*row)), *row));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::MappedRows;
    use crate::sections::MemorySections;
    use dvse_simd::Scalar;
    use proptest::prelude::*;

    #[test]
    fn only_whole_numbers_of_a_byte_are_bytes() {
        for byte in 0..=255_u8 {
            assert_eq!(as_byte(f32::from(byte)), Some(byte));
        }
        for value in [-1.0, 256.0, 0.5, 254.999, f32::NAN, f32::INFINITY, f32::MIN_POSITIVE, 1e30] {
            assert_eq!(as_byte(value), None, "{value}");
        }
    }

    #[test]
    fn one_value_that_is_not_whole_keeps_the_bytes_away() {
        let written = |values: &[f32], metric| {
            let rows = MappedRows::from_values(values, 2).unwrap();
            let mut sections = MemorySections::new();
            ByteRows::write(&rows.view(), 2, metric, &mut sections).unwrap();
            ByteRows::open(&sections, 2, 2).unwrap().map(|rows| rows.bytes.as_slice().to_vec())
        };
        let bytes = written(&[1.0, 2.0, 3.0, 255.0], Metric::L2).unwrap();
        assert_eq!((bytes.len(), &bytes[..3], &bytes[64..67]), (128, &[1, 2, 0][..], &[3, 255, 0][..]));
        assert!(written(&[1.0, 2.0, 3.0, 255.0], Metric::InnerProduct).is_some());
        assert!(written(&[1.0, 2.0, 3.0, 255.0], Metric::Cosine).is_none());
        assert!(written(&[1.0, 2.0, 3.0, 255.5], Metric::L2).is_none());
    }

    #[test]
    fn a_section_of_another_size_is_refused() {
        let mut sections = MemorySections::new();
        sections.begin(BYTES).unwrap();
        sections.append(&[0; 64]).unwrap();
        let error = ByteRows::open(&sections, 3, 2).unwrap_err();
        assert!(matches!(error, OpenIndexError::Size { section: BYTES, expected: 128, got: 64 }), "{error}");
    }

    proptest! {
        /// A query is read as bytes exactly when each of its values is one.
        #[test]
        fn a_query_is_bytes_or_it_is_not(
            values in prop::collection::vec(
                prop_oneof![(0_u8..=255).prop_map(f32::from), any::<f32>()], 1..150),
        ) {
            let stride = values.len().next_multiple_of(ALIGNED);
            let view = ByteView { bytes: &[], stride };
            let mut memory = vec![7; 300];
            let expected: Option<Vec<u8>> = values.iter().map(|value| as_byte(*value)).collect();
            let got = view.read(&values, &mut memory).map(<[u8]>::to_vec);
            prop_assert_eq!(got.as_ref().map(|bytes| &bytes[..values.len()]), expected.as_deref());
            if let Some(bytes) = got {
                prop_assert!(bytes.len() == stride && bytes[values.len()..].iter().all(|byte| *byte == 0));
            }
        }

        /// Sums of bytes against sums in double precision, which are exact here.
        #[test]
        fn distances_are_exact(
            values in prop::collection::vec(0_u8..=255, 7 * 33),
            query in prop::collection::vec(0_u8..=255, 33),
        ) {
            let floats: Vec<f32> = values.iter().copied().map(f32::from).collect();
            let rows = MappedRows::from_values(&floats, 33).unwrap();
            let mut sections = MemorySections::new();
            ByteRows::write(&rows.view(), 7, Metric::L2, &mut sections).unwrap();
            let bytes = ByteRows::open(&sections, 33, 7).unwrap().unwrap();
            let mut padded: Vec<f32> = query.iter().copied().map(f32::from).collect();
            padded.resize(rows.view().stride(), 0.0);
            let (mut memory, mut fresh) = (QueryCopies::default(), Vec::new());
            let copies = RowCopies { bytes: Some(bytes.view()), halves: None };
            let view = rows.view();
            let exact =
                ExactRows::new(Scalar, crate::computer::L2, &padded, &view, copies, &mut memory);
            exact.score_batch(&[0, 1, 2, 3, 4, 5, 6], &mut fresh, Prefetch::default());
            for (row, (key, values)) in fresh.iter().zip(values.chunks_exact(33)).enumerate() {
                let squares = values.iter().zip(&query).map(|(a, b)| (i64::from(*a) - i64::from(*b)).pow(2));
                let expected = squares.sum::<i64>() as f32;
                prop_assert_eq!(*key, pack(expected, row as u32));
            }
        }
    }
}
