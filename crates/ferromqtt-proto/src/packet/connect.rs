//! CONNECT (section 3.1), and the will inside it.

use bytes::{BufMut, Bytes, BytesMut};

use super::publish::check_response_topic;
use super::{PacketType, Properties, PropertyPlace, ProtocolVersion, QoS, put_packet};
use crate::codec::{BodyReader, put_binary};
use crate::debug_fields;
use crate::error::DecodeError;
use crate::text::Utf8String;

const USER_NAME: u8 = 0x80;
const PASSWORD: u8 = 0x40;
const WILL_RETAIN: u8 = 0x20;
const WILL: u8 = 0x04;
const CLEAN_START: u8 = 0x02;
const RESERVED: u8 = 0x01;

/// A CONNECT packet. Its `Debug` never shows the password.
#[derive(Clone, PartialEq, Eq)]
pub struct Connect {
    /// Version of MQTT.
    pub protocol: ProtocolVersion,
    /// Clean Start (5.0), Clean Session (3.x).
    pub clean_start: bool,
    /// Keep Alive in seconds; 0 turns it off.
    pub keep_alive: u16,
    /// Properties (5.0).
    pub properties: Properties,
    /// Client Identifier; may be empty.
    pub client_identifier: Utf8String,
    /// The will, if any.
    pub will: Option<Will>,
    /// User Name, if any; an empty one is sent as such.
    pub user_name: Option<Utf8String>,
    /// Password, if any.
    pub password: Option<Bytes>,
}

/// The message that the server publishes when the client is gone without a normal DISCONNECT. `Debug` shows the length of
/// its payload.
#[derive(Clone, PartialEq, Eq)]
pub struct Will {
    /// Will Topic: no wildcards.
    pub topic: Utf8String,
    /// Will Payload, at most 65,535 bytes.
    pub payload: Bytes,
    /// Will QoS.
    pub qos: QoS,
    /// Will Retain.
    pub retain: bool,
    /// Will properties (5.0).
    pub properties: Properties,
}

impl Connect {
    pub(crate) fn encode(&self, out: &mut BytesMut) {
        put_packet(out, PacketType::Connect, |out| {
            let name: &[u8] = match self.protocol {
                ProtocolVersion::V31 => b"MQIsdp",
                _ => b"MQTT",
            };
            put_binary(out, name);
            out.put_u8(self.protocol.level());
            out.put_u8(self.flags());
            out.put_u16(self.keep_alive);
            let v5 = self.protocol.is_v5();
            if v5 {
                self.properties.encode(out);
            }
            put_binary(out, self.client_identifier.as_bytes());
            if let Some(will) = &self.will {
                if v5 {
                    will.properties.encode(out);
                }
                put_binary(out, will.topic.as_bytes());
                put_binary(out, &will.payload);
            }
            if let Some(user_name) = &self.user_name {
                put_binary(out, user_name.as_bytes());
            }
            if let Some(password) = &self.password {
                put_binary(out, password);
            }
        });
    }

    fn flags(&self) -> u8 {
        let mut flags = 0;
        if self.clean_start {
            flags |= CLEAN_START;
        }
        if let Some(will) = &self.will {
            flags |= WILL | will.qos.value() << 3;
            if will.retain {
                flags |= WILL_RETAIN;
            }
        }
        if self.user_name.is_some() {
            flags |= USER_NAME;
        }
        if self.password.is_some() {
            flags |= PASSWORD;
        }
        flags
    }

    pub(super) fn decode(mut body: BodyReader<'_>) -> Result<Self, DecodeError> {
        let name = body.string()?;
        let level = body.u8()?;
        let protocol = match (name.as_str(), level) {
            ("MQIsdp", 3) => ProtocolVersion::V31,
            ("MQTT", 4) => ProtocolVersion::V311,
            ("MQTT", 5) => ProtocolVersion::V5,
            _ => {
                return Err(DecodeError {
                    reason: super::ReasonCode::UnsupportedProtocolVersion,
                    what: "CONNECT asks for an unknown protocol version",
                });
            }
        };
        let flags = body.u8()?;
        if flags & RESERVED != 0 {
            return Err(DecodeError::malformed("CONNECT has its reserved flag set"));
        }
        if flags & WILL == 0 && flags & (WILL_RETAIN | 0x18) != 0 {
            return Err(DecodeError::malformed("CONNECT has will flags but no will"));
        }
        let will_qos = QoS::from_value(flags >> 3 & 3)
            .ok_or_else(|| DecodeError::malformed("CONNECT has Will QoS 3"))?;
        if !protocol.is_v5() && flags & (USER_NAME | PASSWORD) == PASSWORD {
            return Err(DecodeError::malformed(
                "CONNECT has a password but no user name",
            ));
        }
        let keep_alive = body.u16()?;
        let properties = Properties::of(PacketType::Connect, protocol, &mut body)?;
        let client_identifier = body.string()?;
        let will = if flags & WILL != 0 {
            let properties = if protocol.is_v5() {
                let properties = Properties::decode(PropertyPlace::WILL, &mut body)?;
                check_response_topic(&properties)?;
                properties
            } else {
                Properties::default()
            };
            Some(Will {
                topic: body.string()?,
                payload: body.binary()?,
                qos: will_qos,
                retain: flags & WILL_RETAIN != 0,
                properties,
            })
        } else {
            None
        };
        let user_name = (flags & USER_NAME != 0)
            .then(|| body.string())
            .transpose()?;
        let password = (flags & PASSWORD != 0).then(|| body.binary()).transpose()?;
        body.finish()?;
        Ok(Self {
            protocol,
            clean_start: flags & CLEAN_START != 0,
            keep_alive,
            properties,
            client_identifier,
            will,
            user_name,
            password,
        })
    }
}

debug_fields!(Connect {
    protocol,
    clean_start,
    keep_alive,
    properties,
    client_identifier,
    will,
    user_name,
    password: masked,
});

debug_fields!(Will {
    topic,
    payload: length,
    qos,
    retain,
    properties
});
