//! A rule for faults, as data.

use std::time::Duration;

use ferromqtt_proto::packet::{PacketType, QoS};

use super::action::FaultAction;
use crate::journal::BrokerSide;

/// A fault on demand: *where* x *when* x *what*.
///
/// It is plain data: whether it makes sense is checked when it is added, or by [`FaultRule::check`].
///
/// Made by [`FaultRule::sends`] or [`FaultRule::receives`] and the words behind them, or field by field. Its text
/// (`Display`, [`FromStr`](std::str::FromStr)) reads `sends PUBACK nth 3 lose`.
///
/// Each packet is held against the rules in the order in which they were added. Every rule counts the packets that match it;
/// the first whose turn it is acts on the packet, and those behind it keep their turn for the next one.
///
/// ```
/// use std::time::{Duration, Instant};
/// use ferromqtt_proto::packet::PacketType;
/// use ferromqtt_testing::{Broker, BrokerOptions, FaultRule};
///
/// let mut broker = Broker::new(BrokerOptions::default());
/// let now = Instant::now();
/// let rule = FaultRule::sends(PacketType::PubAck).nth(3).lose().cut();
/// assert_eq!(rule.to_string(), "sends PUBACK nth 3 lose, cut");
/// assert_eq!("sends PUBACK nth 3 lose, cut".parse(), Ok(rule.clone()));
/// broker.add_fault(now, rule)?;
/// broker.add_fault(now, FaultRule::receives(PacketType::Publish).topic("slow/#").always().delay(Duration::from_secs(2)))?;
/// # Ok::<_, Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct FaultRule {
    /// Which packets.
    pub place: FaultPlace,
    /// Which of them.
    pub timing: FaultTiming,
    /// What happens to them. A rule without actions cannot be added.
    pub actions: Vec<FaultAction>,
}

/// Which packets a [`FaultRule`] matches: all that fit every field that is set.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct FaultPlace {
    /// Whether the broker sends or receives them.
    pub side: BrokerSide,
    /// Their type; `None` for packets of any type.
    pub kind: Option<PacketType>,
    /// The Client Identifier of the client.
    pub client: Option<String>,
    /// A Topic Filter that must match the topic of PUBLISH, one of the filters of SUBSCRIBE or UNSUBSCRIBE, read as if it
    /// were a topic, or the topic of the will in CONNECT.
    pub topic: Option<String>,
    /// The QoS of PUBLISH, or the highest that SUBSCRIBE asks for.
    pub qos: Option<QoS>,
    /// Packet Identifier.
    pub packet_id: Option<u16>,
}

/// Which of the packets that match a [`FaultRule`] are its turn. The default is the first one.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct FaultTiming {
    /// It begins with the packet of this number, counting from 1 those that match.
    pub nth: u32,
    /// How often it fires. `None` is once, and with a probability below 1 at every packet.
    pub times: Option<FaultTimes>,
    /// It ignores packets that come earlier than this after it was added.
    pub after: Duration,
    /// How likely it fires at each packet that is its turn, from 0 to 1. Drawn from the broker's seed.
    pub probability: f64,
    /// Whether it may end unused: [`Broker::unused_faults`](crate::Broker::unused_faults) leaves it out.
    pub optional: bool,
    /// It was said to fire so many times, and always, which [`FaultRule::check`] refuses.
    pub(crate) both_times: Option<u32>,
}

/// How often a [`FaultRule`] fires.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum FaultTimes {
    /// So many times.
    Exactly(u32),
    /// At every packet.
    Always,
}

impl Default for FaultTiming {
    fn default() -> Self {
        Self {
            nth: 1,
            times: None,
            after: Duration::ZERO,
            probability: 1.0,
            optional: false,
            both_times: None,
        }
    }
}

impl FaultTiming {
    pub(crate) fn set_times(&mut self, times: FaultTimes) {
        self.both_times = match (self.times, times) {
            (Some(FaultTimes::Always), FaultTimes::Exactly(number))
            | (Some(FaultTimes::Exactly(number)), FaultTimes::Always) => Some(number),
            _ => self.both_times,
        };
        self.times = Some(times);
    }

    /// How often it fires at most; `None` is without a bound.
    pub(crate) fn most(&self) -> Option<u32> {
        match self.times {
            Some(FaultTimes::Exactly(times)) => Some(times),
            Some(FaultTimes::Always) => None,
            None => (self.probability >= 1.0).then_some(1),
        }
    }

    /// Whether it is a mistake when the rule never fires.
    pub(crate) fn is_expected(&self) -> bool {
        self.times != Some(FaultTimes::Always) && self.probability >= 1.0 && !self.optional
    }
}

impl FaultRule {
    /// A rule for packets of this type that the broker sends; `None` for any.
    pub fn sends(kind: impl Into<Option<PacketType>>) -> Self {
        Self::at(BrokerSide::Sends, kind.into())
    }

    /// A rule for packets of this type that the broker receives; `None` for any.
    pub fn receives(kind: impl Into<Option<PacketType>>) -> Self {
        Self::at(BrokerSide::Receives, kind.into())
    }

    pub(crate) fn at(side: BrokerSide, kind: Option<PacketType>) -> Self {
        Self {
            place: FaultPlace {
                side,
                kind,
                client: None,
                topic: None,
                qos: None,
                packet_id: None,
            },
            timing: FaultTiming::default(),
            actions: Vec::new(),
        }
    }
}
