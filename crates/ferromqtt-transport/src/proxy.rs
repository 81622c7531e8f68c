//! Asking a proxy for a connection to the server: SOCKS 4, 4a and 5, and HTTP CONNECT.
//!
//! ```
//! use bytes::BytesMut;
//! use ferromqtt_transport::{ProxyCredentials, Destination, ProxyProgress, ProxyHandshake, ProxyKind};
//!
//! let server = Destination::Name("example.org".to_owned());
//! let mut handshake = ProxyHandshake::new(ProxyKind::Socks5, &ProxyCredentials::default(), &server, 1883)?;
//! assert_eq!(handshake.poll_transmit().unwrap(), &b"\x05\x01\x00"[..]); // to the proxy
//!
//! let mut input = BytesMut::from(&b"\x05\x00"[..]); // from the proxy
//! assert_eq!(handshake.receive(&mut input)?, ProxyProgress::NeedMore);
//! assert_eq!(handshake.poll_transmit().unwrap(), &b"\x05\x01\x00\x03\x0bexample.org\x07\x5b"[..]);
//!
//! input.extend_from_slice(b"\x05\x00\x00\x01\x7f\x00\x00\x01\x00\x00");
//! assert_eq!(handshake.receive(&mut input)?, ProxyProgress::Done); // from now on, the server is spoken to
//! # Ok::<_, ferromqtt_transport::ProxyError>(())
//! ```

use std::fmt;
use std::net::IpAddr;

use bytes::{Bytes, BytesMut};
use ferromqtt_proto::debug_fields;
use thiserror::Error;

use crate::http_connect::HttpConnect;
use crate::socks::{Socks4, Socks5};

/// How a proxy is spoken to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProxyKind {
    /// SOCKS 4: to IPv4 addresses alone.
    Socks4,
    /// SOCKS 4a: to IPv4 addresses and names.
    Socks4a,
    /// SOCKS 5 (RFC 1928), without authentication or with user name and password (RFC 1929).
    Socks5,
    /// The CONNECT method of HTTP/1.1 (RFC 9110), without authentication or with Basic (RFC 7617).
    Http,
}

impl fmt::Display for ProxyKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Socks4 => "SOCKS4",
            Self::Socks4a => "SOCKS4a",
            Self::Socks5 => "SOCKS5",
            Self::Http => "HTTP",
        })
    }
}

/// Where the proxy is to connect to, apart from the port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Destination {
    /// A host name, which the proxy resolves.
    Name(String),
    /// An address.
    Address(IpAddr),
}

/// Who asks. Without a user name, the password is not used; nor does SOCKS 4 know one.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct ProxyCredentials {
    /// The user name.
    pub user_name: Option<String>,
    /// The password.
    pub password: Option<Bytes>,
}

debug_fields!(ProxyCredentials {
    user_name,
    password: masked
});

/// Why the proxy makes no connection. No text holds a credential.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum ProxyError {
    /// This kind of proxy cannot be asked for that: nothing was sent.
    #[error("the {kind} proxy cannot be asked: {what}")]
    Unsupported {
        /// How the proxy is spoken to.
        kind: ProxyKind,
        /// What it cannot be asked for, and what to do instead.
        what: &'static str,
    },
    /// The proxy refuses, or cannot reach the server.
    #[error("the {kind} proxy refused: {answer}")]
    Refused {
        /// How the proxy is spoken to.
        kind: ProxyKind,
        /// Its answer: number, meaning, and what to do where that is known.
        answer: String,
    },
    /// What came is no answer of such a proxy.
    #[error(
        "the {kind} proxy answered something else than {kind}: {what}; is it a proxy of this kind?"
    )]
    Malformed {
        /// How the proxy is spoken to.
        kind: ProxyKind,
        /// What is wrong.
        what: &'static str,
    },
    /// The connection ended before the answer was complete.
    #[error(
        "the {kind} proxy closed the connection instead of answering; is it a proxy of this kind?"
    )]
    Ended {
        /// How the proxy is spoken to.
        kind: ProxyKind,
    },
}

/// How far it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProxyProgress {
    /// Write what [`ProxyHandshake::poll_transmit`] has, and read on.
    NeedMore,
    /// The connection leads to the server.
    Done,
}

/// The exchange with a proxy that makes of the connection to it one to the server.
///
/// Give it an end by a time limit: a silent proxy is not noticed here.
pub struct ProxyHandshake {
    kind: ProxyKind,
    exchange: Exchange,
    transmit: Option<Bytes>,
}

enum Exchange {
    Socks4(Socks4),
    Socks5(Socks5),
    Http(HttpConnect),
    Over,
}

/// What a step of an exchange brought.
pub(crate) enum ExchangeStep {
    /// The answer is not complete; nothing was taken from the input.
    NeedMore,
    /// Send this, and go on.
    Send(Bytes),
    Done,
}

impl ProxyHandshake {
    /// Prepares the exchange; its first bytes wait in [`ProxyHandshake::poll_transmit`].
    ///
    /// # Errors
    ///
    /// [`ProxyError::Unsupported`] for a destination or credentials that this kind of proxy cannot express.
    pub fn new(
        kind: ProxyKind,
        credentials: &ProxyCredentials,
        destination: &Destination,
        port: u16,
    ) -> Result<Self, ProxyError> {
        let unsupported = |what| ProxyError::Unsupported { kind, what };
        if let Destination::Name(name) = destination {
            check_name(name).map_err(unsupported)?;
        }
        let (exchange, request) = match kind {
            ProxyKind::Socks4 | ProxyKind::Socks4a => {
                let names = kind == ProxyKind::Socks4a;
                let (exchange, request) =
                    Socks4::new(names, credentials, destination, port).map_err(unsupported)?;
                (Exchange::Socks4(exchange), request)
            }
            ProxyKind::Socks5 => {
                let (exchange, greeting) =
                    Socks5::new(credentials, destination, port).map_err(unsupported)?;
                (Exchange::Socks5(exchange), greeting)
            }
            ProxyKind::Http => {
                let (exchange, request) =
                    HttpConnect::new(credentials, destination, port).map_err(unsupported)?;
                (Exchange::Http(exchange), request)
            }
        };
        Ok(Self {
            kind,
            exchange,
            transmit: Some(request),
        })
    }

    /// What is to be written to the proxy now.
    pub fn poll_transmit(&mut self) -> Option<Bytes> {
        self.transmit.take()
    }

    /// Takes what the proxy sent. An incomplete answer stays in `input`: add to it.
    ///
    /// # Errors
    ///
    /// The proxy refuses, or it is none of this kind. The connection is of no more use then.
    pub fn receive(&mut self, input: &mut BytesMut) -> Result<ProxyProgress, ProxyError> {
        loop {
            let step = match &mut self.exchange {
                Exchange::Socks4(exchange) => exchange.receive(input),
                Exchange::Socks5(exchange) => exchange.receive(input),
                Exchange::Http(exchange) => exchange.receive(input),
                Exchange::Over => Ok(ExchangeStep::Done),
            };
            match step {
                Ok(ExchangeStep::NeedMore) => return Ok(ProxyProgress::NeedMore),
                Ok(ExchangeStep::Send(bytes)) => {
                    self.transmit = Some(join(self.transmit.take(), bytes))
                }
                Ok(ExchangeStep::Done) => {
                    self.exchange = Exchange::Over;
                    // The server, if it is there already, waits for CONNECT: what came is not from it.
                    return if input.is_empty() {
                        Ok(ProxyProgress::Done)
                    } else {
                        let what = "there is more behind its answer";
                        Err(ProxyError::Malformed {
                            kind: self.kind,
                            what,
                        })
                    };
                }
                Err(Fault::Refused(answer)) => {
                    return Err(ProxyError::Refused {
                        kind: self.kind,
                        answer,
                    });
                }
                Err(Fault::Malformed(what)) => {
                    return Err(ProxyError::Malformed {
                        kind: self.kind,
                        what,
                    });
                }
            }
        }
    }

    /// The error of a connection that ended before [`ProxyProgress::Done`].
    #[must_use]
    pub fn ended(&self) -> ProxyError {
        ProxyError::Ended { kind: self.kind }
    }
}

impl fmt::Debug for ProxyHandshake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // What waits to be written may hold the password.
        f.debug_struct("ProxyHandshake")
            .field("kind", &self.kind)
            .finish_non_exhaustive()
    }
}

/// What is wrong with an answer.
pub(crate) enum Fault {
    Refused(String),
    Malformed(&'static str),
}

fn join(before: Option<Bytes>, bytes: Bytes) -> Bytes {
    match before {
        None => bytes,
        Some(before) => [before, bytes].concat().into(),
    }
}

/// Host names are sent in binary and in lines of text: neither must be broken by one.
fn check_name(name: &str) -> Result<(), &'static str> {
    if name.is_empty() || name.len() > 255 {
        return Err("the server's name must have 1 to 255 bytes");
    }
    if !name.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err(
            "the server's name must be ASCII, without spaces: give a name beyond ASCII to `Host`, which writes it in A-labels (xn--...)",
        );
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const KINDS: [ProxyKind; 3] = [ProxyKind::Socks4a, ProxyKind::Socks5, ProxyKind::Http];

    /// All that a handshake sends, and how it ends, when these pieces come. The first piece behind an answer that is
    /// complete is "more behind its answer" too: only its driver stops reading in time.
    fn play<'a>(
        kind: ProxyKind,
        with_credentials: bool,
        pieces: impl Iterator<Item = &'a [u8]>,
    ) -> (Vec<u8>, Result<ProxyProgress, ProxyError>) {
        let who = ProxyCredentials {
            user_name: with_credentials.then(|| "me".to_owned()),
            password: Some(Bytes::from_static(b"geheim")),
        };
        let server = Destination::Name("mqtt.example".to_owned());
        let mut handshake = ProxyHandshake::new(kind, &who, &server, 1883).unwrap();
        let mut sent = handshake.poll_transmit().unwrap().to_vec();
        let mut input = BytesMut::new();
        let mut result = Ok(ProxyProgress::NeedMore);
        for piece in pieces {
            input.extend_from_slice(piece);
            result = handshake.receive(&mut input);
            sent.extend(handshake.poll_transmit().unwrap_or_default());
            if result.is_err() {
                break;
            }
        }
        assert!(input.len() <= http_limit(kind));
        (sent, result)
    }

    /// The most that an incomplete answer may have.
    fn http_limit(kind: ProxyKind) -> usize {
        if kind == ProxyKind::Http {
            crate::http::MAX_HEAD
        } else {
            300
        }
    }

    fn answers() -> impl Strategy<Value = Vec<u8>> {
        let answer = prop::sample::select(vec![
            &b"\x00\x5a\0\0\0\0\0\0"[..],
            b"\x05\x00",
            b"\x05\x02",
            b"\x01\x00",
            b"\x05\x00\x00\x01abcd\x04\x38",
            b"\x05\x00\x00\x03\x04name\x04\x38",
            b"\x05\x05\x00\x01abcd\x04\x38",
            b"HTTP/1.1 200 OK\r\nVia: x\r\n\r\n",
            b"HTTP/1.1 407 No\r\n\r\n",
        ]);
        let answers = prop::collection::vec(answer, 1..4).prop_map(|answers| answers.concat());
        prop_oneof![3 => answers, 1 => prop::collection::vec(any::<u8>(), 0..40)]
    }

    proptest! {
        #[test]
        fn any_split_of_any_answer_gives_the_same(
            kind in prop::sample::select(&KINDS[..]),
            with_credentials: bool,
            input in answers(),
            size in 1_usize..12,
        ) {
            let whole = play(kind, with_credentials, [&input[..]].into_iter());
            prop_assert_eq!(&play(kind, with_credentials, input.chunks(1)), &whole);
            prop_assert_eq!(&play(kind, with_credentials, input.chunks(size)), &whole);
            let shown = format!("{:?}", whole.1);
            prop_assert!(!shown.contains("geheim"), "{}", shown);
        }
    }

    #[test]
    fn an_end_before_the_answer_names_the_kind() {
        let server = Destination::Name("h".to_owned());
        let nobody = ProxyCredentials::default();
        let handshake = ProxyHandshake::new(ProxyKind::Socks5, &nobody, &server, 1).unwrap();
        let text = handshake.ended().to_string();
        assert!(
            text.starts_with("the SOCKS5 proxy closed the connection"),
            "{text}"
        );
    }

    #[test]
    fn the_server_does_not_speak_before_it_is_spoken_to() {
        let (_, result) = play(
            ProxyKind::Socks4a,
            false,
            [&b"\x00\x5a\0\0\0\0\0\0x"[..]].into_iter(),
        );
        assert!(matches!(result, Err(ProxyError::Malformed { .. })));
    }
}
