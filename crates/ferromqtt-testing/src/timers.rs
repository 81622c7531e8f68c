//! The deadlines of connections and sessions.

use std::collections::{BTreeSet, HashMap};
use std::time::Instant;

use crate::connection::ConnectionId;
use crate::session::SessionId;

/// Whose deadline it is. What is due then, its owner knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Timer {
    Connection(ConnectionId),
    Session(SessionId),
    Link(ConnectionId),
    /// What a script of faults has scheduled.
    Scheduled,
}

/// At most one deadline for each owner.
///
/// A deadline that moves away, as Keep Alive does with every packet, is not touched: it fires early, and its owner arms
/// it again. That keeps the cost of a packet free of it.
#[derive(Debug, Default)]
pub(crate) struct Timers {
    by_time: BTreeSet<(Instant, Timer)>,
    armed: HashMap<Timer, Instant>,
}

impl Timers {
    /// Makes `timer` fire at `at`, or earlier when it is armed so already.
    pub(crate) fn arm(&mut self, timer: Timer, at: Instant) {
        if self.armed.get(&timer).is_some_and(|&armed| armed <= at) {
            return;
        }
        self.disarm(timer);
        self.armed.insert(timer, at);
        self.by_time.insert((at, timer));
    }

    pub(crate) fn disarm(&mut self, timer: Timer) {
        if let Some(at) = self.armed.remove(&timer) {
            self.by_time.remove(&(at, timer));
        }
    }

    /// The earliest deadline.
    pub(crate) fn next(&self) -> Option<Instant> {
        self.by_time.first().map(|&(at, _)| at)
    }

    /// Takes out one timer that is due.
    pub(crate) fn pop_due(&mut self, now: Instant) -> Option<Timer> {
        let &(at, timer) = self.by_time.first()?;
        if at > now {
            return None;
        }
        self.disarm(timer);
        Some(timer)
    }
}
