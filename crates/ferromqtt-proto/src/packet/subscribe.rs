//! SUBSCRIBE and SUBACK (sections 3.8 and 3.9).

use bytes::{BufMut, BytesMut};

use super::{
    PacketId, PacketType, Properties, ProtocolVersion, QoS, ReasonCode, SubscribeFilters,
    put_packet, read_packet_id,
};
use crate::codec::BodyReader;
use crate::error::DecodeError;
use crate::slips::{Slip, Slips};

/// When the server sends the messages it retains to a new subscription (section 3.8.3.1).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum RetainHandling {
    /// At every SUBSCRIBE.
    #[default]
    OnSubscribe = 0,
    /// Only if the subscription did not exist yet.
    IfNew = 1,
    /// Never.
    Never = 2,
}

/// The options of one subscription (section 3.8.3.1). Before 5.0 only the QoS exists; the rest is not sent.
///
/// A [`QoS`] alone converts into them. Otherwise set what differs from the default, QoS 0, and take the rest from it: later
/// versions may add fields.
///
/// ```
/// # use ferromqtt_proto::{QoS, SubscriptionOptions};
/// let others = SubscriptionOptions { no_local: true, ..QoS::AtLeastOnce.into() };
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct SubscriptionOptions {
    /// Maximum QoS at which the server may send.
    pub qos: QoS,
    /// No Local: do not send back what this client published.
    pub no_local: bool,
    /// Retain As Published: keep the RETAIN flag as it was published.
    pub retain_as_published: bool,
    /// Retain Handling.
    pub retain_handling: RetainHandling,
}

impl SubscriptionOptions {
    /// The byte on the wire: reserved bits are 0 (MQTT-3.8.3-5), and in 3.x all but the QoS are.
    pub const fn byte(self, version: ProtocolVersion) -> u8 {
        let mut byte = self.qos.value();
        if version.is_v5() {
            byte |= (self.no_local as u8) << 2;
            byte |= (self.retain_as_published as u8) << 3;
            byte |= (self.retain_handling as u8) << 4;
        }
        byte
    }

    pub(super) fn from_byte(byte: u8, version: ProtocolVersion) -> Result<Self, DecodeError> {
        let reserved = if version.is_v5() { 0xC0 } else { 0xFC };
        let qos = QoS::from_value(byte & 3);
        let (Some(qos), 0) = (qos, byte & reserved) else {
            return Err(DecodeError::malformed(
                "SUBSCRIBE has QoS 3 or reserved option bits",
            ));
        };
        Ok(Self {
            qos,
            no_local: byte & 0x04 != 0,
            retain_as_published: byte & 0x08 != 0,
            retain_handling: match byte >> 4 & 3 {
                0 => RetainHandling::OnSubscribe,
                1 => RetainHandling::IfNew,
                2 => RetainHandling::Never,
                _ => return Err(DecodeError::protocol("SUBSCRIBE has Retain Handling 3")),
            },
        })
    }
}

impl From<QoS> for SubscriptionOptions {
    fn from(qos: QoS) -> Self {
        Self {
            qos,
            ..Self::default()
        }
    }
}

/// A SUBSCRIBE packet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SubscribePacket {
    /// Packet Identifier.
    pub packet_id: PacketId,
    /// Properties (5.0).
    pub properties: Properties,
    /// Topic Filters with their options: at least one (MQTT-3.8.3-2).
    pub filters: SubscribeFilters,
}

impl SubscribePacket {
    /// How many bytes of the packet a filter of this length takes, with its length and options.
    pub(crate) const fn filter_len(length: usize) -> usize {
        2 + length + 1
    }

    pub(crate) fn encode(&self, version: ProtocolVersion, out: &mut BytesMut) {
        put_packet(out, PacketType::Subscribe, |out| {
            out.put_u16(self.packet_id.get());
            if version.is_v5() {
                self.properties.encode(out);
            }
            self.filters.encode(version, out);
        });
    }

    pub(super) fn decode(
        version: ProtocolVersion,
        mut body: BodyReader<'_>,
    ) -> Result<Self, DecodeError> {
        let packet_id = read_packet_id(&mut body)?;
        let properties = Properties::of(PacketType::Subscribe, version, &mut body)?;
        Ok(Self {
            packet_id,
            properties,
            filters: SubscribeFilters::read(version, body)?,
        })
    }
}

/// A SUBACK packet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SubAck {
    /// Packet Identifier of the SUBSCRIBE.
    pub packet_id: PacketId,
    /// Properties (5.0).
    pub properties: Properties,
    /// One Reason Code a filter, in order.
    pub reasons: Vec<ReasonCode>,
}

impl SubAck {
    pub(super) fn encode(&self, version: ProtocolVersion, out: &mut BytesMut) {
        put_packet(out, PacketType::SubAck, |out| {
            out.put_u16(self.packet_id.get());
            if version.is_v5() {
                self.properties.encode(out);
            }
            for reason in &self.reasons {
                let failure = reason.is_error() && !version.is_v5();
                out.put_u8(if failure { 0x80 } else { reason.value() });
            }
        });
    }

    pub(super) fn decode(
        version: ProtocolVersion,
        mut body: BodyReader<'_>,
        slips: &mut Slips,
    ) -> Result<Self, DecodeError> {
        let packet_id = read_packet_id(&mut body)?;
        let properties = Properties::of(PacketType::SubAck, version, &mut body)?;
        let mut reasons = Vec::with_capacity(body.remaining());
        while !body.is_empty() {
            let mut code = body.u8()?;
            if !version.is_v5() && code > 0x80 {
                let refusal = DecodeError::protocol("SUBACK has an undefined Return Code");
                slips.tolerate(Slip::SubackCode, refusal)?;
                code = 0x80;
            }
            reasons.push(ReasonCode::read(PacketType::SubAck, code)?);
        }
        Ok(Self {
            packet_id,
            properties,
            reasons,
        })
    }
}
