//! The server's side, against our own client and against bytes that no client of ours sends.

use proptest::prelude::*;

use super::*;

/// What a browser or another library may send.
fn request() -> String {
    [
        "GET /anything?a=b HTTP/1.1",
        "Host: localhost",
        "upgrade: WebSocket",
        "Connection: keep-alive, Upgrade",
        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
        "Sec-WebSocket-Version: 13",
        "Sec-WebSocket-Protocol: other, mqtt",
        "\r\n",
    ]
    .join("\r\n")
}

fn accepted() -> WebSocketServer {
    let mut server = WebSocketServer::new();
    server.receive_into(request().as_bytes(), &mut BytesMut::new());
    let answer = server.poll_transmit().expect("an answer");
    assert!(answer.starts_with(b"HTTP/1.1 101 "));
    server
}

/// A frame of a client: masked, whatever the payload.
fn masked(first: u8, payload: &[u8]) -> Vec<u8> {
    let mask = [0x11, 0x22, 0x33, 0x44];
    let mut frame = vec![first];
    match u8::try_from(payload.len()) {
        Ok(short @ ..=125) => frame.push(0x80 | short),
        _ => {
            frame.push(0x80 | 126);
            frame.extend(u16::try_from(payload.len()).unwrap().to_be_bytes());
        }
    }
    frame.extend(mask);
    let bytes = payload.iter().zip(mask.iter().cycle());
    frame.extend(bytes.map(|(byte, key)| byte ^ key));
    frame
}

fn received(server: &mut WebSocketServer, input: &[u8]) -> BytesMut {
    let mut received = BytesMut::new();
    server.receive_into(input, &mut received);
    received
}

/// MQTT-6.0.0-3, MQTT-6.0.0-4: the answer of RFC 6455's example, and of the subprotocols that were offered the one of MQTT.
#[test]
fn a_request_is_accepted_with_the_subprotocol_mqtt() {
    let mut server = WebSocketServer::new();
    server.receive_into(request().as_bytes(), &mut BytesMut::new());
    let answer = server.poll_transmit().unwrap();
    assert_eq!(
        str::from_utf8(&answer).unwrap(),
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\nSec-WebSocket-Protocol: mqtt\r\n\r\n"
    );
    assert!(!server.is_closed());
}

#[test]
fn what_is_no_request_for_mqtt_over_websocket_is_refused_with_the_reason() {
    let full = request();
    let without = |line: &str| full.replace(line, "X-Other: 1");
    for (sent, reason) in [
        (without("upgrade: WebSocket"), "speaks WebSocket"),
        (
            without("Connection: keep-alive, Upgrade"),
            "speaks WebSocket",
        ),
        (without("Sec-WebSocket-Version: 13"), "speaks WebSocket"),
        (full.replace("GET", "POST"), "speaks WebSocket"),
        (full.replace("other, mqtt", "other"), "subprotocol mqtt"),
        (
            without("Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ=="),
            "one Sec-WebSocket-Key",
        ),
        (
            full.replace("Host: localhost", "Sec-WebSocket-Key: b"),
            "one Sec-WebSocket-Key",
        ),
        ("\x10\x0d\x00\x04MQTT".to_owned(), "no HTTP request"),
        (
            format!("GET / HTTP/1.1\r\nA: {}", "a".repeat(20_000)),
            "16 KiB",
        ),
    ] {
        let mut server = WebSocketServer::new();
        assert!(received(&mut server, sent.as_bytes()).is_empty());
        let answer = server.poll_transmit().expect("an answer");
        let answer = str::from_utf8(&answer).unwrap();
        assert!(
            answer.starts_with("HTTP/1.1 400 ") && answer.contains(reason),
            "{answer}"
        );
        assert!(server.is_closed());
        assert!(received(&mut server, &masked(0x82, b"late")).is_empty());
    }
}

/// MQTT-6.0.0-2: a packet may be spread over frames, and a frame may hold several.
#[test]
fn bytes_arrive_whole_however_they_are_cut_mqtt_6_0_0_2() {
    let mut stream = masked(0x02, b"one"); // a fragment
    stream.extend(masked(0x89, b"ping"));
    stream.extend(masked(0x80, b"two"));
    stream.extend(masked(0x82, &[7; 300]));
    let expected = [b"onetwo".to_vec(), vec![7; 300]].concat();
    for step in [1, 2, 3, 5, 7, stream.len()] {
        let mut server = accepted();
        let mut got = BytesMut::new();
        for piece in stream.chunks(step) {
            server.receive_into(piece, &mut got);
        }
        assert_eq!(got, expected[..], "in pieces of {step}");
        assert_eq!(server.poll_transmit().unwrap(), &b"\x8a\x04ping"[..]);
    }
}

#[test]
fn client_and_server_understand_each_other() {
    let mut client = opening_with(&headers());
    let mut server = accepted();
    client.receive(ANSWER.as_bytes()).unwrap();
    for length in [1, 125, 126, 65_535, 65_536, 200_000] {
        let payload = vec![length as u8; length];
        client.send_slice(&payload);
        let frames = client.poll_transmit().unwrap();
        assert_eq!(received(&mut server, &frames), payload[..]);
        server.send_slice(&payload);
        client.receive(&server.poll_transmit().unwrap()).unwrap();
        assert_eq!(client.poll_received().unwrap(), payload);
    }
    server.send_slice(b"last");
    server.close();
    client.receive(&server.poll_transmit().unwrap()).unwrap();
    assert_eq!(client.poll_received().unwrap(), &b"last"[..]);
    assert_eq!(client.close_reason().unwrap().code, Some(1000));
}

#[test]
fn a_close_of_the_client_is_answered_with_its_code() {
    let mut server = accepted();
    let input = [masked(0x82, b"last"), masked(0x88, b"\x03\xe9bye")].concat();
    assert_eq!(received(&mut server, &input), &b"last"[..]);
    assert_eq!(server.poll_transmit().unwrap(), &b"\x88\x02\x03\xe9"[..]);
    assert!(server.is_closed());
    server.send_slice(b"nobody reads this");
    assert_eq!(server.poll_transmit(), None);
}

/// MQTT-6.0.0-1: a text frame ends the connection.
#[test]
fn a_broken_rule_ends_the_connection_with_its_code_mqtt_6_0_0_1() {
    for (frame, code) in [
        (masked(0x81, b"text"), 1003_u16),
        (b"\x82\x01a".to_vec(), 1002), // no mask
        (masked(0xc2, b"compressed"), 1002),
        (masked(0x80, b"of nothing"), 1002),
        (masked(0x83, b"unknown"), 1002),
        (masked(0x09, b"half a ping"), 1002),
    ] {
        let mut server = accepted();
        assert!(received(&mut server, &frame).is_empty(), "{frame:02x?}");
        let close = [&b"\x88\x02"[..], &code.to_be_bytes()].concat();
        assert_eq!(server.poll_transmit().unwrap(), close, "{frame:02x?}");
        assert!(server.is_closed());
    }
}

/// Frames of a client, right and wrong ones.
fn frames() -> impl Strategy<Value = Vec<u8>> {
    let first = prop_oneof![
        6 => Just(0x82_u8),
        2 => prop::sample::select(vec![0x02, 0x00, 0x80, 0x89, 0x8a]),
        1 => prop::sample::select(vec![0x88, 0x81, 0x0a, 0xf2]),
    ];
    let payload = prop::collection::vec(any::<u8>(), 0..140);
    let frame = (first, payload).prop_map(|(first, payload)| masked(first, &payload));
    prop::collection::vec(frame, 0..8).prop_map(|frames| frames.concat())
}

/// What is seen of a server after some input: what it received, what it wrote, and whether it is over.
fn seen(input: &[u8], step: usize) -> (BytesMut, Option<Bytes>, bool) {
    let mut server = accepted();
    let mut received = BytesMut::new();
    for piece in input.chunks(step) {
        server.receive_into(piece, &mut received);
    }
    (received, server.poll_transmit(), server.is_closed())
}

proptest! {
    #[test]
    fn any_split_of_a_clients_frames_gives_the_same(input in frames(), step in 1_usize..20) {
        prop_assert_eq!(seen(&input, step), seen(&input, usize::MAX));
    }

    #[test]
    fn any_bytes_of_a_client_are_received_without_a_panic(
        input in prop::collection::vec(any::<u8>(), 0..200),
        opened in any::<bool>(),
    ) {
        let mut server = if opened { accepted() } else { WebSocketServer::new() };
        let mut received = BytesMut::new();
        server.receive_into(&input, &mut received);
        prop_assert!(received.len() <= input.len());
        server.close();
        server.send_slice(b"late");
        prop_assert!(server.is_closed());
    }
}
