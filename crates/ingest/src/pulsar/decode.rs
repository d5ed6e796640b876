//! Entries of a topic as records: alone or in batches, compressed or not, whoever sent them.

use std::io::Read as _;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use prost::Message as _;
use pulsar::message::{Payload, proto};
use pulsar::proto::CompressionType;

use super::place::Place;
use crate::log::Record;
use dvse_types::Position;

/// The largest content that is unpacked: a letter of the largest record that is taken, all of it escaped. Brokers take entries of
/// 5 MiB unless told otherwise.
const CONTENT_BYTES_MAX: u64 = 128 << 20;

/// Returns the records of an entry; one with a flaw and the bytes of the entry, where it cannot be read.
pub(super) fn records(place: Place, payload: Payload) -> Vec<Record> {
    let Payload { metadata, data } = payload;
    let read = match foreign(&metadata) {
        Some(flaw) => Err(flaw),
        None => read(place, &metadata, &data),
    };
    read.unwrap_or_else(|flaw| {
        // No broker has an entry before its first.
        let position = Place { index: 0, ..place }.position().unwrap_or(Position(0));
        let key = key_of(metadata.partition_key, metadata.partition_key_b64_encoded).unwrap_or_default();
        vec![Record { position, key, payload: data, appended_ms: metadata.publish_time, flaw: Some(flaw) }]
    })
}

/// Why an entry is nothing that can be read at all.
fn foreign(metadata: &proto::MessageMetadata) -> Option<String> {
    let chunks = metadata.num_chunks_from_msg.unwrap_or_default();
    if chunks > 1 {
        let chunk = metadata.chunk_id.unwrap_or_default() + 1;
        return Some(format!(
            "it is chunk {chunk} of {chunks} of a larger message; send records that fit one message, without chunking"
        ));
    }
    (!metadata.encryption_keys.is_empty()).then(|| "it is encrypted; send it without encryption".to_owned())
}

fn read(place: Place, metadata: &proto::MessageMetadata, data: &[u8]) -> Result<Vec<Record>, String> {
    let data = unpack(metadata, data)?;
    let appended_ms = metadata.publish_time;
    let at = |index: u32| Place { index, ..place }.position().ok_or("an entry before the first one");
    let Some(count) = metadata.num_messages_in_batch else {
        let key = key_of(metadata.partition_key.clone(), metadata.partition_key_b64_encoded)?;
        return Ok(vec![Record { position: at(0)?, key, payload: data, appended_ms, flaw: None }]);
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
        records.push(Record {
            position: at(index)?,
            key,
            payload: content.to_vec(),
            appended_ms,
            flaw: None,
        });
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

fn unpack(metadata: &proto::MessageMetadata, data: &[u8]) -> Result<Vec<u8>, String> {
    let kind = metadata.compression.unwrap_or_default();
    let kind = CompressionType::try_from(kind).map_err(|_| format!("compression of kind {kind}"))?;
    let size = u64::from(metadata.uncompressed_size.unwrap_or_default());
    if size > CONTENT_BYTES_MAX {
        return Err(format!("{size} bytes unpacked, more than {CONTENT_BYTES_MAX}"));
    }
    let mut content = Vec::new();
    let unpacked = match kind {
        CompressionType::None => return Ok(data.to_vec()),
        CompressionType::Lz4 => {
            let size = i32::try_from(size).map_err(|error| error.to_string())?;
            lz4::block::decompress(data, Some(size)).map(|unpacked| content = unpacked)
        }
        CompressionType::Zlib => {
            flate2::read::ZlibDecoder::new(data).take(size).read_to_end(&mut content).map(drop)
        }
        CompressionType::Zstd => zstd::stream::read::Decoder::new(data)
            .and_then(|decoder| decoder.take(size).read_to_end(&mut content))
            .map(drop),
        // It tells its size itself, whatever the sender says beside it.
        CompressionType::Snappy
            if snap::raw::decompress_len(data).is_ok_and(|bytes| bytes as u64 > CONTENT_BYTES_MAX) =>
        {
            return Err(format!("more than {CONTENT_BYTES_MAX} bytes unpacked"));
        }
        CompressionType::Snappy => snap::raw::Decoder::new()
            .decompress_vec(data)
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
            let records = records(PLACE, Payload { metadata, data });
            let expect = [("x", 0), ("y", 1)].map(|(key, index)| Record {
                position: Place { index, ..PLACE }.position().unwrap(),
                key: key.into(),
                payload: b"abc".to_vec(),
                appended_ms: 9,
                flaw: None,
            });
            assert_eq!(records, expect, "{kind:?}");
        }
    }

    #[test]
    fn an_entry_that_cannot_be_read_is_one_record_that_says_why_and_has_its_bytes() {
        let check = |metadata: proto::MessageMetadata, data: &[u8], says: &str| {
            let records = records(PLACE, Payload { metadata, data: data.to_vec() });
            let [record] = records.as_slice() else { panic!("{records:?}") };
            assert_eq!((record.position, &*record.payload), (PLACE.position().unwrap(), data));
            assert!(record.flaw.as_ref().is_some_and(|flaw| flaw.contains(says)), "{record:?}");
        };
        let whole = batch(&["x"]);
        for cut in 0..whole.len() {
            let metadata = proto::MessageMetadata { num_messages_in_batch: Some(1), ..Default::default() };
            check(metadata, &whole[..cut], "");
        }
        let packed = |kind: i32, bytes: u32| proto::MessageMetadata {
            compression: Some(kind),
            uncompressed_size: Some(bytes),
            ..Default::default()
        };
        check(packed(77, 0), b"", "compression of kind 77");
        check(packed(CompressionType::Zstd as i32, 9), b"no zstd", "cannot be unpacked");
        check(packed(CompressionType::Lz4 as i32, u32::MAX), b"x", "bytes unpacked, more than");
        // A length of 4 GiB in five bytes.
        let huge = [0xff, 0xff, 0xff, 0xff, 0x0f, 0];
        check(packed(CompressionType::Snappy as i32, 9), &huge, "bytes unpacked");
        let chunk =
            proto::MessageMetadata { num_chunks_from_msg: Some(3), chunk_id: Some(1), ..Default::default() };
        check(chunk, b"{}", "chunk 2 of 3");
        let key = proto::EncryptionKeys { key: "k".to_owned(), value: vec![1], ..Default::default() };
        let encrypted = proto::MessageMetadata { encryption_keys: vec![key], ..Default::default() };
        check(encrypted, b"\x00", "encrypted");
    }

    #[test]
    fn keys_come_back_whatever_bytes_they_have() {
        for key in [&b""[..], b"42", "ö".as_bytes(), b"\xff\x00"] {
            let (text, is_base64) = key_text(key);
            assert_eq!(key_of(text, is_base64).as_deref(), Ok(key));
        }
    }
}
