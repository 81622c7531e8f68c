//! Many subscriptions at the test broker.

use std::time::Instant;

use bytes::BytesMut;
use ferromqtt_proto::packet::{
    Packet, PacketId, ProtocolVersion, QoS, SubscribePacket, UnsubscribePacket,
};
use ferromqtt_proto::{Properties, Utf8String};
use ferromqtt_testing::{Broker, BrokerOptions, ConnectionId};

use crate::matching::{feed, join};
use crate::measure::{cpu_seconds, growth, growth_of_passes, shuffle};
use crate::report::Report;

const SMALL: usize = 8_000;
const LARGE: usize = 64_000;

/// The bar for what happens to all at once, in no order: the caches hold the small case and not the large one, so each look at
/// memory takes longer there. What is linear is at 8 without that, what grows with its square at 64.
const SCATTERED: f64 = 20.0;

pub(crate) fn measure(report: &mut Report) {
    for (how, order) in [
        ("in order", None),
        ("in random order", Some(shuffle as Order)),
    ] {
        let prepare = |filters| World::new(filters, order);
        let ratio = growth_of_passes(2, SMALL, LARGE, prepare, World::step);
        let what = format!("broker, subscribe and unsubscribe {how}: 64,000 against 8,000");
        report.at_most(&what, ratio, 10.0);
    }
    let mut row = |what: &str, bar: f64, cost: fn(usize) -> f64| {
        let ratio = growth(SMALL, LARGE, cost);
        report.at_most(&format!("{what}: 64,000 against 8,000"), ratio, bar);
    };
    row(
        "broker, session ends with its filters",
        SCATTERED,
        |filters| {
            let (mut broker, now, session) = one_session();
            let names = names(filters);
            cpu_seconds(|| {
                subscribe(&mut broker, now, session, &names);
                broker.closed(now, session);
            })
            .0
        },
    );
    row(
        "broker, sessions with one filter in common",
        SCATTERED,
        |sessions| {
            let now = Instant::now();
            let mut broker = Broker::new(BrokerOptions::default());
            let filter = [text("news/#".to_owned())];
            let mut ids: Vec<_> = (0..sessions)
                .map(|number| join(&mut broker, now, &number.to_string()))
                .collect();
            let seconds = cpu_seconds(|| {
                ids.iter()
                    .for_each(|&id| subscribe(&mut broker, now, id, &filter));
                shuffle(&mut ids);
                ids.iter().for_each(|&id| broker.closed(now, id));
            })
            .0;
            assert_eq!(broker.stats().sessions, 0);
            seconds
        },
    );
}

type Order = fn(&mut [Utf8String]);

/// One session that subscribes to filters, and then unsubscribes.
struct World {
    broker: Broker,
    now: Instant,
    session: ConnectionId,
    names: Vec<Utf8String>,
    order: Option<Order>,
}

impl World {
    fn new(filters: usize, order: Option<Order>) -> Self {
        let (broker, now, session) = one_session();
        Self {
            broker,
            now,
            session,
            names: names(filters),
            order,
        }
    }

    fn step(&mut self, at: usize) {
        let count = self.names.len();
        if let (Some(order), true) = (self.order, at == count) {
            order(&mut self.names);
        }
        let name = self.names[at % count].clone();
        let packet_id = PacketId::MAX;
        let properties = Properties::default();
        let packet = if at < count {
            Packet::Subscribe(Box::new(SubscribePacket {
                packet_id,
                properties,
                filters: vec![(name, QoS::AtLeastOnce.into())].into(),
            }))
        } else {
            Packet::Unsubscribe(Box::new(UnsubscribePacket {
                packet_id,
                properties,
                filters: vec![name].into(),
            }))
        };
        feed(&mut self.broker, self.now, self.session, &packet);
    }
}

fn one_session() -> (Broker, Instant, ConnectionId) {
    let now = Instant::now();
    let mut broker = Broker::new(BrokerOptions::default());
    let session = join(&mut broker, now, "one");
    (broker, now, session)
}

fn text(text: String) -> Utf8String {
    Utf8String::from_string(text).expect("it is short")
}

fn names(filters: usize) -> Vec<Utf8String> {
    let name = |number| text(format!("site/{}/device/{number}/state", number % 100));
    (0..filters).map(name).collect()
}

/// In packets of 100 filters.
fn subscribe(broker: &mut Broker, now: Instant, session: ConnectionId, names: &[Utf8String]) {
    let mut input = BytesMut::new();
    for names in names.chunks(100) {
        let subscribe = SubscribePacket {
            packet_id: PacketId::MAX,
            properties: Properties::default(),
            filters: (names.iter())
                .map(|name| (name.clone(), QoS::AtLeastOnce.into()))
                .collect(),
        };
        Packet::Subscribe(Box::new(subscribe)).encode(ProtocolVersion::V5, &mut input);
        broker.handle_input(now, session, &mut input);
        while broker.poll_writable().is_some() {}
        while broker.poll_transmit(session).is_some() {}
    }
}
