//! Leaving: a connection that the application ends.

use std::time::Instant;

use super::closing::{Ending, GRACE};
use super::{Client, ClientPhase};
use crate::error::{ConnectionError, DisconnectError};
use crate::packet::{Disconnect, Packet};
use crate::reconnect::later;

/// What the application leaves with, once nobody waits for an operation any more.
#[derive(Debug)]
pub(super) struct Leaving {
    disconnect: Disconnect,
    pub(super) until: Option<Instant>,
}

impl Client {
    /// Leaves in order: refuses new operations as not connected, sends what was accepted, waits until every operation whose
    /// caller still waits has its outcome, and then [disconnects](Client::disconnect_within). What has no caller is sent as far
    /// as the server's window allows, and not waited for; neither are messages, which are received meanwhile.
    ///
    /// All of that takes until `until`, and the second after it that writing DISCONNECT gets in any case; `None` is no limit.
    /// There is nothing to wait for on a link that is down, and a connection that ends meanwhile is not made again.
    pub fn leave(&mut self, now: Instant, disconnect: Disconnect, until: Option<Instant>) {
        if !self.is_connected() {
            return self.disconnect_within(now, disconnect, until);
        }
        self.leaving = Some(Box::new(Leaving { disconnect, until }));
        self.encode_publishes(now);
        self.leave_when_done(now);
    }

    /// Whether the connection [is being left](Client::leave), and still waits for operations.
    pub const fn is_leaving(&self) -> bool {
        self.leaving.is_some()
    }

    /// Ends the connection that is being left, when nothing is waited for or its time is over.
    pub(super) fn leave_when_done(&mut self, now: Instant) {
        let Some(leaving) = &self.leaving else {
            return;
        };
        let over = leaving.until.is_some_and(|until| until <= now);
        if (over || !self.has_operations() && !self.has_more_to_encode())
            && let Some(leaving) = self.leaving.take()
        {
            let until = leaving.until.map(|until| until.max(later(now, GRACE)));
            self.disconnect_within(now, leaving.disconnect, until);
        }
    }

    /// Whether somebody waits for the outcome of an operation.
    fn has_operations(&self) -> bool {
        self.requests.any_awaited()
            || self.session.outbound.has_owners()
            || self.correlation.waits_for_response()
    }

    /// Learns which callers still wait, and stops tracking the others' operations: no [`Event::Completed`] follows for them,
    /// and [`leave`](Client::leave) does not wait for them. Unlike with [`abandon`](Client::abandon) the operations go on.
    /// [`Event::Unawaited`] counts those that the end of the last connection leaves without an outcome.
    ///
    /// `waits` is asked once for each publish that has no outcome.
    ///
    /// [`Event::Completed`]: crate::Event::Completed
    /// [`Event::Unawaited`]: crate::Event::Unawaited
    pub fn retain_callers(&mut self, waits: impl FnMut(crate::OpId) -> bool) {
        self.session.outbound.retain_owners(waits);
    }

    /// Sends DISCONNECT behind all that has been encoded, and closes; as [`disconnect_within`](Client::disconnect_within)
    /// with [`Options::closing_timeout`](crate::Options::closing_timeout).
    pub fn disconnect(&mut self, now: Instant, disconnect: Disconnect) {
        let until = later(now, self.options.closing_timeout);
        self.disconnect_within(now, disconnect, Some(until));
    }

    /// Sends DISCONNECT behind all that has been encoded, and closes. Operations that have not completed end as
    /// [`Outcome::Disconnected`](crate::Outcome::Disconnected) with [`ConnectionError::Closed`]. An attempt to connect is
    /// given up.
    ///
    /// The driver is asked to write everything and to end its side ([`TransportRequest::Finish`]). Input is then discarded
    /// until the server has closed its side, has sent nothing for a second, or it is `until`; `None` is no limit for writing,
    /// and [`Options::closing_timeout`](crate::Options::closing_timeout) for what follows. What has not closed a second later
    /// is aborted.
    ///
    /// The end cannot fail: a packet that [`Client::check_disconnect`] refuses, or that is larger than the server accepts,
    /// is not sent, neither as it is nor altered, and the transport is closed without one. The server then publishes the
    /// will.
    ///
    /// To have the will published on purpose, give the Reason Code Disconnect with Will Message. Before 5.0 a DISCONNECT holds
    /// nothing and always deletes the will, so with that code, or any other but Success, none is sent there: the transport
    /// is closed once all before is written (sections 3.1.2.5 and 3.14 of 3.1.1).
    ///
    /// [`TransportRequest::Finish`]: crate::TransportRequest::Finish
    pub fn disconnect_within(
        &mut self,
        now: Instant,
        disconnect: Disconnect,
        until: Option<Instant>,
    ) {
        self.take_all_held_back(now);
        match self.phase {
            ClientPhase::Connected => {
                let version = self.options.protocol;
                if disconnect.is_expressible(version) && self.check_disconnect(&disconnect).is_ok()
                {
                    self.send_disconnect(disconnect);
                }
                self.end_connection(now, ConnectionError::Closed, Ending::Flush { until });
            }
            ClientPhase::Opening { .. } | ClientPhase::Handshake { .. } => {
                self.end_connection(now, ConnectionError::Closed, Ending::Abort);
            }
            ClientPhase::Closing { then, closing } => {
                if then.is_some() {
                    self.give_up(ClientPhase::Closing {
                        then: None,
                        closing,
                    });
                }
                self.close_within(until);
            }
            ClientPhase::Waiting { .. } => self.give_up(ClientPhase::Idle),
            ClientPhase::Idle => {}
        }
    }

    /// Whether this client may send `disconnect`. Before 5.0 the packet holds nothing, so nothing can be wrong with it;
    /// [`Client::disconnect_within`] says when none is sent.
    ///
    /// # Errors
    /// Each [`DisconnectError`] says what the standard forbids.
    pub fn check_disconnect(&self, disconnect: &Disconnect) -> Result<(), DisconnectError> {
        if !self.options.protocol.is_v5() {
            return Ok(());
        }
        disconnect.check_client(self.options.properties.session_expiry_interval)
    }

    /// Leaves a connection alone that was to be made later.
    fn give_up(&mut self, phase: ClientPhase) {
        self.phase = phase;
        self.fail_all(&ConnectionError::Closed);
        self.report_end(ConnectionError::Closed, None, 0);
    }

    pub(super) fn send_disconnect(&mut self, disconnect: Disconnect) {
        let Some(connection) = &mut self.connection else {
            return;
        };
        let version = self.options.protocol;
        let limit = connection.limits.maximum_packet_size();
        let short = disconnect.clone().without_diagnosis();
        for disconnect in [disconnect, short] {
            let packet = Packet::Disconnect(Box::new(disconnect));
            let pushed = connection.transmit.push_within(limit, &packet, version);
            if pushed.is_ok() {
                return;
            }
        }
    }
}
