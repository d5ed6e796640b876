//! Where batches end.
//!
//! Rows of a batch do not see each other while they look for neighbours, so a batch is kept to a small part of
//! what is linked already. Its end is a function of its beginning alone: however rows arrive and however many
//! threads link them, the same batches are formed, and so the same graph (cf. Manohar et al. 2024, ParlayANN).

/// A batch is at most this part of the rows linked before it.
const PART: u32 = 32;

/// The end of the batch that begins at row `linked`.
pub(super) fn batch_end(linked: u32, batch_max: u16) -> u32 {
    linked.saturating_add((linked / PART).clamp(1, u32::from(batch_max.max(1))))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn batches_grow_and_never_exceed_their_part() {
        let mut linked = 0;
        while linked < 100_000 {
            let end = batch_end(linked, 256);
            assert!(
                end > linked && end - linked <= 256 && (end - linked == 1 || end - linked <= linked / PART)
            );
            linked = end;
        }
    }
}
