//! Texts of a server's, which must not repeat a secret: what looking for it costs.

use std::time::Instant;

use ferromqtt_proto::packet::{Ack, Packet, ProtocolVersion, QoS, ReasonCode};
use ferromqtt_proto::{Client, Options, Properties, Publish, TopicName};

use crate::link::{accepted, connected, receive};
use crate::measure::{cpu_seconds, growth};
use crate::report::Report;

/// Bytes of the password: none to speak of, and those of a token.
const SMALL: usize = 1;
const LARGE: usize = 2_000;

const MESSAGES: u16 = 20_000;

pub(crate) fn measure(report: &mut Report) {
    let same = growth(SMALL, LARGE, |bytes| acknowledgements(bytes, |_| 0));
    report.at_most(
        "the same Reason String, a token of 2,000 bytes against 1",
        same,
        1.5,
    );
    let other = growth(SMALL, LARGE, |bytes| acknowledgements(bytes, usize::from));
    report.at_most(
        "a new Reason String each, a token of 2,000 bytes against 1",
        other,
        4.0,
    );
}

/// Publishes that are acknowledged with a Reason String.
fn acknowledgements(password: usize, text: fn(u16) -> usize) -> f64 {
    let mut options = Options::default();
    options.protocol = ProtocolVersion::V5;
    options.password = Some("p".repeat(password).into());
    let (mut client, now) = connected(options, accepted());
    cpu_seconds(|| (1..=MESSAGES).for_each(|number| publish(&mut client, now, text(number)))).0
}

fn publish(client: &mut Client, now: Instant, text: usize) {
    let mut publish = Publish::new(TopicName::new("t").expect("a topic"), "x");
    publish.qos = QoS::AtLeastOnce;
    client.publish(now, publish).expect("there is room");
    let chunk = client.poll_transmit(now).expect("it is sent");
    let packet = ferromqtt_proto::packet::decode(&chunk, &mut 0, ProtocolVersion::V5);
    let Ok(Packet::Publish(publish)) = packet else {
        panic!("{packet:?}");
    };
    let text = format!("No matching subscribers for {text}");
    let ack = Ack {
        reason: ReasonCode::NoMatchingSubscribers,
        properties: Some(Box::new(Properties {
            reason_string: Some(text.try_into().expect("it is short")),
            ..Properties::default()
        })),
        ..Ack::success(publish.packet_id.expect("QoS 1 has one"))
    };
    receive(client, now, ProtocolVersion::V5, &[Packet::PubAck(ack)]);
    while client.poll_event().is_some() {}
}
