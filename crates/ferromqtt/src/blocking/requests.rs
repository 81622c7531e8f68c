//! Requests, for threads that wait for them.

use std::fmt;
use std::ops::Deref;
use std::time::{Duration, Instant};

use super::{Messages, RecvError};
use crate::{RequestMessage, SubscribeError};

/// Blocking [`crate::Requests`]: the requests that a responder gets, in order of arrival, as an iterator that waits for the next.
/// From [`Client::responder`](super::Client::responder).
///
/// Answer by [`Client::respond`](super::Client::respond), which waits; [`RequestMessage::respond`] is for tasks. Bounds, losses
/// and how it ends are those of [`Messages`]. Messages that ask for no response are passed over, as by [`crate::Requests`].
///
/// ```no_run
/// # fn example(client: ferromqtt::blocking::Client) -> Result<(), ferromqtt::Error> {
/// for question in client.responder("clock").wait()? {
///     client.respond(&question, "half past nine").wait()?;
/// }
/// # Ok(()) }
/// ```
#[must_use = "dropping a stream of requests ends its subscription, unless the session outlives the program"]
pub struct Requests {
    messages: Messages,
    passed_over: u64,
}

impl Requests {
    pub(super) fn new(requests: crate::Requests) -> Self {
        Self {
            messages: Messages::new(requests.into_messages()),
            passed_over: 0,
        }
    }

    /// Waits for the next one.
    ///
    /// # Errors
    /// As [`Messages::recv`].
    pub fn recv(&mut self) -> Result<RequestMessage, RecvError> {
        self.receive(Messages::recv)
    }

    /// Waits for the next one, for no longer than `limit`.
    ///
    /// # Errors
    /// [`RecvError::Empty`] when none has come by then; and as [`recv`](Self::recv).
    pub fn recv_timeout(&mut self, limit: Duration) -> Result<RequestMessage, RecvError> {
        let start = Instant::now();
        self.receive(|messages| messages.recv_timeout(limit.saturating_sub(start.elapsed())))
    }

    /// The next one if it is there already, without waiting.
    ///
    /// # Errors
    /// [`RecvError::Empty`] when there is none now; and as [`Messages::try_recv`].
    pub fn try_recv(&mut self) -> Result<RequestMessage, RecvError> {
        self.receive(Messages::try_recv)
    }

    /// How many messages asked for no response, and were passed over.
    pub const fn passed_over(&self) -> u64 {
        self.passed_over
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
        self.messages.unsubscribe()
    }

    /// Ends the reader, but not the subscription. See [`crate::Messages::detach`].
    pub fn detach(self) {
        self.messages.detach();
    }

    fn receive(
        &mut self,
        next: impl Fn(&mut Messages) -> Result<crate::Message, RecvError>,
    ) -> Result<RequestMessage, RecvError> {
        loop {
            let message = next(&mut self.messages)?;
            let messages = &self.messages.messages;
            match RequestMessage::admit(&messages.shared, &messages.templates, message) {
                Some(request) => return Ok(request),
                None => self.passed_over += 1,
            }
        }
    }
}

impl Iterator for Requests {
    type Item = RequestMessage;

    fn next(&mut self) -> Option<RequestMessage> {
        self.recv().ok()
    }
}

/// What the server has granted, how many messages wait, and the like.
impl Deref for Requests {
    type Target = crate::Messages;

    fn deref(&self) -> &crate::Messages {
        &self.messages
    }
}

impl fmt::Debug for Requests {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Requests").field(&**self).finish()
    }
}
