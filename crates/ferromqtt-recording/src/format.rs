//! What a recording's writer and its reader have in common.

use ferromqtt_proto::packet::PacketType;

/// The version of the format.
pub(crate) const VERSION: u64 = 1;

/// Who gets a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Receiver {
    /// The client sent it.
    Server,
    /// The server sent it.
    Client,
}

impl Receiver {
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Server => "server",
            Self::Client => "client",
        }
    }
}

/// Which side ended a link first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ClosedBy {
    /// The client.
    Client,
    /// The server, or whatever lies between.
    Server,
}

/// The name of the type in a first byte.
pub(crate) fn kind_name(first_byte: u8) -> &'static str {
    PacketType::from_first_byte(first_byte).map_or("?", PacketType::name)
}
