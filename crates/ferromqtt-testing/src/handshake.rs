//! How connections and sessions begin and end.

use std::mem;
use std::time::{Duration, Instant};

use ferromqtt_proto::packet::{
    ConnAck, Connect, Disconnect, Packet, Properties, ProtocolVersion, ReasonCode, Will,
};
use ferromqtt_proto::{DecodeError, TopicName};

use crate::aliases::Aliases;
use crate::broker::Broker;
use crate::connection::{Connected, ConnectionId, Phase};
use crate::message::Message;
use crate::session::{Expiry, SessionId};
use crate::timers::Timer;

impl Broker {
    pub(crate) fn handle_connect(
        &mut self,
        now: Instant,
        id: ConnectionId,
        mut connect: Connect,
    ) -> Result<(), DecodeError> {
        let version = connect.protocol;
        if let Some(reason) = refusal(&connect).or_else(|| self.options.login_refusal(&connect)) {
            self.refuse(now, id, version, reason);
            return Ok(());
        }
        if let Some(will) = &connect.will
            && let Some(error) = self.options.message_refusal(will.qos, will.retain)
        {
            self.refuse(now, id, version, error.reason);
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
                ..self.options.announced(&connect)
            },
        };
        self.begin_session(now, id, session, connect);
        self.send(id, &Packet::ConnAck(Box::new(connack)));
        self.pump(now, session);
        Ok(())
    }

    /// Finds or makes the session for the Client Identifier. Whoever has it is disconnected (MQTT-3.1.4-3).
    fn take_session(&mut self, now: Instant, connect: &Connect) -> (SessionId, bool) {
        let identifier = &connect.client_identifier;
        let holder = self
            .sessions
            .find(identifier)
            .and_then(|session| self.sessions.get(session)?.connection);
        if let Some(holder) = holder {
            self.end_connection(now, holder, Some(ReasonCode::SessionTakenOver), true);
        }
        match self.sessions.find(identifier) {
            Some(session) if !connect.clean_start => return (session, true),
            Some(session) => self.end_session(now, session),
            None => {}
        }
        (self.sessions.create(identifier), false)
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
                (true, _) => Expiry::from_interval(
                    properties
                        .session_expiry_interval
                        .unwrap_or(0)
                        .min(self.options.maximum_session_expiry_interval),
                ),
                (false, true) => Expiry::AtDisconnect,
                (false, false) => Expiry::Never,
            };
            session.outbound.begin(window.into());
        }
        self.timers.disarm(Timer::Session(session_id));
        if let Some(connection) = self.connections.get_mut(&id) {
            connection.phase = Phase::Connected(Connected {
                version: connect.protocol,
                session: session_id,
                keep_alive: (self.options.server_keep_alive)
                    .filter(|_| v5)
                    .unwrap_or(connect.keep_alive),
                last_input: now,
                maximum_packet_size: properties
                    .maximum_packet_size
                    .map_or(usize::MAX, |size| size.get() as usize),
                will: connect.will.map(Box::new),
                aliases: Aliases::default(),
            });
            self.timers.disarm(Timer::Connection(id));
            if let Some(deadline) = connection.deadline() {
                self.timers.arm(Timer::Connection(id), deadline);
            }
        }
    }

    /// Answers CONNECT with an error and closes (MQTT-3.2.2-7).
    fn refuse(
        &mut self,
        now: Instant,
        id: ConnectionId,
        version: ProtocolVersion,
        reason: ReasonCode,
    ) {
        if let Some(connection) = self.connections.get_mut(&id) {
            let connack = ConnAck {
                session_present: false,
                reason,
                properties: Properties::default(),
            };
            connection
                .output
                .packet(&Packet::ConnAck(Box::new(connack)), version);
        }
        self.end_connection(now, id, None, false);
    }

    /// The client broke the protocol or a limit: 5.0 is told why, and the connection is closed (section 4.13).
    pub(crate) fn fail(&mut self, now: Instant, id: ConnectionId, error: DecodeError) {
        let awaiting = self
            .connections
            .get(&id)
            .is_some_and(|connection| matches!(connection.phase, Phase::AwaitingConnect { .. }));
        if awaiting && error.reason == ReasonCode::UnsupportedProtocolVersion {
            // In the form of 3.1.1, which demands this answer (MQTT-3.1.2-2 there); 5.0 leaves it open.
            self.refuse(now, id, ProtocolVersion::V311, error.reason);
        } else {
            self.end_connection(now, id, Some(error.reason), true);
        }
    }

    pub(crate) fn handle_disconnect(
        &mut self,
        now: Instant,
        id: ConnectionId,
        session: SessionId,
        disconnect: &Disconnect,
    ) -> Result<(), DecodeError> {
        if let Some(interval) = disconnect.properties.session_expiry_interval
            && let Some(session) = self.sessions.get_mut(session)
        {
            if session.expiry == Expiry::AtDisconnect && interval > 0 {
                return Err(DecodeError::protocol(
                    "DISCONNECT sets a Session Expiry Interval that CONNECT had at 0",
                ));
            }
            let maximum = self.options.maximum_session_expiry_interval;
            session.expiry = Expiry::from_interval(interval.min(maximum));
        }
        let publish_will = disconnect.reason != ReasonCode::Success;
        self.end_connection(now, id, None, publish_will);
        Ok(())
    }

    /// Ends the MQTT side of a connection; the host closes its transport once the output is written. `reason` goes into a
    /// DISCONNECT packet, for a client that knows the server's (MQTT-4.13.1-1 allows it, 3.x has none).
    pub(crate) fn end_connection(
        &mut self,
        now: Instant,
        id: ConnectionId,
        reason: Option<ReasonCode>,
        publish_will: bool,
    ) {
        let Some(connection) = self.connections.get_mut(&id) else {
            return;
        };
        if matches!(connection.phase, Phase::Closing { .. }) {
            return;
        }
        let deadline = now + self.options.handshake_timeout;
        if let Phase::Connected(connected) =
            mem::replace(&mut connection.phase, Phase::Closing { deadline })
        {
            if let Some(reason) = reason
                && connected.version.is_v5()
            {
                let disconnect = Packet::Disconnect(Box::new(Disconnect::because(reason)));
                connection.output.packet(&disconnect, connected.version);
            }
            let will = connected.will.filter(|_| publish_will);
            self.detach(now, connected.session, will);
        }
        self.timers.disarm(Timer::Connection(id));
        self.timers.arm(Timer::Connection(id), deadline);
        self.close_behind_output(id);
    }

    /// The session goes on without a connection, or ends with it.
    fn detach(&mut self, now: Instant, id: SessionId, will: Option<Box<Will>>) {
        let Some(session) = self.sessions.get_mut(id) else {
            return;
        };
        session.connection = None;
        session.outbound.end();
        let mut due_will = None;
        if let Some(will) = will {
            match will.properties.will_delay_interval {
                None | Some(0) => due_will = Some(will),
                Some(delay) => {
                    session.delayed_will = Some((now + Duration::from_secs(delay.into()), will))
                }
            }
        }
        let ends_now = session.expiry == Expiry::AtDisconnect;
        if let Expiry::After(interval) = session.expiry {
            session.expires_at = Some(now + interval);
        }
        if let Some(deadline) = session.deadline() {
            self.timers.arm(Timer::Session(id), deadline);
        }
        if let Some(will) = due_will {
            self.route(now, &Message::from_will(now, *will, id));
        }
        if ends_now {
            self.end_session(now, id);
        }
    }

    /// Forgets a session whose client is not connected. A will that was still waiting is published (MQTT-3.1.2-8).
    fn end_session(&mut self, now: Instant, id: SessionId) {
        self.timers.disarm(Timer::Session(id));
        let Some(session) = self.sessions.remove(id) else {
            return;
        };
        for filter in &session.filters {
            self.remove_subscription(filter, id);
        }
        if let Some((_, will)) = session.delayed_will {
            self.route(now, &Message::from_will(now, *will, id));
        }
    }

    pub(crate) fn handle_connection_timeout(&mut self, now: Instant, id: ConnectionId) {
        let Some(connection) = self.connections.get_mut(&id) else {
            return;
        };
        match connection.deadline() {
            None => {}
            Some(deadline) if deadline > now => self.timers.arm(Timer::Connection(id), deadline),
            Some(_) if matches!(connection.phase, Phase::Closing { .. }) => {
                while connection.output.take().is_some() {} // nobody reads it
                self.close_behind_output(id);
            }
            Some(_) => self.end_connection(now, id, Some(ReasonCode::KeepAliveTimeout), true),
        }
    }

    pub(crate) fn handle_session_timeout(&mut self, now: Instant, id: SessionId) {
        let Some(session) = self.sessions.get_mut(id) else {
            return;
        };
        if session.expires_at.is_some_and(|at| at <= now) {
            self.end_session(now, id);
            return;
        }
        let due = session.delayed_will.take_if(|(at, _)| *at <= now);
        if let Some(deadline) = session.deadline() {
            self.timers.arm(Timer::Session(id), deadline);
        }
        if let Some((_, will)) = due {
            self.route(now, &Message::from_will(now, *will, id));
        }
    }
}

/// Why a CONNECT cannot be accepted, if so.
fn refusal(connect: &Connect) -> Option<ReasonCode> {
    if connect.properties.authentication_method.is_some() {
        return Some(ReasonCode::BadAuthenticationMethod);
    }
    let identifier_needed = match connect.protocol {
        ProtocolVersion::V31 => true,
        ProtocolVersion::V311 => !connect.clean_start, // MQTT-3.1.3-8 of 3.1.1
        ProtocolVersion::V5 => false,
    };
    (identifier_needed && connect.client_identifier.is_empty())
        .then_some(ReasonCode::ClientIdentifierNotValid)
}
