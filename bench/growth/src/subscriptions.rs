//! Subscribing to many filters, with a queue for each, and giving them up.

use std::time::Instant;

use bytes::Bytes;

use ferromqtt_proto::packet::{
    Packet, PacketId, ProtocolVersion, Publish, QoS, ReasonCode, SubAck, UnsubAck,
};
use ferromqtt_proto::{
    CleanStart, Client, Event, Options, Properties, QueueId, QueueOptions, Subscribe, TopicFilter,
    Unsubscribe,
};

use crate::link::{accepted, connected, receive};
use crate::measure::{cpu_seconds, growth, shuffle};
use crate::report::Report;

const SMALL: usize = 8_000;
const LARGE: usize = 64_000;

/// The bar for what comes in random order: the caches hold the small case and not the large one, so each look at memory takes
/// longer there. What is linear is at 8 without that, what grows with its square at 64.
pub(crate) const SCATTERED: f64 = 14.0;

pub(crate) fn measure(report: &mut Report) {
    let mut row = |what: &str, bar: f64, cost: fn(usize) -> f64| {
        let ratio = growth(SMALL, LARGE, cost);
        report.at_most(&format!("{what}: 64,000 against 8,000"), ratio, bar);
    };
    row("subscribe and drop, in order", 10.0, |count| {
        online(
            count,
            |at| format!("site/{}/device/{at}/state", at % 100),
            |_| {},
        )
    });
    row("subscribe and drop, in random order", SCATTERED, |count| {
        online(
            count,
            |at| format!("site/{}/device/{at}/state", at % 100),
            shuffle,
        )
    });
    row(
        "subscribe and drop, one filter for all",
        SCATTERED,
        |count| online(count, |_| "news".to_owned(), shuffle),
    );
    row("subscribe and drop, without a connection", 10.0, offline);
    row("subscribe to what a session has brought", 10.0, claim);
}

fn filter(text: String) -> TopicFilter {
    TopicFilter::new(text).expect("a filter")
}

fn subscribe(client: &mut Client, now: Instant, filter: TopicFilter) -> QueueId {
    let queue = client.open_queue(QueueOptions::default());
    let subscribe = Subscribe {
        filters: vec![(filter, QoS::AtLeastOnce.into())],
        properties: Properties::default(),
        queue,
    };
    client.subscribe(now, subscribe).expect("it is accepted");
    queue
}

/// As a driver drops a stream: nobody asks for the queue's filters in between.
fn drop_queue(client: &mut Client, now: Instant, queue: QueueId) {
    assert!(client.filters(queue).next().is_some());
    let filters = client.close_queue(queue);
    if !filters.is_empty() {
        let unsubscribe = Unsubscribe {
            filters,
            properties: Properties::default(),
        };
        client
            .unsubscribe(now, unsubscribe)
            .expect("it is accepted");
    }
}

/// The server answers after each thousand.
fn online(count: usize, name: fn(usize) -> String, order: fn(&mut [QueueId])) -> f64 {
    let mut options = Options::default();
    options.protocol = ProtocolVersion::V5;
    let (mut client, now) = connected(options, accepted());
    let filters: Vec<_> = (0..count).map(|at| filter(name(at))).collect();
    cpu_seconds(|| {
        let mut queues = Vec::new();
        for filters in filters.chunks(1_000) {
            let new = (filters.iter()).map(|filter| subscribe(&mut client, now, filter.clone()));
            queues.extend(new);
            answer(&mut client, now);
        }
        order(&mut queues);
        for queues in queues.chunks(1_000) {
            queues
                .iter()
                .for_each(|&queue| drop_queue(&mut client, now, queue));
            answer(&mut client, now);
        }
    })
    .0
}

/// Plays the server until all requests are answered.
fn answer(client: &mut Client, now: Instant) {
    let version = ProtocolVersion::V5;
    let mut answers = Vec::new();
    while let Some(chunk) = client.poll_transmit(now) {
        let mut at = 0;
        while at < chunk.len() {
            let packet = ferromqtt_proto::packet::decode(&chunk, &mut at, version);
            answers.push(match packet.expect("it is whole") {
                Packet::Subscribe(it) => suback(it.packet_id),
                Packet::Unsubscribe(it) => unsuback(it.packet_id),
                other => panic!("{other:?}"),
            });
        }
    }
    receive(client, now, version, &answers);
    while let Some(event) = client.poll_event() {
        assert!(matches!(event, Event::Completed { .. }), "{event:?}");
    }
}

fn suback(packet_id: PacketId) -> Packet {
    Packet::SubAck(Box::new(SubAck {
        packet_id,
        properties: Properties::default(),
        reasons: vec![ReasonCode::GrantedQos1],
    }))
}

fn unsuback(packet_id: PacketId) -> Packet {
    Packet::UnsubAck(Box::new(UnsubAck {
        packet_id,
        properties: Properties::default(),
        reasons: vec![ReasonCode::Success],
    }))
}

/// A resumed session has brought a message for each filter before the program subscribes.
fn claim(count: usize) -> f64 {
    let mut options = Options::default();
    options.protocol = ProtocolVersion::V5;
    options.client_identifier = "growth".try_into().expect("it is short");
    options.clean_start = CleanStart::Never;
    let mut answer = accepted();
    answer.session_present = true;
    let (mut client, now) = connected(options, answer);
    for number in 0..count {
        let publish = Publish {
            dup: false,
            qos: QoS::AtLeastOnce,
            retain: false,
            topic: format!("device/{number}").try_into().expect("it is short"),
            packet_id: PacketId::new(number as u16 + 1),
            properties: None,
            payload: Bytes::from_static(b"on"),
        };
        let publish = Packet::Publish(publish);
        receive(&mut client, now, ProtocolVersion::V5, &[publish]);
    }
    assert_eq!(client.stats().awaiting_claim, count);
    let filters: Vec<_> = (0..count)
        .map(|number| filter(format!("device/{number}")))
        .collect();
    cpu_seconds(|| {
        for filters in filters.chunks(1_000) {
            for filter in filters {
                let queue = subscribe(&mut client, now, filter.clone());
                assert!(client.next_message(queue).is_some());
            }
            while client.poll_transmit(now).is_some() {}
            while client.poll_event().is_some() {}
        }
    })
    .0
}

/// Nothing can be sent, so all wait, and are dropped.
fn offline(count: usize) -> f64 {
    let mut client =
        Client::new(Options::default(), Default::default(), 1).expect("the options are right");
    let now = Instant::now();
    client.connect(now);
    let filters: Vec<_> = (0..count)
        .map(|at| filter(format!("device/{at}")))
        .collect();
    cpu_seconds(|| {
        let queues: Vec<_> = (filters.into_iter())
            .map(|filter| subscribe(&mut client, now, filter))
            .collect();
        for queue in queues {
            assert!(client.close_queue(queue).is_empty());
        }
        while client.poll_event().is_some() {}
    })
    .0
}
