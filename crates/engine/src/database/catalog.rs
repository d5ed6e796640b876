//! Which collections and aliases there are. One small file, replaced as a whole, so every change is atomic.

use std::collections::{BTreeMap, HashSet};

use dvse_storage::{Directory, read_checked, remove_temporaries, write_atomic};

use super::{DatabaseError, check_name};
use crate::wire::{DecodeError, FieldReader, FieldWriter};

/// The content of the catalog.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Catalog {
    /// The folder number of the next collection; numbers are never used again.
    pub(super) next_number: u64,
    /// From name to folder number.
    pub(super) collections: BTreeMap<String, u64>,
    /// From alias to name.
    pub(super) aliases: BTreeMap<String, String>,
}

const FILE: &str = "catalog";
const VERSION: u8 = 1;

/// The folder of a collection. Names of collections are not names of folders: a folder name is shorter, and a dropped
/// collection and a new one of its name must not meet.
pub(super) fn folder(number: u64) -> String {
    format!("{number:016x}")
}

impl Catalog {
    /// Reads the catalog, or begins one, and removes folders of collections that it does not name.
    pub(super) fn open(dir: &dyn Directory, collections: &dyn Directory) -> Result<Catalog, DatabaseError> {
        remove_temporaries(dir)?;
        let folders = collections.list()?;
        let Some(body) = read_checked(dir, FILE)? else {
            if let Some(first) = folders.first() {
                let folder = collections.path().join(&first.name).display().to_string();
                return Err(DatabaseError::CatalogMissing { folder });
            }
            let catalog = Catalog { next_number: 1, collections: BTreeMap::new(), aliases: BTreeMap::new() };
            catalog.publish(dir)?;
            return Ok(catalog);
        };
        let catalog = Catalog::decode(&body).map_err(|source| DatabaseError::CatalogBody {
            path: dir.path().join(FILE).display().to_string(),
            source,
        })?;
        let known: HashSet<String> = catalog.collections.values().map(|number| folder(*number)).collect();
        for stranger in folders.iter().filter(|entry| entry.is_dir && !known.contains(&entry.name)) {
            collections.remove_dir_all(&stranger.name)?;
        }
        Ok(catalog)
    }

    pub(super) fn publish(&self, dir: &dyn Directory) -> Result<(), DatabaseError> {
        Ok(write_atomic(dir, FILE, &self.encode())?)
    }

    /// Checks that a name can become an alias.
    pub(super) fn check_new_alias(&self, alias: &str) -> Result<(), DatabaseError> {
        check_name(alias)?;
        if self.collections.contains_key(alias) {
            return Err(DatabaseError::AlreadyExists { name: alias.to_owned() });
        }
        Ok(())
    }

    fn encode(&self) -> Vec<u8> {
        let mut out = FieldWriter::default();
        out.u8(VERSION);
        out.u64(self.next_number);
        out.count(self.collections.len());
        for (name, number) in &self.collections {
            out.str(name);
            out.u64(*number);
        }
        out.count(self.aliases.len());
        for (alias, name) in &self.aliases {
            out.str(alias);
            out.str(name);
        }
        out.into_bytes()
    }

    fn decode(bytes: &[u8]) -> Result<Catalog, DecodeError> {
        let mut from = FieldReader::new(bytes);
        let version = from.u8("the version")?;
        if version != VERSION {
            return Err(DecodeError::Version { got: version.into(), supported: VERSION.into() });
        }
        let next_number = from.u64("the next number")?;
        let mut collections = BTreeMap::new();
        for _ in 0..from.count(12, "the number of collections")? {
            collections.insert(from.str("a name")?.to_owned(), from.u64("a number")?);
        }
        let mut aliases = BTreeMap::new();
        for _ in 0..from.count(8, "the number of aliases")? {
            aliases.insert(from.str("an alias")?.to_owned(), from.str("a name")?.to_owned());
        }
        from.finish()?;
        Ok(Catalog { next_number, collections, aliases })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_catalog_comes_back_and_every_cut_is_refused() {
        let catalog = Catalog {
            next_number: 3,
            collections: BTreeMap::from([("a".to_owned(), 1), ("ö".to_owned(), 2)]),
            aliases: BTreeMap::from([("x".to_owned(), "a".to_owned())]),
        };
        let bytes = catalog.encode();
        assert_eq!(Catalog::decode(&bytes), Ok(catalog));
        for len in 0..bytes.len() {
            assert!(Catalog::decode(&bytes[..len]).is_err(), "{len}");
        }
    }
}
