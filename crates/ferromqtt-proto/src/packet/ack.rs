//! PUBACK, PUBREC, PUBREL and PUBCOMP (sections 3.4 to 3.7), which share one form.

use bytes::{BufMut, BytesMut};

use super::{
    PacketId, PacketType, Properties, PropertyPlace, ProtocolVersion, ReasonCode, packet_len,
    put_packet, read_boxed, read_packet_id,
};
use crate::codec::{BYTES_LEFT, BodyReader};
use crate::error::DecodeError;
use crate::slips::{Slip, Slips};

/// Length of the packet with a Reason Code and no properties.
const LEN_WITH_REASON: usize = 5;

/// One of the four acknowledgements of a PUBLISH.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ack {
    /// Packet Identifier of the PUBLISH (MQTT-2.2.1-5).
    pub packet_id: PacketId,
    /// Result; Success before 5.0, where the packet has none.
    pub reason: ReasonCode,
    /// Properties (5.0), if any.
    pub properties: Option<Box<Properties>>,
}

impl Ack {
    /// The plain acknowledgement: Success, no properties.
    pub const fn success(packet_id: PacketId) -> Self {
        Self::new(packet_id, ReasonCode::Success)
    }

    /// An acknowledgement with a Reason Code and no properties.
    pub const fn new(packet_id: PacketId, reason: ReasonCode) -> Self {
        Self {
            packet_id,
            reason,
            properties: None,
        }
    }

    /// The same acknowledgement in at most `limit` bytes: what does not fit is left out, first the properties (MQTT-3.4.2-2,
    /// MQTT-3.4.2-3), then the Reason Code. The shortest form says Success, but it ends the exchange all the same, which no
    /// answer would not do.
    pub(crate) fn within(mut self, limit: usize) -> Self {
        if let Some(properties) = &self.properties
            && packet_len(3 + properties.encoded_len()) > limit
        {
            self.properties = None;
        }
        if self.reason != ReasonCode::Success && limit < LEN_WITH_REASON {
            return Self::success(self.packet_id);
        }
        self
    }

    pub(crate) fn encode(
        &self,
        packet_type: PacketType,
        version: ProtocolVersion,
        out: &mut BytesMut,
    ) {
        let plain = self.reason == ReasonCode::Success && self.properties.is_none();
        if plain || !version.is_v5() {
            let [high, low] = self.packet_id.get().to_be_bytes();
            out.put_slice(&[packet_type.first_byte(), 2, high, low]);
            return;
        }
        put_packet(out, packet_type, |out| {
            out.put_u16(self.packet_id.get());
            out.put_u8(self.reason.value());
            if let Some(properties) = &self.properties {
                properties.encode(out);
            }
        });
    }

    pub(super) fn decode(
        packet_type: PacketType,
        version: ProtocolVersion,
        mut body: BodyReader<'_>,
        slips: &mut Slips,
    ) -> Result<Self, DecodeError> {
        let packet_id = read_packet_id(&mut body)?;
        let mut ack = Self::success(packet_id);
        if body.is_empty() {
            return Ok(ack);
        }
        if !version.is_v5() {
            return Self::decode_code_before_v5(packet_id, body, slips);
        }
        ack.reason = ReasonCode::read(packet_type, body.u8()?)?;
        if !body.is_empty() {
            ack.properties = read_boxed(PropertyPlace::of(packet_type), &mut body)?;
        }
        body.finish()?;
        Ok(ack)
    }

    /// Some servers answer in the form of 5.0 whatever the version. A failure must not be taken for a success.
    #[cold]
    fn decode_code_before_v5(
        packet_id: PacketId,
        mut body: BodyReader<'_>,
        slips: &mut Slips,
    ) -> Result<Self, DecodeError> {
        let code = body.u8()?;
        slips.tolerate(Slip::AckCode, BYTES_LEFT)?;
        let reason = match code {
            0x80.. => ReasonCode::from_value(code).unwrap_or(ReasonCode::UnspecifiedError),
            _ => ReasonCode::Success,
        };
        Ok(Self::new(packet_id, reason))
    }
}
