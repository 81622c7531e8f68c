//! Frames (RFC 6455, section 5): those of this side are made here, the peer's taken apart as they come.

use std::fmt;
use std::io::Cursor;

use bytes::{BufMut, BytesMut};
use ferromqtt_proto::debug_fields;
use ferromqtt_proto::shown::Length;
use tungstenite::protocol::frame::FrameHeader;
use tungstenite::protocol::frame::coding::{CloseCode, Control, Data, OpCode};

/// The longest header of a frame.
const MAX_HEADER: usize = 14;
/// The longest payload of a Close, Ping or Pong frame.
const MAX_CONTROL: u64 = 125;

/// Why the connection fails, and the code that is sent to the peer.
#[derive(Clone, Copy, Debug)]
pub(super) struct Violation {
    pub(super) code: u16,
    pub(super) what: &'static str,
}

/// What the peer sent.
#[derive(PartialEq, Eq)]
pub(super) enum Incoming<'a> {
    /// A part of a binary message: MQTT does not care which. A client's comes with what it is masked with.
    Data(&'a [u8], Mask),
    Ping(BytesMut),
    /// A Close frame, with code and reason if it has them.
    Close(Option<(u16, String)>),
}

impl fmt::Debug for Incoming<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Data(data, _) => f.debug_tuple("Data").field(&Length(data.len())).finish(),
            Self::Ping(data) => f.debug_tuple("Ping").field(&Length(data.len())).finish(),
            Self::Close(close) => {
                let code = close.as_ref().map(|(code, _)| code);
                f.debug_tuple("Close").field(&code).finish()
            }
        }
    }
}

/// The key that a payload is XORed with, from its first byte on; `None` leaves it as it is.
pub(super) type Mask = Option<[u8; 4]>;

/// Who sends the frames: clients mask theirs, and servers do not (RFC 6455, section 5.1).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum FramesOf {
    #[default]
    Server,
    Client,
}

/// Takes the peer's frames apart. Payloads of data are handed on as they come, so that it never holds more than a
/// header or the payload of a control frame, however long a frame is.
#[derive(Default)]
pub(super) struct Frames {
    of: FramesOf,
    state: FrameState,
    /// A header, or the payload of a control frame, that is not complete.
    partial: BytesMut,
    /// Whether the last data frame was not the end of its message.
    fragmented: bool,
}

debug_fields!(Frames {
    of,
    state,
    partial: length,
    fragmented
});

#[derive(Clone, Copy, Debug, Default)]
enum FrameState {
    #[default]
    Header,
    Data {
        remaining: u64,
        mask: Mask,
    },
    Control {
        kind: Control,
        length: usize,
        mask: Mask,
    },
}

impl Frames {
    pub(super) fn of(of: FramesOf) -> Self {
        Self {
            of,
            ..Self::default()
        }
    }

    /// Takes the next piece off the front of `input`; `None` when there is no complete one.
    pub(super) fn next<'a>(
        &mut self,
        input: &mut &'a [u8],
    ) -> Result<Option<Incoming<'a>>, Violation> {
        loop {
            match self.state {
                FrameState::Header => {
                    let Some((header, length)) = self.header(input)? else {
                        return Ok(None);
                    };
                    self.state = self.begin(&header, length)?;
                }
                FrameState::Data { remaining: 0, .. } => self.state = FrameState::Header,
                FrameState::Data { .. } if input.is_empty() => return Ok(None),
                FrameState::Data { remaining, mask } => {
                    let here = usize::try_from(remaining)
                        .map_or(input.len(), |rest| rest.min(input.len()));
                    let (payload, behind) = input.split_at(here);
                    *input = behind;
                    self.state = FrameState::Data {
                        remaining: remaining - here as u64,
                        mask: mask.map(|key| rotated(key, here)),
                    };
                    return Ok(Some(Incoming::Data(payload, mask)));
                }
                FrameState::Control { kind, length, mask } => {
                    self.collect(input, length);
                    if self.partial.len() < length {
                        return Ok(None);
                    }
                    self.state = FrameState::Header;
                    let mut payload = self.partial.split();
                    unmask(&mut payload, mask);
                    match kind {
                        Control::Ping => return Ok(Some(Incoming::Ping(payload))),
                        Control::Close => return close(&payload).map(Incoming::Close).map(Some),
                        Control::Pong | Control::Reserved(_) => {} // nobody waits for a Pong
                    }
                }
            }
        }
    }

    fn header(&mut self, input: &mut &[u8]) -> Result<Option<(FrameHeader, u64)>, Violation> {
        // Headers are short: what has arrived is parsed from its start each time.
        let before = self.partial.len();
        self.partial
            .put_slice(&input[..input.len().min(MAX_HEADER - before)]);
        let mut cursor = Cursor::new(&self.partial[..]);
        let parsed =
            FrameHeader::parse(&mut cursor).map_err(|_| protocol("a frame of an unknown kind"))?;
        let Some(parsed) = parsed else {
            *input = &[]; // all of it is in `partial`, since a header of full length is a whole one
            return Ok(None);
        };
        let length = usize::try_from(cursor.position()).unwrap_or(MAX_HEADER);
        *input = &input[length.saturating_sub(before)..];
        self.partial.clear();
        let (header, payload) = &parsed;
        if length != header.len(*payload) {
            return Err(protocol(
                "a frame whose length takes more bytes than it needs",
            )); // RFC 6455, section 5.2
        }
        Ok(Some(parsed))
    }

    fn begin(&mut self, header: &FrameHeader, length: u64) -> Result<FrameState, Violation> {
        if header.rsv1 || header.rsv2 || header.rsv3 {
            return Err(protocol(
                "a frame with a reserved bit, for an extension that was not agreed on",
            ));
        }
        match (self.of, header.mask) {
            (FramesOf::Server, Some(_)) => {
                return Err(protocol("a masked frame, as only clients send"));
            }
            (FramesOf::Client, None) => {
                return Err(protocol("a frame without a mask, as only servers send"));
            }
            _ => {}
        }
        if length > i64::MAX as u64 {
            return Err(protocol("a frame of more than 2^63 bytes"));
        }
        match header.opcode {
            OpCode::Control(_) if !header.is_final => Err(protocol("a fragmented control frame")),
            OpCode::Control(_) if length > MAX_CONTROL => {
                Err(protocol("a control frame of more than 125 bytes"))
            }
            OpCode::Control(kind) => Ok(FrameState::Control {
                kind,
                length: length as usize,
                mask: header.mask,
            }),
            OpCode::Data(Data::Text) => {
                let what = "a text frame, where MQTT has binary frames alone";
                Err(Violation {
                    code: CloseCode::Unsupported.into(),
                    what,
                })
            }
            OpCode::Data(Data::Binary) if self.fragmented => {
                Err(protocol("a new message within a fragmented one"))
            }
            OpCode::Data(Data::Continue) if !self.fragmented => {
                Err(protocol("a continuation of no message"))
            }
            OpCode::Data(_) => {
                self.fragmented = !header.is_final;
                Ok(FrameState::Data {
                    remaining: length,
                    mask: header.mask,
                })
            }
        }
    }

    /// Adds to `partial` until it has this length.
    fn collect(&mut self, input: &mut &[u8], length: usize) {
        let here = input.len().min(length.saturating_sub(self.partial.len()));
        let (wanted, behind) = input.split_at(here);
        self.partial.put_slice(wanted);
        *input = behind;
    }
}

/// Reads the payload of a Close frame.
fn close(payload: &[u8]) -> Result<Option<(u16, String)>, Violation> {
    let (code, reason) = match payload {
        [] => return Ok(None),
        [high, low, reason @ ..] => (u16::from_be_bytes([*high, *low]), reason),
        [_] => return Err(protocol("a Close frame with half a code")),
    };
    if !CloseCode::from(code).is_allowed() {
        return Err(protocol("a Close frame with a code that must not be sent"));
    }
    let what = "a Close frame whose reason is not UTF-8";
    let reason = std::str::from_utf8(reason).map_err(|_| Violation {
        code: CloseCode::Invalid.into(),
        what,
    })?;
    Ok(Some((code, reason.to_owned())))
}

fn protocol(what: &'static str) -> Violation {
    Violation {
        code: CloseCode::Protocol.into(),
        what,
    }
}

/// Appends a frame of the client's: whole, and masked with a random key.
pub(super) fn put_frame(output: &mut BytesMut, opcode: OpCode, payload: &[u8]) {
    put(output, opcode, payload, Some(rand::random()));
}

/// Appends a frame of the server's: whole, and as it is.
pub(super) fn put_unmasked_frame(output: &mut BytesMut, opcode: OpCode, payload: &[u8]) {
    put(output, opcode, payload, None);
}

fn put(output: &mut BytesMut, opcode: OpCode, payload: &[u8], mask: Mask) {
    let header = FrameHeader {
        opcode,
        mask,
        ..FrameHeader::default()
    };
    output.reserve(MAX_HEADER + payload.len());
    // Writing into memory cannot fail.
    let _ = header.format(payload.len() as u64, &mut output.writer());
    let start = output.len();
    output.put_slice(payload);
    unmask(&mut output[start..], mask);
}

/// Takes a mask off, or puts it on: it is the same.
pub(super) fn unmask(bytes: &mut [u8], mask: Mask) {
    if let Some(key) = mask {
        apply_mask(bytes, key);
    }
}

/// The key for what comes behind so many bytes.
fn rotated(mut key: [u8; 4], bytes: usize) -> [u8; 4] {
    key.rotate_left(bytes % 4);
    key
}

/// XORs each byte with that of the mask, eight at a time.
fn apply_mask(bytes: &mut [u8], mask: [u8; 4]) {
    let wide = u64::from_ne_bytes([
        mask[0], mask[1], mask[2], mask[3], mask[0], mask[1], mask[2], mask[3],
    ]);
    let (chunks, rest) = bytes.as_chunks_mut::<8>();
    for chunk in chunks {
        *chunk = (u64::from_ne_bytes(*chunk) ^ wide).to_ne_bytes();
    }
    for (byte, key) in rest.iter_mut().zip(mask.iter().cycle()) {
        *byte ^= key;
    }
}
