//! From a folder to an engine: what the store has is read, and handed over.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use ferromqtt_engine::{DistantMessage, Engine, Tokens};
use ferromqtt_proto::packet::MESSAGE_OVERHEAD;
use ferromqtt_proto::{
    CleanStart, JournalEntry, Options, Session, SessionChange, TopicName, Utf8String,
};
use ferromqtt_store::{OpenedStore, StoreError, StoreWaker, StoredInfo};

use crate::identifier::random_identifier;
use crate::outbox::Outbox;
use crate::running::RunningOutbox;

/// An [`Outbox`] that is open, and whose store has not started.
pub struct OpenedOutbox {
    store: OpenedStore,
    outbox: Outbox,
    client_identifier: Utf8String,
    /// The changes of which the session on record is made, until it is taken.
    changes: Vec<SessionChange>,
    /// The topics of messages of which only the latest is kept. All else of what waits stays on the disk until it is its turn.
    latest: BTreeMap<u64, TopicName>,
    /// Those of them whose bytes are damaged.
    lost: Vec<u64>,
}

impl OpenedOutbox {
    pub(crate) fn read(
        mut store: OpenedStore,
        outbox: Outbox,
        client_identifier: &str,
    ) -> Result<Self, StoreError> {
        let recorded = store.identity().map(|it| it.client_identifier.clone());
        let identifier = match (client_identifier, recorded) {
            ("", Some(recorded)) => recorded,
            ("", None) => random_identifier(),
            (given, _) => given.to_owned(),
        };
        store.claim(&identifier)?;
        let changes = store.session_changes()?;
        let keeps_latest = |it: &StoredInfo| waits(it) && it.latest_of.is_some();
        let keys: Vec<_> = (store.messages().filter(keeps_latest))
            .map(|it| it.key)
            .collect();
        let mut latest = BTreeMap::new();
        let mut lost = Vec::new();
        for key in keys {
            match store.read(key) {
                Some(Ok(message)) => _ = latest.insert(key, message.publish.topic),
                Some(Err(_)) => lost.push(key),
                None => {}
            }
        }
        let client_identifier = Utf8String::try_from(identifier).unwrap_or_default();
        Ok(Self {
            store,
            outbox,
            client_identifier,
            changes,
            latest,
            lost,
        })
    }

    /// The Client Identifier: the one that was given, that is on record, or that was made.
    pub const fn client_identifier(&self) -> &Utf8String {
        &self.client_identifier
    }

    /// Settles what an outbox needs of a client: its Client Identifier; a journal; the session is resumed, unless each connection
    /// begins clean; and on 5.0 the server keeps it at least as long as messages may wait, unless the properties say how long.
    pub fn settle_options(&self, core: &mut Options) {
        core.client_identifier = self.client_identifier.clone();
        core.journal = true;
        if core.clean_start == CleanStart::FirstOnly {
            core.clean_start = CleanStart::Never;
        }
        if core.protocol.is_v5() && core.clean_start == CleanStart::Never {
            let seconds = self.outbox.age().map_or(u32::MAX, whole_seconds);
            let expiry = &mut core.properties.session_expiry_interval;
            expiry.get_or_insert(seconds);
        }
    }

    /// The session on record, for the engine that this outbox is [started](Self::start) with.
    pub fn take_session(&mut self) -> Session {
        let entries = (1..).zip(std::mem::take(&mut self.changes));
        let entries = entries.map(|(sequence, change)| JournalEntry {
            sequence,
            change,
            holds: false,
        });
        Session::restore(
            self.client_identifier.clone(),
            self.store.next_key(),
            entries,
        )
    }

    /// See [`OpenedStore::lock_descriptor`].
    #[cfg(unix)]
    pub fn lock_descriptor(&self) -> i32 {
        self.store.lock_descriptor()
    }

    /// How many times the folder was written to since it was made: see [`RunningOutbox::frames`].
    pub fn frames(&self) -> u64 {
        self.store.stats().frames
    }

    /// Goes on with an engine that an outbox of this folder was closed with, and that has all that the folder has: nobody has
    /// [written](Self::frames) to it since.
    ///
    /// # Errors
    /// The system starts no thread.
    pub fn resume<T: Tokens>(
        self,
        engine: &mut Engine<T>,
        wake: StoreWaker,
    ) -> Result<RunningOutbox, StoreError> {
        let running = Self::run(self.store, self.lost, wake)?;
        engine.store_opened();
        Ok(running)
    }

    /// Opens the outgoing queue of an engine with what waits here, and starts the thread of the store. `wake` is called by that
    /// thread when [`RunningOutbox::settle`] has something to do; it must return soon.
    ///
    /// # Errors
    /// The system starts no thread.
    pub fn start<T: Tokens>(
        self,
        engine: &mut Engine<T>,
        now: Instant,
        wake: StoreWaker,
    ) -> Result<RunningOutbox, StoreError> {
        let wall = self.store.now();
        let mut latest = self.latest;
        let messages = self.store.messages().filter(waits);
        let messages = messages.filter_map(|it| {
            let latest_of = latest.remove(&it.key);
            let is_lost = it.latest_of.is_some() && latest_of.is_none();
            (!is_lost).then(|| distant_message(&it, latest_of, now, wall))
        });
        engine.open_distant_queue(self.outbox.queue_options(), messages);
        Self::run(self.store, self.lost, wake)
    }

    fn run(
        store: OpenedStore,
        lost: Vec<u64>,
        wake: StoreWaker,
    ) -> Result<RunningOutbox, StoreError> {
        let woken = Arc::new(AtomicBool::new(true)); // there may be damage to report
        let flag = Arc::clone(&woken);
        let store = store.start(Some(Arc::new(move || {
            flag.store(true, Ordering::Release);
            wake();
        })))?;
        Ok(RunningOutbox::new(Box::new(store), woken, lost))
    }
}

/// Whole seconds, rounded up; below the number that MQTT has for forever.
fn whole_seconds(time: Duration) -> u32 {
    let seconds = time.as_secs() + u64::from(time.subsec_nanos() > 0);
    u32::try_from(seconds).unwrap_or(u32::MAX).min(u32::MAX - 1)
}

/// Whether it waits to be sent for the first time: one that is on the wire, or was, is in the session.
const fn waits(message: &StoredInfo) -> bool {
    message.sent.is_none() && message.quarantine.is_none()
}

/// `wall` is the time now by the store's clock, in milliseconds since 1970.
fn distant_message(
    message: &StoredInfo,
    latest_of: Option<TopicName>,
    now: Instant,
    wall: u64,
) -> DistantMessage {
    let left = |end: u64| Duration::from_millis(end.saturating_sub(wall));
    DistantMessage {
        key: message.key,
        // Rather too little than too much: a queue that was full must not drop messages when it is opened.
        size: MESSAGE_OVERHEAD.saturating_add(message.contents_size()),
        expires_at: (message.expires_at).and_then(|end| now.checked_add(left(end))),
        latest_of,
    }
}
