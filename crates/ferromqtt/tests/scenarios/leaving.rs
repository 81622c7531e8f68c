//! Leaving a server that is busy sending, over real sockets: a socket that is closed over unread input resets the
//! connection, and the operating system throws away what is on its way.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use bytes::BytesMut;
use ferromqtt::{Connection, ConnectionError, Options};
use ferromqtt_proto::packet::{self, Packet};
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

use crate::in_time;
use crate::server::Server;

/// How long the server sends, and reads nothing: longer than a client would wait that waits for a fixed second or two.
const BUSY: Duration = Duration::from_millis(2_500);

fn message() -> BytesMut {
    let mut bytes = BytesMut::new();
    let publish = packet::PublishPacket {
        dup: false,
        qos: ferromqtt::QoS::AtMostOnce,
        retain: false,
        topic: "flood".try_into().unwrap(),
        packet_id: None,
        properties: None,
        payload: vec![0; 1_000].into(),
    };
    Packet::Publish(publish).encode(ferromqtt::ProtocolVersion::V5, &mut bytes);
    bytes
}

/// Accepts the client, sends to it while it leaves, and returns what it has read afterwards.
async fn serve(listener: TcpListener) -> Vec<Packet> {
    let (stream, _) = listener.accept().await.unwrap();
    let (mut server, _) = Server::accept(stream, false).await;
    is_busy(&mut server).await;
    let mut packets = Vec::new();
    while let Some(packet) = server.next().await {
        packets.push(packet);
    }
    packets
}

/// Sends for a while, and reads nothing.
async fn is_busy(server: &mut Server<TcpStream>) {
    let (start, message) = (Instant::now(), message());
    while start.elapsed() < BUSY {
        let sent = server.stream.write_all(&message).await;
        sent.expect("the client reads as long as it is sent to");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

async fn busy_server() -> (SocketAddr, JoinHandle<Vec<Packet>>) {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let address = listener.local_addr().unwrap();
    (address, tokio::spawn(serve(listener)))
}

/// 100 QoS 0 messages and DISCONNECT, which a server that is busy with sending reads at last.
async fn leaves_completely(options: Options, serving: JoinHandle<Vec<Packet>>) {
    let connection = Connection::open(options).await.unwrap();
    let client = connection.client();
    for _ in 0..100 {
        client.publish("t", "x").await.unwrap();
    }
    connection.disconnect().await.unwrap();
    let packets = serving.await.unwrap();
    let is_publish = |packet: &&Packet| matches!(packet, Packet::Publish(_));
    assert_eq!(packets.iter().filter(is_publish).count(), 100);
    assert!(matches!(packets.last(), Some(Packet::Disconnect(_))));
}

#[tokio::test]
async fn a_server_that_is_busy_sending_gets_everything() {
    in_time(async {
        let (address, serving) = busy_server().await;
        leaves_completely(Options::new(address.ip(), address.port()), serving).await;
    })
    .await;
}

#[cfg(feature = "tls")]
#[tokio::test]
async fn a_server_that_is_busy_sending_gets_everything_over_tls() {
    use crate::certificates::Authority;
    use crate::tls_front::TlsFront;

    in_time(async {
        let authority = Authority::new("authority");
        let (address, serving) = busy_server().await;
        let front = TlsFront::to(address, &authority.issue("127.0.0.1")).await;
        let tls = ferromqtt::TlsOptions::new().ca_pem(authority.pem());
        let options = Options::new("127.0.0.1", front.port()).tls(tls);
        leaves_completely(options, serving).await;
    })
    .await;
}

/// The same for what answers a broken rule: it is the server's to read why.
#[tokio::test]
async fn a_server_that_is_busy_sending_can_read_why_it_was_left() {
    in_time(async {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let serving = tokio::spawn(async move {
            let (stream, _) = listener.accept().await.unwrap();
            let (mut server, _) = Server::accept(stream, false).await;
            server.stream.write_all(b"\x00\x00").await.unwrap(); // malformed
            is_busy(&mut server).await;
            server.disconnected().await
        });
        let options = Options::new(address.ip(), address.port()).reconnect(None);
        let connection = Connection::open(options).await.unwrap();
        let cause = connection.client().closed().await;
        assert!(matches!(cause, ConnectionError::ProtocolViolation(_)));
        let disconnect = serving.await.unwrap();
        assert_eq!(disconnect.reason, ferromqtt::ReasonCode::MalformedPacket);
        assert_eq!(connection.disconnect().await, Err(cause));
    })
    .await;
}
