//! WebSocket against a server that is played frame by frame. Its rules are tested where they are kept, in
//! `ferromqtt-transport`; traffic with a real broker is in `mosquitto.rs`.

use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use bytes::BytesMut;
use ferromqtt::{
    ConnectAttempt, ConnectError, Connection, ConnectionError, Credentials, Options, OptionsError,
    ProtocolVersion, QoS, ReasonCode, Reconnect,
};
use ferromqtt_proto::packet::{self, ConnAck, Packet};
use tokio::task::{JoinHandle, spawn_blocking};
use tungstenite::handshake::server::{Request, Response};
use tungstenite::protocol::CloseFrame;
use tungstenite::protocol::frame::coding::CloseCode;
use tungstenite::{Message, WebSocket};

use crate::in_time;

/// So that a client that sends nothing fails the test.
const LIMIT: Duration = Duration::from_secs(20);

/// The server's end of a WebSocket.
struct Peer {
    socket: WebSocket<TcpStream>,
    request: Request,
    received: BytesMut,
}

/// Closes a connection on which something came that was not read: the system resets it.
fn reset(stream: TcpStream) {
    stream.set_read_timeout(Some(LIMIT)).unwrap();
    stream.peek(&mut [0]).unwrap();
    drop(stream);
}

/// Accepts one WebSocket, and plays the server.
fn serve<T: Send + 'static>(
    play: impl FnOnce(Peer) -> T + Send + 'static,
) -> (SocketAddr, JoinHandle<T>) {
    let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let address = listener.local_addr().unwrap();
    (
        address,
        spawn_blocking(move || play(Peer::accept(&listener))),
    )
}

impl Peer {
    #[allow(
        clippy::result_large_err,
        reason = "the type of the answer is tungstenite's"
    )]
    fn accept(listener: &TcpListener) -> Self {
        let (stream, _) = listener.accept().unwrap();
        stream.set_read_timeout(Some(LIMIT)).unwrap();
        let mut seen = None;
        let socket =
            tungstenite::accept_hdr(stream, |request: &Request, mut response: Response| {
                seen = Some(request.clone());
                if let Some(offered) = request.headers().get("Sec-WebSocket-Protocol") {
                    let headers = response.headers_mut();
                    headers.insert("Sec-WebSocket-Protocol", offered.clone());
                }
                Ok(response)
            });
        Self {
            socket: socket.unwrap(),
            request: seen.unwrap(),
            received: BytesMut::new(),
        }
    }

    fn header(&self, name: &str) -> Option<&str> {
        self.request.headers().get(name)?.to_str().ok()
    }

    /// The next packet from as many binary frames as it takes.
    fn packet(&mut self) -> Packet {
        loop {
            let whole = packet::whole_packets(&self.received, usize::MAX).unwrap();
            if whole.bytes > 0 {
                let source = self.received.clone().freeze();
                let mut at = 0;
                let packet = packet::decode(&source, &mut at, ProtocolVersion::V5).unwrap();
                let _ = self.received.split_to(at);
                return packet;
            }
            match self.socket.read().unwrap() {
                Message::Binary(bytes) => self.received.extend_from_slice(&bytes),
                other => panic!("a binary frame expected, not {other:?}"),
            }
        }
    }

    fn send(&mut self, bytes: &[u8]) {
        let frame = Message::Binary(bytes.to_vec().into());
        self.socket.send(frame).unwrap();
    }

    fn accept_connect(&mut self) {
        assert!(matches!(self.packet(), Packet::Connect(_)));
        self.send(&connack());
    }

    fn expect_disconnect_and_close(&mut self) {
        assert!(matches!(self.packet(), Packet::Disconnect(_)));
        let Message::Close(Some(close)) = self.socket.read().unwrap() else {
            panic!("a Close frame expected");
        };
        assert_eq!(close.code, CloseCode::Normal);
        let _ = self.socket.flush(); // answers it
    }
}

fn encoded(packet: &Packet) -> BytesMut {
    let mut bytes = BytesMut::new();
    packet.encode(ProtocolVersion::V5, &mut bytes);
    bytes
}

fn connack() -> BytesMut {
    encoded(&Packet::ConnAck(Box::new(ConnAck {
        session_present: false,
        reason: ReasonCode::Success,
        properties: ferromqtt::Properties::default(),
    })))
}

fn message(payload: &'static [u8]) -> BytesMut {
    encoded(&Packet::Publish(packet::PublishPacket {
        dup: false,
        qos: QoS::AtMostOnce,
        retain: false,
        topic: "t".try_into().unwrap(),
        packet_id: None,
        properties: None,
        payload: payload.into(),
    }))
}

fn options(address: SocketAddr) -> Options {
    Options::from_url(&format!("ws://{address}"))
        .unwrap()
        .reconnect(None)
}

async fn disconnected(connection: Connection, server: JoinHandle<()>) {
    connection.disconnect().await.unwrap();
    server.await.unwrap();
}

#[tokio::test]
async fn packets_go_in_frames_however_they_are_cut() {
    in_time(async {
        let large: &[u8] = &[7; 200_000];
        let (address, server) = serve(move |mut peer| {
            assert_eq!(peer.request.uri(), "/mqtt");
            assert_eq!(peer.header("Sec-WebSocket-Protocol"), Some("mqtt"));
            assert!(matches!(peer.packet(), Packet::Connect(_)));
            let connack = connack();
            peer.send(&connack[..1]);
            peer.send(&connack[1..3]);
            let rest = [&connack[3..], &message(b"one")[..], &message(b"two")[..5]].concat();
            peer.send(&rest);
            peer.send(&message(b"two")[5..]);
            let Packet::Publish(publish) = peer.packet() else {
                panic!("PUBLISH expected");
            };
            assert_eq!(publish.payload, large);
            peer.expect_disconnect_and_close();
        });
        let connection = Connection::open(options(address)).await.unwrap();
        let client = connection.client();
        let mut messages = client.messages();
        assert_eq!(messages.next().await.unwrap().payload, "one");
        assert_eq!(messages.next().await.unwrap().payload, "two");
        client.publish("t", large).await.unwrap();
        disconnected(connection, server).await;
    })
    .await;
}

/// As in `leaving.rs`: for longer than a client would wait that waits for a fixed second or two.
#[tokio::test]
async fn a_server_that_is_busy_sending_gets_everything() {
    in_time(async {
        let (address, server) = serve(|mut peer| {
            peer.accept_connect();
            let start = Instant::now();
            while start.elapsed() < Duration::from_millis(2_500) {
                peer.send(&message(&[0; 1_000]));
                std::thread::sleep(Duration::from_millis(20));
            }
            for _ in 0..100 {
                assert!(matches!(peer.packet(), Packet::Publish(_)));
            }
            peer.expect_disconnect_and_close();
        });
        let connection = Connection::open(options(address)).await.unwrap();
        let client = connection.client();
        for _ in 0..100 {
            client.publish("t", "x").await.unwrap();
        }
        disconnected(connection, server).await;
    })
    .await;
}

#[tokio::test]
async fn a_ping_is_answered_though_nothing_else_is_to_be_written() {
    in_time(async {
        let (address, server) = serve(|mut peer| {
            peer.accept_connect();
            let ping = Message::Ping(b"there?".to_vec().into());
            peer.socket.send(ping).unwrap();
            let pong = Message::Pong(b"there?".to_vec().into());
            assert_eq!(peer.socket.read().unwrap(), pong);
            peer.send(&message(b"thank you"));
            peer.expect_disconnect_and_close();
        });
        let connection = Connection::open(options(address)).await.unwrap();
        let mut messages = connection.client().messages();
        assert_eq!(messages.next().await.unwrap().payload, "thank you");
        disconnected(connection, server).await;
    })
    .await;
}

#[tokio::test]
async fn a_refused_request_is_told_with_the_server_s_answer() {
    in_time(async {
        let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let address = listener.local_addr().unwrap();
        let server = spawn_blocking(move || {
            use std::io::{Read, Write};
            let (mut stream, _) = listener.accept().unwrap();
            stream.set_read_timeout(Some(LIMIT)).unwrap();
            let mut request = Vec::new();
            while !request.ends_with(b"\r\n\r\n") {
                let mut byte = [0];
                stream.read_exact(&mut byte).unwrap();
                request.extend(byte);
            }
            let answer = b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n";
            stream.write_all(answer).unwrap();
        });
        let error = Connection::open(options(address)).await.unwrap_err();
        let text = error.to_string();
        assert!(text.contains("404 Not Found"), "{text}");
        assert!(text.contains(&format!("ws://{address}/mqtt")), "{text}");
        server.await.unwrap();
    })
    .await;
}

#[tokio::test]
async fn a_port_that_resets_the_connection_is_suspected_of_not_speaking_websocket() {
    in_time(async {
        let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let address = listener.local_addr().unwrap();
        let server = spawn_blocking(move || reset(listener.accept().unwrap().0));
        let error = Connection::open(options(address)).await.unwrap_err();
        let text = error.to_string();
        let says = [
            "WebSocket handshake: ",
            "(is there a WebSocket server on this port? does it expect TLS?)",
        ];
        assert!(says.iter().all(|part| text.contains(part)), "{text}");
        server.await.unwrap();
    })
    .await;
}

#[tokio::test]
async fn wss_to_a_port_without_tls_names_the_usual_ports_of_websocket() {
    in_time(async {
        for greeting in [None, Some(b"220 mail.example ESMTP\r\n")] {
            let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
            let address = listener.local_addr().unwrap();
            let server = spawn_blocking(move || {
                use std::io::{Read, Write};
                let (mut stream, _) = listener.accept().unwrap();
                stream.set_read_timeout(Some(LIMIT)).unwrap();
                match greeting {
                    Some(greeting) => {
                        stream.write_all(greeting).unwrap();
                        let _ = stream.read_to_end(&mut Vec::new());
                    }
                    None => reset(stream),
                }
            });
            let url = format!("wss://{address}");
            let options = Options::from_url(&url).unwrap().reconnect(None);
            let options = options.tls(ferromqtt::TlsOptions::new());
            let error = Connection::open(options).await.unwrap_err();
            let text = error.to_string();
            let hint = "(does the port speak TLS? 443 is the usual one for WebSocket with TLS, 80 without)";
            assert!(text.contains("TLS handshake: ") && text.contains(hint), "{text}");
            server.await.unwrap();
        }
    })
    .await;
}

#[tokio::test]
async fn the_reason_of_a_close_frame_is_told() {
    in_time(async {
        let (address, server) = serve(|mut peer| {
            peer.accept_connect();
            let close = CloseFrame {
                code: CloseCode::Policy,
                reason: "too many".into(),
            };
            peer.socket.close(Some(close)).unwrap();
            while peer.socket.read().is_ok() {} // until the client's answer has come
        });
        let connection = Connection::open(options(address)).await.unwrap();
        let ConnectionError::Transport(cause) = connection.client().closed().await else {
            panic!("the transport ended");
        };
        let text = cause.to_string();
        assert!(text.contains("1008") && text.contains("too many"), "{text}");
        server.await.unwrap();
    })
    .await;
}

#[tokio::test]
async fn headers_and_path_are_the_caller_s_to_choose() {
    in_time(async {
        let (address, server) = serve(|mut peer| {
            assert_eq!(peer.request.uri(), "/broker?tenant=7");
            assert_eq!(peer.header("Authorization"), Some("Bearer geheim"));
            assert_eq!(peer.header("Origin"), Some("https://app.example"));
            assert_eq!(peer.header("Sec-WebSocket-Protocol"), None);
            peer.accept_connect();
            peer.expect_disconnect_and_close();
        });
        let options = Options::from_url(&format!("ws://{address}/broker?tenant=7"))
            .unwrap()
            .websocket_header("Authorization", "Bearer geheim")
            .websocket_header("origin", "https://app.example")
            .without_websocket_header("Sec-WebSocket-Protocol");
        assert!(!format!("{options:?}").contains("geheim"));
        let connection = Connection::open(options).await.unwrap();
        disconnected(connection, server).await;
    })
    .await;
}

/// Over those of the options, and like these on no other attempt.
#[tokio::test]
async fn each_request_has_the_headers_and_the_path_of_its_own_credentials() {
    in_time(async {
        let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let address = listener.local_addr().unwrap();
        let server = spawn_blocking(move || {
            for (token, trace) in [("Bearer 1", Some("one")), ("Bearer 2", None)] {
                let mut peer = Peer::accept(&listener);
                assert_eq!(peer.header("Authorization"), Some(token));
                assert_eq!(peer.header("X-Trace"), trace);
                let path = if trace.is_some() {
                    "/mqtt?signature=1"
                } else {
                    "/mqtt"
                };
                assert_eq!(peer.request.uri().to_string(), path);
                assert_eq!(peer.header("Origin"), Some("https://app.example"));
                assert_eq!(peer.header("Sec-WebSocket-Protocol"), Some("mqtt"));
                peer.accept_connect(); // and hangs up the first time
                if trace.is_none() {
                    peer.expect_disconnect_and_close();
                }
            }
        });
        let asked = AtomicU32::new(0);
        let options = options(address)
            .reconnect(Reconnect::default())
            .websocket_header("Authorization", "Bearer of the options")
            .websocket_header("Origin", "https://app.example")
            .credentials(move |_: ConnectAttempt| {
                let number = asked.fetch_add(1, Ordering::Relaxed) + 1;
                let token = format!("Bearer {number}");
                let credentials = Credentials::new().websocket_header("authorization", token);
                async move {
                    Ok(match number {
                        1 => credentials
                            .websocket_header("X-Trace", "one")
                            .websocket_path("/mqtt?signature=1"),
                        _ => credentials,
                    })
                }
            });
        let connection = Connection::open(options).await.unwrap();
        let client = connection.client();
        let mut events = client.events();
        while client.stats().connections < 2 {
            events.next().await.unwrap();
        }
        disconnected(connection, server).await;
    })
    .await;
}

#[tokio::test]
async fn a_path_that_makes_no_request_fails_the_attempt_and_is_not_shown() {
    let options = Options::from_url("ws://127.0.0.1:9").unwrap();
    let options = options.credentials(async |_: ConnectAttempt| {
        Ok(Credentials::new().websocket_path("/mqtt?signature=secret\r\n"))
    });
    let error = Connection::open(options).await.unwrap_err();
    assert!(
        matches!(
            error,
            ConnectError::Connection {
                cause: ConnectionError::NoCredentials(_),
                ..
            }
        ),
        "{error:?}"
    );
    assert!(!format!("{error} {error:?}").contains("secret"), "{error}");
}

#[tokio::test]
async fn headers_that_make_no_request_are_refused_before_anything_is_tried() {
    let options = Options::from_url("ws://127.0.0.1:9").unwrap();
    let options = options.websocket_header("X", "two\r\nlines");
    let error = Connection::open(options).await.unwrap_err();
    assert!(
        matches!(error, ConnectError::Options(OptionsError::WebSocket(_))),
        "{error:?}"
    );
}

#[cfg(feature = "tls")]
#[tokio::test]
async fn wss_is_a_websocket_in_tls() {
    in_time(async {
        use crate::certificates::Authority;
        use crate::tls_front::TlsFront;

        let (address, server) = serve(|mut peer| {
            peer.accept_connect();
            peer.send(&message(b"in TLS"));
            peer.expect_disconnect_and_close();
        });
        let authority = Authority::new("ours");
        let front = TlsFront::to(address, &authority.issue("127.0.0.1")).await;
        let options = Options::from_url(&format!("wss://{}", front.address()))
            .unwrap()
            .tls(ferromqtt::TlsOptions::new().ca_pem(authority.pem()));
        let connection = Connection::open(options).await.unwrap();
        let mut messages = connection.client().messages();
        assert_eq!(messages.next().await.unwrap().payload, "in TLS");
        disconnected(connection, server).await;
    })
    .await;
}
