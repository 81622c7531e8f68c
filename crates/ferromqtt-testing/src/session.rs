//! Session state (section 4.1), and all sessions by name.

use std::collections::{HashMap, HashSet};
use std::time::{Duration, Instant};

use ferromqtt_proto::packet::{PacketId, QoS, Will};
use ferromqtt_proto::shown::peer_text;
use ferromqtt_proto::{TopicFilter, Utf8String};

use crate::connection::ConnectionId;
use crate::memory::{self, Holding, Meter};
use crate::message::DeliveryTerms;
use crate::options::BrokerOptions;
use crate::outbound::SendQueue;
use crate::shared::Chance;
use crate::subscriptions::SessionSubscription;

/// Names a session of this broker. A session that starts anew under an old Client Identifier gets a new number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct SessionId(pub(crate) u64);

/// How long a session outlives its Network Connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum SessionExpiry {
    /// Clean Session of 3.x, Session Expiry Interval 0 of 5.0.
    AtDisconnect,
    After(Duration),
    Never,
}

impl SessionExpiry {
    /// By a Session Expiry Interval of 5.0 (section 3.1.2.11.2).
    pub(crate) const fn from_interval(seconds: u32) -> Self {
        match seconds {
            0 => Self::AtDisconnect,
            u32::MAX => Self::Never,
            seconds => Self::After(Duration::from_secs(seconds as u64)),
        }
    }
}

#[derive(Debug)]
pub(crate) struct BrokerSession {
    pub(crate) client_identifier: Utf8String,
    pub(crate) connection: Option<ConnectionId>,
    pub(crate) expiry: SessionExpiry,
    /// While the client is away: when the session ends.
    pub(crate) expires_at: Option<Instant>,
    /// While the client is away: a will that waits for its Will Delay Interval.
    pub(crate) delayed_will: Option<(Instant, KeptWill)>,
    filters: HashSet<TopicFilter>,
    pub(crate) outbound: SendQueue,
    /// Messages that did not go to it: the queue was full, they expired, or they were too large.
    pub(crate) dropped: u64,
    /// QoS 2 messages from the client that it has not released yet: their repetitions are not published again.
    unreleased: HashSet<PacketId>,
    /// The session itself, its subscriptions, and what the client has not released.
    held: Holding,
}

/// A will with memory of its own, counted as long as somebody holds it.
#[derive(Debug)]
pub(crate) struct KeptWill {
    pub(crate) will: Box<Will>,
    _held: Holding,
}

impl KeptWill {
    pub(crate) fn new(mut will: Will, meter: &Meter) -> Self {
        memory::detach_will(&mut will);
        Self {
            _held: meter.hold(memory::will_size(&will)),
            will: Box::new(will),
        }
    }
}

impl BrokerSession {
    fn new(client_identifier: Utf8String, meter: &Meter) -> Self {
        Self {
            held: meter.hold(memory::session_size(&client_identifier)),
            client_identifier,
            connection: None,
            expiry: SessionExpiry::AtDisconnect,
            expires_at: None,
            delayed_will: None,
            filters: HashSet::new(),
            outbound: SendQueue::new(meter),
            dropped: 0,
            unreleased: HashSet::new(),
        }
    }

    pub(crate) const fn filters(&self) -> &HashSet<TopicFilter> {
        &self.filters
    }

    /// Notes a subscription, if it is new.
    pub(crate) fn add_filter(&mut self, filter: &TopicFilter) {
        if self.filters.insert(filter.clone()) {
            self.held.add(memory::subscription_size(filter));
        }
    }

    /// Forgets a subscription, if there is one.
    pub(crate) fn remove_filter(&mut self, filter: &TopicFilter) {
        if self.filters.remove(filter) {
            self.held.take_off(memory::subscription_size(filter));
        }
    }

    /// Notes a QoS 2 message until its PUBREL; `false` for one that is noted already.
    pub(crate) fn note_unreleased(&mut self, packet_id: PacketId) -> bool {
        let is_new = self.unreleased.insert(packet_id);
        if is_new {
            self.held.add(memory::UNRELEASED);
        }
        is_new
    }

    /// Forgets a QoS 2 message; `false` when it was not noted.
    pub(crate) fn forget_unreleased(&mut self, packet_id: PacketId) -> bool {
        let was_known = self.unreleased.remove(&packet_id);
        if was_known {
            self.held.take_off(memory::UNRELEASED);
        }
        was_known
    }

    fn is_idle(&self) -> bool {
        !self.outbound.has_waiting() && self.outbound.in_flight() == 0 && self.unreleased.is_empty()
    }

    /// The next time at which something happens without the client.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        let will_at = self.delayed_will.as_ref().map(|&(at, _)| at);
        self.expires_at.into_iter().chain(will_at).min()
    }
}

/// All sessions.
#[derive(Debug, Default)]
pub(crate) struct Sessions {
    by_id: HashMap<SessionId, BrokerSession>,
    by_identifier: HashMap<Utf8String, SessionId>,
    created: u64,
    assigned: u64,
}

impl Sessions {
    pub(crate) fn create(&mut self, client_identifier: &Utf8String, meter: &Meter) -> SessionId {
        // The identifier outlives the receive buffer that it came in.
        let identifier = client_identifier.detached();
        self.created += 1;
        let id = SessionId(self.created);
        self.by_identifier.insert(identifier.clone(), id);
        self.by_id.insert(id, BrokerSession::new(identifier, meter));
        id
    }

    pub(crate) fn remove(&mut self, id: SessionId) -> Option<BrokerSession> {
        let session = self.by_id.remove(&id)?;
        self.by_identifier.remove(&session.client_identifier);
        Some(session)
    }

    pub(crate) fn find(&self, client_identifier: &str) -> Option<SessionId> {
        let identifier = Utf8String::try_from(client_identifier).ok()?;
        self.by_identifier.get(&identifier).copied()
    }

    pub(crate) fn get(&self, id: SessionId) -> Option<&BrokerSession> {
        self.by_id.get(&id)
    }

    /// What becomes of a message of `size` bytes, if it is given to a subscription on these terms.
    pub(crate) fn chance(
        &self,
        to: &SessionSubscription,
        terms: &DeliveryTerms,
        size: usize,
        options: &BrokerOptions,
    ) -> Chance {
        let Some(session) = self.get(to.session) else {
            return Chance::Lost;
        };
        let has_room = session.outbound.has_room_for(size, terms, options);
        match session.connection {
            Some(_) if has_room || terms.qos == QoS::AtMostOnce => Chance::Sent,
            None if has_room && terms.qos > QoS::AtMostOnce => Chance::Kept,
            _ => Chance::Lost,
        }
    }

    pub(crate) fn get_mut(&mut self, id: SessionId) -> Option<&mut BrokerSession> {
        self.by_id.get_mut(&id)
    }

    /// The Client Identifier that is assigned next: one that no session has (MQTT-3.1.3-6). Counted, not drawn, so that a test
    /// plays the same twice.
    pub(crate) fn next_identifier(&self) -> Utf8String {
        self.unused_identifier().1
    }

    /// Takes the next Client Identifier.
    pub(crate) fn assign_identifier(&mut self) -> Utf8String {
        let (number, identifier) = self.unused_identifier();
        self.assigned = number;
        identifier
    }

    fn unused_identifier(&self) -> (u64, Utf8String) {
        let mut number = self.assigned;
        loop {
            number += 1;
            let identifier = Utf8String::from_string(format!("assigned-{number}"));
            let identifier = identifier.unwrap_or_default(); // ASCII, so it never fails
            if !self.by_identifier.contains_key(&identifier) {
                return (number, identifier);
            }
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.by_id.len()
    }

    /// Forgets all sessions; returns which there were. Numbers are not used again.
    pub(crate) fn clear(&mut self) -> Vec<SessionId> {
        self.by_identifier.clear();
        self.by_id.drain().map(|(id, _)| id).collect()
    }

    /// Whether nothing is queued, in flight or unreleased for a client that is connected.
    pub(crate) fn are_idle(&self) -> bool {
        (self.by_id.values()).all(|session| session.connection.is_none() || session.is_idle())
    }

    /// What is queued, in flight or unreleased for clients that are connected, a line for each.
    pub(crate) fn unfinished(&self) -> Vec<String> {
        let busy = |it: &&BrokerSession| it.connection.is_some() && !it.is_idle();
        let line = |session: &BrokerSession| {
            let client = peer_text(&session.client_identifier, &[]);
            let (queued, in_flight) = (session.outbound.queued(), session.outbound.in_flight());
            let unreleased = session.unreleased.len();
            format!(
                "{client}: {queued} messages queued, {in_flight} in flight to it, {unreleased} of QoS 2 from it not released"
            )
        };
        let mut lines: Vec<_> = self.by_id.values().filter(busy).map(line).collect();
        lines.sort_unstable(); // one order, whatever the map's
        lines
    }
}

/// The state of one session of a [`Broker`](crate::Broker).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct SessionStats {
    /// Whether its client is connected.
    pub connected: bool,
    /// Messages that wait to be sent, at most [`BrokerOptions::maximum_queued_messages`](crate::BrokerOptions).
    pub queued: usize,
    /// Messages that were sent and are not acknowledged to the end.
    pub in_flight: usize,
    /// Bytes of memory of the messages that wait or are in flight, at most
    /// [`BrokerOptions::maximum_queued_bytes`](crate::BrokerOptions).
    pub queued_bytes: usize,
    /// Its subscriptions, at most [`BrokerOptions::maximum_subscriptions`](crate::BrokerOptions).
    pub subscriptions: usize,
    /// Messages that did not go to it: its queue was full, they expired, or they were larger than its Maximum Packet Size.
    pub dropped: u64,
}

impl BrokerSession {
    pub(crate) fn stats(&self) -> SessionStats {
        SessionStats {
            connected: self.connection.is_some(),
            queued: self.outbound.queued(),
            in_flight: self.outbound.in_flight(),
            queued_bytes: self.outbound.bytes(),
            subscriptions: self.filters.len(),
            dropped: self.dropped,
        }
    }
}
