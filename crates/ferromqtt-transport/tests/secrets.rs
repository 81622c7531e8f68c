//! No text and no `Debug` of what lies below MQTT shows what a request holds, also when the peer sends it back.
#![cfg(feature = "websocket")]

#[path = "../../ferromqtt-proto/tests/scenarios/support/markers.rs"]
mod markers;

use bytes::{Bytes, BytesMut};
use ferromqtt_transport::{
    Destination, Endpoint, Host, ProxyCredentials, ProxyHandshake, ProxyKind, ProxyUrl, ServerUrl,
    WebSocket, WebSocketError, WebSocketRequest, WebSocketServer, default_headers,
};

use markers::*;

/// The marker as it stands in a URL.
const ENCODED: &str = "s3cr3t%2FKumquat%3F7%26x";

fn host(name: &str) -> Host {
    Host::parse(name).unwrap()
}

#[test]
fn urls_show_neither_passwords_nor_queries() {
    for url in [
        format!("mqtt://u:{ENCODED}@a"),
        format!("wss://u:{ENCODED}@a/mqtt?token={ENCODED}"),
        format!("mqtt+unix://u:{ENCODED}@/run/broker"),
        format!("mqtts://u:{ENCODED}@a?client_id=b&protocol=5"),
    ] {
        let url = ServerUrl::parse(&url).unwrap();
        look_at_error(&url);
        look(&url.place);
    }
    for scheme in ["http", "socks4a", "socks5"] {
        let url = ProxyUrl::parse(&format!("{scheme}://u:{ENCODED}@a")).unwrap();
        look_at_error(&url);
    }
    for wrong in [
        format!("mqtt://u:{MARKER}@a"),
        format!("ftp://u:{MARKER}@a"),
        format!("u:{MARKER}@a:b"),
        format!("ws://a/mqtt?token={MARKER} @"),
        format!("mqtt://u@a?password={MARKER}"),
        format!("mqtt://u@a?keep_alive={MARKER}"),
        format!("mqtt://u@a?protocol={MARKER}"),
        format!("mqtt://u@a?client_id={MARKER}@b"),
    ] {
        if let Err(error) = ServerUrl::parse(&wrong) {
            look_at_error(&error);
        }
        if let Err(error) = Endpoint::from_url(&wrong) {
            look(&error);
        }
        if let Err(error) = ProxyUrl::parse(&wrong) {
            look_at_error(&error);
        }
    }
}

#[test]
fn a_proxy_that_sends_the_request_back_has_no_credential_shown() {
    let credentials = ProxyCredentials {
        user_name: Some("u".to_owned()),
        password: Some(Bytes::from(MARKER)),
    };
    look(&credentials);
    let server = Destination::Name("broker.example".to_owned());
    for kind in [ProxyKind::Socks4a, ProxyKind::Socks5, ProxyKind::Http] {
        let start = || ProxyHandshake::new(kind, &credentials, &server, 1883).unwrap();
        let request = start().poll_transmit().unwrap();
        let lines: Vec<_> = request
            .split(|byte| matches!(byte, b'\r' | b'\n'))
            .collect();
        let echoed = [&b"HTTP/1.1 407 "[..], &lines.join(&b' '), b"\r\n\r\n"].concat();
        let shown = format!("HTTP/1.1 403 {MARKER}\r\n\r\n").into_bytes();
        for answer in [request.to_vec(), echoed, shown] {
            let mut handshake = start();
            let result = handshake.receive(&mut BytesMut::from(&answer[..]));
            look(&handshake);
            look(&result);
            if let Err(error) = result {
                look_at_error(&error);
            }
            look_at_error(&handshake.ended());
        }
    }
}

fn headers() -> Vec<(String, String)> {
    let mut headers = default_headers(&host("broker.example"), 443, true);
    headers.push(("Authorization".to_owned(), format!("Bearer {MARKER}")));
    headers.push(("X-Api-Key".to_owned(), MARKER.to_owned()));
    headers
}

fn websocket() -> WebSocket {
    let path = format!("/mqtt?site=7&token={ENCODED}");
    let handshake = WebSocketRequest::new(&path, &headers()).unwrap();
    look(&handshake);
    WebSocket::new(handshake)
}

fn refusal(answer: &[u8]) -> WebSocketError {
    let mut websocket = websocket();
    let error = websocket.receive(answer).unwrap_err();
    look(&websocket);
    look_at_error(&error);
    error
}

#[test]
fn a_server_that_sends_the_request_back_has_no_token_shown() {
    let request = websocket().poll_transmit().unwrap();
    let lines: Vec<_> = request
        .split(|byte| matches!(byte, b'\r' | b'\n'))
        .collect();
    refusal(&[&b"HTTP/1.1 400 "[..], &lines.join(&b' '), b"\r\n\r\n"].concat());
    for words in [
        format!("GET /mqtt?site=7&token={ENCODED} failed"),
        format!("{}{MARKER}", "x".repeat(190)), // cut off within it
        format!("bad token {MARKER}"),
        format!("bad token {ENCODED}"),
    ] {
        refusal(format!("HTTP/1.1 401 {words}\r\n\r\n").as_bytes());
    }
    let moved = refusal(
        format!("HTTP/1.1 301 Moved\r\nLocation: wss://u:{MARKER}@b/mqtt?token={ENCODED}\r\n\r\n")
            .as_bytes(),
    );
    assert!(moved.to_string().contains("301 Moved"), "{moved}");
    refusal(format!("HTTP/1.1 101 x\r\nSec-WebSocket-Protocol: {MARKER}\r\n\r\n").as_bytes());
}

#[test]
fn words_that_repeat_nothing_are_shown() {
    let error = refusal(b"HTTP/1.1 401 token expired\r\nLocation: /login?from=mqtt\r\n\r\n");
    assert!(error.to_string().contains("401 token expired"), "{error}");
}

#[test]
fn the_reason_of_a_close_frame_that_repeats_a_token_is_left_out() {
    let mut headers = headers();
    headers.retain(|(name, _)| name != "Sec-WebSocket-Protocol");
    let key = "dGhlIHNhbXBsZSBub25jZQ==";
    for (name, value) in &mut headers {
        if name == "Sec-WebSocket-Key" {
            key.clone_into(value);
        }
    }
    let mut websocket = WebSocket::new(WebSocketRequest::new("/", &headers).unwrap());
    let reason = format!("bad {MARKER}");
    let length = u8::try_from(2 + reason.len()).unwrap();
    let answer = "HTTP/1.1 101 x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
                  Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n";
    let close = [&[0x88, length, 0x03, 0xf0][..], reason.as_bytes()].concat();
    websocket.receive(answer.as_bytes()).unwrap();
    websocket.receive(&close).unwrap();
    let reason = websocket.close_reason().expect("a reason");
    look_at_error(reason);
    assert_eq!(reason.code, Some(1008));
}

#[test]
fn a_wrong_request_is_refused_without_what_it_holds() {
    let wrong = |name: &str, value: &str| {
        let mut headers = default_headers(&host("a"), 80, false);
        headers.push((name.to_owned(), value.to_owned()));
        look_at_error(&WebSocketRequest::new("/", &headers).unwrap_err());
    };
    wrong(&format!("Authorization: Bearer {MARKER}"), "");
    wrong("Authorization", &format!("Bearer {MARKER}\r\n"));
    let path = format!("/mqtt?token={MARKER}#");
    look_at_error(
        &WebSocketRequest::new(&path, &default_headers(&host("a"), 80, false)).unwrap_err(),
    );
}

#[test]
fn the_side_of_the_server_shows_neither_the_request_nor_what_it_carries() {
    let mut client = websocket();
    let mut server = WebSocketServer::new();
    let mut received = BytesMut::new();
    let request = client.poll_transmit().unwrap();
    let (first, rest) = request.split_at(request.len() - 2);
    server.receive_into(first, &mut received);
    look(&server); // the request waits for its end
    server.receive_into(rest, &mut received);
    let answer = server.poll_transmit().unwrap();
    look(&String::from_utf8_lossy(&answer));
    client.receive(&answer).unwrap();
    client.send_slice(MARKER.as_bytes());
    server.receive_into(&client.poll_transmit().unwrap(), &mut received);
    assert_eq!(received, MARKER.as_bytes());
    server.send_slice(MARKER.as_bytes());
    look(&server); // output that nobody has taken
    let mut refusing = WebSocketServer::new();
    refusing.receive_into(
        format!("GET /{MARKER} HTTP/1.1\r\nA: {MARKER}\r\n\r\n").as_bytes(),
        &mut received,
    );
    look(&String::from_utf8_lossy(&refusing.poll_transmit().unwrap()));
    look(&refusing);
}

/// Public types that can hold nothing of a request.
const WITHOUT_SECRETS: &str = "Next Race ProxyProgress ProxyError Endpoint EndpointError ClientQuery UrlError QueryProtocol CloseReason HostError Failure Hint AttemptPhase";

#[test]
fn every_public_type_is_known() {
    let test = format!("{}{WITHOUT_SECRETS}", include_str!("secrets.rs"));
    knows_all_exports(include_str!("../src/lib.rs"), &test);
}
