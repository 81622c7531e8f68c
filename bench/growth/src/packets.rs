//! Packets that are full of the smallest elements there are, so that whatever is made of each element shows.

use std::time::Instant;

use bytes::{BufMut, BytesMut};
use ferromqtt_proto::packet::{ProtocolVersion, QoS, SubscriptionOptions, decode};
use ferromqtt_proto::{
    Client, Options, OutgoingLimits, Publish, Session, Subscribe, TopicFilter, TopicName,
};

use ferromqtt_testing::{Broker, BrokerOptions};

use crate::link::{accepted, connected};
use crate::measure::{cpu_seconds, growth, heap};
use crate::report::Report;

const MIB: usize = 1 << 20;

/// A packet may take so many times its size, itself included.
const MOST_MEMORY: f64 = 4.0;

/// So many milliseconds of CPU for each MiB of properties.
const MOST_TIME: f64 = 50.0;

/// How much a driver reads at once.
const READ: usize = 64 << 10;

const USER_PROPERTY: &[u8] = b"\x26\x00\x00\x00\x00";
const IDENTIFIER: &[u8] = b"\x0b\x01";

pub(crate) fn measure(report: &mut Report) {
    let one_of_each = [USER_PROPERTY, IDENTIFIER].concat();
    for (name, first_byte, head, element) in [
        (
            "CONNACK of User Properties",
            0x20,
            &b"\x00\x00"[..],
            USER_PROPERTY,
        ),
        (
            "DISCONNECT of User Properties",
            0xe0,
            b"\x8b",
            USER_PROPERTY,
        ),
        (
            "PUBACK of User Properties",
            0x40,
            b"\x00\x01\x00",
            USER_PROPERTY,
        ),
        (
            "PUBLISH of User Properties",
            0x30,
            b"\x00\x01t",
            USER_PROPERTY,
        ),
        ("PUBLISH of identifiers", 0x30, b"\x00\x01t", IDENTIFIER),
        ("PUBLISH of both in turns", 0x30, b"\x00\x01t", &one_of_each),
    ] {
        let packet = with_properties(first_byte, head, element);
        let mut cost = Vec::new();
        for _ in 0..3 {
            let (memory, seconds) = received(&packet);
            cost.push((seconds, memory));
        }
        cost.sort_by(|a, b| a.0.total_cmp(&b.0));
        let (seconds, memory) = cost[1];
        report.at_most(&format!("{name}: heap per byte"), memory, MOST_MEMORY);
        report.at_most(&format!("{name}: ms per MiB"), seconds * 1e3, MOST_TIME);
    }
    for (name, first_byte) in [("SUBACK", 0x90), ("UNSUBACK", 0xb0)] {
        let packet = whole(
            first_byte,
            &[&b"\x00\x01\x00"[..], &vec![0; MIB - 20]].concat(),
        );
        let memory = received(&packet).0;
        report.at_most(
            &format!("{name} of Reason Codes: heap per byte"),
            memory,
            MOST_MEMORY,
        );
    }
    for (name, first_byte, element) in [
        ("SUBSCRIBE of filters", 0x82, &b"\x00\x01a\x00"[..]),
        ("UNSUBSCRIBE of filters", 0xa2, b"\x00\x01a"),
    ] {
        let filters = element.repeat((MIB - 20) / element.len());
        let packet = whole(first_byte, &[&b"\x00\x01\x00"[..], &filters].concat());
        let source = packet.clone().freeze();
        let (peak, _, read) = heap(|| decode(&source, &mut 0, ProtocolVersion::V5));
        assert!(read.is_ok());
        let memory = (packet.len() + peak) as f64 / packet.len() as f64;
        drop(read);
        report.at_most(&format!("{name}: heap per byte"), memory, MOST_MEMORY);
        let name = format!("{name}, at the broker: heap per byte");
        report.at_most(&name, taken_by_broker(&packet), MOST_MEMORY);
    }
    ended_calls(report);
}

/// The most bytes that a broker takes for each of a packet's own, its answer included.
fn taken_by_broker(packet: &[u8]) -> f64 {
    let now = Instant::now();
    let mut broker = Broker::new(BrokerOptions::default());
    let client = broker.open(now);
    let mut input = BytesMut::from(&b"\x10\x0d\x00\x04MQTT\x05\x02\x00\x00\x00\x00\x00"[..]);
    broker.handle_input(now, client, &mut input);
    while broker.poll_transmit(client).is_some() {}
    let (peak, _, ()) = heap(|| {
        let mut input = BytesMut::new();
        for part in packet.chunks(READ) {
            input.reserve(READ); // as its host does
            input.extend_from_slice(part);
            broker.handle_input(now, client, &mut input);
        }
        assert!(input.is_empty(), "the packet was read");
        let mut answer = 0;
        while let Some(chunk) = broker.poll_transmit(client) {
            answer += chunk.len();
        }
        assert!(answer > packet.len() / 5, "it was answered");
    });
    peak as f64 / packet.len() as f64
}

/// 1,000 calls that one DISCONNECT ends.
fn ended_calls(report: &mut Report) {
    let properties = USER_PROPERTY.repeat((256 << 10) / USER_PROPERTY.len());
    let body = [&b"\x8b"[..], &var_int(properties.len()), &properties].concat();
    let disconnect = whole(0xe0, &body);
    let (mut client, now) = calling(1_000);
    let (peak, _, events) = heap(|| {
        read(&mut client, now, &disconnect);
        std::iter::from_fn(|| client.poll_event()).collect::<Vec<_>>()
    });
    assert_eq!(events.len(), 1_001);
    report.at_most(
        "1,000 calls ended by DISCONNECT: heap per byte",
        peak as f64 / disconnect.len() as f64,
        MOST_MEMORY,
    );
    let ratio = growth(1_000, 8_000, |calls| {
        let (mut client, now) = calling(calls);
        cpu_seconds(|| {
            read(&mut client, now, &disconnect);
            while client.poll_event().is_some() {}
        })
        .0
    });
    report.at_most(
        "calls ended by DISCONNECT: 8,000 against 1,000",
        ratio,
        10.0,
    );
}

/// A client with so many publishes that wait, in flight and before.
fn calling(calls: usize) -> (Client, Instant) {
    let mut options = Options::default();
    options.outgoing = OutgoingLimits::NONE;
    let (mut client, now) = connected(options, accepted());
    for _ in 0..calls {
        let mut publish = Publish::new(TopicName::new("growth").expect("a topic"), "x");
        publish.qos = QoS::AtLeastOnce;
        client.publish(now, publish).expect("there is room");
    }
    while client.poll_transmit(now).is_some() {}
    (client, now)
}

/// Hands a packet to a client, and returns the most bytes that it takes for each of its own, and the CPU seconds.
fn received(packet: &[u8]) -> (f64, f64) {
    let (mut client, now) = match packet[0] {
        0x20 => connecting(),
        _ => waiting(),
    };
    let (peak, _, seconds) = heap(|| {
        let (seconds, ()) = cpu_seconds(|| read(&mut client, now, packet));
        let message = client.next_message(ferromqtt_proto::QueueId::DEFAULT);
        drop(message);
        while client.poll_event().is_some() {}
        seconds
    });
    (peak as f64 / packet.len() as f64, seconds)
}

/// Reads as the drivers do: room is made for as much as the core asks for.
fn read(client: &mut Client, now: Instant, packet: &[u8]) {
    let mut input = BytesMut::new();
    for part in packet.chunks(READ) {
        let missing = client.input_hint(&input);
        input.reserve(missing.max(part.len()));
        input.extend_from_slice(part);
        client.handle_input(now, &mut input);
    }
    assert!(input.is_empty(), "the packet was read");
}

fn connecting() -> (Client, Instant) {
    let now = Instant::now();
    let mut client =
        Client::new(Options::default(), Session::default(), 1).expect("the options are right");
    client.connect(now);
    client.transport_opened(now);
    while client.poll_transmit(now).is_some() {}
    (client, now)
}

/// A client with a publish and a SUBSCRIBE that are unanswered.
fn waiting() -> (Client, Instant) {
    let (mut client, now) = calling(1);
    client.claim_default();
    let filter = TopicFilter::new("growth").expect("a filter");
    let subscribe = Subscribe {
        filters: vec![(filter, SubscriptionOptions::default())],
        properties: Default::default(),
        queue: ferromqtt_proto::QueueId::DEFAULT,
    };
    client.subscribe(now, subscribe).expect("it can be sent");
    while client.poll_transmit(now).is_some() {}
    (client, now)
}

/// Just under 1 MiB.
fn with_properties(first_byte: u8, head: &[u8], element: &[u8]) -> BytesMut {
    let properties = element.repeat((MIB - 20) / element.len());
    whole(
        first_byte,
        &[head, &var_int(properties.len()), &properties].concat(),
    )
}

fn whole(first_byte: u8, body: &[u8]) -> BytesMut {
    let mut packet = BytesMut::new();
    packet.put_u8(first_byte);
    packet.extend_from_slice(&var_int(body.len()));
    packet.extend_from_slice(body);
    packet
}

fn var_int(mut value: usize) -> Vec<u8> {
    let mut bytes = Vec::new();
    loop {
        let more = value > 0x7f;
        bytes.push((value & 0x7f) as u8 | if more { 0x80 } else { 0 });
        value >>= 7;
        if !more {
            return bytes;
        }
    }
}
