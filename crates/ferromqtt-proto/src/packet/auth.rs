//! AUTH (section 3.15), which exists in 5.0 only.

use bytes::{BufMut, BytesMut};

use super::{PacketType, Properties, PropertyPlace, ReasonCode, put_packet};
use crate::codec::BodyReader;
use crate::error::DecodeError;

/// An AUTH packet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Auth {
    /// Success, Continue authentication or Re-authenticate.
    pub reason: ReasonCode,
    /// Properties.
    pub properties: Properties,
}

impl Auth {
    pub(super) fn encode(&self, out: &mut BytesMut) {
        put_packet(out, PacketType::Auth, |out| {
            if self.reason == ReasonCode::Success && self.properties.is_empty() {
                return;
            }
            out.put_u8(self.reason.value());
            self.properties.encode(out);
        });
    }

    pub(super) fn decode(mut body: BodyReader<'_>) -> Result<Self, DecodeError> {
        let mut auth = Self {
            reason: ReasonCode::Success,
            properties: Properties::default(),
        };
        if !body.is_empty() {
            auth.reason = ReasonCode::read(PacketType::Auth, body.u8()?)?;
            if !body.is_empty() {
                auth.properties =
                    Properties::decode(PropertyPlace::of(PacketType::Auth), &mut body)?;
            }
        }
        body.finish()?;
        Ok(auth)
    }
}
