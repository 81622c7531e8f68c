//! Records of packets: each one that goes by, in order, and nothing of what is secret.

use bytes::Bytes;
use ferromqtt_proto::packet::{Ack, ConnAck, Packet};
use ferromqtt_proto::{
    Direction, Event, Options, Outcome, PacketRecord, Properties, ProtocolVersion, Publish,
    ReasonCode, TopicName, Will,
};

use crate::support::*;

const SECRET: &str = "s3cret";

fn traced(options: Options) -> Pair {
    let mut pair = Pair::new(options);
    pair.client.set_packet_trace(true);
    pair.connect();
    pair.accept(false, Properties::default());
    pair
}

fn records(pair: &mut Pair) -> Vec<PacketRecord> {
    std::iter::from_fn(|| pair.client.poll_packet()).collect()
}

fn lines(pair: &mut Pair) -> Vec<String> {
    records(pair).iter().map(ToString::to_string).collect()
}

/// What both versions say in the same way.
fn play(version: ProtocolVersion) -> Vec<String> {
    let mut pair = traced(options(version));
    pair.subscribe(&["a", "b"]);
    pair.server_sends(suback(
        1,
        &[ReasonCode::GrantedQos1, ReasonCode::UnspecifiedError],
    ));
    pair.publish("t", "payload", AtMostOnce);
    let mut kept = Publish::new(TopicName::new("a/b").unwrap(), "payload");
    kept.qos = AtLeastOnce;
    kept.retain = true;
    pair.client.publish(pair.now, kept).unwrap();
    pair.pump();
    pair.server_sends(puback(2));
    pair.publish("t", "", ExactlyOnce);
    pair.server_sends(pubrec(3));
    pair.server_sends(pubcomp(3));
    pair.server_sends(Packet::Publish(message("came", "xyz", ExactlyOnce, 9)));
    pair.server_sends(pubrel(9));
    pair.unsubscribe(&["a"]);
    pair.server_sends(unsuback(4, &[ReasonCode::Success]));
    pair.server_sends(Packet::PingResp);
    pair.client
        .disconnect(pair.now, ferromqtt_proto::packet::Disconnect::normal());
    pair.pump();
    lines(&mut pair)
}

#[test]
fn each_packet_has_a_line_in_the_order_in_which_they_go_by() {
    assert_eq!(
        play(V311),
        [
            "sent CONNECT (16 bytes)",
            "received CONNACK (4 bytes, 0x00 Success)",
            "sent SUBSCRIBE (12 bytes, id 1)",
            "received SUBACK (6 bytes, id 1, 0x80 Unspecified error)",
            "sent PUBLISH (12 bytes, QoS 0, topic \"t\", payload 7 bytes)",
            "sent PUBLISH (16 bytes, id 2, QoS 1, RETAIN, topic \"a/b\", payload 7 bytes)",
            "received PUBACK (4 bytes, id 2)",
            "sent PUBLISH (7 bytes, id 3, QoS 2, topic \"t\", payload 0 bytes)",
            "received PUBREC (4 bytes, id 3)",
            "sent PUBREL (4 bytes, id 3)",
            "received PUBCOMP (4 bytes, id 3)",
            "received PUBLISH (13 bytes, id 9, QoS 2, topic \"came\", payload 3 bytes)",
            "sent PUBREC (4 bytes, id 9)",
            "received PUBREL (4 bytes, id 9)",
            "sent PUBCOMP (4 bytes, id 9)",
            "sent UNSUBSCRIBE (7 bytes, id 4)",
            "received UNSUBACK (4 bytes, id 4)",
            "received PINGRESP (2 bytes)",
            "sent DISCONNECT (2 bytes)",
        ]
    );
    assert_eq!(
        play(V5),
        [
            "sent CONNECT (17 bytes)",
            "received CONNACK (5 bytes, 0x00 Success)",
            "sent SUBSCRIBE (13 bytes, id 1)",
            "received SUBACK (7 bytes, id 1, 0x80 Unspecified error)",
            "sent PUBLISH (13 bytes, QoS 0, topic \"t\", payload 7 bytes)",
            "sent PUBLISH (17 bytes, id 2, QoS 1, RETAIN, topic \"a/b\", payload 7 bytes)",
            "received PUBACK (4 bytes, id 2, 0x00 Success)",
            "sent PUBLISH (8 bytes, id 3, QoS 2, topic \"t\", payload 0 bytes)",
            "received PUBREC (4 bytes, id 3, 0x00 Success)",
            "sent PUBREL (4 bytes, id 3, 0x00 Success)",
            "received PUBCOMP (4 bytes, id 3, 0x00 Success)",
            "received PUBLISH (14 bytes, id 9, QoS 2, topic \"came\", payload 3 bytes)",
            "sent PUBREC (4 bytes, id 9, 0x00 Success)",
            "received PUBREL (4 bytes, id 9, 0x00 Success)",
            "sent PUBCOMP (4 bytes, id 9, 0x00 Success)",
            "sent UNSUBSCRIBE (8 bytes, id 4)",
            "received UNSUBACK (6 bytes, id 4, 0x00 Success)",
            "received PINGRESP (2 bytes)",
            "sent DISCONNECT (2 bytes, 0x00 Normal disconnection)",
        ]
    );
}

#[test]
fn what_a_server_refuses_has_its_reason_code() {
    let mut pair = traced(options(V5));
    pair.publish("t", "", AtLeastOnce);
    lines(&mut pair);
    let refusal = Ack::new(id(1), ReasonCode::QuotaExceeded);
    pair.server_sends(Packet::PubAck(refusal));
    pair.server_sends(disconnect(ReasonCode::ServerBusy));
    assert_eq!(
        lines(&mut pair),
        [
            "received PUBACK (5 bytes, id 1, 0x97 Quota exceeded)",
            "received DISCONNECT (3 bytes, 0x89 Server busy)",
        ]
    );
    for version in [V31, V311] {
        let mut pair = Pair::new(options(version));
        pair.client.set_packet_trace(true);
        pair.connect();
        lines(&mut pair);
        pair.server_sends(refused(ReasonCode::NotAuthorized));
        assert_eq!(
            lines(&mut pair),
            ["received CONNACK (4 bytes, 0x87 Not authorized)"]
        );
    }
}

/// However the transport cuts what it is given.
#[test]
fn a_packet_has_one_record_in_whatever_pieces_it_leaves() {
    for limit in [1, 2, 3, 7, 4_096, usize::MAX] {
        let mut pair = traced(resuming(V5));
        records(&mut pair);
        pair.writable = false;
        for length in [0, 1, 100, 5_000, 200_000] {
            for qos in [AtMostOnce, AtLeastOnce] {
                let payload = "x".repeat(length);
                let mut publish = Publish::new(TopicName::new("a/b").unwrap(), payload);
                publish.qos = qos;
                publish.properties = Some(Box::new(Properties {
                    content_type: Some(text(&"text/plain".repeat(20))),
                    ..Properties::default()
                }));
                pair.client.publish(pair.now, publish).unwrap();
            }
        }
        while pair.client.poll_transmit_up_to(pair.now, limit).is_some() {}
        let lengths: Vec<_> = (records(&mut pair).into_iter())
            .map(|record| {
                let publish = record.publish.unwrap();
                assert_eq!(
                    (record.direction, &*publish.topic),
                    (Direction::Sent, "a/b")
                );
                assert_eq!(record.packet_id.is_some(), publish.qos == AtLeastOnce);
                publish.payload_len
            })
            .collect();
        let expected = [0, 0, 1, 1, 100, 100, 5_000, 5_000, 200_000, 200_000];
        assert_eq!(lengths, expected, "{limit}");
    }
}

#[test]
fn a_resend_is_marked_dup() {
    let mut pair = Pair::new(resuming(V5));
    pair.client.set_packet_trace(true);
    pair.connect();
    pair.accept(false, Properties::default());
    pair.publish("t", "", AtLeastOnce);
    pair.cut();
    records(&mut pair);
    pair.wait_for_transport();
    pair.accept(true, Properties::default());
    assert_eq!(
        lines(&mut pair).last().unwrap(),
        "sent PUBLISH (8 bytes, id 1, QoS 1, DUP, topic \"t\", payload 0 bytes)"
    );
}

#[test]
fn records_show_neither_payloads_nor_what_authenticates() {
    for version in VERSIONS {
        let mut options = options(version);
        options.user_name = Some(text("you"));
        options.password = Some(Bytes::from(SECRET));
        options.will = Some(Will {
            topic: text("gone"),
            payload: Bytes::from(SECRET),
            qos: AtMostOnce,
            retain: false,
            properties: Properties::default(),
        });
        let mut answer = Properties::default();
        if version.is_v5() {
            options.properties.authentication_method = Some(text("M"));
            options.properties.authentication_data = Some(Bytes::from(SECRET));
            answer.authentication_method = Some(text("M"));
            answer.authentication_data = Some(Bytes::from(SECRET));
        }
        let mut pair = Pair::new(options);
        pair.client.set_packet_trace(true);
        pair.connect();
        pair.server_sends(Packet::ConnAck(Box::new(ConnAck {
            session_present: false,
            reason: ReasonCode::Success,
            properties: answer,
        })));
        assert!(pair.client.is_connected());
        pair.publish("t", SECRET, AtLeastOnce);
        let came = message("t", SECRET, AtLeastOnce, 1);
        pair.server_sends(Packet::Publish(came));
        let records = records(&mut pair);
        assert!(records.len() >= 5);
        for record in records {
            let shown = format!("{record} {record:?}");
            assert!(!shown.contains(SECRET) && !shown.contains("you"), "{shown}");
        }
    }
}

#[test]
fn without_being_asked_there_are_no_records() {
    let mut pair = Pair::connected(options(V5));
    pair.publish("t", "x", AtMostOnce);
    assert_eq!(pair.client.poll_packet(), None);
    pair.client.set_packet_trace(true);
    pair.publish("t", "x", AtMostOnce);
    assert!(pair.client.poll_packet().is_some());
    pair.client.set_packet_trace(false);
    assert_eq!(pair.client.poll_packet(), None);
}

#[test]
fn what_nobody_takes_is_bounded_and_counted() {
    const PUBLISHES: u64 = 40_000;
    let mut pair = traced(options(V5));
    records(&mut pair);
    for _ in 0..PUBLISHES {
        let publish = Publish::new(TopicName::new("t").unwrap(), "");
        pair.client.publish(pair.now, publish).unwrap();
        while pair.client.poll_transmit(pair.now).is_some() {}
    }
    let sent = (std::iter::from_fn(|| pair.client.poll_event())).filter(|event| {
        matches!(
            event,
            Event::Completed {
                outcome: Outcome::Sent,
                ..
            }
        )
    });
    assert_eq!(sent.count() as u64, PUBLISHES);
    let kept = records(&mut pair).len() as u64;
    assert_eq!(kept, 32_768);
    assert_eq!(pair.client.take_untraced(), PUBLISHES - kept);
    assert_eq!(pair.client.take_untraced(), 0);
}
