//! The payloads of a growing segment, as bytes.

/// Payloads in the order of rows, as JSON bytes in chunks that never move.
///
/// One growing buffer would be copied, and held twice, each time it doubles.
#[derive(Debug, Default)]
pub(crate) struct PayloadStore {
    chunks: Vec<Vec<u8>>,
    /// Chunk, start and length of each payload.
    places: Vec<(u32, u32, u32)>,
    bytes: u64,
}

const CHUNK_BYTES: usize = 1 << 20;

impl PayloadStore {
    pub(crate) fn push(&mut self, payload: &[u8]) {
        let room = self.chunks.last().map_or(0, |chunk| chunk.capacity() - chunk.len());
        if !payload.is_empty() && room < payload.len() {
            // The first chunk grows by doubling, so that a small collection takes little.
            let capacity = if self.chunks.is_empty() { 4 << 10 } else { CHUNK_BYTES };
            self.chunks.push(Vec::with_capacity(capacity.max(payload.len())));
        }
        let chunk = self.chunks.len().saturating_sub(1) as u32;
        let start = self.chunks.last().map_or(0, Vec::len) as u32;
        if let Some(last) = self.chunks.last_mut() {
            last.extend_from_slice(payload);
        }
        self.places.push((chunk, start, payload.len() as u32));
        self.bytes += payload.len() as u64;
    }

    pub(crate) fn get(&self, row: u32) -> Option<&[u8]> {
        let (chunk, start, len) = *self.places.get(row as usize)?;
        if len == 0 {
            return Some(&[]);
        }
        self.chunks.get(chunk as usize)?.get(start as usize..(start as usize + len as usize))
    }

    /// Bytes of all payloads.
    pub(crate) fn bytes(&self) -> u64 {
        self.bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn payloads_come_back_across_chunks() {
        let payloads: Vec<Vec<u8>> =
            [0, 10, 4096, 1, 0, CHUNK_BYTES + 1, 7, CHUNK_BYTES - 3].map(|len| vec![len as u8; len]).to_vec();
        let mut store = PayloadStore::default();
        payloads.iter().for_each(|payload| store.push(payload));
        for (row, payload) in payloads.iter().enumerate() {
            assert_eq!(store.get(row as u32), Some(payload.as_slice()));
        }
        assert_eq!(store.get(payloads.len() as u32), None);
        assert_eq!(store.bytes(), payloads.iter().map(|payload| payload.len() as u64).sum::<u64>());
    }
}
