//! UNSUBSCRIBE and UNSUBACK (sections 3.10 and 3.11).

use bytes::{BufMut, BytesMut};

use super::{
    PacketId, PacketType, Properties, ProtocolVersion, ReasonCode, UnsubscribeFilters, put_packet,
    read_packet_id,
};
use crate::codec::BodyReader;
use crate::error::DecodeError;
use crate::slips::{Slip, Slips};

/// An UNSUBSCRIBE packet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnsubscribePacket {
    /// Packet Identifier.
    pub packet_id: PacketId,
    /// Properties (5.0).
    pub properties: Properties,
    /// Topic Filters: at least one (MQTT-3.10.3-2).
    pub filters: UnsubscribeFilters,
}

impl UnsubscribePacket {
    /// How many bytes of the packet a filter of this length takes, with its length.
    pub(crate) const fn filter_len(length: usize) -> usize {
        2 + length
    }

    pub(crate) fn encode(&self, version: ProtocolVersion, out: &mut BytesMut) {
        put_packet(out, PacketType::Unsubscribe, |out| {
            out.put_u16(self.packet_id.get());
            if version.is_v5() {
                self.properties.encode(out);
            }
            self.filters.encode(out);
        });
    }

    pub(super) fn decode(
        version: ProtocolVersion,
        mut body: BodyReader<'_>,
    ) -> Result<Self, DecodeError> {
        let packet_id = read_packet_id(&mut body)?;
        let properties = Properties::of(PacketType::Unsubscribe, version, &mut body)?;
        Ok(Self {
            packet_id,
            properties,
            filters: UnsubscribeFilters::read(body)?,
        })
    }
}

/// An UNSUBACK packet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnsubAck {
    /// Packet Identifier of the UNSUBSCRIBE.
    pub packet_id: PacketId,
    /// Properties (5.0).
    pub properties: Properties,
    /// One Reason Code a filter, in order; none before 5.0.
    pub reasons: Vec<ReasonCode>,
}

impl UnsubAck {
    pub(super) fn encode(&self, version: ProtocolVersion, out: &mut BytesMut) {
        put_packet(out, PacketType::UnsubAck, |out| {
            out.put_u16(self.packet_id.get());
            if version.is_v5() {
                self.properties.encode(out);
                for reason in &self.reasons {
                    out.put_u8(reason.value());
                }
            }
        });
    }

    pub(super) fn decode(
        version: ProtocolVersion,
        mut body: BodyReader<'_>,
        slips: &mut Slips,
    ) -> Result<Self, DecodeError> {
        let packet_id = read_packet_id(&mut body)?;
        let properties = Properties::of(PacketType::UnsubAck, version, &mut body)?;
        let codes = if version.is_v5() { body.remaining() } else { 0 };
        let mut reasons = Vec::with_capacity(codes);
        while version.is_v5() && !body.is_empty() {
            reasons.push(ReasonCode::read(PacketType::UnsubAck, body.u8()?)?);
        }
        if let Err(refusal) = body.finish() {
            slips.tolerate(Slip::UnsubackPayload, refusal)?;
        }
        Ok(Self {
            packet_id,
            properties,
            reasons,
        })
    }
}
