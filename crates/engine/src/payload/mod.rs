//! Payloads in segments: their bytes, and the indexes over their fields.

mod field_index;
mod keys;
mod store;

pub use field_index::FieldIndexError;
pub(crate) use field_index::{GrowingFieldIndex, Postings, SealedFieldIndex, encode_field_index};
pub(crate) use keys::{
    code_of_bool, code_of_f64, code_of_i64, f64_of_code, field_keys, for_each_value, i64_of_code, parse_uuid,
    uuid_text,
};
pub(crate) use store::PayloadStore;
