//! What an outbox is: where it is, and its bounds.

use std::path::{Path, PathBuf};
use std::time::Duration;

use ferromqtt_engine::OutgoingQueueOptions;
use ferromqtt_proto::{OutgoingLimits, OutgoingPolicy};
use ferromqtt_store::{LogStore, StoreError, StoreOptions, StoreSync};

use crate::opened::OpenedOutbox;

const DAY: Duration = Duration::from_secs(86_400);

/// A folder in which a client keeps its outgoing messages and its session, and the bounds of that.
///
/// What is enqueued is accepted in any phase, also while there is no connection and none ever was, and survives the end of the
/// program. A later client with the same folder sends it. One client at a time has a folder.
///
/// ```
/// use std::time::Duration;
///
/// use ferromqtt_outbox::{Outbox, StoreSync};
///
/// let outbox = Outbox::new("data/outbox")
///     .max_messages(50_000)
///     .max_age(Duration::from_secs(3 * 86_400))
///     .sync(StoreSync::Interval(Duration::from_millis(100)));
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outbox {
    path: PathBuf,
    limits: OutgoingLimits,
    when_full: OutgoingPolicy,
    max_age: Option<Duration>,
    quarantines: bool,
    sync: StoreSync,
    window: OutgoingLimits,
}

impl Outbox {
    /// An outbox in this folder, which is made if it is missing, for its owner alone.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self {
            path: path.into(),
            limits: OutgoingLimits {
                messages: Some(100_000),
                bytes: Some(64 << 20),
            },
            when_full: OutgoingPolicy::Wait,
            max_age: Some(7 * DAY),
            quarantines: true,
            sync: StoreSync::Always,
            // Larger than what a busy program has underway, which is then read back from the disk only after a stall.
            window: OutgoingLimits {
                messages: Some(24_000),
                bytes: Some(8 << 20),
            },
        }
    }

    /// How many messages it holds at most, those included that are on their way; `None` is no limit. One is accepted in any case,
    /// and messages in quarantine do not count. Default: 100,000.
    #[must_use]
    pub fn max_messages(mut self, messages: impl Into<Option<usize>>) -> Self {
        self.limits.messages = messages.into();
        self
    }

    /// How many bytes its messages take at most, as topics, payloads, properties and 128 bytes each; `None` is no limit. On the disk
    /// they take at most a third more, and 20 MiB. Those in memory have a [bound](Self::window) of their own. Default: 64 MiB.
    #[must_use]
    pub fn max_bytes(mut self, bytes: impl Into<Option<usize>>) -> Self {
        self.limits.bytes = bytes.into();
        self
    }

    /// What happens to a message that would exceed these bounds. Only messages are dropped that never were on the wire. Default:
    /// [`OutgoingPolicy::Wait`], enqueuing waits.
    #[must_use]
    pub const fn when_full(mut self, policy: OutgoingPolicy) -> Self {
        self.when_full = policy;
        self
    }

    /// How long a message may wait to be sent, whatever its own time says; then it ends as expired. `None` is no limit. The time
    /// goes on while the program does not run, by the wall clock. The server is asked to keep the session for at least as long.
    /// Default: seven days.
    #[must_use]
    pub fn max_age(mut self, age: impl Into<Option<Duration>>) -> Self {
        self.max_age = age.into();
        self
    }

    /// Whether a message that will not get through is kept in quarantine, to be looked at, sent again or dropped by
    /// `ferromqtt outbox`; otherwise it ends as what the server says of it. Where the server says nothing the message is kept in any
    /// case: a QoS 2 message whose session it has lost, and before 5.0 one for which it closes each connection. Default: `true`.
    #[must_use]
    pub const fn quarantine(mut self, quarantines: bool) -> Self {
        self.quarantines = quarantines;
        self
    }

    /// How many of the messages on record that wait are in memory, and how many bytes of them, beside the 1,000 messages or 4 MiB that
    /// are next; the others are read from the disk when their turn comes. One is in memory in any case. Each of the others takes about
    /// 60 bytes, and with `keep_latest` its topic. Default: 24,000 messages, and 8 MiB.
    #[must_use]
    pub const fn window(mut self, window: OutgoingLimits) -> Self {
        self.window = window;
        self
    }

    /// What "stored" means: see [`StoreSync`]. Default: [`StoreSync::Always`], on the disk.
    #[must_use]
    pub const fn sync(mut self, sync: StoreSync) -> Self {
        self.sync = sync;
        self
    }

    /// The folder.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// How long a message may wait: see [`max_age`](Self::max_age).
    pub const fn age(&self) -> Option<Duration> {
        self.max_age
    }

    /// Opens it for the client with this Client Identifier. An empty one stands for the one on record, or for one that is made
    /// now and kept. Blocks as the disk does.
    ///
    /// # Errors
    /// Somebody else has the folder, the disk fails, a later version has written it, or it holds the session of another client.
    /// Damage is no error: what is lost is reported once the client runs.
    pub fn open(&self, client_identifier: &str) -> Result<OpenedOutbox, StoreError> {
        let store = LogStore::open(&self.path, StoreOptions::new().sync(self.sync))?;
        OpenedOutbox::read(store, self.clone(), client_identifier)
    }

    pub(crate) const fn queue_options(&self) -> OutgoingQueueOptions {
        OutgoingQueueOptions {
            limits: self.limits,
            policy: self.when_full,
            ahead: OutgoingLimits {
                messages: Some(1_000),
                bytes: Some(4 << 20),
            },
            window: self.window,
            outlives_connection: true,
            max_age: self.max_age,
            quarantines: self.quarantines,
            failure_is_final: true,
            needs_session: true,
        }
    }
}
