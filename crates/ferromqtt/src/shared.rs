//! What the driver and the application's handles share: the core behind a lock, and who waits for what.
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
use std::thread;
use std::time::{Duration, Instant};

use ferromqtt_proto as proto;
use proto::packet::Disconnect;
use proto::{OpId, TransportRequest};
use tokio::sync::{Notify, watch};
use tokio::task::coop::consume_budget;

use crate::authenticate::{Authentication, Said};
use crate::link::{Output, Reading};
use crate::log::{self, Context, Log};
use crate::room::Purpose;
use crate::state::{Attempt, Goodbye, News, State, Submitted};
use crate::{ConnectError, ConnectionError, Delivery, PublishError, ReasonCode, Server};

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
    state: Mutex<State>,
    /// Wakes the driver: an operation was accepted, or the connection is to end.
    pub(crate) driver: Notify,
    /// Every operation has its outcome: for who drains the connection.
    pub(crate) idle: Notify,
    pub(crate) authentication: Option<Authentication>,
    /// Around the log lines of the present connection, or attempt to make one.
    context: Mutex<Arc<Context>>,
    status: watch::Sender<Status>,
    pub(crate) disconnect_timeout: Duration,
    ends_session: bool,
}

/// Where the connection stands, for those who wait for a change.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Status {
    /// No connection has come about yet.
    Connecting,
    Connected,
    /// A connection was lost, and another one follows.
    Reconnecting,
    Ended(ConnectionError),
}

/// What the driver is to do next.
#[derive(Debug)]
pub(crate) struct Turn {
    pub(crate) request: Option<TransportRequest>,
    pub(crate) deadline: Option<Instant>,
    /// There is no connection, and none is wanted.
    pub(crate) idle: bool,
    /// How many messages have come.
    pub(crate) received: usize,
    /// How much of the transport's input is to be read.
    pub(crate) reading: Reading,
}

impl Shared {
    pub(crate) fn new(
        core: proto::Client,
        disconnect_timeout: Duration,
        ends_session: bool,
        authentication: Option<Authentication>,
    ) -> Self {
        Self {
            state: Mutex::new(State::new(core)),
            driver: Notify::new(),
            idle: Notify::new(),
            authentication,
            context: Mutex::new(Arc::new(Context::none())),
            status: watch::Sender::new(Status::Connecting),
            disconnect_timeout,
            ends_session,
        }
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn context(&self) -> Arc<Context> {
        Arc::clone(&self.context.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// An attempt to connect to `server` begins. Returns what its log lines have in common.
    pub(crate) fn begin_attempt(&self, server: &Server) -> Arc<Context> {
        let shows_packets = log::shows_packets();
        let mut state = self.lock();
        state.core.set_packet_trace(shows_packets);
        let client_identifier = state.core.client_identifier().clone();
        let attempt = state.core.stats().attempts;
        state.attempt = Some(Attempt {
            server: server.clone(),
            opened: false,
        });
        drop(state);
        let context = Context::new(&client_identifier, &server.address(), attempt);
        let context = Arc::new(context);
        let mut current = self.context.lock().unwrap_or_else(PoisonError::into_inner);
        let former = mem::replace(&mut *current, Arc::clone(&context));
        drop(current);
        drop(former); // not under a lock: that is the subscriber's code
        log::write(&context, Log::connecting().into_iter().collect());
        context
    }

    /// Calls the core for the application, then wakes the driver.
    pub(crate) fn call<T>(&self, call: impl FnOnce(&mut State, Instant) -> T) -> T {
        let now = now();
        let mut state = self.lock();
        let result = call(&mut state, now);
        self.call_driver(state);
        result
    }

    /// Nobody waits for `op` any more.
    pub(crate) fn forget(&self, op: OpId) {
        let call = self.call(|state, _| state.forget(op));
        drop(call); // not under the lock
    }

    /// Withdraws a publish whose time is over; `None` when it has its outcome already.
    pub(crate) fn withdraw(&self, op: OpId) -> Option<Delivery> {
        let (delivery, call) = self.call(|state, _| state.withdraw(op))?;
        drop(call); // not under the lock
        self.idle.notify_one();
        Some(delivery)
    }

    pub(crate) fn call_driver(&self, mut state: MutexGuard<'_, State>) {
        let waits = state.call_driver();
        drop(state);
        if waits {
            self.driver.notify_one();
        }
    }

    /// Writes what is encoded, and disconnects, by `limit` and within the options' time limit. `reason` is Normal
    /// disconnection, or Disconnect with Will Message.
    pub(crate) fn disconnect(&self, reason: ReasonCode, limit: Option<Instant>) {
        self.disconnect_for(Goodbye::Asked, reason, limit);
    }

    /// As [`disconnect`](Self::disconnect), because the application has let go of the connection.
    pub(crate) fn disconnect_dropped(&self, reason: ReasonCode) {
        self.disconnect_for(Goodbye::Dropped, reason, None);
    }

    fn disconnect_for(&self, goodbye: Goodbye, reason: ReasonCode, limit: Option<Instant>) {
        let disconnect = self.farewell(reason);
        self.call(|state, now| {
            state.say_goodbye(goodbye);
            let until = [self.disconnect_by(now), limit].into_iter().flatten().min();
            state.core.disconnect_within(now, disconnect, until);
        });
    }

    /// As [`disconnect`](Self::disconnect), when everything that was accepted, and that a caller waits for, has its outcome.
    pub(crate) fn leave(&self, reason: ReasonCode) {
        let disconnect = self.farewell(reason);
        let mut news = News::default();
        let gone = self.call(|state, now| {
            state.say_goodbye(Goodbye::Asked);
            state.refuse_waiting(&mut news);
            let gone = state.release_callers();
            (state.core).leave(now, disconnect, self.disconnect_by(now));
            gone
        });
        drop(gone);
        self.tell(news);
    }

    /// What ends of connections have cost so far: calls that they failed, and QoS 0 messages.
    pub(crate) fn losses(&self) -> (usize, u64) {
        let state = self.lock();
        (state.cut_short, state.core.stats().unflushed)
    }

    fn farewell(&self, reason: ReasonCode) -> Disconnect {
        let mut disconnect = Disconnect::because(reason);
        if self.ends_session {
            disconnect.properties.session_expiry_interval = Some(0);
        }
        disconnect
    }

    fn disconnect_by(&self, now: Instant) -> Option<Instant> {
        now.checked_add(self.disconnect_timeout)
    }

    /// How many connections servers have accepted.
    pub(crate) fn connections(&self) -> u64 {
        self.lock().core.stats().connections
    }

    /// Waits until there is a connection.
    pub(crate) async fn connected(&self) -> Result<(), ConnectionError> {
        let settled = |status: &Status| matches!(status, Status::Connected | Status::Ended(_));
        match self.status(settled).await {
            Status::Ended(cause) => Err(cause),
            _ => Ok(()),
        }
    }

    /// Waits until the server has accepted a connection, even if that has ended again since.
    pub(crate) async fn opened(&self) -> Result<(), ConnectionError> {
        match self.status(|status| *status != Status::Connecting).await {
            Status::Ended(cause) if self.lock().core.stats().connections == 0 => Err(cause),
            _ => Ok(()),
        }
    }

    /// Why [`opened`](Self::opened) failed, with the server that was tried last, or was to be tried `first`.
    pub(crate) fn not_opened(&self, cause: ConnectionError, first: Server) -> ConnectError {
        let mut state = self.lock();
        let limit = state.core.options().connect_timeout;
        let attempt = state.attempt.take();
        drop(state);
        let opened = attempt.as_ref().is_some_and(|attempt| attempt.opened);
        let server = attempt.map_or(first, |attempt| attempt.server);
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
        match self
            .status(|status| matches!(status, Status::Ended(_)))
            .await
        {
            Status::Ended(cause) => cause,
            _ => ConnectionError::Closed, // cannot be: that is what was waited for
        }
    }

    async fn status(&self, wanted: impl FnMut(&Status) -> bool) -> Status {
        consume_budget().await; // what is settled already must not keep others from running
        let mut status = self.status.subscribe();
        match status.wait_for(wanted).await {
            Ok(status) => status.clone(),
            Err(_) => Status::Ended(ConnectionError::Closed), // cannot be: the sender is here
        }
    }

    /// Accepts a message, or has it wait for room.
    pub(crate) fn submit(
        &self,
        purpose: Purpose,
        publish: &proto::Publish,
    ) -> Result<Submitted, PublishError> {
        let mut state = self.lock();
        let submitted = state.submit(purpose, publish);
        self.call_driver(state);
        submitted
    }

    /// The transport is open: CONNECT goes out, with the beginning of an authentication if there is one.
    pub(crate) fn transport_opened(&self, output: &mut Output) -> Turn {
        let beginning = self
            .authentication
            .as_ref()
            .map(Authentication::begin_connection);
        if let Some(attempt) = &mut self.lock().attempt {
            attempt.opened = true;
        }
        self.turn(output, |core, now| {
            match beginning {
                Some(Ok(data)) => {
                    if let Err(error) = core.set_authentication_data(data) {
                        return core.fail_authentication(now, error.to_string().into());
                    }
                }
                Some(Err(why)) => return core.fail_authentication(now, why),
                None => {}
            }
            core.transport_opened(now);
        })
    }

    /// One turn of the driver: calls the core (which hears of the time only where `call` tells it), takes bytes as far as `output` has room, and tells everyone what happened.
    pub(crate) fn turn(
        &self,
        output: &mut Output,
        call: impl FnOnce(&mut proto::Client, Instant),
    ) -> Turn {
        let now = now();
        let mut state = self.lock();
        state.driver_called = false;
        let core = &mut state.core;
        let received = core.stats().received;
        call(core, now);
        let mut news = News::default();
        state.take_packets(&mut news);
        if let Some(authentication) = &self.authentication {
            // Before anything is written: the server may not be the right one.
            state.take_events(&mut news);
            state = self.authenticate(authentication, state, &mut news);
        }
        loop {
            while output.has_room()
                && let Some(chunk) = state.core.poll_transmit(now)
            {
                output.push(chunk);
            }
            state.take_packets(&mut news);
            state.take_events(&mut news);
            if !state.let_in(&mut news) {
                break;
            }
        }
        let core = &mut state.core;
        let turn = Turn {
            request: core.poll_transport(),
            deadline: core.poll_timeout(),
            idle: core.is_idle(),
            received: usize::try_from(core.stats().received - received).unwrap_or(usize::MAX),
            reading: match () {
                () if core.input_paused() => Reading::Nothing,
                () if core.input_throttled() => Reading::Little,
                () => Reading::All,
            },
        };
        drop(state);
        self.tell(news);
        turn
    }

    /// Lets the application's authenticator hear what the server has said, and answers. The lock is released meanwhile.
    fn authenticate<'a>(
        &'a self,
        authentication: &Authentication,
        mut state: MutexGuard<'a, State>,
        news: &mut News,
    ) -> MutexGuard<'a, State> {
        for said in mem::take(&mut news.said) {
            let accepted = matches!(said, Said::Accepted(_));
            drop(state);
            let answer = authentication.hear(said);
            state = self.lock();
            let done = match answer {
                Ok(Some(auth)) => {
                    (state.core.authenticate(now(), auth)).map_err(|error| error.to_string().into())
                }
                Ok(None) => Ok(()),
                Err(why) => Err(why),
            };
            match done {
                Ok(()) if accepted => {
                    let waiting = state.re_authenticating.take();
                    (news.re_authenticated).extend(waiting.map(|waiting| (waiting, Ok(()))));
                }
                Ok(()) => {}
                Err(why) => state.core.fail_authentication(now(), why),
            }
        }
        state
    }

    /// The driver has gone, whether it has finished or its runtime is shutting down: nobody may wait any more.
    pub(crate) fn driver_gone(&self) {
        let mut news = News::default();
        let orphans = self.lock().driver_gone(&mut news);
        drop(orphans);
        news.idle = true;
        self.tell(news);
    }

    /// Writes the log lines, then tells everyone what happened: who hears of it finds it in the log.
    pub(crate) fn tell(&self, mut news: News) {
        let lines = mem::take(&mut news.lines);
        if lines.is_empty() {
            return self.tell_callers(news);
        }
        let context = self.context();
        // A subscriber that panics ends the driver, and must not keep others from hearing of that.
        let written = catch_unwind(AssertUnwindSafe(|| log::write(&context, lines)));
        self.tell_callers(news);
        if let Err(panic) = written
            && !thread::panicking()
        {
            resume_unwind(panic);
        }
    }

    fn tell_callers(&self, news: News) {
        if let Some(status) = news.status {
            self.status.send_replace(status);
        }
        for (call, outcome) in news.completed {
            let _ = call.send(outcome); // nobody waits for it any more: that is allowed
        }
        for (waiting, accepted) in news.accepted {
            if let Err(Ok((op, _))) = waiting.send(accepted) {
                self.forget(op); // whoever waited has gone at this moment
            }
        }
        for reader in news.readers {
            reader.wake();
        }
        for (waiting, result) in news.re_authenticated {
            let _ = waiting.send(result); // as above
        }
        if news.idle {
            self.idle.notify_one();
        }
    }
}

/// The time by the runtime's clock, which tests may stop.
pub(crate) fn now() -> Instant {
    tokio::time::Instant::now().into_std()
}
