//! Who has refused to subscribe to a filter, or to unsubscribe from it.

use std::fmt;

use crate::error::InvalidSubscribe;
use crate::packet::ReasonCode;

/// Why a filter is not subscribed, or is still subscribed: the server has refused it, or the client could not ask.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum FilterRefusal {
    /// The server has refused it, by this Reason Code of SUBACK or UNSUBACK.
    ByServer(ReasonCode),
    /// The client has not asked: a limit that CONNACK has named, the server profile or the version of MQTT forbids it.
    NotAsked(InvalidSubscribe),
}

impl FilterRefusal {
    /// The server's Reason Code, or the one that a server would have said the same with:
    /// [`UnspecifiedError`](ReasonCode::UnspecifiedError) where no other one fits.
    pub const fn reason(&self) -> ReasonCode {
        match self {
            Self::ByServer(reason) => *reason,
            Self::NotAsked(error) => error.as_reason(),
        }
    }

    /// What forbids to ask; `None` when the server has refused.
    pub const fn forbidden_by(&self) -> Option<&InvalidSubscribe> {
        match self {
            Self::ByServer(_) => None,
            Self::NotAsked(error) => Some(error),
        }
    }
}

impl fmt::Display for FilterRefusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::ByServer(reason) => write!(f, "the server refused it: {reason}"),
            Self::NotAsked(error) => write!(f, "it was not asked for: {error}"),
        }
    }
}
