//! A segment file of arbitrary content: it opens or is refused; sections stay inside; `verify` never passes an edit.
//!
//! The first byte chooses what is done to the rest: odd inputs are edits of a sound file, four bytes each, place and
//! value; even ones are the raw bytes of a file.
#![no_main]

use std::sync::Arc;

use dvse_storage::{Directory, MemDirectory, SectionTag, SegmentReader, SegmentWriter, StorageErrorKind};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| {
    let Some((choice, rest)) = input.split_first() else { return };
    let sound = sound();
    let content = if choice % 2 == 0 { rest.to_vec() } else { edited(&sound, rest) };
    let dir = MemDirectory::new();
    let changed = content != sound;
    dir.put("seg", content).expect("the name is a name");
    let reader = match SegmentReader::open(&dir, "seg") {
        Ok(reader) => reader,
        Err(error) => return assert_eq!(error.kind(), StorageErrorKind::Corrupt, "{error}"),
    };
    for (tag, bytes) in reader.sections() {
        let section = reader.section(tag).expect("it is listed");
        assert_eq!(section.len() as u64, bytes);
        assert_eq!(section.as_ptr().addr() % 64, 0);
        drop(reader.verify(tag));
        drop(reader.verify_range(tag, bytes / 3..bytes / 2));
        drop(section.as_slice_of::<u64>());
    }
    // A raw file that passes is one that somebody wrote with all its checksums; an edit never has them.
    if reader.verify_all().is_ok() && choice % 2 == 1 {
        assert!(!changed, "an edit passed");
    }
});

fn sound() -> Vec<u8> {
    let dir = MemDirectory::new();
    let mut writer = SegmentWriter::create(Arc::new(dir.clone()), "seg").expect("memory does not fail");
    for (index, bytes) in [5usize, 0, 700, 66_000].into_iter().enumerate() {
        let tag = SectionTag::with_index(*b"FUZZ", index as u32);
        writer.section(tag, &vec![index as u8 + 1; bytes]).expect("memory does not fail");
    }
    writer.finish().expect("memory does not fail");
    dir.read("seg").expect("it was written")
}

/// Applies edits, four bytes each, to the sound file.
fn edited(sound: &[u8], edits: &[u8]) -> Vec<u8> {
    let mut content = sound.to_vec();
    for edit in edits.chunks_exact(4) {
        let place = u32::from_le_bytes([edit[0], edit[1], edit[2], 0]) as usize % content.len();
        content[place] = edit[3];
    }
    content
}
