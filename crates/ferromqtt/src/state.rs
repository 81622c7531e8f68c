//! What is behind the lock: the engine, and what this client keeps beside it.

use std::collections::HashMap;
use std::task::Waker;

use ferromqtt_engine::{
    CallEnd, CallId, Engine, Fact, IdentifierLedgers, Line, PendingChanges, Standing, Tokens, Woken,
};
use tokio::sync::oneshot;

use crate::Server;
use crate::declared::PendingStream;
use crate::log::Log;
use crate::outbox::RunningOutbox;

/// How tokio's tasks wait.
pub(crate) struct TaskTokens;

impl Tokens for TaskTokens {
    // A stream that was woken may not be polled again: its message must not be reserved meanwhile.
    const RESERVES: bool = false;
    type Call = oneshot::Sender<CallEnd>;
    type Reader = Waker;

    fn is_gone(call: &Self::Call) -> bool {
        call.is_closed()
    }
}

/// The engine with tokio's tokens.
pub(crate) type TaskEngine = Engine<TaskTokens>;

/// What the lock of [`Shared`](crate::shared::Shared) guards.
#[derive(Debug)]
pub(crate) struct SharedState {
    pub(crate) engine: TaskEngine,
    pub(crate) outbox: Option<RunningOutbox>,
    /// How often the driver has been called since its last turn. Only the first call wakes it.
    calls_of_driver: u32,
    /// Where the last attempt to connect led to.
    pub(crate) server: Option<Server>,
    /// The subscriptions of the options whose streams nobody has taken yet, by their calls.
    pub(crate) declared: HashMap<CallId, PendingStream>,
    /// What exactly-once handlers without a key have not committed, if there are such handlers.
    pub(crate) ledgers: Option<IdentifierLedgers>,
    log: Log,
}

/// What happened, to be reported after the lock is released: a task that is woken may call the client at once.
#[derive(Default)]
pub(crate) struct Notifications {
    /// What is to be logged, in order.
    pub(crate) lines: Vec<Line>,
    pub(crate) standing: Option<Standing>,
    pub(crate) calls: Vec<(oneshot::Sender<CallEnd>, CallEnd)>,
    pub(crate) readers: Vec<Waker>,
    /// Something has become of Packet Identifiers that handlers keep.
    pub(crate) identifiers: bool,
}

impl SharedState {
    pub(crate) fn new(engine: TaskEngine) -> Self {
        Self {
            engine,
            outbox: None,
            calls_of_driver: 0,
            server: None,
            declared: HashMap::new(),
            ledgers: None,
            log: Log::default(),
        }
    }

    /// The driver has something to do. Returns whether it has to be woken: not again before its next turn.
    pub(crate) const fn call_driver(&mut self) -> bool {
        self.calls_of_driver = self.calls_of_driver.wrapping_add(1);
        self.calls_of_driver == 1
    }

    /// Whether the last call of the driver was the first since its last turn, or one of the few later ones at which a blocking
    /// client compares processes: in a forked child the driver has no turn any more.
    #[cfg(feature = "blocking")]
    pub(crate) const fn may_have_forked(&self) -> bool {
        self.calls_of_driver % crate::blocking::UNCHECKED == 1
    }

    /// The driver has a turn.
    pub(crate) const fn driver_has_come(&mut self) {
        self.calls_of_driver = 0;
    }

    /// Takes what has become of Packet Identifiers that handlers keep, before anybody takes a message that came later. Returns
    /// whether there was something.
    pub(crate) fn collect_identifier_changes(&mut self) -> bool {
        let Some(ledgers) = &mut self.ledgers else {
            return false;
        };
        let mut is_more = false;
        while let Some(entry) = self.engine.poll_identifier_change() {
            ledgers.add(&entry);
            is_more = true;
        }
        is_more
    }

    /// What a handler has not committed of it.
    pub(crate) fn pending_identifier_changes(&self, handler: usize) -> PendingChanges {
        (self.ledgers.as_ref())
            .map(|ledgers| ledgers.pending(handler))
            .unwrap_or_default()
    }

    /// A handler has committed all changes up to this one: what waits for them may leave.
    pub(crate) fn confirm_identifier_changes(&mut self, handler: usize, sequence: u64) {
        let ledgers = self.ledgers.as_mut();
        if let Some(written) = ledgers.and_then(|ledgers| ledgers.confirm(handler, sequence)) {
            self.engine.identifiers_written(written);
        }
    }

    /// Takes what the engine has to report.
    pub(crate) fn take_notifications(&mut self) -> Notifications {
        let mut notifications = Notifications {
            identifiers: self.collect_identifier_changes(),
            ..Notifications::default()
        };
        while let Some(woken) = self.engine.next_woken() {
            match woken {
                Woken::Call(call, end) => notifications.calls.push((call, end)),
                Woken::Reader(reader) => notifications.readers.push(reader),
                Woken::Fact(fact) => {
                    if changes_standing(&fact) {
                        notifications.standing = Some(self.engine.standing().clone());
                    }
                    self.log.note(&fact, &mut notifications.lines);
                }
            }
        }
        notifications
    }
}

const fn changes_standing(fact: &Fact) -> bool {
    matches!(
        fact,
        Fact::Connected { .. } | Fact::Disconnected { .. } | Fact::Ended { .. }
    )
}
