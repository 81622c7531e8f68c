//! Waiting for room in the outgoing queue.
//!
//! Who waits is accepted in turn by the driver, as soon as there is room, and not by the future that waits: one that
//! nobody polls at the moment holds up nobody else.

use std::future::Future;
use std::mem;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use ferromqtt_proto as proto;
use proto::{InOrder, OpId, Outcome};
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
    pub(crate) purpose: Purpose,
    pub(crate) publish: proto::Publish,
    pub(crate) told: oneshot::Sender<Accepted>,
}

/// A place in the line: its number, and where its end is told.
pub(crate) type Place = (u64, oneshot::Receiver<Accepted>);

/// Those who wait, the longest first. As many as there are calls: the program bounds them.
#[derive(Debug, Default)]
pub(crate) struct Line {
    /// By the numbers of their places.
    waiting: InOrder<Waiting>,
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
        let waiting = Waiting {
            purpose,
            publish,
            told,
        };
        self.waiting.push(self.last, waiting);
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

    /// The first, with the number of its place.
    pub(crate) fn pop(&mut self) -> Option<(u64, Waiting)> {
        self.waiting.pop_first()
    }

    /// The first stays where it was.
    pub(crate) fn push_back_first(&mut self, number: u64, first: Waiting) {
        self.waiting.push_first(number, first);
    }

    /// Takes out a caller that gives up, unless it has been accepted or refused. Drop the result without the lock: that
    /// may wake somebody.
    fn leave(&mut self, number: u64) -> Option<Waiting> {
        let left = self.waiting.remove(number)?;
        // Only the first is ever tried. The one behind it may need less room.
        self.may_move |= self
            .waiting
            .first_number()
            .is_none_or(|first| first > number);
        Some(left)
    }

    pub(crate) fn take_all(&mut self) -> impl Iterator<Item = Waiting> + use<> {
        self.waiting.drain().map(|(_, waiting)| waiting)
    }
}

/// Waits in the line. Dropped before, the message is taken back, unless it was accepted meanwhile and is on the wire.
#[derive(Debug)]
pub(crate) struct InLine {
    shared: Arc<Shared>,
    number: u64,
    accepted: oneshot::Receiver<Accepted>,
    done: bool,
}

impl InLine {
    pub(crate) fn new(shared: Arc<Shared>, (number, accepted): Place) -> Self {
        Self {
            shared,
            number,
            accepted,
            done: false,
        }
    }

    /// Gives up the place. `false` when it has been accepted or refused: then awaiting this tells which, soon.
    pub(crate) fn leave(&mut self) -> bool {
        let mut state = self.shared.lock();
        let left = state.line.leave(self.number);
        if left.is_some() && state.line.may_move {
            self.shared.call_driver(state);
        } else {
            drop(state);
        }
        self.done |= left.is_some();
        left.is_some()
    }
}

impl Future for InLine {
    type Output = Accepted;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Accepted> {
        let accepted = ready!(Pin::new(&mut self.accepted).poll(cx));
        self.done = true;
        Poll::Ready(accepted.unwrap_or_else(|_| Err(no_driver())))
    }
}

impl Drop for InLine {
    fn drop(&mut self) {
        if self.done {
            return;
        }
        if !self.leave() {
            self.accepted.close(); // or it might be accepted between this and the end of the receiver
            if let Ok(Ok((op, _))) = self.accepted.try_recv() {
                self.shared.forget(op);
            }
        }
        self.shared.idle.notify_one();
    }
}

#[cfg(test)]
mod tests {
    use ferromqtt_proto::TopicName;

    use super::*;

    fn enter(line: &mut Line) -> u64 {
        let publish = proto::Publish::new(TopicName::new("t").unwrap(), "");
        line.enter(Purpose::Message, publish).0
    }

    #[test]
    fn the_first_is_tried_again_only_when_there_is_another_first() {
        let mut line = Line::default();
        let places: Vec<_> = (0..4).map(|_| enter(&mut line)).collect();
        assert!(line.leave(places[2]).is_some());
        assert!(line.leave(places[3]).is_some());
        assert!(
            !line.takes_move(),
            "the first waits for as much room as before"
        );
        assert!(line.leave(places[0]).is_some());
        assert!(line.takes_move());
        assert!(!line.takes_move());
        assert!(line.leave(places[0]).is_none(), "it has left");
        assert!(!line.takes_move());
        assert_eq!(line.pop().map(|(place, _)| place), Some(places[1]));
        assert!(line.is_empty());
    }

    #[test]
    fn whoever_cannot_be_let_in_keeps_the_first_place() {
        let mut line = Line::default();
        let places: Vec<_> = (0..3).map(|_| enter(&mut line)).collect();
        let (place, first) = line.pop().unwrap();
        line.push_back_first(place, first);
        let order: Vec<_> = std::iter::from_fn(|| line.pop())
            .map(|(place, _)| place)
            .collect();
        assert_eq!(order, places);
    }
}
