//! Giving up calls that are under way, one after another.

use ferromqtt_proto::packet::{Ack, Packet, QoS};
use ferromqtt_proto::{
    Client, OpId, Options, OutgoingLimits, OutgoingPolicy, PacketId, Publish, TopicName,
};

use crate::link::{accepted, connected, receive};
use crate::measure::{cpu_seconds, growth, growth_of_steps};
use crate::order;
use crate::report::Report;

const SMALL: usize = 8_000;
const LARGE: usize = 64_000;

/// How far the messages have come.
#[derive(Clone, Copy)]
enum Reached {
    Waiting,
    InFlight,
    /// QoS 2, after PUBREC.
    Released,
}

pub(crate) fn measure(report: &mut Report) {
    let stages = [
        ("waiting", Reached::Waiting),
        ("in flight", Reached::InFlight),
        ("released", Reached::Released),
    ];
    for (what, reached) in stages {
        for (how, order) in order::all() {
            let prepare = |calls| {
                let (client, mut ops) = publishing(calls, reached);
                order(&mut ops);
                (client, ops)
            };
            let ratio = growth_of_steps(SMALL, LARGE, prepare, |(client, ops), at| {
                client.abandon(ops[at]).expect("it is under way");
            });
            report.at_most(
                &format!("abandon {what}, {how}: 64,000 against 8,000"),
                ratio,
                10.0,
            );
        }
    }
}

/// Publishes on a client whose queue is full drop as many that wait, one for each.
pub(crate) fn measure_dropping(report: &mut Report) {
    let ratio = growth(SMALL, LARGE, |calls| {
        let mut options = Options::default();
        options.outgoing = OutgoingLimits {
            messages: Some(calls),
            bytes: None,
        };
        options.outgoing_policy = OutgoingPolicy::DropOldest;
        let (mut client, now) = connected(options, accepted());
        let publish = Publish::new(TopicName::new("growth").expect("a topic"), "x");
        let mut fill =
            || (0..calls).for_each(|_| _ = client.publish(now, publish.clone()).expect("it waits"));
        fill();
        cpu_seconds(fill).0
    });
    report.at_most("drop the oldest: 64,000 against 8,000", ratio, 10.0);
}

/// A client with so many publishes that have come so far.
fn publishing(calls: usize, reached: Reached) -> (Client, Vec<OpId>) {
    let mut options = Options::default();
    options.outgoing = OutgoingLimits::NONE;
    let version = options.protocol;
    let (mut client, now) = connected(options, accepted());
    let topic = TopicName::new("growth").expect("a topic");
    let ops = (0..calls)
        .map(|_| {
            let mut publish = Publish::new(topic.clone(), "x");
            publish.qos = match reached {
                Reached::Released => QoS::ExactlyOnce,
                _ => QoS::AtLeastOnce,
            };
            client.publish(now, publish).expect("there is room")
        })
        .collect();
    if let Reached::InFlight | Reached::Released = reached {
        while client.poll_transmit(now).is_some() {}
    }
    if let Reached::Released = reached {
        let ids = (1..=u16::MAX).filter_map(PacketId::new).take(calls);
        let pubrecs: Vec<_> = ids.map(|id| Packet::PubRec(Ack::success(id))).collect();
        receive(&mut client, now, version, &pubrecs);
        while client.poll_transmit(now).is_some() {}
    }
    (client, ops)
}
