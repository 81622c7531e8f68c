//! The packets of MQTT 3.1, 3.1.1 and 5.0: one type each, whose coding takes the [`ProtocolVersion`].
//!
//! Clients and servers use the same types: [`decode`] reads what either side may send, and [`Packet::encode`] writes it.

mod ack;
mod auth;
mod connack;
mod connect;
mod disconnect;
mod filters;
mod properties;
mod property_place;
mod property_value;
mod publish;
mod reason_code;
mod subscribe;
mod subscription_identifiers;
mod unsubscribe;
mod user_properties;

use std::fmt;
use std::num::NonZeroU16;

use bytes::{BufMut, Bytes, BytesMut};

pub use ack::Ack;
pub use auth::Auth;
pub use connack::ConnAck;
pub(crate) use connack::from_return_code;
pub use connect::{Connect, Will};
pub use disconnect::Disconnect;
pub use filters::{SubscribeFilters, UnsubscribeFilters};
pub use properties::Properties;
#[doc(hidden)] // for the clients of this workspace that have another type of properties
pub use properties::{PropertyRow, property_table};
pub(crate) use properties::{check_binary, read_boxed};
pub(crate) use property_place::PropertyPlace;
#[doc(hidden)]
pub use property_value::PropertyKind;
pub use property_value::TopicAlias;
pub use publish::{MESSAGE_OVERHEAD, PublishPacket, PublishRef};
pub use reason_code::ReasonCode;
pub use subscribe::{RetainHandling, SubAck, SubscribePacket, SubscriptionOptions};
pub use subscription_identifiers::SubscriptionIdentifiers;
pub use unsubscribe::{UnsubAck, UnsubscribePacket};
pub use user_properties::{UserProperties, UserPropertiesIter};

use crate::codec::{BodyReader, FixedHeader, put_with_length, var_int_len};
use crate::error::DecodeError;
use crate::slips::Slips;

/// A Packet Identifier (section 2.2.1): never zero.
pub type PacketId = NonZeroU16;

/// The version of MQTT that a connection speaks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ProtocolVersion {
    /// MQTT 3.1: protocol name `MQIsdp`, level 3; otherwise treated as 3.1.1.
    V31,
    /// MQTT 3.1.1, level 4.
    V311,
    /// MQTT 5.0.
    #[default]
    V5,
}

impl ProtocolVersion {
    /// The Protocol Version byte of CONNECT (section 3.1.2.2).
    pub const fn level(self) -> u8 {
        match self {
            Self::V31 => 3,
            Self::V311 => 4,
            Self::V5 => 5,
        }
    }

    /// Whether packets have properties and Reason Codes.
    pub const fn is_v5(self) -> bool {
        matches!(self, Self::V5)
    }
}

/// Its number: `3.1`, `3.1.1` or `5.0`.
impl fmt::Display for ProtocolVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::V31 => "3.1",
            Self::V311 => "3.1.1",
            Self::V5 => "5.0",
        })
    }
}

/// Quality of Service (section 4.3).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum QoS {
    /// At most once: sent, never acknowledged.
    #[default]
    AtMostOnce = 0,
    /// At least once: acknowledged by PUBACK.
    AtLeastOnce = 1,
    /// Exactly once: PUBREC, PUBREL, PUBCOMP.
    ExactlyOnce = 2,
}

impl QoS {
    /// The QoS with this number: 0, 1 or 2.
    pub const fn from_value(value: u8) -> Option<Self> {
        match value {
            0 => Some(Self::AtMostOnce),
            1 => Some(Self::AtLeastOnce),
            2 => Some(Self::ExactlyOnce),
            _ => None,
        }
    }

    /// The number of this QoS.
    pub const fn value(self) -> u8 {
        self as u8
    }
}

/// The type of a packet: the high four bits of its first byte (table 2-1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
#[allow(
    missing_docs,
    reason = "the names are the standard's, and each type has a struct of its own"
)]
pub enum PacketType {
    Connect = 1,
    ConnAck = 2,
    Publish = 3,
    PubAck = 4,
    PubRec = 5,
    PubRel = 6,
    PubComp = 7,
    Subscribe = 8,
    SubAck = 9,
    Unsubscribe = 10,
    UnsubAck = 11,
    PingReq = 12,
    PingResp = 13,
    Disconnect = 14,
    Auth = 15,
}

impl PacketType {
    /// All of them, in the order of their numbers.
    pub const ALL: [Self; 15] = [
        Self::Connect,
        Self::ConnAck,
        Self::Publish,
        Self::PubAck,
        Self::PubRec,
        Self::PubRel,
        Self::PubComp,
        Self::Subscribe,
        Self::SubAck,
        Self::Unsubscribe,
        Self::UnsubAck,
        Self::PingReq,
        Self::PingResp,
        Self::Disconnect,
        Self::Auth,
    ];

    /// Its name in the standard, such as `CONNACK`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Connect => "CONNECT",
            Self::ConnAck => "CONNACK",
            Self::Publish => "PUBLISH",
            Self::PubAck => "PUBACK",
            Self::PubRec => "PUBREC",
            Self::PubRel => "PUBREL",
            Self::PubComp => "PUBCOMP",
            Self::Subscribe => "SUBSCRIBE",
            Self::SubAck => "SUBACK",
            Self::Unsubscribe => "UNSUBSCRIBE",
            Self::UnsubAck => "UNSUBACK",
            Self::PingReq => "PINGREQ",
            Self::PingResp => "PINGRESP",
            Self::Disconnect => "DISCONNECT",
            Self::Auth => "AUTH",
        }
    }

    /// The type that the high four bits of a packet's first byte name. `None` for 0, which is reserved (table 2-1).
    ///
    /// The low four bits are not looked at: whether they are right is for [`decode`] to say.
    pub const fn from_first_byte(first_byte: u8) -> Option<Self> {
        match first_byte >> 4 {
            0 => None,
            number => Some(Self::ALL[number as usize - 1]),
        }
    }

    /// The first byte of a packet of this type, for all but PUBLISH, whose flags say more (MQTT-2.1.3-1).
    pub(crate) const fn first_byte(self) -> u8 {
        let flags = match self {
            Self::PubRel | Self::Subscribe | Self::Unsubscribe => 2,
            _ => 0,
        };
        (self as u8) << 4 | flags
    }
}

/// Any packet.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(
    missing_docs,
    reason = "the names are the standard's, and each type has a struct of its own"
)]
pub enum Packet {
    Connect(Box<Connect>),
    ConnAck(Box<ConnAck>),
    Publish(PublishPacket),
    PubAck(Ack),
    PubRec(Ack),
    PubRel(Ack),
    PubComp(Ack),
    Subscribe(Box<SubscribePacket>),
    SubAck(Box<SubAck>),
    Unsubscribe(Box<UnsubscribePacket>),
    UnsubAck(Box<UnsubAck>),
    PingReq,
    PingResp,
    Disconnect(Box<Disconnect>),
    Auth(Box<Auth>),
}

impl Packet {
    /// Its type, as its first byte has it.
    pub const fn packet_type(&self) -> PacketType {
        match self {
            Self::Connect(_) => PacketType::Connect,
            Self::ConnAck(_) => PacketType::ConnAck,
            Self::Publish(_) => PacketType::Publish,
            Self::PubAck(_) => PacketType::PubAck,
            Self::PubRec(_) => PacketType::PubRec,
            Self::PubRel(_) => PacketType::PubRel,
            Self::PubComp(_) => PacketType::PubComp,
            Self::Subscribe(_) => PacketType::Subscribe,
            Self::SubAck(_) => PacketType::SubAck,
            Self::Unsubscribe(_) => PacketType::Unsubscribe,
            Self::UnsubAck(_) => PacketType::UnsubAck,
            Self::PingReq => PacketType::PingReq,
            Self::PingResp => PacketType::PingResp,
            Self::Disconnect(_) => PacketType::Disconnect,
            Self::Auth(_) => PacketType::Auth,
        }
    }

    /// Its Packet Identifier, if it has one: a PUBLISH of QoS 0 has none, nor have the packets that open, keep and end a connection.
    pub fn packet_id(&self) -> Option<PacketId> {
        match self {
            Self::Publish(it) => it.packet_id,
            Self::PubAck(it) | Self::PubRec(it) | Self::PubRel(it) | Self::PubComp(it) => {
                Some(it.packet_id)
            }
            Self::Subscribe(it) => Some(it.packet_id),
            Self::SubAck(it) => Some(it.packet_id),
            Self::Unsubscribe(it) => Some(it.packet_id),
            Self::UnsubAck(it) => Some(it.packet_id),
            Self::Connect(_)
            | Self::ConnAck(_)
            | Self::PingReq
            | Self::PingResp
            | Self::Disconnect(_)
            | Self::Auth(_) => None,
        }
    }

    /// Copies the properties of a packet of a server, other than PUBLISH, into memory of their own: they go on to outcomes and
    /// events, which may be kept for long.
    pub(crate) fn detach_properties(&mut self) {
        let properties = match self {
            Self::PubAck(it) | Self::PubRec(it) | Self::PubRel(it) | Self::PubComp(it) => {
                it.properties.as_deref_mut()
            }
            Self::ConnAck(it) => Some(&mut it.properties),
            Self::SubAck(it) => Some(&mut it.properties),
            Self::UnsubAck(it) => Some(&mut it.properties),
            Self::Disconnect(it) => Some(&mut it.properties),
            Self::Auth(it) => Some(&mut it.properties),
            _ => None,
        };
        if let Some(properties) = properties {
            properties.detach();
        }
    }

    /// Appends the packet to `out`. On versions before 5.0 properties are left out, and Reason Codes where 3.x has none.
    pub fn encode(&self, version: ProtocolVersion, out: &mut BytesMut) {
        match self {
            Self::Connect(connect) => connect.encode(out),
            Self::ConnAck(connack) => connack.encode(version, out),
            Self::Publish(publish) => publish.encode(version, out),
            Self::PubAck(ack) => ack.encode(PacketType::PubAck, version, out),
            Self::PubRec(ack) => ack.encode(PacketType::PubRec, version, out),
            Self::PubRel(ack) => ack.encode(PacketType::PubRel, version, out),
            Self::PubComp(ack) => ack.encode(PacketType::PubComp, version, out),
            Self::Subscribe(subscribe) => subscribe.encode(version, out),
            Self::SubAck(suback) => suback.encode(version, out),
            Self::Unsubscribe(unsubscribe) => unsubscribe.encode(version, out),
            Self::UnsubAck(unsuback) => unsuback.encode(version, out),
            Self::PingReq => out.put_slice(&[PacketType::PingReq.first_byte(), 0]),
            Self::PingResp => out.put_slice(&[PacketType::PingResp.first_byte(), 0]),
            Self::Disconnect(disconnect) => disconnect.encode(version, out),
            Self::Auth(auth) => auth.encode(out),
        }
    }
}

/// How many bytes a packet may have, its fixed header included. A `usize` becomes one limit for all packets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PacketLimits {
    /// Any packet: what Maximum Packet Size announces.
    pub maximum_packet_size: usize,
    /// Any but PUBLISH: a limit of this side's own. These packets carry no Application Message, so nothing but properties
    /// and filters makes them long.
    pub maximum_non_publish_size: usize,
}

impl PacketLimits {
    /// What a packet that begins with `first_byte` breaks, if it has so many bytes.
    #[cold]
    fn check(&self, first_byte: u8, length: usize) -> Result<(), DecodeError> {
        if length > self.maximum_packet_size {
            return Err(DecodeError {
                reason: ReasonCode::PacketTooLarge,
                what: "packet is larger than the Maximum Packet Size",
            });
        }
        let is_publish = first_byte >> 4 == PacketType::Publish as u8;
        if !is_publish && length > self.maximum_non_publish_size {
            return Err(DecodeError {
                reason: ReasonCode::QuotaExceeded,
                what: "packet other than PUBLISH is larger than maximum_non_publish_size allows",
            });
        }
        Ok(())
    }
}

impl From<usize> for PacketLimits {
    fn from(limit: usize) -> Self {
        Self {
            maximum_packet_size: limit,
            maximum_non_publish_size: limit,
        }
    }
}

/// How many bytes at the front of `input` are whole packets.
///
/// # Errors
/// Malformed Packet for a wrong Remaining Length. From the fixed header alone, before anything of the packet is buffered:
/// Packet too large for one that breaks the Maximum Packet Size (MQTT-3.1.2-24), and Quota exceeded for one that breaks the
/// limit for packets other than PUBLISH, of which the peer was not told. `Err`'s first value counts the bytes of the
/// packets before the faulty one.
pub fn whole_packets(
    input: &[u8],
    limits: impl Into<PacketLimits>,
) -> Result<Whole, (usize, DecodeError)> {
    let limits = limits.into();
    let smallest = (limits.maximum_packet_size).min(limits.maximum_non_publish_size);
    let mut bytes = 0;
    loop {
        match FixedHeader::read(&input[bytes..]) {
            Err(error) => return Err((bytes, error)),
            Ok(None) => return Ok(Whole { bytes, missing: 1 }),
            Ok(Some(header)) => {
                let length = header.packet_len();
                if length > smallest
                    && let Err(error) = limits.check(header.first_byte, length)
                {
                    return Err((bytes, error));
                }
                if input.len() - bytes < length {
                    let missing = length - (input.len() - bytes);
                    return Ok(Whole { bytes, missing });
                }
                bytes += length;
            }
        }
    }
}

/// What [`whole_packets`] found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Whole {
    /// Length of the whole packets at the front.
    pub bytes: usize,
    /// At least so many bytes are missing until the next packet is whole.
    pub missing: usize,
}

/// Reads the packet that starts at `at` in `source` and must end in it, and moves `at` behind it.
///
/// Strings and payloads are slices of `source`. CONNECT is read by the version it names itself; all else by `version`.
///
/// # Errors
/// Whatever breaks the standard's rules on the packet by itself; what is wrong only at this moment is for the caller to see.
pub fn decode(
    source: &Bytes,
    at: &mut usize,
    version: ProtocolVersion,
) -> Result<Packet, DecodeError> {
    decode_with(source, at, version, &mut Slips::new(true))
}

/// As [`decode`], but takes what a client that is not [strict](crate::Options::strict) tolerates of a server, and reads it as
/// each [`Slip`](crate::Slip) says.
///
/// # Errors
/// As [`decode`], for all else.
pub fn decode_tolerantly(
    source: &Bytes,
    at: &mut usize,
    version: ProtocolVersion,
) -> Result<Packet, DecodeError> {
    decode_with(source, at, version, &mut Slips::new(false))
}

/// As [`decode`], for a client: `slips` decides about those of the server.
pub(crate) fn decode_with(
    source: &Bytes,
    at: &mut usize,
    version: ProtocolVersion,
    slips: &mut Slips,
) -> Result<Packet, DecodeError> {
    let header = FixedHeader::read(&source[*at..])?
        .filter(|header| header.packet_len() <= source.len() - *at)
        .ok_or_else(|| DecodeError::malformed("packet is not whole"))?;
    let start = *at + header.header_len;
    *at = start + header.remaining_length;
    let body = BodyReader::new(source, start, *at);
    let packet_type = PacketType::from_first_byte(header.first_byte)
        .ok_or_else(|| DecodeError::malformed("packet type 0 is reserved"))?;
    if packet_type == PacketType::Publish {
        return PublishPacket::decode(header.first_byte, version, body, slips).map(Packet::Publish);
    }
    if header.first_byte != packet_type.first_byte() {
        return Err(DecodeError::malformed(
            "reserved bits of the fixed header are not as the standard fixes them",
        ));
    }
    Ok(match packet_type {
        PacketType::PubAck => Packet::PubAck(Ack::decode(packet_type, version, body, slips)?),
        PacketType::PubRec => Packet::PubRec(Ack::decode(packet_type, version, body, slips)?),
        PacketType::PubRel => Packet::PubRel(Ack::decode(packet_type, version, body, slips)?),
        PacketType::PubComp => Packet::PubComp(Ack::decode(packet_type, version, body, slips)?),
        PacketType::Connect => Packet::Connect(Box::new(Connect::decode(body)?)),
        PacketType::ConnAck => Packet::ConnAck(Box::new(ConnAck::decode(version, body, slips)?)),
        PacketType::Subscribe => {
            Packet::Subscribe(Box::new(SubscribePacket::decode(version, body)?))
        }
        PacketType::SubAck => Packet::SubAck(Box::new(SubAck::decode(version, body, slips)?)),
        PacketType::Unsubscribe => {
            Packet::Unsubscribe(Box::new(UnsubscribePacket::decode(version, body)?))
        }
        PacketType::UnsubAck => Packet::UnsubAck(Box::new(UnsubAck::decode(version, body, slips)?)),
        PacketType::Disconnect => Packet::Disconnect(Box::new(Disconnect::decode(version, body)?)),
        PacketType::Auth if version.is_v5() => Packet::Auth(Box::new(Auth::decode(body)?)),
        PacketType::Auth => return Err(DecodeError::malformed("AUTH exists in MQTT 5.0 only")),
        PacketType::PingReq => {
            body.finish()?;
            Packet::PingReq
        }
        PacketType::PingResp => {
            body.finish()?;
            Packet::PingResp
        }
        PacketType::Publish => unreachable!("returned above"),
    })
}

/// Reads a Packet Identifier, which is never zero (MQTT-2.2.1-3, MQTT-2.2.1-4).
fn read_packet_id(body: &mut BodyReader<'_>) -> Result<PacketId, DecodeError> {
    PacketId::new(body.u16()?).ok_or_else(|| DecodeError::protocol("Packet Identifier is 0"))
}

/// Reads a byte that stands for yes or no.
const fn flag(value: u8) -> Result<bool, DecodeError> {
    match value {
        0 => Ok(false),
        1 => Ok(true),
        _ => Err(DecodeError::protocol("a yes-or-no byte is neither 0 nor 1")),
    }
}

/// Length of PINGREQ, which holds nothing.
pub(crate) const PINGREQ_LEN: usize = 2;

/// Length of the whole packet whose Remaining Length this is.
const fn packet_len(remaining_length: usize) -> usize {
    1 + var_int_len(remaining_length) + remaining_length
}

/// Length of SUBSCRIBE or UNSUBSCRIBE with these properties, when its filters take `filters` bytes.
pub(crate) fn filters_packet_len(
    version: ProtocolVersion,
    properties: &Properties,
    filters: usize,
) -> usize {
    let properties = match version.is_v5() {
        true => properties.encoded_len(),
        false => 0,
    };
    packet_len(size_of::<PacketId>() + properties + filters)
}

/// Appends a packet whose body `body` writes.
fn put_packet(out: &mut BytesMut, packet_type: PacketType, body: impl FnOnce(&mut BytesMut)) {
    out.put_u8(packet_type.first_byte());
    put_with_length(out, body);
}

#[cfg(test)]
mod repeated_properties;
#[cfg(test)]
mod round_trip;
#[cfg(test)]
mod tests;
