//! How much is worked on at once, however many partitions there are: the memory of a pipeline follows from it.

use tokio::sync::{Semaphore, SemaphorePermit};

use crate::log::Record;

/// Bytes of records that all workers together work on. Decoded, as changes, in the request and as events they are in memory about nine
/// times: batches of 4 MiB in four partitions pass, of records of 15 MiB two at a time.
const BYTES: usize = 32 << 20;
/// The least a worker reads at once.
const BATCH_BYTES_MIN: usize = 256 << 10;
/// What is counted in.
const UNIT: usize = 64 << 10;

/// Room for batches. Whoever came first gets it first.
#[derive(Debug)]
pub(super) struct Room {
    units: Semaphore,
}

impl Room {
    pub(super) fn new() -> Room {
        Room { units: Semaphore::new(BYTES / UNIT) }
    }

    /// How much one of so many workers reads at once, where it may read `asked`.
    pub(super) fn batch_bytes(asked: usize, partitions: usize) -> usize {
        asked.min((BYTES / partitions.max(1)).max(BATCH_BYTES_MIN))
    }

    /// Waits until there is room for the records. What is larger than all there is has it alone.
    pub(super) async fn take(&self, records: &[Record]) -> Option<SemaphorePermit<'_>> {
        let bytes: usize = records.iter().map(|record| record.payload.len()).sum();
        let units = u32::try_from(bytes.min(BYTES).div_ceil(UNIT)).unwrap_or(u32::MAX);
        // It is never closed.
        self.units.acquire_many(units).await.ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use dvse_types::Position;
    use std::future::Future as _;
    use std::pin::pin;
    use std::task::{Context, Waker};

    #[test]
    fn large_batches_wait_for_each_other_and_small_ones_do_not() {
        let records = |bytes: usize| {
            let payload = vec![0; bytes];
            vec![Record { position: Position(1), key: vec![], payload, appended_ms: 0, flaw: None }]
        };
        let (room, mut context) = (Room::new(), Context::from_waker(Waker::noop()));
        let mut ready = |bytes: usize| {
            let records = records(bytes);
            let mut taking = pin!(room.take(&records));
            match taking.as_mut().poll(&mut context) {
                std::task::Poll::Ready(permit) => Some(permit.unwrap()),
                std::task::Poll::Pending => None,
            }
        };
        let small: Vec<_> = (0..4).map(|_| ready(4 << 20).unwrap()).collect();
        let large = ready(15 << 20).unwrap();
        assert!(ready(15 << 20).is_none());
        drop(small);
        let second = ready(15 << 20).unwrap();
        assert!(ready(4 << 20).is_none());
        drop((large, second));
        let alone = ready(1 << 28).unwrap();
        assert!(ready(1).is_none());
        drop(alone);
        assert!(ready(1).is_some());
    }

    #[test]
    fn many_partitions_read_less_each() {
        for (partitions, bytes) in [(1, 4 << 20), (4, 4 << 20), (8, 4 << 20), (32, 1 << 20), (256, 256 << 10)]
        {
            assert_eq!(Room::batch_bytes(4 << 20, partitions), bytes, "{partitions}");
        }
    }
}
