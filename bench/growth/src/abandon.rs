//! Giving up calls that are under way, one after another.

use ferromqtt_proto::packet::QoS;
use ferromqtt_proto::{Client, OpId, Options, OutgoingLimits, Publish, TopicName};

use crate::link::{accepted, connected};
use crate::measure::{cpu_seconds, growth, shuffle};
use crate::report::Report;

const SMALL: usize = 8_000;
const LARGE: usize = 64_000;

pub(crate) fn measure(report: &mut Report) {
    let mut row = |what: &str, order: fn(&mut [OpId]), on_the_wire: bool| {
        let ratio = growth(SMALL, LARGE, |calls| {
            let (mut client, mut ops) = publishing(calls, on_the_wire);
            order(&mut ops);
            cpu_seconds(|| {
                ops.iter()
                    .for_each(|&op| _ = client.abandon(op).expect("it is under way"))
            })
            .0
        });
        report.at_most(
            &format!("abandon {what}: 64,000 against 8,000"),
            ratio,
            10.0,
        );
    };
    row("in flight, in order", |_| {}, true);
    row("in flight, in random order", shuffle, true);
    row("waiting, in order", |_| {}, false);
    row("waiting, in random order", shuffle, false);
}

/// A client with so many QoS 1 publishes that wait for room on the wire, or for their acknowledgements.
fn publishing(calls: usize, on_the_wire: bool) -> (Client, Vec<OpId>) {
    let mut options = Options::default();
    options.outgoing = OutgoingLimits::NONE;
    let (mut client, now) = connected(options, accepted());
    let topic = TopicName::new("growth").expect("a topic");
    let ops = (0..calls)
        .map(|_| {
            let mut publish = Publish::new(topic.clone(), "x");
            publish.qos = QoS::AtLeastOnce;
            client.publish(now, publish).expect("there is room")
        })
        .collect();
    while on_the_wire && client.poll_transmit(now).is_some() {}
    (client, ops)
}
