//! How connections and sessions end.

use std::mem;
use std::time::{Duration, Instant};

use ferromqtt_proto::packet::{Disconnect, Packet, Properties, ReasonCode};
use ferromqtt_proto::{DecodeError, Utf8String};

use crate::broker::Broker;
use crate::connection::{ConnectionId, ConnectionPhase};
use crate::message::PublishedMessage;
use crate::options::BrokerOptionsError;
use crate::refusal::is_allowed;
use crate::retained::Retained;
use crate::session::{KeptWill, SessionExpiry, SessionId};
use crate::shared::SharedSubscriptions;
use crate::subscriptions::SubscriptionTable;
use crate::timers::Timer;
use crate::wire::RestartKeeps;

impl Broker {
    /// The client broke the protocol or a limit: a 5.0 client gets the reason, and the connection is closed (section 4.13).
    pub(crate) fn fail(&mut self, now: Instant, id: ConnectionId, error: DecodeError) {
        let awaiting = (self.connections.get(&id)).is_some_and(|connection| {
            matches!(connection.phase, ConnectionPhase::AwaitingConnect { .. })
        });
        if awaiting && error.reason == ReasonCode::UnsupportedProtocolVersion {
            self.refuse_version(now, id);
        } else {
            let mut farewell = Disconnect::because(match error.reason {
                ReasonCode::UnsupportedProtocolVersion => ReasonCode::ProtocolError, // DISCONNECT has no such code
                reason => reason,
            });
            farewell.properties.reason_string = Utf8String::from_static(error.what).ok();
            self.end_connection(now, id, Some(farewell), true);
        }
    }

    /// Sends a client away, on behalf of whoever runs the broker; `server_reference` says where to. Its will is published.
    /// A 3.x client gets no reason. `false` when nobody with the Client Identifier is connected.
    ///
    /// # Errors
    /// When a server's DISCONNECT cannot hold `reason`.
    pub fn disconnect_client(
        &mut self,
        now: Instant,
        client_identifier: &str,
        reason: ReasonCode,
        server_reference: Option<Utf8String>,
    ) -> Result<bool, BrokerOptionsError> {
        self.now = Some(now);
        let mut farewell = Disconnect::because(reason);
        farewell.properties.server_reference = server_reference;
        let allowed =
            reason.is_error() && is_allowed(&Packet::Disconnect(Box::new(farewell.clone())));
        if !allowed {
            return Err(BrokerOptionsError::ReasonCode {
                request: "connection",
                reason,
                section: "3.14.2.1",
            });
        }
        let connection = (self.sessions.find(client_identifier))
            .and_then(|session| self.sessions.get(session)?.connection);
        if let Some(id) = connection {
            self.end_connection(now, id, Some(farewell), true);
        }
        Ok(connection.is_some())
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
            if session.expiry == SessionExpiry::AtDisconnect && interval > 0 {
                return Err(DecodeError::protocol(
                    "DISCONNECT sets a Session Expiry Interval that CONNECT had at 0",
                ));
            }
            let maximum = self.options.maximum_session_expiry_interval;
            session.expiry = SessionExpiry::from_interval(interval.min(maximum));
        }
        let publish_will = disconnect.reason != ReasonCode::Success;
        self.end_connection(now, id, None, publish_will);
        Ok(())
    }

    /// Ends the MQTT side of a connection; the host closes its transport once the output is written. `farewell` is
    /// for a client of 5.0 (MQTT-4.13.1-1 allows it; a server of 3.x has none), as far as it takes packets so large.
    pub(crate) fn end_connection(
        &mut self,
        now: Instant,
        id: ConnectionId,
        farewell: Option<Disconnect>,
        publish_will: bool,
    ) {
        let Some(connection) = self.connections.get_mut(&id) else {
            return;
        };
        if matches!(connection.phase, ConnectionPhase::Closing { .. }) {
            return;
        }
        let deadline = now + self.options.handshake_timeout;
        if let Some(mut farewell) = farewell
            && connection.connected().is_some_and(|it| it.version.is_v5())
            && !connection.write(&Packet::Disconnect(Box::new(farewell.clone())))
        {
            farewell.properties = Properties::default();
            connection.write(&Packet::Disconnect(Box::new(farewell))); // or nothing (MQTT-3.14.2-3)
        }
        if let ConnectionPhase::Connected(connected) =
            mem::replace(&mut connection.phase, ConnectionPhase::Closing { deadline })
        {
            self.clients -= 1;
            let will = connected.will.filter(|_| publish_will);
            self.detach(now, connected.session, will);
        }
        self.timers.disarm(Timer::Connection(id));
        self.timers.arm(Timer::Connection(id), deadline);
        self.close_behind_output(id);
    }

    /// The session goes on without a connection, or ends with it.
    fn detach(&mut self, now: Instant, id: SessionId, will: Option<KeptWill>) {
        let Some(session) = self.sessions.get_mut(id) else {
            return;
        };
        session.connection = None;
        session.outbound.end();
        let mut due_will = None;
        if let Some(will) = will {
            match will.will.properties.will_delay_interval {
                None | Some(0) => due_will = Some(will),
                Some(delay) => {
                    session.delayed_will = Some((now + Duration::from_secs(delay.into()), will))
                }
            }
        }
        let ends_now = session.expiry == SessionExpiry::AtDisconnect;
        if let SessionExpiry::After(interval) = session.expiry {
            session.expires_at = Some(now + interval);
        }
        if let Some(deadline) = session.deadline() {
            self.timers.arm(Timer::Session(id), deadline);
        }
        if let Some(will) = due_will {
            self.publish_will(now, will, id);
        }
        if ends_now {
            self.end_session(now, id);
        }
    }

    pub(crate) fn publish_will(&mut self, now: Instant, kept: KeptWill, session: SessionId) {
        self.route(now, &PublishedMessage::from_will(now, *kept.will, session));
    }

    /// Forgets what a restart does not keep. Nobody is connected.
    pub(crate) fn stop_remembering(&mut self, keeps: RestartKeeps) {
        if !keeps.sessions {
            for id in self.sessions.clear() {
                self.timers.disarm(Timer::Session(id));
            }
            self.subscriptions = SubscriptionTable::default();
            self.shared = SharedSubscriptions::default();
        }
        if !keeps.retained {
            self.retained = Retained::default();
        }
    }

    /// Forgets a session whose client is not connected. A will that was still waiting is published (MQTT-3.1.2-8), and what
    /// others can have of its Shared Subscriptions goes to them.
    pub(crate) fn end_session(&mut self, now: Instant, id: SessionId) {
        self.timers.disarm(Timer::Session(id));
        let Some(session) = self.sessions.remove(id) else {
            return;
        };
        for filter in session.filters() {
            self.remove_subscription(filter, id);
        }
        self.pass_on(now, session.outbound.into_shared());
        if let Some((_, will)) = session.delayed_will {
            self.publish_will(now, will, id);
        }
    }

    pub(crate) fn handle_connection_timeout(&mut self, now: Instant, id: ConnectionId) {
        let Some(connection) = self.connections.get_mut(&id) else {
            return;
        };
        match connection.deadline() {
            None => {}
            Some(deadline) if deadline > now => self.timers.arm(Timer::Connection(id), deadline),
            Some(_) if matches!(connection.phase, ConnectionPhase::Closing { .. }) => {
                while connection.output.take().is_some() {} // nobody reads it
                self.close_behind_output(id);
            }
            Some(_) => {
                let farewell = Disconnect::because(ReasonCode::KeepAliveTimeout);
                self.end_connection(now, id, Some(farewell), true);
            }
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
            self.publish_will(now, will, id);
        }
    }
}
