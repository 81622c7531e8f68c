//! Finding who gets a message, among few filters and many.

use std::collections::BTreeSet;
use std::time::Instant;

use bytes::{Bytes, BytesMut};
use ferromqtt_proto::packet::{
    Connect, Packet, PacketId, ProtocolVersion, PublishPacket, QoS, ReasonCode, SubAck,
    SubscribePacket,
};
use ferromqtt_proto::{
    Client, Event, Options, Properties, QueueId, QueueOptions, TopicFilter, Utf8String,
};
use ferromqtt_testing::{Broker, BrokerOptions, ConnectionId};

use crate::link::{accepted, connected, receive};
use crate::measure::{cpu_seconds, more_microseconds, random};
use crate::report::Report;

const FEW: usize = 10;
const MANY: usize = 100_000;

/// So many messages are measured.
const MESSAGES: usize = 50_000;

const VERSION: ProtocolVersion = ProtocolVersion::V5;

pub(crate) fn measure(report: &mut Report) {
    let mut row = |what: &str, bar: f64, cost: fn(usize) -> f64| {
        let more = more_microseconds(FEW, MANY, cost);
        let what = format!("{what}: us more among 100,000 filters than 10");
        report.at_most(&what, more, bar);
    };
    row("client, one queue", 1.0, |filters| client(filters, false));
    // With the memory of a queue that no cache holds.
    row("client, a queue each", 2.0, |filters| client(filters, true));
    row("broker", 1.0, broker);
}

fn name(number: usize) -> String {
    format!("site/{}/device/{number}/state", number % 100)
}

fn text(text: String) -> Utf8String {
    Utf8String::from_string(text).expect("it is short")
}

/// QoS 0 messages in batches of ten, each to a topic of its own that is chosen at random among those of so many filters.
fn messages(filters: usize) -> Vec<BytesMut> {
    let mut random = random();
    let batches = (0..MESSAGES / FEW).map(|_| {
        let mut batch = BytesMut::new();
        let mut numbers = BTreeSet::new();
        while numbers.len() < FEW {
            numbers.insert(random() % filters);
        }
        for number in numbers {
            let publish = PublishPacket {
                dup: false,
                qos: QoS::AtMostOnce,
                retain: false,
                topic: text(name(number)),
                packet_id: None,
                properties: None,
                payload: Bytes::from_static(b"on"),
            };
            Packet::Publish(publish).encode(VERSION, &mut batch);
        }
        batch
    });
    batches.collect()
}

/// Microseconds for each message that a client receives, until it is in its queue.
fn client(filters: usize, queue_each: bool) -> f64 {
    let mut options = Options::default();
    options.protocol = VERSION;
    let (mut client, now) = connected(options, accepted());
    let mut queues = Vec::new();
    for number in 0..filters {
        if queue_each || queues.is_empty() {
            queues.push(client.open_queue(QueueOptions::UNBOUNDED));
        }
        subscribe(&mut client, now, name(number), queues[queues.len() - 1]);
    }
    let receive_all = |client: &mut Client| -> f64 {
        let mut seconds = 0.0;
        for mut batch in messages(filters) {
            seconds += cpu_seconds(|| client.handle_input(now, &mut batch)).0;
            let mut taken = 0;
            while let Some(event) = client.poll_event() {
                let Event::MessageReady(queue) = event else {
                    panic!("{event:?}");
                };
                taken += std::iter::from_fn(|| client.next_message(queue)).count();
            }
            assert_eq!(taken, FEW);
        }
        seconds / MESSAGES as f64 * 1e6
    };
    receive_all(&mut client); // the queues have their memory now
    receive_all(&mut client)
}

fn subscribe(client: &mut Client, now: Instant, filter: String, queue: QueueId) {
    let subscribe = ferromqtt_proto::Subscribe {
        filters: vec![(
            TopicFilter::new(filter).expect("a filter"),
            QoS::AtMostOnce.into(),
        )],
        properties: Properties::default(),
        queue,
    };
    client.subscribe(now, subscribe).expect("it is accepted");
    while let Some(chunk) = client.poll_transmit(now) {
        let mut at = 0;
        let packet = ferromqtt_proto::packet::decode(&chunk, &mut at, VERSION);
        let Ok(Packet::Subscribe(subscribe)) = packet else {
            panic!("{packet:?}");
        };
        let suback = SubAck {
            packet_id: subscribe.packet_id,
            properties: Properties::default(),
            reasons: vec![ReasonCode::Success],
        };
        receive(client, now, VERSION, &[Packet::SubAck(Box::new(suback))]);
    }
    while client.poll_event().is_some() {}
}

/// Microseconds for each message that the broker passes on, to one session that has all filters.
fn broker(filters: usize) -> f64 {
    let now = Instant::now();
    let mut broker = Broker::new(BrokerOptions::default());
    let subscriber = join(&mut broker, now, "subscriber");
    let publisher = join(&mut broker, now, "publisher");
    for number in 0..filters {
        let subscribe = SubscribePacket {
            packet_id: PacketId::MAX,
            properties: Properties::default(),
            filters: vec![(text(name(number)), QoS::AtMostOnce.into())].into(),
        };
        feed(
            &mut broker,
            now,
            subscriber,
            &Packet::Subscribe(Box::new(subscribe)),
        );
    }
    let mut seconds = 0.0;
    for mut batch in messages(filters) {
        seconds += cpu_seconds(|| broker.handle_input(now, publisher, &mut batch)).0;
        while broker.poll_writable().is_some() {}
        let mut passed_on = 0;
        while let Some(chunk) = broker.poll_transmit(subscriber) {
            passed_on += chunk.len();
        }
        assert!(passed_on > FEW * "site/0/device/0/state".len());
    }
    seconds / MESSAGES as f64 * 1e6
}

pub(crate) fn join(broker: &mut Broker, now: Instant, name: &str) -> ConnectionId {
    let id = broker.open(now);
    let connect = Connect {
        protocol: VERSION,
        clean_start: true,
        keep_alive: 60,
        properties: Properties::default(),
        client_identifier: text(name.to_owned()),
        will: None,
        user_name: None,
        password: None,
    };
    feed(broker, now, id, &Packet::Connect(Box::new(connect)));
    id
}

pub(crate) fn feed(broker: &mut Broker, now: Instant, id: ConnectionId, packet: &Packet) {
    let mut input = BytesMut::new();
    packet.encode(VERSION, &mut input);
    broker.handle_input(now, id, &mut input);
    while broker.poll_writable().is_some() {}
    while broker.poll_transmit(id).is_some() {}
}
