//! Entries of a topic as records: alone or in batches, compressed or not, whoever sent them.

use std::io::Read as _;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use prost::Message as _;
use pulsar::message::{Payload, proto};
use pulsar::proto::CompressionType;

use super::place::Place;
use crate::log::Record;

/// The largest content that is unpacked: brokers take entries of 5 MiB unless told otherwise.
const CONTENT_BYTES_MAX: u64 = 256 << 20;

/// Returns the records of an entry.
///
/// # Errors
/// Why the entry cannot be read. It stays in the topic; going on without it would lose it.
pub(super) fn records(place: Place, payload: Payload) -> Result<Vec<Record>, String> {
    let Payload { metadata, data } = payload;
    let data = unpack(&metadata, data)?;
    let appended_ms = metadata.publish_time;
    let at = |index: u32| Place { index, ..place }.position().ok_or("an entry before the first one");
    let Some(count) = metadata.num_messages_in_batch else {
        let key = key_of(metadata.partition_key, metadata.partition_key_b64_encoded)?;
        return Ok(vec![Record { position: at(0)?, key, payload: data, appended_ms }]);
    };
    let mut records = Vec::new();
    let mut rest = data.as_slice();
    for index in 0..u32::try_from(count).map_err(|_| format!("a batch of {count} messages"))? {
        let header = take_sized(&mut rest)?;
        let single = proto::SingleMessageMetadata::decode(header).map_err(|error| error.to_string())?;
        let bytes = usize::try_from(single.payload_size).unwrap_or(usize::MAX);
        let content = take(&mut rest, bytes)?;
        if single.compacted_out.unwrap_or_default() {
            continue;
        }
        let key = key_of(single.partition_key, single.partition_key_b64_encoded)?;
        records.push(Record { position: at(index)?, key, payload: content.to_vec(), appended_ms });
    }
    Ok(records)
}

fn take_sized<'a>(rest: &mut &'a [u8]) -> Result<&'a [u8], String> {
    let Some((size, behind)) = rest.split_first_chunk::<4>() else {
        return Err("a batch that ends early".to_owned());
    };
    *rest = behind;
    take(rest, u32::from_be_bytes(*size) as usize)
}

fn take<'a>(rest: &mut &'a [u8], bytes: usize) -> Result<&'a [u8], String> {
    let Some((taken, behind)) = rest.split_at_checked(bytes) else {
        return Err("a batch that ends early".to_owned());
    };
    *rest = behind;
    Ok(taken)
}

/// Keys that are not text are sent as Base64.
fn key_of(key: Option<String>, is_base64: Option<bool>) -> Result<Vec<u8>, String> {
    let key = key.unwrap_or_default();
    match is_base64.unwrap_or_default() {
        true => STANDARD.decode(&key).map_err(|error| format!("a key that is not Base64: {error}")),
        false => Ok(key.into_bytes()),
    }
}

/// How a key is sent: the text, and whether it is Base64.
pub(super) fn key_text(key: &[u8]) -> (Option<String>, Option<bool>) {
    match std::str::from_utf8(key) {
        Ok("") => (None, None),
        Ok(text) => (Some(text.to_owned()), None),
        Err(_) => (Some(STANDARD.encode(key)), Some(true)),
    }
}

fn unpack(metadata: &proto::MessageMetadata, data: Vec<u8>) -> Result<Vec<u8>, String> {
    let kind = metadata.compression.unwrap_or_default();
    let kind = CompressionType::try_from(kind).map_err(|_| format!("compression of kind {kind}"))?;
    let size = u64::from(metadata.uncompressed_size.unwrap_or_default());
    if size > CONTENT_BYTES_MAX {
        return Err(format!("{size} bytes unpacked, more than {CONTENT_BYTES_MAX}"));
    }
    let mut content = Vec::new();
    let unpacked = match kind {
        CompressionType::None => return Ok(data),
        CompressionType::Lz4 => {
            let size = i32::try_from(size).map_err(|error| error.to_string())?;
            lz4::block::decompress(&data, Some(size)).map(|unpacked| content = unpacked)
        }
        CompressionType::Zlib => {
            flate2::read::ZlibDecoder::new(&*data).take(size).read_to_end(&mut content).map(drop)
        }
        CompressionType::Zstd => zstd::stream::read::Decoder::new(&*data)
            .and_then(|decoder| decoder.take(size).read_to_end(&mut content))
            .map(drop),
        CompressionType::Snappy => snap::raw::Decoder::new()
            .decompress_vec(&data)
            .map(|unpacked| content = unpacked)
            .map_err(std::io::Error::other),
    };
    unpacked.map_err(|error| format!("{} content that cannot be unpacked: {error}", kind.as_str_name()))?;
    Ok(content)
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    const PLACE: Place = Place { ledger: 3, entry: 4, index: 0 };

    fn batch(keys: &[&str]) -> Vec<u8> {
        let mut data = Vec::new();
        for key in keys {
            let header = proto::SingleMessageMetadata {
                partition_key: Some((*key).to_owned()),
                payload_size: 3,
                ..Default::default()
            };
            let header = header.encode_to_vec();
            data.extend_from_slice(&(header.len() as u32).to_be_bytes());
            data.extend_from_slice(&header);
            data.extend_from_slice(b"abc");
        }
        data
    }

    #[test]
    fn batches_are_taken_apart_however_they_are_packed() {
        let plain = batch(&["x", "y"]);
        let zlib = {
            let mut encoder = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::fast());
            encoder.write_all(&plain).unwrap();
            encoder.finish().unwrap()
        };
        for (kind, data) in [
            (CompressionType::None, plain.clone()),
            (CompressionType::Lz4, lz4::block::compress(&plain, None, false).unwrap()),
            (CompressionType::Zlib, zlib),
            (CompressionType::Zstd, zstd::encode_all(&*plain, 1).unwrap()),
            (CompressionType::Snappy, snap::raw::Encoder::new().compress_vec(&plain).unwrap()),
        ] {
            let metadata = proto::MessageMetadata {
                publish_time: 9,
                num_messages_in_batch: Some(2),
                compression: Some(kind as i32),
                uncompressed_size: Some(plain.len() as u32),
                ..Default::default()
            };
            let records = records(PLACE, Payload { metadata, data }).unwrap();
            let expect = [("x", 0), ("y", 1)].map(|(key, index)| Record {
                position: Place { index, ..PLACE }.position().unwrap(),
                key: key.into(),
                payload: b"abc".to_vec(),
                appended_ms: 9,
            });
            assert_eq!(records, expect, "{kind:?}");
        }
    }

    #[test]
    fn an_entry_that_cannot_be_read_is_an_error_and_never_passed_over() {
        let whole = batch(&["x"]);
        for cut in 0..whole.len() {
            let metadata = proto::MessageMetadata { num_messages_in_batch: Some(1), ..Default::default() };
            assert!(records(PLACE, Payload { metadata, data: whole[..cut].to_vec() }).is_err());
        }
        let metadata = proto::MessageMetadata { compression: Some(77), ..Default::default() };
        assert!(records(PLACE, Payload { metadata, data: vec![] }).is_err());
    }

    #[test]
    fn keys_come_back_whatever_bytes_they_have() {
        for key in [&b""[..], b"42", "ö".as_bytes(), b"\xff\x00"] {
            let (text, is_base64) = key_text(key);
            assert_eq!(key_of(text, is_base64).as_deref(), Ok(key));
        }
    }
}
