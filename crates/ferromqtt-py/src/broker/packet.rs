//! Packets that a test has the broker send, made of their fields.

use bytes::Bytes;
use ferromqtt_proto::QoS;
use ferromqtt_proto::packet::{
    Ack, Auth, ConnAck, Disconnect, Packet, PacketId, PacketType, Properties, PublishPacket,
    ReasonCode, SubAck, UnsubAck,
};
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict};

use super::options::{flag, nonzero_u16, qos, reason_code, text};
use crate::properties;

/// A packet of this type, of those of its fields that are given. It has no others: Python has refused them.
pub(super) fn of_server(kind: u8, fields: &Bound<'_, PyDict>) -> PyResult<Packet> {
    let Some(kind) = PacketType::from_first_byte(kind << 4) else {
        return Err(no_server_sends("such packet"));
    };
    let fields = PacketFields { kind, fields };
    let properties = fields.properties()?;
    Ok(match kind {
        PacketType::ConnAck => Packet::ConnAck(Box::new(ConnAck {
            session_present: fields.flag("session_present")?,
            reason: fields.reason()?,
            properties,
        })),
        PacketType::Publish => Packet::Publish(fields.publish(properties)?),
        PacketType::PubAck => Packet::PubAck(fields.ack(properties)?),
        PacketType::PubRec => Packet::PubRec(fields.ack(properties)?),
        PacketType::PubRel => Packet::PubRel(fields.ack(properties)?),
        PacketType::PubComp => Packet::PubComp(fields.ack(properties)?),
        PacketType::SubAck => Packet::SubAck(Box::new(SubAck {
            packet_id: fields.packet_id()?,
            properties,
            reasons: fields.reasons()?,
        })),
        PacketType::UnsubAck => Packet::UnsubAck(Box::new(UnsubAck {
            packet_id: fields.packet_id()?,
            properties,
            reasons: fields.reasons()?,
        })),
        PacketType::PingResp => Packet::PingResp,
        PacketType::Disconnect => Packet::Disconnect(Box::new(Disconnect {
            reason: fields.reason()?,
            properties,
        })),
        PacketType::Auth => Packet::Auth(Box::new(Auth {
            reason: fields.reason()?,
            properties,
        })),
        PacketType::Connect
        | PacketType::Subscribe
        | PacketType::Unsubscribe
        | PacketType::PingReq => return Err(no_server_sends(kind.name())),
    })
}

fn no_server_sends(packet: &str) -> PyErr {
    PyValueError::new_err(format!(
        "no server sends {packet}: give its bytes to send_raw if that is what you mean"
    ))
}

/// What reads a field, whose name stands in its errors.
type FieldReader<'py, T> = fn(&str, &Bound<'py, PyAny>) -> PyResult<T>;

/// The fields that were given.
struct PacketFields<'a, 'py> {
    kind: PacketType,
    fields: &'a Bound<'py, PyDict>,
}

impl<'py> PacketFields<'_, 'py> {
    fn given<T>(&self, name: &str, read: FieldReader<'py, T>) -> PyResult<Option<T>> {
        let value = self.fields.get_item(name)?;
        value.map(|value| read(name, &value)).transpose()
    }

    fn needed<T>(&self, name: &str, read: FieldReader<'py, T>) -> PyResult<T> {
        let packet = self.kind.name();
        let missing = || PyValueError::new_err(format!("{packet} needs {name}"));
        self.given(name, read)?.ok_or_else(missing)
    }

    fn packet_id(&self) -> PyResult<PacketId> {
        self.needed("packet_id", nonzero_u16)
    }

    fn reason(&self) -> PyResult<ReasonCode> {
        let reason = self.given("reason", reason_code)?;
        Ok(reason.unwrap_or(ReasonCode::Success))
    }

    fn reasons(&self) -> PyResult<Vec<ReasonCode>> {
        self.needed("reasons", |name, codes| {
            (codes.try_iter()?)
                .map(|code| reason_code(name, &code?))
                .collect()
        })
    }

    fn flag(&self, name: &str) -> PyResult<bool> {
        Ok(self.given(name, flag)?.unwrap_or_default())
    }

    fn properties(&self) -> PyResult<Properties> {
        let read: FieldReader<'py, _> = |_, given| properties::from_dict(given.cast()?);
        Ok(self.given("properties", read)?.unwrap_or_default())
    }

    fn ack(&self, properties: Properties) -> PyResult<Ack> {
        Ok(Ack {
            packet_id: self.packet_id()?,
            reason: self.reason()?,
            properties: (!properties.is_empty()).then(|| Box::new(properties)),
        })
    }

    fn publish(&self, properties: Properties) -> PyResult<PublishPacket> {
        let qos = self.given("qos", qos)?.unwrap_or_default();
        let payload: FieldReader<'py, _> =
            |_, value| Ok(Bytes::copy_from_slice(value.cast::<PyBytes>()?.as_bytes()));
        Ok(PublishPacket {
            dup: self.flag("dup")?,
            qos,
            retain: self.flag("retain")?,
            topic: self.needed("topic", text)?,
            packet_id: match qos {
                QoS::AtMostOnce => None,
                QoS::AtLeastOnce | QoS::ExactlyOnce => Some(self.packet_id()?),
            },
            properties: (!properties.is_empty()).then(|| Box::new(properties)),
            payload: self.given("payload", payload)?.unwrap_or_default(),
        })
    }
}
