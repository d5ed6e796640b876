//! Segment files, manifests and small files on a disk that loses power.

use std::sync::Arc;

use dvse_storage::{
    Directory, DirectoryError, FaultyDirectory, ManifestError, ManifestStore, SectionTag, SegmentReader,
    SegmentWriter, StorageErrorKind, read_checked, remove_temporaries, write_atomic,
};

#[test]
fn the_manifest_is_the_old_or_the_new_one_at_every_call() {
    let publish = |disk: &FaultyDirectory| -> (u64, Option<ManifestError>) {
        let mut published = 0;
        let outcome = ManifestStore::open(Arc::new(disk.clone())).and_then(|(store, _)| {
            for generation in 1..=4 {
                store.publish(&[generation as u8; 700])?;
                published = generation;
            }
            Ok(())
        });
        (published, outcome.err())
    };
    let disk = FaultyDirectory::new();
    assert_eq!(publish(&disk).0, 4);
    for stop in 1..=disk.calls() {
        let disk = FaultyDirectory::new();
        disk.stop_at(stop);
        let (published, _) = publish(&disk);
        for seed in 0..12 {
            let after = disk.crash(seed);
            let (store, found) = ManifestStore::open(Arc::new(after.clone())).unwrap();
            let (generation, body) = found.unwrap_or((0, Vec::new()));
            assert!(generation == published || generation == published + 1, "{generation} {published}");
            assert!(body.iter().all(|byte| u64::from(*byte) == generation));
            assert_eq!(store.publish(b"next").unwrap(), generation + 1);
            assert_eq!(after.list().unwrap().len(), 1);
        }
    }
}

#[test]
fn a_full_disk_leaves_the_manifest_as_it_was() {
    let disk = FaultyDirectory::new();
    let (store, _) = ManifestStore::open(Arc::new(disk.clone())).unwrap();
    store.publish(b"one").unwrap();
    for free in [0, 30, 60] {
        disk.set_free_bytes(Some(free));
        assert_eq!(store.publish(&[2; 100]).unwrap_err().kind(), StorageErrorKind::Full);
        assert_eq!(disk.list().unwrap().len(), 1, "nothing half-written stays");
        let (_, found) = ManifestStore::open(Arc::new(disk.crash(free))).unwrap();
        assert_eq!(found, Some((1, b"one".to_vec())));
    }
    disk.set_free_bytes(None);
    assert_eq!(store.publish(b"two").unwrap(), 2);
}

#[test]
fn a_manifest_of_unknown_durability_stops_the_store() {
    let disk = FaultyDirectory::new();
    let (store, _) = ManifestStore::open(Arc::new(disk.clone())).unwrap();
    store.publish(b"one").unwrap();
    disk.fail_sync(1);
    assert!(matches!(store.publish(b"two"), Err(ManifestError::Unwritten(_))), "the file was not synced");
    assert_eq!(store.publish(b"two").unwrap(), 2);
    disk.fail_sync(2);
    assert!(matches!(store.publish(b"three"), Err(ManifestError::Unknown { .. })), "the name was not synced");
    assert_eq!(store.publish(b"four").unwrap_err().kind(), StorageErrorKind::Poisoned);
    for seed in 0..10 {
        let (_, found) = ManifestStore::open(Arc::new(disk.crash(seed))).unwrap();
        assert!(matches!(found, Some((2 | 3, _))));
    }
}

#[test]
fn a_segment_file_is_whole_or_absent_at_every_call() {
    let tag = SectionTag::new(*b"ROWS");
    let rows: Vec<u8> = (0..2_500_000u32).map(|i| (i >> 3) as u8).collect();
    let write = |disk: &FaultyDirectory| {
        let mut writer = SegmentWriter::create(Arc::new(disk.clone()), "seg")?;
        writer.section(SectionTag::new(*b"IDS "), b"ids")?;
        writer.begin(tag, dvse_storage::Alignment::Page)?;
        for row in rows.chunks(50_000) {
            writer.write(row)?;
        }
        writer.finish()
    };
    let disk = FaultyDirectory::new();
    write(&disk).unwrap();
    for stop in 1..=disk.calls() + 1 {
        let disk = FaultyDirectory::new();
        disk.stop_at(stop);
        let finished = write(&disk).is_ok();
        for seed in 0..4 {
            let after = disk.crash(seed);
            remove_temporaries(&after).unwrap();
            match SegmentReader::open(&after, "seg") {
                Ok(reader) => {
                    reader.verify_all().unwrap();
                    assert_eq!(&*reader.section(tag).unwrap(), rows);
                }
                Err(error) => {
                    assert!(!finished, "{error}");
                    assert_eq!(after.list().unwrap(), []);
                }
            }
        }
    }
}

#[test]
fn a_small_file_is_the_old_or_the_new_one_at_every_call() {
    let body = |round: u8| vec![round; 3000 + usize::from(round)];
    let write = |disk: &FaultyDirectory| {
        let mut written = 0;
        for round in 1..=3 {
            if write_atomic(disk, "small", &body(round)).is_err() {
                break;
            }
            written = round;
        }
        written
    };
    let disk = FaultyDirectory::new();
    assert_eq!(write(&disk), 3);
    for stop in 1..=disk.calls() {
        let disk = FaultyDirectory::new();
        disk.stop_at(stop);
        let written = write(&disk);
        for seed in 0..12 {
            let found = read_checked(&disk.crash(seed), "small").unwrap();
            let expected = |round: u8| if round == 0 { None } else { Some(body(round)) };
            assert!(found == expected(written) || found == expected(written + 1), "stop {stop} seed {seed}");
        }
    }
}

#[test]
fn a_small_file_with_a_flipped_byte_is_an_error() {
    let dir = dvse_storage::MemDirectory::new();
    assert_eq!(read_checked(&dir, "small").unwrap(), None);
    write_atomic(&dir, "small", b"a small body").unwrap();
    assert_eq!(read_checked(&dir, "small").unwrap().as_deref(), Some(&b"a small body"[..]));
    let sound = dir.read("small").unwrap();
    for place in 0..sound.len() {
        let mut damaged = sound.clone();
        damaged[place] ^= 2;
        dir.put("small", damaged).unwrap();
        let error = read_checked(&dir, "small").unwrap_err();
        assert_eq!(error.kind(), StorageErrorKind::Corrupt);
        assert!(error.to_string().contains("small is damaged at offset"), "{error}");
    }
}

#[test]
fn what_was_not_synced_is_lost_for_some_seed_and_what_was_synced_for_none() {
    let disk = FaultyDirectory::new();
    let file = disk.create("a").unwrap();
    file.write_at(0, &[1; 2000]).unwrap();
    file.sync_data().unwrap();
    assert!((0..50).any(|seed| !disk.crash(seed).exists("a").unwrap()), "the name was not synced");
    disk.sync_dir().unwrap();
    file.write_at(1000, &[2; 2000]).unwrap();
    disk.rename("a", "b").unwrap();
    let (mut old_name, mut new_name, mut torn, mut whole) = (0, 0, 0, 0);
    for seed in 0..200 {
        let after = disk.crash(seed);
        let name = match (after.exists("a").unwrap(), after.exists("b").unwrap()) {
            (true, false) => "a",
            (false, true) => "b",
            other => panic!("a rename is one or the other: {other:?}"),
        };
        if name == "a" {
            old_name += 1
        } else {
            new_name += 1
        }
        let content = after.read(name).unwrap();
        assert_eq!(content[..1000], [1; 1000]);
        match content[1000..] == [2; 2000] {
            true => whole += 1,
            false => torn += 1,
        }
    }
    assert!(old_name > 20 && new_name > 20 && torn > 20 && whole > 20);
}

#[test]
fn a_failed_sync_is_not_repaired_by_the_next() {
    let disk = FaultyDirectory::new();
    let file = disk.create("a").unwrap();
    disk.sync_dir().unwrap();
    file.write_at(0, b"lost").unwrap();
    disk.fail_sync(1);
    assert!(matches!(file.sync_data(), Err(DirectoryError::Io { .. })));
    file.sync_data().unwrap();
    assert!((0..20).all(|seed| disk.crash(seed).read("a").unwrap() != b"lost"));
    assert_eq!(disk.read("a").unwrap(), b"lost", "the running process still sees it");
}
