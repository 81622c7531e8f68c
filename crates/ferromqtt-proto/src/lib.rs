//! The sans-IO core of ferromqtt: everything MQTT knows, and nothing of sockets, clocks or futures.
mod client;
pub mod codec;
mod connection;
mod error;
mod event;
mod options;
pub mod packet;
mod reconnect;
mod session;
#[cfg(test)]
mod tests_support;
mod text;
mod topic;

pub use connection::CHUNK;
pub use client::{Client, Publish, Stats, Subscribe, Unsubscribe};
pub use error::{
    ConnectionError, DecodeError, OptionsError, PublishError, StringError, SubscribeError,
    TopicError, TransportError,
};
pub use event::{Connected, Delivery, Event, OpId, Outcome, TransportRequest};
pub use options::{CleanStart, OnSessionLost, Options, OutgoingLimits};
pub use packet::{
    PacketId, Properties, ProtocolVersion, QoS, ReasonCode, RetainHandling, SubscriptionOptions,
    Will,
};
pub use reconnect::Reconnect;
pub use session::{Message, Overflow, QueueId, QueueOptions, Session};
pub use text::Utf8String;
pub use topic::{TopicFilter, TopicName};
