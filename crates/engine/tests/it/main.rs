//! The engine as its users see it: one collection, many ways to hurt it.

mod support;

mod collection;
