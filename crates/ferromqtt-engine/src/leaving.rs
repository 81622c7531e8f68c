//! Leaving: how the application ends the connection, and what is left when the driver has gone.

use std::time::Instant;

use ferromqtt_proto::packet::Disconnect;
use ferromqtt_proto::{ConnectionError, ReasonCode};

use crate::queued::Departure;
use crate::{CallEnd, Engine, Fact, PublishRefusal, Standing, Tokens, Woken};

/// Why this client ends the connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Goodbye {
    /// The application has asked for it.
    Asked,
    /// The application has let go of the connection.
    Dropped,
}

impl<T: Tokens> Engine<T> {
    /// Writes what is encoded, and disconnects, by `until` and within
    /// [`EngineOptions::disconnect_timeout`](crate::EngineOptions::disconnect_timeout). `reason` is Normal disconnection, or
    /// Disconnect with Will Message. The first `goodbye` counts.
    pub fn disconnect(
        &mut self,
        now: Instant,
        goodbye: Goodbye,
        reason: ReasonCode,
        until: Option<Instant>,
    ) {
        self.goodbye.get_or_insert(goodbye);
        self.departure = None;
        let until = [self.disconnect_by(now), until].into_iter().flatten().min();
        let disconnect = self.farewell(reason);
        self.core.disconnect_within(now, disconnect, until);
    }

    /// As [`disconnect`](Self::disconnect), when everything that was accepted, and that a caller waits for, has its outcome or
    /// the time is over, and so has every message of the outgoing queue. Messages that wait for capacity are refused. Returns
    /// the tokens of the calls whose callers have gone, as [`release_callers`](Self::release_callers) does.
    pub fn leave(
        &mut self,
        now: Instant,
        reason: ReasonCode,
        until: Option<Instant>,
        is_gone: impl FnMut(&T::Call) -> bool,
    ) -> Vec<T::Call> {
        self.goodbye.get_or_insert(Goodbye::Asked);
        let refusal = PublishRefusal::not_sent(self.end_cause());
        self.refuse_line(&refusal);
        let gone = self.release_callers(is_gone);
        let until = [self.disconnect_by(now), until].into_iter().flatten().min();
        let disconnect = self.farewell(reason);
        let departure = Departure { disconnect, until };
        self.departure = Some(Box::new(departure));
        self.leave_when_handed_over(now);
        self.is_closed |= self.departure.is_some();
        gone
    }

    /// Stops tracking the operations whose callers have gone, by their tokens, which this returns: nothing reports how they
    /// end, and leaving does not wait for them. Unlike with [`give_up`](Self::give_up) the operations go on.
    pub fn release_callers(&mut self, mut is_gone: impl FnMut(&T::Call) -> bool) -> Vec<T::Call> {
        let mut gone = self.calls.remove_gone(&mut is_gone);
        if let Some(queue) = &mut self.outgoing {
            let tokens = queue.take_tokens(&mut is_gone);
            gone.extend(tokens.into_iter().map(|(_, token)| token));
        }
        gone.extend(self.stored.take_gone(is_gone));
        let calls = &self.calls;
        self.core.retain_callers(|op| calls.contains(op));
        gone
    }

    /// The driver has gone, and nothing will come any more: all tokens are given back.
    pub fn abandon_driver(&mut self) {
        if !self.has_ended() {
            self.finish(ConnectionError::DriverGone);
        }
        self.link = None;
        self.is_closed = true;
        self.cut_short += self.calls.len();
        if let Some(draining) = &mut self.draining {
            draining.undone.unknown += self.calls.len();
        }
        if !self.reports_undone() {
            self.unawaited.unknown += self.calls.tokens().filter(|it| T::is_gone(it)).count();
        }
        self.report_unawaited();
        self.end_authentication(&CallEnd::DriverGone);
        for token in self.calls.take_all() {
            self.woken
                .push_back(Woken::Call(token, CallEnd::DriverGone));
        }
        self.release_all_queued();
        self.end_all_stored_waits();
        self.end_queues();
        self.wake_event_readers();
    }

    /// No connection will follow.
    pub(crate) fn finish(&mut self, cause: ConnectionError) {
        let refusal = PublishRefusal::not_sent(cause.clone());
        self.standing = Standing::Ended(cause.clone());
        let lost = self.core.stats().lost;
        self.report(Fact::Ended { lost });
        self.refuse_line(&refusal);
        self.wake_event_readers();
        self.departure = None;
        self.end_outgoing_queue(&cause);
        if !self.options.restarts {
            if !self.core.options().journal {
                self.release_all_queued();
            }
            self.end_queues();
        }
    }

    /// Returns the cause to report to the application: the core does not know why it was to disconnect.
    pub(crate) fn reported_cause(&self, cause: ConnectionError) -> ConnectionError {
        match (cause, self.goodbye) {
            (ConnectionError::Closed, Some(Goodbye::Dropped)) => ConnectionError::Dropped,
            (cause, _) => cause,
        }
    }

    fn farewell(&self, reason: ReasonCode) -> Disconnect {
        let mut disconnect = Disconnect::because(reason);
        let at_disconnect = self.core.options().session_expiry_at_disconnect;
        let ended = self.options.ends_session.then_some(0);
        disconnect.properties.session_expiry_interval = at_disconnect.or(ended);
        disconnect
    }

    fn disconnect_by(&self, now: Instant) -> Option<Instant> {
        now.checked_add(self.options.disconnect_timeout)
    }
}
