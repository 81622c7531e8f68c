//! What it costs to route one message of 64 bytes to one subscriber, in memory: `cargo bench -p ferromqtt-testing`.

#![allow(clippy::print_stdout, reason = "it reports")]

use std::hint::black_box;
use std::time::Instant;

use bytes::{Bytes, BytesMut};
use ferromqtt_proto::Utf8String;
use ferromqtt_proto::packet::{
    self, Ack, Connect, Packet, PacketId, Properties, ProtocolVersion, PublishPacket, QoS,
    SubscribePacket,
};
use ferromqtt_testing::{Broker, BrokerOptions, ConnectionId};

const VERSION: ProtocolVersion = ProtocolVersion::V311;
const BATCH: usize = 500;
const BATCHES: usize = 2000;

fn main() {
    for (journal_packets, what) in [(0, ""), (10_000, ", with a journal")] {
        for qos in [QoS::AtMostOnce, QoS::AtLeastOnce, QoS::ExactlyOnce] {
            let runs = (0..5).map(|_| measure(qos, journal_packets));
            let best = runs.fold(f64::INFINITY, f64::min);
            println!("QoS {}{what}: {best:.0} ns a message", qos.value());
        }
    }
}

/// Nanoseconds a message, its acknowledgements on both sides included.
fn measure(qos: QoS, journal_packets: usize) -> f64 {
    let now = Instant::now();
    let mut options = BrokerOptions::default();
    options.journal_packets = Some(journal_packets);
    let mut broker = Broker::new(options);
    let publisher = join(&mut broker, now, "publisher");
    let subscriber = join(&mut broker, now, "subscriber");
    let subscribe = SubscribePacket {
        packet_id: PacketId::MIN,
        properties: Properties::default(),
        filters: [(text("bench/+"), qos.into())].into(),
    };
    feed(
        &mut broker,
        now,
        subscriber,
        &[Packet::Subscribe(Box::new(subscribe))],
    );
    let messages = encode(&(1..=BATCH).map(|id| message(qos, id)).collect::<Vec<_>>());
    let releases = encode(
        &(1..=BATCH)
            .map(|id| Packet::PubRel(Ack::success(packet_id(id))))
            .collect::<Vec<_>>(),
    );
    let mut input = BytesMut::new();
    let mut received = 0;
    let start = Instant::now();
    for _ in 0..BATCHES {
        input.extend_from_slice(&messages);
        broker.handle_input(now, publisher, &mut input);
        if qos == QoS::ExactlyOnce {
            input.extend_from_slice(&releases);
            broker.handle_input(now, publisher, &mut input);
        }
        received += answer(&mut broker, now, subscriber);
    }
    let elapsed = start.elapsed();
    assert_eq!(received, BATCH * BATCHES);
    elapsed.as_nanos() as f64 / received as f64
}

/// Plays the subscriber until nothing comes any more; returns how many messages came.
fn answer(broker: &mut Broker, now: Instant, subscriber: ConnectionId) -> usize {
    let mut received = 0;
    let mut answers = BytesMut::new();
    while let Some(id) = broker.poll_writable() {
        while let Some(chunk) = broker.poll_transmit(id) {
            if id != subscriber {
                black_box(chunk);
                continue;
            }
            let mut at = 0;
            while at < chunk.len() {
                match packet::decode(&chunk, &mut at, VERSION).unwrap() {
                    Packet::Publish(publish) => {
                        received += 1;
                        let Some(packet_id) = publish.packet_id else {
                            continue;
                        };
                        let ack = Ack::success(packet_id);
                        if publish.qos == QoS::AtLeastOnce {
                            Packet::PubAck(ack).encode(VERSION, &mut answers);
                        } else {
                            Packet::PubRec(ack).encode(VERSION, &mut answers);
                        }
                    }
                    Packet::PubRel(ack) => Packet::PubComp(ack).encode(VERSION, &mut answers),
                    other => panic!("{other:?}"),
                }
            }
        }
        broker.handle_input(now, subscriber, &mut answers);
    }
    received
}

fn join(broker: &mut Broker, now: Instant, name: &str) -> ConnectionId {
    let id = broker.open(now);
    let connect = Connect {
        protocol: VERSION,
        clean_start: true,
        keep_alive: 60,
        properties: Properties::default(),
        client_identifier: text(name),
        will: None,
        user_name: None,
        password: None,
    };
    feed(broker, now, id, &[Packet::Connect(Box::new(connect))]);
    id
}

fn feed(broker: &mut Broker, now: Instant, id: ConnectionId, packets: &[Packet]) {
    let mut input = encode(packets);
    broker.handle_input(now, id, &mut input);
    while broker.poll_writable().is_some() {}
    while broker.poll_transmit(id).is_some() {}
}

fn encode(packets: &[Packet]) -> BytesMut {
    let mut bytes = BytesMut::new();
    for packet in packets {
        packet.encode(VERSION, &mut bytes);
    }
    bytes
}

fn message(qos: QoS, id: usize) -> Packet {
    Packet::Publish(PublishPacket {
        dup: false,
        qos,
        retain: false,
        topic: text("bench/topic"),
        packet_id: (qos != QoS::AtMostOnce).then(|| packet_id(id)),
        properties: None,
        payload: Bytes::from_static(&[b'x'; 64]),
    })
}

fn packet_id(id: usize) -> PacketId {
    PacketId::new(id as u16).unwrap()
}

fn text(text: &str) -> Utf8String {
    Utf8String::try_from(text).unwrap()
}
