//! The manifest: the newest whole state, or an error.

use std::sync::Arc;

use dvse_storage::{Directory, ManifestStore, MemDirectory, StorageErrorKind};

#[test]
fn the_last_published_body_comes_back() {
    let dir = Arc::new(MemDirectory::new());
    let (store, found) = ManifestStore::open(dir.clone()).unwrap();
    assert_eq!(found, None);
    for generation in 1..=12 {
        assert_eq!(store.publish(format!("state {generation}").as_bytes()).unwrap(), generation);
    }
    let (store, found) = ManifestStore::open(dir.clone()).unwrap();
    assert_eq!(found, Some((12, b"state 12".to_vec())));
    assert_eq!(store.publish(b"").unwrap(), 13);
    assert_eq!(ManifestStore::open(dir.clone()).unwrap().1, Some((13, Vec::new())));
    assert_eq!(dir.list().unwrap().len(), 1, "older generations are removed");
}

#[test]
fn a_damaged_newest_manifest_is_an_error_and_not_an_older_state() {
    let dir = MemDirectory::new();
    let (store, _) = ManifestStore::open(Arc::new(dir.clone())).unwrap();
    store.publish(b"one").unwrap();
    let older = dir.read("manifest-00000000000000000001").unwrap();
    store.publish(b"two").unwrap();
    let newest = "manifest-00000000000000000002";
    let sound = dir.read(newest).unwrap();
    for place in 0..sound.len() {
        for bit in [1, 128] {
            let mut damaged = sound.clone();
            damaged[place] ^= bit;
            dir.put(newest, damaged).unwrap();
            dir.put("manifest-00000000000000000001", older.clone()).unwrap();
            let error = ManifestStore::open(Arc::new(dir.clone())).unwrap_err();
            assert_eq!(error.kind(), StorageErrorKind::Corrupt, "byte {place}");
            let message = error.to_string();
            assert!(message.contains(newest) && message.contains("offset"), "{message}");
        }
    }
    for len in 0..sound.len() {
        dir.put(newest, sound[..len].to_vec()).unwrap();
        assert_eq!(ManifestStore::open(Arc::new(dir.clone())).unwrap_err().kind(), StorageErrorKind::Corrupt);
    }
    dir.put(newest, sound).unwrap();
    assert_eq!(ManifestStore::open(Arc::new(dir)).unwrap().1, Some((2, b"two".to_vec())));
}
