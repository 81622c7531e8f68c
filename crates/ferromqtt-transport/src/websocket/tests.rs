mod handshake;
mod random;
mod server;

use std::collections::VecDeque;
use std::io::{self, Read, Write};

use tungstenite::Message;
use tungstenite::handshake::server::{Request, Response};
use tungstenite::protocol::CloseFrame;

use super::*;
use crate::host::Host;

const ANSWER: &str = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: WebSocket\r\n\
    Connection: keep-alive, Upgrade\r\nSec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\
    Sec-WebSocket-Protocol: mqtt\r\n\r\n";

/// The usual headers, with the key of RFC 6455's example, which `ANSWER` answers.
fn headers() -> Vec<(String, String)> {
    let mut headers = default_headers(&host("example.org"), 80, false);
    set(
        &mut headers,
        "Sec-WebSocket-Key",
        "dGhlIHNhbXBsZSBub25jZQ==",
    );
    headers
}

fn host(text: &str) -> Host {
    Host::parse(text).unwrap()
}

fn set(headers: &mut Vec<(String, String)>, name: &str, value: &str) {
    headers.retain(|(known, _)| known != name);
    headers.push((name.to_owned(), value.to_owned()));
}

fn opening_with(headers: &[(String, String)]) -> WebSocket {
    let mut websocket = WebSocket::new(WebSocketRequest::new("/mqtt", headers).unwrap());
    websocket.poll_transmit().expect("a request");
    websocket
}

fn opening() -> WebSocket {
    opening_with(&headers())
}

fn open() -> WebSocket {
    let mut websocket = opening();
    websocket.receive(ANSWER.as_bytes()).unwrap();
    assert!(websocket.is_open());
    websocket
}

/// The error of an answer to the usual request.
fn refusal(answer: &str) -> WebSocketError {
    refusal_to(&headers(), answer)
}

fn refusal_to(headers: &[(String, String)], answer: &str) -> WebSocketError {
    let mut websocket = opening_with(headers);
    let error = websocket.receive(answer.as_bytes()).expect_err(answer);
    assert!(websocket.is_closed() && !websocket.is_open());
    assert_eq!(websocket.poll_transmit(), None);
    error
}

/// The code of a violation, of which the server is told too.
fn violation(websocket: &mut WebSocket, input: &[u8]) -> u16 {
    let Err(WebSocketError::Violation { code, .. }) = websocket.receive(input) else {
        panic!("{input:02x?} is no violation");
    };
    assert!(websocket.is_closed());
    let reported = unmasked(&websocket.poll_transmit().expect("a Close frame"));
    assert_eq!(reported, [(0x88, code.to_be_bytes().to_vec())]);
    code
}

/// The client's frames: first byte and payload. Written anew here, so that it shares no mistake.
fn unmasked(mut bytes: &[u8]) -> Vec<(u8, Vec<u8>)> {
    let mut frames = Vec::new();
    while let [first, second, rest @ ..] = bytes {
        assert_eq!(second & 0x80, 0x80, "a client's frame is masked");
        let extended = match second & 0x7f {
            126 => 2,
            127 => 8,
            _ => 0,
        };
        let long = rest[..extended]
            .iter()
            .fold(0, |length, &byte| length << 8 | usize::from(byte));
        let length = if extended == 0 {
            usize::from(second & 0x7f)
        } else {
            long
        };
        let (mask, rest) = rest[extended..].split_at(4);
        let payload = rest[..length]
            .iter()
            .enumerate()
            .map(|(at, byte)| byte ^ mask[at % 4]);
        frames.push((*first, payload.collect()));
        bytes = &rest[length..];
    }
    assert!(bytes.is_empty());
    frames
}

fn server_frame(first: u8, payload: &[u8]) -> Vec<u8> {
    let mut frame = vec![first];
    match payload.len() {
        short @ 0..=125 => frame.push(short as u8),
        medium @ 126..=65_535 => {
            frame.push(126);
            frame.extend((medium as u16).to_be_bytes());
        }
        long => {
            frame.push(127);
            frame.extend((long as u64).to_be_bytes());
        }
    }
    frame.extend(payload);
    frame
}

/// A connection in memory, of which tungstenite's server has the other end.
#[derive(Default)]
struct Wire {
    to_server: VecDeque<u8>,
    to_client: Vec<u8>,
}

impl Read for Wire {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self.to_server.read(buffer)? {
            0 => Err(io::ErrorKind::WouldBlock.into()),
            count => Ok(count),
        }
    }
}

impl Write for Wire {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.to_client.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A client and tungstenite's server, whose handshake is done.
fn with_server() -> (WebSocket, tungstenite::WebSocket<Wire>) {
    let mut client = WebSocket::new(
        WebSocketRequest::new("/a?b=c", &default_headers(&host("::1"), 8080, false)).unwrap(),
    );
    let wire = Wire {
        to_server: client.poll_transmit().unwrap().to_vec().into(),
        ..Wire::default()
    };
    #[expect(
        clippy::result_large_err,
        reason = "the type of the callback is tungstenite's"
    )]
    let choose = |request: &Request, mut response: Response| {
        assert_eq!(request.uri(), "/a?b=c");
        assert_eq!(request.headers()["Host"], "[::1]:8080");
        let offered = request.headers()["Sec-WebSocket-Protocol"].clone();
        response
            .headers_mut()
            .insert("Sec-WebSocket-Protocol", offered);
        Ok(response)
    };
    let mut server = tungstenite::accept_hdr(wire, choose).unwrap();
    to_client(&mut client, &mut server);
    assert!(client.is_open());
    (client, server)
}

fn to_client(client: &mut WebSocket, server: &mut tungstenite::WebSocket<Wire>) {
    let bytes = std::mem::take(&mut server.get_mut().to_client);
    client.receive(&bytes).unwrap();
}

fn to_server(client: &mut WebSocket, server: &mut tungstenite::WebSocket<Wire>) {
    let bytes = client.poll_transmit().expect("something to be written");
    server.get_mut().to_server.extend(bytes);
}

#[test]
fn another_implementation_understands_and_is_understood() {
    let (mut client, mut server) = with_server();
    for length in [1, 125, 126, 65_535, 65_536, 1_000_003] {
        let payload: Bytes = (0..length).map(|at| (at * 7) as u8).collect();
        client.send(payload.clone());
        to_server(&mut client, &mut server);
        assert_eq!(server.read().unwrap(), Message::Binary(payload.clone()));
        server.send(Message::Binary(payload.clone())).unwrap();
        to_client(&mut client, &mut server);
        assert_eq!(client.poll_received(), Some(payload));
    }
}

#[test]
fn either_side_closes_with_another_implementation() {
    let (mut client, mut server) = with_server();
    client.close();
    to_server(&mut client, &mut server);
    assert!(
        matches!(server.read(), Ok(Message::Close(Some(frame))) if u16::from(frame.code) == 1000)
    );
    assert!(server.flush().is_err(), "the server has closed");
    assert!(!client.is_open() && !client.is_closed());
    to_client(&mut client, &mut server);
    assert!(client.is_closed());
    assert_eq!(client.poll_transmit(), None);

    let (mut client, mut server) = with_server();
    let frame = CloseFrame {
        code: CloseCode::Away,
        reason: "restart\nsoon".into(),
    };
    server.close(Some(frame)).unwrap();
    to_client(&mut client, &mut server);
    assert!(client.is_closed());
    let reason = client.close_reason().unwrap();
    assert_eq!(reason.code, Some(1001));
    let text = "the server closed the WebSocket: 1001, going away: restart\\nsoon";
    assert_eq!(reason.to_string(), text);
    to_server(&mut client, &mut server);
    assert!(
        matches!(server.read(), Ok(Message::Close(Some(frame))) if u16::from(frame.code) == 1001)
    );
    client.end_of_stream().unwrap();
}

#[test]
fn a_ping_is_answered_and_several_at_once_by_one_answer() {
    let (mut client, mut server) = with_server();
    server.send(Message::Ping("a".into())).unwrap();
    server.send(Message::Ping("b".into())).unwrap();
    server.send(Message::Pong("unasked".into())).unwrap();
    to_client(&mut client, &mut server);
    let transmit = client.poll_transmit().unwrap();
    assert_eq!(unmasked(&transmit), [(0x8a, b"b".to_vec())]);
    assert_eq!(client.poll_received(), None);
}

#[test]
fn nothing_follows_a_close_frame() {
    let close = |code: u16| [(0x88, code.to_be_bytes().to_vec())];
    let mut websocket = open();
    websocket.receive(b"\x89\x00").unwrap();
    websocket.close();
    websocket.receive(b"\x89\x00").unwrap();
    assert_eq!(unmasked(&websocket.poll_transmit().unwrap()), close(1000));

    let mut websocket = open();
    websocket.receive(b"\x89\x00\x88\x02\x03\xe9").unwrap();
    assert_eq!(unmasked(&websocket.poll_transmit().unwrap()), close(1001));
    assert_eq!(websocket.poll_transmit(), None);
}

/// MQTT-6.0.0-1; 3.1.1: MQTT-6.0.0-1
#[test]
fn what_is_sent_goes_in_whole_binary_frames() {
    let mut websocket = open();
    websocket.send(Bytes::from_static(b"\x10\x00"));
    websocket.send(Bytes::new());
    websocket.send(Bytes::from(vec![7; 70_000]));
    let frames = unmasked(&websocket.poll_transmit().unwrap());
    assert_eq!(
        frames,
        [(0x82, b"\x10\x00".to_vec()), (0x82, vec![7; 70_000])]
    );
    assert_eq!(websocket.poll_transmit(), None);
}

/// MQTT-6.0.0-1; 3.1.1: MQTT-6.0.0-1
#[test]
fn a_text_frame_closes_the_connection_behind_what_came_before() {
    for text in [&b"\x81\x02\xd0\x00"[..], b"\x01\x00"] {
        let mut websocket = open();
        let input = [b"\x82\x02\xd0\x00", text].concat();
        assert_eq!(violation(&mut websocket, &input), 1003);
        assert_eq!(websocket.poll_received().unwrap(), &b"\xd0\x00"[..]);
    }
}

/// MQTT-6.0.0-2; 3.1.1: MQTT-6.0.0-2
#[test]
fn packets_may_cross_frames_and_share_them() {
    let packets = b"\xd0\x00\x40\x02\x00\x01\x30\x04\x00\x01tx";
    for cut in 0..=packets.len() {
        let (front, back) = packets.split_at(cut);
        // Two messages, of which the second is in fragments with a Ping between.
        let mut input = server_frame(0x82, front);
        input.extend(server_frame(0x02, &back[..back.len() / 2]));
        input.extend(server_frame(0x89, b""));
        input.extend(server_frame(0x80, &back[back.len() / 2..]));
        let mut websocket = open();
        websocket.receive(&input).unwrap();
        assert_eq!(websocket.poll_received().unwrap(), &packets[..]);
    }
}

/// MQTT-6.0.0-2; 3.1.1: MQTT-6.0.0-2
#[test]
fn a_part_of_a_frame_is_handed_on_before_the_rest_has_come() {
    let mut websocket = open();
    // A frame of 2^40 bytes: no memory is set aside for it.
    websocket
        .receive(b"\x82\x7f\x00\x00\x01\x00\x00\x00\x00\x00\xd0")
        .unwrap();
    assert_eq!(websocket.poll_received().unwrap(), &b"\xd0"[..]);
    websocket.receive(b"\x00").unwrap();
    assert_eq!(websocket.poll_received().unwrap(), &b"\x00"[..]);
}

#[test]
fn frames_that_break_the_rules_end_the_websocket() {
    let long_ping = server_frame(0x89, &[0; 126]);
    for input in [
        &b"\xc2\x00"[..], // a reserved bit
        b"\xa2\x00",
        b"\x92\x00",
        b"\x83\x00", // unknown kinds
        b"\x8b\x00",
        b"\x82\x81\x00\x00\x00\x00\x00",             // masked
        b"\x80\x00",                                 // a continuation of nothing
        b"\x02\x00\x82\x00",                         // a message in a message
        b"\x09\x00",                                 // a fragmented Ping
        b"\x82\x7f\x80\x00\x00\x00\x00\x00\x00\x00", // too long
        &long_ping,
        b"\x88\x01\x03",     // half a code
        b"\x88\x02\x03\xed", // 1005, which is never sent
        b"\x88\x02\x00\x00",
    ] {
        assert_eq!(violation(&mut open(), input), 1002, "{input:02x?}");
    }
    assert_eq!(violation(&mut open(), b"\x88\x03\x03\xe8\xff"), 1007);
}

/// RFC 6455, section 5.2: the minimal number of bytes must be used. At every boundary, and for control frames too.
#[test]
fn a_length_that_takes_more_bytes_than_it_needs_ends_the_websocket() {
    for first in [0x82, 0x02, 0x89, 0x8a] {
        for length in [0_u16, 1, 125] {
            let [high, low] = length.to_be_bytes();
            let medium = [first, 126, high, low];
            assert_eq!(violation(&mut open(), &medium), 1002, "{medium:02x?}");
        }
        for length in [0_u64, 125, 126, 65_535] {
            let long = [&[first, 127][..], &length.to_be_bytes()].concat();
            assert_eq!(violation(&mut open(), &long), 1002, "{long:02x?}");
        }
    }
    for length in [125, 126, 65_535, 65_536] {
        let mut websocket = open();
        websocket
            .receive(&server_frame(0x82, &vec![7; length]))
            .unwrap();
        assert_eq!(websocket.poll_received().unwrap().len(), length);
    }
}

#[test]
fn what_comes_after_the_end_is_dropped() {
    let mut websocket = open();
    websocket
        .receive(b"\x82\x01a\x88\x00\x82\x01b\xff\xff")
        .unwrap();
    websocket.receive(b"\x82\x01c").unwrap();
    assert_eq!(websocket.poll_received().unwrap(), &b"a"[..]);
    websocket.send(Bytes::from_static(b"d"));
    websocket.close();
    let transmit = websocket.poll_transmit().unwrap();
    assert_eq!(
        unmasked(&transmit),
        [(0x88, 1000_u16.to_be_bytes().to_vec())]
    );
    let text = websocket.close_reason().unwrap().to_string();
    assert_eq!(text, "the server closed the WebSocket without a code");
}

#[test]
fn closing_lets_what_was_sent_go_first_and_still_receives() {
    let mut websocket = open();
    websocket.send(Bytes::from_static(b"a"));
    websocket.close();
    websocket.send(Bytes::from_static(b"b"));
    websocket.close();
    let frames = unmasked(&websocket.poll_transmit().unwrap());
    assert_eq!(
        frames,
        [
            (0x82, b"a".to_vec()),
            (0x88, 1000_u16.to_be_bytes().to_vec())
        ]
    );
    websocket.receive(b"\x82\x01c").unwrap();
    assert_eq!(websocket.poll_received().unwrap(), &b"c"[..]);
    assert!(!websocket.is_closed());
    websocket.end_of_stream().unwrap();
    assert!(websocket.is_closed());
}

#[test]
fn an_end_of_the_connection_that_nobody_announced_is_an_error() {
    assert_eq!(
        opening().end_of_stream(),
        Err(WebSocketError::EndedInHandshake)
    );
    let mut websocket = open();
    assert_eq!(websocket.end_of_stream(), Err(WebSocketError::Ended));
    assert!(websocket.is_closed());
    assert_eq!(websocket.end_of_stream(), Ok(()));
}

#[test]
fn debug_tells_no_payload() {
    let mut websocket = open();
    websocket.send(Bytes::from_static(b"geheim"));
    assert_eq!(
        format!("{websocket:?}"),
        "WebSocket { state: \"open\", .. }"
    );
}
