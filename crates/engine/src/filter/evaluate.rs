//! Which rows of a segment pass.

use super::check::PointFacts;
use super::compile::{CompiledFilter, Node};
use super::indexed::{Answer, answer};
use crate::live_rows::{bit, count_ones, ones, set_bit};
use crate::segment::{SegmentFault, SegmentRead};

/// A filter set up for one segment: the rows that may pass, and what is left to test on each.
pub(crate) struct Matcher<'a> {
    segment: &'a dyn SegmentRead,
    candidates: Vec<u64>,
    /// The filter to test on a candidate; `None` when every candidate passes.
    residual: Option<&'a CompiledFilter>,
}

impl<'a> Matcher<'a> {
    /// Sets a filter up for the rows of `live`. Looks at indexes, and at payloads only where an index says so.
    pub(crate) fn new(
        filter: Option<&'a CompiledFilter>,
        segment: &'a dyn SegmentRead,
        live: &[u64],
    ) -> Result<Matcher<'a>, SegmentFault> {
        let mut candidates = live.to_vec();
        let mut residual = None;
        if let Some(filter) = filter
            && !narrow(filter, segment, &mut candidates)?
        {
            residual = Some(filter);
        }
        Ok(Matcher { segment, candidates, residual })
    }

    /// Whether a candidate passes.
    pub(crate) fn passes(&self, row: u32) -> Result<bool, SegmentFault> {
        if !bit(&self.candidates, row) {
            return Ok(false);
        }
        self.residual.map_or(Ok(true), |filter| row_passes(filter, self.segment, row))
    }

    /// All rows that pass, as a bitmap.
    pub(crate) fn into_bits(self) -> Result<Vec<u64>, SegmentFault> {
        let Some(filter) = self.residual else { return Ok(self.candidates) };
        let mut bits = vec![0; self.candidates.len()];
        for row in ones(&self.candidates) {
            if row_passes(filter, self.segment, row)? {
                set_bit(&mut bits, row);
            }
        }
        Ok(bits)
    }
}

fn row_passes(filter: &CompiledFilter, segment: &dyn SegmentRead, row: u32) -> Result<bool, SegmentFault> {
    with_facts(segment, row, |facts| filter.passes(facts))
}

fn with_facts<T>(
    segment: &dyn SegmentRead,
    row: u32,
    test: impl FnOnce(&PointFacts<'_>) -> T,
) -> Result<T, SegmentFault> {
    let payload = segment.payload(row)?;
    let has_vector = |name: &str| segment.has_vector(name, row);
    Ok(test(&PointFacts { id: segment.id(row), payload: &payload, has_vector: &has_vector }))
}

/// Takes rows that do not pass out of `rows`; whether all that are left pass.
fn narrow(
    filter: &CompiledFilter,
    segment: &dyn SegmentRead,
    rows: &mut [u64],
) -> Result<bool, SegmentFault> {
    let mut complete = true;
    for node in &filter.must {
        match node_rows(node, segment, rows)? {
            Some(passing) => and(rows, &passing),
            None => complete = false,
        }
    }
    match any_of(&filter.should, segment, rows)? {
        Some(passing) => and(rows, &passing),
        None => complete &= filter.should.is_empty(),
    }
    for node in &filter.must_not {
        match node_rows(node, segment, rows)? {
            Some(passing) => and_not(rows, &passing),
            None => complete = false,
        }
    }
    if let Some((min_count, nodes)) = &filter.min_should {
        match at_least(*min_count, nodes, segment, rows)? {
            Some(passing) => and(rows, &passing),
            None => complete = false,
        }
    }
    Ok(complete)
}

/// The rows for which one of the nodes holds; `None` when there are no nodes or one cannot be told by indexes.
fn any_of(
    nodes: &[Node],
    segment: &dyn SegmentRead,
    among: &[u64],
) -> Result<Option<Vec<u64>>, SegmentFault> {
    let mut union: Option<Vec<u64>> = None;
    for node in nodes {
        let Some(passing) = node_rows(node, segment, among)? else { return Ok(None) };
        match &mut union {
            Some(union) => or(union, &passing),
            None => union = Some(passing),
        }
    }
    Ok(union)
}

fn at_least(
    min_count: usize,
    nodes: &[Node],
    segment: &dyn SegmentRead,
    among: &[u64],
) -> Result<Option<Vec<u64>>, SegmentFault> {
    let mut sets = Vec::with_capacity(nodes.len());
    for node in nodes {
        let Some(passing) = node_rows(node, segment, among)? else { return Ok(None) };
        sets.push(passing);
    }
    let mut passing = vec![0; among.len()];
    for row in ones(among) {
        if sets.iter().filter(|set| bit(set, row)).take(min_count).count() == min_count {
            set_bit(&mut passing, row);
        }
    }
    Ok(Some(passing))
}

/// The rows for which a node holds, right at least for the rows of `among`; `None` when only payloads can tell.
fn node_rows(
    node: &Node,
    segment: &dyn SegmentRead,
    among: &[u64],
) -> Result<Option<Vec<u64>>, SegmentFault> {
    let mut bits = vec![0; among.len()];
    match node {
        Node::HasId(ids) => {
            // Few ids are looked up; with more ids than rows each row's id is.
            if ids.len() <= count_ones(among) as usize {
                ids.iter().for_each(|id| segment.rows_of(*id, &mut |row| set_bit(&mut bits, row)));
            } else {
                for row in ones(among) {
                    if segment.id(row).is_some_and(|id| ids.binary_search(&id).is_ok()) {
                        set_bit(&mut bits, row);
                    }
                }
            }
            Ok(Some(bits))
        }
        Node::HasVector(name) => {
            for row in ones(among) {
                if segment.has_vector(name, row) {
                    set_bit(&mut bits, row);
                }
            }
            Ok(Some(bits))
        }
        Node::Field { key, test } => {
            let mut outcome = Answer::Unknown;
            let mut others = Vec::new();
            segment.with_field_index(key, &mut |index| {
                outcome = answer(index, test, &mut bits);
                if outcome == Answer::ButOthers {
                    index.others(&mut |row| others.push(row));
                }
            });
            if outcome == Answer::Unknown {
                return Ok(None);
            }
            for row in others {
                if bit(among, row) && with_facts(segment, row, |facts| node.holds(facts))? {
                    set_bit(&mut bits, row);
                }
            }
            Ok(Some(bits))
        }
        Node::Filter(filter) => {
            bits.copy_from_slice(among);
            Ok(narrow(filter, segment, &mut bits)?.then_some(bits))
        }
        Node::IsEmpty(_) | Node::IsNull(_) | Node::Nested { .. } => Ok(None),
    }
}

fn and(rows: &mut [u64], with: &[u64]) {
    rows.iter_mut().zip(with).for_each(|(row, with)| *row &= with);
}

fn and_not(rows: &mut [u64], with: &[u64]) {
    rows.iter_mut().zip(with).for_each(|(row, with)| *row &= !with);
}

fn or(rows: &mut [u64], with: &[u64]) {
    rows.iter_mut().zip(with).for_each(|(row, with)| *row |= with);
}
