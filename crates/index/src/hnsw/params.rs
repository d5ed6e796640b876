//! What a graph is built with.

use crate::coded::RowCodes;
use crate::graph::beam_search::Traversal;

/// The parameters of a graph. They are fixed when it is made and kept with it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct HnswParams {
    /// Neighbours a row has at most on each upper layer; twice as many on layer 0. 4 to 128.
    pub m: u16,
    /// Candidates kept while a row's neighbours are sought. 1 to 4096.
    pub ef_construction: u16,
    /// Factor on distances when candidates are tested for occlusion, 1.0 to 2.0. Ignored for inner products.
    pub alpha: f32,
    /// Rows linked together, 1 to 4096. They do not see each other while they look for neighbours, so small graphs
    /// use smaller batches whatever is set here.
    pub batch_max: u16,
    /// Where the levels are drawn from.
    pub seed: u64,
    /// Whether some rows stand on upper layers too: HNSW. Without, the graph is flat (NSW): walks begin at rows spread
    /// over all there are, or at the first one where there are no sketches.
    pub layers: bool,
    /// Whether rows are searched through sketches, a cache line or two each, and compared exactly only at the end.
    /// Without, every comparison reads a whole row.
    pub sketches: bool,
    /// Codes that a sealed graph is searched by in place of sketches. A growing one is linked and searched by sketches
    /// all the same: rows get their codes when the index is kept.
    pub codes: Option<RowCodes>,
    /// Whether a sealed graph has its rows in half precision too: they say which candidates need not be compared in full.
    pub halves: bool,
    /// How traversals feed the machine.
    pub traversal: Traversal,
}

impl Default for HnswParams {
    fn default() -> HnswParams {
        HnswParams {
            m: 16,
            ef_construction: 128,
            alpha: 1.05,
            batch_max: 256,
            seed: 0,
            layers: true,
            sketches: true,
            codes: None,
            halves: false,
            traversal: Traversal::default(),
        }
    }
}

/// A parameter out of its range.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[error("{name} is {got}, it must be {min} to {max}")]
pub struct HnswParamsError {
    /// The parameter.
    pub name: &'static str,
    /// Its value.
    pub got: f64,
    /// The least value allowed.
    pub min: f64,
    /// The greatest value allowed.
    pub max: f64,
}

impl HnswParams {
    /// Checks every parameter against its range.
    ///
    /// # Errors
    /// The first parameter out of range.
    pub fn check(&self) -> Result<(), HnswParamsError> {
        let ranges = [
            ("m", f64::from(self.m), 4.0, 128.0),
            ("ef_construction", f64::from(self.ef_construction), 1.0, 4096.0),
            ("alpha", f64::from(self.alpha), 1.0, 2.0),
            ("batch_max", f64::from(self.batch_max), 1.0, 4096.0),
            ("traversal.expansions", self.traversal.expansions as f64, 1.0, 16.0),
        ];
        for (name, got, min, max) in ranges {
            // Written so that NaN is refused.
            if !(got >= min && got <= max) {
                return Err(HnswParamsError { name, got, min, max });
            }
        }
        if let Some(RowCodes::RaBitQ { bits }) = self.codes.filter(|codes| !codes.is_known()) {
            // 3, 5, 6 and 7 are within the range and not there either.
            return Err(HnswParamsError { name: "codes.bits", got: bits.into(), min: 1.0, max: 8.0 });
        }
        Ok(())
    }
}
