//! A manifest or small file of arbitrary content: it is given back whole, or refused as damaged.
//!
//! The first byte chooses what is done to the rest: odd inputs are edits of a sound manifest, two bytes each; even
//! ones are the raw bytes of a file.
#![no_main]

use std::sync::Arc;

use dvse_storage::{Directory, ManifestStore, MemDirectory, StorageErrorKind, read_checked};
use libfuzzer_sys::fuzz_target;

const NAME: &str = "manifest-00000000000000000001";
const BODY: &[u8] = b"a state of a directory, as its owner wrote it";

fuzz_target!(|input: &[u8]| {
    let Some((choice, rest)) = input.split_first() else { return };
    let sound = sound();
    let content = if choice % 2 == 0 { rest.to_vec() } else { edited(&sound, rest) };
    let changed = content != sound;
    let dir = MemDirectory::new();
    dir.put(NAME, content.clone()).expect("the name is a name");
    match ManifestStore::open(Arc::new(dir.clone())) {
        Ok((store, found)) => {
            let (generation, body) = found.expect("a manifest is there");
            assert_eq!((generation, body.len()), (1, content.len() - 40));
            assert!(choice % 2 == 0 || !changed, "an edit passed");
            assert_eq!(store.publish(&body).expect("memory does not fail"), 2);
        }
        Err(error) => assert_eq!(error.kind(), StorageErrorKind::Corrupt, "{error}"),
    }
    dir.put("small", content).expect("the name is a name");
    if let Err(error) = read_checked(&dir, "small") {
        assert_eq!(error.kind(), StorageErrorKind::Corrupt, "{error}");
    }
});

fn sound() -> Vec<u8> {
    let dir = MemDirectory::new();
    let (store, _) = ManifestStore::open(Arc::new(dir.clone())).expect("an empty directory opens");
    store.publish(BODY).expect("memory does not fail");
    dir.read(NAME).expect("it was written")
}

fn edited(sound: &[u8], edits: &[u8]) -> Vec<u8> {
    let mut content = sound.to_vec();
    for edit in edits.chunks_exact(2) {
        let place = usize::from(edit[0]) % content.len();
        content[place] = edit[1];
    }
    content
}
