//! DISCONNECT (section 3.14).

use bytes::{BufMut, BytesMut};

use super::{PacketType, Place, Properties, ProtocolVersion, ReasonCode, put_packet};
use crate::codec::Reader;
use crate::error::DecodeError;

/// A DISCONNECT packet. Before 5.0 only clients send it, and it holds nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Disconnect {
    /// Why; Success is Normal disconnection.
    pub reason: ReasonCode,
    /// Properties (5.0).
    pub properties: Properties,
}

impl Disconnect {
    /// Normal disconnection (0x00): the server drops the will.
    pub fn normal() -> Self {
        Self::because(ReasonCode::Success)
    }

    /// A DISCONNECT with a Reason Code and no properties.
    pub fn because(reason: ReasonCode) -> Self {
        Self {
            reason,
            properties: Properties::default(),
        }
    }

    pub(crate) fn encode(&self, version: ProtocolVersion, out: &mut BytesMut) {
        let plain = self.reason == ReasonCode::Success && self.properties.is_empty();
        put_packet(out, PacketType::Disconnect, |out| {
            if plain || !version.is_v5() {
                return;
            }
            out.put_u8(self.reason.value());
            if !self.properties.is_empty() {
                self.properties.encode(out);
            }
        });
    }

    pub(super) fn decode(
        version: ProtocolVersion,
        mut body: Reader<'_>,
    ) -> Result<Self, DecodeError> {
        let mut disconnect = Self::normal();
        if version.is_v5() && !body.is_empty() {
            disconnect.reason = ReasonCode::read(PacketType::Disconnect, body.u8()?)?;
            if !body.is_empty() {
                disconnect.properties =
                    Properties::decode(Place::of(PacketType::Disconnect), &mut body)?;
            }
        }
        body.finish()?;
        Ok(disconnect)
    }
}
