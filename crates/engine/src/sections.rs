//! The files of a sealed segment: their names, their sections, and what crosses to the index.
//! `docs/format/shard.md` has the tables.

use std::sync::Arc;

use dvse_index::{BytesOwner, SectionBytes, SectionSink, SectionSource};
use dvse_storage::{Advice, Alignment, Bytes, SectionTag, SegmentError, SegmentReader, SegmentWriter};

use crate::segment::SegmentId;

pub(crate) const META: SectionTag = SectionTag::new(*b"META");
pub(crate) const NUMS: SectionTag = SectionTag::new(*b"NUMS");
pub(crate) const NUM_ROWS: SectionTag = SectionTag::new(*b"NUMR");
pub(crate) const UUIDS: SectionTag = SectionTag::new(*b"UUID");
pub(crate) const UUID_ROWS: SectionTag = SectionTag::new(*b"UUIR");
pub(crate) const IDS_LOW: SectionTag = SectionTag::new(*b"IDLO");
pub(crate) const IDS_HIGH: SectionTag = SectionTag::new(*b"IDHI");
pub(crate) const ID_KINDS: SectionTag = SectionTag::new(*b"IDKD");
pub(crate) const PAYLOADS: SectionTag = SectionTag::new(*b"PAYL");
pub(crate) const PAYLOAD_ENDS: SectionTag = SectionTag::new(*b"PAYE");

pub(crate) fn vectors_tag(field: usize) -> SectionTag {
    SectionTag::with_index(*b"VECS", field as u32)
}

pub(crate) fn vector_map_tag(field: usize) -> SectionTag {
    SectionTag::with_index(*b"VMAP", field as u32)
}

/// The lengths of the vectors of a field in ascending order, and the vectors they are of.
pub(crate) fn norm_tags(field: usize) -> [SectionTag; 2] {
    [*b"NORM", *b"NRMV"].map(|name| SectionTag::with_index(name, field as u32))
}

pub(crate) fn field_index_tag(field: usize) -> SectionTag {
    SectionTag::with_index(*b"FIDX", field as u32)
}

fn graph_tag(section: usize) -> SectionTag {
    SectionTag::with_index(*b"GRPH", section as u32)
}

pub(crate) fn data_file(id: SegmentId) -> String {
    format!("segment-{:016x}.data", id.0)
}

pub(crate) fn graph_file(id: SegmentId, version: u64) -> String {
    format!("segment-{:016x}.graph-{version:016x}", id.0)
}

pub(crate) fn field_file(id: SegmentId, version: u64) -> String {
    format!("segment-{:016x}.field-{version:016x}", id.0)
}

pub(crate) fn live_file(id: SegmentId, version: u64) -> String {
    format!("segment-{:016x}.live-{version:016x}", id.0)
}

/// Whether a file is one of a segment.
pub(crate) fn is_segment_file(name: &str) -> bool {
    name.starts_with("segment-")
}

/// Lets an index write its sections into a file. Names become numbered tags.
pub(crate) struct GraphSink<'a> {
    writer: &'a mut SegmentWriter,
    prefix: String,
    names: &'a mut Vec<String>,
    /// The first failure as it was, which the index passes on only as a text.
    pub(crate) failure: Option<SegmentError>,
}

impl<'a> GraphSink<'a> {
    /// Names of sections are put after `prefix` and added to `names`.
    pub(crate) fn new(
        writer: &'a mut SegmentWriter,
        prefix: String,
        names: &'a mut Vec<String>,
    ) -> GraphSink<'a> {
        GraphSink { writer, prefix, names, failure: None }
    }

    fn keep(&mut self, outcome: Result<(), SegmentError>) -> std::io::Result<()> {
        outcome.map_err(|error| {
            let text = error.to_string();
            self.failure.get_or_insert(error);
            std::io::Error::other(text)
        })
    }
}

impl SectionSink for GraphSink<'_> {
    fn begin(&mut self, name: &str) -> std::io::Result<()> {
        let tag = graph_tag(self.names.len());
        self.names.push(format!("{}{name}", self.prefix));
        let begun = self.writer.begin(tag, Alignment::Page);
        self.keep(begun)
    }

    fn append(&mut self, bytes: &[u8]) -> std::io::Result<()> {
        let written = self.writer.write(bytes);
        self.keep(written)
    }
}

/// Gives an index its sections back.
pub(crate) struct GraphSource<'a> {
    pub(crate) reader: &'a SegmentReader,
    pub(crate) prefix: String,
    pub(crate) names: &'a [String],
}

impl GraphSource<'_> {
    /// Tells the system how the sections are going to be read.
    pub(crate) fn advise(&self, advice: Advice) {
        let own = self.names.iter().enumerate().filter(|(_, name)| name.starts_with(&self.prefix));
        for (section, _) in own {
            if let Some(bytes) = self.reader.section(graph_tag(section)) {
                bytes.advise(advice);
            }
        }
    }
}

impl SectionSource for GraphSource<'_> {
    fn section(&self, name: &str) -> Option<SectionBytes> {
        let name = format!("{}{name}", self.prefix);
        let section = self.names.iter().position(|known| *known == name)?;
        Some(shared(self.reader.section(graph_tag(section))?))
    }
}

/// Bytes of a file as the index takes them.
pub(crate) fn shared(bytes: Bytes) -> SectionBytes {
    let range = 0..bytes.len();
    let owner: BytesOwner = Arc::new(bytes);
    // The whole of a run of bytes lies inside it.
    SectionBytes::new(owner, range).unwrap_or_else(|| SectionBytes::from_vec(Vec::new()))
}
