//! Reading a store beside its owner, without a lock.

use std::io;
use std::path::Path;

use ferromqtt_proto::SessionChange;

use crate::disk::DiskError;
use crate::error::StoreError;
use crate::folder::FolderDisk;
use crate::log::StoreLog;
use crate::owner::wall_clock;
use crate::read::{ReadError, StoreStats, StoredInfo, StoredPublish};
use crate::record::StoreIdentity;
use crate::recovery::{Damage, RecoveryError};

/// How often reading begins again because the owner has removed a file meanwhile.
const ATTEMPTS: usize = 20;

/// What a store held at some moment. Nothing is locked or written, and the owner of the store goes on meanwhile.
///
/// Messages are read from the files when they are asked for: one that has ended since may be
/// [unreadable](ReadError::Disk), since its file is gone.
pub struct StoreReader {
    log: StoreLog<FolderDisk>,
}

impl StoreReader {
    /// Reads the store in a folder. Blocks as the disk does.
    ///
    /// # Errors
    /// The folder cannot be read, or a later version has written the store.
    pub fn open(path: impl AsRef<Path>) -> Result<Self, StoreError> {
        let path = path.as_ref();
        let mut attempts = ATTEMPTS;
        loop {
            attempts -= 1;
            match StoreLog::read_only(FolderDisk::new(path.to_owned())) {
                Ok(log) => return Ok(Self { log }),
                Err(RecoveryError::Disk(error))
                    if error.kind == io::ErrorKind::NotFound && attempts > 0 && path.is_dir() => {}
                Err(error) => return Err(StoreError::recovery(path.to_owned(), error)),
            }
        }
    }

    /// The messages that have not ended, by their keys.
    pub fn messages(&self) -> impl Iterator<Item = StoredInfo> {
        self.log.messages()
    }

    /// The same from the key `from` on: to go through a store step by step, and [read](Self::read) between the steps.
    pub fn messages_from(&self, from: u64) -> impl Iterator<Item = StoredInfo> {
        self.log.messages_from(from)
    }

    /// A message; `None` when there is none with this key.
    ///
    /// # Errors
    /// The outer `Option` aside, its bytes are damaged or cannot be read.
    pub fn read(&mut self, key: u64) -> Option<Result<StoredPublish, ReadError>> {
        self.log.read(key)
    }

    /// The time by which messages expire now, in milliseconds since 1970: the wall clock, or what was on record if that is later.
    pub fn now(&self) -> u64 {
        self.log.clock_at(wall_clock())
    }

    /// What the store holds, in figures.
    pub fn stats(&self) -> StoreStats {
        self.log.stats()
    }

    /// Whose session it is, if that is on record.
    pub const fn identity(&self) -> Option<&StoreIdentity> {
        self.log.identity()
    }

    /// The changes of which a session is made.
    ///
    /// # Errors
    /// The disk does not read a message.
    pub fn session_changes(&mut self) -> Result<Vec<SessionChange>, DiskError> {
        self.log.session_changes()
    }

    /// Damage that the owner has not reported yet.
    pub fn new_damages(&self) -> &[Damage] {
        self.log.new_damages()
    }
}
