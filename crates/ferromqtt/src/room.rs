//! Waiting for room in the outgoing queue.
//!
//! Who waits is accepted in turn by the driver, as soon as there is room, and not by the future that waits: one that
//! nobody polls at the moment holds up nobody else.

use std::collections::VecDeque;
use std::future::Future;
use std::mem;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use ferromqtt_proto as proto;
use proto::{OpId, Outcome};
use tokio::sync::oneshot;

use crate::PublishError;
use crate::publish::no_driver;
use crate::shared::Shared;

/// A message that was accepted, and how it will end; or why it was not.
pub(crate) type Accepted = Result<(OpId, oneshot::Receiver<Outcome>), PublishError>;

/// What a message is published for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Purpose {
    Message,
    Request,
}

#[derive(Debug)]
pub(crate) struct Waiting {
    number: u64,
    pub(crate) purpose: Purpose,
    pub(crate) publish: proto::Publish,
    pub(crate) told: oneshot::Sender<Accepted>,
}

/// A place in the line: its number, and where its end is told.
pub(crate) type Place = (u64, oneshot::Receiver<Accepted>);

/// Those who wait, the longest first. As many as there are calls: the program bounds them.
#[derive(Debug, Default)]
pub(crate) struct Line {
    waiting: VecDeque<Waiting>,
    last: u64,
    /// There may be room for the first.
    may_move: bool,
}

impl Line {
    pub(crate) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    pub(crate) fn enter(&mut self, purpose: Purpose, publish: proto::Publish) -> Place {
        self.last += 1;
        let (told, accepted) = oneshot::channel();
        self.waiting.push_back(Waiting {
            number: self.last,
            purpose,
            publish,
            told,
        });
        (self.last, accepted)
    }

    /// The first is to be tried again.
    pub(crate) const fn move_up(&mut self) {
        self.may_move = true;
    }

    /// Whether the first is to be tried: told once.
    pub(crate) const fn takes_move(&mut self) -> bool {
        mem::replace(&mut self.may_move, false)
    }

    pub(crate) fn pop(&mut self) -> Option<Waiting> {
        self.waiting.pop_front()
    }

    /// The first stays where it was.
    pub(crate) fn push_back_first(&mut self, first: Waiting) {
        self.waiting.push_front(first);
    }

    /// Somebody does not want to wait any longer. Tells whether they were still waiting.
    fn leave(&mut self, number: u64) -> bool {
        let Some(at) = self.waiting.iter().position(|it| it.number == number) else {
            return false;
        };
        self.waiting.remove(at);
        self.may_move = true; // the next one may need less room
        true
    }

    pub(crate) fn take_all(&mut self) -> impl Iterator<Item = Waiting> + use<> {
        mem::take(&mut self.waiting).into_iter()
    }
}

/// Waits in the line. Dropped before, the message is taken back, unless it was accepted meanwhile and is on the wire.
#[derive(Debug)]
pub(crate) struct InLine<'a> {
    shared: &'a Shared,
    number: u64,
    accepted: oneshot::Receiver<Accepted>,
    done: bool,
}

impl<'a> InLine<'a> {
    pub(crate) fn new(shared: &'a Shared, (number, accepted): Place) -> Self {
        Self {
            shared,
            number,
            accepted,
            done: false,
        }
    }
}

impl Future for InLine<'_> {
    type Output = Accepted;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Accepted> {
        let accepted = ready!(Pin::new(&mut self.accepted).poll(cx));
        self.done = true;
        Poll::Ready(accepted.unwrap_or_else(|_| Err(no_driver())))
    }
}

impl Drop for InLine<'_> {
    fn drop(&mut self) {
        if self.done {
            return;
        }
        self.shared.call(|state, _| {
            if !state.line.leave(self.number)
                && let Ok(Ok((op, _))) = self.accepted.try_recv()
            {
                state.forget(op);
            }
        });
        self.shared.idle.notify_one();
    }
}
