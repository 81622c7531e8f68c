//! The tokens that the engine holds, to look at: for garbage collectors, and to find out who waits.

use std::mem;

use crate::{Engine, Tokens, Woken};

impl<T: Tokens> Engine<T> {
    /// The tokens of all calls that wait, and of those whose end was not handed out yet.
    pub fn held_calls(&self) -> impl Iterator<Item = &T::Call> {
        let woken = self.woken.iter().filter_map(|woken| match woken {
            Woken::Call(token, _) => Some(token),
            Woken::Reader(_) | Woken::Fact(_) => None,
        });
        (self.calls.tokens())
            .chain(self.line.tokens())
            .chain(self.outgoing.iter().flat_map(|queue| queue.tokens()))
            .chain(self.stored.tokens())
            .chain(&self.re_authenticating)
            .chain(woken)
    }

    /// The tokens of all readers that wait, of messages and events, and of those that were not handed out yet.
    pub fn held_readers(&self) -> impl Iterator<Item = &T::Reader> {
        let woken = self.woken.iter().filter_map(|woken| match woken {
            Woken::Reader(token) => Some(token),
            Woken::Call(..) | Woken::Fact(_) => None,
        });
        (self.readers.tokens())
            .chain(self.events.tokens())
            .chain(woken)
    }

    /// Takes out all tokens without an end: for a garbage collector that has found that nobody can wait for them. Drop them
    /// without a lock.
    pub fn take_held(&mut self) -> (Vec<T::Call>, Vec<T::Reader>) {
        let mut calls: Vec<_> = self.calls.take_all().collect();
        for (_, entry) in self.line.take_all() {
            calls.extend(entry.accepted);
            calls.push(entry.outcome);
        }
        if let Some(queue) = &mut self.outgoing {
            for (_, entry) in queue.line.take_all() {
                calls.extend(entry.accepted);
                calls.push(entry.outcome);
            }
            let tokens = queue.take_tokens(|_| true);
            calls.extend(tokens.into_iter().map(|(_, token)| token));
        }
        calls.extend(self.stored.take_all().map(|(_, token)| token));
        calls.extend(self.re_authenticating.drain(..));
        let mut readers: Vec<_> = self.readers.take_all().collect();
        readers.extend(self.events.take_tokens());
        for woken in mem::take(&mut self.woken) {
            match woken {
                Woken::Call(token, _) => calls.push(token),
                Woken::Reader(token) => readers.push(token),
                Woken::Fact(_) => self.woken.push_back(woken),
            }
        }
        (calls, readers)
    }
}
