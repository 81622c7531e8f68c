//! Where a property may stand.

use super::PacketType;
use crate::property_error::{PropertyError, PropertyProblem};

/// Where properties stand: a packet, or the will inside CONNECT. One bit each, for the table below.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct PropertyPlace(u16);

impl PropertyPlace {
    pub(crate) const fn of(packet: PacketType) -> Self {
        Self(1 << packet as u16)
    }

    pub(crate) const WILL: Self = Self(1);
    pub(crate) const ANY: Self = Self(u16::MAX);
    pub(super) const PUBLISH: Self = Self::of(PacketType::Publish);
    pub(super) const MESSAGE: Self = Self::PUBLISH.or(Self::WILL);
    pub(super) const CONNECT: Self = Self::of(PacketType::Connect);
    pub(super) const CONNACK: Self = Self::of(PacketType::ConnAck);
    pub(super) const SUBSCRIBE: Self = Self::of(PacketType::Subscribe);
    pub(super) const DISCONNECT: Self = Self::of(PacketType::Disconnect);
    pub(super) const AUTH: Self = Self::of(PacketType::Auth);
    pub(super) const BOTH_CONNECT: Self = Self::CONNECT.or(Self::CONNACK);
    pub(super) const ANSWERS: Self = Self::CONNACK
        .or(Self::of(PacketType::PubAck))
        .or(Self::of(PacketType::PubRec))
        .or(Self::of(PacketType::PubRel))
        .or(Self::of(PacketType::PubComp))
        .or(Self::of(PacketType::SubAck))
        .or(Self::of(PacketType::UnsubAck))
        .or(Self::DISCONNECT)
        .or(Self::AUTH);

    pub(super) const EVERYWHERE: Self = Self::ANSWERS
        .or(Self::MESSAGE)
        .or(Self::CONNECT)
        .or(Self::SUBSCRIBE)
        .or(Self::of(PacketType::Unsubscribe));

    pub(super) const fn or(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    pub(super) const fn allowed_in(self, place: Self) -> bool {
        self.0 & place.0 != 0
    }

    /// The numbers of the bits: a packet has that of its type, the will has 0.
    pub(super) fn bits(self) -> impl Iterator<Item = u8> {
        (0..u16::BITS as u8).filter(move |bit| self.0 & (1 << bit) != 0)
    }

    /// The error for a property that this place cannot have.
    #[cold]
    pub(crate) const fn refuses(
        self,
        property: &'static str,
        problem: PropertyProblem,
    ) -> PropertyError {
        // The bit of a packet is its type, which stands in the upper half of the first byte.
        let name = match PacketType::from_first_byte((self.0.trailing_zeros() as u8) << 4) {
            Some(packet) => packet.name(),
            None => "the will",
        };
        PropertyError::new(name, property, problem)
    }
}
