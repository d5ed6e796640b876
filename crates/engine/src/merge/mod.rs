//! Merging: several sealed segments become one, without their dead rows.

mod execute;
mod pace;
mod policy;
mod reuse;

pub(crate) use execute::MergeJob;
pub use pace::{MergePace, Pacer};
pub(crate) use pace::{is_pressed, merge_dir};
pub(crate) use policy::{MergePick, is_dying, is_rest_due, pick_merge, pick_rested};
pub(crate) use reuse::Reuse;
