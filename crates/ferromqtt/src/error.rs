//! The error that all errors of this crate convert to.

use std::fmt;
use std::str::Utf8Error;

use ferromqtt_proto as proto;
use thiserror::Error;

use crate::{
    AcknowledgeError, AddressError, ConnectError, ConnectionError, OptionsError, PayloadError,
    PublishError, ReAuthenticateError, RequestError, SubscribeError,
};

/// Any error of this crate, for programs that treat them alike: `?` converts each of them.
///
/// The text of an error has its cause in it, so that none is printed twice by what follows
/// [`source`](std::error::Error::source); the variants hold causes as values.
///
/// An error of the system is in the text, and not kept as a `source`: [`std::io::Error`] can neither be cloned nor compared,
/// and every call that the end of a connection fails gets a clone of the same cause.
///
/// `Debug` prints the same text, since that is what Rust shows when `main` returns an error, or `unwrap` finds one. The
/// variants' own types show their fields: `match` on the error, and print what is in it.
#[derive(Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum Error {
    /// No connection came about.
    #[error(transparent)]
    Connect(#[from] ConnectError),
    /// The connection ended by itself.
    #[error(transparent)]
    Connection(#[from] ConnectionError),
    /// A publish did not complete.
    #[error(transparent)]
    Publish(#[from] PublishError),
    /// A subscription was not made, or not ended.
    #[error(transparent)]
    Subscribe(#[from] SubscribeError),
    /// A request got no response.
    #[error(transparent)]
    Request(#[from] RequestError),
    /// The client did not authenticate again.
    #[error(transparent)]
    ReAuthenticate(#[from] ReAuthenticateError),
    /// A message was not acknowledged as asked.
    #[error(transparent)]
    Acknowledge(#[from] AcknowledgeError),
    /// The options are wrong.
    #[error(transparent)]
    Options(#[from] OptionsError),
    /// An address cannot be used.
    #[error(transparent)]
    Address(#[from] AddressError),
    /// A blocking reader has nothing to give.
    #[cfg(feature = "blocking")]
    #[error(transparent)]
    Receive(#[from] crate::blocking::RecvError),
    /// A text is no Topic Name, or no Topic Filter.
    #[error(transparent)]
    Topic(#[from] proto::InvalidTopic),
    /// A text is no MQTT string.
    #[error(transparent)]
    Text(#[from] proto::StringError),
    /// A codec cannot decode a payload, or encode a value.
    #[error(transparent)]
    Codec(#[from] PayloadError),
    /// A text is no template, or values make no topic of one.
    #[error(transparent)]
    Template(#[from] proto::TemplateError),
    /// A payload is no text: [`Message::text`](crate::Message::text).
    #[error("the payload is no text: {0}")]
    Payload(Utf8Error),
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl From<proto::TopicError> for Error {
    fn from(error: proto::TopicError) -> Self {
        Self::Topic(error.into())
    }
}

impl From<Utf8Error> for Error {
    fn from(error: Utf8Error) -> Self {
        Self::Payload(error)
    }
}

#[cfg(test)]
mod tests {
    use std::error::Error as StdError;

    use super::*;
    use crate::{Delivery, Server, TopicFilter, TransportError};

    fn ended(cause: ConnectionError, delivery: Delivery) -> [String; 2] {
        let published = PublishError::Disconnected {
            cause: cause.clone(),
            delivery,
        };
        let subscribed = SubscribeError::Disconnected { cause, delivery };
        [published.to_string(), subscribed.to_string()]
    }

    #[test]
    fn an_error_that_trying_again_may_mend_names_the_option_that_tries_again() {
        let passing = ConnectionError::ConnectTimeout;
        let failed = |why: &str| ConnectionError::Transport(TransportError::Failed(why.into()));
        let certificate = TransportError::Certificate("mqtt://broker:1883: no".into());
        let opening = |cause| {
            let server = Server::new("broker", 1883);
            ConnectError::Connection { server, cause }.to_string()
        };
        for cause in [
            passing.clone(),
            failed("mqtt://broker:1883: TCP: refused"),
            failed("of a transport of one's own"),
        ] {
            let text = opening(cause);
            assert!(text.contains("Reconnect::initial"), "{text}");
        }
        for cause in [
            ConnectionError::Closed,
            ConnectionError::Transport(certificate),
            failed("mqtt://broker:1883: TLS handshake: no version in common"),
            failed("mqtt://broker:1883: WebSocket handshake error: the server answered 404"),
            failed("mqtt://broker:1883: TCP: not here (Options::bind_address must be one)"),
        ] {
            let text = opening(cause);
            assert!(!text.contains("Reconnect"), "{text}");
        }
        for text in ended(passing, Delivery::NotSent) {
            assert!(text.contains("Options::reconnect"), "{text}");
        }
        for cause in [
            ConnectionError::Closed,
            ConnectionError::Dropped,
            ConnectionError::DriverGone,
            ConnectionError::InsideRuntime,
            ConnectionError::Forked,
        ] {
            for text in ended(cause, Delivery::Unknown) {
                assert!(!text.contains("Options"), "{text}");
            }
        }
    }

    #[test]
    fn a_call_that_was_refused_here_does_not_say_that_the_connection_ended() {
        for cause in [ConnectionError::InsideRuntime, ConnectionError::Forked] {
            for text in ended(cause, Delivery::Unknown) {
                assert!(text.starts_with("the outcome of the "), "{text}");
            }
        }
    }

    #[test]
    fn an_error_says_whether_the_connection_ended_or_nothing_was_sent() {
        for text in ended(ConnectionError::KeepAliveTimeout, Delivery::NotSent) {
            assert!(
                text.contains("was not sent") && !text.contains("ended"),
                "{text}"
            );
        }
        for text in ended(ConnectionError::KeepAliveTimeout, Delivery::Unknown) {
            assert!(text.starts_with("the connection ended before"), "{text}");
        }
    }

    #[test]
    fn every_error_converts_and_has_its_cause_in_its_text_alone() {
        let closed = ConnectionError::Closed;
        let server = TopicFilter::check("").unwrap_err();
        let not_text = crate::Message::new("t".parse().unwrap(), &b"\xff"[..]);
        let errors: [(Error, &str); 15] = [
            (
                ConnectError::Connection {
                    server: Server::new("broker", 1883),
                    cause: closed.clone(),
                }
                .into(),
                "mqtt://broker:1883: the client disconnected",
            ),
            (
                ConnectError::from(OptionsError::Servers(0)).into(),
                "0 servers",
            ),
            (closed.clone().into(), "the client disconnected"),
            (PublishError::from(server).into(), "empty"),
            (
                PublishError::Disconnected {
                    cause: closed.clone(),
                    delivery: Delivery::Unknown,
                }
                .into(),
                "the client disconnected",
            ),
            (SubscribeError::from(server).into(), "empty"),
            (
                SubscribeError::Disconnected {
                    cause: closed.clone(),
                    delivery: Delivery::NotSent,
                }
                .into(),
                "the client disconnected",
            ),
            (
                RequestError::from(PublishError::from(server)).into(),
                "empty",
            ),
            (
                ReAuthenticateError::Disconnected(closed).into(),
                "the client disconnected",
            ),
            (AcknowledgeError::NotInThisVersion.into(), "5.0"),
            (OptionsError::Servers(0).into(), "0 servers"),
            (AddressError::Credentials.into(), "credentials"),
            (server.into(), "empty"),
            (proto::StringError::Nul.into(), "U+0000"),
            (not_text.text().unwrap_err().into(), "utf-8"),
        ];
        for (error, part) in errors {
            let text = error.to_string();
            assert!(text.contains(part), "{part:?} in: {text}");
            assert!(error.source().is_none(), "{text}");
            assert_eq!(
                format!("{error:?}"),
                text,
                "what a main that returns it shows"
            );
        }
    }
}
