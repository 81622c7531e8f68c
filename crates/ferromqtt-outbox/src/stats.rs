//! An outbox in figures.

use ferromqtt_store::{StoreCounters, StoreStats};

/// What an outbox holds, as of the last change that was written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct OutboxStats {
    /// Messages that have not ended, those in quarantine included.
    pub messages: usize,
    /// Their bytes on the disk.
    pub bytes: u64,
    /// Messages in quarantine.
    pub quarantined: usize,
    /// The bytes of all its files.
    pub disk_bytes: u64,
    /// How many messages took which way since the folder was made.
    pub counters: StoreCounters,
    /// Changes that the store has not taken yet, since it has as many to write as it takes.
    pub behind: usize,
    /// The disk is full: nothing is accepted until there is space.
    pub is_full: bool,
    /// The store has failed: nothing more becomes on record.
    pub has_failed: bool,
}

impl OutboxStats {
    pub(crate) const fn new(store: &StoreStats) -> Self {
        Self {
            messages: store.messages,
            bytes: store.message_bytes,
            quarantined: store.quarantined,
            disk_bytes: store.disk_bytes,
            counters: store.counters,
            behind: 0,
            is_full: false,
            has_failed: false,
        }
    }
}
