//! Acknowledging with a Reason Code, and with properties (5.0).

use ferromqtt_proto::packet::{Ack, Packet};
use ferromqtt_proto::{
    AcknowledgeError, DeliveryId, Options, Properties, ProtocolVersion, QoS, QueueId, ReasonCode,
};

use crate::support::*;

const DEFAULT: QueueId = QueueId::DEFAULT;

fn manual(version: ProtocolVersion) -> Options {
    let mut options = resuming(version);
    options.incoming = by_application();
    options
}

fn held(pair: &mut Pair, payload: &str, qos: QoS, id: u16) -> DeliveryId {
    pair.receive("t", payload, qos, id);
    pair.take(DEFAULT).delivery.unwrap()
}

fn explained() -> Properties {
    Properties {
        reason_string: Some(text("no room")),
        user_properties: [(text("b"), text("1")), (text("a"), text("2"))].into(),
        ..Properties::default()
    }
}

fn answer_to(
    pair: &mut Pair,
    delivery: DeliveryId,
    reason: ReasonCode,
    properties: Properties,
) -> Result<(), AcknowledgeError> {
    let result = pair.client.acknowledge_with(delivery, reason, properties);
    pair.pump();
    result
}

fn ack(id: u16, reason: ReasonCode, properties: Properties) -> Ack {
    Ack {
        packet_id: crate::support::id(id),
        reason,
        properties: (!properties.is_empty()).then(|| Box::new(properties)),
    }
}

/// MQTT-3.4.2-1, MQTT-3.5.2-1: every code that a client may send, with what explains it.
#[test]
fn the_reason_code_and_the_properties_reach_the_server() {
    for reason in [
        ReasonCode::Success,
        ReasonCode::UnspecifiedError,
        ReasonCode::ImplementationSpecificError,
        ReasonCode::NotAuthorized,
        ReasonCode::TopicNameInvalid,
        ReasonCode::PacketIdentifierInUse,
        ReasonCode::QuotaExceeded,
        ReasonCode::PayloadFormatInvalid,
    ] {
        for properties in [Properties::default(), explained()] {
            let mut pair = Pair::connected(manual(V5));
            let first = held(&mut pair, "a", AtLeastOnce, 1);
            let second = held(&mut pair, "b", ExactlyOnce, 2);
            answer_to(&mut pair, second, reason, properties.clone()).unwrap();
            assert!(pair.bytes().is_empty(), "in order of receipt");
            answer_to(&mut pair, first, reason, properties.clone()).unwrap();
            let expected = [
                Packet::PubAck(ack(1, reason, properties.clone())),
                Packet::PubRec(ack(2, reason, properties)),
            ];
            assert_eq!(pair.packets(), expected);
        }
    }
}

/// MQTT-4.3.3-9: after a refusal the server does not send PUBREL, and the identifier names another message.
#[test]
fn a_refusal_at_qos_2_ends_the_exchange() {
    let mut pair = Pair::connected(manual(V5));
    let first = held(&mut pair, "a", ExactlyOnce, 5);
    let refusal = ReasonCode::QuotaExceeded;
    answer_to(&mut pair, first, refusal, Properties::default()).unwrap();
    assert_eq!(pair.bytes(), &b"\x50\x03\x00\x05\x97"[..]);
    let second = held(&mut pair, "b", ExactlyOnce, 5);
    assert_ne!(first, second);
    pair.acknowledge(second);
    assert_eq!(pair.sent(), ["PUBREC 5"]);
    pair.server_sends(pubrel(5));
    assert_eq!(pair.sent(), ["PUBCOMP 5"]);
}

/// MQTT-4.3.3-11: a PUBREL after a refusal finds nothing.
#[test]
fn a_pubrel_after_a_refusal_is_unknown() {
    let mut pair = Pair::connected(manual(V5));
    let delivery = held(&mut pair, "a", ExactlyOnce, 5);
    let refusal = ReasonCode::NotAuthorized;
    answer_to(&mut pair, delivery, refusal, Properties::default()).unwrap();
    pair.bytes();
    pair.server_sends(pubrel(5));
    assert_eq!(pair.sent(), ["PUBCOMP 5 0x92"]);
}

/// With several holders the refusal of one counts, whoever comes last.
#[test]
fn one_refusal_among_several_holders_counts() {
    for refuses_first in [true, false] {
        let mut pair = Pair::connected(resuming(V5));
        let one = pair.queue(&["t"], by_application());
        let two = pair.queue(&["+"], by_application());
        pair.receive("t", "x", AtLeastOnce, 1);
        let deliveries = [pair.take_deliveries(one)[0], pair.take_deliveries(two)[0]];
        let refusal = ReasonCode::QuotaExceeded;
        if refuses_first {
            answer_to(&mut pair, deliveries[0], refusal, explained()).unwrap();
            pair.acknowledge(deliveries[1]);
        } else {
            pair.acknowledge(deliveries[0]);
            answer_to(&mut pair, deliveries[1], refusal, explained()).unwrap();
        }
        let expected = Packet::PubAck(ack(1, refusal, explained()));
        assert_eq!(pair.packets(), [expected], "{refuses_first}");
    }
}

/// MQTT-4.4.0-1: the message comes again, and the answer that was given is sent then.
#[test]
fn the_answer_is_kept_for_the_next_connection() {
    for qos in [AtLeastOnce, ExactlyOnce] {
        let mut pair = Pair::connected(manual(V5));
        let delivery = held(&mut pair, "a", qos, 5);
        pair.cut();
        let refusal = ReasonCode::QuotaExceeded;
        answer_to(&mut pair, delivery, refusal, explained()).unwrap();
        pair.wait_for_transport();
        pair.accept(true, Properties::default());
        assert!(pair.bytes().is_empty());
        pair.server_sends(again("t", "a", qos, 5));
        let ack = ack(5, refusal, explained());
        let expected = match qos {
            ExactlyOnce => Packet::PubRec(ack),
            _ => Packet::PubAck(ack),
        };
        assert_eq!(pair.packets(), [expected]);
        assert!(pair.payloads().is_empty());
    }
}

/// Before 5.0 there is no Reason Code. The message can still be acknowledged.
#[test]
fn before_5_0_there_is_no_reason_code() {
    let mut pair = Pair::connected(manual(V311));
    let delivery = held(&mut pair, "a", AtLeastOnce, 1);
    for reason in [ReasonCode::Success, ReasonCode::QuotaExceeded] {
        let refused = answer_to(&mut pair, delivery, reason, Properties::default());
        assert_eq!(refused, Err(AcknowledgeError::NotInThisVersion));
        assert!(pair.bytes().is_empty());
    }
    pair.acknowledge(delivery);
    assert_eq!(pair.sent(), ["PUBACK 1"]);
}

/// MQTT-3.4.2-1, MQTT-3.5.2-1: codes of other packets, and the server's own, are refused; the message can still be
/// acknowledged.
#[test]
fn codes_that_a_client_must_not_send_are_refused() {
    for qos in [AtLeastOnce, ExactlyOnce] {
        let mut pair = Pair::connected(manual(V5));
        let delivery = held(&mut pair, "a", qos, 1);
        for reason in [
            ReasonCode::NoMatchingSubscribers,
            ReasonCode::GrantedQos1,
            ReasonCode::MalformedPacket,
            ReasonCode::ProtocolError,
            ReasonCode::PacketIdentifierNotFound,
            ReasonCode::PacketTooLarge,
        ] {
            let refused = answer_to(&mut pair, delivery, reason, Properties::default());
            assert_eq!(refused, Err(AcknowledgeError::Reason(reason)));
        }
        assert!(pair.bytes().is_empty());
        pair.acknowledge(delivery);
        assert_eq!(pair.sent().len(), 1);
    }
}

/// Section 3.4.2.2: only Reason String and User Properties belong into an acknowledgement.
#[test]
fn properties_of_other_packets_are_refused() {
    let mut pair = Pair::connected(manual(V5));
    let delivery = held(&mut pair, "a", AtLeastOnce, 1);
    for properties in [
        Properties {
            content_type: Some(text("x")),
            ..Properties::default()
        },
        Properties {
            message_expiry_interval: Some(1),
            ..explained()
        },
        Properties {
            subscription_identifiers: [1].into(),
            ..Properties::default()
        },
        receive_maximum(1),
    ] {
        let refused = answer_to(&mut pair, delivery, ReasonCode::Success, properties);
        assert!(matches!(refused, Err(AcknowledgeError::Property(_))));
    }
    assert!(pair.bytes().is_empty());
    pair.acknowledge(delivery);
    assert_eq!(pair.sent(), ["PUBACK 1"]);
}

/// What was acknowledged before can be answered no more.
#[test]
fn a_stale_delivery_is_harmless() {
    for version in VERSIONS {
        let mut pair = Pair::connected(manual(version));
        let delivery = held(&mut pair, "a", AtLeastOnce, 1);
        pair.acknowledge(delivery);
        pair.bytes();
        let late = answer_to(&mut pair, delivery, ReasonCode::QuotaExceeded, explained());
        assert_eq!(late, Ok(()));
        assert!(pair.bytes().is_empty());
    }
}

/// The packet with all of [`explained`]: fixed header, identifier, code, Property Length, and the properties.
const EXPLAINED_LEN: u32 = 2 + 2 + 1 + 1 + (3 + 7) + 2 * (5 + 2);

/// MQTT-3.4.2-2, MQTT-3.4.2-3, MQTT-3.5.2-2, MQTT-3.5.2-3, MQTT-3.2.2-15: what only explains is left out, the code stays
/// as long as it fits, and the exchange ends in any case. Pitfall 15.
#[test]
fn what_the_servers_maximum_packet_size_has_no_room_for_is_left_out() {
    let refusal = ReasonCode::QuotaExceeded;
    for qos in [AtLeastOnce, ExactlyOnce] {
        for (limit, expected) in [
            (EXPLAINED_LEN, ack(1, refusal, explained())),
            (EXPLAINED_LEN - 1, ack(1, refusal, Properties::default())),
            (5, ack(1, refusal, Properties::default())),
            (4, ack(1, ReasonCode::Success, Properties::default())),
        ] {
            let mut pair = Pair::connected_with(manual(V5), maximum_packet_size(limit));
            let delivery = held(&mut pair, "a", qos, 1);
            answer_to(&mut pair, delivery, refusal, explained()).unwrap();
            let expected = match qos {
                ExactlyOnce => Packet::PubRec(expected),
                _ => Packet::PubAck(expected),
            };
            assert_eq!(pair.packets(), [expected], "{limit}");
        }
    }
}

/// The limit is that of the connection that carries the answer. Pitfall 15.
#[test]
fn the_limit_is_that_of_the_connection_that_carries_the_answer() {
    for (before, after, stays) in [(1_000, 10, false), (10, 1_000, true)] {
        let mut pair = Pair::connected_with(manual(V5), maximum_packet_size(before));
        let delivery = held(&mut pair, "a", AtLeastOnce, 1);
        pair.cut();
        answer_to(&mut pair, delivery, ReasonCode::QuotaExceeded, explained()).unwrap();
        pair.wait_for_transport();
        pair.accept(true, maximum_packet_size(after));
        pair.server_sends(again("t", "a", AtLeastOnce, 1));
        let properties = if stays {
            explained()
        } else {
            Properties::default()
        };
        let expected = Packet::PubAck(ack(1, ReasonCode::QuotaExceeded, properties));
        assert_eq!(pair.packets(), [expected]);
    }
}
