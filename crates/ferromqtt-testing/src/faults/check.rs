//! What a rule cannot say.

use ferromqtt_proto::packet::{Disconnect, Packet, PacketType, QoS, ReasonCode};
use ferromqtt_proto::{StringError, TopicError, TopicFilter, Utf8String};
use thiserror::Error;

use super::action::{CutPoint, FaultAction};
use super::plan::FaultPlan;
use super::rule::{FaultRule, FaultTimes};
use super::text::shown_action;
use crate::journal::BrokerSide;
use crate::refusal::{check_reason, refusal};

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
    /// The broker replays a recording.
    #[error(
        "a broker that replays a recording makes no faults: it plays what was recorded; use a broker of its own for them"
    )]
    Replaying,
    /// Two of its actions contradict each other, or its `times` and `always`.
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
    /// Its topic is a filter that no topic matches.
    #[error(
        "topic of a fault rule: {filter:?} is the filter of a Shared Subscription, which no topic matches: give the filter behind the share's name, or make the rule for SUBSCRIBE"
    )]
    SharedTopic {
        /// The filter.
        filter: String,
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
    fn out_of_range(
        what: &'static str,
        range: &'static str,
        value: impl ToString,
    ) -> Result<(), Self> {
        let value = value.to_string();
        Err(Self::OutOfRange { what, range, value })
    }

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
        if let Some(filter) = &place.topic
            && filter.starts_with("$share/")
            && match place.kind {
                Some(kind) => matches!(kind, Publish | Connect),
                None => place.side == BrokerSide::Sends,
            }
        {
            let filter = filter.clone();
            return Err(FaultError::SharedTopic { filter });
        }
        if place.packet_id == Some(0) {
            return FaultError::out_of_range("packet_id", "from 1 to 65,535", 0);
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
        if kind == Publish && place.qos == Some(QoS::AtMostOnce) && place.packet_id.is_some() {
            return Err(FaultError::NoSuchField {
                packet: "PUBLISH of QoS 0",
                what: "Packet Identifier",
            });
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
        if let Some(times) = timing.both_times {
            let first = "always".to_owned();
            let second = format!("times {times}");
            return Err(FaultError::Contradiction { first, second });
        }
        if timing.nth == 0 {
            return FaultError::out_of_range("nth", AT_LEAST_1, 0);
        }
        if timing.times == Some(FaultTimes::Exactly(0)) {
            return FaultError::out_of_range("times", AT_LEAST_1, 0);
        }
        if !(0.0..=1.0).contains(&probability) {
            return FaultError::out_of_range("with_probability", "from 0 to 1", probability);
        }
        Ok(())
    }

    fn check_action(&self, action: &FaultAction) -> Result<(), FaultError> {
        match action {
            FaultAction::Reorder { with_next: 0 } => {
                FaultError::out_of_range("reorder", "at least 1 packet", 0)
            }
            FaultAction::Garbage(count) if *count == 0 || *count > MOST_BYTES => {
                FaultError::out_of_range("garbage", "from 1 byte to 1 MiB", count)
            }
            FaultAction::Cut {
                at: CutPoint::AfterBytes(0),
                ..
            } => {
                let range = "at least 1 byte: cut before the packet instead";
                FaultError::out_of_range("cut after_bytes", range, 0)
            }
            FaultAction::Replace(bytes) if bytes.len() > MOST_BYTES => {
                FaultError::out_of_range("the length of replace", "at most 1 MiB", bytes.len())
            }
            FaultAction::Refuse { reason, text } => {
                let text = text.as_deref().unwrap_or_default();
                Utf8String::check(text).map_err(FaultError::Text)?;
                self.check_refusal(*reason)
            }
            FaultAction::Disconnect(reason) => {
                let packet = Packet::Disconnect(Box::new(Disconnect::because(*reason)));
                check_refused(&packet, *reason)
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
        let packet = kind.name();
        let answer = refusal(kind, reason).ok_or(FaultError::NoAnswer { packet })?;
        check_refused(&answer, reason)
    }
}

fn check_refused(answer: &Packet, reason: ReasonCode) -> Result<(), FaultError> {
    check_reason(answer, reason).map_err(|section| FaultError::ReasonCode {
        packet: answer.packet_type().name(),
        reason,
        section,
    })
}
