//! The broker as its host sees it.

use std::collections::{HashMap, VecDeque};
use std::time::Instant;

use bytes::{Bytes, BytesMut};
use ferromqtt_proto::DecodeError;
use ferromqtt_proto::packet::{
    self, Disconnect, Packet, PacketLimits, ProtocolVersion, ReasonCode,
};

use crate::connection::{BrokerConnection, ConnectionId, ConnectionPhase};
use crate::front::BrokerFront;
use crate::memory::Meter;
use crate::options::BrokerOptions;
use crate::outbound::SendQueue;
use crate::replay::Replay;
use crate::retained::Retained;
use crate::session::{BrokerSession, SessionStats, Sessions};
use crate::shared::SharedSubscriptions;
use crate::subscriptions::{SessionSubscription, SubscriptionTable};
use crate::timers::{Timer, Timers};
use crate::wire::Wire;

/// So many connections may be without a client, beside those that have one.
const WITHOUT_CLIENT: usize = 100;

const READS_TOO_LITTLE: DecodeError = DecodeError {
    reason: ReasonCode::QuotaExceeded,
    what: "client asks for more than it reads",
};

/// The server role of MQTT, sans-IO. The [crate] documentation describes the loop around it.
///
/// Memory is bounded by [`BrokerOptions`], in messages and bytes: the number of connections and of sessions, the state of all
/// sessions together, the messages for each of them, what is retained, and for each connection the packet that is still
/// arriving ([`BrokerOptions::maximum_packet_size`], [`BrokerOptions::maximum_non_publish_size`]) and the output that is not
/// read ([`BrokerOptions::maximum_output`]). What is beyond a bound is dropped or refused, and [`BrokerStats`] counts it. Beside that
/// a connection has the topics of its Topic Aliases, as many as the options allow, and a session the Packet Identifiers of
/// messages that are not released, at most 65,535.
#[derive(Debug)]
pub struct Broker {
    pub(crate) options: BrokerOptions,
    pub(crate) connections: HashMap<ConnectionId, BrokerConnection>,
    pub(crate) sessions: Sessions,
    pub(crate) subscriptions: SubscriptionTable,
    pub(crate) shared: SharedSubscriptions,
    pub(crate) retained: Retained,
    pub(crate) timers: Timers,
    pub(crate) dropped: u64,
    pub(crate) refused: u64,
    /// Connections between CONNACK and their end.
    pub(crate) clients: usize,
    /// What the sessions hold.
    pub(crate) session_memory: Meter,
    /// How many bytes of whole packets the input at hand has.
    pub(crate) input_length: usize,
    /// Subscriptions that match the message being routed: kept for its memory.
    pub(crate) found: Vec<SessionSubscription>,
    /// The links with their faults and the journal, once somebody asks for either.
    pub(crate) wire: Option<Box<Wire>>,
    /// What records the links, or serves them in the broker's stead.
    pub(crate) front: Option<Box<BrokerFront>>,
    opened: u64,
    /// The latest time that the host passed: `poll_transmit` sends queued messages by it.
    pub(crate) now: Option<Instant>,
    writable: VecDeque<ConnectionId>,
    to_close: VecDeque<ConnectionId>,
}

/// Counts of a [`Broker`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct BrokerStats {
    /// Connections that are open or being closed.
    pub connections: usize,
    /// Sessions, connected or not.
    pub sessions: usize,
    /// Bytes of memory that sessions take, at most [`BrokerOptions::maximum_session_bytes`].
    pub session_bytes: usize,
    /// Topics with a retained message.
    pub retained_messages: usize,
    /// Bytes of memory that retained messages take, at most [`BrokerOptions::maximum_retained_bytes`].
    pub retained_bytes: usize,
    /// Messages that did not go to a session, or were not retained: a limit was reached, they expired, they were larger than
    /// the client's Maximum Packet Size, or nobody was left to share them.
    pub dropped: u64,
    /// Connections, packets, Topic Filters and messages that were refused at a limit, as a rule with Quota exceeded.
    pub refused: u64,
}

impl Broker {
    /// A broker without connections, sessions and messages.
    pub fn new(options: BrokerOptions) -> Self {
        let keeps_journal = options.journal_packets.is_some_and(|packets| packets > 0);
        let mut broker = Self {
            options,
            connections: HashMap::new(),
            sessions: Sessions::default(),
            subscriptions: SubscriptionTable::default(),
            shared: SharedSubscriptions::default(),
            retained: Retained::default(),
            timers: Timers::default(),
            dropped: 0,
            refused: 0,
            clients: 0,
            session_memory: Meter::default(),
            input_length: 0,
            found: Vec::new(),
            wire: None,
            front: None,
            opened: 0,
            now: None,
            writable: VecDeque::new(),
            to_close: VecDeque::new(),
        };
        if keeps_journal {
            broker.wire_mut();
        }
        broker
    }

    /// A transport was opened. Its client has [`BrokerOptions::handshake_timeout`] to send CONNECT.
    ///
    /// At a limit ([`BrokerOptions::maximum_connections`]), and while the broker is down or cut off
    /// ([`Broker::is_reachable`]), [`Broker::poll_close`] names it at once.
    pub fn open(&mut self, now: Instant) -> ConnectionId {
        self.now = Some(now);
        self.opened += 1;
        let id = ConnectionId(self.opened);
        if self.front_open(now, id) {
            return id;
        }
        let deadline = now + self.options.handshake_timeout;
        let limit = (self.options.maximum_connections).saturating_add(WITHOUT_CLIENT);
        let has_room = self.connections.len() < limit;
        self.connections.insert(id, BrokerConnection::new(deadline));
        let reaches = self.wire_open(now, id);
        if !has_room || !reaches {
            self.refused += u64::from(!has_room);
            self.end_connection(now, id, None, false);
            return id;
        }
        self.timers.arm(Timer::Connection(id), deadline);
        id
    }

    /// Takes the whole packets from the front of `input` and acts on them. What is left there is the beginning of a packet.
    ///
    /// Input of a connection that is closed, or being closed, is thrown away. Once there are faults or a journal, the broker
    /// takes all of `input` and keeps the beginning itself.
    pub fn handle_input(&mut self, now: Instant, id: ConnectionId, input: &mut BytesMut) {
        self.now = Some(now);
        match self.front {
            None => self.pass_input(now, id, input),
            Some(_) => self.front_input(now, id, input),
        }
    }

    /// As [`Broker::handle_input`], past the front.
    pub(crate) fn pass_input(&mut self, now: Instant, id: ConnectionId, input: &mut BytesMut) {
        match self.wire {
            None => self.take_input(now, id, input),
            Some(_) => self.wire_input(now, id, input),
        }
    }

    /// As [`Broker::handle_input`], past the wire.
    pub(crate) fn take_input(&mut self, now: Instant, id: ConnectionId, input: &mut BytesMut) {
        let mut limits = self.packet_limits(id);
        let mut failure;
        'input: loop {
            let (length, too_much) = match packet::whole_packets(input, limits) {
                Ok(whole) => (whole.bytes, None),
                Err((length, error)) => (length, Some(error)),
            };
            let is_limit = |error: &DecodeError| {
                use ReasonCode::{PacketTooLarge, QuotaExceeded};
                matches!(error.reason, PacketTooLarge | QuotaExceeded)
            };
            self.refused += u64::from(too_much.as_ref().is_some_and(is_limit));
            failure = too_much;
            let packets = input.split_to(length).freeze();
            self.input_length = length;
            let mut at = 0;
            while at < length {
                let Some(version) = self.reading_version(now, id) else {
                    input.clear();
                    return;
                };
                let result = packet::decode(&packets, &mut at, version)
                    .and_then(|packet| self.handle_packet(now, id, packet));
                if let Err(error) = result {
                    failure = Some(error);
                    break 'input;
                }
            }
            // What follows a CONNECT that is accepted now may be larger than CONNECT.
            let before = std::mem::replace(&mut limits, self.packet_limits(id));
            if failure.is_none() || limits == before {
                break;
            }
        }
        let connection = self.connections.get_mut(&id);
        if let Some(connected) = connection.and_then(BrokerConnection::connected_mut) {
            connected.unfinished(now, input.len());
        }
        if failure.is_none() && !self.takes_output(id) {
            failure = Some(READS_TOO_LITTLE);
        }
        if let Some(error) = failure {
            input.clear();
            self.fail(now, id, error);
        }
    }

    /// The transport of `id` ended, from the other side or by an error. Without a DISCONNECT before, the will is published
    /// (MQTT-3.1.2-8).
    pub fn closed(&mut self, now: Instant, id: ConnectionId) {
        self.now = Some(now);
        match self.front {
            None => self.pass_end(now, id),
            Some(_) => self.front_closed(now, id),
        }
    }

    /// As [`Broker::closed`], past the front.
    pub(crate) fn pass_end(&mut self, now: Instant, id: ConnectionId) {
        match self.wire {
            None => self.take_end(now, id),
            Some(_) => self.wire_closed(now, id),
        }
    }

    /// As [`Broker::closed`], past the wire.
    pub(crate) fn take_end(&mut self, now: Instant, id: ConnectionId) {
        self.end_connection(now, id, None, true);
        self.forget(id);
    }

    /// A connection that got output since it was last named: drain [`Broker::poll_transmit`] for it. To be polled until
    /// `None` after every other call.
    pub fn poll_writable(&mut self) -> Option<ConnectionId> {
        if let Some(replay) = self.replay_mut() {
            return replay.poll_writable();
        }
        match self.wire {
            None => self.next_writable(),
            Some(_) => self.wire_writable(),
        }
    }

    /// As [`Broker::poll_writable`], past the wire.
    pub(crate) fn next_writable(&mut self) -> Option<ConnectionId> {
        loop {
            let id = self.writable.pop_front()?;
            if let Some(connection) = self.connections.get_mut(&id) {
                connection.listed = false;
                return Some(id);
            }
        }
    }

    /// The next bytes to write to `id`. A host whose socket is full leaves the rest here and asks again later.
    pub fn poll_transmit(&mut self, id: ConnectionId) -> Option<Bytes> {
        match self.front {
            None => self.pass_transmit(id),
            Some(_) => self.front_transmit(id),
        }
    }

    /// As [`Broker::poll_transmit`], past the front.
    pub(crate) fn pass_transmit(&mut self, id: ConnectionId) -> Option<Bytes> {
        match self.wire {
            None => self.take_transmit(id),
            Some(_) => self.wire_transmit(id),
        }
    }

    /// As [`Broker::poll_transmit`], past the wire.
    pub(crate) fn take_transmit(&mut self, id: ConnectionId) -> Option<Bytes> {
        let connection = self.connections.get_mut(&id)?;
        let chunk = connection.output.take()?;
        if connection.output.is_empty() {
            match &connection.phase {
                ConnectionPhase::Connected(connected) => {
                    let session = connected.session;
                    if let Some(now) = self.now {
                        self.pump(now, session);
                    }
                }
                ConnectionPhase::Closing { .. } => self.to_close.push_back(id),
                ConnectionPhase::AwaitingConnect { .. } | ConnectionPhase::Connecting { .. } => {}
            }
        }
        Some(chunk)
    }

    /// A connection whose transport is to be closed behind the bytes that were handed out. To be polled until `None` after
    /// [`Broker::poll_transmit`]; a connection is named once, and is not known any more then.
    pub fn poll_close(&mut self) -> Option<ConnectionId> {
        match self.front {
            None => self.pass_close(),
            Some(_) => self.front_close(),
        }
    }

    /// As [`Broker::poll_close`], past the front.
    pub(crate) fn pass_close(&mut self) -> Option<ConnectionId> {
        match self.wire {
            None => self.next_to_close(),
            Some(_) => self.wire_close(),
        }
    }

    /// As [`Broker::poll_close`], past the wire.
    pub(crate) fn next_to_close(&mut self) -> Option<ConnectionId> {
        loop {
            let id = self.to_close.pop_front()?;
            if self.connections.contains_key(&id) {
                self.forget(id);
                return Some(id);
            }
        }
    }

    /// When to call [`Broker::handle_timeout`], if nothing else happens before. May be earlier than anything is due.
    pub fn poll_timeout(&self) -> Option<Instant> {
        match self.replay() {
            None => self.timers.next(),
            Some(replay) => replay.poll_timeout(),
        }
    }

    /// Does what is due at `now`: Keep Alive, Session Expiry, Will Delay, unfinished handshakes.
    pub fn handle_timeout(&mut self, now: Instant) {
        self.now = Some(now);
        if let Some(replay) = self.replay_mut() {
            return replay.handle_timeout(now);
        }
        while let Some(timer) = self.timers.pop_due(now) {
            match timer {
                Timer::Connection(id) => self.handle_connection_timeout(now, id),
                Timer::Session(id) => self.handle_session_timeout(now, id),
                Timer::Link(id) => self.handle_link_timeout(now, id),
                Timer::Scheduled => self.handle_scheduled(now),
            }
        }
    }

    /// What there is at the moment, and what was lost so far.
    pub fn stats(&self) -> BrokerStats {
        BrokerStats {
            connections: (self.replay()).map_or(self.connections.len(), Replay::connections),
            sessions: self.sessions.len(),
            session_bytes: self.session_memory.held(),
            retained_messages: self.retained.len(),
            retained_bytes: self.retained.bytes(),
            dropped: self.dropped,
            refused: self.refused,
        }
    }

    /// The state of one client's session, if there is one.
    pub fn session_stats(&self, client_identifier: &str) -> Option<SessionStats> {
        let id = self.sessions.find(client_identifier)?;
        self.sessions.get(id).map(BrokerSession::stats)
    }

    /// How large the packets of a connection may be. Nobody is let in with a PUBLISH.
    fn packet_limits(&self, id: ConnectionId) -> PacketLimits {
        let limits = self.options.packet_limits();
        match (self.connections.get(&id)).is_some_and(|it| it.connected().is_some()) {
            true => limits,
            false => (limits.maximum_packet_size)
                .min(limits.maximum_non_publish_size)
                .into(),
        }
    }

    /// Notes that a packet came; returns the version to read it by, or `None` when nothing is to be read any more.
    pub(crate) fn reading_version(
        &mut self,
        now: Instant,
        id: ConnectionId,
    ) -> Option<ProtocolVersion> {
        match &mut self.connections.get_mut(&id)?.phase {
            ConnectionPhase::AwaitingConnect { .. } => Some(ProtocolVersion::V311), // CONNECT names its own
            ConnectionPhase::Connecting { connect, .. } => Some(connect.protocol),
            ConnectionPhase::Connected(connected) => {
                connected.last_input = now;
                connected.counted = 0;
                Some(connected.version)
            }
            ConnectionPhase::Closing { .. } => None,
        }
    }

    fn handle_packet(
        &mut self,
        now: Instant,
        id: ConnectionId,
        packet: Packet,
    ) -> Result<(), DecodeError> {
        let connected = self
            .connections
            .get(&id)
            .and_then(BrokerConnection::connected);
        let Some(session) = connected.map(|connected| connected.session) else {
            return self.handle_early_packet(now, id, packet);
        };
        match packet {
            Packet::Publish(publish) => self.handle_publish(now, id, session, publish)?,
            Packet::PubAck(ack) => {
                self.handle_last_ack(now, session, &ack, SendQueue::acknowledged)?
            }
            Packet::PubRec(ack) => self.handle_pubrec(now, id, session, &ack)?,
            Packet::PubRel(ack) => self.handle_pubrel(now, id, session, &ack),
            Packet::PubComp(ack) => {
                self.handle_last_ack(now, session, &ack, SendQueue::completed)?
            }
            Packet::Subscribe(subscribe) => self.handle_subscribe(now, id, session, *subscribe)?,
            Packet::Unsubscribe(unsubscribe) => {
                self.handle_unsubscribe(now, id, session, *unsubscribe)
            }
            Packet::PingReq => self.send(now, id, &Packet::PingResp),
            Packet::Auth(auth) => self.handle_auth(now, id, &auth)?,
            Packet::Disconnect(disconnect) => {
                self.handle_disconnect(now, id, session, &disconnect)?
            }
            Packet::Connect(_) => return Err(DecodeError::protocol("CONNECT came twice")),
            Packet::ConnAck(_) | Packet::SubAck(_) | Packet::UnsubAck(_) | Packet::PingResp => {
                return Err(DecodeError::protocol(
                    "client sent a packet that only servers send",
                ));
            }
        }
        Ok(())
    }

    /// Writes a packet to a client. One that takes no packet so large can get no answer, and is disconnected
    /// (MQTT-3.1.2-24).
    pub(crate) fn send(&mut self, now: Instant, id: ConnectionId, packet: &Packet) {
        let Some(connection) = self.connections.get_mut(&id) else {
            return;
        };
        if connection.write(packet) {
            let takes_it = connection.output.waiting() <= self.options.maximum_output;
            self.announce_output(id);
            if !takes_it {
                self.fail(now, id, READS_TOO_LITTLE);
            }
        } else if matches!(packet, Packet::ConnAck(_)) {
            self.end_connection(now, id, None, false); // CONNACK would have to come first (MQTT-3.2.0-1)
        } else {
            let farewell = Disconnect::because(ReasonCode::PacketTooLarge);
            self.end_connection(now, id, Some(farewell), true);
        }
    }

    /// Names the connection to the host, if it has output and is not named already.
    pub(crate) fn announce_output(&mut self, id: ConnectionId) {
        if let Some(connection) = self.connections.get_mut(&id)
            && !connection.listed
            && !connection.output.is_empty()
        {
            connection.listed = true;
            self.writable.push_back(id);
        }
    }

    /// Lets the host close `id` once its output was taken.
    pub(crate) fn close_behind_output(&mut self, id: ConnectionId) {
        if self.output_of(id) == 0 {
            self.to_close.push_back(id);
        } else {
            self.announce_output(id);
        }
    }

    /// Whether no more output waits for `id` than may.
    pub(crate) fn takes_output(&self, id: ConnectionId) -> bool {
        self.output_of(id) <= self.options.maximum_output
    }

    fn output_of(&self, id: ConnectionId) -> usize {
        self.connections
            .get(&id)
            .map_or(0, |connection| connection.output.waiting())
    }

    fn forget(&mut self, id: ConnectionId) {
        self.connections.remove(&id);
        self.timers.disarm(Timer::Connection(id));
    }
}
