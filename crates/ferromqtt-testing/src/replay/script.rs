//! A recording as the steps of a play.

use std::collections::HashMap;
use std::fmt;
use std::time::{Duration, Instant};

use bytes::Bytes;
use ferromqtt_proto::packet::{self, Packet, PacketId, ProtocolVersion, QoS};
use ferromqtt_recording::{ClosedBy, Receiver, RecordedEvent, RecordedPacket, Recording};

use super::error::ReplayError;

/// A line of the recording.
#[derive(Debug)]
pub(super) struct ScriptStep {
    pub(super) line: usize,
    pub(super) at: Duration,
    /// Which of [`Script::links`].
    pub(super) link: usize,
    pub(super) action: Action,
    /// When the client did its part, which may be before the play has come to it.
    pub(super) met: Option<Instant>,
}

/// What happens at a step.
pub(super) enum Action {
    /// The client opens the link.
    Open,
    /// The client sends this. `actual` is the Packet Identifier that it has now.
    Expect {
        packet: Packet,
        /// The step that PUBREL follows.
        owner: Option<usize>,
        actual: Option<PacketId>,
    },
    /// The server sends this. `owner` is the step whose packet it acknowledges.
    Send {
        bytes: Bytes,
        packet: Option<Packet>,
        owner: Option<usize>,
    },
    /// One side closes the link.
    Close(ClosedBy),
    /// Nothing that is played.
    Skip,
}

/// Without the bytes, which hold payloads.
impl fmt::Debug for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Open => f.write_str("Open"),
            Self::Expect { packet, .. } => f.debug_tuple("Expect").field(packet).finish(),
            Self::Send { packet, .. } => f.debug_tuple("Send").field(packet).finish(),
            Self::Close(by) => f.debug_tuple("Close").field(by).finish(),
            Self::Skip => f.write_str("Skip"),
        }
    }
}

/// A link of the recording.
#[derive(Debug)]
pub(super) struct ScriptLink {
    /// The Client Identifier in CONNECT; none without CONNECT.
    pub(super) connects_as: Option<String>,
    pub(super) version: ProtocolVersion,
}

#[derive(Debug)]
pub(super) struct Script {
    pub(super) steps: Vec<ScriptStep>,
    pub(super) links: Vec<ScriptLink>,
}

impl Script {
    pub(super) fn new(recording: &Recording) -> Result<Self, ReplayError> {
        if !recording.has_payloads() {
            return Err(ReplayError::NoPayloads);
        }
        let mut script = Self {
            steps: Vec::new(),
            links: Vec::new(),
        };
        let mut places = HashMap::new();
        let mut owners = Owners::default();
        for entry in recording.entries() {
            let link = *places.entry(entry.link).or_insert(script.links.len());
            if link == script.links.len() {
                script.links.push(ScriptLink {
                    connects_as: None,
                    version: ProtocolVersion::V311,
                });
            }
            let action = match &entry.event {
                RecordedEvent::Opened => Action::Open,
                RecordedEvent::Closed(by) => Action::Close(*by),
                RecordedEvent::Packet(packet) => {
                    let unplayable = |problem| ReplayError::Unplayable {
                        line: entry.line,
                        problem,
                    };
                    let index = script.steps.len();
                    let recorded = (script.links[link]).action(packet).map_err(unplayable)?;
                    owners.assign(index, &script.links[link], link, recorded)
                }
                _ => Action::Skip,
            };
            script.steps.push(ScriptStep {
                line: entry.line,
                at: entry.at,
                link,
                action,
                met: None,
            });
        }
        Ok(script)
    }
}

impl ScriptLink {
    /// What is the same for all links of a client: its identifier, or the number of the link of one that has none.
    pub(super) fn client_key(&self, number: usize) -> String {
        match self.connects_as.as_deref() {
            Some("") | None => format!("\0{number}"), // no Client Identifier has a zero
            Some(client) => client.to_owned(),
        }
    }

    fn action(&mut self, recorded: &RecordedPacket) -> Result<Action, &'static str> {
        let decoded = match &recorded.bytes {
            Some(bytes) if recorded.is_whole => {
                // CONNECT names its own version.
                let packet = packet::decode_tolerantly(bytes, &mut 0, self.version);
                Some(packet.map_err(|_| "its `bytes` are no packet of MQTT")?)
            }
            _ => None,
        };
        match (recorded.to, &recorded.bytes, decoded) {
            // A client that says so ends the link anyhow, or goes on.
            (Receiver::Server, _, None) => Ok(Action::Skip),
            // Keep Alive depends on the time of day, and is answered whenever it comes.
            (_, _, Some(Packet::PingReq | Packet::PingResp)) => Ok(Action::Skip),
            (Receiver::Server, _, Some(packet)) => {
                if let Packet::Connect(connect) = &packet {
                    self.version = connect.protocol;
                    self.connects_as = Some(connect.client_identifier.to_string());
                }
                Ok(Action::Expect {
                    packet,
                    owner: None,
                    actual: None,
                })
            }
            (Receiver::Client, Some(bytes), packet) => Ok(Action::Send {
                bytes: bytes.clone(),
                packet,
                owner: None,
            }),
            (Receiver::Client, None, _) => Err("the packet was not recorded as a whole"),
        }
    }
}

/// Which step has begun the exchange with a Packet Identifier, for each client, also across its links.
#[derive(Default)]
struct Owners(HashMap<(String, PacketId), usize>);

impl Owners {
    fn assign(&mut self, index: usize, link: &ScriptLink, number: usize, action: Action) -> Action {
        let client = link.client_key(number);
        match action {
            Action::Expect { packet, .. } => {
                let mut owner = None;
                if let Some((packet_id, begins)) = own_id(&packet) {
                    let key = (client, packet_id);
                    owner = self.0.get(&key).copied().filter(|_| !begins);
                    if owner.is_none() {
                        self.0.insert(key, index);
                    }
                }
                Action::Expect {
                    packet,
                    owner,
                    actual: None,
                }
            }
            Action::Send { bytes, packet, .. } => {
                let answered = packet.as_ref().and_then(answered_id);
                let owner = answered.and_then(|id| self.0.get(&(client, id)).copied());
                Action::Send {
                    bytes,
                    packet,
                    owner,
                }
            }
            other => other,
        }
    }
}

/// The Packet Identifier that the client has chosen for its packet, and whether that begins an exchange.
pub(super) fn own_id(packet: &Packet) -> Option<(PacketId, bool)> {
    match packet {
        Packet::Publish(publish) => publish.packet_id.map(|id| (id, true)),
        Packet::Subscribe(subscribe) => Some((subscribe.packet_id, true)),
        Packet::Unsubscribe(unsubscribe) => Some((unsubscribe.packet_id, true)),
        Packet::PubRel(ack) => Some((ack.packet_id, false)),
        _ => None,
    }
}

/// The Packet Identifier of the client that a packet of the server answers.
const fn answered_id(packet: &Packet) -> Option<PacketId> {
    match packet {
        Packet::PubAck(ack) | Packet::PubRec(ack) | Packet::PubComp(ack) => Some(ack.packet_id),
        Packet::SubAck(suback) => Some(suback.packet_id),
        Packet::UnsubAck(unsuback) => Some(unsuback.packet_id),
        _ => None,
    }
}

/// The same packet with another Packet Identifier, if it is an answer.
pub(super) fn answering(packet: &Packet, packet_id: PacketId) -> Packet {
    let mut packet = packet.clone();
    match &mut packet {
        Packet::PubAck(ack) | Packet::PubRec(ack) | Packet::PubComp(ack) => {
            ack.packet_id = packet_id;
        }
        Packet::SubAck(suback) => suback.packet_id = packet_id,
        Packet::UnsubAck(unsuback) => unsuback.packet_id = packet_id,
        _ => {}
    }
    packet
}

/// Packets of a client that follow each other in order. Acknowledgements of one type do (MQTT-4.6.0-2 to 4), and so do the
/// packets that begin something; between these lanes the order is a matter of time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ClientLane {
    Requests,
    PubAck,
    PubRec,
    PubRel,
    PubComp,
}

pub(super) const fn lane_of(packet: &Packet) -> ClientLane {
    match packet {
        Packet::PubAck(_) => ClientLane::PubAck,
        Packet::PubRec(_) => ClientLane::PubRec,
        Packet::PubRel(_) => ClientLane::PubRel,
        Packet::PubComp(_) => ClientLane::PubComp,
        _ => ClientLane::Requests,
    }
}

/// Whether two packets of a client are the same step of a program: by type, topic or filters, and QoS. Payloads, flags and
/// properties may differ.
pub(super) fn is_same(recorded: &Packet, came: &Packet) -> bool {
    match (recorded, came) {
        (Packet::Publish(one), Packet::Publish(two)) => {
            (&one.topic, one.qos) == (&two.topic, two.qos)
        }
        (Packet::Subscribe(one), Packet::Subscribe(two)) => {
            let filters = |it: &packet::SubscribePacket| -> Vec<(String, QoS)> {
                let filters = it.filters.iter();
                filters
                    .map(|(filter, options)| (filter.to_owned(), options.qos))
                    .collect()
            };
            filters(one) == filters(two)
        }
        (Packet::Unsubscribe(one), Packet::Unsubscribe(two)) => {
            one.filters.iter().eq(two.filters.iter())
        }
        // An acknowledgement says whether the message goes on.
        (Packet::PubRec(one), Packet::PubRec(two)) => {
            one.reason.is_error() == two.reason.is_error()
        }
        (Packet::Connect(one), Packet::Connect(two)) => one.protocol == two.protocol,
        _ => std::mem::discriminant(recorded) == std::mem::discriminant(came),
    }
}
