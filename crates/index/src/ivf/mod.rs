//! Inverted lists with product codes (Jégou, Douze & Schmid 2011), scanned by byte shuffles.
//!
//! k-means cuts the space into lists; a row lies in the list of its nearest centroid as a code of its offset from
//! there. A query looks into the lists of the nearest centroids, scores their codes 32 at a time, and compares the
//! best of them exactly. [`GrowingIvf`] takes rows while others search; [`SealedIvf`] is the same lists, read in
//! place from sections.
//!
//! ```text
//! |q − x|² ≈ |q|² − 2·⟨q, c⟩ − 2·⟨q, r̂⟩ + term        c the centroid, r̂ the coded offset, x̂ = c + r̂
//!                   └ of the list └ sum of entries └ |x̂|² + 0.7·|x − x̂|², kept with the row
//! ```
//!
//! The entries depend on the query alone, so one set of tables serves all lists though offsets are coded. An inner
//! product needs no term.

mod assign;
mod growing;
mod lists;
mod params;
mod sealed;
mod search;
mod sections;
mod train;

pub use growing::GrowingIvf;
pub use params::{IvfParams, IvfParamsError, Probing};
pub use sealed::SealedIvf;
pub(crate) use search::Workspace;
