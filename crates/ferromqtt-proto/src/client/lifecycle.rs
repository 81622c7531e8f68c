//! A connection's beginning and end: connecting, time, reconnecting, and a session that was lost.

use std::time::Instant;

use super::closing::Ending;
use super::{Client, ClientPhase};
use crate::connection::{KeepAliveAction, NetworkConnection};
use crate::error::{ConnectionError, DecodeError, TransportError};
use crate::event::{Delivery, Event, Outcome, TransportRequest};
use crate::options::OnSessionLost;
use crate::packet::{Connect, Disconnect, PINGREQ_LEN, Packet, ProtocolVersion, QoS, ReasonCode};
use crate::reconnect::{self, Severity};
use crate::session::{Owner, SessionNeeds, WaitingPublish};

impl Client {
    /// Asks for a connection. Nothing happens unless the client [is idle](Client::is_idle): when there is one, or one is
    /// being made or closed.
    pub fn connect(&mut self, now: Instant) {
        if matches!(self.phase, ClientPhase::Idle) {
            self.first = true;
            self.backoff.reset();
            self.servers.start();
            self.versions.start();
            // The application is about to subscribe again itself: only what a reconnect loses is restored.
            self.session.subscriptions.clear();
            self.session.inbox.suspend_claims(); // nothing can be claimed before CONNACK
            self.open(now);
        }
    }

    fn open(&mut self, now: Instant) {
        if let Some(version) = self.versions.of_attempt(self.servers.current()) {
            self.options.protocol = version;
        }
        let limit = self.options.connect_timeout;
        let deadline = limit.map(|limit| reconnect::later(now, limit));
        self.phase = ClientPhase::Opening {
            deadline,
            awaits_credentials: self.options.fresh_credentials,
        };
        self.stats.attempts += 1;
        self.transport_requests.push_back(TransportRequest::Open {
            server: self.servers.current().clone(),
            attempt: self.backoff.attempt,
        });
    }

    /// The transport asked for is open: CONNECT goes out.
    pub fn transport_opened(&mut self, now: Instant) {
        let ClientPhase::Opening { deadline, .. } = self.phase else {
            return;
        };
        let clean_start = self.options.starts_clean(self.first);
        let needs = match clean_start {
            true => self.session_lost(), // the old session has ended
            false => self.record_connecting(),
        };
        self.session.connections += 1;
        let number = self.session.connections;
        self.session.inbound.connection_opened(number);
        self.slips.connection_opened();
        if let Some(trace) = &mut self.trace {
            trace.connection_opened();
        }
        let mut connection = NetworkConnection::new(now, number, clean_start, &self.options);
        connection.sent_qos0_before = self.stats.sent_qos0;
        let options = &self.options;
        let connect = Connect {
            protocol: options.protocol,
            clean_start,
            keep_alive: options.keep_alive,
            properties: options.connect_properties(),
            client_identifier: self.client_identifier().clone(),
            will: options.will.clone(),
            user_name: options.user_name.clone(),
            password: options.password.clone(),
        };
        let connect = Packet::Connect(Box::new(connect));
        let journal = &self.session.journal;
        connection.held.hold_connect(connect, needs, journal);
        connection.release_held(journal, options.protocol);
        self.connection = Some(connection);
        self.phase = ClientPhase::Handshake { deadline };
    }

    /// The transport is gone, or could not be opened.
    pub fn transport_closed(&mut self, now: Instant, cause: TransportError) {
        self.take_all_held_back(now);
        match self.phase {
            ClientPhase::Handshake { .. } if cause == TransportError::EndOfStream => {
                self.end_connection(now, ConnectionError::Unanswered, Ending::Abort);
            }
            ClientPhase::Opening { .. }
            | ClientPhase::Handshake { .. }
            | ClientPhase::Connected => {
                self.end_connection(now, ConnectionError::Transport(cause), Ending::Abort);
            }
            ClientPhase::Closing { closing, .. } => self.report_unwritten(closing),
            ClientPhase::Idle | ClientPhase::Waiting { .. } => return,
        }
        self.transport_requests.clear();
        self.connection = None;
        self.phase = match self.phase {
            ClientPhase::Closing {
                then: Some(retry_at),
                ..
            } => ClientPhase::Waiting { retry_at },
            _ => ClientPhase::Idle,
        };
    }

    /// When [`Client::handle_timeout`] is to be called next.
    pub fn poll_timeout(&self) -> Option<Instant> {
        let connection = match self.phase {
            ClientPhase::Opening { deadline, .. } | ClientPhase::Handshake { deadline } => deadline,
            ClientPhase::Connected => {
                (self.connection.as_ref()).and_then(|connection| connection.keep_alive.deadline())
            }
            ClientPhase::Waiting { retry_at } => Some(retry_at),
            ClientPhase::Closing { closing, .. } => closing.deadline(),
            ClientPhase::Idle => None,
        };
        let expiry = self.session.outbound.next_expiry();
        let leaving = self.leaving.as_ref().and_then(|leaving| leaving.until);
        let (claims, queues) = (self.next_claim_end(), self.queues_deadline());
        let others = [expiry, leaving, claims, queues].into_iter().flatten();
        connection.into_iter().chain(others).min()
    }

    /// Does what is due at `now`. Calls that come early are harmless.
    pub fn handle_timeout(&mut self, now: Instant) {
        self.session.inbox.set_clock(now);
        self.expire(now);
        self.end_claims(now);
        match self.phase {
            ClientPhase::Opening { deadline, .. } | ClientPhase::Handshake { deadline } => {
                if deadline.is_some_and(|deadline| deadline <= now) {
                    self.end_connection(now, self.overdue(), Ending::Abort);
                }
            }
            ClientPhase::Connected => self.check_keep_alive(now),
            ClientPhase::Waiting { retry_at } if retry_at <= now => self.open(now),
            ClientPhase::Closing { .. } => self.check_closing(now),
            ClientPhase::Waiting { .. } | ClientPhase::Idle => {}
        }
        self.leave_when_done(now);
        self.look_after_queues(now);
    }

    /// What an attempt was waiting for when its time was over.
    fn overdue(&self) -> ConnectionError {
        match self.phase {
            ClientPhase::Opening {
                awaits_credentials: true,
                ..
            } => ConnectionError::NoCredentials(
                "the connect time limit was over before they came".into(),
            ),
            _ => ConnectionError::ConnectTimeout,
        }
    }

    fn check_keep_alive(&mut self, now: Instant) {
        let Some(connection) = &mut self.connection else {
            return;
        };
        let version = self.options.protocol;
        let end = connection.transmit.end() + PINGREQ_LEN as u64;
        match connection.keep_alive.due(now, end) {
            KeepAliveAction::Nothing => {}
            KeepAliveAction::Ping => connection.transmit.push(&Packet::PingReq, version),
            KeepAliveAction::PeerIsDead => {
                self.take_all_held_back(now); // it was read before
                if self.is_connected() {
                    self.end_connection(now, ConnectionError::KeepAliveTimeout, Ending::Abort);
                }
            }
        }
    }

    /// Answers a broken rule: DISCONNECT with its Reason Code where the version has one and the connection was accepted.
    pub(super) fn protocol_violation(&mut self, now: Instant, error: DecodeError) {
        let reason = match error.reason {
            // DISCONNECT has no such code.
            ReasonCode::UnsupportedProtocolVersion => ReasonCode::ProtocolError,
            reason => reason,
        };
        self.refuse_input(now, reason, ConnectionError::ProtocolViolation(error));
    }

    /// Ends the connection because of what the server sent, with a DISCONNECT as above.
    pub(super) fn refuse_input(
        &mut self,
        now: Instant,
        reason: ReasonCode,
        cause: ConnectionError,
    ) {
        if self.is_connected() && self.options.protocol.is_v5() {
            self.send_disconnect(Disconnect::because(reason));
        }
        let ending = self.by_answering(now);
        self.end_connection(now, cause, ending);
    }

    /// The end of a connection that the server is still to read from: acknowledgements of good packets before a bad one,
    /// and DISCONNECT.
    pub(super) fn by_answering(&self, now: Instant) -> Ending {
        if !self.is_connected() {
            return Ending::Abort;
        }
        let until = Some(reconnect::later(now, self.options.closing_timeout));
        Ending::Flush { until }
    }

    /// The connection is over for us: reports it, decides whether to try again, and settles what was on its way.
    /// The transport is asked to close; `ending` says what becomes of what has been encoded.
    pub(super) fn end_connection(&mut self, now: Instant, cause: ConnectionError, ending: Ending) {
        self.keep_held_back_message();
        let was_connected = self.is_connected();
        if matches!(self.phase, ClientPhase::Handshake { .. })
            && !matches!(cause, ConnectionError::Refused { .. })
        {
            self.was_unanswered = true;
        }
        if was_connected {
            self.suspect(now, &cause); // by what was handed over
            self.watch_identifier(now, &cause);
        }
        let unflushed = match ending {
            Ending::Flush { .. } => 0, // reported later, if the transport ends before all is handed over
            Ending::Close | Ending::Abort => self.drop_unwritten(),
        };
        let turns_to = self.turns_to(&cause);
        let retry_at = match turns_to {
            Some(_) => Some(now),
            None => self.retry_at(now, &cause, was_connected),
        };
        let unflushed = unflushed + self.drop_held();
        self.session.outbound.stop_resending();
        self.end_deliveries();
        self.leaving = None;
        self.phase = ClientPhase::Closing {
            then: retry_at,
            closing: self.begin_closing(now, ending),
        };
        match turns_to {
            Some(next) => {
                let cause = cause.clone();
                self.events.push_back(Event::VersionRefused { cause, next });
            }
            None => self.report_end(cause.clone(), retry_at, unflushed),
        }
        if retry_at.is_some() {
            self.suspend_requests(&cause, true);
        } else {
            self.fail_all(&cause);
        }
    }

    /// The version to try the same server in at once, since it does not seem to speak the one of an attempt that has ended so.
    fn turns_to(&mut self, cause: &ConnectionError) -> Option<ProtocolVersion> {
        let in_handshake = matches!(self.phase, ClientPhase::Handshake { .. });
        let answer = in_handshake.then_some(cause);
        (self.versions).turns(self.servers.current(), self.options.protocol, answer)
    }

    pub(super) fn report_end(
        &mut self,
        cause: ConnectionError,
        retry_at: Option<Instant>,
        unflushed: u64,
    ) {
        self.stats.unflushed += unflushed;
        self.events.push_back(Event::Disconnected {
            cause,
            retry_at,
            unflushed,
        });
    }

    fn retry_at(
        &mut self,
        now: Instant,
        cause: &ConnectionError,
        was_connected: bool,
    ) -> Option<Instant> {
        let is_final = match reconnect::severity(cause, self.options.fresh_credentials) {
            Severity::Final => true,
            Severity::ThisServer => !self.servers.has_another(cause),
            Severity::Passing => false,
        };
        if is_final || self.leaving.is_some() {
            return None;
        }
        let accepted_at = (self.connection.as_ref()).and_then(|connection| connection.accepted_at);
        let policy = self.options.reconnect.as_ref();
        if let (Some(policy), Some(accepted_at), true) = (policy, accepted_at, was_connected)
            && now >= reconnect::later(accepted_at, policy.stable_after)
        {
            self.backoff.reset();
        }
        // One that was connected waits, so that not all clients of a server turn to the next one at the same moment.
        let at_once = self.servers.advance(cause) && !was_connected;
        self.backoff.attempt = self.backoff.attempt.saturating_add(1);
        if at_once && (self.first || policy.is_some()) {
            return Some(now);
        }
        let policy = policy.filter(|policy| policy.initial || !self.first)?;
        if self.backoff.is_exhausted(policy) {
            return None;
        }
        self.servers.waits();
        Some(self.backoff.next_attempt(now, policy))
    }

    /// No connection will follow by itself: every operation ends now. What never reached the wire is dropped; what did
    /// stays in the session without an owner (`docs/design/0005-lost-sessions.md`). Messages that a store has stay as they are.
    pub(super) fn fail_all(&mut self, cause: &ConnectionError) {
        self.suspend_requests(cause, false);
        let unknown = match self.options.journal {
            true => 0, // a store has them
            false => self.session.outbound.unowned_on_the_wire(),
        };
        let mut not_sent = 0;
        for owner in self.session.outbound.detach_all() {
            let cause = cause.clone();
            let delivery = Delivery::Unknown;
            self.complete_publish(owner, Outcome::Disconnected { cause, delivery });
        }
        let mut kept = Vec::new();
        for (number, mut waiting) in self.session.outbound.take_waiting() {
            let delivery = waiting.delivery();
            if let Some(owner) = waiting.owner.take_if(|owner| !owner.is_recorded()) {
                let cause = cause.clone();
                self.complete_publish(owner, Outcome::Disconnected { cause, delivery });
            } else if !waiting.stays() {
                not_sent += 1;
            }
            if waiting.stays() {
                kept.push((number, waiting));
            } else {
                self.record_finished(waiting.key);
            }
        }
        self.session.outbound.put_first(kept);
        for op in self.take_unanswered() {
            let cause = cause.clone();
            let delivery = Delivery::Unknown;
            let outcome = Outcome::Disconnected { cause, delivery };
            self.events.push_back(Event::Completed { op, outcome });
        }
        if not_sent + unknown > 0 {
            self.events
                .push_back(Event::Unawaited { not_sent, unknown });
        }
    }

    /// The session that was on the server is gone: it says so (MQTT-3.2.2-5), or CONNECT asks for a fresh one
    /// (MQTT-3.1.2-4). Publishes that were on its wire are settled (`docs/design/0005-lost-sessions.md`): QoS 1 goes out again, QoS 2 ends
    /// as `SessionLost`, or as `Uncertain` for a store, or goes out again if asked. What nobody waits for any more is dropped,
    /// unless a store keeps it. Returns what waits until that is on record.
    pub(super) fn session_lost(&mut self) -> SessionNeeds {
        self.session.inbound.clear();
        self.session.deliveries.clear();
        let (publishing, released) = self.session.outbound.take_on_the_wire();
        let mut anew = Vec::new();
        let mut lost = Vec::new();
        for (number, flow) in publishing {
            let again = flow.publish.qos == QoS::AtLeastOnce
                || self.options.on_session_lost == OnSessionLost::Resend;
            if again && (flow.owner.is_some() || flow.key.is_some()) {
                let waiting = WaitingPublish {
                    owner: flow.owner,
                    publish: flow.publish,
                    resent_as_new: true,
                    expiry: flow.expiry,
                    key: flow.key,
                };
                anew.push((number, waiting));
            } else {
                lost.extend(flow.owner);
                self.record_lost(flow.owner, flow.key);
            }
        }
        for (release, owner) in released {
            lost.extend(owner);
            self.record_lost(owner, release.key);
        }
        let needs = self.session.journal.record_session_lost();
        self.session.ids.clear(); // requests hold none between connections
        self.session.outbound.put_first(anew);
        let anew = self.session.outbound.waiting_anew();
        self.session.suspicion.session_lost(anew);
        for owner in lost {
            let outcome = match owner {
                Owner::Recorded(_) => Outcome::Uncertain,
                Owner::Publish(_) | Owner::Request(_) => Outcome::SessionLost,
            };
            self.complete_publish(owner, outcome);
        }
        needs
    }
}
