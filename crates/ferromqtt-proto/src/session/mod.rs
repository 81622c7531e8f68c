//! The session (section 4.1): what outlives a Network Connection.

mod chunks;
mod deliveries;
mod expiry;
mod fifo;
mod in_flight;
mod in_order;
mod inbound;
mod inbox;
mod journal;
mod message;
mod open;
mod outbound;
#[cfg(test)]
mod outbound_tests;
mod packet_id;
mod publish;
mod queue;
mod queue_options;
mod reader;
mod recorded;
mod standstill;
mod subscriptions;
mod suspicion;
mod unclaimed;

pub(crate) use deliveries::{Deliveries, DueAck};
pub use deliveries::{DeliveryId, Unacknowledged};
pub(crate) use expiry::MessageExpiry;
pub(crate) use in_flight::{Acknowledged, InFlight, Owner, Released, WaitingPublish};
pub use in_order::InOrder;
pub(crate) use inbox::Inbox;
pub use inbox::QueueId;
pub(crate) use journal::{Journal, Needed, SessionNeeds};
pub use journal::{JournalEntry, SessionChange};
pub use message::Message;
pub(crate) use open::Open;
pub(crate) use outbound::Outbound;
pub(crate) use queue::{LeftMessage, Pushed};
pub use queue_options::{Acknowledge, Overflow, QueueOptions};
pub(crate) use subscriptions::{Heirs, Identifiers, Subscription, Subscriptions};
pub(crate) use unclaimed::UnclaimedMessage;

pub(crate) use inbound::Arrival;
use inbound::Inbound;
pub use packet_id::IdHasher;
use packet_id::PacketIds;
pub use publish::Publish;
use suspicion::Suspicion;

use crate::event::OpId;
use crate::text::Utf8String;

/// Session state: unacknowledged publishes, QoS 2 identifiers received, messages not acknowledged or not taken yet, and
/// subscriptions.
///
/// Make one with `Session::default()`; get it back from [`Client::into_session`](crate::Client::into_session).
#[derive(Debug, Default)]
pub struct Session {
    pub(crate) ids: PacketIds<IdOwner>,
    pub(crate) outbound: Outbound,
    pub(crate) inbound: Inbound,
    pub(crate) deliveries: Deliveries,
    pub(crate) subscriptions: Subscriptions,
    pub(crate) inbox: Inbox,
    pub(crate) journal: Journal,
    /// Under which Client Identifier it was recorded, if it was restored.
    identity: Option<Utf8String>,
    /// How many connections there have been: their numbers tell which one took a slot of a Receive Maximum.
    pub(crate) connections: u64,
    pub(crate) suspicion: Suspicion,
}

/// Whom a Packet Identifier in use belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum IdOwner {
    /// A PUBLISH awaiting PUBACK or PUBREC: its number in the order of those.
    Publish(u64),
    /// A PUBREL awaiting PUBCOMP: its number in the order of those.
    Release(u64),
    /// A SUBSCRIBE or UNSUBSCRIBE of this connection.
    FilterRequest(OpId),
    /// A PUBLISH that is given up, while the server may still hold it: nobody's, and not free either.
    GivenUp,
}
