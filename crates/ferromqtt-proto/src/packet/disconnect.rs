//! DISCONNECT (section 3.14).

use bytes::{BufMut, BytesMut};

use super::{PacketType, Properties, PropertyPlace, ProtocolVersion, ReasonCode, put_packet};
use crate::codec::BodyReader;
use crate::error::{DecodeError, DisconnectError};
use crate::property_error::PropertyProblem;

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

    /// Whether a packet of this version says it. Before 5.0 every DISCONNECT is a normal disconnection, and deletes the will.
    pub(crate) fn is_expressible(&self, version: ProtocolVersion) -> bool {
        version.is_v5() || self.reason == ReasonCode::Success
    }

    /// What a client must not send, after a CONNECT with this Session Expiry Interval.
    pub(crate) fn check_client(&self, connect_expiry: Option<u32>) -> Result<(), DisconnectError> {
        if !self.reason.ends_a_clients_connection() {
            return Err(DisconnectError::Reason(self.reason));
        }
        let place = PropertyPlace::of(PacketType::Disconnect);
        if self.properties.server_reference.is_some() {
            let problem = PropertyProblem::NotInThisPacket; // only servers send it
            return Err(place.refuses("server_reference", problem).into());
        }
        self.properties.check(place)?;
        let raised = self.properties.session_expiry_interval.unwrap_or(0) > 0;
        if raised && connect_expiry.unwrap_or(0) == 0 {
            return Err(DisconnectError::SessionExpiryRaised);
        }
        Ok(())
    }

    /// What a server must not send (MQTT-3.14.2-1, MQTT-3.14.2-2).
    pub(crate) fn check_server(&self) -> Result<(), DecodeError> {
        if self.properties.session_expiry_interval.is_some() {
            return Err(DecodeError::protocol(
                "the server's DISCONNECT holds a Session Expiry Interval",
            ));
        }
        if self.reason == ReasonCode::DisconnectWithWill {
            return Err(DecodeError::protocol(
                "the server's DISCONNECT has a Reason Code that only clients send",
            ));
        }
        Ok(())
    }

    /// Leaves out what is for humans and diagnosis alone (MQTT-3.14.2-3, MQTT-3.14.2-4).
    pub(crate) fn without_diagnosis(mut self) -> Self {
        self.properties.reason_string = None;
        self.properties.user_properties.clear();
        self
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
        mut body: BodyReader<'_>,
    ) -> Result<Self, DecodeError> {
        let mut disconnect = Self::normal();
        if version.is_v5() && !body.is_empty() {
            disconnect.reason = ReasonCode::read(PacketType::Disconnect, body.u8()?)?;
            if !body.is_empty() {
                disconnect.properties =
                    Properties::decode(PropertyPlace::of(PacketType::Disconnect), &mut body)?;
            }
        }
        body.finish()?;
        Ok(disconnect)
    }
}
