//! A WebSocket (RFC 6455) that carries MQTT: the client's side, and the [server's](WebSocketServer) for tests.
//!
//! ```
//! use bytes::Bytes;
//! use ferromqtt_transport::{Host, WebSocket, WebSocketRequest, default_headers};
//!
//! let headers = default_headers(&Host::parse("example.org")?, 80, false);
//! let mut websocket = WebSocket::new(WebSocketRequest::new("/mqtt", &headers)?);
//! let request = websocket.poll_transmit().unwrap(); // to the server
//! assert!(request.starts_with(b"GET /mqtt HTTP/1.1\r\nHost: example.org\r\n"));
//!
//! # let key = headers.iter().find(|(name, _)| name == "Sec-WebSocket-Key").unwrap().1.as_bytes();
//! # let accept = tungstenite::handshake::derive_accept_key(key);
//! # let from_the_server = [
//! #     "HTTP/1.1 101 Switching Protocols",
//! #     "Upgrade: websocket",
//! #     "Connection: Upgrade",
//! #     &format!("Sec-WebSocket-Accept: {accept}"),
//! #     "Sec-WebSocket-Protocol: mqtt\r\n\r\n",
//! # ]
//! # .join("\r\n");
//! websocket.receive(from_the_server.as_bytes())?; // 101 Switching Protocols
//! assert!(websocket.is_open());
//!
//! websocket.send(Bytes::from_static(b"\xc0\x00")); // PINGREQ
//! assert!(websocket.poll_transmit().is_some());
//! websocket.receive(b"\x82\x02\xd0\x00")?; // PINGRESP in a binary frame
//! assert_eq!(websocket.poll_received().unwrap(), &b"\xd0\x00"[..]);
//! # Ok::<_, Box<dyn std::error::Error>>(())
//! ```

mod frames;
mod handshake;
mod server;
#[cfg(test)]
mod tests;

use std::fmt;

use bytes::{Bytes, BytesMut};
use thiserror::Error;
use tungstenite::protocol::frame::coding::{CloseCode, Control, Data, OpCode};

use crate::http::{self, RequestSecrets};
use frames::{Frames, Incoming, Violation, put_frame};

pub use handshake::{WebSocketRequest, default_headers};
pub use server::WebSocketServer;

/// Why there is no WebSocket, or none any more.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum WebSocketError {
    /// Path or headers do not fit into a request. The caller's.
    #[error("the WebSocket {part} {what}")]
    Request {
        /// Which part.
        part: String,
        /// How it must be.
        what: &'static str,
    },
    /// The server answered with another status than 101.
    #[error("WebSocket handshake error: the server answered {}{}", http::status_line(*.status, .reason), hint(*.status, .location.as_deref()))]
    Refused {
        /// The status.
        status: u16,
        /// The words behind it, shortened.
        reason: String,
        /// Where it says to go, shortened.
        location: Option<String>,
    },
    /// What the server answered is no answer to a WebSocket request.
    #[error(
        "WebSocket handshake error: the server's answer is wrong: {what} (is there a WebSocket server on this port?)"
    )]
    Malformed {
        /// What is wrong.
        what: &'static str,
    },
    /// The server chose no subprotocol, or one that was not offered.
    #[error("WebSocket handshake error: {}", subprotocol_text(.offered, .chosen.as_deref()))]
    Subprotocol {
        /// What was offered.
        offered: String,
        /// What the server chose, shortened.
        chosen: Option<String>,
    },
    /// The connection ended before the server accepted.
    #[error(
        "WebSocket handshake error: the server closed the connection instead of answering (is there a WebSocket server on this port? does it expect TLS?)"
    )]
    EndedInHandshake,
    /// The server broke the rules of WebSocket, or of MQTT over it.
    #[error("the server broke the WebSocket protocol: it sent {what}")]
    Violation {
        /// What it sent.
        what: &'static str,
        /// The code that it is told in a Close frame.
        code: u16,
    },
    /// The connection ended without a Close frame.
    #[error("the server ended the connection without closing the WebSocket")]
    Ended,
}

/// What the server's Close frame said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CloseReason {
    /// The code, if there was one.
    pub code: Option<u16>,
    /// The words behind it, shortened; mostly none.
    pub reason: String,
}

impl fmt::Display for CloseReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the server closed the WebSocket")?;
        let meaning = match self.code {
            None => "without a code",
            Some(1000) => "normal closure",
            Some(1001) => "going away",
            Some(1002) => "protocol error",
            Some(1003) => "data that it does not accept",
            Some(1007) => "inconsistent data",
            Some(1008) => "policy violation",
            Some(1009) => "message too big",
            Some(1011) => "internal error",
            Some(1012) => "restarting",
            Some(1013) => "try again later",
            Some(_) => "code of its own",
        };
        match self.code {
            None => write!(f, " {meaning}")?,
            Some(code) => write!(f, ": {code}, {meaning}")?,
        }
        if !self.reason.is_empty() {
            write!(f, ": {}", self.reason)?;
        }
        Ok(())
    }
}

/// A WebSocket, of which the driver moves the bytes.
///
/// Memory: what was sent and is not taken yet, what was received and is not taken yet, and less than 17 KiB. A Ping is
/// answered; of several that come before [`WebSocket::poll_transmit`], only the last one, as RFC 6455 allows.
///
/// Frames of any length are received: their payload is handed on as it comes, since MQTT packets need not line up with
/// frames (MQTT-6.0.0-2).
pub struct WebSocket {
    state: WebSocketState,
    request: Option<Bytes>,
    /// Frames to be written once the WebSocket is open.
    transmit: BytesMut,
    pong: Option<BytesMut>,
    received: BytesMut,
    close_reason: Option<CloseReason>,
    /// What the reason must not repeat.
    secrets: RequestSecrets,
}

enum WebSocketState {
    /// The answer of the server has not come, or not all of it.
    Opening {
        handshake: WebSocketRequest,
        answer: BytesMut,
    },
    Open(Frames),
    /// Our Close frame is sent or queued; the server may send data until it answers.
    Closing(Frames),
    /// After the Close frame of the server, or an error.
    Closed,
}

impl WebSocket {
    /// Begins to open a WebSocket: the request waits in [`WebSocket::poll_transmit`].
    #[must_use]
    pub fn new(handshake: WebSocketRequest) -> Self {
        Self {
            request: Some(handshake.request()),
            secrets: handshake.secrets().clone(),
            state: WebSocketState::Opening {
                handshake,
                answer: BytesMut::new(),
            },
            transmit: BytesMut::new(),
            pong: None,
            received: BytesMut::new(),
            close_reason: None,
        }
    }

    /// Takes bytes from the connection. After the end of the WebSocket they are dropped.
    ///
    /// # Errors
    ///
    /// The server refuses, or breaks a rule. The WebSocket is closed then: what came before can still be taken, a Close
    /// frame may wait to be written, and the connection is of no more use.
    pub fn receive(&mut self, data: &[u8]) -> Result<(), WebSocketError> {
        let mut received = std::mem::take(&mut self.received);
        let result = self.receive_into(data, &mut received);
        self.received = received;
        result
    }

    /// As [`WebSocket::receive`], but appends what the frames carry to `received`, where [`WebSocket::receive`] keeps it for
    /// [`WebSocket::poll_received`]: one copy less for a driver that collects MQTT packets in a buffer anyway.
    ///
    /// # Errors
    ///
    /// As [`WebSocket::receive`]. What came before the violation is in `received` all the same.
    pub fn receive_into(
        &mut self,
        data: &[u8],
        received: &mut BytesMut,
    ) -> Result<(), WebSocketError> {
        let answer_end;
        let mut input = data;
        if let WebSocketState::Opening { handshake, answer } = &mut self.state {
            answer.extend_from_slice(data);
            let length = match handshake.check(answer) {
                Ok(None) => return Ok(()),
                Ok(Some(length)) => length,
                Err(error) => {
                    self.state = WebSocketState::Closed;
                    return Err(error);
                }
            };
            answer_end = answer.split_off(length);
            input = &answer_end;
            self.state = WebSocketState::Open(Frames::default());
        }
        self.receive_frames(input, received)
            .map_err(|Violation { code, what }| {
                self.end_with_close(code);
                WebSocketError::Violation { what, code }
            })
    }

    fn receive_frames(
        &mut self,
        mut input: &[u8],
        received: &mut BytesMut,
    ) -> Result<(), Violation> {
        while let WebSocketState::Open(frames) | WebSocketState::Closing(frames) = &mut self.state {
            match frames.next(&mut input)? {
                None => return Ok(()),
                Some(Incoming::Data(payload, _)) => received.extend_from_slice(payload),
                Some(Incoming::Ping(payload)) if self.is_open() => self.pong = Some(payload),
                Some(Incoming::Ping(_)) => {} // not behind our Close
                Some(Incoming::Close(close)) => self.close_received(close),
            }
        }
        Ok(())
    }

    fn close_received(&mut self, close: Option<(u16, String)>) {
        // Its answer repeats the code.
        self.end_with_close(
            close
                .as_ref()
                .map_or_else(|| CloseCode::Normal.into(), |(code, _)| *code),
        );
        let (code, reason) = close.unzip();
        let reason = (self.secrets).shown(reason.unwrap_or_default().as_bytes());
        self.close_reason = Some(CloseReason { code, reason });
    }

    /// Ends the WebSocket, with a Close frame if none was sent.
    fn end_with_close(&mut self, code: u16) {
        if let WebSocketState::Open(_) = self.state {
            self.put_close(code);
        }
        self.state = WebSocketState::Closed;
    }

    fn put_close(&mut self, code: u16) {
        self.pong = None; // nothing follows a Close
        put_frame(
            &mut self.transmit,
            OpCode::Control(Control::Close),
            &code.to_be_bytes(),
        );
    }

    /// Sends bytes in one binary frame (MQTT-6.0.0-1). They wait until the WebSocket is open; after
    /// [`WebSocket::close`], and after its end, they are dropped.
    ///
    /// The bytes are copied, since they are sent masked.
    #[expect(
        clippy::needless_pass_by_value,
        reason = "what is sent is given away, whether it is copied or not"
    )]
    pub fn send(&mut self, data: Bytes) {
        self.send_slice(&data);
    }

    /// As [`WebSocket::send`], for bytes of somebody else's.
    pub fn send_slice(&mut self, data: &[u8]) {
        if matches!(
            self.state,
            WebSocketState::Opening { .. } | WebSocketState::Open(_)
        ) && !data.is_empty()
        {
            put_frame(&mut self.transmit, OpCode::Data(Data::Binary), data);
        }
    }

    /// What is to be written now: all of it.
    pub fn poll_transmit(&mut self) -> Option<Bytes> {
        if let Some(request) = self.request.take() {
            return Some(request);
        }
        if let WebSocketState::Opening { .. } = self.state {
            return None;
        }
        if let Some(payload) = self.pong.take() {
            put_frame(&mut self.transmit, OpCode::Control(Control::Pong), &payload);
        }
        (!self.transmit.is_empty()).then(|| self.transmit.split().freeze())
    }

    /// What was received: all of it.
    pub fn poll_received(&mut self) -> Option<Bytes> {
        (!self.received.is_empty()).then(|| self.received.split().freeze())
    }

    /// Closes the WebSocket, behind what was sent. What the server sends until it answers is still received.
    pub fn close(&mut self) {
        match std::mem::replace(&mut self.state, WebSocketState::Closed) {
            WebSocketState::Open(frames) => {
                self.put_close(CloseCode::Normal.into());
                self.state = WebSocketState::Closing(frames);
            }
            WebSocketState::Opening { .. } => {
                self.request = None;
                self.transmit.clear();
            }
            other => self.state = other,
        }
    }

    /// Takes notice that the connection ended.
    ///
    /// # Errors
    ///
    /// When nobody had closed the WebSocket.
    pub fn end_of_stream(&mut self) -> Result<(), WebSocketError> {
        match std::mem::replace(&mut self.state, WebSocketState::Closed) {
            WebSocketState::Opening { .. } => Err(WebSocketError::EndedInHandshake),
            WebSocketState::Open(_) => Err(WebSocketError::Ended),
            WebSocketState::Closing(_) | WebSocketState::Closed => Ok(()),
        }
    }

    /// Whether the server has accepted, and nobody has closed.
    #[must_use]
    pub fn is_open(&self) -> bool {
        matches!(self.state, WebSocketState::Open(_))
    }

    /// Whether the WebSocket is over. Write what is left, and close the connection.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        matches!(self.state, WebSocketState::Closed)
    }

    /// What the server's Close frame said, if one came.
    #[must_use]
    pub fn close_reason(&self) -> Option<&CloseReason> {
        self.close_reason.as_ref()
    }
}

impl fmt::Debug for WebSocket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = match self.state {
            WebSocketState::Opening { .. } => "opening",
            WebSocketState::Open(_) => "open",
            WebSocketState::Closing(_) => "closing",
            WebSocketState::Closed => "closed",
        };
        f.debug_struct("WebSocket")
            .field("state", &state)
            .finish_non_exhaustive()
    }
}

fn hint(status: u16, location: Option<&str>) -> String {
    match (status, location) {
        (300..=399, Some(location)) => format!("; it is at {location}, connect there"),
        (401 | 403, _) => "; are the credentials in the headers right?".to_owned(),
        (400 | 404, _) => "; is the path right?".to_owned(),
        (426, _) => "; it wants another version of WebSocket".to_owned(),
        _ => String::new(),
    }
}

fn subprotocol_text(offered: &str, chosen: Option<&str>) -> String {
    match (offered, chosen) {
        (offered, None) => format!(
            "the server chose none of the subprotocols {offered}; if it does speak MQTT, leave the header \
             Sec-WebSocket-Protocol out"
        ),
        ("", Some(chosen)) => {
            format!("the server chose the subprotocol {chosen}, and none was offered")
        }
        (offered, Some(chosen)) => {
            format!("the server chose the subprotocol {chosen} instead of {offered}")
        }
    }
}
