//! The body of a log entry: any bytes are a batch, or are refused; a batch comes back the same when it is written again.
#![no_main]

use dvse_engine::{decode, encode};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    if let Ok(batch) = decode(bytes) {
        let written = encode(&batch);
        let again = decode(&written).expect("what was written can be read");
        // Bytes are compared, not batches: a NaN that was read is not equal to itself.
        assert_eq!(encode(&again), written);
    }
});
