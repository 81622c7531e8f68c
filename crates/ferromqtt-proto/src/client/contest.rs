//! Notices that another client has the same Client Identifier: the server then ends one connection for the other
//! (MQTT-3.1.4-3), in turn, for as long as both connect again.

use std::fmt;
use std::time::{Duration, Instant};

use super::Client;
use crate::error::{ConnectionError, TransportError};
use crate::event::Event;
use crate::packet::ReasonCode;
use crate::reconnect::later;
use crate::shown::PeerText;
use crate::text::Utf8String;

/// A connection that the server ends sooner than this counts. The other client takes the session back when it connects again,
/// for which it first waits a while: clients wait from half a second to some seconds.
const SOON: Duration = Duration::from_secs(10);

/// So many in a row are no accident.
const ENDS_BEFORE_WARNING: u32 = 3;

/// Another client has, or seems to have, the same Client Identifier. Its text says what to do.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Contest {
    /// The Client Identifier.
    pub client_identifier: Utf8String,
    /// How many connections in a row the server has accepted, and ended within ten seconds or with the Reason Code below.
    pub ends: u32,
    /// Session taken over (0x8E), if the server has said so. `None` is a conclusion from the number: before 5.0, and with some
    /// servers on 5.0, a connection is only closed.
    pub reason: Option<ReasonCode>,
}

impl fmt::Display for Contest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let identifier = PeerText(self.client_identifier.as_str());
        match self.reason {
            Some(reason) => write!(
                f,
                "another client has connected with the Client Identifier {identifier:?}, and the server ended this connection for \
                 it ({reason}): give each client its own"
            ),
            None => write!(
                f,
                "the server accepted {} connections in a row and closed each within {} s: another client may have the same \
                 Client Identifier, {identifier:?}; give each client its own",
                self.ends,
                SOON.as_secs()
            ),
        }
    }
}

impl Client {
    /// Counts the end of an accepted connection if another client may be the reason, and reports when that is known, or likely.
    pub(super) fn watch_identifier(&mut self, now: Instant, cause: &ConnectionError) {
        let accepted_at = (self.connection.as_ref()).and_then(|connection| connection.accepted_at);
        let was_soon = accepted_at.is_some_and(|accepted_at| now < later(accepted_at, SOON));
        let reason =
            match cause {
                ConnectionError::Disconnected { reason, .. }
                    if *reason == ReasonCode::SessionTakenOver =>
                {
                    Some(*reason)
                }
                ConnectionError::Transport(
                    TransportError::EndOfStream | TransportError::Failed(_),
                ) if was_soon && !self.client_identifier().is_empty() => None,
                _ => {
                    self.contested = 0;
                    return;
                }
            };
        self.contested = self.contested.saturating_add(1);
        if reason.is_some() || self.contested == ENDS_BEFORE_WARNING {
            self.events.push_back(Event::IdentifierContested(Contest {
                client_identifier: self.client_identifier().clone(),
                ends: self.contested,
                reason,
            }));
        }
    }
}
