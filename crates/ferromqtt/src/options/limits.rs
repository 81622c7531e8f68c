//! Options that limit what the server sends, and what the client sends and keeps.

use std::num::{NonZeroU16, NonZeroU32};

use ferromqtt_engine::OutgoingQueueOptions;

use super::Options;
use crate::{OutgoingLimits, OutgoingPolicy};

/// What an option expects that cannot be 0.
const ONE_OR_MORE: &str = "1 or more";

/// # Limits
impl Options {
    /// Receive Maximum (5.0): how many QoS 1 and 2 messages the server may have unacknowledged. Default: 65,535. 0 is refused
    /// when connecting, as [`OptionsError::OutOfRange`](crate::OptionsError::OutOfRange).
    ///
    /// A server that sends more is disconnected only when it exceeds 65,535 messages, or 64 MiB, or if the client is
    /// [strict](Self::strict).
    #[must_use]
    pub fn receive_maximum(mut self, messages: u16) -> Self {
        let maximum = NonZeroU16::new(messages);
        let option = "receive_maximum";
        if let Some(maximum) = self.refused.note(option, messages, maximum, ONE_OR_MORE) {
            self.core.properties.receive_maximum = Some(maximum);
        }
        self
    }

    /// How many bytes a packet from the server may have; a larger one is refused before it is read. Default: no limit but
    /// MQTT's, 256 MiB. 0 is refused when connecting, as [`OptionsError::OutOfRange`](crate::OptionsError::OutOfRange).
    ///
    /// On 5.0 it is announced as Maximum Packet Size, and a server that keeps to it drops larger messages (MQTT-3.1.2-25).
    /// Earlier versions cannot announce it: there a larger packet ends the connection as
    /// [`ConnectionError::PacketTooLarge`](crate::ConnectionError::PacketTooLarge), and again in the next one if the server
    /// resends it.
    #[must_use]
    pub fn maximum_packet_size(mut self, bytes: u32) -> Self {
        let size = NonZeroU32::new(bytes);
        let option = "maximum_packet_size";
        if let Some(size) = self.refused.note(option, bytes, size, ONE_OR_MORE) {
            self.core.maximum_packet_size = Some(size);
        }
        self
    }

    /// How many bytes a packet other than PUBLISH may have from the server, such as CONNACK, SUBACK and DISCONNECT. Default:
    /// 1 MiB. 0 is refused when connecting, as [`OptionsError::OutOfRange`](crate::OptionsError::OutOfRange).
    ///
    /// A larger one is refused before it is read, and ends the connection as
    /// [`ConnectionError::NonPublishTooLarge`](crate::ConnectionError::NonPublishTooLarge); on 5.0 DISCONNECT says Quota
    /// exceeded. Such packets carry no message, and CONNACK comes before the server has proved who it is, so this bounds
    /// what a stranger can have the client hold.
    #[must_use]
    pub fn maximum_non_publish_size(mut self, bytes: u32) -> Self {
        let size = NonZeroU32::new(bytes);
        let option = "maximum_non_publish_size";
        if let Some(size) = self.refused.note(option, bytes, size, ONE_OR_MORE) {
            self.core.maximum_non_publish_size = size;
        }
        self
    }

    /// How many QoS 1 and 2 messages may be unacknowledged at once, if that is less than the server's Receive Maximum.
    /// Default: that alone, and before 5.0, where a server cannot say how many it takes, 20. 0 is refused when connecting, as
    /// [`OptionsError::OutOfRange`](crate::OptionsError::OutOfRange).
    ///
    /// More than 20 before 5.0 make QoS 1 faster where the way is long. Of QoS 2 messages, though, mosquitto 2.0 passes on no
    /// more than 20 of those that were in flight when the connection was cut, while it acknowledges all.
    #[must_use]
    pub fn max_in_flight(mut self, messages: u16) -> Self {
        let window = NonZeroU16::new(messages);
        if let Some(window) = (self.refused).note("max_in_flight", messages, window, ONE_OR_MORE) {
            self.core.max_in_flight = Some(window);
        }
        self
    }

    /// Bounds of the outgoing queue, in messages and in bytes of whole messages. At least one message is always accepted.
    /// Default: 1,000 messages and 16 MiB.
    #[must_use]
    pub const fn outgoing(mut self, limits: OutgoingLimits) -> Self {
        self.core.outgoing = limits;
        self
    }

    /// What happens to a publish that would exceed these bounds. Default: [`OutgoingPolicy::Wait`], it waits for capacity.
    #[must_use]
    pub const fn outgoing_policy(mut self, policy: OutgoingPolicy) -> Self {
        self.core.outgoing_policy = policy;
        self
    }

    /// Has [`enqueue`](crate::Publish::enqueue) and [`try_enqueue`](crate::Publish::try_enqueue) accept messages into an outgoing queue
    /// of their own, with these bounds:
    /// messages may then [expire](crate::Publish::expires_in) on every version of MQTT, and
    /// [replace](crate::Publish::keep_latest) others. Default: no such queue; what is enqueued waits among what is published, within
    /// [`outgoing`](Self::outgoing).
    ///
    /// It accepts messages while the first connection is being made and between two connections. They are sent in their order,
    /// and may be overtaken by those that are awaited without being enqueued. It counts messages until they have ended, whether
    /// they wait or are on their way: `limits` are its bounds, and `policy` says what happens to a message that would exceed
    /// them. Only messages are dropped that never were on the wire.
    ///
    /// [`Connection::disconnect`](crate::Connection::disconnect) and [`Connection::drain`](crate::Connection::drain) wait for
    /// what it holds. When no connection follows, each message that is left ends as
    /// [`PublishError::Disconnected`](crate::PublishError::Disconnected).
    ///
    /// ```
    /// use ferromqtt::{Options, OutgoingLimits, OutgoingPolicy};
    ///
    /// let few = OutgoingLimits { messages: Some(500), ..OutgoingLimits::default() };
    /// let options = Options::new("localhost", 1883).outgoing_queue(few, OutgoingPolicy::DropOldest);
    /// ```
    #[must_use]
    pub fn outgoing_queue(mut self, limits: OutgoingLimits, policy: OutgoingPolicy) -> Self {
        self.outgoing_queue = Some(OutgoingQueueOptions {
            limits,
            policy,
            outlives_connection: false,
            ..OutgoingQueueOptions::default()
        });
        self
    }

    /// How many Topic Aliases to assign at most (5.0), beside the server's Topic Alias Maximum: a topic that is published to
    /// again is then left out of the packet. Default: 0, which assigns none.
    #[must_use]
    pub const fn topic_aliases_out(mut self, maximum: u16) -> Self {
        self.core.topic_aliases_out = maximum;
        self
    }
}
