//! The `dvse` binary.
fn main() {}
