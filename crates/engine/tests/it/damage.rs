//! Every byte of a small collection's files is changed, one at a time: an error that says where, or the right answer.

use std::sync::Arc;

use dvse_engine::{EmbeddedCollection, EngineConfig};
use dvse_storage::{Directory, MemDirectory};
use dvse_types::*;
use serde_json::json;

use crate::support::*;

fn config(verify_bytes_max: u64) -> EngineConfig {
    EngineConfig { wal_segment_bytes: 2 << 10, verify_bytes_max, ..manual(1000) }
}

/// Files of a collection with everything in them: two segments, dead rows, indexes of every kind, payload indexes in and beside
/// the data file, and a tail of log.
fn files() -> Vec<(Option<&'static str>, String, Vec<u8>)> {
    let dir = mem();
    let mut schema = CollectionSchema::single(2, Metric::L2);
    let spec = HnswSpec { m: 4, ef_construction: 16, full_scan_rows: 4, ..HnswSpec::default() };
    let lists = IvfPqSpec { lists: 2, full_scan_rows: 4, ..IvfPqSpec::default() };
    let placed = HnswSpec { rerank: Rerank::Half, on_disk: true, ..spec };
    for (name, index) in
        [("", IndexSpec::Nsw(spec)), ("b", IndexSpec::Hnsw(placed)), ("v", IndexSpec::IvfPq(lists))]
    {
        let (dim, metric) = if name.is_empty() { (2, Metric::L2) } else { (3, Metric::Cosine) };
        let on_disk = name == "b";
        schema.vectors.insert(name.to_owned(), VectorParams { dim, metric, index, on_disk, model: None });
    }
    schema.payload_indexes.insert("k".parse().unwrap(), FieldKind::Keyword);
    let collection = EmbeddedCollection::create_in(&dir, "c", schema, config(0)).unwrap();
    for id in 0..12_u64 {
        let mut point = point(id, &[id as f32, 1.0], json!({"k": format!("w{}", id % 3), "n": id}));
        if id % 2 == 0 {
            point.vectors.insert("b".to_owned(), [1.0, id as f32, 0.5].into());
            point.vectors.insert("v".to_owned(), [0.5, 1.0, id as f32].into());
        }
        if id % 4 == 3 {
            point.id = PointId::Uuid(id.into());
        }
        write(&collection, vec![WriteOp::Upsert(vec![point])]);
    }
    settle(&collection);
    collection.flush().unwrap();
    let field = "n".parse().unwrap();
    write(&collection, vec![WriteOp::CreateFieldIndex { field, kind: FieldKind::Integer }]);
    write(&collection, vec![WriteOp::Delete(PointSelector::Ids(num(&[4])))]);
    collection.flush().unwrap();
    while collection.step().unwrap() {}
    write(&collection, vec![WriteOp::Upsert(vec![point(20, &[9.0, 9.0], json!({"k": "w1", "n": 20}))])]);
    write(&collection, vec![WriteOp::Upsert(vec![])]);
    drop(collection);
    let mut files = Vec::new();
    for (folder, of) in [(None, Arc::clone(&dir)), (Some("wal"), dir.sub("wal"))] {
        for entry in of.list().unwrap().into_iter().filter(|entry| !entry.is_dir) {
            let content = of.read(&entry.name).unwrap();
            files.push((folder, entry.name, content));
        }
    }
    files
}

fn answers(dir: &Arc<dyn Directory>, verify_bytes_max: u64) -> Result<String, String> {
    let error = |error: &dyn std::fmt::Display| error.to_string();
    let collection =
        EmbeddedCollection::open_in(dir, "c", config(verify_bytes_max)).map_err(|e| error(&e))?;
    // The background check comes before the questions.
    while collection.step().map_err(|e| error(&e))? {}
    let view = collection.view();
    let mut told = format!("{:?}", view.scroll(None, 100, None).map_err(|e| error(&e))?);
    let everything = Projection { payload: PayloadSelector::All, vectors: VectorSelector::All };
    let ids = view.scroll(None, 100, None).map_err(|e| error(&e))?.ids;
    told += &format!("{:?}", view.retrieve(&ids, &everything).map_err(|e| error(&e))?);
    for filter in [None, Some(must(vec![keyword("k", "w1")]))] {
        told += &format!("{:?}", view.count(filter.as_ref()).map_err(|e| error(&e))?);
        for (name, query) in [("", vec![3.3, 1.0]), ("b", vec![1.0, 2.0, 3.0]), ("v", vec![1.0, 2.0, 3.0])] {
            let mut request = request(&query, 5);
            request.vector_name = name.to_owned();
            request.filter = filter.clone();
            told += &format!("{:?}", view.search(&request).map_err(|e| error(&e))?.hits);
        }
    }
    told += &format!("{:?}", view.facet(&"n".parse().unwrap(), None, 100).map_err(|e| error(&e))?);
    Ok(told)
}

fn directory(files: &[(Option<&str>, String, Vec<u8>)]) -> Arc<dyn Directory> {
    let dir = MemDirectory::new();
    dir.create_dir("wal").unwrap();
    for (folder, name, content) in files {
        match folder {
            None => dir.put(name, content.clone()).unwrap(),
            Some(folder) => {
                let handle = dir.sub(folder).create(name).unwrap();
                handle.write_at(0, content).unwrap();
            }
        }
    }
    Arc::new(dir)
}

#[test]
fn a_changed_byte_is_an_error_that_says_where_or_changes_nothing() {
    let original = files();
    let right = answers(&directory(&original), u64::MAX).unwrap();
    let kinds = ["manifest-", ".data", ".graph-", ".live-", ".field-", "wal-"];
    for kind in kinds {
        assert!(original.iter().any(|(_, name, _)| name.contains(kind)), "no file of kind {kind}");
    }
    let mut refused = 0;
    let mut total = 0;
    for file in 0..original.len() {
        let mut files = original.clone();
        let (folder, name) = (files[file].0, files[file].1.clone());
        for at in 0..files[file].2.len() {
            total += 1;
            files[file].2[at] ^= 1 << (at % 8);
            let verify = if at % 2 == 0 { u64::MAX } else { 0 };
            match answers(&directory(&files), verify) {
                Ok(told) => {
                    // The end of a log that was not closed cannot be told from a write that the power cut off; it
                    // holds nothing here.
                    assert_eq!(told, right, "byte {at} of {name}");
                }
                Err(error) => {
                    refused += 1;
                    assert!(error.contains(&name), "byte {at} of {name}: {error}");
                    let says_where = ["offset", "header", "footer", "number", "length"];
                    assert!(says_where.iter().any(|w| error.contains(w)), "byte {at} of {name}: {error}");
                }
            }
            files[file].2[at] ^= 1 << (at % 8);
        }
        let _ = folder;
    }
    assert!(refused * 2 > total, "only {refused} of {total} changes were noticed");
}

#[test]
fn a_file_that_is_cut_or_missing_is_an_error_that_names_it() {
    let original = files();
    for file in 0..original.len() {
        let (folder, name, content) = original[file].clone();
        if folder.is_some() {
            continue;
        }
        for len in [0, 1, content.len() / 2, content.len() - 1] {
            let mut files = original.clone();
            files[file].2.truncate(len);
            let error = answers(&directory(&files), u64::MAX).unwrap_err();
            assert!(error.contains(&name), "{name} cut to {len}: {error}");
        }
        let mut files = original.clone();
        files.remove(file);
        let error = answers(&directory(&files), u64::MAX).unwrap_err();
        assert!(error.contains(&name) || name.starts_with("manifest"), "{name} removed: {error}");
    }
}
