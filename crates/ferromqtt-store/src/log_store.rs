//! The store that keeps a log in a folder.

use std::collections::VecDeque;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use ferromqtt_proto::SessionChange;

use crate::change::StoreChange;
use crate::disk::{DiskError, DiskOperation};
use crate::error::StoreError;
use crate::folder::{FolderDisk, make_folder};
use crate::lock::{FolderLock, LockError};
use crate::log::StoreLog;
use crate::owner::{FilesOwner, wall_clock};
use crate::read::{ReadError, StoreStats, StoredInfo, StoredPublish};
use crate::record::StoreIdentity;
use crate::shared::StoreShared;
use crate::store::{
    FetchRequest, FetchedMessage, Store, StoreEntry, StoreEvent, StoreMarks, StoreWaker,
    SubmitError,
};

/// What is on record when a store says so.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum StoreSync {
    /// It is on the disk: it survives the end of the process, and a power cut.
    #[default]
    Always,
    /// It is written: it survives the end of the process, and a power cut after this time.
    Interval(Duration),
    /// It is written: it survives the end of the process, and a power cut as the system pleases. The disk is still waited for once
    /// for each segment of 4 MiB.
    Never,
}

/// How a store is opened.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct StoreOptions {
    /// What is on record when the store says so. Default: [`StoreSync::Always`].
    pub sync: StoreSync,
    /// Whose session it is: a store that holds another's is refused. Default: `None`, whichever there is.
    pub client_identifier: Option<String>,
}

impl StoreOptions {
    /// The defaults.
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets [`sync`](Self::sync).
    #[must_use]
    pub const fn sync(mut self, sync: StoreSync) -> Self {
        self.sync = sync;
        self
    }

    /// Sets [`client_identifier`](Self::client_identifier).
    #[must_use]
    pub fn client_identifier(mut self, client_identifier: impl Into<String>) -> Self {
        self.client_identifier = Some(client_identifier.into());
        self
    }
}

/// A store that is open, and whose thread has not started: what it holds can be read here, by calls that block as the disk does.
pub struct OpenedStore {
    pub(crate) log: StoreLog<FolderDisk>,
    lock: FolderLock,
    pub(crate) path: PathBuf,
    sync: StoreSync,
}

impl OpenedStore {
    /// The messages that have not ended, by their keys.
    pub fn messages(&self) -> impl Iterator<Item = StoredInfo> {
        self.log.messages()
    }

    /// A message; `None` when there is none with this key.
    ///
    /// # Errors
    /// The outer `Option` aside, its bytes are damaged or cannot be read.
    pub fn read(&mut self, key: u64) -> Option<Result<StoredPublish, ReadError>> {
        self.log.read(key)
    }

    /// The changes of which [`Session::restore`](ferromqtt_proto::Session::restore) makes the session on record.
    ///
    /// # Errors
    /// The disk does not read a message that is on the wire.
    pub fn session_changes(&mut self) -> Result<Vec<SessionChange>, StoreError> {
        let path = &self.path;
        (self.log.session_changes()).map_err(|error| StoreError::disk(path.clone(), error))
    }

    /// Larger than every key that was ever on record.
    pub fn next_key(&self) -> u64 {
        self.log.next_key()
    }

    /// Whose session it is, if that is on record.
    pub const fn identity(&self) -> Option<&StoreIdentity> {
        self.log.identity()
    }

    /// Records whose session it is, if nobody's is on record. Blocks as the disk does.
    ///
    /// # Errors
    /// The store holds the session of another Client Identifier.
    pub fn claim(&mut self, client_identifier: &str) -> Result<(), StoreError> {
        match self.log.identity() {
            Some(identity) if identity.client_identifier != client_identifier => {
                Err(StoreError::OtherClient {
                    path: self.path.clone(),
                    recorded: identity.client_identifier.clone(),
                    given: client_identifier.to_owned(),
                })
            }
            Some(_) => Ok(()),
            None => {
                let identity = StoreChange::Identity(client_identifier.to_owned());
                let _ = self.log.append(wall_clock(), &[identity]); // a disk that fails says so again
                Ok(())
            }
        }
    }

    /// Whether the last CONNECT was sent while inbound Packet Identifiers were on record, and nothing says that it was answered:
    /// a PUBLISH without DUP under one of them is then a new message.
    pub const fn is_connecting(&self) -> bool {
        self.log.is_connecting()
    }

    /// The descriptor of the file that holds the lock. A forked child has a copy, and the folder stays locked after its owner has
    /// ended until that is closed: close it there, and leave everything else alone.
    #[cfg(unix)]
    pub fn lock_descriptor(&self) -> i32 {
        self.lock.descriptor()
    }

    /// The time by which messages expire now, in milliseconds since 1970: the wall clock, or what was on record if that is later.
    pub fn now(&self) -> u64 {
        self.log.clock_at(wall_clock())
    }

    /// What the store holds, in figures.
    pub fn stats(&self) -> StoreStats {
        self.log.stats()
    }

    /// Starts the thread of the store. `waker` is called by it.
    ///
    /// # Errors
    /// The system starts no thread.
    pub fn start(self, waker: Option<StoreWaker>) -> Result<LogStore, StoreError> {
        let shared = Arc::new(StoreShared::new(self.log.stats(), waker));
        let damages = self.log.new_damages().iter();
        shared.give_events(damages.map(|damage| StoreEvent::Damaged(*damage)));
        let owned = Arc::clone(&shared);
        let path = self.path.clone();
        let owner = FilesOwner::new(self.log, owned, self.sync, self.path, Some(self.lock));
        let started = thread::Builder::new()
            .name("ferromqtt-store".to_owned())
            .spawn(move || owner.run());
        match started {
            Ok(_) => Ok(LogStore { shared }),
            Err(error) => {
                let error = DiskError::new(DiskOperation::StartThread, None, &error);
                Err(StoreError::disk(path, error))
            }
        }
    }
}

/// A [`Store`] in a folder, whose files are owned by a thread.
///
/// At most 32,768 entries, and 16 MiB of them, wait to be written; beyond that [`submit`](Store::submit) refuses. One entry is
/// taken in any case. Messages take 48 bytes of memory each, and little beside: their topics and payloads stay on the disk until
/// they are [fetched](Store::fetch).
///
/// Dropping it begins to [close](Store::close) it, and does not wait for that.
pub struct LogStore {
    shared: Arc<StoreShared>,
}

impl LogStore {
    /// Opens the store in a folder, or makes one: the folder is for its owner alone. Blocks as the disk does; with 100,000
    /// messages and a warm cache that is some milliseconds.
    ///
    /// # Errors
    /// Somebody else has the store, the disk fails, a later version has written it, or it holds the session of another Client
    /// Identifier. Damage is no error, but an [event](StoreEvent::Damaged).
    pub fn open(path: impl AsRef<Path>, options: StoreOptions) -> Result<OpenedStore, StoreError> {
        let path = path.as_ref().to_owned();
        let failed = |operation| {
            let path = path.clone();
            move |error| StoreError::disk(path, DiskError::new(operation, None, &error))
        };
        make_folder(&path).map_err(failed(DiskOperation::MakeFolder))?;
        let lock = FolderLock::take(&path).map_err(|error| match error {
            LockError::Held(holder) => StoreError::InUse {
                path: path.clone(),
                holder: holder.to_string(),
            },
            LockError::Disk(error) => failed(DiskOperation::Lock)(error),
        })?;
        let log = StoreLog::open(FolderDisk::new(path.clone()))
            .map_err(|error| StoreError::recovery(path.clone(), error))?;
        let mut opened = OpenedStore {
            log,
            lock,
            path,
            sync: options.sync,
        };
        if let Some(given) = &options.client_identifier {
            opened.claim(given)?;
        }
        Ok(opened)
    }

    /// [Closes](Store::close) the store, and waits until its files may be opened again.
    pub fn close_and_wait(self) {
        self.shared.close();
        self.shared.wait_until_ended();
    }
}

impl Store for LogStore {
    fn submit(&self, entry: StoreEntry) -> Result<u64, (Box<StoreEntry>, SubmitError)> {
        self.shared.submit(entry)
    }

    fn submit_all(&self, entries: &mut VecDeque<StoreEntry>) -> Result<(), SubmitError> {
        self.shared.submit_all(entries)
    }

    fn marks(&self) -> StoreMarks {
        self.shared.marks()
    }

    fn fetch(&self, request: FetchRequest) -> bool {
        self.shared.fetch(request)
    }

    fn take_fetched(&self) -> Option<Vec<FetchedMessage>> {
        self.shared.take_fetched()
    }

    fn take_events(&self) -> Vec<StoreEvent> {
        self.shared.take_events()
    }

    fn stats(&self) -> StoreStats {
        self.shared.stats()
    }

    fn close(&self) {
        self.shared.close();
    }
}

impl Drop for LogStore {
    fn drop(&mut self) {
        self.shared.close();
    }
}
