//! What a rule cannot say.

use ferromqtt_proto::packet::{
    Ack, ConnAck, Disconnect, Packet, PacketId, PacketType, Properties, ReasonCode, SubAck,
    UnsubAck,
};
use ferromqtt_proto::{StringError, TopicError, TopicFilter, Utf8String};
use thiserror::Error;

use super::action::{CutPoint, FaultAction};
use super::plan::FaultPlan;
use super::rule::{FaultRule, FaultTimes};
use super::text::shown_action;
use crate::denied::is_allowed;
use crate::journal::BrokerSide;

const AT_LEAST_1: &str = "at least 1";

/// The longest bytes that stand for a packet.
const MOST_BYTES: usize = 1 << 20;

/// Why a [`FaultRule`] cannot be added.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum FaultError {
    /// It says where and when, and not what.
    #[error("a fault rule needs an action, such as lose, delay or cut")]
    NoAction,
    /// Two of its actions contradict each other.
    #[error(
        "{first} and {second} contradict each other in one fault rule: make two rules of them, or leave one out"
    )]
    Contradiction {
        /// The one.
        first: String,
        /// The other.
        second: String,
    },
    /// A packet of this type has no answer, or none that refuses.
    #[error(
        "a fault rule cannot refuse {packet}: only CONNECT, PUBLISH, PUBREL, SUBSCRIBE and UNSUBSCRIBE have an answer that refuses"
    )]
    NoAnswer {
        /// What it would refuse.
        packet: &'static str,
    },
    /// What the broker sends is answered by the client.
    #[error(
        "a fault rule cannot refuse what the broker sends: refuse what it receives, or replace the packet"
    )]
    RefusesOwn,
    /// The standard does not list this Reason Code for the answer.
    #[error(
        "{packet} cannot carry {reason} as a refusal: give a code of 0x80 or above that section {section} of MQTT 5.0 lists"
    )]
    ReasonCode {
        /// The packet that would carry it.
        packet: &'static str,
        /// The code.
        reason: ReasonCode,
        /// Where the codes for it are.
        section: &'static str,
    },
    /// One side never sends such a packet.
    #[error("the broker never {does} {packet}: the rule could never fire")]
    WrongSide {
        /// `sends` or `receives`.
        does: &'static str,
        /// The packet.
        packet: &'static str,
    },
    /// Packets of this type have no such thing.
    #[error("{packet} has no {what} that a fault rule could select by: the rule could never fire")]
    NoSuchField {
        /// The packet.
        packet: &'static str,
        /// What it lacks.
        what: &'static str,
    },
    /// It does not select topics by a Topic Filter.
    #[error("topic of a fault rule: {filter:?}: {error}")]
    Topic {
        /// What it has instead.
        filter: String,
        /// What is wrong with it.
        error: TopicError,
    },
    /// Its text cannot be sent.
    #[error("the text of refuse: {0}")]
    Text(StringError),
    /// A number is out of its range.
    #[error("{what} of a fault rule must be {range}, not {value}")]
    OutOfRange {
        /// Which number.
        what: &'static str,
        /// What it may be.
        range: &'static str,
        /// What it is.
        value: String,
    },
}

impl FaultError {
    pub(super) fn contradiction(first: &FaultAction, second: &FaultAction) -> Self {
        Self::Contradiction {
            first: shown_action(first),
            second: shown_action(second),
        }
    }
}

impl FaultRule {
    /// Whether the rule can be added: see [`FaultError`] for what it cannot say.
    ///
    /// # Errors
    /// The first thing that is wrong with it.
    pub fn check(&self) -> Result<(), FaultError> {
        self.plan().map(drop)
    }

    pub(crate) fn plan(&self) -> Result<FaultPlan, FaultError> {
        if self.actions.is_empty() {
            return Err(FaultError::NoAction);
        }
        self.check_place()?;
        self.check_timing()?;
        self.actions
            .iter()
            .try_for_each(|it| self.check_action(it))?;
        FaultPlan::of(&self.actions)
    }

    fn check_place(&self) -> Result<(), FaultError> {
        use PacketType::{
            Auth, ConnAck, Connect, Disconnect, PingReq, PingResp, Publish, SubAck, Subscribe,
            UnsubAck, Unsubscribe,
        };
        let place = &self.place;
        if let Some(filter) = &place.topic {
            TopicFilter::check(filter).map_err(|error| FaultError::Topic {
                filter: filter.clone(),
                error,
            })?;
        }
        if place.packet_id == Some(0) {
            let (what, range) = ("packet_id", "from 1 to 65,535");
            let value = "0".to_owned();
            return Err(FaultError::OutOfRange { what, range, value });
        }
        let Some(kind) = place.kind else {
            return Ok(());
        };
        let packet = kind.name();
        let (does, never) = match place.side {
            BrokerSide::Sends => (
                "sends",
                matches!(kind, Connect | Subscribe | Unsubscribe | PingReq),
            ),
            BrokerSide::Receives => (
                "receives",
                matches!(kind, ConnAck | SubAck | UnsubAck | PingResp),
            ),
        };
        if never {
            return Err(FaultError::WrongSide { does, packet });
        }
        let lacks = [
            (
                place.topic.is_some(),
                matches!(kind, Publish | Subscribe | Unsubscribe | Connect),
                "topic",
            ),
            (
                place.qos.is_some(),
                matches!(kind, Publish | Subscribe),
                "QoS",
            ),
            (
                place.packet_id.is_some(),
                !matches!(
                    kind,
                    Connect | ConnAck | PingReq | PingResp | Disconnect | Auth
                ),
                "Packet Identifier",
            ),
        ];
        match lacks.iter().find(|(asked, has, _)| *asked && !has) {
            Some((_, _, what)) => Err(FaultError::NoSuchField { packet, what }),
            None => Ok(()),
        }
    }

    fn check_timing(&self) -> Result<(), FaultError> {
        let timing = &self.timing;
        let probability = timing.probability;
        let wrong = if timing.nth == 0 {
            ("nth", AT_LEAST_1, "0".to_owned())
        } else if timing.times == Some(FaultTimes::Exactly(0)) {
            ("times", AT_LEAST_1, "0".to_owned())
        } else if !(0.0..=1.0).contains(&probability) {
            ("with_probability", "from 0 to 1", probability.to_string())
        } else {
            return Ok(());
        };
        let (what, range, value) = wrong;
        Err(FaultError::OutOfRange { what, range, value })
    }

    fn check_action(&self, action: &FaultAction) -> Result<(), FaultError> {
        match action {
            FaultAction::Reorder { with_next: 0 } => Err(FaultError::OutOfRange {
                what: "reorder",
                range: "at least 1 packet",
                value: "0".to_owned(),
            }),
            FaultAction::Garbage(count) if *count == 0 || *count > MOST_BYTES => {
                Err(FaultError::OutOfRange {
                    what: "garbage",
                    range: "from 1 byte to 1 MiB",
                    value: count.to_string(),
                })
            }
            FaultAction::Cut {
                at: CutPoint::AfterBytes(0),
                ..
            } => Err(FaultError::OutOfRange {
                what: "cut after_bytes",
                range: "at least 1 byte: cut before the packet instead",
                value: "0".to_owned(),
            }),
            FaultAction::Replace(bytes) if bytes.len() > MOST_BYTES => {
                Err(FaultError::OutOfRange {
                    what: "the length of replace",
                    range: "at most 1 MiB",
                    value: bytes.len().to_string(),
                })
            }
            FaultAction::Refuse { reason, text } => {
                let text = text.as_deref().unwrap_or_default();
                Utf8String::check(text).map_err(FaultError::Text)?;
                self.check_refusal(*reason)
            }
            FaultAction::Disconnect(reason) => {
                let packet = Packet::Disconnect(Box::new(Disconnect::because(*reason)));
                check_reason("DISCONNECT", "3.14.2.1", *reason, &packet)
            }
            _ => Ok(()),
        }
    }

    fn check_refusal(&self, reason: ReasonCode) -> Result<(), FaultError> {
        if self.place.side == BrokerSide::Sends {
            return Err(FaultError::RefusesOwn);
        }
        let Some(kind) = self.place.kind else {
            return Err(FaultError::NoAnswer {
                packet: "packets of any type",
            });
        };
        let properties = Properties::default();
        let packet_id = PacketId::MIN;
        let (name, section, answer) = match kind {
            PacketType::Connect => {
                let connack = ConnAck {
                    session_present: false,
                    reason,
                    properties,
                };
                ("CONNACK", "3.2.2.2", Packet::ConnAck(Box::new(connack)))
            }
            PacketType::Publish => {
                let ack = Ack::new(packet_id, reason);
                ("PUBACK", "3.4.2.1", Packet::PubAck(ack))
            }
            PacketType::PubRel => {
                let ack = Ack::new(packet_id, reason);
                ("PUBCOMP", "3.7.2.1", Packet::PubComp(ack))
            }
            PacketType::Subscribe => {
                let suback = SubAck {
                    packet_id,
                    properties,
                    reasons: vec![reason],
                };
                ("SUBACK", "3.9.3", Packet::SubAck(Box::new(suback)))
            }
            PacketType::Unsubscribe => {
                let unsuback = UnsubAck {
                    packet_id,
                    properties,
                    reasons: vec![reason],
                };
                ("UNSUBACK", "3.11.3", Packet::UnsubAck(Box::new(unsuback)))
            }
            other => {
                return Err(FaultError::NoAnswer {
                    packet: other.name(),
                });
            }
        };
        check_reason(name, section, reason, &answer)
    }
}

/// Whether a packet can carry a Reason Code that refuses: the codec knows which those are.
fn check_reason(
    packet: &'static str,
    section: &'static str,
    reason: ReasonCode,
    answer: &Packet,
) -> Result<(), FaultError> {
    if reason.is_error() && is_allowed(answer) {
        return Ok(());
    }
    Err(FaultError::ReasonCode {
        packet,
        reason,
        section,
    })
}
