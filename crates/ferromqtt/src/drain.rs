//! Ending a connection when all that was accepted has been dealt with.

use std::time::Duration;

use ferromqtt_engine::Undone;

use crate::{Connection, ConnectionError};

/// How a connection ended that was [drained](Connection::drain).
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use = "this says what was left undone"]
#[non_exhaustive]
pub struct Drained {
    /// Operations that were accepted, and never sent.
    pub not_sent: usize,
    /// Operations that were on the wire, and whose outcome is unknown.
    pub unknown: usize,
    /// QoS 0 messages whose publish had completed, and that a connection lost meanwhile has not written.
    pub unflushed: u64,
    /// How disconnecting went: what [`Connection::disconnect`] would have returned.
    pub end: Result<(), ConnectionError>,
}

impl Drained {
    /// Of a connection that another call has ended, or that this one must not end.
    #[cfg(feature = "blocking")]
    pub(crate) const fn nothing_left(end: Result<(), ConnectionError>) -> Self {
        Self {
            not_sent: 0,
            unknown: 0,
            unflushed: 0,
            end,
        }
    }

    /// Whether every operation has come to an end of its own, and DISCONNECT was written.
    pub const fn is_complete(&self) -> bool {
        self.not_sent == 0 && self.unknown == 0 && self.unflushed == 0 && self.end.is_ok()
    }
}

impl Connection {
    /// Ends the connection gracefully: accepts no more messages ([`PublishError::Draining`](crate::PublishError::Draining)),
    /// waits until every operation that was accepted has its outcome, then [disconnects](Self::disconnect), and returns what
    /// was left. All of that takes no longer than `limit`. Calls that wait for capacity in the outgoing queue were not accepted
    /// yet, and fail.
    ///
    /// Messages are received and acknowledged meanwhile, and a lost connection is made good.
    ///
    /// # Cancel safety
    /// Dropped, the connection is closed in the background at once.
    ///
    /// ```no_run
    /// # async fn example(connection: ferromqtt::Connection) {
    /// use std::time::Duration;
    ///
    /// let drained = connection.drain(Duration::from_secs(5)).await;
    /// if !drained.is_complete() {
    ///     eprintln!("{} messages were never sent", drained.not_sent);
    /// }
    /// # }
    /// ```
    pub async fn drain(self, limit: Duration) -> Drained {
        let client = self.client();
        (client.shared)
            .call_and_notify(|state, now| state.engine.drain(now, now.checked_add(limit)));
        let end = self.ended().await;
        let Undone {
            not_sent,
            unknown,
            unflushed,
        } = client.shared.lock().engine.undone();
        Drained {
            not_sent,
            unknown,
            unflushed,
            end,
        }
    }
}
