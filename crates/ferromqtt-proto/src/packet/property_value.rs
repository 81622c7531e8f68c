//! The types of property values, and how each is read and written (section 2.2.2.2).

use std::fmt;
use std::num::{NonZeroU16, NonZeroU32};

use bytes::{Buf, BufMut, Bytes, BytesMut};

use super::{QoS, ReasonCode, flag};
use crate::codec::{BodyReader, put_binary};
use crate::error::DecodeError;
use crate::shown::{Masked, PeerText};
use crate::text::Utf8String;

/// A Topic Alias (section 3.3.2.3.4): never zero (MQTT-3.3.2-8), which has a Reason Code of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct TopicAlias(pub NonZeroU16);

/// What the values of a property may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PropertyKind {
    /// 0 or 1.
    Flag,
    /// A number from the first to the second.
    Number(u32, u32),
    /// A string (section 1.5.4).
    Text,
    /// Binary data (section 1.5.6).
    Binary,
    /// A name and a value, both strings (section 1.5.7).
    Pair,
}

/// A type that one property holds.
pub(super) trait PropertyValue: Sized + fmt::Debug {
    const KIND: PropertyKind;

    /// What `Debug` shows of it.
    fn shown(&self) -> impl fmt::Debug {
        self
    }

    fn read(body: &mut BodyReader<'_>) -> Result<Self, DecodeError>;
    /// Appends the property: its identifier and this value.
    fn write(&self, id: u8, out: &mut BytesMut);
    fn wire_len(&self) -> usize;

    /// How many bytes it holds outside of itself.
    fn held(&self) -> usize {
        0
    }

    /// Copies what it holds outside of itself into memory of its own.
    fn detach(&mut self) {}
}

impl PropertyValue for bool {
    const KIND: PropertyKind = PropertyKind::Flag;

    fn read(body: &mut BodyReader<'_>) -> Result<Self, DecodeError> {
        flag(body.u8()?)
    }

    fn write(&self, id: u8, out: &mut BytesMut) {
        out.put_slice(&[id, u8::from(*self)]);
    }

    fn wire_len(&self) -> usize {
        1
    }
}

impl PropertyValue for u16 {
    const KIND: PropertyKind = PropertyKind::Number(0, Self::MAX as u32);

    fn read(body: &mut BodyReader<'_>) -> Result<Self, DecodeError> {
        body.u16()
    }

    fn write(&self, id: u8, out: &mut BytesMut) {
        let [high, low] = self.to_be_bytes();
        out.put_slice(&[id, high, low]);
    }

    fn wire_len(&self) -> usize {
        2
    }
}

impl PropertyValue for u32 {
    const KIND: PropertyKind = PropertyKind::Number(0, Self::MAX);

    fn read(body: &mut BodyReader<'_>) -> Result<Self, DecodeError> {
        body.u32()
    }

    fn write(&self, id: u8, out: &mut BytesMut) {
        let [a, b, c, d] = self.to_be_bytes();
        out.put_slice(&[id, a, b, c, d]);
    }

    fn wire_len(&self) -> usize {
        4
    }
}

impl PropertyValue for NonZeroU16 {
    const KIND: PropertyKind = PropertyKind::Number(1, u16::MAX as u32);

    fn read(body: &mut BodyReader<'_>) -> Result<Self, DecodeError> {
        Self::new(body.u16()?).ok_or_else(|| DecodeError::protocol("Receive Maximum is 0"))
    }

    fn write(&self, id: u8, out: &mut BytesMut) {
        self.get().write(id, out);
    }

    fn wire_len(&self) -> usize {
        2
    }
}

impl PropertyValue for NonZeroU32 {
    const KIND: PropertyKind = PropertyKind::Number(1, u32::MAX);

    fn read(body: &mut BodyReader<'_>) -> Result<Self, DecodeError> {
        Self::new(body.u32()?).ok_or_else(|| DecodeError::protocol("Maximum Packet Size is 0"))
    }

    fn write(&self, id: u8, out: &mut BytesMut) {
        self.get().write(id, out);
    }

    fn wire_len(&self) -> usize {
        4
    }
}

impl PropertyValue for QoS {
    const KIND: PropertyKind = PropertyKind::Number(0, 1); // of Maximum QoS, the one property that holds a QoS

    fn read(body: &mut BodyReader<'_>) -> Result<Self, DecodeError> {
        match body.u8()? {
            0 => Ok(Self::AtMostOnce),
            1 => Ok(Self::AtLeastOnce),
            2 => Ok(Self::ExactlyOnce), // for CONNACK, the one packet that has it, to decide about
            _ => Err(DecodeError::protocol("Maximum QoS is neither 0 nor 1")),
        }
    }

    fn write(&self, id: u8, out: &mut BytesMut) {
        out.put_slice(&[id, self.value()]);
    }

    fn wire_len(&self) -> usize {
        1
    }
}

impl PropertyValue for Bytes {
    const KIND: PropertyKind = PropertyKind::Binary;

    /// All binary properties are secret: Authentication Data, and Correlation Data, with which others could answer requests.
    fn shown(&self) -> impl fmt::Debug {
        Masked
    }

    fn read(body: &mut BodyReader<'_>) -> Result<Self, DecodeError> {
        body.binary()
    }

    fn write(&self, id: u8, out: &mut BytesMut) {
        out.put_u8(id);
        put_binary(out, self);
    }

    fn wire_len(&self) -> usize {
        2 + self.remaining()
    }

    fn held(&self) -> usize {
        self.len()
    }

    fn detach(&mut self) {
        *self = Self::copy_from_slice(self);
    }
}

impl PropertyValue for Utf8String {
    const KIND: PropertyKind = PropertyKind::Text;

    fn shown(&self) -> impl fmt::Debug {
        PeerText(self.as_str())
    }

    fn read(body: &mut BodyReader<'_>) -> Result<Self, DecodeError> {
        body.string()
    }

    fn write(&self, id: u8, out: &mut BytesMut) {
        out.put_u8(id);
        put_binary(out, self.as_bytes());
    }

    fn wire_len(&self) -> usize {
        2 + self.as_bytes().len()
    }

    fn held(&self) -> usize {
        self.len()
    }

    fn detach(&mut self) {
        *self = self.detached();
    }
}

impl PropertyValue for TopicAlias {
    const KIND: PropertyKind = NonZeroU16::KIND;

    fn read(body: &mut BodyReader<'_>) -> Result<Self, DecodeError> {
        NonZeroU16::new(body.u16()?).map(Self).ok_or(DecodeError {
            reason: ReasonCode::TopicAliasInvalid,
            what: "Topic Alias is 0",
        })
    }

    fn write(&self, id: u8, out: &mut BytesMut) {
        self.0.get().write(id, out);
    }

    fn wire_len(&self) -> usize {
        2
    }
}
