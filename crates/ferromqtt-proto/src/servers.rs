//! Which server to try next: those of a list in turn, and those that a server refers to (Server Reference, section 4.11).

use std::collections::VecDeque;

use crate::error::ConnectionError;
use crate::packet::ReasonCode;
use crate::text::Utf8String;

/// A server to connect to.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ServerChoice {
    /// The one at this place of the driver's list, from 0.
    Listed(usize),
    /// One that a server has referred to, in that server's words: often a name, or a name and a port behind a colon
    /// (section 3.2.2.3.16). Only with [`Options::follow_server_reference`](crate::Options::follow_server_reference).
    Referred(Utf8String),
}

/// Referrals that are followed without waiting: servers that refer to each other must not make a client spin.
const MOST_REFERRALS: usize = 4;

/// So many servers are taken of one Server Reference, which could name tens of thousands.
const MOST_REFERENCES: usize = 32;

#[derive(Debug)]
pub(crate) struct Servers {
    listed: usize,
    follows: bool,
    current: ServerChoice,
    /// Where in the list it stands.
    place: usize,
    /// Other servers that the last referral named.
    referred: VecDeque<Utf8String>,
    /// How many were tried since it last waited.
    tried: usize,
    referrals: usize,
}

impl Servers {
    pub(crate) const fn new(listed: usize, follows: bool) -> Self {
        Self {
            listed,
            follows,
            current: ServerChoice::Listed(0),
            place: 0,
            referred: VecDeque::new(),
            tried: 0,
            referrals: 0,
        }
    }

    /// Begins with the first one.
    pub(crate) fn start(&mut self) {
        *self = Self::new(self.listed, self.follows);
    }

    pub(crate) const fn current(&self) -> &ServerChoice {
        &self.current
    }

    /// Whether another server than the current one can be tried because of how it ended.
    pub(crate) fn has_another(&self, cause: &ConnectionError) -> bool {
        self.listed > 1 || self.references(cause).is_some()
    }

    /// The current one has failed, or its connection has ended: goes on to the next. Returns whether that one is to be tried
    /// without waiting, since not all have been tried yet.
    pub(crate) fn advance(&mut self, cause: &ConnectionError) -> bool {
        if let Some(references) = self.references(cause)
            && self.referrals < MOST_REFERRALS
        {
            self.referred = references;
            self.referrals += 1;
            self.follow();
            return true;
        }
        if !self.referred.is_empty() {
            self.follow();
            return true;
        }
        self.place = (self.place + 1) % self.listed;
        self.current = ServerChoice::Listed(self.place);
        self.tried += 1;
        self.tried < self.listed
    }

    /// It waits now, and may try all of them again afterwards.
    pub(crate) const fn waits(&mut self) {
        self.tried = 0;
        self.referrals = 0;
    }

    fn follow(&mut self) {
        if let Some(next) = self.referred.pop_front() {
            self.current = ServerChoice::Referred(next);
        }
    }

    /// The servers that the end of a connection refers to, if they are to be followed.
    fn references(&self, cause: &ConnectionError) -> Option<VecDeque<Utf8String>> {
        let (ConnectionError::Refused { reason, properties }
        | ConnectionError::Disconnected { reason, properties }) = cause
        else {
            return None;
        };
        if !self.follows
            || !matches!(
                reason,
                ReasonCode::UseAnotherServer | ReasonCode::ServerMoved
            )
        {
            return None;
        }
        let references: VecDeque<_> = (properties.server_reference.as_ref()?)
            .split_ascii_whitespace() // several are separated by spaces
            .take(MOST_REFERENCES)
            .filter_map(|reference| Utf8String::try_from(reference).ok())
            .collect();
        (!references.is_empty()).then_some(references)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::packet::Properties;

    fn referral(to: &str) -> ConnectionError {
        let properties = Arc::new(Properties {
            server_reference: Some(Utf8String::try_from(to).unwrap()),
            ..Properties::default()
        });
        ConnectionError::Refused {
            reason: ReasonCode::UseAnotherServer,
            properties,
        }
    }

    #[test]
    fn a_list_is_tried_in_turn_and_once_without_waiting() {
        let mut servers = Servers::new(3, false);
        let cause = ConnectionError::ConnectTimeout;
        let mut places = Vec::new();
        for _ in 0..7 {
            places.push(servers.current().clone());
            if !servers.advance(&cause) {
                servers.waits();
                places.push(ServerChoice::Listed(99));
            }
        }
        let expected = [0, 1, 2, 99, 0, 1, 2, 99, 0].map(ServerChoice::Listed);
        assert_eq!(places, expected);
    }

    #[test]
    fn referrals_are_followed_in_turn_and_not_for_ever() {
        let mut servers = Servers::new(1, true);
        let referred = |name: &str| ServerChoice::Referred(Utf8String::try_from(name).unwrap());
        assert!(servers.advance(&referral("one:1883  two")));
        assert_eq!(*servers.current(), referred("one:1883"));
        assert!(servers.advance(&ConnectionError::ConnectTimeout));
        assert_eq!(*servers.current(), referred("two"));
        let rounds = (0..100)
            .take_while(|_| servers.advance(&referral("again")))
            .count();
        assert!(rounds < MOST_REFERRALS, "{rounds}");
        assert_eq!(*servers.current(), ServerChoice::Listed(0));
    }

    #[test]
    fn a_reference_is_not_followed_unless_asked() {
        let mut servers = Servers::new(1, false);
        assert!(!servers.has_another(&referral("evil")));
        assert!(!servers.advance(&referral("evil")));
        assert_eq!(*servers.current(), ServerChoice::Listed(0));
    }
}
