//! Segment files: what was written comes back, or the error says where it does not.

use std::sync::Arc;

use dvse_storage::{
    Alignment, Directory, FsDirectory, MemDirectory, SectionTag, SegmentError, SegmentReader, SegmentWriter,
    StorageErrorKind,
};

const IDS: SectionTag = SectionTag::new(*b"IDS ");
const ROWS: SectionTag = SectionTag::with_index(*b"ROWS", 3);
const NONE: SectionTag = SectionTag::new(*b"NONE");

fn pattern(len: usize) -> Vec<u8> {
    (0..len as u32).map(|i| (i.wrapping_mul(2_654_435_761) >> 13) as u8).collect()
}

/// Writes a file with a small, an empty and a large section, the large one in uneven pieces.
fn write(dir: Arc<dyn Directory>, rows: &[u8]) -> u64 {
    let mut writer = SegmentWriter::create(dir, "seg").unwrap();
    writer.section(IDS, b"some ids").unwrap();
    writer.begin(NONE, Alignment::Line).unwrap();
    writer.begin(ROWS, Alignment::Page).unwrap();
    let mut rest = rows;
    let mut size = 1;
    while !rest.is_empty() {
        let (piece, tail) = rest.split_at(rest.len().min(size));
        writer.write(piece).unwrap();
        rest = tail;
        size = size * 3 + 1;
    }
    assert_eq!(writer.section_bytes(), rows.len() as u64);
    writer.finish().unwrap()
}

fn check_round_trip(dir: Arc<dyn Directory>) {
    for len in [0, 1, 63, 64, 4096, 65_535, 65_536, 65_537, 131_072, 3_000_001] {
        let rows = pattern(len);
        let bytes = write(dir.clone(), &rows);
        assert_eq!(dir.list().unwrap().len(), 1, "no temporary file stays");
        let reader = SegmentReader::open(&*dir, "seg").unwrap();
        assert_eq!(reader.file_bytes(), bytes);
        assert_eq!(&*reader.section(IDS).unwrap(), b"some ids");
        assert_eq!(&*reader.section(NONE).unwrap(), b"");
        assert_eq!(&*reader.section(ROWS).unwrap(), rows);
        assert_eq!(reader.offset(ROWS).unwrap() % 4096, 0);
        assert_eq!(reader.sections().map(|(_, bytes)| bytes).sum::<u64>(), 8 + len as u64);
        assert!(reader.section(SectionTag::new(*b"ROWS")).is_none(), "the index is part of the tag");
        reader.verify_all().unwrap();
        reader.verify_range(ROWS, 0..1).unwrap();
        reader.verify_range(ROWS, 5..u64::MAX).unwrap();
        let error = reader.required(SectionTag::new(*b"WHAT")).unwrap_err();
        assert!(error.to_string().contains("WHAT"), "{error}");
    }
}

#[test]
fn sections_come_back_from_memory() {
    check_round_trip(Arc::new(MemDirectory::new()));
}

#[test]
fn sections_come_back_from_disk() {
    let place = tempfile::tempdir().unwrap();
    check_round_trip(Arc::new(FsDirectory::open(place.path()).unwrap()));
}

#[test]
fn a_writer_that_is_dropped_leaves_nothing() {
    let dir = Arc::new(MemDirectory::new());
    let mut writer = SegmentWriter::create(dir.clone(), "seg").unwrap();
    assert!(matches!(writer.write(b"x"), Err(SegmentError::OutOfOrder(_))));
    writer.section(IDS, b"x").unwrap();
    assert!(matches!(writer.section(IDS, b"y"), Err(SegmentError::DuplicateSection { section: IDS })));
    drop(writer);
    assert_eq!(dir.list().unwrap(), []);
}

#[test]
fn every_flipped_byte_is_found_and_placed() {
    let dir = MemDirectory::new();
    let rows = pattern(70_000);
    write(Arc::new(dir.clone()), &rows);
    let sound = dir.read("seg").unwrap();
    // Every byte outside of the large section, and some inside.
    let rows_start = SegmentReader::open(&dir, "seg").unwrap().offset(ROWS).unwrap() as usize;
    let places = (0..sound.len()).filter(|place| {
        !(rows_start..rows_start + rows.len()).contains(place) || (place - rows_start).is_multiple_of(997)
    });
    for place in places {
        let mut damaged = sound.clone();
        damaged[place] ^= 1 << (place % 8);
        dir.put("seg", damaged).unwrap();
        let error = SegmentReader::open(&dir, "seg").and_then(|reader| reader.verify_all()).unwrap_err();
        assert_eq!(error.kind(), StorageErrorKind::Corrupt, "byte {place}");
        let SegmentError::Damaged { path, offset, .. } = &error else { panic!("{error}") };
        assert!(path.ends_with("seg"));
        assert!(*offset <= place as u64, "byte {place}: {error}");
        if (rows_start..rows_start + rows.len()).contains(&place) {
            assert!(place as u64 - offset < 65_536, "the block is named: byte {place}: {error}");
            assert!(error.to_string().contains("ROWS[3]"), "{error}");
        }
    }
}

#[test]
fn damage_elsewhere_does_not_fail_the_range_that_is_asked_for() {
    let dir = MemDirectory::new();
    write(Arc::new(dir.clone()), &pattern(200_000));
    let mut content = dir.read("seg").unwrap();
    let start = SegmentReader::open(&dir, "seg").unwrap().offset(ROWS).unwrap();
    content[start as usize + 70_000] ^= 1;
    dir.put("seg", content).unwrap();
    let reader = SegmentReader::open(&dir, "seg").unwrap();
    reader.verify_range(ROWS, 0..65_536).unwrap();
    reader.verify_range(ROWS, 131_072..200_000).unwrap();
    reader.verify(IDS).unwrap();
    for range in [65_535..65_537, 70_000..70_001, 0..200_000] {
        let SegmentError::Damaged { offset, .. } = reader.verify_range(ROWS, range).unwrap_err() else {
            panic!()
        };
        assert_eq!(offset, start + 65_536);
    }
}

#[test]
fn every_cut_and_every_growth_is_found() {
    let dir = MemDirectory::new();
    write(Arc::new(dir.clone()), &pattern(5000));
    let sound = dir.read("seg").unwrap();
    for len in 0..sound.len() {
        dir.put("seg", sound[..len].to_vec()).unwrap();
        assert_eq!(SegmentReader::open(&dir, "seg").unwrap_err().kind(), StorageErrorKind::Corrupt, "{len}");
    }
    let mut grown = sound;
    grown.push(0);
    dir.put("seg", grown).unwrap();
    assert_eq!(SegmentReader::open(&dir, "seg").unwrap_err().kind(), StorageErrorKind::Corrupt);
}
