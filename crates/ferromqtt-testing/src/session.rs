//! Session state (section 4.1), and all sessions by name.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::time::{Duration, Instant};

use ferromqtt_proto::packet::{PacketId, Will};
use ferromqtt_proto::{TopicFilter, Utf8String};

use crate::connection::ConnectionId;
use crate::outbound::Outbound;

/// Names a session of this broker. A session that starts anew under an old Client Identifier gets a new number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct SessionId(pub(crate) u64);

/// How long a session outlives its Network Connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Expiry {
    /// Clean Session of 3.x, Session Expiry Interval 0 of 5.0.
    AtDisconnect,
    After(Duration),
    Never,
}

impl Expiry {
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
pub(crate) struct Session {
    pub(crate) client_identifier: Utf8String,
    pub(crate) connection: Option<ConnectionId>,
    pub(crate) expiry: Expiry,
    /// While the client is away: when the session ends.
    pub(crate) expires_at: Option<Instant>,
    /// While the client is away: a will that waits for its Will Delay Interval.
    pub(crate) delayed_will: Option<(Instant, Box<Will>)>,
    pub(crate) filters: BTreeSet<TopicFilter>,
    pub(crate) outbound: Outbound,
    /// QoS 2 messages from the client that it has not released yet: their repetitions are not published again.
    pub(crate) unreleased: HashSet<PacketId>,
}

impl Session {
    fn new(client_identifier: Utf8String) -> Self {
        Self {
            client_identifier,
            connection: None,
            expiry: Expiry::AtDisconnect,
            expires_at: None,
            delayed_will: None,
            filters: BTreeSet::new(),
            outbound: Outbound::default(),
            unreleased: HashSet::new(),
        }
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
    by_id: HashMap<SessionId, Session>,
    by_identifier: HashMap<Utf8String, SessionId>,
    created: u64,
    assigned: u64,
}

impl Sessions {
    pub(crate) fn create(&mut self, client_identifier: &Utf8String) -> SessionId {
        // The identifier outlives the receive buffer that it came in.
        let identifier = client_identifier.detached();
        self.created += 1;
        let id = SessionId(self.created);
        self.by_identifier.insert(identifier.clone(), id);
        self.by_id.insert(id, Session::new(identifier));
        id
    }

    pub(crate) fn remove(&mut self, id: SessionId) -> Option<Session> {
        let session = self.by_id.remove(&id)?;
        self.by_identifier.remove(&session.client_identifier);
        Some(session)
    }

    pub(crate) fn find(&self, client_identifier: &Utf8String) -> Option<SessionId> {
        self.by_identifier.get(client_identifier).copied()
    }

    pub(crate) fn get(&self, id: SessionId) -> Option<&Session> {
        self.by_id.get(&id)
    }

    pub(crate) fn is_online(&self, id: SessionId) -> bool {
        self.get(id)
            .is_some_and(|session| session.connection.is_some())
    }

    pub(crate) fn get_mut(&mut self, id: SessionId) -> Option<&mut Session> {
        self.by_id.get_mut(&id)
    }

    /// A Client Identifier that no session has (MQTT-3.1.3-6). Counted, not drawn, so that a test plays the same twice.
    pub(crate) fn assign_identifier(&mut self) -> Utf8String {
        loop {
            self.assigned += 1;
            let identifier = Utf8String::from_string(format!("assigned-{}", self.assigned));
            let identifier = identifier.unwrap_or_default(); // ASCII, so it never fails
            if !self.by_identifier.contains_key(&identifier) {
                return identifier;
            }
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.by_id.len()
    }
}
