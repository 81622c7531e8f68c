//! What a listener does with peers that break the rules of what lies below MQTT. The client's own tests have those that keep
//! them.

use std::io::ErrorKind;
use std::net::SocketAddr;
use std::time::Duration;

use ferromqtt_testing::{BrokerOptions, Listen, Listening, TestBroker};
use ferromqtt_transport::{Host, WebSocket, WebSocketRequest, default_headers};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::*;

/// CONNECT of 3.1.1.
const CONNECT: &[u8] = b"\x10\x0d\x00\x04MQTT\x04\x02\x00\x00\x00\x01a";

async fn open(listening: &Listening) -> TcpStream {
    let address: SocketAddr = listening.address().unwrap();
    TcpStream::connect(address).await.unwrap()
}

/// What comes until the broker ends the connection.
async fn until_the_end(stream: &mut TcpStream) -> Vec<u8> {
    let mut received = Vec::new();
    let read = timeout(LIMIT, stream.read_to_end(&mut received)).await;
    let _ = read.expect("the broker ends the connection"); // a reset is an end too
    received
}

#[tokio::test]
async fn a_unix_socket_carries_mqtt_alone_and_needs_a_free_path() {
    let broker = TestBroker::new();
    let path = std::env::temp_dir().join(format!("ferromqtt alone {}", std::process::id()));
    for layered in [
        Listen::unix(&path).with_tls(),
        Listen::unix(&path).with_websocket(),
    ] {
        let error = broker.listen(layered).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidInput);
        assert!(error.to_string().contains("MQTT alone"), "{error}");
    }
    broker.listen(Listen::unix(&path)).await.unwrap();
    let error = broker.listen(Listen::unix(&path)).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::AddrInUse);
    assert!(path.exists(), "the socket in use stays");
    broker.stop().await;
    assert!(!path.exists());
}

#[tokio::test]
async fn an_address_that_cannot_be_had_is_an_error() {
    let broker = TestBroker::new();
    let first = broker.listen(Listen::tcp()).await.unwrap();
    let again = Listen::tls().address(first.address().unwrap());
    let error = broker.listen(again).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::AddrInUse);
    broker.stop().await;
}

#[tokio::test]
async fn what_is_no_tls_ends_the_connection_before_the_broker_knows_it() {
    let broker = TestBroker::new();
    let listening = broker.listen(Listen::tls()).await.unwrap();
    let mut stream = open(&listening).await;
    stream.write_all(CONNECT).await.unwrap();
    until_the_end(&mut stream).await;
    assert_eq!(broker.stats().connections, 0);
    broker.stop().await;
}

#[tokio::test]
async fn what_is_no_websocket_is_told_so() {
    let broker = TestBroker::new();
    let listening = broker.listen(Listen::websocket()).await.unwrap();
    let mut stream = open(&listening).await;
    stream.write_all(CONNECT).await.unwrap();
    let answer = until_the_end(&mut stream).await;
    assert!(answer.starts_with(b"HTTP/1.1 400 "), "{answer:?}");
    broker.stop().await;
}

fn request() -> WebSocket {
    let headers = default_headers(&Host::parse("localhost").unwrap(), 80, false);
    WebSocket::new(WebSocketRequest::new("/", &headers).unwrap())
}

/// Reads until something has come for MQTT, or the end.
async fn received(stream: &mut TcpStream, websocket: &mut WebSocket) -> Vec<u8> {
    loop {
        let mut input = [0; 4096];
        let read = timeout(LIMIT, stream.read(&mut input)).await.unwrap();
        let read = read.unwrap();
        websocket.receive(&input[..read]).unwrap();
        if let Some(received) = websocket.poll_received() {
            return received.to_vec();
        }
        if read == 0 {
            return Vec::new();
        }
    }
}

/// MQTT-6.0.0-2: frames and packets need not line up.
#[tokio::test]
async fn packets_may_be_cut_into_frames_of_a_byte_mqtt_6_0_0_2() {
    let broker = TestBroker::new();
    let listening = broker.listen(Listen::websocket()).await.unwrap();
    let mut stream = open(&listening).await;
    let mut websocket = request();
    stream
        .write_all(&websocket.poll_transmit().unwrap())
        .await
        .unwrap();
    for byte in CONNECT {
        websocket.send_slice(&[*byte]);
    }
    assert!(received_opening(&mut stream, &mut websocket).await);
    let frames = websocket.poll_transmit().unwrap();
    stream.write_all(&frames).await.unwrap();
    assert_eq!(
        received(&mut stream, &mut websocket).await,
        b"\x20\x02\x00\x00"
    );
    websocket.close();
    let close = websocket.poll_transmit().unwrap();
    stream.write_all(&close).await.unwrap();
    assert_eq!(received(&mut stream, &mut websocket).await, b"");
    assert_eq!(websocket.close_reason().unwrap().code, Some(1000));
    broker.stop().await;
}

/// Reads the answer to the request.
async fn received_opening(stream: &mut TcpStream, websocket: &mut WebSocket) -> bool {
    let mut input = [0; 4096];
    let read = timeout(LIMIT, stream.read(&mut input)).await.unwrap();
    websocket.receive(&input[..read.unwrap()]).unwrap();
    websocket.is_open()
}

/// The broker's time limit for CONNECT counts the opening of the WebSocket too.
#[tokio::test]
async fn a_request_that_never_ends_is_given_up() {
    let mut options = BrokerOptions::default();
    options.handshake_timeout = Duration::from_millis(50);
    let broker = TestBroker::with_options(options);
    let listening = broker.listen(Listen::websocket()).await.unwrap();
    let mut stream = open(&listening).await;
    stream.write_all(b"GET / HTTP/1.1\r\n").await.unwrap();
    assert_eq!(until_the_end(&mut stream).await, b"");
    broker.stop().await;
}
