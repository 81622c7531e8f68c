//! A record of each packet, for logs and for tools: what it is, and not what is in it.
//!
//! Records are made of the bytes that go by, and not where packets are encoded and decoded: a client that keeps none pays for
//! one branch a chunk, however many packets that holds.

use std::collections::VecDeque;
use std::fmt;
use std::time::Instant;

use crate::codec::FixedHeader;
use crate::debug_fields;
use crate::packet::{PacketId, PacketType, ProtocolVersion, QoS, ReasonCode, from_return_code};
use crate::shown::{Length, PeerText};

/// How many records are kept for a driver that does not take them. A batch of the smallest packets holds fewer.
const KEPT: usize = 32_768;

/// Where a packet went, or where messages go: [each row of the journal](crate::JournalEntry::direction) has one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// From this client to the server.
    Sent,
    /// From the server to this client.
    Received,
}

/// A packet that was handed to the transport, or came from it. From [`Client::poll_packet`](crate::Client::poll_packet).
///
/// It holds no payload, no property, no User Name and nothing that authenticates. Its text is a line for a log:
/// `sent PUBLISH (27 bytes, id 7, QoS 1, topic "a/b", payload 12 bytes)`.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct PacketRecord {
    /// When: the time of the call in which it was handed over or came.
    pub at: Instant,
    /// Where it went.
    pub direction: Direction,
    /// Its type.
    pub packet_type: PacketType,
    /// Length of the whole packet.
    pub bytes: usize,
    /// Packet Identifier, if it has one.
    pub packet_id: Option<PacketId>,
    /// Reason Code, if it has one; before 5.0 that of the same meaning. Of several (SUBACK, UNSUBACK) the largest, which is a
    /// failure if one is.
    pub reason: Option<ReasonCode>,
    /// What else there is to say of a PUBLISH.
    pub publish: Option<PublishRecord>,
}

/// What there is to say of a PUBLISH.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct PublishRecord {
    /// Topic Name; empty where a Topic Alias stands for it.
    pub topic: Box<str>,
    /// Quality of Service.
    pub qos: QoS,
    /// Sent before.
    pub dup: bool,
    /// Retain flag.
    pub retain: bool,
    /// Length of the payload.
    pub payload_len: usize,
}

impl fmt::Display for PacketRecord {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let direction = match self.direction {
            Direction::Sent => "sent",
            Direction::Received => "received",
        };
        let name = self.packet_type.name();
        write!(f, "{direction} {name} ({:?}", Length(self.bytes))?;
        if let Some(packet_id) = self.packet_id {
            write!(f, ", id {packet_id}")?;
        }
        if let Some(reason) = self.reason {
            let name = reason.name_in(self.packet_type);
            write!(f, ", 0x{:02X} {name}", reason.value())?;
        }
        if let Some(publish) = &self.publish {
            write!(f, ", QoS {}", publish.qos.value())?;
            for (flag, name) in [(publish.dup, "DUP"), (publish.retain, "RETAIN")] {
                if flag {
                    write!(f, ", {name}")?;
                }
            }
            let topic = PeerText(&publish.topic);
            write!(
                f,
                ", topic {topic:?}, payload {:?}",
                Length(publish.payload_len)
            )?;
        }
        f.write_str(")")
    }
}

/// The records that nobody has taken yet.
#[derive(Debug, Default)]
pub(crate) struct PacketTrace {
    records: VecDeque<PacketRecord>,
    left_out: u64,
    sending: Sending,
}

/// How far the packet has come that is being handed over.
#[derive(Default)]
struct Sending {
    /// Its beginning, while that is not enough for a record.
    front: Vec<u8>,
    /// How many bytes of it are still to come, behind those that were enough.
    rest: usize,
}

debug_fields!(Sending {
    front: length,
    rest
});

impl PacketTrace {
    /// A transport was opened: no packet is under way.
    pub(crate) fn connection_opened(&mut self) {
        self.sending = Sending::default();
    }

    /// These bytes go to the transport next.
    pub(crate) fn sent(&mut self, now: Instant, version: ProtocolVersion, mut bytes: &[u8]) {
        loop {
            let Sending { front, rest } = &mut self.sending;
            let skipped = bytes.len().min(*rest);
            *rest -= skipped;
            bytes = &bytes[skipped..];
            if bytes.is_empty() {
                return;
            }
            let had = front.len();
            let looked_at = if had == 0 {
                look_at(bytes, version)
            } else {
                front.extend_from_slice(&bytes[..bytes.len().min(LONGEST_FRONT - had)]);
                look_at(front, version)
            };
            let Some((packet_len, contents)) = looked_at else {
                if had == 0 {
                    front.extend_from_slice(bytes);
                }
                return; // what comes next says more
            };
            front.clear();
            *rest = packet_len - had;
            self.push(now, Direction::Sent, contents);
        }
    }

    /// These whole packets have come.
    pub(crate) fn received(&mut self, now: Instant, version: ProtocolVersion, mut bytes: &[u8]) {
        while let Some(header) = header(bytes) {
            let (packet, rest) = bytes.split_at(header.packet_len().min(bytes.len()));
            bytes = rest;
            self.push(now, Direction::Received, read(header, packet, version));
        }
    }

    fn push(&mut self, at: Instant, direction: Direction, contents: Option<PacketSummary>) {
        let Some(contents) = contents else {
            return; // no packet of MQTT, which ends the connection
        };
        if self.records.len() >= KEPT {
            self.left_out += 1;
            return;
        }
        let PacketSummary {
            packet_type,
            bytes,
            packet_id,
            reason,
            publish,
        } = contents;
        self.records.push_back(PacketRecord {
            at,
            direction,
            packet_type,
            bytes,
            packet_id,
            reason,
            publish,
        });
    }

    pub(crate) fn poll(&mut self) -> Option<PacketRecord> {
        self.records.pop_front()
    }

    pub(crate) fn take_left_out(&mut self) -> u64 {
        std::mem::take(&mut self.left_out)
    }
}

/// More bytes of a packet are never needed: a fixed header, a topic of the largest size, an identifier, and the length of the
/// properties.
const LONGEST_FRONT: usize = 5 + 2 + 65_535 + 2 + 4;

/// What a packet says of itself.
struct PacketSummary {
    packet_type: PacketType,
    bytes: usize,
    packet_id: Option<PacketId>,
    reason: Option<ReasonCode>,
    publish: Option<PublishRecord>,
}

fn header(bytes: &[u8]) -> Option<FixedHeader> {
    FixedHeader::read(bytes).ok().flatten()
}

/// The length of the packet at the front of `bytes`, and what it says of itself; `None` while that takes more bytes.
fn look_at(bytes: &[u8], version: ProtocolVersion) -> Option<(usize, Option<PacketSummary>)> {
    let header = header(bytes)?;
    let packet_len = header.packet_len();
    let there = &bytes[..packet_len.min(bytes.len())];
    let contents = read(header, there, version);
    let may_say_more = there.len() < packet_len && there.len() < LONGEST_FRONT;
    (contents.is_some() || !may_say_more).then_some((packet_len, contents))
}

/// Reads the front of a packet. `None` when it is too short, or no packet.
fn read(header: FixedHeader, packet: &[u8], version: ProtocolVersion) -> Option<PacketSummary> {
    let packet_type = PacketType::from_first_byte(header.first_byte)?;
    let mut contents = PacketSummary {
        packet_type,
        bytes: header.packet_len(),
        packet_id: None,
        reason: None,
        publish: None,
    };
    let mut body = Front(&packet[header.header_len..]);
    let v5 = version.is_v5();
    match packet_type {
        PacketType::Publish => {
            let topic = body.field()?;
            let qos = QoS::from_value(header.first_byte >> 1 & 3)?;
            if qos != QoS::AtMostOnce {
                contents.packet_id = body.packet_id()?;
            }
            let mut read = body.read_of(&packet[header.header_len..]);
            if v5 {
                let properties = body.var_int()?;
                read = body.read_of(&packet[header.header_len..]) + properties;
            }
            contents.publish = Some(PublishRecord {
                topic: String::from_utf8_lossy(topic).into(),
                qos,
                dup: header.first_byte & 8 != 0,
                retain: header.first_byte & 1 != 0,
                payload_len: header.remaining_length.checked_sub(read)?,
            });
        }
        PacketType::PubAck | PacketType::PubRec | PacketType::PubRel | PacketType::PubComp => {
            contents.packet_id = body.packet_id()?;
            if header.remaining_length > 2 {
                contents.reason = ReasonCode::from_value(body.u8()?);
            } else if v5 {
                contents.reason = Some(ReasonCode::Success);
            }
        }
        PacketType::Subscribe | PacketType::Unsubscribe => {
            contents.packet_id = body.packet_id()?;
        }
        PacketType::SubAck | PacketType::UnsubAck => {
            contents.packet_id = body.packet_id()?;
            if v5 {
                let properties = body.var_int()?;
                body.skip(properties)?;
            }
            contents.reason = (body.0.iter().max()).and_then(|&code| ReasonCode::from_value(code));
        }
        PacketType::ConnAck => {
            body.skip(1)?;
            let code = body.u8()?;
            contents.reason = match v5 {
                true => ReasonCode::from_value(code),
                false => Some(from_return_code(code)),
            };
        }
        PacketType::Disconnect | PacketType::Auth if v5 => {
            contents.reason = match header.remaining_length {
                0 => Some(ReasonCode::Success),
                _ => ReasonCode::from_value(body.u8()?),
            };
        }
        PacketType::Connect
        | PacketType::PingReq
        | PacketType::PingResp
        | PacketType::Disconnect
        | PacketType::Auth => {}
    }
    Some(contents)
}

/// The bytes of a body that have not been read.
struct Front<'a>(&'a [u8]);

impl<'a> Front<'a> {
    fn take(&mut self, count: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(count)?;
        self.0 = rest;
        Some(taken)
    }

    fn skip(&mut self, count: usize) -> Option<()> {
        self.take(count).map(drop)
    }

    fn u8(&mut self) -> Option<u8> {
        self.take(1).map(|bytes| bytes[0])
    }

    fn u16(&mut self) -> Option<u16> {
        self.take(2)
            .map(|bytes| u16::from_be_bytes([bytes[0], bytes[1]]))
    }

    /// An identifier of 0, which MQTT forbids, is none.
    fn packet_id(&mut self) -> Option<Option<PacketId>> {
        self.u16().map(PacketId::new)
    }

    fn field(&mut self) -> Option<&'a [u8]> {
        let length = self.u16()?;
        self.take(length.into())
    }

    fn var_int(&mut self) -> Option<usize> {
        let mut value = 0;
        for index in 0..4 {
            let byte = self.u8()?;
            value |= usize::from(byte & 0x7f) << (7 * index);
            if byte & 0x80 == 0 {
                return Some(value);
            }
        }
        None
    }

    /// How many bytes of `whole` have been read.
    const fn read_of(&self, whole: &[u8]) -> usize {
        whole.len() - self.0.len()
    }
}
