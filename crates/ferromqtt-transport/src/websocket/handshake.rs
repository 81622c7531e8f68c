//! The opening handshake (RFC 6455, section 4): what is asked for, and whether the answer grants it.

use std::fmt::{self, Write};

use bytes::Bytes;
use data_encoding::BASE64;
use sha1::{Digest, Sha1};

use super::WebSocketError;
use crate::host::Host;
use crate::http::{Head, RequestSecrets};
use crate::url::Bracketed;

/// MQTT's name among the subprotocols of WebSocket.
pub(super) const SUBPROTOCOL: &str = "mqtt";
/// Appended to the key, to tell a WebSocket server from one that repeats what it gets.
const ACCEPT_SUFFIX: &[u8] = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

/// What a server answers to a key.
pub(super) fn accept_value(key: &str) -> String {
    let digest = Sha1::new()
        .chain_update(key.as_bytes())
        .chain_update(ACCEPT_SUFFIX)
        .finalize();
    BASE64.encode(&digest)
}

/// The headers that a request usually has, in their usual order, with a fresh random key.
///
/// Any of them may be changed before they are given to [`WebSocketRequest::new`].
#[must_use]
pub fn default_headers(host: &Host, port: u16, secure: bool) -> Vec<(String, String)> {
    let host = Bracketed(host.name());
    let authority = match (port, secure) {
        (80, false) | (443, true) => host.to_string(),
        _ => format!("{host}:{port}"),
    };
    let origin = format!("{}://{authority}", if secure { "https" } else { "http" });
    let key = BASE64.encode(&rand::random::<[u8; 16]>());
    [
        ("Host", authority.as_str()),
        ("Upgrade", "websocket"),
        ("Connection", "Upgrade"),
        ("Origin", &origin),
        ("Sec-WebSocket-Key", &key),
        ("Sec-WebSocket-Version", "13"),
        ("Sec-WebSocket-Protocol", SUBPROTOCOL),
    ]
    .map(|(name, value)| (name.to_owned(), value.to_owned()))
    .into()
}

/// A request to open a WebSocket.
///
/// Its headers decide what the server must choose: one of the subprotocols in `Sec-WebSocket-Protocol`, as MQTT demands
/// (MQTT-6.0.0-4). For a server that never chooses one, leave that header out: then it must not choose any.
#[derive(Clone)]
pub struct WebSocketRequest {
    request: Bytes,
    key: String,
    subprotocols: Vec<String>,
    secrets: RequestSecrets,
}

impl WebSocketRequest {
    /// A request for a path, with the complete list of headers.
    ///
    /// # Errors
    ///
    /// [`WebSocketError::Request`] when path or headers are not what fits on the lines of a request, or when
    /// `Sec-WebSocket-Key` is not among them exactly once.
    pub fn new(path: &str, headers: &[(String, String)]) -> Result<Self, WebSocketError> {
        if !path.starts_with('/')
            || path.contains('#')
            || !path.bytes().all(|byte| byte.is_ascii_graphic())
        {
            let what = "must begin with / and be percent-encoded: no spaces, no #, ASCII alone";
            return Err(WebSocketError::Request {
                part: "path".to_owned(),
                what,
            });
        }
        let mut request = format!("GET {path} HTTP/1.1\r\n");
        let mut secrets = RequestSecrets::default();
        secrets.add_query(path);
        for (name, value) in headers {
            check_header(name, value)?;
            secrets.add_header(name, value);
            let _ = write!(request, "{name}: {value}\r\n");
        }
        request.push_str("\r\n");

        let values = |name: &'static str| {
            (headers.iter())
                .filter(move |(known, _)| known.eq_ignore_ascii_case(name))
                .map(|(_, value)| value.trim())
        };
        let mut keys = values("Sec-WebSocket-Key");
        let (Some(key), None) = (keys.next(), keys.next()) else {
            let what = "must be there, and only once";
            return Err(WebSocketError::Request {
                part: "header Sec-WebSocket-Key".to_owned(),
                what,
            });
        };
        let subprotocols = values("Sec-WebSocket-Protocol")
            .flat_map(|value| value.split(','))
            .map(|subprotocol| subprotocol.trim().to_owned())
            .filter(|subprotocol| !subprotocol.is_empty())
            .collect();
        Ok(Self {
            key: key.to_owned(),
            subprotocols,
            request: request.into(),
            secrets,
        })
    }

    /// The bytes of the request.
    pub(super) fn request(&self) -> Bytes {
        self.request.clone()
    }

    /// What the server must not have repeated in an error.
    pub(super) fn secrets(&self) -> &RequestSecrets {
        &self.secrets
    }

    /// Reads the server's answer; returns its length when it is complete, and grants what was asked for.
    pub(super) fn check(&self, answer: &[u8]) -> Result<Option<usize>, WebSocketError> {
        let malformed = |what| WebSocketError::Malformed { what };
        let Some(head) = Head::read(answer).map_err(malformed)? else {
            return Ok(None);
        };
        if head.status != 101 {
            return Err(self.refused(&head));
        }
        let has = |name: &str, element: &str| {
            (head.elements(name)).any(|found| found.eq_ignore_ascii_case(element.as_bytes()))
        };
        if !has("Upgrade", "websocket") || !has("Connection", "upgrade") {
            return Err(malformed("it does not upgrade to websocket"));
        }
        let accepts: Vec<&[u8]> = head.values("Sec-WebSocket-Accept").collect();
        if accepts != [accept_value(&self.key).as_bytes()] {
            return Err(malformed(
                "its Sec-WebSocket-Accept does not belong to this request",
            ));
        }
        if head.elements("Sec-WebSocket-Extensions").next().is_some() {
            return Err(malformed("it chose an extension, and none is known here"));
        }
        self.check_subprotocol(&head)?;
        Ok(Some(head.length))
    }

    fn check_subprotocol(&self, head: &Head) -> Result<(), WebSocketError> {
        let mut chosen = head.elements("Sec-WebSocket-Protocol");
        match (chosen.next(), chosen.next()) {
            (None, _) if self.subprotocols.is_empty() => Ok(()),
            (Some(one), None)
                if self
                    .subprotocols
                    .iter()
                    .any(|offered| offered.as_bytes() == one) =>
            {
                Ok(())
            }
            (one, _) => Err(WebSocketError::Subprotocol {
                offered: self.subprotocols.join(", "),
                chosen: one.map(|one| self.secrets.shown(one)),
            }),
        }
    }
}

impl WebSocketRequest {
    fn refused(&self, head: &Head) -> WebSocketError {
        let secrets = &self.secrets;
        WebSocketError::Refused {
            status: head.status,
            reason: secrets.shown(head.reason.as_bytes()),
            location: (head.values("Location").next()).map(|url| secrets.shown_url(url)),
        }
    }
}

impl fmt::Debug for WebSocketRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Path and headers may hold tokens.
        f.debug_struct("WebSocketRequest")
            .field("subprotocols", &self.subprotocols)
            .finish_non_exhaustive()
    }
}

fn check_header(name: &str, value: &str) -> Result<(), WebSocketError> {
    let is_token = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    if name.is_empty() || !name.bytes().all(is_token) {
        // Its first word alone: a whole line, token and all, may have been taken for a name.
        let word = name.split([':', ' ']).next().unwrap_or_default();
        let part = match word.bytes().all(is_token) {
            true if !word.is_empty() => format!("header name that begins with {word}"),
            _ => format!("header name of {} bytes", name.len()),
        };
        return Err(WebSocketError::Request {
            part,
            what: "must be letters, digits and hyphens",
        });
    }
    if value.contains(|character: char| character.is_ascii_control() && character != '\t') {
        let part = format!("header {name}");
        return Err(WebSocketError::Request {
            part,
            what: "must be one line, without control characters",
        });
    }
    Ok(())
}
