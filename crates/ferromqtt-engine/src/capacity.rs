//! Waiting for capacity in the outgoing queue.
//!
//! The engine admits waiting messages in order as capacity frees up. Admission does not depend on the waiting caller being
//! polled, so a stalled one cannot block the others.

use std::mem;
use std::time::Instant;

use ferromqtt_proto::{InOrder, Publish};

use crate::calls::CallId;

/// What a message is published for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// For those who have subscribed to its topic.
    Message,
    /// As a request, whose response is its outcome.
    Request,
}

/// What became of a message that was submitted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Submission {
    /// It was accepted: its token waits for the outcome.
    Accepted(CallId),
    /// It waits for capacity.
    Waits(CallId),
}

/// How a message may wait in the [outgoing queue](crate::Engine::queue_publish).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct WaitingTerms {
    /// When it must no longer be sent.
    pub(crate) expires_at: Option<Instant>,
    /// A newer one to the same topic takes its place.
    pub(crate) keep_latest: bool,
}

/// A message that waits, and the tokens of its caller.
#[derive(Debug)]
pub(crate) struct LineEntry<C> {
    pub(crate) purpose: Purpose,
    pub(crate) publish: Publish,
    /// How it waits in the outgoing queue, if it is for that.
    pub(crate) terms: WaitingTerms,
    /// Waits for the outcome.
    pub(crate) outcome: C,
    /// Waits until the message is accepted, if the caller wants to know. The deadline is for that wait then.
    pub(crate) accepted: Option<C>,
    pub(crate) deadline: Option<Instant>,
}

/// The messages that wait, the longest first. As many as there are calls: the program bounds them.
#[derive(Debug)]
pub(crate) struct CapacityLine<C> {
    /// By the numbers of their places.
    entries: InOrder<LineEntry<C>>,
    last: u64,
    /// There may be capacity for the first.
    may_move: bool,
}

impl<C> Default for CapacityLine<C> {
    fn default() -> Self {
        Self {
            entries: InOrder::default(),
            last: 0,
            may_move: false,
        }
    }
}

impl<C> CapacityLine<C> {
    pub(crate) const fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Appends a message, and returns the number of its place.
    pub(crate) fn enter(&mut self, entry: LineEntry<C>) -> u64 {
        self.last += 1;
        self.entries.push(self.last, entry);
        self.last
    }

    /// The first is to be tried again.
    pub(crate) const fn move_up(&mut self) {
        self.may_move = true;
    }

    /// Whether the first is to be tried: reported once.
    pub(crate) const fn takes_move(&mut self) -> bool {
        mem::replace(&mut self.may_move, false)
    }

    /// The first, with the number of its place.
    pub(crate) fn pop(&mut self) -> Option<(u64, LineEntry<C>)> {
        self.entries.pop_first()
    }

    /// The first stays where it was.
    pub(crate) fn push_back_first(&mut self, place: u64, first: LineEntry<C>) {
        self.entries.push_first(place, first);
    }

    /// Takes out a message whose caller gives up, if it still waits.
    pub(crate) fn leave(&mut self, place: u64) -> Option<LineEntry<C>> {
        let left = self.entries.remove(place)?;
        // Only the first is ever tried. The one behind it may need less capacity.
        self.may_move |= self
            .entries
            .first_number()
            .is_none_or(|first| first > place);
        Some(left)
    }

    pub(crate) fn tokens(&self) -> impl Iterator<Item = &C> {
        let entries = self.entries.iter().map(|(_, entry)| entry);
        entries.flat_map(|entry| entry.accepted.iter().chain([&entry.outcome]))
    }

    pub(crate) fn take_all(&mut self) -> impl Iterator<Item = (u64, LineEntry<C>)> + use<C> {
        self.entries.drain()
    }
}

#[cfg(test)]
mod tests {
    use ferromqtt_proto::TopicName;

    use super::*;

    fn enter(line: &mut CapacityLine<u32>) -> u64 {
        line.enter(LineEntry {
            purpose: Purpose::Message,
            publish: Publish::new(TopicName::new("t").unwrap(), ""),
            terms: WaitingTerms::default(),
            outcome: 0,
            accepted: None,
            deadline: None,
        })
    }

    #[test]
    fn the_first_is_tried_again_only_when_there_is_another_first() {
        let mut line = CapacityLine::default();
        let places: Vec<_> = (0..4).map(|_| enter(&mut line)).collect();
        assert!(line.leave(places[2]).is_some());
        assert!(line.leave(places[3]).is_some());
        assert!(
            !line.takes_move(),
            "the first waits for as much capacity as before"
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
        let mut line = CapacityLine::default();
        let places: Vec<_> = (0..3).map(|_| enter(&mut line)).collect();
        let (place, first) = line.pop().unwrap();
        line.push_back_first(place, first);
        let order: Vec<_> = std::iter::from_fn(|| line.pop())
            .map(|(place, _)| place)
            .collect();
        assert_eq!(order, places);
    }
}
