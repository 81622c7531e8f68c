//! What the errors of all calls have in common: who failed, what was awaited, and the texts that they share.

use std::fmt;
use std::time::Duration;

use ferromqtt_proto::shown::peer_text;
use ferromqtt_proto::{ConnectionError, Delivery, Properties, QoS, ReasonCode};

/// What kind of failure an error of a call is, for programs that treat many errors alike.
///
/// From `kind` of [`PublishError`](crate::PublishError) and [`SubscribeError`](crate::SubscribeError).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum FailureKind {
    /// An argument of the call is wrong: the program's fault. Nothing was sent.
    Invalid,
    /// A limit of this server forbids it: another server, or a smaller message, would do.
    Limit,
    /// The outgoing queue is full. Nothing was sent.
    QueueFull,
    /// The server answered with a Reason Code of 0x80 or above.
    Refused,
    /// The time limit of the call was over.
    TimedOut,
    /// There is no connection, or it ended before the answer came.
    Disconnected,
    /// The client gave up the message before it was sent: it expired, or the outgoing queue dropped it.
    Discarded,
    /// The server lost the session that the message belonged to.
    SessionLost,
}

impl FailureKind {
    /// Of an operation that was refused before anything was sent, or that a later connection does not allow. `limit` is the
    /// Reason Code of the limit it breaks, if that is the reason.
    pub(crate) const fn of_check(limit: Option<ReasonCode>, is_connected: bool) -> Self {
        match (limit, is_connected) {
            (Some(_), _) => Self::Limit,
            (None, true) => Self::Invalid,
            (None, false) => Self::Disconnected,
        }
    }

    /// The kind as an identifier: `"timed_out"`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Invalid => "invalid",
            Self::Limit => "limit",
            Self::QueueFull => "queue_full",
            Self::Refused => "refused",
            Self::TimedOut => "timed_out",
            Self::Disconnected => "disconnected",
            Self::Discarded => "discarded",
            Self::SessionLost => "session_lost",
        }
    }
}

/// What ends a call when all goes well.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Awaited {
    /// The transport takes a QoS 0 message.
    Writing,
    /// PUBACK, for a QoS 1 message.
    PubAck,
    /// PUBREC and PUBCOMP, for a QoS 2 message.
    PubRecAndPubComp,
    /// SUBACK.
    SubAck,
    /// UNSUBACK.
    UnsubAck,
}

impl Awaited {
    /// By a publish with this Quality of Service.
    pub const fn of_publish(qos: QoS) -> Self {
        match qos {
            QoS::AtMostOnce => Self::Writing,
            QoS::AtLeastOnce => Self::PubAck,
            QoS::ExactlyOnce => Self::PubRecAndPubComp,
        }
    }

    const fn packets(self) -> Option<&'static str> {
        Some(match self {
            Self::Writing => return None,
            Self::PubAck => "PUBACK",
            Self::PubRecAndPubComp => "PUBREC and PUBCOMP",
            Self::SubAck => "SUBACK",
            Self::UnsubAck => "UNSUBACK",
        })
    }

    /// Says that this did not come in time: `no PUBACK from broker:1883 within 5 s`. An empty `address` is left out.
    pub fn overdue(self, delivery: Delivery, address: &str, limit: Duration) -> String {
        let seconds = limit.as_secs_f32();
        let at = |word: &str| match address {
            "" => String::new(),
            address => format!(" {word} {address}"),
        };
        match (self.packets(), delivery) {
            (Some(packets), Delivery::Unknown) => {
                format!("no {packets}{} within {seconds} s", at("from"))
            }
            _ => format!("nothing could be sent{} within {seconds} s", at("to")),
        }
    }
}

/// Why a connection ended, with the server's own words: its Reason String, if it sent one.
///
/// Of a server that `is_known`, since it has accepted a connection of this client, the text does not ask whether the port is
/// the right one.
pub fn end_text(cause: &ConnectionError, is_known: bool) -> String {
    let text = cause.to_string();
    match cause {
        ConnectionError::Unanswered if is_known => match text.split_once(" (") {
            Some((what, _)) => what.to_owned(),
            None => text,
        },
        ConnectionError::Refused { properties, .. }
        | ConnectionError::Disconnected { properties, .. } => {
            text + &reason_string_behind(Some(properties))
        }
        _ => text,
    }
}

/// The options that the remedies for a refused connection name, as the language of the face spells them.
#[derive(Clone, Copy, Debug)]
pub struct OptionNames {
    /// Of the version of MQTT.
    pub protocol: &'static str,
    /// Of the Client Identifier.
    pub client_identifier: &'static str,
    /// Of the User Name.
    pub user_name: &'static str,
    /// Of the password.
    pub password: &'static str,
    /// Where the Authentication Method comes from.
    pub authentication_method: &'static str,
}

impl OptionNames {
    /// What to do when the server refuses a connection with this Reason Code; `None` where the code does not say.
    pub fn remedy(&self, reason: ReasonCode) -> Option<String> {
        let Self {
            protocol,
            client_identifier,
            user_name,
            password,
            authentication_method,
        } = self;
        Some(match reason {
            ReasonCode::UnsupportedProtocolVersion => format!("give {protocol} another version"),
            ReasonCode::ClientIdentifierNotValid => format!("give another {client_identifier}"),
            ReasonCode::BadUserNameOrPassword => format!("check {user_name} and {password}"),
            ReasonCode::NotAuthorized => {
                format!("check {user_name} and {password}, and what the server allows this client")
            }
            ReasonCode::ServerUnavailable | ReasonCode::ServerBusy => "try again later".to_owned(),
            ReasonCode::BadAuthenticationMethod => format!("check {authentication_method}"),
            ReasonCode::ConnectionRateExceeded => "try again later, and less often".to_owned(),
            _ => return None,
        })
    }
}

/// The server's Reason String behind a colon, if it sent one. The core has replaced secrets that the server repeats.
pub(crate) fn reason_string_behind(properties: Option<&Properties>) -> String {
    properties
        .and_then(|properties| properties.reason_string.as_ref())
        .map(|text| format!(": {}", peer_text(text, &[])))
        .unwrap_or_default()
}

/// The text of a call that the server has not answered: the connection ended before the answer came, or nothing was sent.
pub(crate) struct Unanswered<'a> {
    /// What was to be sent.
    pub(crate) what: &'static str,
    /// What the server had to do.
    pub(crate) missing: &'static str,
    pub(crate) cause: &'a ConnectionError,
    pub(crate) delivery: Delivery,
}

impl fmt::Display for Unanswered<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            what,
            missing,
            cause,
            delivery,
        } = self;
        let is_refused_here = matches!(
            cause,
            ConnectionError::InsideRuntime | ConnectionError::Forked
        );
        match delivery {
            Delivery::NotSent => write!(f, "the {what} was not sent: {cause}")?,
            Delivery::Unknown if is_refused_here => {
                write!(f, "the outcome of the {what} was not waited for: {cause}")?;
            }
            Delivery::Unknown => write!(f, "the connection ended before {missing}: {cause}")?,
        }
        match self.cause.is_final() {
            true => Ok(()),
            false => f.write_str(
                " (Options::reconnect connects again after a loss, and with Reconnect::initial after a failed first attempt)",
            ),
        }
    }
}
