//! How many messages a queue holds, what becomes of those beyond that, and who acknowledges them.

/// What happens to a message that finds its queue full. Each loss is counted in [`Stats::lost`](crate::Stats::lost), and the
/// event `Lagged` reports the queue. A QoS 1 or 2 message that is lost is acknowledged all the same (MQTT-4.5.0-2).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Overflow {
    /// The oldest message leaves, or as many of them as it takes for one with a large payload.
    DropOldest,
    /// The new message is not taken.
    DropNewest,
    /// The server waits: a reader that is slower than it loses nothing. The default.
    ///
    /// A QoS 1 or 2 message is kept beyond the limit, and acknowledged only when it fits into the queue, however long
    /// that takes: so the server sends no more than its window, or our Receive Maximum, allows. Acknowledgements leave in
    /// order of receipt (MQTT-4.6.0-2), so a queue like this that is full delays the server's window for all others, and
    /// a reader that lets it stand still receives nothing on any queue after a while. When a queue has withheld
    /// acknowledgements for 5 s, the event `Stalled` reports it.
    ///
    /// QoS 0 has no acknowledgement to withhold. When a QoS 0 message finds the queue full, the client reads nothing more from
    /// its transport, which holds back the server, until the queue is half empty. That holds up all queues too, so it has two
    /// limits:
    ///
    /// - While an operation or a PINGREQ waits for the server, input is read on: until the answer comes, or a QoS 0 message
    ///   is written, since a server that cannot write may not read either. A QoS 0 message that comes before that is kept as
    ///   long as the queue has at most twice as many messages and bytes as its bounds allow, and is lost beyond that. So a
    ///   program that publishes without a pause, to itself even, and does not read meanwhile loses some.
    /// - A queue whose reader has not asked for a message for 5 s is taken to be forgotten. It holds up nobody: a QoS 0
    ///   message that finds it full is lost, and reported as every loss is. It counts again as soon as it is read again.
    #[default]
    Wait,
    /// The queue takes nothing more until its reader has taken what it holds and has asked how many messages are lost, so
    /// that it knows of each gap.
    Fail,
}

/// Who says that a received message is done with.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Acknowledge {
    /// The client, when its queue has taken the message.
    #[default]
    OnReceipt,
    /// The application, by [`Client::acknowledge`](crate::Client::acknowledge) with
    /// [`Message::delivery`](crate::Message::delivery). The server sends no more than its window, or our Receive Maximum,
    /// allows: an application that acknowledges in larger batches waits forever. A
    /// warning is logged then.
    ///
    /// When its queue is closed, what the application has not taken is acknowledged, so that it holds up no other queue
    /// (MQTT-4.6.0-2): it is lost, and an event reports how many messages. Detaching the queue loses nothing, and neither is
    /// anything lost that came by a Shared Subscription of other queues too.
    ByApplication,
}

/// Bounds of a queue, and how its messages are acknowledged.
///
/// Set what differs from one of the constants, and take the rest from it: later versions may add fields.
///
/// ```
/// # use ferromqtt_proto::{Overflow, QueueOptions};
/// let latest = QueueOptions { limit: Some(1), overflow: Overflow::DropOldest, ..QueueOptions::DEFAULT };
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct QueueOptions {
    /// How many messages it holds; `None` is no limit. Default: 100,000.
    pub limit: Option<usize>,
    /// How many bytes of memory they take together: topics, payloads and properties, and 128 bytes for each message
    /// ([`Message::memory_size`](crate::Message::memory_size)); `None` is no limit. An empty queue
    /// takes a message that is larger. Default: 64 MiB.
    ///
    /// What a queue keeps alive beyond that is bounded too. Messages are slices of the memory that was read into; when the
    /// queues keep more than twice as much of that alive as their messages count, and 256 KiB, those that make up little of
    /// it are copied into memory of their own.
    pub bytes: Option<usize>,
    /// What happens beyond these bounds. Default: [`Overflow::Wait`].
    pub overflow: Overflow,
    /// Who acknowledges QoS 1 and 2 messages. Default: the client, on receipt.
    pub acknowledge: Acknowledge,
}

impl QueueOptions {
    /// No bounds: the queue grows for as long as messages come faster than they are taken.
    pub const UNBOUNDED: Self = Self {
        limit: None,
        bytes: None,
        overflow: Overflow::DropOldest,
        acknowledge: Acknowledge::OnReceipt,
    };

    /// 100,000 messages and 64 MiB, beyond which the server [waits](Overflow::Wait); acknowledged on receipt.
    pub const DEFAULT: Self = Self {
        limit: Some(100_000),
        bytes: Some(64 << 20),
        overflow: Overflow::Wait,
        acknowledge: Acknowledge::OnReceipt,
    };

    /// The latest 100,000 messages and 64 MiB: beyond that the oldest leave. Acknowledged on receipt. For a queue that
    /// perhaps nobody reads.
    pub const LATEST: Self = Self {
        overflow: Overflow::DropOldest,
        ..Self::DEFAULT
    };

    /// Whether a queue of `messages` with this many `bytes` may take one more that counts `size`.
    pub(super) fn have_room(&self, messages: usize, bytes: usize, size: usize) -> bool {
        (self.limit).is_none_or(|limit| messages < limit)
            && (self.bytes).is_none_or(|limit| messages == 0 || bytes.saturating_add(size) <= limit)
    }

    /// As many messages and bytes again as these bounds allow: for what cannot be held back.
    pub(super) fn twice(self) -> Self {
        Self {
            limit: self.limit.map(|limit| limit.saturating_mul(2)),
            bytes: self.bytes.map(|limit| limit.saturating_mul(2)),
            ..self
        }
    }

    /// Whether a queue of `messages` with this many `bytes` is half empty. Input that waits for it goes on only then: going
    /// on at the first free place would stop and start the driver for every single message of a flood.
    pub(super) fn are_half_used(&self, messages: usize, bytes: usize) -> bool {
        messages == 0
            || (self.limit).is_none_or(|limit| messages <= limit / 2)
                && (self.bytes).is_none_or(|limit| bytes <= limit / 2)
    }
}

impl Default for QueueOptions {
    /// [`QueueOptions::DEFAULT`].
    fn default() -> Self {
        Self::DEFAULT
    }
}
