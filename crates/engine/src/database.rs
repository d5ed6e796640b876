//! All collections under one folder, and their aliases.

mod catalog;
mod error;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use dvse_storage::{Directory, FsDirectory, LockGuard};
use dvse_types::CollectionSchema;
use parking_lot::{Mutex, RwLock};

pub use self::error::DatabaseError;

use self::catalog::Catalog;
use crate::background::{Background, Waker};
use crate::config::EngineConfig;
use crate::embedded::{EmbeddedCollection, OpenCollectionError, thread_pool};
use crate::merge::is_pressed;

/// One change of the aliases.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AliasOp {
    /// Lets a name stand for a collection; a name that stands for another is turned.
    Create {
        /// The new name.
        alias: String,
        /// The collection.
        collection: String,
    },
    /// Gives an alias another name.
    Rename {
        /// The old name.
        from: String,
        /// The new name.
        to: String,
    },
    /// Removes an alias.
    Delete {
        /// The name.
        alias: String,
    },
}

/// All collections under one folder. The folder is locked while this lives.
pub struct Database {
    dir: Arc<dyn Directory>,
    config: EngineConfig,
    pool: Arc<rayon::ThreadPool>,
    waker: Option<Arc<Waker>>,
    entries: Arc<RwLock<Entries>>,
    /// Whether a collection is being dropped, which waits for the step of maintenance it is in.
    dropping: Arc<AtomicBool>,
    /// Held while the catalog changes.
    catalog: Mutex<Catalog>,
    background: Mutex<Option<Background>>,
    _lock: LockGuard,
}

type Entries = BTreeMap<String, Entry>;

/// A collection, or why it could not be opened.
#[derive(Clone)]
enum Entry {
    Open(Arc<EmbeddedCollection>),
    Failed(Arc<OpenCollectionError>),
}

const LOCK_FILE: &str = "lock";
const COLLECTIONS_DIR: &str = "collections";

impl Database {
    /// Opens a folder, or makes it.
    ///
    /// A collection that cannot be opened does not keep the others from being served: it stands in
    /// [`Database::names`], and [`Database::get`] answers with what is wrong.
    ///
    /// # Errors
    /// [`DatabaseError`] when the folder is in use, its catalog is damaged or the disk refuses.
    pub fn open(path: &Path, config: EngineConfig) -> Result<Database, DatabaseError> {
        let dir: Arc<dyn Directory> = Arc::new(FsDirectory::create(path)?);
        Database::open_in(dir, config)
    }

    /// Opens a database in any directory; see [`Database::open`].
    ///
    /// # Errors
    /// As [`Database::open`].
    pub fn open_in(dir: Arc<dyn Directory>, config: EngineConfig) -> Result<Database, DatabaseError> {
        let lock = dir.lock(LOCK_FILE)?;
        dir.create_dir(COLLECTIONS_DIR)?;
        let collections = dir.sub(COLLECTIONS_DIR);
        let catalog = Catalog::open(&*dir, &*collections)?;
        let pool = thread_pool(&config)?;
        let waker = (config.background_threads > 0).then(|| Arc::new(Waker::default()));
        let entries = Arc::new(RwLock::new(Entries::new()));
        let dropping = Arc::new(AtomicBool::new(false));
        let mut config = config;
        if let Some(waker) = &waker {
            let hurried = hurry(&entries, waker, &dropping, config.tail_bytes_max);
            config.merge_pace = config.merge_pace.with_hurry(hurried);
        }
        for (name, number) in &catalog.collections {
            let folder = collections.sub(&catalog::folder(*number));
            let opened =
                EmbeddedCollection::open(&folder, name, config.clone(), Arc::clone(&pool), waker.clone());
            let entry = opened.map_or_else(
                |error| Entry::Failed(Arc::new(error)),
                |collection| Entry::Open(Arc::new(collection)),
            );
            entries.write().insert(name.clone(), entry);
        }
        let background = match &waker {
            None => None,
            Some(waker) => {
                let shared = Arc::clone(&entries);
                let started = config.thread_started.clone();
                let background =
                    Background::start(Arc::clone(waker), started, move || open_entries(&shared.read()));
                waker.wake();
                Some(background.map_err(|error| OpenCollectionError::Threads { reason: error.to_string() })?)
            }
        };
        Ok(Database {
            dir,
            config,
            pool,
            waker,
            entries,
            dropping,
            catalog: Mutex::new(catalog),
            background: Mutex::new(background),
            _lock: lock,
        })
    }

    /// Makes a collection.
    ///
    /// # Errors
    /// [`DatabaseError::InvalidName`], [`DatabaseError::AlreadyExists`], or what is wrong with the schema or the disk.
    pub fn create(
        &self,
        name: &str,
        schema: CollectionSchema,
    ) -> Result<Arc<EmbeddedCollection>, DatabaseError> {
        check_name(name)?;
        let mut catalog = self.catalog.lock();
        if catalog.collections.contains_key(name) || catalog.aliases.contains_key(name) {
            return Err(DatabaseError::AlreadyExists { name: name.to_owned() });
        }
        let mut next = catalog.clone();
        let number = next.next_number;
        next.next_number += 1;
        next.collections.insert(name.to_owned(), number);
        let parent = self.dir.sub(COLLECTIONS_DIR);
        let folder = catalog::folder(number);
        // The folder stands for nothing until the catalog names it, so a crash in between leaves no half collection.
        parent.remove_dir_all(&folder)?;
        parent.create_dir(&folder)?;
        let made = EmbeddedCollection::create(
            &parent.sub(&folder),
            name,
            schema,
            self.config.clone(),
            Arc::clone(&self.pool),
            self.waker.clone(),
        );
        let published = made.map_err(DatabaseError::from).and_then(|collection| {
            parent.sync_dir()?;
            next.publish(&*self.dir)?;
            Ok(collection)
        });
        match published {
            Ok(collection) => {
                let collection = Arc::new(collection);
                *catalog = next;
                self.entries.write().insert(name.to_owned(), Entry::Open(Arc::clone(&collection)));
                Ok(collection)
            }
            Err(error) => {
                drop(parent.remove_dir_all(&folder));
                Err(error)
            }
        }
    }

    /// A collection by its name or an alias.
    ///
    /// # Errors
    /// [`DatabaseError::NotFound`], or [`DatabaseError::Broken`] when it could not be opened.
    pub fn get(&self, name_or_alias: &str) -> Result<Arc<EmbeddedCollection>, DatabaseError> {
        let entry = |name: &str| self.entries.read().get(name).cloned();
        let found = entry(name_or_alias).or_else(|| {
            let target = self.catalog.lock().aliases.get(name_or_alias).cloned();
            target.and_then(|target| entry(&target))
        });
        match found {
            Some(Entry::Open(collection)) => Ok(collection),
            Some(Entry::Failed(cause)) => {
                Err(DatabaseError::Broken { name: name_or_alias.to_owned(), cause })
            }
            None => Err(DatabaseError::NotFound { name: name_or_alias.to_owned() }),
        }
    }

    /// Drops a collection and the aliases that stand for it; whether there was one. Views of it stay readable.
    ///
    /// # Errors
    /// [`DatabaseError`] when the catalog cannot be written; the collection is still there then.
    pub fn drop_collection(&self, name: &str) -> Result<bool, DatabaseError> {
        let mut catalog = self.catalog.lock();
        let mut next = catalog.clone();
        let Some(number) = next.collections.remove(name) else { return Ok(false) };
        next.aliases.retain(|_, target| target != name);
        next.publish(&*self.dir)?;
        *catalog = next;
        let removed = self.entries.write().remove(name);
        if let Some(Entry::Open(collection)) = removed {
            // The catalog is held, so no other drop is under way.
            self.dropping.store(true, Ordering::Relaxed);
            collection.retire();
            self.dropping.store(false, Ordering::Relaxed);
        }
        // The collection is gone with the catalog; what stays of the folder goes with the next opening.
        drop(self.dir.sub(COLLECTIONS_DIR).remove_dir_all(&catalog::folder(number)));
        Ok(true)
    }

    /// The names of all collections, ascending.
    #[must_use]
    pub fn names(&self) -> Vec<String> {
        self.entries.read().keys().cloned().collect()
    }

    /// From alias to collection.
    #[must_use]
    pub fn aliases(&self) -> BTreeMap<String, String> {
        self.catalog.lock().aliases.clone()
    }

    /// Changes aliases: all of the operations take effect, in order and at once, or none.
    ///
    /// # Errors
    /// [`DatabaseError`] naming the alias or collection that is not there, or the name that is taken.
    pub fn update_aliases(&self, ops: &[AliasOp]) -> Result<(), DatabaseError> {
        let mut catalog = self.catalog.lock();
        let mut next = catalog.clone();
        for op in ops {
            match op {
                AliasOp::Create { alias, collection } => {
                    next.check_new_alias(alias)?;
                    if !next.collections.contains_key(collection) {
                        return Err(DatabaseError::NotFound { name: collection.clone() });
                    }
                    next.aliases.insert(alias.clone(), collection.clone());
                }
                AliasOp::Rename { from, to } => {
                    next.check_new_alias(to)?;
                    let Some(target) = next.aliases.remove(from) else {
                        return Err(DatabaseError::NoAlias { alias: from.clone() });
                    };
                    next.aliases.insert(to.clone(), target);
                }
                AliasOp::Delete { alias } => {
                    if next.aliases.remove(alias).is_none() {
                        return Err(DatabaseError::NoAlias { alias: alias.clone() });
                    }
                }
            }
        }
        next.publish(&*self.dir)?;
        *catalog = next;
        Ok(())
    }

    /// Ends the background thread, seals what is growing in every collection and closes the logs. Views stay
    /// readable; closing twice is fine.
    ///
    /// # Errors
    /// [`DatabaseError`] of the first collection that could not be closed; the others are closed all the same.
    pub fn close(&self) -> Result<(), DatabaseError> {
        let collections = open_entries(&self.entries.read());
        let background = self.background.lock().take();
        if let Some(mut background) = background {
            background.stop();
        }
        let mut outcome = Ok(());
        for collection in collections {
            if let Err(error) = collection.close()
                && outcome.is_ok()
            {
                outcome = Err(DatabaseError::Close { name: collection.name().to_owned(), source: error });
            }
        }
        outcome
    }
}

/// Says when a merge must not hold back: when writers or a drop wait for the maintenance thread, or it is to end.
fn hurry(
    entries: &Arc<RwLock<Entries>>,
    waker: &Arc<Waker>,
    dropping: &Arc<AtomicBool>,
    tail_bytes_max: usize,
) -> impl Fn() -> bool + Send + Sync + 'static {
    // The collections keep this, so it does not keep the collections.
    let entries = Arc::downgrade(entries);
    let (waker, dropping) = (Arc::clone(waker), Arc::clone(dropping));
    move || {
        dropping.load(Ordering::Relaxed)
            || waker.is_closing()
            || entries.upgrade().is_none_or(|entries| {
                let collections = open_entries(&entries.read());
                collections.iter().any(|one| one.is_closing() || is_pressed(&one.view(), tail_bytes_max))
            })
    }
}

fn open_entries(entries: &Entries) -> Vec<Arc<EmbeddedCollection>> {
    entries
        .values()
        .filter_map(|entry| match entry {
            Entry::Open(collection) => Some(Arc::clone(collection)),
            Entry::Failed(_) => None,
        })
        .collect()
}

/// Characters that make trouble in addresses and on the command line.
const FORBIDDEN: [char; 9] = ['<', '>', ':', '"', '/', '\\', '|', '?', '*'];

/// Checks the name of a collection or an alias.
fn check_name(name: &str) -> Result<(), DatabaseError> {
    let refuse = |reason| Err(DatabaseError::InvalidName { name: name.to_owned(), reason });
    if name.is_empty() || name.len() > 255 {
        return refuse("it must have 1 to 255 bytes");
    }
    if name == "." || name == ".." {
        return refuse("it must not be `.` or `..`");
    }
    if name.chars().any(|c| c.is_control() || FORBIDDEN.contains(&c)) {
        return refuse("it must not have control characters or any of < > : \" / \\ | ? *");
    }
    Ok(())
}

impl Drop for Database {
    fn drop(&mut self) {
        // Only the thread is ended: whoever wants the collections sealed closes the database and sees the outcome.
        if let Some(mut background) = self.background.lock().take() {
            background.stop();
        }
    }
}

impl std::fmt::Debug for Database {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Database").field("dir", &self.dir.path()).finish_non_exhaustive()
    }
}
