//! The broker for tokio: on loopback sockets here, and over connections in memory in the modules.

mod faults;
mod full_journal;
#[cfg(all(feature = "tls", feature = "websocket", unix))]
mod listening;
mod memory;
mod replays;
mod virtual_time;

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use ferromqtt_proto::packet::{
    self, Connect, Packet, PacketId, Properties, ProtocolVersion, PublishPacket, QoS,
    SubscribePacket, Will,
};
use ferromqtt_proto::{ReasonCode, Utf8String};
use ferromqtt_testing::{BrokerOptions, MemoryStream, TestBroker};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

const VERSION: ProtocolVersion = ProtocolVersion::V311;
/// Long enough for virtual time too, where waiting costs nothing.
const LIMIT: Duration = Duration::from_secs(200);

struct Client<S> {
    stream: S,
    version: ProtocolVersion,
    received: BytesMut,
}

impl Client<TcpStream> {
    async fn connect(broker: &TestBroker, connect: Connect) -> Self {
        let stream = TcpStream::connect((broker.host(), broker.port()))
            .await
            .unwrap();
        Self::over(stream, connect).await
    }
}

impl Client<MemoryStream> {
    async fn in_memory(broker: &TestBroker, connect: Connect) -> Self {
        Self::over(broker.connect().unwrap(), connect).await
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Client<S> {
    async fn over(stream: S, connect: Connect) -> Self {
        let mut client = Self {
            stream,
            version: connect.protocol,
            received: BytesMut::new(),
        };
        client.send(&Packet::Connect(Box::new(connect))).await;
        assert!(matches!(client.next().await, Some(Packet::ConnAck(_))));
        client
    }

    async fn subscribe(&mut self, filter: &str, qos: QoS) {
        let subscribe = SubscribePacket {
            packet_id: PacketId::MIN,
            properties: Properties::default(),
            filters: [(text(filter), qos.into())].into(),
        };
        self.send(&Packet::Subscribe(Box::new(subscribe))).await;
        assert!(matches!(self.next().await, Some(Packet::SubAck(_))));
    }

    async fn send(&mut self, packet: &Packet) {
        let mut bytes = BytesMut::new();
        packet.encode(self.version, &mut bytes);
        self.stream.write_all(&bytes).await.unwrap();
    }

    /// The next packet, or `None` when the broker closed the connection.
    async fn next(&mut self) -> Option<Packet> {
        loop {
            let whole = packet::whole_packets(&self.received, usize::MAX).unwrap();
            if whole.bytes > 0 {
                let source = self.received.clone().freeze();
                let mut at = 0;
                let packet = packet::decode(&source, &mut at, self.version).unwrap();
                let _ = self.received.split_to(at);
                return Some(packet);
            }
            let read = self.stream.read_buf(&mut self.received);
            if timeout(LIMIT, read)
                .await
                .expect("the broker answers in time")
                .unwrap_or(0)
                == 0
            {
                return None;
            }
        }
    }
}

fn connect(name: &str) -> Connect {
    Connect {
        protocol: VERSION,
        clean_start: true,
        keep_alive: 60,
        properties: Properties::default(),
        client_identifier: text(name),
        will: None,
        user_name: None,
        password: None,
    }
}

fn publish(topic: &str, payload: Bytes) -> Packet {
    Packet::Publish(PublishPacket {
        dup: false,
        qos: QoS::AtMostOnce,
        retain: false,
        topic: text(topic),
        packet_id: None,
        properties: None,
        payload,
    })
}

fn text(text: &str) -> Utf8String {
    Utf8String::try_from(text).unwrap()
}

/// Sends messages from one client to the other, which gets them whole and in order.
async fn exchange<S>(publisher: &mut Client<S>, subscriber: &mut Client<S>)
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    subscriber.subscribe("t/#", QoS::AtMostOnce).await;
    let sizes = [0, 10, 100_000, 3, 5_000_000, 7];
    for size in sizes {
        publisher
            .send(&publish("t/x", vec![b'x'; size].into()))
            .await;
    }
    for size in sizes {
        let Some(Packet::Publish(message)) = subscriber.next().await else {
            panic!("PUBLISH expected");
        };
        assert_eq!(message.payload.len(), size);
    }
}

#[tokio::test]
async fn messages_go_from_client_to_client_whole_and_in_order() {
    let broker = TestBroker::start().await.unwrap();
    assert_eq!(broker.url(), format!("mqtt://127.0.0.1:{}", broker.port()));
    let mut subscriber = Client::connect(&broker, connect("subscriber")).await;
    let mut publisher = Client::connect(&broker, connect("publisher")).await;
    exchange(&mut publisher, &mut subscriber).await;
    assert_eq!(broker.stats().connections, 2);
    broker.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_flood_of_small_messages_arrives_complete_on_two_threads() {
    const MESSAGES: u32 = 100_000;
    let broker = TestBroker::start().await.unwrap();
    let mut subscriber = Client::connect(&broker, connect("subscriber")).await;
    subscriber.subscribe("t", QoS::AtMostOnce).await;
    let mut publisher = Client::connect(&broker, connect("publisher")).await;
    let sending = tokio::spawn(async move {
        let mut bytes = BytesMut::new();
        for number in 0..MESSAGES {
            publish("t", Bytes::copy_from_slice(&number.to_be_bytes())).encode(VERSION, &mut bytes);
        }
        publisher.stream.write_all(&bytes).await.unwrap();
        publisher
    });
    for number in 0..MESSAGES {
        let Some(Packet::Publish(message)) = subscriber.next().await else {
            panic!("PUBLISH expected");
        };
        assert_eq!(message.payload[..], number.to_be_bytes());
    }
    drop(sending.await.unwrap());
    broker.stop().await;
}

#[tokio::test]
async fn a_client_that_vanishes_leaves_its_will_mqtt_3_1_2_8() {
    let broker = TestBroker::start().await.unwrap();
    let mut watcher = Client::connect(&broker, connect("watcher")).await;
    watcher.subscribe("will", QoS::AtMostOnce).await;
    let mut mortal = connect("mortal");
    mortal.will = Some(Will {
        topic: text("will"),
        payload: Bytes::from_static(b"gone"),
        qos: QoS::AtMostOnce,
        retain: false,
        properties: Properties::default(),
    });
    drop(Client::connect(&broker, mortal).await);
    let Some(Packet::Publish(message)) = watcher.next().await else {
        panic!("the will expected");
    };
    assert_eq!(message.payload, "gone");
    broker.stop().await;
}

#[tokio::test]
async fn the_broker_closes_who_is_taken_over_and_who_disconnects() {
    let broker = TestBroker::start().await.unwrap();

    let mut old = Client::connect(&broker, connect("same")).await;
    let mut new = Client::connect(&broker, connect("same")).await;
    assert_eq!(old.next().await, None);

    new.stream.write_all(b"\xe0\x00").await.unwrap();
    assert_eq!(new.next().await, None);
    broker.stop().await;
}

#[tokio::test]
async fn the_broker_closes_who_is_silent() {
    let mut options = BrokerOptions::default();
    options.handshake_timeout = Duration::from_millis(50);
    let broker = TestBroker::bind(([127, 0, 0, 1], 0).into(), options)
        .await
        .unwrap();
    let mut silent = TcpStream::connect((broker.host(), broker.port()))
        .await
        .unwrap();
    let read = timeout(LIMIT, silent.read(&mut [0; 1])).await;
    assert_eq!(read.expect("closed in time").unwrap(), 0);
    broker.stop().await;
}

#[tokio::test]
async fn a_client_that_still_writes_can_read_why_it_was_closed() {
    let broker = TestBroker::start().await.unwrap();
    let mut client = Client::connect(&broker, connect("c")).await;
    client.subscribe("t", QoS::AtMostOnce).await;
    let mut bytes = BytesMut::new();
    publish("t", Bytes::from_static(b"before")).encode(VERSION, &mut bytes);
    bytes.extend_from_slice(b"\x00\x00"); // malformed
    bytes.resize(20_000_000, 0); // more than the system buffers
    client
        .stream
        .write_all(&bytes)
        .await
        .expect("no reset while it writes");
    assert!(matches!(client.next().await, Some(Packet::Publish(_))));
    let end = timeout(LIMIT, client.stream.read(&mut [0])).await;
    assert_eq!(end.unwrap().expect("an end, not a reset"), 0);
    broker.stop().await;
}

/// The client is busy writing, and reads only later. A socket that is closed meanwhile would reset the connection, and the
/// system would throw away what waits to be read.
#[tokio::test]
async fn a_client_that_writes_for_long_can_still_read_why_it_was_closed() {
    let broker = TestBroker::start().await.unwrap();
    let mut client = Client::connect(&broker, connect("c")).await;
    client.subscribe("t", QoS::AtMostOnce).await;
    client
        .send(&publish("t", Bytes::from_static(b"before")))
        .await;
    client.stream.write_all(b"\x00\x00").await.unwrap(); // malformed
    for _ in 0..25 {
        tokio::time::sleep(Duration::from_millis(100)).await;
        client.stream.write_all(&[0; 100]).await.expect("no reset");
    }
    assert!(matches!(client.next().await, Some(Packet::Publish(_))));
    let end = timeout(LIMIT, client.stream.read(&mut [0])).await;
    assert_eq!(end.unwrap().expect("an end, not a reset"), 0);
    broker.stop().await;
}

#[tokio::test]
async fn stop_breaks_connections_and_frees_the_port() {
    let broker = TestBroker::start().await.unwrap();
    let address = (broker.host(), broker.port()).into();
    let mut client = Client::connect(&broker, connect("c")).await;
    broker.stop().await;
    assert_eq!(client.next().await, None);
    let again = TestBroker::bind(address, BrokerOptions::default())
        .await
        .unwrap();
    again.stop().await;
}

#[tokio::test]
async fn a_port_in_use_is_an_error() {
    let broker = TestBroker::start().await.unwrap();
    let address = (broker.host(), broker.port()).into();
    assert!(
        TestBroker::bind(address, BrokerOptions::default())
            .await
            .is_err()
    );
    broker.stop().await;
}

#[tokio::test]
async fn connections_beyond_the_bound_are_closed_and_the_others_go_on() {
    let mut options = BrokerOptions::default();
    options.maximum_connections = 0;
    let address = "127.0.0.1:0".parse().unwrap();
    let broker = TestBroker::bind(address, options).await.unwrap();
    let mut streams = Vec::new();
    for _ in 0..101 {
        let address = (broker.host(), broker.port());
        streams.push(TcpStream::connect(address).await.unwrap());
    }
    // They are accepted in their order: a hundred may stay without a client, and the last is closed.
    let read = streams[100].read_u8();
    let error = timeout(LIMIT, read).await.unwrap().unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::UnexpectedEof);
    assert_eq!(broker.stats().connections, 100);
    assert_eq!(broker.stats().refused, 1);

    let mut bytes = BytesMut::new();
    Packet::Connect(Box::new(connect("c"))).encode(VERSION, &mut bytes);
    streams[0].write_all(&bytes).await.unwrap();
    let mut connack = [0; 4];
    let read = streams[0].read_exact(&mut connack);
    timeout(LIMIT, read).await.unwrap().unwrap();
    assert_eq!(connack, [0x20, 2, 0, 3], "Server unavailable");
    broker.stop().await;
}

#[tokio::test]
async fn a_client_can_be_sent_away_and_its_session_looked_at() {
    let broker = TestBroker::start().await.unwrap();
    let mut client = Client::connect(&broker, connect("c")).await;
    assert!(broker.session_stats("c").unwrap().connected);
    let gone = broker.disconnect_client("c", ReasonCode::AdministrativeAction, None);
    assert_eq!(gone, Ok(true));
    assert_eq!(client.next().await, None);
    assert_eq!(broker.session_stats("c"), None);
    assert!(
        broker
            .disconnect_client("c", ReasonCode::Success, None)
            .is_err()
    );
    broker.stop().await;
}
