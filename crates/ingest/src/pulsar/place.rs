//! Places of records: Pulsar's ids as positions, and back.

use pulsar::proto::MessageIdData;

use dvse_types::Position;

/// Bits of a position for the place in a batch; a batch has fewer messages than fit.
const BATCH_BITS: u32 = 20;
const BATCH_MASK: u128 = (1 << BATCH_BITS) - 1;
const ENTRY_MASK: u128 = (1 << (64 - BATCH_BITS)) - 1;

/// A place in a partition. Ledgers of a cluster are numbered upwards and never again, so that the order of places is
/// the order of records even if a topic is removed and made again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Place {
    pub ledger: u64,
    /// −1 is before the first of the ledger.
    pub entry: i64,
    /// Where in the entry; 0 if it is no batch.
    pub index: u32,
}

impl Place {
    pub(super) fn of(position: Position) -> Place {
        let entry = (position.0 >> BATCH_BITS) & ENTRY_MASK;
        Place {
            ledger: u64::try_from(position.0 >> 64).unwrap_or(u64::MAX),
            entry: i64::try_from(entry).unwrap_or(i64::MAX),
            index: u32::try_from(position.0 & BATCH_MASK).unwrap_or_default(),
        }
    }

    /// Reads an id of the protocol, in which −1 is the largest unsigned number.
    pub(super) fn of_id(id: &MessageIdData) -> Place {
        Place {
            ledger: id.ledger_id,
            entry: id.entry_id.cast_signed(),
            index: u32::try_from(id.batch_index.unwrap_or(-1)).unwrap_or(0),
        }
    }

    /// The position; `None` before the first entry of a ledger.
    pub(super) fn position(self) -> Option<Position> {
        let entry = u128::try_from(self.entry).ok()?;
        Some(Position((u128::from(self.ledger) << 64) | (entry << BATCH_BITS) | u128::from(self.index)))
    }

    /// The entry before, in the same ledger.
    pub(super) fn entry_before(self) -> Place {
        Place { entry: self.entry.saturating_sub(1).max(-1), index: 0, ..self }
    }

    pub(super) fn is_same_entry(self, other: Place) -> bool {
        (self.ledger, self.entry) == (other.ledger, other.entry)
    }

    /// Whether the entry is that of the other place, or later.
    pub(super) fn reaches(self, other: Place) -> bool {
        (self.ledger, self.entry) >= (other.ledger, other.entry)
    }

    /// The id of the entry.
    pub(super) fn id(self) -> MessageIdData {
        MessageIdData {
            ledger_id: self.ledger,
            entry_id: self.entry.cast_unsigned(),
            ..MessageIdData::default()
        }
    }
}

/// The id before everything.
pub(super) fn earliest() -> MessageIdData {
    MessageIdData { ledger_id: u64::MAX, entry_id: u64::MAX, ..MessageIdData::default() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn positions_keep_the_order_of_records_and_come_back() {
        let mut last = None;
        for (ledger, entry, index) in
            [(0, 0, 0), (0, 0, 1), (0, 1, 0), (0, 50_000, 999), (1, 0, 0), (7, 3, 0), (u64::MAX, 9, 0)]
        {
            let place = Place { ledger, entry, index };
            let position = place.position().unwrap();
            assert!(Some(position) > last, "{place:?}");
            assert_eq!(Place::of(position), place);
            last = Some(position);
        }
        let none = MessageIdData { ledger_id: 4, entry_id: u64::MAX, ..MessageIdData::default() };
        assert_eq!(Place::of_id(&none).position(), None);
        assert_eq!(Place { ledger: 7, entry: 3, index: 5 }.position().unwrap().0, (7 << 64) | (3 << 20) | 5);
    }
}
