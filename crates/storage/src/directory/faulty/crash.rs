//! What a power loss leaves of a file and of the names.

use std::collections::BTreeMap;

use super::{Change, DiskState, FaultyDirectory, Node, apply};
use crate::directory::MemDirectory;

/// Smallest unit that a disk writes whole.
const SECTOR_BYTES: usize = 512;

/// A file as the disk has it, and the writes that are on their way.
#[derive(Debug, Default)]
pub(super) struct FileImage {
    synced: Vec<u8>,
    pending: Vec<FileChange>,
    /// Bytes from the front for which space was taken.
    pub(super) backed: u64,
}

#[derive(Debug, Clone)]
enum FileChange {
    Write { offset: u64, data: Vec<u8>, dropped: bool },
    Resize(u64),
    Grow(u64),
}

impl FileImage {
    fn durable(content: Vec<u8>) -> FileImage {
        let backed = content.len() as u64;
        FileImage { synced: content, pending: Vec::new(), backed }
    }

    pub(super) fn write(&mut self, offset: u64, data: &[u8]) {
        self.pending.push(FileChange::Write { offset, data: data.to_vec(), dropped: false });
    }

    /// Returns the space that is given back.
    pub(super) fn resize(&mut self, len: u64) -> u64 {
        self.pending.push(FileChange::Resize(len));
        let freed = self.backed.saturating_sub(len);
        self.backed -= freed;
        freed
    }

    pub(super) fn grow(&mut self, len: u64) {
        self.pending.push(FileChange::Grow(len));
    }

    pub(super) fn sync(&mut self) {
        for change in std::mem::take(&mut self.pending) {
            // After a failed sync the kernel believes that these bytes were written.
            if !matches!(change, FileChange::Write { dropped: true, .. }) {
                change.apply(&mut self.synced);
            }
        }
    }

    pub(super) fn sync_failed(&mut self) {
        for change in &mut self.pending {
            if let FileChange::Write { dropped, .. } = change {
                *dropped = true;
            }
        }
    }

    /// The content after a power loss.
    fn survivor(&self, random: &mut Random) -> Vec<u8> {
        let mut content = self.synced.clone();
        match random.below(4) {
            0 => {}
            1 => {
                for change in &self.pending {
                    change.apply(&mut content);
                }
            }
            2 => {
                let whole = random.below(self.pending.len() as u64 + 1) as usize;
                for change in &self.pending[..whole] {
                    change.apply(&mut content);
                }
                if let Some(FileChange::Write { offset, data, .. }) = self.pending.get(whole) {
                    let cut = random.below(data.len() as u64 + 1) as usize;
                    write(&mut content, *offset, &data[..cut]);
                }
            }
            _ => {
                for change in &self.pending {
                    change.apply_sectors(&mut content, random);
                }
            }
        }
        content
    }
}

impl FileChange {
    fn apply(&self, content: &mut Vec<u8>) {
        match self {
            FileChange::Write { offset, data, .. } => write(content, *offset, data),
            FileChange::Resize(len) => content.resize(*len as usize, 0),
            FileChange::Grow(len) => content.resize(content.len().max(*len as usize), 0),
        }
    }

    /// Applies any of the sectors that the change touches.
    fn apply_sectors(&self, content: &mut Vec<u8>, random: &mut Random) {
        let FileChange::Write { offset, data, .. } = self else {
            // Lengths are metadata, which file systems order.
            return self.apply(content);
        };
        let (mut at, mut rest) = (*offset, &data[..]);
        while !rest.is_empty() {
            let in_sector = SECTOR_BYTES - at as usize % SECTOR_BYTES;
            let (sector, tail) = rest.split_at(rest.len().min(in_sector));
            if random.below(2) == 0 {
                write(content, at, sector);
            }
            at += sector.len() as u64;
            rest = tail;
        }
    }
}

fn write(content: &mut Vec<u8>, offset: u64, data: &[u8]) {
    let end = offset as usize + data.len();
    if content.len() < end {
        content.resize(end, 0);
    }
    content[offset as usize..end].copy_from_slice(data);
}

/// Makes the disk that the next start finds.
pub(super) fn crash(state: &DiskState, seed: u64) -> FaultyDirectory {
    let mut random = Random(seed);
    let names = surviving_names(state, &mut random);
    let root = MemDirectory::new();
    let mut files = Vec::new();
    let mut kept = BTreeMap::new();
    // A directory comes before what is in it: its path is a prefix of theirs.
    for (key, node) in names {
        let mut dir = root.clone();
        let (parents, name) = key.rsplit_once('/').unwrap_or(("", &key));
        for parent in parents.split('/').filter(|parent| !parent.is_empty()) {
            dir = dir.sub_mem(parent);
        }
        // What lies in a directory whose own name was lost is lost; both calls then refuse.
        let made = match node {
            Node::Dir => super::Directory::create_dir(&dir, name),
            Node::File(id) => {
                let content = state.files[id].survivor(&mut random);
                files.push(FileImage::durable(content.clone()));
                dir.put(name, content)
            }
        };
        if made.is_ok() {
            let node = if node == Node::Dir { Node::Dir } else { Node::File(files.len() - 1) };
            kept.insert(key, node);
        }
    }
    FaultyDirectory::with(root, files, kept)
}

/// The durable names and, for each directory, the first few of the changes that were not synced.
fn surviving_names(state: &DiskState, random: &mut Random) -> BTreeMap<String, Node> {
    let mut by_dir: BTreeMap<&str, Vec<&Change>> = BTreeMap::new();
    for change in &state.unsynced {
        by_dir.entry(&change.dir).or_default().push(&change.change);
    }
    let mut names = state.durable.clone();
    for changes in by_dir.values() {
        let keep = random.below(changes.len() as u64 + 1) as usize;
        for change in &changes[..keep] {
            apply(&mut names, change);
        }
    }
    names
}

/// A small generator of numbers from a seed (Steele, Lea & Flood 2014, SplitMix64).
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, end: u64) -> u64 {
        self.next() % end
    }
}
