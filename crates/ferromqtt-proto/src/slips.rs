//! Slips of real servers: what breaks the letter of the standard and is understood all the same.
//!
//! [`Options::strict`](crate::Options::strict) decides whether a slip ends the connection. What is tolerated loses,
//! duplicates and misroutes nothing; all else that breaks a rule always ends the connection.

use std::fmt;

use crate::error::DecodeError;

/// A rule that a server broke in a way that does no harm: see [`Options::strict`](crate::Options::strict).
///
/// Its `Display` says what the server did and what is made of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Slip {
    /// More QoS 1 and 2 messages are unanswered than the Receive Maximum that the client announced (MQTT-3.3.4-9). They are
    /// accepted while at most 65,535 messages, and 64 MiB of whole PUBLISH packets, are unanswered.
    ReceiveMaximumExceeded,
    /// Before 5.0: Session Present is set after Clean Session (3.1.1: MQTT-3.2.2-1). Treated as not set. 5.0 says the same as
    /// MQTT-3.2.2-4, which is always refused.
    SessionPresentAfterCleanSession,
    /// Maximum QoS is 2 in CONNACK, where the standard has 0 and 1 (5.0, section 3.2.2.3.4). Treated as absent, which means 2.
    MaximumQos2,
    /// A PUBLISH at QoS 0 has DUP set (MQTT-3.3.1-2). Treated as not set.
    DupAtQos0,
    /// Before 5.0: a Return Code of SUBACK is above 0x80 (3.1.1: MQTT-3.9.3-2). Treated as 0x80, Failure.
    SubackCode,
    /// Before 5.0: bytes follow the Packet Identifier of UNSUBACK (3.1.1, section 3.11). They are ignored.
    UnsubackPayload,
    /// Before 5.0: bytes follow the Packet Identifier of PUBACK, PUBREC, PUBREL or PUBCOMP (3.1.1, sections 3.4 to 3.7). The
    /// first is taken as the Reason Code of 5.0: from 0x80 on PUBACK and PUBREC refuse the message, and PUBCOMP leaves its
    /// delivery unknown; below they accept it.
    AckCode,
}

impl fmt::Display for Slip {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::ReceiveMaximumExceeded => {
                "more QoS 1 and 2 messages came at once than the Receive Maximum allows; they are accepted"
            }
            Self::SessionPresentAfterCleanSession => {
                "CONNACK has Session Present set after Clean Session; the session is taken to be new"
            }
            Self::MaximumQos2 => "CONNACK has Maximum QoS 2; that is taken as no limit",
            Self::DupAtQos0 => "a PUBLISH at QoS 0 has DUP set; DUP is ignored",
            Self::SubackCode => "SUBACK has a Return Code above 0x80; that is taken as 0x80",
            Self::UnsubackPayload => "UNSUBACK has bytes behind the Packet Identifier; they are ignored",
            Self::AckCode => {
                "PUBACK, PUBREC, PUBREL or PUBCOMP has bytes behind the Packet Identifier; the first one is taken as a \
                 Reason Code"
            }
        })
    }
}

/// What becomes of slips, and which ones this connection has seen.
#[derive(Debug)]
pub(crate) struct Slips {
    strict: bool,
    /// The kinds that came on this connection, in order.
    seen: Vec<Slip>,
    /// How many of those have been reported.
    reported: usize,
    /// How many slips were tolerated on all connections.
    count: u64,
}

impl Slips {
    pub(crate) const fn new(strict: bool) -> Self {
        Self {
            strict,
            seen: Vec::new(),
            reported: 0,
            count: 0,
        }
    }

    /// Each connection reports each kind once.
    pub(crate) fn connection_opened(&mut self) {
        self.seen.clear();
        self.reported = 0;
    }

    /// Notes a slip.
    ///
    /// # Errors
    /// `refusal`, where slips are not tolerated.
    #[cold]
    pub(crate) fn tolerate(&mut self, slip: Slip, refusal: DecodeError) -> Result<(), DecodeError> {
        if self.strict {
            return Err(refusal);
        }
        self.count += 1;
        if !self.seen.contains(&slip) {
            self.seen.push(slip);
        }
        Ok(())
    }

    /// Whether a kind is to be reported.
    pub(crate) const fn has_news(&self) -> bool {
        self.reported < self.seen.len()
    }

    /// The next kind that is to be reported.
    pub(crate) fn take_unreported(&mut self) -> Option<Slip> {
        let slip = *self.seen.get(self.reported)?;
        self.reported += 1;
        Some(slip)
    }

    pub(crate) const fn count(&self) -> u64 {
        self.count
    }
}
