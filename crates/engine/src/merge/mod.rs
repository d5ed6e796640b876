//! Merging: several sealed segments become one, without their dead rows.

mod execute;
mod policy;

pub(crate) use execute::MergeJob;
pub(crate) use policy::{MergePick, is_dying, pick_merge};
