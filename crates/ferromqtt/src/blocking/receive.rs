//! Messages and events, for threads that wait for them.

use std::future::Future;
use std::ops::Deref;
use std::time::Duration;

use thiserror::Error;

use super::UNCHECKED;
use super::park::{deadline, park_on, park_until};
use super::process::check_runtime;
use crate::shared::Shared;
use crate::{ConnectionError, ConnectionEvent, Message, SubscribeError};

/// A reader has nothing to give.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum RecvError {
    /// Nothing has come within the time limit, or nothing is there now. More may follow.
    #[error("nothing has come so far: wait longer, or check that somebody publishes")]
    Empty,
    /// Nothing will come any more: the connection has ended for good ([`Client::end_cause`](super::Client::end_cause)), or the
    /// subscription has ([`Messages::recv`]).
    #[error("nothing will come any more: the connection or the subscription has ended")]
    Ended,
    /// The call must not wait here: [`ConnectionError::InsideRuntime`] or [`ConnectionError::Forked`].
    #[error("cannot receive: {0}")]
    Refused(ConnectionError),
}

/// Refuses to wait where a reader must not. No time at all is no waiting.
fn check(shared: &Shared, limit: Option<Duration>) -> Result<(), RecvError> {
    let checked = match limit {
        Some(Duration::ZERO) => shared.check(),
        _ => shared.check().and_then(|()| check_runtime()),
    };
    checked.map_err(RecvError::Refused)
}

/// Waits for what a stream gives next, at most as long as `limit`.
fn receive<T>(
    limit: Option<Duration>,
    next: impl Future<Output = Option<T>>,
) -> Result<T, RecvError> {
    match park_until(next, deadline(limit)) {
        Some(Some(item)) => Ok(item),
        Some(None) => Err(RecvError::Ended),
        None => Err(RecvError::Empty),
    }
}

/// The ways to wait for the next `$item`, by a method `receive` of the type.
macro_rules! waits_for_next {
    ($reader:ty, $item:ty, $(#[$ends:meta])*) => {
        impl $reader {
            /// Waits for the next one.
            ///
            /// # Errors
            $(#[$ends])*
            /// [`RecvError::Refused`] where it must not wait.
            pub fn recv(&mut self) -> Result<$item, RecvError> {
                self.receive(None)
            }

            /// Waits for the next one, for no longer than `limit`.
            ///
            /// # Errors
            /// [`RecvError::Empty`] when none has come by then; and as [`recv`](Self::recv).
            pub fn recv_timeout(&mut self, limit: Duration) -> Result<$item, RecvError> {
                self.receive(Some(limit))
            }

            /// The next one if it is there already, without waiting.
            ///
            /// # Errors
            /// [`RecvError::Empty`] when there is none now; and as [`recv`](Self::recv), but it works inside a tokio runtime
            /// too.
            pub fn try_recv(&mut self) -> Result<$item, RecvError> {
                self.receive(Some(Duration::ZERO))
            }
        }

        impl Iterator for $reader {
            type Item = $item;

            fn next(&mut self) -> Option<$item> {
                self.recv().ok()
            }
        }
    };
}

/// Blocking [`crate::Messages`]: the messages of one subscription, in order of arrival, as an iterator that waits for the next.
///
/// It ends when the connection has ended for good and every message is taken; a connection that is lost and made again does not
/// end it. Bounds, acknowledging, losses and what dropping it does are those of [`crate::Messages`]. It does not keep the
/// connection: that ends with the last [`Client`](super::Client).
///
/// Where it must not wait (see [`RecvError::Refused`]) the iterator ends too, so use [`recv`](Self::recv) where that matters.
///
/// ```no_run
/// # fn example(client: ferromqtt::blocking::Client) -> Result<(), ferromqtt::Error> {
/// use std::time::Duration;
///
/// use ferromqtt::blocking::RecvError;
///
/// let mut doors = client.subscribe("door/#").wait()?;
/// loop {
///     match doors.recv_timeout(Duration::from_secs(10)) {
///         Ok(message) => println!("{}", message.topic),
///         Err(RecvError::Empty) => println!("all is quiet"),
///         Err(error) => return Err(error.into()),
///     }
/// }
/// # }
/// ```
#[must_use = "dropping a stream of messages ends its subscription, unless the session outlives the program"]
pub struct Messages {
    pub(super) messages: crate::Messages,
    /// How many were taken without asking for the process in between.
    taken: u32,
}

waits_for_next! { Messages, Message,
    /// [`RecvError::Ended`] when none will come any more: the connection has ended for good, each filter was
    /// [unsubscribed](super::Client::unsubscribe) or [refused](crate::Messages::not_subscribed) by the server, or a queue with
    /// [`Overflow::Fail`](crate::Overflow::Fail) has overflown. In the last case the next call goes on behind the gap once
    /// [`take_lost`](Messages::take_lost) has told it.
}

impl Messages {
    pub(super) const fn new(messages: crate::Messages) -> Self {
        let taken = 0;
        Self { messages, taken }
    }

    fn receive(&mut self, limit: Option<Duration>) -> Result<Message, RecvError> {
        if self.taken.is_multiple_of(UNCHECKED) {
            check(&self.messages.shared, Some(Duration::ZERO))?;
        }
        if let Some(message) = self.messages.take_now() {
            self.taken = self.taken.wrapping_add(1);
            return Ok(message);
        }
        check(&self.messages.shared, limit)?;
        receive(limit, self.messages.next())
    }

    /// How many messages the full queue has lost since the last call. See [`crate::Messages::take_lost`].
    pub fn take_lost(&mut self) -> u64 {
        self.messages.take_lost()
    }

    /// Ends the subscription, and waits until the server has confirmed it. See [`crate::Messages::unsubscribe`].
    ///
    /// # Errors
    /// As [`Client::unsubscribe`](super::Client::unsubscribe).
    pub fn unsubscribe(self) -> Result<(), SubscribeError> {
        let checked = self.messages.shared.check().and_then(|()| check_runtime());
        checked.map_err(SubscribeError::not_sent)?;
        park_on(self.messages.unsubscribe())
    }

    /// Ends the reader, but not the subscription: the server keeps it in the session. See [`crate::Messages::detach`].
    pub fn detach(self) {
        if self.messages.shared.check().is_ok() {
            self.messages.detach();
        }
    }
}

/// What the server has granted, how many messages wait, and the like. In a forked child no message waits.
impl Deref for Messages {
    type Target = crate::Messages;

    fn deref(&self) -> &crate::Messages {
        &self.messages
    }
}

/// Blocking [`crate::Events`]: what happens to a connection, in order, as an iterator that waits for the next. From
/// [`Client::events`](super::Client::events). It ends behind the last
/// [`Disconnected`](ConnectionEvent::Disconnected), and where it must not wait.
pub struct Events(pub(super) crate::Events);

waits_for_next! { Events, ConnectionEvent,
    /// [`RecvError::Ended`] when the connection has ended for good and all events have been taken.
}

impl Events {
    fn receive(&mut self, limit: Option<Duration>) -> Result<ConnectionEvent, RecvError> {
        check(&self.0.shared, limit)?;
        receive(limit, self.0.next())
    }
}
