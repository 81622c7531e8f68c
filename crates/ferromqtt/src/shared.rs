//! What the driver and the application's handles share: the core behind a lock, and who waits for what.
//!
//! The lock is never held over an await, and nobody is woken under it.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::task::Waker;
use std::time::{Duration, Instant};

use ferromqtt_proto as proto;
use proto::packet::{Disconnect, PublishRef};
use proto::{Event, OpId, Outcome, QueueId, TransportRequest};
use tokio::sync::{Notify, oneshot, watch};

use crate::OutgoingPolicy;
use crate::link::Output;
use crate::publish::Receipt;
use crate::{ConnectionError, Delivery, Properties, PublishError, QoS, ReasonCode, log};

/// How many messages a stream gives before it lets other tasks run; and how many the driver reads for each time that it
/// does, so that streams on the same thread keep up with it.
pub(crate) const MESSAGES_PER_TURN: usize = 1_024;

#[derive(Debug)]
pub(crate) struct Shared {
    state: Mutex<State>,
    /// Wakes the driver: an operation was accepted, or the connection is to end.
    pub(crate) driver: Notify,
    /// Whoever publishes has it for a moment; whoever waits for room keeps it. It is fair, so nobody overtakes.
    gate: tokio::sync::Mutex<()>,
    /// The outgoing queue may have room again.
    room: Notify,
    status: watch::Sender<Status>,
    pub(crate) disconnect_timeout: Duration,
    ends_session: bool,
    /// Whether a publish waits for room in the outgoing queue.
    waits: bool,
}

#[derive(Debug)]
pub(crate) struct State {
    pub(crate) core: proto::Client,
    calls: HashMap<OpId, oneshot::Sender<Outcome>>,
    /// Who waits for messages: for each queue the streams that do, by their numbers.
    readers: HashMap<QueueId, Vec<(u64, Waker)>>,
    last_reader: u64,
    /// Queues whose subscription the server has lost and not renewed, and why.
    pub(crate) not_restored: HashMap<QueueId, ReasonCode>,
    /// Set once nothing will come any more.
    end: Option<ConnectionError>,
}

/// Where the connection stands, for those who wait for a change.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Status {
    Connecting,
    Connected,
    Ended(ConnectionError),
}

/// What the driver is to do next.
#[derive(Debug)]
pub(crate) struct Turn {
    pub(crate) request: Option<TransportRequest>,
    pub(crate) deadline: Option<Instant>,
    /// The connection has ended for the core: what is left to write has a time limit.
    pub(crate) ended: bool,
    /// There is no connection, and none is wanted.
    pub(crate) idle: bool,
    /// How many messages have come.
    pub(crate) received: usize,
}

/// What happened, told after the lock is released: whoever is woken may call at once.
#[derive(Default)]
struct News {
    readers: Vec<Waker>,
    completed: Vec<(oneshot::Sender<Outcome>, Outcome)>,
    status: Option<Status>,
    /// The outgoing queue has room for the publish that waits.
    room: bool,
}

impl Shared {
    pub(crate) fn new(
        core: proto::Client,
        disconnect_timeout: Duration,
        ends_session: bool,
    ) -> Self {
        let waits = core.options().outgoing_policy == OutgoingPolicy::Wait;
        Self {
            state: Mutex::new(State {
                core,
                calls: HashMap::new(),
                readers: HashMap::new(),
                last_reader: 0,
                not_restored: HashMap::new(),
                end: None,
            }),
            driver: Notify::new(),
            gate: tokio::sync::Mutex::new(()),
            room: Notify::new(),
            status: watch::Sender::new(Status::Connecting),
            disconnect_timeout,
            ends_session,
            waits,
        }
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Calls the core for the application, then wakes the driver.
    pub(crate) fn call<T>(&self, call: impl FnOnce(&mut State, Instant) -> T) -> T {
        let result = call(&mut self.lock(), now());
        self.driver.notify_one();
        result
    }

    pub(crate) fn disconnect(&self) {
        let mut disconnect = Disconnect::normal();
        if self.ends_session {
            disconnect.properties.session_expiry_interval = Some(0);
        }
        self.call(|state, now| state.core.disconnect(now, disconnect));
    }

    /// Waits until the server has accepted a connection, even if that has ended again since.
    pub(crate) async fn connected(&self) -> Result<(), ConnectionError> {
        match self.status(|status| *status != Status::Connecting).await {
            Status::Ended(cause) if self.lock().core.stats().connections == 0 => Err(cause),
            _ => Ok(()),
        }
    }

    /// Waits until there is no connection and none will follow.
    pub(crate) async fn ended(&self) -> ConnectionError {
        match self
            .status(|status| matches!(status, Status::Ended(_)))
            .await
        {
            Status::Ended(cause) => cause,
            Status::Connecting | Status::Connected => ConnectionError::Closed,
        }
    }

    async fn status(&self, wanted: impl FnMut(&Status) -> bool) -> Status {
        let mut status = self.status.subscribe();
        match status.wait_for(wanted).await {
            Ok(status) => status.clone(),
            Err(_) => Status::Ended(ConnectionError::Closed), // cannot be: the sender is here
        }
    }

    /// Accepts a publish without waiting. `None` when it has to wait for room, or behind others that do.
    pub(crate) fn publish_now(
        &self,
        publish: &proto::Publish,
    ) -> Option<Result<Receipt, PublishError>> {
        let _turn = self.gate.try_lock().ok()?;
        self.try_publish(publish)
    }

    /// Accepts a publish, as soon as there is room.
    pub(crate) async fn publish(&self, publish: proto::Publish) -> Result<Receipt, PublishError> {
        let _turn = self.gate.lock().await;
        loop {
            if let Some(accepted) = self.try_publish(&publish) {
                return accepted;
            }
            self.room.notified().await; // one that came since is remembered
        }
    }

    fn try_publish(&self, publish: &proto::Publish) -> Option<Result<Receipt, PublishError>> {
        let accepted = self.call(|state, now| state.publish(now, publish));
        match accepted {
            Err(PublishError::Invalid(proto::PublishError::QueueFull { .. })) if self.waits => None,
            accepted => Some(accepted),
        }
    }

    /// One turn of the driver: calls the core, takes bytes as far as `output` has room, and tells everyone what happened.
    pub(crate) fn turn(
        &self,
        output: &mut Output,
        call: impl FnOnce(&mut proto::Client, Instant),
    ) -> Turn {
        let now = now();
        let mut state = self.lock();
        let core = &mut state.core;
        let received = core.stats().received;
        call(core, now);
        core.handle_timeout(now);
        while output.has_room()
            && let Some(chunk) = core.poll_transmit(now)
        {
            output.push(chunk);
        }
        let mut turn = Turn {
            request: core.poll_transport(),
            deadline: core.poll_timeout(),
            ended: false,
            idle: core.is_idle(),
            received: usize::try_from(core.stats().received - received).unwrap_or(usize::MAX),
        };
        let mut news = News::default();
        while let Some(event) = state.core.poll_event() {
            turn.ended |= matches!(event, Event::Disconnected { .. });
            state.on_event(event, &mut news);
        }
        drop(state);
        self.tell(news);
        turn
    }

    /// The driver has gone, whether it has finished or its runtime is shutting down: nobody may wait any more.
    pub(crate) fn driver_gone(&self) {
        let mut news = News::default();
        let mut state = self.lock();
        if state.end.is_none() {
            state.finish(ConnectionError::Closed, &mut news);
        }
        let orphans = std::mem::take(&mut state.calls); // dropping a sender tells its receiver
        drop(state);
        drop(orphans);
        news.room = true;
        self.tell(news);
    }

    fn tell(&self, news: News) {
        if let Some(status) = news.status {
            self.status.send_replace(status);
        }
        for (call, outcome) in news.completed {
            let _ = call.send(outcome); // nobody waits for it any more: that is allowed
        }
        for reader in news.readers {
            reader.wake();
        }
        if news.room {
            self.room.notify_one();
        }
    }
}

impl State {
    fn publish(&mut self, now: Instant, publish: &proto::Publish) -> Result<Receipt, PublishError> {
        if publish.qos == QoS::AtMostOnce && publish.payload.len() < proto::LARGE_PAYLOAD {
            let packet = PublishRef {
                dup: false,
                qos: publish.qos,
                retain: publish.retain,
                topic: publish.topic.as_utf8().as_bytes(),
                packet_id: None,
                properties: publish.properties.as_deref(),
                payload_len: publish.payload.len(),
            };
            if self.core.publish_at_once(packet, &publish.payload)? {
                return Ok(Receipt::sent());
            }
        }
        match self.core.publish(now, publish.clone()) {
            Ok(op) => Ok(Receipt::waiting(self.register(op))),
            Err(proto::PublishError::NotConnected) => Err(PublishError::Disconnected {
                cause: self.end_cause(),
                delivery: Delivery::NotSent,
            }),
            Err(error) => Err(error.into()),
        }
    }

    /// Who is told how `op` ends.
    pub(crate) fn register(&mut self, op: OpId) -> oneshot::Receiver<Outcome> {
        let (call, receiver) = oneshot::channel();
        self.calls.insert(op, call);
        receiver
    }

    pub(crate) fn forget(&mut self, op: OpId) {
        self.calls.remove(&op);
        self.core.abandon(op);
    }

    /// Why there is no connection.
    pub(crate) fn end_cause(&self) -> ConnectionError {
        self.end.clone().unwrap_or(ConnectionError::Closed)
    }

    pub(crate) const fn has_ended(&self) -> bool {
        self.end.is_some()
    }

    /// The number of a new stream.
    pub(crate) const fn new_reader(&mut self) -> u64 {
        self.last_reader += 1;
        self.last_reader
    }

    /// `waker` is to be woken when `queue` is no longer empty, or will stay empty.
    pub(crate) fn wait_for_message(&mut self, queue: QueueId, reader: u64, waker: &Waker) {
        let waiting = self.readers.entry(queue).or_default();
        match waiting.iter_mut().find(|(other, _)| *other == reader) {
            Some((_, current)) => current.clone_from(waker),
            None => waiting.push((reader, waker.clone())),
        }
    }

    pub(crate) fn stop_waiting(&mut self, queue: QueueId, reader: u64) {
        if let Some(waiting) = self.readers.get_mut(&queue) {
            waiting.retain(|(other, _)| *other != reader);
            if waiting.is_empty() {
                self.readers.remove(&queue);
            }
        }
    }

    pub(crate) fn close_queue(&mut self, now: Instant, queue: QueueId) {
        let filters = self.core.close_queue(queue);
        self.not_restored.remove(&queue);
        if !filters.is_empty() {
            // Refused only without a connection, and then the subscription has gone with it.
            let _ = self.core.unsubscribe(
                now,
                proto::Unsubscribe {
                    filters,
                    properties: Properties::default(),
                },
            );
        }
    }

    fn on_event(&mut self, event: Event, news: &mut News) {
        match event {
            Event::Connected(connected) => {
                log::connected(connected.session_present);
                news.status = Some(Status::Connected);
            }
            Event::Disconnected {
                cause,
                retry_at,
                unflushed,
            } => {
                log::disconnected(&cause, retry_at.is_some(), unflushed);
                if retry_at.is_none() {
                    self.finish(cause, news);
                }
            }
            Event::MessageReady(queue) => self.wake_readers(queue, news),
            Event::Lagged(queue) if self.core.has_failed(queue) => self.wake_readers(queue, news),
            Event::NotRestored {
                queue,
                filter,
                reason,
            } => {
                log::not_restored(&filter, reason);
                self.not_restored.insert(queue, reason);
                self.wake_readers(queue, news);
            }
            Event::OutgoingRoom => news.room = true,
            Event::Completed { op, outcome } => {
                if let Some(call) = self.calls.remove(&op) {
                    news.completed.push((call, outcome));
                }
            }
            _ => {}
        }
    }

    fn wake_readers(&mut self, queue: QueueId, news: &mut News) {
        let waiting = self.readers.remove(&queue).unwrap_or_default();
        news.readers
            .extend(waiting.into_iter().map(|(_, waker)| waker));
    }

    fn finish(&mut self, cause: ConnectionError, news: &mut News) {
        self.end = Some(cause.clone());
        news.status = Some(Status::Ended(cause));
        let waiting = self.readers.drain().flat_map(|(_, waiting)| waiting);
        news.readers.extend(waiting.map(|(_, waker)| waker));
        news.room = true;
    }
}

/// The time by the runtime's clock, which tests may stop.
pub(crate) fn now() -> Instant {
    tokio::time::Instant::now().into_std()
}
