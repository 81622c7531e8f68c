//! Subscribing to many filters, with a queue for each, and giving them up.

use std::time::Instant;

use bytes::Bytes;

use ferromqtt_proto::packet::{
    Packet, PacketId, ProtocolVersion, PublishPacket, QoS, ReasonCode, SubAck, UnsubAck,
};
use ferromqtt_proto::{
    CleanStart, Client, Event, Options, Properties, QueueId, QueueOptions, Subscribe, TopicFilter,
    Unsubscribe,
};

use crate::link::{accepted, connected, receive};
use crate::measure::{growth_of_passes, growth_of_steps, shuffle};
use crate::report::Report;

const SMALL: usize = 8_000;
const LARGE: usize = 64_000;

pub(crate) fn measure(report: &mut Report) {
    let mut row = |what: &str, name: fn(usize) -> String, order: fn(&mut [QueueId])| {
        let prepare = |count| World::new(count, name, order);
        let ratio = growth_of_passes(2, SMALL, LARGE, prepare, World::step);
        report.at_most(&format!("{what}: 64,000 against 8,000"), ratio, 10.0);
    };
    let device = |at| format!("site/{}/device/{at}/state", at % 100);
    row("subscribe and drop, in order", device, |_| {});
    row("subscribe and drop, in random order", device, shuffle);
    row(
        "subscribe and drop, one filter for all",
        |_| "news".to_owned(),
        shuffle,
    );
    let ratio = growth_of_passes(2, SMALL, LARGE, World::offline, World::step_offline);
    report.at_most(
        "subscribe and drop, without a connection: 64,000 against 8,000",
        ratio,
        10.0,
    );
    let ratio = growth_of_steps(SMALL, LARGE, World::resumed, World::claim);
    report.at_most(
        "subscribe to what a session has brought: 64,000 against 8,000",
        ratio,
        10.0,
    );
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

/// The server answers after each thousand steps.
const BATCH: usize = 1_000;

/// A client that subscribes to filters, each with a queue of its own, and drops them.
struct World {
    client: Client,
    now: Instant,
    filters: Vec<TopicFilter>,
    order: fn(&mut [QueueId]),
    queues: Vec<QueueId>,
}

impl World {
    fn new(count: usize, name: fn(usize) -> String, order: fn(&mut [QueueId])) -> Self {
        let mut options = Options::default();
        options.protocol = ProtocolVersion::V5;
        let (client, now) = connected(options, accepted());
        Self {
            client,
            now,
            filters: (0..count).map(|at| filter(name(at))).collect(),
            order,
            queues: Vec::with_capacity(count),
        }
    }

    /// Nothing can be sent, so all wait.
    fn offline(count: usize) -> Self {
        let now = Instant::now();
        let mut client =
            Client::new(Options::default(), Default::default(), 1).expect("the options are right");
        client.connect(now);
        Self {
            client,
            now,
            filters: (0..count)
                .map(|at| filter(format!("device/{at}")))
                .collect(),
            order: |_| {},
            queues: Vec::with_capacity(count),
        }
    }

    fn subscribe(&mut self, at: usize) -> QueueId {
        let queue = subscribe(&mut self.client, self.now, self.filters[at].clone());
        self.queues.push(queue);
        queue
    }

    fn step(&mut self, at: usize) {
        let count = self.filters.len();
        match at.checked_sub(count) {
            None => _ = self.subscribe(at),
            Some(at) => drop_queue(&mut self.client, self.now, self.queues[at]),
        }
        if (at + 1).is_multiple_of(BATCH) {
            answer(&mut self.client, self.now);
        }
        if at + 1 == count {
            (self.order)(&mut self.queues);
        }
    }

    fn step_offline(&mut self, at: usize) {
        match at.checked_sub(self.filters.len()) {
            None => _ = self.subscribe(at),
            Some(at) => assert!(self.client.close_queue(self.queues[at]).is_empty()),
        }
        while self.client.poll_event().is_some() {}
    }

    /// A resumed session has brought a message for each filter before the program subscribes.
    fn resumed(count: usize) -> Self {
        let mut options = Options::default();
        options.protocol = ProtocolVersion::V5;
        options.client_identifier = "growth".try_into().expect("it is short");
        options.clean_start = CleanStart::Never;
        let mut answer = accepted();
        answer.session_present = true;
        let (mut client, now) = connected(options, answer);
        for number in 0..count {
            let publish = PublishPacket {
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
        Self {
            client,
            now,
            filters: (0..count)
                .map(|number| filter(format!("device/{number}")))
                .collect(),
            order: |_| {},
            queues: Vec::with_capacity(count),
        }
    }

    fn claim(&mut self, at: usize) {
        let queue = self.subscribe(at);
        assert!(self.client.next_message(queue).is_some());
        if (at + 1).is_multiple_of(BATCH) {
            while self.client.poll_transmit(self.now).is_some() {}
            while self.client.poll_event().is_some() {}
        }
    }
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
