//! Which parts of points an answer shows, and how they are written.

mod body;
mod list;

pub use body::{WithPayloadBody, WithVectorBody};
pub use list::{PointList, ShownPoint};

use dvse_types::{PayloadPath, PayloadSelector, Projection, VectorSelector};

use crate::error::RestError;

/// Reads `with_payload` and `with_vector`; `payload_default` is what an absent `with_payload` means.
///
/// # Errors
/// A payload key is none.
pub fn read_projection(
    with_payload: Option<WithPayloadBody>,
    with_vector: Option<WithVectorBody>,
    payload_default: bool,
) -> Result<Projection, RestError> {
    let paths =
        |keys: Vec<String>| keys.iter().map(|key| key.parse()).collect::<Result<Vec<PayloadPath>, _>>();
    let payload = match with_payload.unwrap_or(WithPayloadBody::Flag(payload_default)) {
        WithPayloadBody::Flag(false) => PayloadSelector::None,
        WithPayloadBody::Flag(true) => PayloadSelector::All,
        WithPayloadBody::Include(keys) => PayloadSelector::Include(paths(keys)?),
        WithPayloadBody::Exclude(keys) => PayloadSelector::Exclude(paths(keys)?),
    };
    let vectors = match with_vector {
        None | Some(WithVectorBody::Flag(false)) => VectorSelector::None,
        Some(WithVectorBody::Flag(true)) => VectorSelector::All,
        Some(WithVectorBody::Names(names)) => VectorSelector::Named(names),
    };
    Ok(Projection { payload, vectors })
}
