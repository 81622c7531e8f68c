//! Why no connection came about: which server, how far the attempt came, the reason, and what to do.

use std::fmt;
use std::time::Duration;

use ferromqtt_engine::{OptionNames, end_text};
use ferromqtt_transport::{AttemptPhase, Failure};
use thiserror::Error;

use crate::{ConnectionError, OptionsError, Server, TransportError};

/// No connection came about.
///
/// The text names the server without user name, password and query, how far the attempt came, the reason, and what to do:
/// `cannot connect: mqtt://broker:1883: CONNECT: the server refused the connection: Not authorized (0x87) (...)`.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum ConnectError {
    /// The options are wrong: nothing was tried.
    #[error("cannot connect with these options: {0}")]
    Options(OptionsError),
    /// The server or the network.
    #[error(
        "cannot connect: {}{}",
        Reached(server, cause),
        kept_trying(server, cause)
    )]
    Connection {
        /// The server of the last attempt.
        server: Server,
        /// Why that attempt failed.
        cause: ConnectionError,
    },
    /// An attempt took longer than [`Options::connect_timeout`](crate::Options::connect_timeout).
    #[error(
        "cannot connect: {server}: {}{}",
        late(*limit, *opened),
        kept_trying(server, &ConnectionError::ConnectTimeout)
    )]
    TimedOut {
        /// The server of the last attempt.
        server: Server,
        /// The time limit.
        limit: Duration,
        /// Whether the transport was open, so that CONNACK alone was missing.
        opened: bool,
    },
    /// The [outbox](crate::Options::outbox) cannot be opened: nothing was tried.
    #[cfg(feature = "outbox")]
    #[error("cannot connect: {0}")]
    Outbox(ferromqtt_outbox::StoreError),
    /// [`blocking::Client`](crate::blocking::Client) tried nothing: it was called inside a tokio runtime
    /// ([`ConnectionError::InsideRuntime`]), or the system starts no more threads ([`ConnectionError::Transport`]).
    #[cfg(feature = "blocking")]
    #[error("cannot connect: {0}")]
    NotTried(ConnectionError),
}

#[cfg(feature = "outbox")]
impl From<ferromqtt_outbox::StoreError> for ConnectError {
    fn from(error: ferromqtt_outbox::StoreError) -> Self {
        Self::Outbox(error)
    }
}

impl From<OptionsError> for ConnectError {
    fn from(error: OptionsError) -> Self {
        Self::Options(error)
    }
}

/// A server, and why an attempt to connect to it failed.
struct Reached<'a>(&'a Server, &'a ConnectionError);

impl fmt::Display for Reached<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(server, cause) = self;
        match cause {
            // A transport's failure names its phase, and mostly the server.
            ConnectionError::Transport(
                TransportError::Failed(why) | TransportError::Certificate(why),
            ) if why.starts_with(&server.to_string()) => f.write_str(why),
            ConnectionError::Transport(_)
            | ConnectionError::NoCredentials(_)
            | ConnectionError::Closed
            | ConnectionError::Dropped
            | ConnectionError::DriverGone => write!(f, "{server}: {cause}"),
            _ => {
                let failure = Failure::new(server, AttemptPhase::Connect);
                write!(f, "{}", failure.reason(end_text(cause, false)))?;
                match cause {
                    ConnectionError::Refused { reason, .. } => NAMES.remedy(*reason),
                    _ => None,
                }
                .map_or(Ok(()), |remedy| write!(f, " ({remedy})"))
            }
        }
    }
}

/// The options that a remedy names.
const NAMES: OptionNames = OptionNames {
    protocol: "Options::protocol",
    client_identifier: "Options::client_identifier",
    user_name: "Options::user_name",
    password: "Options::password",
    authentication_method: "the method of Options::authenticator",
};

fn late(limit: Duration, opened: bool) -> String {
    let limit = limit.as_secs_f64();
    match opened {
        true => format!("no CONNACK within {limit} s (does the port expect TLS or WebSocket?)"),
        false => format!(
            "no connection within {limit} s (are host and port right, and does no firewall stand between?)"
        ),
    }
}

/// What makes a client try again, behind an error that this may mend.
fn kept_trying(server: &Server, cause: &ConnectionError) -> &'static str {
    match may_pass(server, cause) {
        false => "",
        true => {
            " (the first connection is not tried again: Options::reconnect with Reconnect::initial set keeps trying)"
        }
    }
}

/// Whether the next attempt may succeed with the same options. The client tries again in other cases too, such as a
/// certificate that may be renewed; in a first error the remedy says more.
fn may_pass(server: &Server, cause: &ConnectionError) -> bool {
    let why = match cause {
        ConnectionError::Transport(TransportError::Certificate(_)) => return false,
        ConnectionError::Transport(TransportError::Failed(why)) => why,
        cause => return !cause.is_final(),
    };
    // A transport's failure names the server, then its phase.
    let Some(why) = why.strip_prefix(&format!("{server}: ")) else {
        return true;
    };
    let settled = [AttemptPhase::Tls, AttemptPhase::WebSocket].map(|phase| phase.to_string());
    !(settled.iter().any(|phase| why.starts_with(phase)) || why.contains("Options::"))
}
