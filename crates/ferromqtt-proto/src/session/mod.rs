//! The session (section 4.1): what outlives a Network Connection.

mod expiry;
mod fifo;
mod in_order;
mod inbound;
mod inbox;
mod outbound;
mod packet_id;
mod subscriptions;

pub(crate) use expiry::Expiry;
pub(crate) use inbox::Inbox;
pub use inbox::{Message, Overflow, QueueId, QueueOptions};
pub(crate) use outbound::{Acknowledged, InFlight, Outbound, Waiting};
pub(crate) use subscriptions::{Subscription, Subscriptions};

use inbound::Inbound;
use packet_id::PacketIds;

use crate::event::OpId;

/// Session state: unacknowledged publishes, QoS 2 identifiers received, subscriptions, and messages not yet taken.
///
/// Make one with `Session::default()`; get it back from [`Client::into_session`](crate::Client::into_session).
#[derive(Debug, Default)]
pub struct Session {
    pub(crate) ids: PacketIds<IdOwner>,
    pub(crate) outbound: Outbound,
    pub(crate) inbound: Inbound,
    pub(crate) subscriptions: Subscriptions,
    pub(crate) inbox: Inbox,
    /// How many connections there have been: their numbers tell which one took a slot of a Receive Maximum.
    pub(crate) connections: u64,
}

/// Whom a Packet Identifier in use belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum IdOwner {
    /// A PUBLISH awaiting PUBACK or PUBREC: its number in the order of those.
    Publish(u64),
    /// A PUBREL awaiting PUBCOMP: its number in the order of those.
    Release(u64),
    /// A SUBSCRIBE or UNSUBSCRIBE of this connection.
    Request(OpId),
}
