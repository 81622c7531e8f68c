//! Which version of MQTT each server is spoken to in, for a client that [falls back](crate::Options::fall_back) from 5.0 to
//! 3.1.1.

use std::collections::BTreeMap;

use crate::error::{ConnectionError, TransportError};
use crate::packet::{ProtocolVersion, ReasonCode};
use crate::servers::ServerChoice;

/// What a server is known to speak.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum KnownVersion {
    /// It has accepted a connection in this version, and, if that is 3.1.1, does not speak 5.0.
    Speaks(ProtocolVersion),
    /// It has accepted 3.1.1 once, right after it had closed a connection without an answer to the CONNECT of 5.0. A fault of
    /// the network looks the same, so 5.0 is tried first once more.
    PerhapsV311,
}

/// How the first of two attempts at one server ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Refusal {
    /// The server said that it does not speak the version.
    Explicit,
    /// The transport ended without an answer to CONNECT.
    Silent,
}

/// The versions of the servers, and which attempt is a second one.
#[derive(Debug)]
pub(crate) struct Versions {
    falls_back: bool,
    /// By the place in the driver's list.
    known: BTreeMap<usize, KnownVersion>,
    /// The attempt at hand, or about to be made, is the second at its server: in this version, since the first ended so.
    second: Option<(ProtocolVersion, Refusal)>,
}

impl Versions {
    pub(crate) const fn new(falls_back: bool) -> Self {
        Self {
            falls_back,
            known: BTreeMap::new(),
            second: None,
        }
    }

    /// The next attempt is the first one at its server.
    pub(crate) const fn start(&mut self) {
        self.second = None;
    }

    /// The version for an attempt that is about to be made; `None`: that of the options.
    pub(crate) fn of_attempt(&self, server: &ServerChoice) -> Option<ProtocolVersion> {
        if !self.falls_back {
            return None;
        }
        Some(match (self.second, self.known(server)) {
            (Some((version, _)), _) | (None, Some(KnownVersion::Speaks(version))) => version,
            _ => ProtocolVersion::V5,
        })
    }

    fn known(&self, server: &ServerChoice) -> Option<KnownVersion> {
        match server {
            ServerChoice::Listed(place) => self.known.get(place).copied(),
            ServerChoice::Referred(_) => None, // a server that refers to it speaks 5.0, and so will this one
        }
    }

    /// The server has accepted a connection in this version.
    pub(crate) fn accepted(&mut self, server: &ServerChoice, version: ProtocolVersion) {
        let second = self.second.take();
        let ServerChoice::Listed(place) = *server else {
            return;
        };
        if !self.falls_back {
            return;
        }
        let is_silent = matches!(second, Some((ProtocolVersion::V311, Refusal::Silent)));
        let known = match self.known.get(&place) {
            None if is_silent => KnownVersion::PerhapsV311,
            _ => KnownVersion::Speaks(version),
        };
        self.known.insert(place, known);
    }

    /// A connection or an attempt in `tried` has ended; `answer` is what became of its CONNECT, if that was sent and not
    /// accepted. Returns the version in which the same server is to be tried again at once: none after a second attempt, so
    /// that no server can make the client spin.
    pub(crate) fn turns(
        &mut self,
        server: &ServerChoice,
        tried: ProtocolVersion,
        answer: Option<&ConnectionError>,
    ) -> Option<ProtocolVersion> {
        if !self.falls_back || self.second.take().is_some() {
            return None;
        }
        let refusal = match answer? {
            ConnectionError::Refused {
                reason: ReasonCode::UnsupportedProtocolVersion,
                ..
            } => Refusal::Explicit,
            ConnectionError::Unanswered | ConnectionError::Transport(TransportError::Failed(_)) => {
                Refusal::Silent
            }
            _ => return None,
        };
        let other = match tried {
            ProtocolVersion::V5 => ProtocolVersion::V311,
            _ => ProtocolVersion::V5,
        };
        let known = self.known(server);
        let speaks_it = known == Some(KnownVersion::Speaks(tried));
        if speaks_it && refusal == Refusal::Silent && tried.is_v5() {
            return None; // a fault: the server has spoken 5.0 before
        }
        if let (ServerChoice::Listed(place), true) = (server, speaks_it) {
            self.known.remove(place); // what was learned does not hold
        }
        self.second = Some((other, refusal));
        Some(other)
    }
}
