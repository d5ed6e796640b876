//! How far each subscription of a partition has come: a small file each, replaced as a whole.

use std::sync::Arc;

use dvse_storage::{Directory, read_checked, write_atomic};

use super::Partition;
use crate::log::LogError;

const FOLDER: &str = "subscriptions";
const SUFFIX: &str = ".position";

/// How far a subscription has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Committed {
    /// Number of the last record that is done with; 0 before the first.
    pub seq: u64,
    /// Bytes of all records up to it.
    pub end_bytes: u64,
}

/// The subscriptions of a partition.
#[derive(Debug, Clone)]
pub(super) struct Subscriptions {
    partition: Partition,
    dir: Arc<dyn Directory>,
}

impl Subscriptions {
    pub(super) fn of(partition: &Partition) -> Subscriptions {
        Subscriptions { dir: partition.dir.sub(FOLDER), partition: partition.clone() }
    }

    /// Makes the folder, durably; the partition's own folder is there.
    pub(super) fn make_folder(partition: &dyn Directory) -> Result<(), LogError> {
        partition.create_dir(FOLDER)?;
        partition.sync_dir()?;
        Ok(())
    }

    pub(super) fn get(&self, name: &str) -> Result<Option<Committed>, LogError> {
        self.read(&file_name(name)?)
    }

    pub(super) fn put(&self, name: &str, committed: Committed) -> Result<(), LogError> {
        let body = [committed.seq.to_le_bytes(), committed.end_bytes.to_le_bytes()].concat();
        Ok(write_atomic(&*self.dir, &file_name(name)?, &body)?)
    }

    pub(super) fn remove(&self, name: &str) -> Result<(), LogError> {
        match self.dir.remove(&file_name(name)?) {
            Err(error) if !error.is_not_found() => Err(error.into()),
            _ => Ok(self.dir.sync_dir()?),
        }
    }

    /// Returns how far the slowest has come; the front if there is none, so that a topic waits for its first reader.
    pub(super) fn slowest(&self) -> Result<Committed, LogError> {
        let mut slowest: Option<Committed> = None;
        for entry in self.dir.list()? {
            if !entry.name.ends_with(SUFFIX) {
                continue;
            }
            // One that was given up between the two calls holds nothing back.
            if let Some(committed) = self.read(&entry.name)? {
                slowest =
                    Some(slowest.map_or(committed, |other| {
                        if other.seq < committed.seq { other } else { committed }
                    }));
            }
        }
        Ok(slowest.unwrap_or_default())
    }

    fn read(&self, file: &str) -> Result<Option<Committed>, LogError> {
        let Some(body) = read_checked(&*self.dir, file)? else { return Ok(None) };
        let parts = body
            .split_first_chunk::<8>()
            .and_then(|(seq, rest)| Some((*seq, <[u8; 8]>::try_from(rest).ok()?)));
        let Some((seq, end_bytes)) = parts else {
            return Err(self.partition.damaged("a subscription", format!("{file} has {} bytes", body.len())));
        };
        Ok(Some(Committed { seq: u64::from_le_bytes(seq), end_bytes: u64::from_le_bytes(end_bytes) }))
    }
}

/// Escapes what a file name cannot hold: any collection may name a subscription.
fn file_name(name: &str) -> Result<String, LogError> {
    if !(1..=80).contains(&name.len()) {
        return Err(LogError::SubscriptionName(name.to_owned()));
    }
    let mut file = String::with_capacity(name.len() + SUFFIX.len());
    for byte in name.bytes() {
        if byte.is_ascii_alphanumeric() || b"-_".contains(&byte) {
            file.push(char::from(byte));
        } else {
            file.push_str(&format!("%{byte:02X}"));
        }
    }
    file.push_str(SUFFIX);
    Ok(file)
}
