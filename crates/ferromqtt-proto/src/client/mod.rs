//! The state machine that a driver holds: everything MQTT knows, without a socket and without a clock.

mod authenticate;
mod input;
mod lifecycle;
mod output;
mod publish;
mod request;

pub(crate) use authenticate::Turn;
pub use publish::Publish;
pub use request::{Subscribe, Unsubscribe};

use std::collections::{BTreeMap, VecDeque};
use std::time::Instant;

use crate::connection::Connection;
use crate::error::{ConnectionError, OptionsError};
use crate::event::{Delivery, Event, OpId, Outcome, TransportRequest};
use crate::options::Options;
use crate::reconnect::Backoff;
use crate::session::{Message, QueueId, QueueOptions, Session};
use crate::text::Utf8String;
use request::Request;

/// An MQTT client without I/O. See the [crate's documentation](crate) for the loop around it.
#[derive(Debug)]
pub struct Client {
    options: Options,
    session: Session,
    phase: Phase,
    connection: Option<Connection>,
    /// SUBSCRIBE and UNSUBSCRIBE that are not completed, in order of their acceptance.
    requests: BTreeMap<OpId, Request>,
    events: VecDeque<Event>,
    transport_requests: VecDeque<TransportRequest>,
    backoff: Backoff,
    assigned_identifier: Option<Utf8String>,
    /// No connection has come about since `connect()`.
    first: bool,
    last_op: u64,
    stats: Stats,
}

/// Where the client stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// No transport, and none wanted.
    Idle,
    /// The driver is opening a transport.
    Opening { deadline: Option<Instant> },
    /// CONNECT was sent, CONNACK is awaited.
    Handshake { deadline: Option<Instant> },
    /// CONNACK has come.
    Connected,
    /// The connection has ended for us; the driver is still closing the transport. `then` tells when to open the next one.
    Closing { then: Option<Instant> },
    /// Waiting to try again.
    Waiting { retry_at: Instant },
}

/// Counters since the client was made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Stats {
    /// Messages received, duplicates of QoS 2 not counted.
    pub received: u64,
    /// QoS 0 publishes encoded for the transport.
    pub sent_qos0: u64,
    /// QoS 1 and 2 publishes acknowledged by the server.
    pub acknowledged: u64,
    /// PUBLISH packets sent again after a reconnect.
    pub resent: u64,
    /// QoS 0 publishes reported as sent that were never handed to a transport.
    pub unflushed: u64,
    /// Connections that the server accepted.
    pub connections: u64,
}

impl Client {
    /// Makes a client that is not connected yet.
    ///
    /// `session` is a fresh one, or what [`Client::into_session`] gave back earlier. `seed` feeds the jitter of
    /// reconnecting, and nothing else is random.
    ///
    /// # Errors
    /// What [`Options::check`] finds.
    pub fn new(options: Options, mut session: Session, seed: u64) -> Result<Self, OptionsError> {
        options.check()?;
        session.inbox.bound_default(options.incoming);
        Ok(Self {
            options,
            session,
            phase: Phase::Idle,
            connection: None,
            requests: BTreeMap::new(),
            events: VecDeque::new(),
            transport_requests: VecDeque::new(),
            backoff: Backoff::new(seed),
            assigned_identifier: None,
            first: true,
            last_op: 0,
            stats: Stats::default(),
        })
    }

    /// The options it was made with.
    pub const fn options(&self) -> &Options {
        &self.options
    }

    /// The Client Identifier in use: the one of the options, or the one that the server assigned (MQTT-3.2.2-16).
    pub fn client_identifier(&self) -> &Utf8String {
        self.assigned_identifier
            .as_ref()
            .unwrap_or(&self.options.client_identifier)
    }

    /// Whether the server has accepted the connection and it has not ended.
    pub const fn is_connected(&self) -> bool {
        matches!(self.phase, Phase::Connected)
    }

    /// Whether there is neither a connection nor an attempt to make one, now or later.
    pub const fn is_idle(&self) -> bool {
        matches!(self.phase, Phase::Idle)
    }

    /// Whether operations are accepted: connected, or about to be again by itself.
    const fn accepts(&self) -> bool {
        match self.phase {
            Phase::Connected => true,
            Phase::Opening { .. } | Phase::Handshake { .. } => self.options.reconnect.is_some(),
            Phase::Waiting { .. } => true,
            Phase::Closing { then } => then.is_some(),
            Phase::Idle => false,
        }
    }

    /// Counters since the client was made.
    pub const fn stats(&self) -> Stats {
        self.stats
    }

    /// What happened, in order. Drain it after every call.
    pub fn poll_event(&mut self) -> Option<Event> {
        self.events.pop_front()
    }

    /// What to do with the transport. Ask after [`Client::poll_transmit`] has returned `None`: a `Close` is told only
    /// when the last bytes have been handed over.
    pub fn poll_transport(&mut self) -> Option<TransportRequest> {
        let flushing =
            self.transport_requests.front() == Some(&TransportRequest::Close { flush: true });
        if flushing
            && self
                .connection
                .as_ref()
                .is_some_and(|connection| !connection.transmit.is_empty())
        {
            return None;
        }
        self.transport_requests.pop_front()
    }

    /// Opens one more queue for received messages; [`Subscribe::queue`] directs messages to it.
    pub fn open_queue(&mut self, options: QueueOptions) -> QueueId {
        self.session.inbox.open(options)
    }

    /// Takes the next message out of a queue.
    pub fn next_message(&mut self, queue: QueueId) -> Option<Message> {
        self.session.inbox.pop(queue)
    }

    /// How many messages a queue holds.
    pub fn queue_len(&self, queue: QueueId) -> usize {
        self.session.inbox.len(queue)
    }

    /// How many messages a full queue has lost since the last call.
    pub fn take_lost(&mut self, queue: QueueId) -> u64 {
        self.session.inbox.take_lost(queue)
    }

    /// The caller no longer waits for `op`, which gets no `Completed` event any more. What had not reached the wire is
    /// dropped; what had stays in the session, and its Packet Identifier stays in use until the server answers
    /// (design decision 2). `None` when the operation has already completed.
    pub fn abandon(&mut self, op: OpId) -> Option<Delivery> {
        if let Some(delivery) = self.abandon_request(op) {
            return Some(delivery);
        }
        self.session.outbound.abandon(op)
    }

    /// Ends the client and keeps its session, to resume it later. What has not reached the wire is dropped, and nobody
    /// waits any more for what has: operations belong to a client, not to its session.
    pub fn into_session(mut self) -> Session {
        self.fail_all(&ConnectionError::Closed);
        self.session.outbound.stop_resending();
        self.session
    }

    fn next_op(&mut self) -> OpId {
        self.last_op += 1;
        OpId(self.last_op)
    }

    fn complete(&mut self, op: OpId, outcome: Outcome) {
        self.events.push_back(Event::Completed { op, outcome });
    }
}
