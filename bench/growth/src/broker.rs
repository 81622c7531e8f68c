//! The test broker: what it holds, and what ends.

use std::time::Instant;

use bytes::{Bytes, BytesMut};
use ferromqtt_proto::Utf8String;
use ferromqtt_proto::packet::{
    Connect, Packet, PacketId, Properties, ProtocolVersion, PublishPacket, QoS, SubscribePacket,
};
use ferromqtt_testing::{Broker, BrokerOptions, ConnectionId};

use crate::measure::{cpu_seconds, growth, heap};
use crate::report::Report;

const SMALL: usize = 8_000;
const LARGE: usize = 64_000;

/// Eight times as many, in memory that no cache holds any more; a square would be 64.
const LINEAR: f64 = 16.0;

/// For the rows of memory.
const BOUND: usize = 16 << 20;

pub(crate) fn measure(report: &mut Report) {
    let ratio = growth(SMALL, LARGE, |sessions| {
        let mut scene = Scene::new(|_| {});
        let clients: Vec<_> = (0..sessions)
            .map(|number| scene.subscriber(&number.to_string(), "$share/group/t", QoS::AtLeastOnce))
            .collect();
        cpu_seconds(|| clients.iter().for_each(|&client| scene.close(client))).0
    });
    report.at_most(
        "broker: sessions that share end, 64,000 against 8,000",
        ratio,
        LINEAR,
    );

    let ratio = growth(SMALL, LARGE, |messages| {
        let mut scene = Scene::new(|options| options.maximum_queued_messages = LARGE);
        let publisher = scene.connect("publisher");
        let first = scene.subscriber("first", "$share/group/t", QoS::AtLeastOnce);
        for _ in 0..messages {
            scene.send(publisher, &Packet::Publish(message("t", QoS::AtLeastOnce)));
        }
        scene.subscriber("second", "$share/group/t", QoS::AtLeastOnce);
        cpu_seconds(|| scene.close(first)).0
    });
    report.at_most(
        "broker: messages passed on to another, 64,000 against 8,000",
        ratio,
        LINEAR,
    );

    let ratio = growth(SMALL, LARGE, |topics| {
        let mut scene = Scene::new(|_| {});
        let client = scene.connect("c");
        for number in 0..topics {
            let mut message = message(&format!("{}/{number}/x", number % 4), QoS::AtMostOnce);
            (message.retain, message.payload) = (true, Bytes::from_static(b"x"));
            scene.send(client, &Packet::Publish(message));
        }
        let subscribe = subscribe("+/7/x", QoS::AtMostOnce);
        cpu_seconds(|| (0..20).for_each(|_| scene.send(client, &subscribe))).0
    });
    report.at_most(
        "broker: retained by +/7/x among 64,000 against 8,000",
        ratio,
        2.0,
    );

    measure_memory(report);
}

fn measure_memory(report: &mut Report) {
    let mut row = |what: &str, payload: usize, properties: usize, behind: usize, retain: bool| {
        let (_, kept, scene) = heap(|| {
            let mut scene = Scene::new(|options| {
                options.maximum_queued_bytes = BOUND;
                options.maximum_retained_bytes = BOUND;
            });
            let publisher = scene.connect("publisher");
            scene.subscriber("slow", "t/#", QoS::AtLeastOnce);
            for number in 0..2000 {
                let mut kept = message(&format!("t/{number}"), QoS::AtLeastOnce);
                kept.payload = Bytes::from(vec![b'x'; payload]);
                kept.properties = Some(Box::new(user_properties(properties)));
                kept.retain = retain;
                let mut input = BytesMut::new();
                Packet::Publish(kept).encode(ProtocolVersion::V5, &mut input);
                let mut other = message("nobody", QoS::AtMostOnce);
                other.properties = Some(Box::new(user_properties(behind)));
                Packet::Publish(other).encode(ProtocolVersion::V5, &mut input);
                scene.feed(publisher, &mut input);
            }
            scene
        });
        let stats = scene.broker.stats();
        let counted = stats.session_bytes + stats.retained_bytes;
        report.at_most(
            &format!("broker, heap by bytes counted: {what}"),
            kept as f64 / counted as f64,
            1.5,
        );
    };
    row("60 KB of User Properties", 0, 60_000, 0, false);
    row("retained, 60 KB of User Properties", 1, 60_000, 0, true);
    row("1 byte, and 60 KB of others behind", 1, 0, 60_000, false);
    row("5 KB, and 60 KB of others behind", 5000, 0, 60_000, false);
}

fn user_properties(bytes: usize) -> Properties {
    Properties {
        user_properties: [(text("name"), text(&"x".repeat(bytes)))].into(),
        ..Properties::default()
    }
}

fn message(topic: &str, qos: QoS) -> PublishPacket {
    PublishPacket {
        dup: false,
        qos,
        retain: false,
        topic: text(topic),
        packet_id: (qos > QoS::AtMostOnce).then_some(PacketId::MIN),
        properties: None,
        payload: Bytes::new(),
    }
}

fn subscribe(filter: &str, qos: QoS) -> Packet {
    Packet::Subscribe(Box::new(SubscribePacket {
        packet_id: PacketId::MIN,
        properties: Properties::default(),
        filters: vec![(text(filter), qos.into())].into(),
    }))
}

fn text(text: &str) -> Utf8String {
    Utf8String::try_from(text).expect("a string of MQTT")
}

/// A broker at one moment; what it writes is thrown away, and only PUBACK would make room in its windows.
struct Scene {
    broker: Broker,
    now: Instant,
}

impl Scene {
    fn new(set: impl FnOnce(&mut BrokerOptions)) -> Self {
        let mut options = BrokerOptions::default();
        options.maximum_connections = LARGE + 10;
        set(&mut options);
        Self {
            broker: Broker::new(options),
            now: Instant::now(),
        }
    }

    fn connect(&mut self, name: &str) -> ConnectionId {
        let id = self.broker.open(self.now);
        let connect = Connect {
            protocol: ProtocolVersion::V5,
            clean_start: true,
            keep_alive: 0,
            properties: Properties::default(),
            client_identifier: text(name),
            will: None,
            user_name: None,
            password: None,
        };
        self.send(id, &Packet::Connect(Box::new(connect)));
        id
    }

    fn subscriber(&mut self, name: &str, filter: &str, qos: QoS) -> ConnectionId {
        let id = self.connect(name);
        self.send(id, &subscribe(filter, qos));
        id
    }

    fn send(&mut self, id: ConnectionId, packet: &Packet) {
        let mut input = BytesMut::new();
        packet.encode(ProtocolVersion::V5, &mut input);
        self.feed(id, &mut input);
    }

    fn feed(&mut self, id: ConnectionId, input: &mut BytesMut) {
        self.broker.handle_input(self.now, id, input);
        while let Some(id) = self.broker.poll_writable() {
            while self.broker.poll_transmit(id).is_some() {}
        }
    }

    fn close(&mut self, id: ConnectionId) {
        self.broker.closed(self.now, id);
    }
}
