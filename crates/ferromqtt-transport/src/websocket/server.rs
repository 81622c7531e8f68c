//! The server's side, for test brokers.

use std::fmt::{self, Write};

use bytes::{Bytes, BytesMut};
use tungstenite::protocol::frame::coding::{CloseCode, Control, Data, OpCode};

use super::frames::{Frames, FramesOf, Incoming, Mask, Violation, put_unmasked_frame, unmask};
use super::handshake::{SUBPROTOCOL, accept_value};
use crate::http::MAX_HEAD;

/// As many header lines as a request may have.
const MAX_HEADERS: usize = 96;

/// The server's side of a WebSocket, of which the host moves the bytes.
///
/// It accepts any path, and any origin: it is for tests. The subprotocol is `mqtt` (MQTT-6.0.0-4); a request that does not
/// offer it is refused, as is whatever else is no request for a WebSocket. A client that breaks a rule is sent a Close frame
/// with its code, and [`WebSocketServer::is_closed`] then.
///
/// Memory: what was sent and is not taken yet, and less than 17 KiB.
///
/// ```
/// use bytes::BytesMut;
/// use ferromqtt_transport::{Host, WebSocket, WebSocketRequest, WebSocketServer, default_headers};
///
/// let headers = default_headers(&Host::parse("localhost")?, 80, false);
/// let mut client = WebSocket::new(WebSocketRequest::new("/mqtt", &headers)?);
/// let mut server = WebSocketServer::new();
/// let mut received = BytesMut::new();
///
/// server.receive_into(&client.poll_transmit().unwrap(), &mut received);
/// client.receive(&server.poll_transmit().unwrap())?;
/// assert!(client.is_open());
///
/// client.send_slice(b"\xc0\x00"); // PINGREQ
/// server.receive_into(&client.poll_transmit().unwrap(), &mut received);
/// assert_eq!(received, &b"\xc0\x00"[..]);
/// # Ok::<_, Box<dyn std::error::Error>>(())
/// ```
pub struct WebSocketServer {
    state: ServerState,
    /// What is to be written.
    transmit: BytesMut,
    pong: Option<BytesMut>,
}

enum ServerState {
    /// The request has not come, or not all of it.
    Opening(BytesMut),
    Open(Frames),
    /// After a Close frame of either side, a refusal or an error: nothing more is received or sent.
    Closed,
}

impl Default for WebSocketServer {
    fn default() -> Self {
        Self::new()
    }
}

impl WebSocketServer {
    /// Waits for a request.
    #[must_use]
    pub fn new() -> Self {
        Self {
            state: ServerState::Opening(BytesMut::new()),
            transmit: BytesMut::new(),
            pong: None,
        }
    }

    /// Takes bytes from the connection, and appends what the client's frames carry to `received`. Once it is closed they are
    /// dropped.
    pub fn receive_into(&mut self, data: &[u8], received: &mut BytesMut) {
        let behind;
        let mut input = data;
        if let ServerState::Opening(request) = &mut self.state {
            request.extend_from_slice(data);
            match read_request(request) {
                Ok(None) => return,
                Ok(Some((length, key))) => {
                    behind = request.split_off(length);
                    input = &behind;
                    let _ = write!(
                        self.transmit,
                        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
                         Sec-WebSocket-Accept: {}\r\nSec-WebSocket-Protocol: {SUBPROTOCOL}\r\n\r\n",
                        accept_value(&key)
                    );
                    self.state = ServerState::Open(Frames::of(FramesOf::Client));
                }
                Err(why) => {
                    self.refuse(why);
                    return;
                }
            }
        }
        if let Err(Violation { code, .. }) = self.receive_frames(input, received) {
            self.close_with(code);
        }
    }

    fn receive_frames(
        &mut self,
        mut input: &[u8],
        received: &mut BytesMut,
    ) -> Result<(), Violation> {
        while let ServerState::Open(frames) = &mut self.state {
            match frames.next(&mut input)? {
                None => return Ok(()),
                Some(Incoming::Data(payload, mask)) => append(received, payload, mask),
                Some(Incoming::Ping(payload)) => self.pong = Some(payload),
                Some(Incoming::Close(close)) => {
                    self.close_with(
                        close.map_or_else(|| CloseCode::Normal.into(), |(code, _)| code),
                    );
                }
            }
        }
        Ok(())
    }

    /// Sends bytes in one binary frame (MQTT-6.0.0-1), once the request has been accepted; dropped otherwise.
    pub fn send_slice(&mut self, data: &[u8]) {
        if matches!(self.state, ServerState::Open(_)) && !data.is_empty() {
            put_unmasked_frame(&mut self.transmit, OpCode::Data(Data::Binary), data);
        }
    }

    /// What is to be written now: all of it.
    pub fn poll_transmit(&mut self) -> Option<Bytes> {
        if let Some(payload) = self.pong.take() {
            put_unmasked_frame(&mut self.transmit, OpCode::Control(Control::Pong), &payload);
        }
        (!self.transmit.is_empty()).then(|| self.transmit.split().freeze())
    }

    /// Closes the WebSocket, behind what was sent.
    pub fn close(&mut self) {
        self.close_with(CloseCode::Normal.into());
    }

    /// Whether it is over. Write what is left, and close the connection.
    #[must_use]
    pub const fn is_closed(&self) -> bool {
        matches!(self.state, ServerState::Closed)
    }

    fn close_with(&mut self, code: u16) {
        if let ServerState::Open(_) = self.state {
            self.pong = None; // nothing follows a Close
            put_unmasked_frame(
                &mut self.transmit,
                OpCode::Control(Control::Close),
                &code.to_be_bytes(),
            );
        }
        self.state = ServerState::Closed;
    }

    fn refuse(&mut self, why: &str) {
        let _ = write!(
            self.transmit,
            "HTTP/1.1 400 Bad Request\r\nConnection: close\r\nContent-Type: text/plain\r\nContent-Length: {}\r\n\r\n{why}\n",
            why.len() + 1
        );
        self.state = ServerState::Closed;
    }
}

impl fmt::Debug for WebSocketServer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = match self.state {
            ServerState::Opening(_) => "opening",
            ServerState::Open(_) => "open",
            ServerState::Closed => "closed",
        };
        f.debug_struct("WebSocketServer")
            .field("state", &state)
            .finish_non_exhaustive()
    }
}

fn append(received: &mut BytesMut, payload: &[u8], mask: Mask) {
    let start = received.len();
    received.extend_from_slice(payload);
    unmask(&mut received[start..], mask);
}

/// Reads a request for a WebSocket: its length and key when it is complete, and why it is none.
fn read_request(bytes: &[u8]) -> Result<Option<(usize, String)>, &'static str> {
    let within = &bytes[..bytes.len().min(MAX_HEAD)];
    let mut headers = [httparse::EMPTY_HEADER; MAX_HEADERS];
    let mut request = httparse::Request::new(&mut headers);
    let length = match request.parse(within) {
        Ok(httparse::Status::Complete(length)) => length,
        Ok(httparse::Status::Partial) if within.len() == MAX_HEAD => {
            return Err("the request has a head of more than 16 KiB");
        }
        Ok(httparse::Status::Partial) => return Ok(None),
        Err(_) => return Err("this is no HTTP request"),
    };
    let elements = |name: &'static str| {
        (request.headers.iter())
            .filter(move |header| header.name.eq_ignore_ascii_case(name))
            .flat_map(|header| header.value.split(|&byte| byte == b','))
            .map(<[u8]>::trim_ascii)
    };
    let has = |name, element: &str| {
        elements(name).any(|found| found.eq_ignore_ascii_case(element.as_bytes()))
    };
    if request.method != Some("GET")
        || !has("Upgrade", "websocket")
        || !has("Connection", "upgrade")
        || !has("Sec-WebSocket-Version", "13")
    {
        return Err("this port speaks WebSocket (RFC 6455) alone");
    }
    if !has("Sec-WebSocket-Protocol", SUBPROTOCOL) {
        return Err("the request does not offer the subprotocol mqtt");
    }
    let mut keys = elements("Sec-WebSocket-Key");
    let (Some(key), None) = (keys.next(), keys.next()) else {
        return Err("the request needs one Sec-WebSocket-Key");
    };
    let key = str::from_utf8(key).map_err(|_| "the request's Sec-WebSocket-Key is no text")?;
    Ok(Some((length, key.to_owned())))
}
