//! Every level this CPU runs against the scalar oracle, and the memory the kernels read.
//!
//! The modules that make no threads are also run without a harness by `tests/emulated`, under emulation; hence the macro
//! that declares their tests.

/// Declares tests, here in the usual way.
macro_rules! tests {
    ($($(#[$doc:meta])* fn $name:ident() $body:block)*) => {
        $($(#[$doc])* #[test] fn $name() $body)*
    };
}

mod agree_with_scalar;
mod aligned;
mod edge_lengths;
mod fast_scan;
mod growing_rows;
mod halves;
mod levels;
mod planes;
mod probe;
mod sketches;
mod special_values;
mod words;
