//! Which packets of the journal are wanted.

use ferromqtt_proto::packet::PacketType;

use super::records::{BrokerSide, JournalPacket};
use crate::connection::ConnectionId;

/// Selects packets of the [`BrokerJournal`](crate::BrokerJournal). The default selects all; each method narrows it. A [`PacketType`] alone
/// converts into the filter for it.
///
/// ```
/// use ferromqtt_proto::packet::PacketType;
/// use ferromqtt_testing::{BrokerSide, PacketFilter};
///
/// let filter = PacketFilter::from(PacketType::Publish).client("pump-7").side(BrokerSide::Receives);
/// # let _ = filter;
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PacketFilter {
    kind: Option<PacketType>,
    side: Option<BrokerSide>,
    client: Option<String>,
    link: Option<ConnectionId>,
}

impl PacketFilter {
    /// Selects every packet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Only packets of this type.
    #[must_use]
    pub fn kind(mut self, kind: PacketType) -> Self {
        self.kind = Some(kind);
        self
    }

    /// Only packets that the broker sent, or received.
    #[must_use]
    pub fn side(mut self, side: BrokerSide) -> Self {
        self.side = Some(side);
        self
    }

    /// Only packets of the client with this Client Identifier.
    #[must_use]
    pub fn client(mut self, client_identifier: impl Into<String>) -> Self {
        self.client = Some(client_identifier.into());
        self
    }

    /// Only packets of this connection.
    #[must_use]
    pub fn link(mut self, link: ConnectionId) -> Self {
        self.link = Some(link);
        self
    }

    pub(crate) fn selects(&self, packet: &JournalPacket) -> bool {
        self.kind.is_none_or(|kind| packet.kind == Some(kind))
            && self.side.is_none_or(|side| packet.side == side)
            && self.link.is_none_or(|link| packet.link == link)
            && (self.client.as_ref()).is_none_or(|client| *packet.client == **client)
    }
}

impl From<PacketType> for PacketFilter {
    fn from(kind: PacketType) -> Self {
        Self::default().kind(kind)
    }
}
