//! The tokens that the engine holds, to look at: for garbage collectors, and to find out who waits.

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
}
