//! Many subscriptions at the test broker.

use std::time::Instant;

use bytes::BytesMut;
use ferromqtt_proto::packet::{Packet, PacketId, ProtocolVersion, QoS, Subscribe, Unsubscribe};
use ferromqtt_proto::{Properties, Utf8String};
use ferromqtt_testing::{Broker, BrokerOptions, ConnectionId};

use crate::matching::{feed, join};
use crate::measure::{cpu_seconds, growth, shuffle};
use crate::report::Report;
use crate::subscriptions::SCATTERED;

const SMALL: usize = 8_000;
const LARGE: usize = 64_000;

pub(crate) fn measure(report: &mut Report) {
    let mut row = |what: &str, bar: f64, cost: fn(usize) -> f64| {
        let ratio = growth(SMALL, LARGE, cost);
        report.at_most(&format!("{what}: 64,000 against 8,000"), ratio, bar);
    };
    row("broker, subscribe and unsubscribe", 10.0, |filters| {
        subscribe_and_unsubscribe(filters, |_| {})
    });
    row("broker, the same in random order", SCATTERED, |filters| {
        subscribe_and_unsubscribe(filters, shuffle)
    });
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

fn subscribe_and_unsubscribe(filters: usize, order: fn(&mut [Utf8String])) -> f64 {
    let (mut broker, now, session) = one_session();
    let mut names = names(filters);
    cpu_seconds(|| {
        subscribe(&mut broker, now, session, &names);
        order(&mut names);
        for name in &names {
            let unsubscribe = Unsubscribe {
                packet_id: PacketId::MAX,
                properties: Properties::default(),
                filters: vec![name.clone()].into(),
            };
            let packet = Packet::Unsubscribe(Box::new(unsubscribe));
            feed(&mut broker, now, session, &packet);
        }
    })
    .0
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
        let subscribe = Subscribe {
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
