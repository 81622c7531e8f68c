//! What a rule does to a packet.

use std::time::Duration;

use bytes::Bytes;
use ferromqtt_proto::packet::ReasonCode;

/// What a [`FaultRule`](crate::FaultRule) does to a packet. Several of them combine where that makes sense.
#[derive(Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum FaultAction {
    /// The packet never arrives. Neither side is told.
    Lose,
    /// The packet arrives a second time.
    Duplicate {
        /// Sets DUP in the second copy of a PUBLISH of QoS 1 or 2.
        dup: bool,
        /// How long after the first.
        after: Duration,
    },
    /// The packet arrives later. Packets of its own type wait behind it, so that MQTT's order is kept; others go by, except
    /// that nothing overtakes CONNECT and CONNACK, and DISCONNECT overtakes nothing.
    Delay(Duration),
    /// As [`FaultAction::Delay`], until somebody releases the packet.
    Hold,
    /// The next `with_next` packets of its type overtake the packet, which breaks MQTT's order on purpose. It waits for them
    /// as long as it takes.
    Reorder {
        /// How many packets overtake it; at least 1.
        with_next: u32,
    },
    /// The link ends here.
    Cut {
        /// Where exactly.
        at: CutPoint,
        /// With a reset, as when the peer's process was killed, instead of an orderly end.
        reset: bool,
    },
    /// The packet is answered with this Reason Code, and not handled: CONNECT, PUBLISH, SUBSCRIBE, UNSUBSCRIBE or PUBREL
    /// that the broker receives. 3.x is answered what that version can say: CONNECT with a Return Code, SUBSCRIBE of 3.1.1
    /// with Failure; otherwise the connection is closed. A PUBLISH of QoS 0, which has no answer, is lost.
    Refuse {
        /// The Reason Code, 0x80 or above.
        reason: ReasonCode,
        /// Reason String for clients of 5.0.
        text: Option<String>,
    },
    /// These bytes arrive in place of the packet.
    Replace(Bytes),
    /// So many random bytes arrive in place of the packet.
    Garbage(usize),
    /// Only so many bytes of the packet arrive, and the next packet behind them.
    Truncate(usize),
    /// The broker sends DISCONNECT with this Reason Code in place of the packet, or of handling it, and closes the
    /// connection. 3.x has no such packet: the connection is closed.
    Disconnect(ReasonCode),
}

/// Where a link is cut.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum CutPoint {
    /// Behind the packet.
    #[default]
    After,
    /// In front of it: it does not arrive.
    Before,
    /// Inside of it, behind so many of its bytes.
    AfterBytes(usize),
}

impl std::fmt::Debug for FaultAction {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&super::text::shown_action(self))
    }
}
