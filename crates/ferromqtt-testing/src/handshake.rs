//! From CONNECT to CONNACK.

use std::collections::HashSet;
use std::time::Instant;

use ferromqtt_proto::packet::{
    ConnAck, Connect, Disconnect, Packet, Properties, ProtocolVersion, ReasonCode,
};
use ferromqtt_proto::{DecodeError, TopicName};

use crate::aliases::{BrokerAliases, ClientAliases};
use crate::broker::Broker;
use crate::connection::{ConnectedClient, ConnectionId, ConnectionPhase, maximum_packet_size};
use crate::memory;
use crate::session::{KeptWill, SessionExpiry, SessionId};
use crate::timers::Timer;

impl Broker {
    /// A packet before CONNACK (MQTT-3.1.0-1, MQTT-3.1.2-30).
    pub(crate) fn handle_early_packet(
        &mut self,
        now: Instant,
        id: ConnectionId,
        packet: Packet,
    ) -> Result<(), DecodeError> {
        let connecting = (self.connections.get(&id)).is_some_and(|it| it.challenge().is_some());
        match packet {
            Packet::Connect(connect) if !connecting => self.handle_connect(now, id, connect),
            Packet::Auth(auth) if connecting => self.handle_early_auth(now, id, &auth),
            Packet::Disconnect(_) if connecting => {
                self.end_connection(now, id, None, false);
                Ok(())
            }
            _ if connecting => Err(DecodeError::protocol(
                "client sends more than AUTH and DISCONNECT before it is authenticated",
            )),
            _ => Err(DecodeError::protocol("the first packet is not CONNECT")),
        }
    }

    fn handle_connect(
        &mut self,
        now: Instant,
        id: ConnectionId,
        connect: Box<Connect>,
    ) -> Result<(), DecodeError> {
        if (self.options.unanswered_versions).contains(&connect.protocol) {
            self.end_connection(now, id, None, false);
            return Ok(());
        }
        if self.options.refused_versions.contains(&connect.protocol) {
            self.refuse_version(now, id);
            return Ok(());
        }
        if let Some(will) = &connect.will
            && TopicName::check(&will.topic).is_err()
        {
            return Err(DecodeError {
                reason: ReasonCode::TopicNameInvalid,
                what: "the Will Topic is not a Topic Name",
            });
        }
        let refusal = self.refusal(&connect);
        let challenge = self.first_challenge(&connect);
        let Some(connection) = self.connections.get_mut(&id) else {
            return Ok(());
        };
        connection.phase = ConnectionPhase::Connecting {
            connect,
            challenge: 0,
            deadline: now + self.options.handshake_timeout,
        };
        match (refusal, challenge) {
            (Some(reason), _) => self.refuse(now, id, reason),
            (None, Some(challenge)) => self.send(now, id, &challenge),
            (None, None) => self.accept(now, id),
        }
        Ok(())
    }

    /// Why a CONNECT cannot be accepted, if so.
    fn refusal(&self, connect: &Connect) -> Option<ReasonCode> {
        let options = &self.options;
        let identifier = &connect.client_identifier;
        let properties = &connect.properties;
        if properties.authentication_data.is_some() && properties.authentication_method.is_none() {
            return Some(ReasonCode::ProtocolError); // section 3.1.2.11.10
        }
        if options.server_reference.is_some() {
            return Some(options.redirection());
        }
        if self.is_unknown_method(connect) {
            return Some(ReasonCode::BadAuthenticationMethod);
        }
        if identifier.is_empty() && !(options.assign_client_identifiers && may_be_assigned(connect))
        {
            return Some(ReasonCode::ClientIdentifierNotValid);
        }
        (options.connect_denial(identifier))
            .or_else(|| options.login_refusal(connect))
            .or_else(|| options.will_refusal(connect.will.as_ref()?))
    }

    /// Whether there is capacity for a client: its connection, its will, and its session unless that exists.
    fn has_room_for(&self, connect: &Connect) -> bool {
        let options = &self.options;
        let identifier = match connect.client_identifier.is_empty() {
            true => &self.sessions.next_identifier(), // which takes memory too
            false => &connect.client_identifier,
        };
        let session = (self.sessions.find(identifier)).and_then(|id| self.sessions.get(id));
        let takes_over = session.is_some_and(|session| session.connection.is_some());
        let will = connect.will.as_ref().map_or(0, memory::will_size);
        let more = match session {
            Some(_) => will,
            None => will + memory::session_size(identifier),
        };
        (takes_over || self.clients < options.maximum_connections)
            && (session.is_some() || self.sessions.len() < options.maximum_sessions)
            && (more == 0 || (self.session_memory).has_room(more, options.maximum_session_bytes))
    }

    /// Gives the client its session, and answers CONNECT.
    pub(crate) fn accept(&mut self, now: Instant, id: ConnectionId) {
        if let Some(ConnectionPhase::Connecting { connect, .. }) =
            self.connections.get(&id).map(|it| &it.phase)
            && !self.has_room_for(connect)
        {
            self.refused += 1;
            self.refuse(now, id, ReasonCode::QuotaExceeded);
            return;
        }
        let connection = self.connections.get_mut(&id);
        let Some(mut connect) = connection.and_then(|connection| connection.take_connect()) else {
            return;
        };
        let assigned = connect.client_identifier.is_empty();
        if assigned {
            connect.client_identifier = self.sessions.assign_identifier();
        }
        let (session, session_present) = self.take_session(now, &connect);
        let connack = ConnAck {
            session_present,
            reason: ReasonCode::Success,
            properties: Properties {
                assigned_client_identifier: assigned.then(|| connect.client_identifier.clone()),
                authentication_method: connect.properties.authentication_method.clone(),
                ..self.options.announced(&connect)
            },
        };
        self.begin_session(now, id, session, connect);
        self.send(now, id, &Packet::ConnAck(Box::new(connack)));
        self.pump(now, session);
    }

    /// Finds or makes the session for the Client Identifier. Whoever has it is disconnected (MQTT-3.1.4-3).
    fn take_session(&mut self, now: Instant, connect: &Connect) -> (SessionId, bool) {
        let identifier = &connect.client_identifier;
        let holder = self
            .sessions
            .find(identifier)
            .and_then(|session| self.sessions.get(session)?.connection);
        if let Some(holder) = holder {
            let farewell = Disconnect::because(ReasonCode::SessionTakenOver);
            self.end_connection(now, holder, Some(farewell), true);
        }
        match self.sessions.find(identifier) {
            Some(session) if !connect.clean_start => return (session, true),
            Some(session) => self.end_session(now, session),
            None => {}
        }
        (
            self.sessions.create(identifier, &self.session_memory),
            false,
        )
    }

    fn begin_session(
        &mut self,
        now: Instant,
        id: ConnectionId,
        session_id: SessionId,
        connect: Connect,
    ) {
        let properties = &connect.properties;
        let v5 = connect.protocol.is_v5();
        let window = match properties.receive_maximum {
            Some(maximum) => maximum.get(),
            None if v5 => u16::MAX,
            None => self.options.inflight_window.get(),
        };
        if let Some(session) = self.sessions.get_mut(session_id) {
            session.connection = Some(id);
            session.expires_at = None;
            session.delayed_will = None; // the client is back in time (section 3.1.3.2.2)
            session.expiry = match (v5, connect.clean_start) {
                (true, _) => SessionExpiry::from_interval(
                    properties
                        .session_expiry_interval
                        .unwrap_or(0)
                        .min(self.options.maximum_session_expiry_interval),
                ),
                (false, true) => SessionExpiry::AtDisconnect,
                (false, false) => SessionExpiry::Never,
            };
            session.outbound.begin(window.into());
        }
        self.timers.disarm(Timer::Session(session_id));
        if let Some(connection) = self.connections.get_mut(&id) {
            self.clients += 1;
            let authenticated = properties.authentication_method.is_some();
            let aliases_out = properties.topic_alias_maximum.unwrap_or(0);
            connection.phase = ConnectionPhase::Connected(Box::new(ConnectedClient {
                version: connect.protocol,
                session: session_id,
                keep_alive: (self.options.server_keep_alive)
                    .filter(|_| v5)
                    .unwrap_or(connect.keep_alive),
                last_input: now,
                counted: 0,
                maximum_packet_size: maximum_packet_size(&connect),
                will: (connect.will).map(|will| KeptWill::new(will, &self.session_memory)),
                aliases: ClientAliases::default(),
                aliases_out: BrokerAliases::new(aliases_out.min(self.options.topic_aliases_out)),
                unreleased: HashSet::new(),
                authenticated,
                challenge: None,
            }));
            self.timers.disarm(Timer::Connection(id));
            if let Some(deadline) = connection.deadline() {
                self.timers.arm(Timer::Connection(id), deadline);
            }
        }
    }

    /// Answers CONNECT with an error and closes (MQTT-3.2.2-7). A client that is to go elsewhere gets the address.
    pub(crate) fn refuse(&mut self, now: Instant, id: ConnectionId, reason: ReasonCode) {
        let connack = ConnAck {
            session_present: false,
            reason,
            properties: Properties {
                server_reference: self.options.server_reference_with(reason),
                ..Properties::default()
            },
        };
        self.refuse_with(now, id, connack);
    }

    /// Answers CONNECT with this error and closes.
    pub(crate) fn refuse_with(&mut self, now: Instant, id: ConnectionId, mut connack: ConnAck) {
        if let Some(connection) = self.connections.get_mut(&id)
            && !connection.write(&Packet::ConnAck(Box::new(connack.clone())))
        {
            connack.properties = Properties::default();
            connection.write(&Packet::ConnAck(Box::new(connack))); // or nothing, for a client that takes nothing
        }
        self.end_connection(now, id, None, false);
    }

    /// Refuses a version that the broker does not know, in the form of 3.1.1, which demands this answer (MQTT-3.1.2-2
    /// there); 5.0 leaves it open.
    pub(crate) fn refuse_version(&mut self, now: Instant, id: ConnectionId) {
        let connack = ConnAck {
            session_present: false,
            reason: ReasonCode::UnsupportedProtocolVersion,
            properties: Properties::default(),
        };
        if let Some(connection) = self.connections.get_mut(&id) {
            let connack = Packet::ConnAck(Box::new(connack));
            (connection.output).packet(&connack, ProtocolVersion::V311, usize::MAX);
        }
        self.end_connection(now, id, None, false);
    }
}

/// Whether the standard lets a client come without a Client Identifier.
const fn may_be_assigned(connect: &Connect) -> bool {
    match connect.protocol {
        ProtocolVersion::V31 => false,
        ProtocolVersion::V311 => connect.clean_start, // MQTT-3.1.3-8 of 3.1.1
        ProtocolVersion::V5 => true,
    }
}
