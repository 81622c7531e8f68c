//! CONNACK (section 3.2).

use bytes::{BufMut, BytesMut};

use super::{PacketType, Properties, ProtocolVersion, QoS, ReasonCode, put_packet};
use crate::codec::BodyReader;
use crate::error::DecodeError;
use crate::slips::{Slip, Slips};
use crate::text::Utf8String;

/// The last Connect Return Code that 3.1.1 defines (table 3.1 there).
const LAST_RETURN_CODE: u8 = 5;

/// A CONNACK packet. Return Codes of 3.x are held as the Reason Code of the same meaning. One that 3.1.1 reserves is
/// [`UnspecifiedError`](ReasonCode::UnspecifiedError).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConnAck {
    /// Session Present: the server has state from before.
    pub session_present: bool,
    /// Result.
    pub reason: ReasonCode,
    /// Properties (5.0). Of a Return Code that 3.x reserves the number, as Reason String.
    pub properties: Properties,
}

impl ConnAck {
    pub(super) fn encode(&self, version: ProtocolVersion, out: &mut BytesMut) {
        put_packet(out, PacketType::ConnAck, |out| {
            out.put_u8(u8::from(self.session_present));
            if version.is_v5() {
                out.put_u8(self.reason.value());
                self.properties.encode(out);
            } else {
                out.put_u8(return_code(self.reason));
            }
        });
    }

    pub(super) fn decode(
        version: ProtocolVersion,
        mut body: BodyReader<'_>,
        slips: &mut Slips,
    ) -> Result<Self, DecodeError> {
        let flags = body.u8()?;
        if flags > 1 {
            return Err(DecodeError::malformed("CONNACK has reserved flags set"));
        }
        let code = body.u8()?;
        if version.is_v5() && body.is_empty() && flags == 0 && matches!(code, 1..=5) {
            // A server that does not know 5.0 refuses it in the form that it knows.
            return Ok(Self {
                session_present: false,
                reason: from_return_code(code),
                properties: Properties::default(),
            });
        }
        if !version.is_v5() && flags == 0 && code == ReasonCode::UnsupportedProtocolVersion.value()
        {
            body.rest(); // nor does one that knows 5.0 alone keep to an earlier form
            return Ok(Self {
                session_present: false,
                reason: ReasonCode::UnsupportedProtocolVersion,
                properties: Properties::default(),
            });
        }
        let mut connack = Self {
            session_present: flags == 1,
            reason: if version.is_v5() {
                ReasonCode::read(PacketType::ConnAck, code)?
            } else {
                from_return_code(code)
            },
            properties: Properties::of(PacketType::ConnAck, version, &mut body)?,
        };
        body.finish()?;
        if !version.is_v5() && code > LAST_RETURN_CODE {
            let text = format!("Return Code {code}, which this version of MQTT reserves");
            connack.properties.reason_string = Utf8String::try_from(text).ok();
        }
        if connack.properties.maximum_qos == Some(QoS::ExactlyOnce) {
            let refusal = DecodeError::protocol("Maximum QoS is neither 0 nor 1");
            slips.tolerate(Slip::MaximumQos2, refusal)?;
            connack.properties.maximum_qos = None; // means the same
        }
        if connack.session_present && connack.reason != ReasonCode::Success {
            return Err(DecodeError::protocol(
                "CONNACK refuses but has Session Present set",
            ));
        }
        Ok(connack)
    }
}

/// The Connect Return Code of 3.1.1 (table 3.1 there) for a Reason Code.
const fn return_code(reason: ReasonCode) -> u8 {
    match reason {
        ReasonCode::Success => 0,
        ReasonCode::UnsupportedProtocolVersion => 1,
        ReasonCode::ClientIdentifierNotValid => 2,
        ReasonCode::BadUserNameOrPassword => 4,
        ReasonCode::NotAuthorized | ReasonCode::Banned => 5,
        _ => 3,
    }
}

/// The Reason Code of the same meaning; codes that 3.1.1 reserves are failures without a name.
pub(crate) const fn from_return_code(code: u8) -> ReasonCode {
    match code {
        0 => ReasonCode::Success,
        1 => ReasonCode::UnsupportedProtocolVersion,
        2 => ReasonCode::ClientIdentifierNotValid,
        3 => ReasonCode::ServerUnavailable,
        4 => ReasonCode::BadUserNameOrPassword,
        5 => ReasonCode::NotAuthorized,
        _ => ReasonCode::UnspecifiedError,
    }
}
