//! The state machine that a driver holds: everything MQTT knows, without a socket and without a clock.

mod authenticate;
mod claim;
mod closing;
mod connect_result;
mod contest;
mod correlate;
mod credentials;
mod deliver;
mod echoes;
mod filter_request;
mod filter_requests;
mod held_publish;
mod hold_back;
mod identifiers;
mod incoming;
mod input;
mod journal;
mod leaving;
mod lifecycle;
mod outgoing;
mod output;
mod publish;
mod recorded;
mod restore;
mod sent_packets;
mod stats;
mod subscribe;
mod suspect;
mod trace;

pub use connect_result::ConnectResult;
pub use contest::Contest;
pub use stats::{AckLatency, Stats};
pub use subscribe::{Subscribe, Unsubscribe};

use std::collections::VecDeque;
use std::time::Instant;

use crate::connection::NetworkConnection;
use crate::error::{ConnectionError, InvalidOptions};
use crate::event::{Delivery, Event, OpId, TransportRequest};
use crate::options::Options;
use crate::packet_trace::PacketTrace;
use crate::reconnect::{self, Backoff};
use crate::servers::Servers;
use crate::session::{QueueId, QueueOptions, Session};
use crate::slips::Slips;
use crate::text::Utf8String;
use crate::topic::TopicFilter;
use crate::versions::Versions;
use claim::Claiming;
use closing::Closing;
use correlate::Correlation;
use filter_requests::FilterRequests;
use hold_back::HeldBack;
use leaving::Leaving;
use stats::AckClock;

/// An MQTT client without I/O. See the [crate's documentation](crate) for the loop around it.
#[derive(Debug)]
pub struct Client {
    options: Options,
    session: Session,
    phase: ClientPhase,
    connection: Option<NetworkConnection>,
    requests: FilterRequests,
    /// How many Packet Identifiers the first request waits for that found too few on this connection; 0 for none.
    ids_wanted: usize,
    events: VecDeque<Event>,
    transport_requests: VecDeque<TransportRequest>,
    backoff: Backoff,
    servers: Servers,
    versions: Versions,
    assigned_identifier: Option<Utf8String>,
    /// What the latest CONNACK that accepted a connection has settled.
    connack: Option<Box<ConnectResult>>,
    /// No connection has come about since `connect()`.
    first: bool,
    /// An attempt since the last CONNACK ended without one. The server may have started another session by that CONNECT
    /// (`docs/design/0005-lost-sessions.md`).
    was_unanswered: bool,
    /// The last attempt of an earlier process was such a one, and there was no CONNACK since.
    was_unanswered_before: bool,
    last_op: u64,
    correlation: Correlation,
    /// The application leaves when its operations have their outcomes.
    leaving: Option<Box<Leaving>>,
    /// The size of the publish that the caller tries again when the outgoing queue has capacity for it.
    room_wanted: Option<usize>,
    /// Scratch buffer for `deliver`, kept to avoid an allocation for each message. Always empty between calls.
    wanted_by: Vec<QueueId>,
    stats: Stats,
    ack_clock: AckClock,
    slips: Slips,
    claiming: Claiming,
    /// How many connections in a row another client with the same Client Identifier may have ended.
    contested: u32,
    /// Records of packets, if the driver wants them.
    trace: Option<Box<PacketTrace>>,
    /// Input that waits for room in a queue.
    held_back: Option<Box<HeldBack>>,
    /// Input must not wait now, for whatever reason.
    must_read: bool,
    /// Messages that the queues of the session lost before this client was made.
    lost_before: u64,
}

/// Where the client stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum ClientPhase {
    /// No transport, and none wanted.
    Idle,
    /// The driver is opening a transport.
    Opening {
        deadline: Option<Instant>,
        /// The driver is to set credentials first, and has not yet.
        awaits_credentials: bool,
    },
    /// CONNECT was sent, CONNACK is awaited.
    Handshake { deadline: Option<Instant> },
    /// CONNACK has come.
    Connected,
    /// The connection has ended for us; the driver is still closing the transport.
    Closing {
        /// When to open the next one.
        then: Option<Instant>,
        closing: Closing,
    },
    /// Waiting to try again.
    Waiting { retry_at: Instant },
}

impl Client {
    /// Makes a client that is not connected yet.
    ///
    /// `session` is a fresh one, or what [`Client::into_session`] gave back earlier. `seed` feeds the jitter of
    /// reconnecting and the numbers that must differ from an earlier client's, and nothing else is random.
    ///
    /// # Errors
    /// What [`Options::check`] finds; and [`InvalidOptions::OtherSession`] if the session was
    /// [recorded](Session::restore) under another Client Identifier.
    pub fn new(options: Options, mut session: Session, seed: u64) -> Result<Self, InvalidOptions> {
        options.check()?;
        session.check_identity(&options.client_identifier)?;
        session.inbox.bound_default(options.incoming);
        session.journal.keep(false);
        session.journal.enable(options.journal);
        session.outbound.begin_client();
        (session.subscriptions).count_from(reconnect::mix(seed.rotate_left(32)));
        let servers = Servers::new(
            options.servers.get().into(),
            options.follow_server_reference,
        );
        let versions = Versions::new(options.falls_back());
        let slips = Slips::new(options.strict);
        let lost_before = session.inbox.all_lost();
        let was_unanswered = session.journal.is_connecting();
        let mut client = Self {
            options,
            session,
            phase: ClientPhase::Idle,
            connection: None,
            requests: FilterRequests::default(),
            ids_wanted: 0,
            events: VecDeque::new(),
            transport_requests: VecDeque::new(),
            backoff: Backoff::new(seed),
            servers,
            versions,
            assigned_identifier: None,
            connack: None,
            first: true,
            was_unanswered,
            was_unanswered_before: was_unanswered,
            last_op: 0,
            correlation: Correlation::new(reconnect::mix(!seed)),
            leaving: None,
            room_wanted: None,
            wanted_by: Vec::new(),
            stats: Stats::default(),
            ack_clock: AckClock::default(),
            slips,
            claiming: Claiming::default(),
            contested: 0,
            trace: None,
            held_back: None,
            must_read: false,
            lost_before,
        };
        client.deliver_what_waited();
        Ok(client)
    }

    /// The options it was made with, and what has taken the place of some: the [credentials](Client::set_credentials) that
    /// were set last, and, with [`Options::fall_back`], the version of MQTT of the present or the last attempt.
    pub const fn options(&self) -> &Options {
        &self.options
    }

    /// The Client Identifier in use: the one of the options, or, if that is empty, the one that the server
    /// assigned (MQTT-3.2.2-16).
    pub fn client_identifier(&self) -> &Utf8String {
        self.assigned_identifier
            .as_ref()
            .unwrap_or(&self.options.client_identifier)
    }

    /// What the CONNACK of the latest connection that a server accepted has settled; `None` before the first.
    pub fn connack(&self) -> Option<&ConnectResult> {
        self.connack.as_deref()
    }

    /// Whether the server has accepted the connection and it has not ended.
    pub const fn is_connected(&self) -> bool {
        matches!(self.phase, ClientPhase::Connected)
    }

    /// Whether there is neither a connection nor an attempt to make one, now or later.
    pub const fn is_idle(&self) -> bool {
        matches!(self.phase, ClientPhase::Idle)
    }

    /// Whether operations are accepted: connected, or about to be. Without reconnecting too the first attempt counts: what
    /// is accepted meanwhile ends with its cause when it fails. Not while the application leaves.
    const fn accepts(&self) -> bool {
        let over = matches!(
            self.phase,
            ClientPhase::Idle | ClientPhase::Closing { then: None, .. }
        );
        !over && self.leaving.is_none()
    }

    /// Counters since the client was made, and how full its queues are. It looks at each queue of received messages.
    pub fn stats(&self) -> Stats {
        let (queued, queued_bytes) = self.session.inbox.totals();
        Stats {
            outgoing: self.session.outbound.len(),
            outgoing_bytes: self.session.outbound.bytes(),
            in_flight: self.session.outbound.on_the_wire(),
            queued,
            queued_bytes,
            unacknowledged: self.session.deliveries.unanswered(),
            tolerated: self.slips.count(),
            awaiting_claim: self.session.inbox.unclaimed(),
            lost: self.session.inbox.all_lost() - self.lost_before,
            ..self.stats
        }
    }

    /// What happened, in order. Drain it after every call.
    pub fn poll_event(&mut self) -> Option<Event> {
        let mut event = self.events.pop_front();
        while let Some(Event::MessageReady(queue)) = event
            && self.session.inbox.len(queue) == 0
        {
            event = self.events.pop_front(); // it was taken, or had to leave for another message
        }
        if event.is_none()
            && let Some(bytes) = self.room_wanted
            && self.check_room(bytes).is_ok()
        {
            self.room_wanted = None;
            return Some(Event::OutgoingRoom);
        }
        event
    }

    /// What to do with the transport. Ask after [`Client::poll_transmit`] has returned `None`: a `Finish` is reported only
    /// when the last bytes have been handed over.
    pub fn poll_transport(&mut self) -> Option<TransportRequest> {
        let finishing = self.transport_requests.front() == Some(&TransportRequest::Finish);
        if finishing
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

    /// As [`open_queue`](Self::open_queue), for a reader that takes requests alone (section 4.10). They exist in 5.0 only, so a
    /// subscription for it ends on a connection of an earlier version, as one that the server does not take:
    /// [`InvalidSubscribe::NoRequests`](crate::InvalidSubscribe::NoRequests).
    pub fn open_request_queue(&mut self, options: QueueOptions) -> QueueId {
        self.session.inbox.open_for_requests(options)
    }

    /// Takes over the queues that were opened on `former`, with their names and bounds, in place of its own. For a client that
    /// replaces another one before either has begun to connect, so all queues are empty.
    pub fn adopt_queues(&mut self, former: &mut Self) {
        self.session.inbox.adopt_queues(&mut former.session.inbox);
    }

    /// The filters that are subscribed for a queue: none any more when each was unsubscribed, refused, or
    /// [not subscribed again](Event::NotResubscribed). Those of [detached](Client::detach_queue) queues are no other's. They are found
    /// without looking at those of other queues.
    pub fn filters(&self, queue: QueueId) -> impl Iterator<Item = &TopicFilter> {
        self.session.subscriptions.filters(queue)
    }

    /// How many messages a queue holds.
    pub fn queue_len(&self, queue: QueueId) -> usize {
        self.session.inbox.len(queue)
    }

    /// How many bytes of memory they take, as the bounds of the queue count them: see
    /// [`QueueOptions::bytes`](crate::QueueOptions::bytes).
    pub fn queue_bytes(&self, queue: QueueId) -> usize {
        self.session.inbox.bytes(queue)
    }

    /// Whether a queue has overflown under [`Overflow::Fail`](crate::Overflow::Fail), and all that it held has been taken.
    pub fn has_failed(&self, queue: QueueId) -> bool {
        self.session.inbox.has_failed(queue)
    }

    /// Whether a queue under [`Overflow::Wait`](crate::Overflow::Wait) holds up nobody any more, since its reader has not
    /// asked it for a message for 5 s: see [`Event::Forgotten`].
    pub fn is_forgotten(&self, queue: QueueId) -> bool {
        self.session.inbox.is_forgotten(queue)
    }

    /// How many messages a full queue has lost since the last call of [`take_lost`](Client::take_lost).
    pub fn queue_lost(&self, queue: QueueId) -> u64 {
        self.session.inbox.lost(queue)
    }

    /// How many messages a full queue has lost since the last call. A queue under
    /// [`Overflow::Fail`](crate::Overflow::Fail) tells it when it is empty, and takes messages again from then on.
    pub fn take_lost(&mut self, queue: QueueId) -> u64 {
        self.session.inbox.take_lost(queue)
    }

    /// The session as it is now.
    pub const fn session(&self) -> &Session {
        &self.session
    }

    /// Stops tracking `op` for the caller: no `Completed` event follows. What has not reached the wire is dropped. What has
    /// stays in the session, and its Packet Identifier stays in use until the server answers. Returns `None` when the operation
    /// has already completed.
    pub fn abandon(&mut self, op: OpId) -> Option<Delivery> {
        (self.abandon_request(op)).or_else(|| self.abandon_response(op))
    }

    /// Ends the client and keeps its session, to resume it later. What has not reached the wire is dropped, and nobody
    /// waits any more for what has: operations belong to a client, not to its session. [Recorded](Client::publish_recorded)
    /// messages stay, sent or not.
    pub fn into_session(mut self) -> Session {
        self.keep_held_back_message_for_later();
        self.drop_held();
        self.fail_all(&ConnectionError::Closed);
        self.session.outbound.stop_resending();
        self.end_deliveries();
        self.session.inbox.suspend_claims();
        self.session
    }

    fn next_op(&mut self) -> OpId {
        self.last_op += 1;
        OpId(self.last_op)
    }
}
