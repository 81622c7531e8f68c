//! The tokens of those who wait for the outcomes of messages of the outgoing queue.

use crate::outgoing_queue::OutgoingMessages;

impl<C> OutgoingMessages<C> {
    pub(crate) fn tokens(&self) -> impl Iterator<Item = &C> {
        (self.in_memory())
            .filter_map(|(_, message)| message.token.as_ref())
            .chain(self.distant.tokens().map(|(_, token)| token))
            .chain(self.line.tokens())
    }

    /// The token that waits for a message, if any.
    pub(crate) fn token(&self, key: u64) -> Option<&C> {
        match self.get(key) {
            Some(message) => message.token.as_ref(),
            None => self.distant.token(key),
        }
    }

    /// Takes the token of a message, which stays.
    pub(crate) fn take_token(&mut self, key: u64) -> Option<C> {
        match self.get_mut(key) {
            Some(message) => message.token.take(),
            None => self.distant.take_token(key),
        }
    }

    /// The messages that somebody waits for, with the numbers of the entries by which they were accepted.
    pub(crate) fn accepted_at(&self) -> impl Iterator<Item = (u64, u64)> {
        let awaited = (self.in_memory()).filter(|(_, message)| message.token.is_some());
        let behind = self.distant.tokens().map(|(key, _)| (key, 0));
        (awaited.map(|(key, message)| (key, message.recorded_at))).chain(behind)
    }

    /// Takes the tokens of the messages that `is_taken` names, which stay.
    pub(crate) fn take_tokens_of(&mut self, is_taken: impl Fn(u64) -> bool) -> Vec<(u64, C)> {
        self.take_tokens_if(|key, _| is_taken(key))
    }

    /// Takes the tokens that `is_taken` names, with the keys of their messages, which stay.
    pub(crate) fn take_tokens(&mut self, mut is_taken: impl FnMut(&C) -> bool) -> Vec<(u64, C)> {
        self.take_tokens_if(|_, token| is_taken(token))
    }

    fn take_tokens_if(&mut self, mut is_taken: impl FnMut(u64, &C) -> bool) -> Vec<(u64, C)> {
        let behind = self.distant.tokens();
        let behind: Vec<_> = (behind.filter(|(key, token)| is_taken(*key, token)))
            .map(|(key, _)| key)
            .collect();
        let mut taken = Vec::new();
        for (key, message) in self.front.iter_mut().chain(self.fresh.iter_mut()) {
            let token = message.token.take_if(|token| is_taken(key, token));
            taken.extend(token.map(|token| (key, token)));
        }
        for key in behind {
            taken.extend(self.distant.take_token(key).map(|token| (key, token)));
        }
        taken
    }
}
