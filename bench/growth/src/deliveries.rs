//! Acknowledging received messages that the application holds, one after another.

use bytes::Bytes;
use ferromqtt_proto::packet::{Packet, PublishPacket, QoS};
use ferromqtt_proto::{
    Acknowledge, Client, DeliveryId, Options, PacketId, QueueId, QueueOptions, Utf8String,
};

use crate::link::{accepted, connected, receive};
use crate::measure::growth_of_steps;
use crate::order;
use crate::report::Report;

const SMALL: usize = 8_000;
const LARGE: usize = 64_000;

pub(crate) fn measure(report: &mut Report) {
    for (what, qos) in [("QoS 1", QoS::AtLeastOnce), ("QoS 2", QoS::ExactlyOnce)] {
        for (how, order) in order::all() {
            let prepare = |messages| {
                let (client, mut held) = holding(messages, qos);
                order(&mut held);
                (client, held)
            };
            let ratio = growth_of_steps(SMALL, LARGE, prepare, |(client, held), at| {
                client.acknowledge(held[at]);
            });
            report.at_most(
                &format!("acknowledge {what} {how}: 64,000 against 8,000"),
                ratio,
                10.0,
            );
        }
    }
}

/// A client whose application has taken so many messages and is still to acknowledge them.
fn holding(messages: usize, qos: QoS) -> (Client, Vec<DeliveryId>) {
    let mut options = Options::default();
    options.incoming = QueueOptions {
        acknowledge: Acknowledge::ByApplication,
        ..QueueOptions::UNBOUNDED
    };
    let version = options.protocol;
    let (mut client, now) = connected(options, accepted());
    let ids = (1..=u16::MAX).filter_map(PacketId::new).take(messages);
    let publish = |id| {
        Packet::Publish(PublishPacket {
            dup: false,
            qos,
            retain: false,
            topic: Utf8String::from_string("growth".to_owned()).expect("UTF-8"),
            packet_id: Some(id),
            properties: None,
            payload: Bytes::from_static(b"x"),
        })
    };
    let packets: Vec<_> = ids.map(publish).collect();
    receive(&mut client, now, version, &packets);
    let taken = std::iter::from_fn(|| client.next_message(QueueId::DEFAULT));
    let held: Vec<_> = taken.filter_map(|message| message.delivery).collect();
    assert_eq!(held.len(), messages);
    (client, held)
}
