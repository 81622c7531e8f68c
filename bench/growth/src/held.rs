//! What queues hold under a bound of bytes, and what kept messages take: bytes of heap for each byte that counts.

use std::time::Instant;

use bytes::{Bytes, BytesMut};
use ferromqtt_proto::packet::{Packet, Properties, ProtocolVersion, PublishPacket, QoS, SubAck};
use ferromqtt_proto::{
    self as proto, Client, Message, Options, OutgoingLimits, Overflow, QueueId, QueueOptions,
    ReasonCode, Subscribe, TopicFilter, TopicName, Utf8String,
};

use crate::link::{accepted, connected, receive};
use crate::measure::heap;
use crate::report::Report;

const V5: ProtocolVersion = ProtocolVersion::V5;
const MIB: usize = 1 << 20;

/// As much as a driver reads at once.
const READ: usize = 64 * 1024;

/// The least that it has room for.
const READ_MIN: usize = 4 * 1024;

/// What comes in one read: a message that stays in its queue, and others that are taken at once.
struct Shape {
    name: &'static str,
    read: Bytes,
    /// Bytes that the queue may hold. Fewer for a shape with much beside each message.
    bound: usize,
}

pub(crate) fn measure(report: &mut Report) {
    for shape in shapes() {
        let (_, held, client) = heap(|| filled(&shape));
        let what = format!("held under {} MiB: {}", shape.bound / MIB, shape.name);
        report.at_most(&what, held as f64 / shape.bound as f64, 3.0);
        drop(client);
    }
    outgoing(report);
    for shape in shapes() {
        let (_, held, messages) = heap(|| kept(&shape));
        let counted: usize = messages.iter().map(Message::memory_size).sum();
        let what = format!("kept and detached: {}", shape.name);
        report.at_most(&what, held as f64 / counted as f64, 2.0);
    }
}

fn shapes() -> [Shape; 5] {
    let mut many = Properties::default();
    for _ in 0..6_000 {
        let pair = ("a".try_into(), "value".try_into());
        let (Ok(name), Ok(value)) = pair else {
            unreachable!("both are short");
        };
        many.user_properties.push((name, value));
    }
    let plain = publish("keep", 64, None);
    [
        Shape {
            name: "empty, 66 KB of User Properties",
            read: encoded(&[publish("keep", 0, Some(many))]),
            bound: 64 * MIB,
        },
        Shape {
            name: "empty, a topic of 65 KB",
            read: encoded(&[publish(&format!("keep/{}", "t".repeat(65_000)), 0, None)]),
            bound: 64 * MIB,
        },
        Shape {
            name: "1 byte, then 64 KB of other packets",
            read: encoded(&[publish("keep", 1, None), publish("other", 65_000, None)]),
            bound: 4 * MIB,
        },
        Shape {
            name: "64 bytes, 500 in a read",
            read: encoded(&vec![plain.clone(); 500]),
            bound: 64 * MIB,
        },
        Shape {
            name: "64 bytes, alone in a read",
            read: encoded(&[plain]),
            bound: 64 * MIB,
        },
    ]
}

fn publish(topic: &str, length: usize, properties: Option<Properties>) -> Packet {
    Packet::Publish(PublishPacket {
        dup: false,
        qos: QoS::AtMostOnce,
        retain: false,
        topic: Utf8String::try_from(topic).expect("a topic"),
        packet_id: None,
        properties: properties.map(Box::new),
        payload: vec![b'x'; length].into(),
    })
}

fn encoded(packets: &[Packet]) -> Bytes {
    let mut bytes = BytesMut::new();
    for packet in packets {
        packet.encode(V5, &mut bytes);
    }
    bytes.freeze()
}

/// A driver that reads as the tokio client does.
struct Reading {
    client: Client,
    now: Instant,
    input: BytesMut,
    /// What stays in its queue.
    keep: QueueId,
}

impl Reading {
    fn new(bound: Option<usize>) -> Self {
        let (mut client, now) = connected(Options::default(), accepted());
        let keep = client.open_queue(QueueOptions {
            limit: None,
            bytes: bound,
            overflow: Overflow::DropNewest,
            ..QueueOptions::DEFAULT
        });
        let filter = TopicFilter::new("keep/#").expect("a filter");
        let subscribe = Subscribe {
            filters: vec![(filter, QoS::AtMostOnce.into())],
            properties: Properties::default(),
            queue: keep,
        };
        client.subscribe(now, subscribe).expect("it is connected");
        while client.poll_transmit(now).is_some() {}
        let suback = Packet::SubAck(Box::new(SubAck {
            packet_id: proto::packet::PacketId::new(1).expect("1"),
            properties: Properties::default(),
            reasons: vec![ReasonCode::Success],
        }));
        receive(&mut client, now, V5, &[suback]);
        Self {
            client,
            now,
            input: BytesMut::new(),
            keep,
        }
    }

    /// Reads all of this, and takes what has come for other queues.
    fn read(&mut self, mut data: &[u8]) {
        let mut missing = 1;
        while !data.is_empty() {
            self.input
                .reserve(missing.max(READ_MIN.max(data.len().min(READ))));
            let room = self.input.capacity() - self.input.len();
            let (read, rest) = data.split_at(room.min(READ).min(data.len()));
            self.input.extend_from_slice(read);
            self.client.handle_input(self.now, &mut self.input);
            missing = self.client.input_hint(&self.input);
            while self.client.next_message(QueueId::DEFAULT).is_some() {}
            while self.client.poll_event().is_some() {}
            data = rest;
        }
    }
}

/// A client whose queue is full.
fn filled(shape: &Shape) -> Reading {
    let mut reading = Reading::new(Some(shape.bound));
    while reading.client.queue_lost(reading.keep) == 0 {
        reading.read(&shape.read);
    }
    reading
}

/// Messages that were taken, each from a read of its own.
fn kept(shape: &Shape) -> Vec<Message> {
    let mut reading = Reading::new(None);
    let mut messages = Vec::with_capacity(3_000);
    while messages.len() < 3_000 {
        reading.read(&shape.read);
        let mut message = (reading.client.next_message(reading.keep)).expect("one has come");
        message.detach();
        messages.push(message);
        while reading.client.next_message(reading.keep).is_some() {}
    }
    messages
}

/// The outgoing queue, filled with messages under long topics.
fn outgoing(report: &mut Report) {
    let bound = 16 * MIB;
    let (_, held, client) = heap(|| {
        let mut options = Options::default();
        options.outgoing = OutgoingLimits {
            messages: None,
            bytes: Some(bound),
        };
        let (mut client, now) = connected(options, accepted());
        loop {
            let topic = TopicName::new("t".repeat(65_000)).expect("a topic");
            if client.publish(now, proto::Publish::new(topic, "")).is_err() {
                return client;
            }
        }
    });
    let ratio = held as f64 / bound as f64;
    report.at_most("held under 16 MiB: outgoing, topics of 65 KB", ratio, 2.0);
    drop(client);
}
