//! What the engine hands out: tokens whose wait is over, and facts.

use ferromqtt_proto::{ConnectionError, Delivery, Outcome};

use crate::{Fact, PublishRefusal, Tokens};

/// Something for the face to do without its lock. From [`Engine::next_woken`](crate::Engine::next_woken).
pub enum Woken<T: Tokens> {
    /// The wait of a call is over.
    Call(T::Call, CallEnd),
    /// A reader is to look again: at its queue, or at the events.
    Reader(T::Reader),
    /// Something happened, for logs and hooks. Handed out in the order in which it happened.
    Fact(Fact),
}

/// How the wait of a call ended.
#[derive(Clone, Debug, PartialEq)]
pub enum CallEnd {
    /// The operation has this outcome.
    Completed(Outcome),
    /// A message that waited for capacity is accepted. Another token waits for its outcome.
    Accepted,
    /// A message that waited for capacity in the [outgoing queue](crate::Engine::queue_publish) is accepted. Another token waits
    /// for its outcome.
    Queued {
        /// The message.
        key: u64,
    },
    /// A message that waited for capacity is refused: it was never accepted.
    Refused(PublishRefusal),
    /// The deadline is over. What had not been sent is withdrawn.
    TimedOut(Delivery),
    /// An authentication that the client began has ended: the server accepted it, or the connection ended.
    ReAuthenticated(Result<(), ConnectionError>),
    /// The engine has ended before the message: it stays in the [outgoing queue](crate::Engine::queue_publish) under its key, by
    /// which another engine reports how it ends.
    Kept {
        /// The message.
        key: u64,
    },
    /// A message of the [outgoing queue](crate::Engine::queue_publish) is [on record](crate::Engine::await_stored), or has ended. Another
    /// token waits for its outcome.
    Stored {
        /// The message.
        key: u64,
    },
    /// A message of the outgoing queue is not on record, and does not get there for now: the store has failed, there is none, or
    /// the engine has ended.
    NotStored {
        /// The message.
        key: u64,
    },
    /// The driver has gone, and nothing will come any more.
    DriverGone,
}
