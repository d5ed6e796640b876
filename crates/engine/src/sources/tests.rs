use super::*;

fn stream(name: &str) -> StreamName {
    name.parse().unwrap()
}

fn mark(epoch: u64, position: u128) -> WriteBatch {
    let source = SourceMark { stream: stream("s"), partition: 7, epoch, position: Position(position) };
    WriteBatch { ops: vec![], source: Some(source) }
}

fn take_over(name: &str, partitions: std::ops::Range<u32>) -> WriteBatch {
    let op = |partition| WriteOp::TakeOver { stream: stream(name), partition };
    WriteBatch::new(partitions.map(op).collect())
}

#[test]
fn positions_only_grow_and_only_for_the_epoch_granted_last() {
    let fenced = |sent, granted| Refusal::Fenced { stream: stream("s"), partition: 7, sent, granted };
    let none = Sources::default();
    for epoch in [0, 1] {
        assert_eq!(none.after(SeqNo(1), &mark(epoch, 5)), Err(fenced(epoch, None)));
    }
    let taken = none.after(SeqNo(1), &take_over("s", 7..8)).unwrap();
    let state = |sources: &Sources| sources.get(&stream("s"), 7).unwrap();
    assert_eq!(state(&taken), SourceState { epoch: 1, position: None, seq: SeqNo(0) });
    assert_eq!(taken.after(SeqNo(2), &mark(0, 5)), Err(fenced(0, Some(1))));
    let marked = taken.after(SeqNo(2), &mark(1, 0)).unwrap();
    assert_eq!(state(&marked), SourceState { epoch: 1, position: Some(Position(0)), seq: SeqNo(2) });
    let marked = marked.after(SeqNo(4), &mark(1, u128::MAX)).unwrap();
    for position in [0, 1, u128::MAX] {
        let duplicate = Refusal::Duplicate { position: Position(u128::MAX), seq: SeqNo(4) };
        assert_eq!(marked.after(SeqNo(5), &mark(1, position)), Err(duplicate));
    }
    let again = marked.after(SeqNo(5), &take_over("s", 7..8)).unwrap();
    let last = SourceState { epoch: 2, position: Some(Position(u128::MAX)), seq: SeqNo(4) };
    assert_eq!(state(&again), last, "a take-over leaves position and entry");
    // The epoch is looked at first: whoever is fenced is not told that it is done.
    assert_eq!(again.after(SeqNo(6), &mark(1, 1)), Err(fenced(1, Some(2))));
    assert_eq!(state(&taken).epoch, 1, "an earlier state is what it was");
}

#[test]
fn as_many_partitions_as_allowed_are_kept_and_no_more() {
    let max = SOURCES_MAX as u32;
    let all = Sources::default().after(SeqNo(1), &take_over("s", 0..max)).unwrap();
    for (name, partition) in [("s", max), ("t", 0)] {
        let refused = all.after(SeqNo(2), &take_over(name, partition..partition + 1));
        assert_eq!(refused, Err(Refusal::TooMany { stream: stream(name), partition }));
    }
    let again = all.after(SeqNo(2), &take_over("s", 9..10)).unwrap();
    assert_eq!(again.get(&stream("s"), 9).unwrap().epoch, 2, "those that are known go on");
    let largest = all.buckets.iter().map(|bucket| bucket.len()).max().unwrap();
    assert!(largest < 2 * SOURCES_MAX / BUCKETS, "{largest} states are copied for a mark");
}

#[test]
fn states_come_back_in_order_and_every_cut_is_refused() {
    let taken = Sources::default().after(SeqNo(1), &take_over("b", 0..3)).unwrap();
    let taken = taken.after(SeqNo(2), &take_over("s", 7..8)).unwrap();
    let sources = taken.after(SeqNo(9), &mark(1, 1 << 100)).unwrap();
    let mut out = FieldWriter::default();
    sources.encode(&mut out);
    let bytes = out.into_bytes();
    let mut from = FieldReader::new(&bytes);
    let read = Sources::decode(&mut from).unwrap();
    assert_eq!(from.finish(), Ok(()));
    assert_eq!(read, sources);
    let names: Vec<_> = read.sorted().into_iter().map(|(name, partition, _)| (name, partition)).collect();
    assert_eq!(names, [(stream("b"), 0), (stream("b"), 1), (stream("b"), 2), (stream("s"), 7)]);
    for len in 0..bytes.len() {
        assert!(Sources::decode(&mut FieldReader::new(&bytes[..len])).is_err(), "{len}");
    }
}
