//! What the driver and the application's handles share: the engine behind a lock.
//!
//! The lock is never held over an await, and code of the application's, which may call this client, does not run under it:
//! no waker is woken or dropped there, no log line written, no authenticator called or dropped, nothing formatted. (The
//! driver's waker is tokio's own.) There are two exceptions:
//!
//! - The core drops payloads, topics and properties where it is done with them. Those that the application has made with
//!   `Bytes::from_owner` drop their owner there, as `IntoPayload` says.
//! - A stream that begins to wait clones its task's waker there. A clone that calls the client is not supported.

use std::mem;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
#[cfg(feature = "blocking")]
use std::sync::{OnceLock, TryLockError};
use std::thread;
use std::time::{Duration, Instant};

use ferromqtt_engine::{Goodbye, InputDemand, Line, LinkId, LinkRequest, Standing};
use tokio::sync::{Notify, oneshot, watch};
use tokio::task::coop::consume_budget;
use tokio::time::sleep;

use crate::authenticate::AuthenticationExchange;
#[cfg(feature = "blocking")]
use crate::blocking::Process;
use crate::link::LinkOutput;
use crate::log::{self, Context};
use crate::outbox::settle_outbox;
use crate::state::{Notifications, SharedState, TaskEngine};
use crate::{ConnectError, ConnectionError, ReasonCode, Server};

/// How many messages a stream gives before it lets other tasks run; and how many the driver reads for each time that it
/// does, so that streams on the same thread keep up with it.
const MESSAGES_PER_TURN: usize = 1_024;

/// The same in bytes: large messages would otherwise fill the memory, and even the bounds of a queue, before a stream on the
/// same thread sees the first of them.
const BYTES_PER_TURN: usize = 512 * 1024;

/// How much has gone by since a task let others run.
#[derive(Debug, Default)]
pub(crate) struct Burst {
    messages: usize,
    bytes: usize,
}

impl Burst {
    pub(crate) const fn add(&mut self, messages: usize, bytes: usize) {
        self.messages += messages;
        self.bytes += bytes;
    }

    /// Whether it is time for others to run.
    pub(crate) const fn is_over(&self) -> bool {
        self.messages >= MESSAGES_PER_TURN || self.bytes >= BYTES_PER_TURN
    }

    /// How often others are to run now, so that each can take its share of what has gone by.
    pub(crate) fn take_turns(&mut self) -> usize {
        if !self.is_over() {
            return 0;
        }
        let turns = (self.messages / MESSAGES_PER_TURN).max(1);
        self.messages %= MESSAGES_PER_TURN;
        self.bytes = 0;
        turns
    }
}

#[derive(Debug)]
pub(crate) struct Shared {
    state: Mutex<SharedState>,
    /// Wakes the driver: an operation was accepted, or the connection is to end.
    pub(crate) driver: Notify,
    pub(crate) authentication: Option<AuthenticationExchange>,
    /// What is enqueued goes into an outgoing queue.
    pub(crate) has_queue: bool,
    /// And from there to the disk.
    #[cfg(feature = "outbox")]
    pub(crate) journals: bool,
    /// Around the log lines of the present connection, or attempt to make one.
    context: Mutex<Arc<Context>>,
    standing: watch::Sender<Standing>,
    /// Something has become of Packet Identifiers that exactly-once handlers keep.
    identifiers: watch::Sender<()>,
    /// The process that connected, if that was a blocking client's.
    #[cfg(feature = "blocking")]
    pub(crate) process: OnceLock<Process>,
}

/// What the driver is to do next.
#[derive(Debug)]
pub(crate) struct Agenda {
    pub(crate) request: Option<LinkRequest>,
    pub(crate) deadline: Option<Instant>,
    /// There is no connection, and none is wanted.
    pub(crate) idle: bool,
    /// How much of the transport's input is to be read.
    pub(crate) reading: InputDemand,
}

impl Shared {
    pub(crate) fn new(engine: TaskEngine, authentication: Option<AuthenticationExchange>) -> Self {
        Self {
            has_queue: engine.has_outgoing_queue(),
            #[cfg(feature = "outbox")]
            journals: engine.core().options().journal,
            state: Mutex::new(SharedState::new(engine)),
            driver: Notify::new(),
            authentication,
            context: Mutex::new(Arc::new(Context::none())),
            standing: watch::Sender::new(Standing::Connecting),
            identifiers: watch::Sender::new(()),
            #[cfg(feature = "blocking")]
            process: OnceLock::new(),
        }
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, SharedState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes the lock if it is free. In a forked child the thread that holds it may not exist.
    #[cfg(feature = "blocking")]
    pub(crate) fn try_lock(&self) -> Option<MutexGuard<'_, SharedState>> {
        match self.state.try_lock() {
            Ok(state) => Some(state),
            Err(TryLockError::Poisoned(poisoned)) => Some(poisoned.into_inner()),
            Err(TryLockError::WouldBlock) => None,
        }
    }

    /// Whether this process was forked from the one in which a blocking client has connected. Nobody may wait for the lock
    /// there: the thread that holds it may not exist.
    pub(crate) fn has_forked(&self) -> bool {
        #[cfg(feature = "blocking")]
        return (self.process.get()).is_some_and(|process| process.has_forked());
        #[cfg(not(feature = "blocking"))]
        false
    }

    /// Refuses a call in a forked child.
    #[cfg(feature = "blocking")]
    pub(crate) fn check(&self) -> Result<(), ConnectionError> {
        match self.has_forked() {
            true => Err(ConnectionError::Forked),
            false => Ok(()),
        }
    }

    /// Reads something for the application; the default in a forked child.
    pub(crate) fn read<T: Default>(&self, read: impl FnOnce(&mut TaskEngine) -> T) -> T {
        match self.has_forked() {
            true => T::default(),
            false => read(&mut self.lock().engine),
        }
    }

    /// Wakes the driver, but not from a forked child: it shares the descriptor that wakes the parent's runtime.
    pub(crate) fn wake_driver(&self) {
        if !self.has_forked() {
            self.driver.notify_one();
        }
    }

    fn context(&self) -> Arc<Context> {
        Arc::clone(&self.context.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// An attempt to connect to `server` begins. Returns what its log lines have in common.
    pub(crate) fn begin_attempt(&self, server: &Server) -> Arc<Context> {
        let shows_packets = log::shows_packets();
        let address = server.address();
        let mut state = self.lock();
        state.engine.set_packet_trace(shows_packets);
        let client_identifier = state.engine.core().client_identifier().clone();
        let attempt = state.engine.core().stats().attempts;
        state.engine.begin_attempt(address.as_str());
        state.server = Some(server.clone());
        drop(state);
        let context = Context::new(&client_identifier, &address, attempt);
        let context = Arc::new(context);
        let mut current = self.context.lock().unwrap_or_else(PoisonError::into_inner);
        let former = mem::replace(&mut *current, Arc::clone(&context));
        drop(current);
        drop(former); // not under a lock: that is the subscriber's code
        log::write(&context, &[Line::connecting()]);
        context
    }

    /// Calls the engine for the application, then wakes the driver.
    pub(crate) fn call<T>(&self, call: impl FnOnce(&mut SharedState, Instant) -> T) -> T {
        let now = now();
        self.call_untimed(|state| call(state, now))
    }

    /// The same for a call that rarely needs the time.
    pub(crate) fn call_untimed<T>(&self, call: impl FnOnce(&mut SharedState) -> T) -> T {
        let mut state = self.lock();
        let result = call(&mut state);
        let waits = state.call_driver();
        drop(state);
        if waits {
            self.wake_driver();
        }
        result
    }

    /// As [`call`](Self::call), and reports at once what follows from it.
    pub(crate) fn call_and_notify<T>(
        &self,
        call: impl FnOnce(&mut SharedState, Instant) -> T,
    ) -> T {
        let (result, notifications) = self.call(|state, now| {
            let result = call(state, now);
            (result, state.take_notifications())
        });
        self.notify(notifications);
        result
    }

    /// Writes what is encoded, and disconnects, within the options' time limit. `reason` is Normal disconnection, or
    /// Disconnect with Will Message.
    pub(crate) fn disconnect(&self, goodbye: Goodbye, reason: ReasonCode) {
        self.call(|state, now| state.engine.disconnect(now, goodbye, reason, None));
    }

    /// As [`disconnect`](Self::disconnect), when everything that was accepted, and that a caller waits for, has its outcome.
    pub(crate) fn leave(&self, reason: ReasonCode) {
        let gone = self.call_and_notify(|state, now| {
            state
                .engine
                .leave(now, reason, None, oneshot::Sender::is_closed)
        });
        drop(gone); // not under the lock: they hold the wakers of those who waited
    }

    /// Lets the engine know which operations nobody waits for: their receipts were dropped.
    pub(crate) fn release_callers(&self) {
        let gone = self.call(|state, _| state.engine.release_callers(oneshot::Sender::is_closed));
        drop(gone); // as above
    }

    /// What ends of connections have cost so far: calls that they failed, and QoS 0 messages.
    pub(crate) fn losses(&self) -> (usize, u64) {
        let state = self.lock();
        let unflushed = state.engine.core().stats().unflushed;
        (state.engine.cut_short(), unflushed)
    }

    /// How many connections servers have accepted.
    pub(crate) fn connections(&self) -> u64 {
        self.lock().engine.core().stats().connections
    }

    /// Waits until there is a connection.
    pub(crate) async fn connected(&self) -> Result<(), ConnectionError> {
        let settled =
            |standing: &Standing| matches!(standing, Standing::Connected | Standing::Ended(_));
        match self.standing(settled).await {
            Standing::Ended(cause) => Err(cause),
            _ => Ok(()),
        }
    }

    /// Waits until the server has accepted a connection, even if that has ended again since.
    pub(crate) async fn opened(&self) -> Result<(), ConnectionError> {
        let begun = |standing: &Standing| *standing != Standing::Connecting;
        match self.standing(begun).await {
            Standing::Ended(cause) if self.connections() == 0 => Err(cause),
            _ => Ok(()),
        }
    }

    /// Why [`opened`](Self::opened) failed, with the server that was tried last, or was to be tried `first`.
    pub(crate) fn not_opened(&self, cause: ConnectionError, first: Server) -> ConnectError {
        let mut state = self.lock();
        let limit = state.engine.core().options().connect_timeout;
        let opened = state.engine.has_opened();
        let server = state.server.take().unwrap_or(first);
        drop(state);
        match (limit, cause) {
            (Some(limit), ConnectionError::ConnectTimeout) => ConnectError::TimedOut {
                server,
                limit,
                opened,
            },
            (_, cause) => ConnectError::Connection { server, cause },
        }
    }

    /// Waits until there is no connection and none will follow.
    pub(crate) async fn ended(&self) -> ConnectionError {
        let ended = |standing: &Standing| matches!(standing, Standing::Ended(_));
        match self.standing(ended).await {
            Standing::Ended(cause) => cause,
            _ => ConnectionError::Closed, // cannot be: that is what was waited for
        }
    }

    /// Changes whenever something has become of Packet Identifiers that exactly-once handlers keep: marked as changed at first,
    /// since something may have happened already.
    pub(crate) fn follow_identifier_changes(&self) -> watch::Receiver<()> {
        let mut changes = self.identifiers.subscribe();
        changes.mark_changed();
        changes
    }

    async fn standing(&self, wanted: impl FnMut(&Standing) -> bool) -> Standing {
        consume_budget().await; // what is settled already must not keep others from running
        let mut standing = self.standing.subscribe();
        match standing.wait_for(wanted).await {
            Ok(standing) => standing.clone(),
            Err(_) => Standing::Ended(ConnectionError::Closed), // cannot be: the sender is here
        }
    }

    /// The transport is open: CONNECT goes out, with the beginning of an authentication if there is one.
    pub(crate) fn transport_opened(&self, output: &mut LinkOutput, link: LinkId) -> Agenda {
        let beginning =
            (self.authentication.as_ref()).map(AuthenticationExchange::begin_connection);
        self.turn(output, |engine, now| {
            let begins = beginning.is_none_or(|data| engine.begin_authentication(now, data));
            if begins {
                engine.opened(now, link);
            }
        })
    }

    /// One turn of the driver: calls the engine (which learns the time only where `call` passes it on), takes bytes until
    /// `output` is full, and reports what happened.
    pub(crate) fn turn(
        &self,
        output: &mut LinkOutput,
        call: impl FnOnce(&mut TaskEngine, Instant),
    ) -> Agenda {
        let now = now();
        let mut state = self.lock();
        state.driver_has_come();
        call(&mut state.engine, now);
        if let Some(authentication) = &self.authentication {
            // Before anything is written: the server may not be the right one.
            state = self.authenticate(authentication, state);
        }
        let SharedState { engine, outbox, .. } = &mut *state;
        loop {
            match output.open_for().map(|link| engine.transmit(now, link)) {
                Some(Some(chunk)) => {
                    output.push(chunk);
                    continue;
                }
                Some(None) => {}
                None => _ = engine.settle(now),
            }
            if !settle_outbox(outbox, engine, now) {
                break;
            }
        }
        let agenda = Agenda {
            request: engine.next_request(),
            deadline: engine.deadline(),
            idle: engine.core().is_idle(),
            reading: engine.input_demand(),
        };
        let notifications = state.take_notifications();
        drop(state);
        self.notify(notifications);
        agenda
    }

    /// Lets the application's authenticator hear what the server has said, and answers. The lock is released meanwhile.
    fn authenticate<'a>(
        &'a self,
        authentication: &AuthenticationExchange,
        mut state: MutexGuard<'a, SharedState>,
    ) -> MutexGuard<'a, SharedState> {
        while let Some(ask) = state.engine.next_ask() {
            drop(state);
            let reply = authentication.hear(ask);
            state = self.lock();
            let _ = state.engine.reply(now(), reply); // the connection ends with the error
        }
        state
    }

    /// The driver has gone, whether it has finished or its runtime is shutting down: nobody may wait any more.
    pub(crate) fn driver_gone(&self) {
        self.call_and_notify(|state, _| state.engine.abandon_driver());
    }

    /// Writes the log lines, then completes calls and wakes readers: a task that is woken finds the reason in the log.
    pub(crate) fn notify(&self, mut notifications: Notifications) {
        let lines = mem::take(&mut notifications.lines);
        if lines.is_empty() {
            return self.notify_callers(notifications);
        }
        let context = self.context();
        // A subscriber that panics ends the driver, and must not keep others from hearing of that.
        let written = catch_unwind(AssertUnwindSafe(|| log::write(&context, &lines)));
        self.notify_callers(notifications);
        if let Err(panic) = written
            && !thread::panicking()
        {
            resume_unwind(panic);
        }
    }

    fn notify_callers(&self, notifications: Notifications) {
        if let Some(standing) = notifications.standing {
            self.standing.send_replace(standing);
        }
        if notifications.identifiers {
            self.identifiers.send_replace(());
        }
        for (call, end) in notifications.calls {
            let _ = call.send(end); // nobody waits for it any more: that is allowed
        }
        for reader in notifications.readers {
            reader.wake();
        }
    }
}

/// The time by the runtime's clock, which tests may stop.
pub(crate) fn now() -> Instant {
    tokio::time::Instant::now().into_std()
}

/// When a time limit that begins now is over. Time limits need the runtime's timers, although it is the driver that watches
/// them: this panics where there are none.
pub(crate) fn end_of(limit: Option<Duration>) -> Option<Instant> {
    let limit = limit?;
    drop(sleep(limit));
    now().checked_add(limit)
}
