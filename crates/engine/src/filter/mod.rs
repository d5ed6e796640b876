//! Filters: compiled once a request, then answered per segment by its indexes and, where those do not reach, by the
//! payloads of the rows that are left.

mod check;
mod compile;
mod evaluate;
mod indexed;
mod plan;

pub use compile::InvalidFilter;
pub(crate) use compile::{CompiledFilter, Node, check as check_filter};
pub(crate) use evaluate::Matcher;
pub use plan::FilterChoice;
pub(crate) use plan::{FilterPlan, PlanFacts};
