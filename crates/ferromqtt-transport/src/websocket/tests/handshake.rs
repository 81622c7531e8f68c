//! The opening request, and what the server may answer.

use super::*;

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
