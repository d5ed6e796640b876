//! The header of a NumPy file: any bytes describe an array, or are refused; memory is bounded by the bytes given.
#![no_main]

use libfuzzer_sys::fuzz_target;

/// The reader as the command line has it; that package is a binary and cannot be depended on.
#[expect(dead_code, reason = "the target calls the parser of the header and nothing else")]
#[path = "."]
mod vectors {
    #[path = "../../crates/cli/src/vectors/element.rs"]
    mod element;
    #[path = "../../crates/cli/src/vectors/error.rs"]
    mod error;
    #[path = "../../crates/cli/src/vectors/npy.rs"]
    pub mod npy;

    pub use element::{ByteOrder, Element};
    pub use error::HeaderError;
}

fuzz_target!(|bytes: &[u8]| {
    match vectors::npy::parse_npy_header(bytes) {
        Ok(header) => drop(format!("{header:?}")),
        Err(error) => assert!(!error.to_string().is_empty()),
    }
});
