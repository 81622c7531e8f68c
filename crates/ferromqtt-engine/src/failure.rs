//! What the errors of all calls have in common: what was awaited, and the texts that they share.

use std::time::Duration;

use ferromqtt_proto::shown::peer_text;
use ferromqtt_proto::{ConnectionError, Delivery, Properties, QoS, ReasonCode};

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
    /// Capacity in an outgoing queue.
    Capacity,
    /// The response to a request.
    Response,
    /// The server's consent to an authentication that this client has begun.
    Authentication,
    /// A message is on record in a store.
    Stored,
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
            Self::Writing | Self::Capacity | Self::Stored => return None,
            Self::PubAck => "PUBACK",
            Self::PubRecAndPubComp => "PUBREC and PUBCOMP",
            Self::SubAck => "SUBACK",
            Self::UnsubAck => "UNSUBACK",
            Self::Response => "response",
            Self::Authentication => "AUTH",
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
            (None, _) if self == Self::Capacity => {
                format!("the outgoing queue had no capacity within {seconds} s")
            }
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
        let remedy = match reason {
            ReasonCode::UnsupportedProtocolVersion => {
                format!("give {} another version", self.protocol)
            }
            ReasonCode::ClientIdentifierNotValid => {
                format!("give another {}", self.client_identifier)
            }
            ReasonCode::BadUserNameOrPassword => {
                format!("check {} and {}", self.user_name, self.password)
            }
            ReasonCode::NotAuthorized => format!(
                "check {} and {}, and what the server allows this client",
                self.user_name, self.password
            ),
            ReasonCode::ServerUnavailable | ReasonCode::ServerBusy => "try again later".to_owned(),
            ReasonCode::BadAuthenticationMethod => format!("check {}", self.authentication_method),
            ReasonCode::ConnectionRateExceeded => "try again later, and less often".to_owned(),
            _ => return None,
        };
        Some(remedy)
    }
}

/// The server's Reason String behind a colon, if it sent one. The core has replaced secrets that the server repeats.
pub(crate) fn reason_string_behind(properties: Option<&Properties>) -> String {
    properties
        .and_then(|properties| properties.reason_string.as_ref())
        .filter(|text| !text.is_empty())
        .map(|text| format!(": {}", peer_text(text, &[])))
        .unwrap_or_default()
}

/// The text of a call that the server has not answered: `missing` had not come when the connection ended, or `what` was not
/// sent.
pub(crate) fn unanswered(
    what: &str,
    missing: &str,
    cause: &ConnectionError,
    delivery: Delivery,
) -> String {
    let remedy = match cause.is_final() {
        true => "",
        false => {
            " (Options::reconnect connects again after a loss, and with Reconnect::initial after a failed first attempt)"
        }
    };
    match (delivery, cause) {
        (Delivery::NotSent, _) => format!("the {what} was not sent: {cause}{remedy}"),
        (_, ConnectionError::InsideRuntime | ConnectionError::Forked) => {
            format!("the outcome of the {what} was not waited for: {cause}")
        }
        _ => format!("the connection ended before {missing}: {cause}{remedy}"),
    }
}

#[cfg(test)]
mod tests {
    use ferromqtt_proto::Utf8String;

    use super::*;

    #[test]
    fn an_empty_reason_string_leaves_no_colon_behind() {
        let of = |text: Option<&'static str>| {
            reason_string_behind(Some(&Properties {
                reason_string: text.map(|text| Utf8String::from_static(text).unwrap()),
                ..Properties::default()
            }))
        };
        assert_eq!(of(None), "");
        assert_eq!(of(Some("")), "");
        assert_eq!(of(Some("busy")), ": busy");
    }
}
