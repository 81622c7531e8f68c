//! What a client needs of a store, whatever is below it.

use std::collections::VecDeque;
use std::sync::Arc;

use ferromqtt_proto::{Direction, JournalEntry, OutgoingLimits};
use thiserror::Error;

use crate::change::StoreChange;
use crate::commands::StoreCommand;
use crate::disk::DiskError;
use crate::error::StoreError;
use crate::read::{ReadError, StoreStats, StoredPublish};
use crate::recovery::Damage;

/// A change to record, and its number in its row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoreEntry {
    /// What changed.
    pub change: StoreChange,
    /// Its row, and its number in there. Numbers rise within a row. `None` for what no packet waits for.
    pub mark: Option<(Direction, u64)>,
}

impl From<JournalEntry> for StoreEntry {
    fn from(entry: JournalEntry) -> Self {
        let mark = Some((entry.direction(), entry.sequence));
        let change = StoreChange::Session(entry.change);
        Self { change, mark }
    }
}

/// How far a store has come.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct StoreMarks {
    /// All entries up to this [ticket](Store::submit) are on record, in the sense of the store's [sync level](crate::StoreSync).
    pub on_record: u64,
    /// All entries of [`Direction::Sent`] up to this number are on record.
    pub sent: u64,
    /// As [`sent`](Self::sent) where there is space. On a full disk acceptances wait, and other entries pass them: then all entries of
    /// [`Direction::Sent`] up to this number are on record but those.
    pub ahead: u64,
    /// All entries of [`Direction::Received`] up to this number are on record.
    pub received: u64,
    /// The disk is full: entries wait until there is space. Accept no message meanwhile; ends are recorded as far as the disk
    /// lets them, and make space.
    pub full: Option<DiskError>,
    /// The store has given up. Nothing more becomes on record, and [`submit`](Store::submit) refuses.
    pub failure: Option<StoreError>,
    /// The store has been [closed](Store::close), and its files may be opened again.
    pub closed: bool,
}

/// Something that a store has to say of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum StoreEvent {
    /// Damage was found when the store was opened. Messages in it are lost; ends in it are forgotten, so messages may be sent
    /// again.
    Damaged(Damage),
    /// A message was lost, since its bytes are damaged. It has ended as [`EndedHow::Damaged`](crate::EndedHow::Damaged).
    MessageLost {
        /// The message.
        key: u64,
    },
    /// Somebody beside the owner asks for something.
    Command(StoreCommand),
    /// So many events were dropped here, since nobody took them.
    Missed(u64),
}

/// What to [fetch](Store::fetch).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FetchRequest {
    /// Messages that wait to be sent for the first time, in the order of their keys.
    Waiting {
        /// The first key.
        from: u64,
        /// How many, and how many bytes. One message is fetched in any case. `None` is 1,000 messages, and 4 MiB.
        limits: OutgoingLimits,
    },
    /// These messages. Those that have ended are left out.
    Keys(Vec<u64>),
}

/// A message that was fetched, or its key and why it cannot be read. A [damaged](ReadError::Damaged) one has ended.
pub type FetchedMessage = Result<StoredPublish, (u64, ReadError)>;

/// Why an entry was not taken.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum SubmitError {
    /// As many entries wait as the store takes. The waker is called when there are fewer.
    #[error("the store has as many changes to write as it takes: wait until it has written some")]
    Busy,
    /// The store is closed, or is being closed.
    #[error("the store is closed")]
    Closed,
    /// The store has given up.
    #[error(transparent)]
    Failed(#[from] StoreError),
}

/// Called when [marks](Store::marks), [events](Store::take_events) or [fetched messages](Store::take_fetched) have changed, by
/// the thread of the store. It must return soon, and may wake a task or a thread.
pub type StoreWaker = Arc<dyn Fn() + Send + Sync>;

/// A store of messages and of a session, as a driver sees it. No call waits for a disk.
///
/// [`LogStore`](crate::LogStore) is the one that there is. Another one keeps these promises: entries become on record in the
/// order in which they were submitted, and what is found after a crash is what some number of the first entries make, all up to
/// the mark included.
pub trait Store: Send + Sync {
    /// Takes an entry, and returns its ticket: a number that rises by one with each. A number of entries that are submitted
    /// soon after each other become on record together.
    ///
    /// # Errors
    /// The entry, which was not taken, and why.
    fn submit(&self, entry: StoreEntry) -> Result<u64, (Box<StoreEntry>, SubmitError)>;

    /// Takes entries from the front, as [`submit`](Self::submit) does, as many as it can. Those it has not taken stay.
    ///
    /// # Errors
    /// Why it has not taken the first of those that are left.
    fn submit_all(&self, entries: &mut VecDeque<StoreEntry>) -> Result<(), SubmitError> {
        while let Some(entry) = entries.pop_front() {
            if let Err((entry, refusal)) = self.submit(entry) {
                entries.push_front(*entry);
                return Err(refusal);
            }
        }
        Ok(())
    }

    /// How far the store has come.
    fn marks(&self) -> StoreMarks;

    /// Asks for messages, which come by [`take_fetched`](Self::take_fetched). Returns `false`, and does nothing, while the answer
    /// to an earlier request has not been taken.
    fn fetch(&self, request: FetchRequest) -> bool;

    /// The answer to [`fetch`](Self::fetch); `None` while there is none.
    fn take_fetched(&self) -> Option<Vec<FetchedMessage>>;

    /// What the store has to say. At most 1,024 events wait to be taken; beyond that the oldest are dropped and counted.
    fn take_events(&self) -> Vec<StoreEvent>;

    /// What the store holds, in figures, as of the last entry that was written.
    fn stats(&self) -> StoreStats;

    /// Begins to close the store: what was submitted is written, and [`StoreMarks::closed`] says when that is done.
    fn close(&self);
}
