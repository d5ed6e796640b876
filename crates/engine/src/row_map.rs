//! Which rows of a segment have a vector of one name.

/// From vector rows to the rows of the segment and back.
///
/// Vectors of one name are stored without gaps. Where every point has one, which is the usual case, a vector's row
/// is the point's row and nothing is stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum RowMap {
    /// The first so many rows have a vector, and no later one has.
    Identity(u32),
    /// The rows that have a vector, ascending.
    Sparse(Vec<u32>),
}

impl Default for RowMap {
    fn default() -> Self {
        RowMap::Identity(0)
    }
}

impl RowMap {
    /// How many vectors there are.
    pub(crate) fn len(&self) -> u32 {
        match self {
            RowMap::Identity(len) => *len,
            RowMap::Sparse(rows) => rows.len() as u32,
        }
    }

    /// How many vectors the rows below `rows` have.
    pub(crate) fn len_below(&self, rows: u32) -> u32 {
        match self {
            RowMap::Identity(len) => rows.min(*len),
            RowMap::Sparse(map) => map.partition_point(|row| *row < rows) as u32,
        }
    }

    /// Gives the next vector to `row`, which is above all rows that have one.
    pub(crate) fn push(&mut self, row: u32) {
        match self {
            RowMap::Identity(len) if *len == row => *len += 1,
            RowMap::Identity(len) => {
                let mut rows: Vec<u32> = (0..*len).collect();
                rows.push(row);
                *self = RowMap::Sparse(rows);
            }
            RowMap::Sparse(rows) => rows.push(row),
        }
    }

    /// The vector of a row.
    pub(crate) fn vector_row(&self, row: u32) -> Option<u32> {
        match self {
            RowMap::Identity(len) => (row < *len).then_some(row),
            RowMap::Sparse(rows) => rows.binary_search(&row).ok().map(|at| at as u32),
        }
    }

    /// The row of a vector.
    pub(crate) fn row(&self, vector_row: u32) -> Option<u32> {
        match self {
            RowMap::Identity(len) => (vector_row < *len).then_some(vector_row),
            RowMap::Sparse(rows) => rows.get(vector_row as usize).copied(),
        }
    }

    /// Turns a bitmap over rows into one over vector rows. `None` where they are the same.
    pub(crate) fn vector_bits(&self, row_bits: &[u64]) -> Option<Vec<u64>> {
        let RowMap::Sparse(rows) = self else { return None };
        let mut bits = vec![0; rows.len().div_ceil(64)];
        for (vector_row, row) in rows.iter().enumerate() {
            if crate::live_rows::bit(row_bits, *row) {
                crate::live_rows::set_bit(&mut bits, vector_row as u32);
            }
        }
        Some(bits)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_map_is_the_identity_until_a_row_is_left_out() {
        let mut map = RowMap::default();
        (0..3).for_each(|row| map.push(row));
        assert_eq!(map, RowMap::Identity(3));
        assert_eq!(map.vector_bits(&[0b101]), None);
        map.push(5);
        map.push(6);
        assert_eq!(map.len(), 5);
        assert_eq!(
            (map.vector_row(5), map.vector_row(4), map.row(4), map.row(5)),
            (Some(3), None, Some(6), None)
        );
        assert_eq!((map.len_below(5), map.len_below(6), map.len_below(100)), (3, 4, 5));
        assert_eq!(map.vector_bits(&[0b110_0001]), Some(vec![0b1_1001]));
    }
}
