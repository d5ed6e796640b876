//! Bytes that are written together and lie in many places.

use std::io::IoSlice;

use dvse_types::SharedBytes;

/// Bytes in order, of which small pieces are copied and long ones stay where they are: the source of one vectored write.
///
/// A piece that stays is kept alive until the buffer is cleared or dropped, whoever owns it.
#[derive(Debug, Clone, Default)]
pub struct GatherBuf {
    copied: Vec<u8>,
    runs: Vec<Run>,
    run_bytes: usize,
}

/// A piece that stays where it is.
#[derive(Debug, Clone)]
struct Run {
    /// How many of the copied bytes come before it.
    at: usize,
    bytes: SharedBytes,
}

impl GatherBuf {
    /// A shared piece that is shorter than this is copied: an entry in the list of a vectored write costs more than moving so
    /// few bytes.
    pub const SHARED_BYTES_MIN: usize = 1024;

    /// Makes an empty buffer.
    #[must_use]
    pub fn new() -> GatherBuf {
        GatherBuf::default()
    }

    /// Returns the number of bytes, wherever they are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.copied.len() + self.run_bytes
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Whether no piece stays elsewhere.
    #[must_use]
    pub fn is_contiguous(&self) -> bool {
        self.runs.is_empty()
    }

    /// Makes room for so many bytes to be copied.
    pub fn reserve(&mut self, bytes: usize) {
        self.copied.reserve(bytes);
    }

    /// Returns how many of the bytes are copies.
    #[must_use]
    pub fn copied_len(&self) -> usize {
        self.copied.len()
    }

    /// Appends a copy of bytes.
    pub fn copy(&mut self, bytes: &[u8]) {
        self.copied.extend_from_slice(bytes);
    }

    /// Lets `write` append bytes.
    ///
    /// # Panics
    /// It took some away.
    pub fn copy_with(&mut self, write: impl FnOnce(&mut Vec<u8>)) {
        let before = self.copied.len();
        write(&mut self.copied);
        assert!(self.copied.len() >= before, "bytes were to be appended");
    }

    /// Appends bytes without copying them, unless they are few.
    pub fn share(&mut self, bytes: SharedBytes) {
        if bytes.len() < GatherBuf::SHARED_BYTES_MIN {
            return self.copy(&bytes);
        }
        self.run_bytes += bytes.len();
        self.runs.push(Run { at: self.copied.len(), bytes });
    }

    /// Appends what another buffer holds: copies of what it copied, and the same pieces.
    pub fn append(&mut self, other: &GatherBuf) {
        let shift = self.copied.len();
        self.copied.extend_from_slice(&other.copied);
        let runs = other.runs.iter().map(|run| Run { at: run.at + shift, bytes: run.bytes.clone() });
        self.runs.extend(runs);
        self.run_bytes += other.run_bytes;
    }

    /// Forgets the bytes and keeps at most so much memory for copies.
    pub fn clear(&mut self, kept_bytes: usize) {
        self.copied.clear();
        self.copied.shrink_to(kept_bytes);
        self.runs.clear();
        // As much of the list as goes with it: with the shortest runs.
        self.runs.shrink_to(kept_bytes / GatherBuf::SHARED_BYTES_MIN);
        self.run_bytes = 0;
    }

    /// Returns the pieces in order; none is empty.
    pub fn slices(&self) -> impl Iterator<Item = &[u8]> {
        let mut done = 0;
        let pairs = self.runs.iter().flat_map(move |run| {
            let before = &self.copied[std::mem::replace(&mut done, run.at)..run.at];
            [before, &run.bytes[..]]
        });
        let last = self.runs.last().map_or(0, |run| run.at);
        pairs.chain([&self.copied[last..]]).filter(|piece| !piece.is_empty())
    }

    /// Returns the pieces for a vectored write.
    #[must_use]
    pub fn io_slices(&self) -> Vec<IoSlice<'_>> {
        let mut slices = Vec::with_capacity(2 * self.runs.len() + 1);
        slices.extend(self.slices().map(IoSlice::new));
        slices
    }

    /// Returns all bytes in one piece: without a copy if they are contiguous.
    #[must_use]
    pub fn into_vec(self) -> Vec<u8> {
        if self.is_contiguous() {
            return self.copied;
        }
        let mut all = Vec::with_capacity(self.len());
        self.slices().for_each(|piece| all.extend_from_slice(piece));
        all
    }

    /// The bytes that are copies.
    pub(crate) fn copies(&self) -> &[u8] {
        &self.copied
    }

    /// The bytes that are copies, to be changed in place.
    pub(crate) fn copies_mut(&mut self) -> &mut [u8] {
        &mut self.copied
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LONG: usize = GatherBuf::SHARED_BYTES_MIN;

    fn run(byte: u8, len: usize) -> SharedBytes {
        SharedBytes::from(vec![byte; len])
    }

    #[test]
    fn long_pieces_stay_where_they_are_and_short_ones_are_copied() {
        let (first, second) = (run(1, LONG), run(2, 2 * LONG));
        let mut buf = GatherBuf::new();
        buf.share(first.clone());
        buf.copy(b"ab");
        buf.share(run(3, LONG - 1));
        buf.copy_with(|bytes| bytes.push(b'c'));
        buf.share(second.clone());
        buf.share(second.clone());
        let places: Vec<*const u8> = buf.slices().map(<[u8]>::as_ptr).collect();
        assert_eq!(places.len(), 4);
        assert_eq!([places[0], places[2], places[3]], [first.as_ptr(), second.as_ptr(), second.as_ptr()]);
        let expected = [&first[..], b"ab", &vec![3; LONG - 1], b"c", &second[..], &second[..]].concat();
        assert_eq!(buf.len(), expected.len());
        assert_eq!(buf.io_slices().iter().flat_map(|slice| slice.to_vec()).collect::<Vec<_>>(), expected);

        let mut both = GatherBuf::new();
        both.copy(b"x");
        both.append(&buf);
        both.append(&buf);
        assert_eq!(both.into_vec(), [b"x", &expected[..], &expected].concat());
        buf.clear(0);
        assert!(buf.is_empty() && buf.is_contiguous() && buf.copied.capacity() == 0);
        assert_eq!(buf.slices().count(), 0);
    }

    #[test]
    fn contiguous_bytes_come_out_without_a_copy() {
        let mut buf = GatherBuf::new();
        buf.copy(b"abc");
        let place = buf.copies().as_ptr();
        let all = buf.into_vec();
        assert_eq!((all.as_ptr(), &all[..]), (place, &b"abc"[..]));
    }
}
