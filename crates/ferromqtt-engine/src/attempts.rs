//! Where attempts to connect lead to, so that each end is reported with its own address.

use std::collections::VecDeque;
use std::sync::Arc;

use crate::{Engine, Tokens};

/// How many addresses that have accepted a connection are kept, the latest ones: a Server Reference may name any number.
const MOST_ACCEPTED: usize = 64;

/// The addresses of attempts, as people read them.
#[derive(Debug, Default)]
pub(crate) struct Attempts {
    /// Of the present attempt or connection, or of the last one.
    current: Arc<str>,
    /// Of the connection or attempt that ended last.
    ended: Arc<str>,
    /// The transport of the present one was opened.
    pub(crate) opened: bool,
    /// Those that have accepted a connection since the engine was started.
    pub(crate) accepted: VecDeque<Arc<str>>,
}

impl Attempts {
    pub(crate) fn accept(&mut self) {
        if self.has_accepted(&self.current) {
            return;
        }
        if self.accepted.len() == MOST_ACCEPTED {
            self.accepted.pop_front();
        }
        self.accepted.push_back(Arc::clone(&self.current));
    }

    /// The present one has ended. Returns its address, and whether the server there has accepted a connection.
    pub(crate) fn end(&mut self) -> (Arc<str>, bool) {
        self.ended = Arc::clone(&self.current);
        (Arc::clone(&self.ended), self.has_accepted(&self.ended))
    }

    fn has_accepted(&self, address: &str) -> bool {
        self.accepted.iter().any(|accepted| **accepted == *address)
    }
}

impl<T: Tokens> Engine<T> {
    /// Says where the attempt leads to that was [requested](crate::LinkRequest::Open): host and port, or the path of a Unix
    /// socket, as people are to read it. The end of the attempt, and of the connection that it makes, is reported with it.
    pub fn begin_attempt(&mut self, address: impl Into<Arc<str>>) {
        self.take_events(); // the end of the one before has its own address
        self.attempts.current = address.into();
        self.attempts.opened = false;
    }

    /// Whether the present attempt, or the last one, has opened its transport: if it ends without CONNACK, something is there,
    /// and does not answer.
    pub const fn has_opened(&self) -> bool {
        self.attempts.opened
    }

    /// Where the present attempt or connection leads to, or the last one led to. Empty before any.
    pub fn address(&self) -> &str {
        &self.attempts.current
    }

    /// Where the connection or attempt led to that [ended last](Self::last_end).
    pub fn last_end_address(&self) -> &str {
        &self.attempts.ended
    }

    /// Whether the server at this address has accepted a connection since the engine was started.
    pub fn has_accepted(&self, address: &str) -> bool {
        self.attempts.has_accepted(address)
    }
}
