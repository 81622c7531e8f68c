//! The server's answer to one filter.

use std::fmt;

use ferromqtt_proto::packet::PacketType;
use ferromqtt_proto::{QoS, ReasonCode};

/// What the server has said to one filter, in SUBACK or UNSUBACK.
///
/// It displays as that packet's table names it: 0x00 is "Granted QoS 0" in SUBACK (section 3.9.3), and "Success" in UNSUBACK.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FilterResult {
    reason: ReasonCode,
    packet: PacketType,
}

impl FilterResult {
    /// What SUBACK says.
    pub const fn of_suback(reason: ReasonCode) -> Self {
        let packet = PacketType::SubAck;
        Self { reason, packet }
    }

    /// What UNSUBACK says.
    pub const fn of_unsuback(reason: ReasonCode) -> Self {
        let packet = PacketType::UnsubAck;
        Self { reason, packet }
    }

    /// The Reason Code.
    pub const fn reason(self) -> ReasonCode {
        self.reason
    }

    /// Whether the server refuses.
    pub const fn is_error(self) -> bool {
        self.reason.is_error()
    }

    /// The QoS granted, by SUBACK alone.
    pub const fn granted_qos(self) -> Option<QoS> {
        match self.packet {
            PacketType::SubAck => QoS::from_value(self.reason.value()),
            _ => None,
        }
    }
}

impl fmt::Display for FilterResult {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { reason, packet } = self;
        write!(f, "{} (0x{:02X})", reason.name_in(*packet), reason.value())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_result_is_shown_by_the_name_that_its_packet_has_for_it() {
        for (reason, in_suback, in_unsuback) in [
            (
                ReasonCode::Success,
                "Granted QoS 0 (0x00)",
                "Success (0x00)",
            ),
            (
                ReasonCode::NotAuthorized,
                "Not authorized (0x87)",
                "Not authorized (0x87)",
            ),
        ] {
            let suback = FilterResult::of_suback(reason);
            let unsuback = FilterResult::of_unsuback(reason);
            assert_eq!(suback.to_string(), in_suback);
            assert_eq!(unsuback.to_string(), in_unsuback);
            assert_eq!(unsuback.granted_qos(), None);
            assert_eq!(suback.granted_qos().is_none(), suback.is_error());
        }
        let second = FilterResult::of_suback(ReasonCode::GrantedQos2);
        assert_eq!(second.to_string(), "Granted QoS 2 (0x02)");
        assert_eq!(second.granted_qos(), Some(QoS::ExactlyOnce));
    }
}
