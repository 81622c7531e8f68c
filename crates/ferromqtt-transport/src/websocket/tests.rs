use std::collections::VecDeque;
use std::io::{self, Read, Write};

use proptest::prelude::*;
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
    let told = unmasked(&websocket.poll_transmit().expect("a Close frame"));
    assert_eq!(told, [(0x88, code.to_be_bytes().to_vec())]);
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

#[test]
fn the_default_headers_are_those_of_a_browser() {
    let text = |name, port, secure| {
        let headers = default_headers(&host(name), port, secure);
        let shown = |name: &str| {
            let value = headers.iter().find(|(known, _)| known == name).unwrap();
            value.1.clone()
        };
        (shown("Host"), shown("Origin"))
    };
    let pair = |host: &str, origin: &str| (host.to_owned(), origin.to_owned());
    assert_eq!(text("h", 80, false), pair("h", "http://h"));
    assert_eq!(text("h", 443, true), pair("h", "https://h"));
    assert_eq!(text("h", 80, true), pair("h:80", "https://h:80"));
    assert_eq!(
        text("fe80::1%eth0", 443, false),
        pair("[fe80::1]:443", "http://[fe80::1]:443")
    );
    // As in the certificate, with which servers compare it.
    assert_eq!(text("h.", 80, false), pair("h", "http://h"));
    #[cfg(feature = "idna")]
    assert_eq!(
        text("bücher.example", 443, true),
        pair("xn--bcher-kva.example", "https://xn--bcher-kva.example")
    );
    let key = |headers: Vec<(String, String)>| headers[4].clone();
    let one = key(default_headers(&host("h"), 80, false));
    assert_eq!((one.0.as_str(), one.1.len()), ("Sec-WebSocket-Key", 24));
    assert_ne!(one, key(default_headers(&host("h"), 80, false)));
}

#[test]
fn the_request_has_the_given_headers_and_no_other() {
    let headers = [("sec-websocket-key", "x"), ("Authorization", "Bearer ü")]
        .map(|(name, value)| (name.to_owned(), value.to_owned()));
    let handshake = WebSocketRequest::new("/?a", &headers).unwrap();
    assert!(!format!("{handshake:?}").contains("Bearer"));
    let request = WebSocket::new(handshake).poll_transmit().unwrap();
    let expected = "GET /?a HTTP/1.1\r\nsec-websocket-key: x\r\nAuthorization: Bearer ü\r\n\r\n";
    assert_eq!(request, expected.as_bytes());
}

#[test]
fn what_would_break_the_lines_of_a_request_is_refused() {
    let refused = |path: &str, headers: &[(String, String)]| {
        let error = WebSocketRequest::new(path, headers).expect_err(path);
        assert!(matches!(error, WebSocketError::Request { .. }), "{error}");
        error.to_string()
    };
    for path in ["", "mqtt", "/a b", "/a\r\nb", "/ä", "/a#b", "http://h/"] {
        refused(path, &headers());
    }
    for (name, value) in [
        ("", "a"),
        ("a b", "c"),
        ("a:", "b"),
        ("a\r", "b"),
        ("a", "b\r\nc: d"),
    ] {
        let mut headers = headers();
        set(&mut headers, name, value);
        assert!(!refused("/", &headers).contains(['\r', '\n']));
    }
    let mut headers = headers();
    headers.retain(|(name, _)| name != "Sec-WebSocket-Key");
    assert_eq!(
        refused("/", &headers),
        "the WebSocket header Sec-WebSocket-Key must be there, and only once"
    );
}

#[test]
fn a_refusal_tells_status_and_what_to_do() {
    let text = |answer: &str| refusal(answer).to_string();
    assert_eq!(
        text("HTTP/1.1 404 Not Found\r\nContent-Length: 3\r\n\r\nno\n"),
        "WebSocket handshake error: the server answered 404 Not Found; is the path right?"
    );
    assert_eq!(
        text("HTTP/1.1 301 Moved\r\nLocation: wss://h/\x09mqtt\r\n\r\n"),
        "WebSocket handshake error: the server answered 301 Moved; it is at wss://h/\\tmqtt, connect there"
    );
    assert_eq!(
        text("HTTP/1.0 503\r\n\r\n"),
        "WebSocket handshake error: the server answered 503"
    );
    let long = format!("HTTP/1.1 500 {}\r\n\r\n", "x".repeat(1000));
    assert!(text(&long).len() < 300 && text(&long).ends_with("xx…"));
    let WebSocketError::Refused {
        status: 401,
        location: None,
        ..
    } = refusal("HTTP/1.1 401 Unauthorized\r\n\r\n")
    else {
        panic!("not refused");
    };
}

#[test]
fn an_answer_that_grants_something_else_is_refused() {
    let changed = |from: &str, to: &str| {
        assert!(ANSWER.contains(from));
        refusal(&ANSWER.replace(from, to))
    };
    for (from, to) in [
        ("Upgrade: WebSocket\r\n", ""),
        ("Upgrade: WebSocket", "Upgrade: h2c"),
        ("keep-alive, Upgrade", "keep-alive"),
        (
            "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=",
            "S3pPLMBiTxaQ9kYGzzhZRbK+xOo=",
        ),
        ("Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n", ""),
        (
            "\r\n\r\n",
            "\r\nSec-WebSocket-Extensions: permessage-deflate\r\n\r\n",
        ),
        ("HTTP/1.1", "SSH-2.0"),
    ] {
        let error = changed(from, to);
        assert!(
            matches!(error, WebSocketError::Malformed { .. }),
            "{to}: {error}"
        );
    }
    assert!(matches!(
        refusal("\x20\x02\x00\x00"),
        WebSocketError::Malformed { .. }
    ));
}

#[test]
fn an_answer_without_an_end_is_given_up_at_16_kib() {
    let mut websocket = opening();
    websocket.receive(b"HTTP/1.1 101 x\r\n").unwrap();
    let line = format!("a: {}\r\n", "b".repeat(995));
    for _ in 0..16 {
        websocket.receive(line.as_bytes()).unwrap();
    }
    let error = websocket.receive(line.as_bytes()).unwrap_err();
    assert!(error.to_string().contains("more than 16 KiB"), "{error}");
    websocket.receive(line.as_bytes()).unwrap(); // dropped
    assert!(websocket.is_closed());
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

/// MQTT-6.0.0-3; 3.1.1: MQTT-6.0.0-3
#[test]
fn the_subprotocol_mqtt_is_offered() {
    let handshake =
        WebSocketRequest::new("/mqtt", &default_headers(&host("h"), 80, false)).unwrap();
    let request = WebSocket::new(handshake).poll_transmit().unwrap();
    let request = std::str::from_utf8(&request).unwrap();
    assert_eq!(
        request.matches("Sec-WebSocket-Protocol: mqtt\r\n").count(),
        1
    );
}

/// MQTT-6.0.0-4; 3.1.1: MQTT-6.0.0-4
#[test]
fn a_server_that_does_not_choose_mqtt_is_refused() {
    let choice = "Sec-WebSocket-Protocol: mqtt\r\n";
    let text = |to: &str| {
        let error = refusal(&ANSWER.replace(choice, to));
        assert!(
            matches!(error, WebSocketError::Subprotocol { .. }),
            "{error}"
        );
        error.to_string()
    };
    assert_eq!(
        text(""),
        "WebSocket handshake error: the server chose none of the subprotocols mqtt; if it does speak MQTT, leave the \
         header Sec-WebSocket-Protocol out"
    );
    assert_eq!(
        text("Sec-WebSocket-Protocol: chat\r\n"),
        "WebSocket handshake error: the server chose the subprotocol chat instead of mqtt"
    );
    text("Sec-WebSocket-Protocol: MQTT\r\n");
    text("Sec-WebSocket-Protocol: mqtt, chat\r\n");
}

/// MQTT-6.0.0-4; 3.1.1: MQTT-6.0.0-4
#[test]
fn the_headers_decide_what_the_server_may_choose() {
    let choice = "Sec-WebSocket-Protocol: mqtt\r\n";
    let mut older = headers();
    set(&mut older, "Sec-WebSocket-Protocol", "mqttv3.1, mqtt");
    for chosen in ["mqtt", "mqttv3.1"] {
        let answer = ANSWER.replace(choice, &format!("sec-websocket-protocol:{chosen}\r\n"));
        let mut websocket = opening_with(&older);
        websocket.receive(answer.as_bytes()).unwrap();
        assert!(websocket.is_open());
    }
    let mut none = headers();
    none.retain(|(name, _)| name != "Sec-WebSocket-Protocol");
    let mut websocket = opening_with(&none);
    websocket
        .receive(ANSWER.replace(choice, "").as_bytes())
        .unwrap();
    assert!(websocket.is_open());
    let error = refusal_to(&none, ANSWER).to_string();
    assert!(
        error.ends_with("chose the subprotocol mqtt, and none was offered"),
        "{error}"
    );
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
fn what_is_sent_before_the_server_has_accepted_waits() {
    let mut websocket = opening();
    websocket.send(Bytes::from_static(b"a"));
    assert_eq!(websocket.poll_transmit(), None);
    websocket.receive(ANSWER.as_bytes()).unwrap();
    assert_eq!(
        unmasked(&websocket.poll_transmit().unwrap()),
        [(0x82, b"a".to_vec())]
    );

    let mut websocket = WebSocket::new(WebSocketRequest::new("/", &headers()).unwrap());
    websocket.send(Bytes::from_static(b"a"));
    websocket.close();
    assert!(websocket.is_closed());
    assert_eq!(websocket.poll_transmit(), None);
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

/// All that can be seen of a WebSocket after some input; what was sent is compared unmasked.
type Seen = (
    Vec<u8>,
    Vec<(u8, Vec<u8>)>,
    Vec<WebSocketError>,
    Option<CloseReason>,
    bool,
    bool,
);

fn play<'a>(mut websocket: WebSocket, pieces: impl Iterator<Item = &'a [u8]>) -> Seen {
    let errors = pieces
        .filter_map(|piece| websocket.receive(piece).err())
        .collect();
    (
        websocket.poll_received().unwrap_or_default().to_vec(),
        unmasked(&websocket.poll_transmit().unwrap_or_default()),
        errors,
        websocket.close_reason().cloned(),
        websocket.is_open(),
        websocket.is_closed(),
    )
}

/// Pieces of the input that end at these places.
fn cut(input: &[u8], mut places: Vec<prop::sample::Index>) -> impl Iterator<Item = &[u8]> {
    let mut ends: Vec<usize> = places
        .drain(..)
        .map(|place| place.index(input.len() + 1))
        .collect();
    ends.push(input.len());
    ends.sort_unstable();
    let mut start = 0;
    ends.into_iter().map(move |end| {
        let piece = &input[start..end];
        start = end;
        piece
    })
}

fn frames() -> impl Strategy<Value = Vec<u8>> {
    let first = prop_oneof![
        6 => Just(0x82_u8),
        2 => prop::sample::select(vec![0x02, 0x00, 0x80, 0x89, 0x8a]),
        1 => prop::sample::select(vec![0x88, 0x81, 0x0a, 0xf2]),
    ];
    let payload = prop_oneof![
        prop::collection::vec(any::<u8>(), 0..8),
        prop::collection::vec(any::<u8>(), 120..140),
    ];
    let frame = (first, payload).prop_map(|(first, payload)| server_frame(first, &payload));
    prop::collection::vec(frame, 0..8).prop_map(|frames| frames.concat())
}

#[test]
fn what_frames_carry_is_appended_to_a_buffer_of_the_drivers() {
    let mut websocket = open();
    let mut buffer = BytesMut::from("before");
    let frames = [server_frame(0x82, b" and"), server_frame(0x82, b" behind")].concat();
    websocket.receive_into(&frames, &mut buffer).unwrap();
    assert_eq!(buffer, "before and behind");
    assert_eq!(websocket.poll_received(), None);
}

proptest! {
    #[test]
    fn any_split_of_frames_gives_the_same(
        frames in frames(),
        places in prop::collection::vec(any::<prop::sample::Index>(), 0..12),
    ) {
        let input = [ANSWER.as_bytes(), &frames].concat();
        let whole = play(opening(), [&input[..]].into_iter());
        prop_assert_eq!(&play(opening(), cut(&input, places)), &whole);
        prop_assert_eq!(&play(opening(), input.chunks(1)), &whole);
    }

    #[test]
    fn any_bytes_are_received_without_a_panic(
        input in prop::collection::vec(any::<u8>(), 0..300),
        places in prop::collection::vec(any::<prop::sample::Index>(), 0..12),
    ) {
        play(opening(), cut(&input, places.clone()));
        let whole = play(open(), [&input[..]].into_iter());
        prop_assert_eq!(play(open(), cut(&input, places)), whole);
    }

    #[test]
    fn any_payload_is_understood_by_another_implementation(
        payloads in prop::collection::vec(prop::collection::vec(any::<u8>(), 1..300), 1..6),
    ) {
        let (mut client, mut server) = with_server();
        for payload in &payloads {
            client.send_slice(payload);
        }
        to_server(&mut client, &mut server);
        for payload in payloads {
            prop_assert_eq!(server.read().unwrap(), Message::binary(payload));
        }
    }
}
