//! Our own Receive Maximum (MQTT 5.0, section 4.9), and the bounds on what a server can make us keep.

use bytes::BytesMut;
use ferromqtt_proto::packet::Packet;
use ferromqtt_proto::{
    Acknowledge, ConnectionError, Options, Overflow, Properties, ProtocolVersion, QoS,
    QueueOptions, ReasonCode,
};

use crate::support::*;

fn announcing(limit: u16) -> Options {
    let mut options = resuming(V5);
    options.properties = receive_maximum(limit);
    options
}

fn announcing_by_application(limit: u16) -> Options {
    let mut options = announcing(limit);
    options.incoming.acknowledge = Acknowledge::ByApplication;
    options
}

fn publish(qos: QoS, packet_id: u16) -> Packet {
    Packet::Publish(message("t", "x", qos, packet_id))
}

fn repeat(qos: QoS, packet_id: u16) -> Packet {
    again("t", "x", qos, packet_id)
}

/// No answer to one of the packets can have left before the last.
fn one_read(pair: &mut Pair, version: ProtocolVersion, packets: &[Packet]) {
    let bytes = in_one_read(version, packets.iter().cloned());
    pair.server_sends_bytes(&bytes);
}

fn assert_exceeded(pair: &mut Pair) {
    let ConnectionError::ProtocolViolation(error) = pair.cause() else {
        panic!("not told as a violation");
    };
    assert_eq!(error.reason, ReasonCode::ReceiveMaximumExceeded);
}

/// MQTT-3.3.4-9. Pitfall 8: exactly as many as announced are fine, at QoS 1 and 2 together; QoS 0 does not count.
#[test]
fn exactly_the_maximum_may_be_under_way() {
    let mut pair = Pair::connected(announcing(3));
    let read = [
        publish(AtLeastOnce, 1),
        publish(AtMostOnce, 0),
        publish(ExactlyOnce, 2),
        publish(AtLeastOnce, 3),
        publish(AtMostOnce, 0),
    ];
    one_read(&mut pair, V5, &read);
    assert_eq!(pair.sent(), ["PUBACK 1", "PUBREC 2", "PUBACK 3"]);
    assert!(pair.client.is_connected());
    assert_eq!(pair.messages().len(), 5);
}

/// MQTT-3.3.4-9. Pitfall 8: an answer that has not left cannot have given its slot back. The good ones are answered.
#[test]
fn one_more_in_one_read_is_one_too_many() {
    for sequence in [
        [AtLeastOnce; 3],
        [ExactlyOnce; 3],
        [AtLeastOnce, ExactlyOnce, AtLeastOnce],
        [ExactlyOnce, AtLeastOnce, ExactlyOnce],
    ] {
        let mut pair = Pair::connected(announcing(2));
        let read: Vec<_> = (1..)
            .zip(sequence)
            .map(|(packet_id, qos)| publish(qos, packet_id))
            .collect();
        one_read(&mut pair, V5, &read);
        let sent = pair.sent();
        assert_eq!(sent.len(), 3, "{sent:?}");
        assert_eq!(sent[2], "DISCONNECT 0x93");
        assert!(sent[..2].iter().all(|it| it.starts_with("PUB")), "{sent:?}");
        assert_exceeded(&mut pair);
        assert_eq!(pair.messages().len(), 2, "the third is not handed out");
    }
}

/// Answers that a transport does not take are no answers.
#[test]
fn an_unsent_puback_takes_its_slot() {
    let mut pair = Pair::connected(announcing(2));
    pair.writable = false;
    pair.server_sends(publish(AtLeastOnce, 1));
    pair.server_sends(publish(AtLeastOnce, 2));
    assert!(pair.client.is_connected());
    pair.writable = true;
    pair.pump();
    pair.writable = false;
    pair.server_sends(publish(AtLeastOnce, 3));
    pair.server_sends(publish(AtLeastOnce, 4));
    assert!(pair.client.is_connected(), "the first two have left");
    pair.server_sends(publish(AtLeastOnce, 5));
    assert!(!pair.client.is_connected());
    assert_exceeded(&mut pair);
}

/// Section 4.9: PUBACK, PUBCOMP, and PUBREC of 0x80 or above give the slot back; PUBREC does not.
#[test]
fn slots_come_back() {
    let mut pair = Pair::connected(announcing(2));
    for _ in 0..1_000 {
        one_read(
            &mut pair,
            V5,
            &[publish(AtLeastOnce, 1), publish(ExactlyOnce, 2)],
        );
        pair.server_sends(publish(AtLeastOnce, 1));
        pair.server_sends(pubrel(2));
        assert!(pair.client.is_connected());
        let expected = ["PUBACK 1", "PUBREC 2", "PUBACK 1", "PUBCOMP 2"];
        assert_eq!(pair.sent(), expected);
    }
    for packet_id in [1, 2] {
        pair.server_sends(publish(ExactlyOnce, packet_id));
    }
    assert_eq!(pair.sent(), ["PUBREC 1", "PUBREC 2"]);
    pair.server_sends(publish(AtLeastOnce, 3));
    assert_eq!(pair.sent(), ["DISCONNECT 0x93"], "PUBREC frees nothing");
}

/// Section 4.9: a slot is free when PUBCOMP has left, not when PUBREL has come.
#[test]
fn an_unsent_pubcomp_takes_its_slot() {
    let mut pair = Pair::connected(announcing(1));
    pair.server_sends(publish(ExactlyOnce, 1));
    one_read(&mut pair, V5, &[pubrel(1), publish(ExactlyOnce, 2)]);
    assert_eq!(pair.sent(), ["PUBREC 1", "PUBCOMP 1", "DISCONNECT 0x93"]);
}

/// Section 4.9: a refusal gives the slot back when it has left.
#[test]
fn an_unsent_refusal_takes_its_slot() {
    for left in [true, false] {
        let mut pair = Pair::connected(announcing_by_application(1));
        pair.server_sends(publish(ExactlyOnce, 1));
        let delivery = pair.messages()[0].delivery.unwrap();
        pair.writable = left;
        let refusal = ReasonCode::QuotaExceeded;
        (pair
            .client
            .acknowledge_with(delivery, refusal, Properties::default()))
        .unwrap();
        pair.pump();
        pair.server_sends(publish(ExactlyOnce, 2));
        assert_eq!(pair.client.is_connected(), left);
    }
}

/// A message that is repeated, and a PUBREL for an unknown identifier, are no further messages.
#[test]
fn repeats_and_unknown_releases_take_no_slot() {
    let mut pair = Pair::connected(announcing(1));
    one_read(
        &mut pair,
        V5,
        &[
            publish(ExactlyOnce, 1),
            repeat(ExactlyOnce, 1),
            repeat(ExactlyOnce, 1),
        ],
    );
    assert_eq!(pair.sent(), ["PUBREC 1"; 3]);
    pair.server_sends(pubrel(1));
    assert_eq!(pair.sent(), ["PUBCOMP 1"]);
    one_read(&mut pair, V5, &[pubrel(9), publish(AtLeastOnce, 1)]);
    assert_eq!(pair.sent(), ["PUBCOMP 9 0x92", "PUBACK 1"]);
}

/// A message that the application holds back takes its slot, at either QoS, until the answer has left.
#[test]
fn what_the_application_holds_takes_its_slot() {
    for qos in [AtLeastOnce, ExactlyOnce] {
        let mut pair = Pair::connected(announcing_by_application(2));
        pair.server_sends(publish(qos, 1));
        pair.server_sends(publish(AtLeastOnce, 2));
        let taken: Vec<_> = (pair.messages().iter())
            .filter_map(|message| message.delivery)
            .collect();
        pair.client.acknowledge(taken[1]); // behind the other one, so it cannot leave
        pair.pump();
        assert!(pair.bytes().is_empty());
        pair.acknowledge(taken[0]);
        if qos == ExactlyOnce {
            assert_eq!(pair.sent(), ["PUBREC 1", "PUBACK 2"]);
            pair.server_sends(pubrel(1));
            assert_eq!(pair.sent(), ["PUBCOMP 1"]);
        } else {
            assert_eq!(pair.sent(), ["PUBACK 1", "PUBACK 2"]);
        }
        pair.server_sends(publish(qos, 3));
        pair.server_sends(publish(AtLeastOnce, 4));
        assert!(pair.client.is_connected());
        pair.server_sends(publish(AtLeastOnce, 5));
        assert_eq!(pair.sent(), ["DISCONNECT 0x93"]);
    }
}

/// This is what bounds a queue that withholds acknowledgements: its limit, and the Receive Maximum beyond it.
#[test]
fn a_waiting_queue_is_bounded_by_it() {
    let mut options = announcing(3);
    options.incoming = QueueOptions {
        limit: Some(2),
        overflow: Overflow::Wait,
        ..QueueOptions::default()
    };
    let mut pair = Pair::connected(options);
    for packet_id in 1..=5 {
        pair.server_sends(publish(AtLeastOnce, packet_id));
    }
    assert_eq!(pair.sent(), ["PUBACK 1", "PUBACK 2"]);
    assert!(pair.client.is_connected());
    pair.server_sends(publish(AtLeastOnce, 6));
    assert_eq!(pair.sent(), ["DISCONNECT 0x93"]);
    assert_eq!(pair.messages().len(), 5);
}

/// MQTT-3.3.4-9: on a new connection the count begins anew, and what comes again counts.
#[test]
fn what_comes_again_takes_a_slot_of_the_new_connection() {
    for qos in [AtLeastOnce, ExactlyOnce] {
        let mut pair = Pair::connected(announcing_by_application(2));
        pair.server_sends(publish(qos, 1));
        pair.server_sends(publish(qos, 2));
        pair.reconnect(true);
        pair.server_sends(publish(AtLeastOnce, 3));
        pair.server_sends(repeat(qos, 1));
        assert!(pair.client.is_connected(), "2 has not come on this one");
        pair.server_sends(repeat(qos, 2));
        assert_eq!(pair.sent(), ["DISCONNECT 0x93"]);
    }
}

/// Section 4.9: the server's send quota is full again on each connection, and PUBREL takes nothing of it. So a server may
/// send as many messages as announced beside the PUBREL that it owes from an earlier connection, before it has PUBCOMP.
#[test]
fn a_pubrel_owed_from_an_earlier_connection_takes_no_slot() {
    let mut pair = Pair::connected(announcing(1));
    pair.server_sends(publish(ExactlyOnce, 1));
    pair.bytes();
    pair.reconnect(true);
    one_read(&mut pair, V5, &[pubrel(1), publish(AtLeastOnce, 2)]);
    assert_eq!(pair.sent(), ["PUBCOMP 1", "PUBACK 2"]);
    assert!(pair.client.is_connected());
}

/// Section 3.1.2.11.3: without the property it is 65,535. 3.1.1 has as many Packet Identifiers, and so as many messages.
#[test]
fn without_a_maximum_every_packet_identifier_may_be_under_way() {
    for version in VERSIONS {
        for qos in [AtLeastOnce, ExactlyOnce] {
            let mut pair = Pair::connected(options(version));
            pair.writable = false;
            let all: Vec<_> = (1..=u16::MAX)
                .map(|packet_id| publish(qos, packet_id))
                .collect();
            one_read(&mut pair, version, &all);
            assert!(pair.client.is_connected());
            assert_eq!(pair.messages().len(), usize::from(u16::MAX));
            pair.writable = true;
            pair.pump();
            assert_eq!(pair.packets().len(), usize::from(u16::MAX));
        }
    }
}

/// Plays a server that reads nothing and sends `packet` again and again: how many it takes until the client ends the
/// connection, and in how much memory.
fn flood(version: ProtocolVersion, options: Options, prepare: &[Packet], packet: &Packet) {
    const AT_ONCE: usize = 10_000;
    const MOST_PACKETS: usize = 300_000; // more than four kinds of answer for each Packet Identifier
    const MOST_BYTES: usize = 2 << 20;
    let mut pair = Pair::connected(options);
    one_read(&mut pair, version, prepare);
    pair.writable = false;
    let mut bytes = BytesMut::new();
    packet.encode(version, &mut bytes);
    let read = bytes.repeat(AT_ONCE);
    for _ in 0..MOST_PACKETS / AT_ONCE {
        pair.server_sends_bytes(&read);
        assert!(pair.client.pending_transmit() < MOST_BYTES);
    }
    assert!(!pair.client.is_connected(), "{packet:?}");
    assert_exceeded(&mut pair);
    let pending = pair.client.pending_transmit();
    pair.server_sends_bytes(&read);
    assert_eq!(pair.client.pending_transmit(), pending, "it reads no more");
    assert!(pair.messages().len() <= usize::from(u16::MAX));
    pair.writable = true;
    pair.pump();
    assert!(!pair.link_is_up());
    let disconnects = (pair.sent().iter())
        .filter(|it| it.starts_with("DISCONNECT"))
        .cloned()
        .collect::<Vec<_>>();
    let expected: &[&str] = match version {
        V5 => &["DISCONNECT 0x93"],
        _ => &[], // 3.1.1 has no such packet from a client: the connection is closed
    };
    assert_eq!(disconnects, expected);
}

/// Answers to a server that does not read them would pile up without bound. Pitfall 8.
#[test]
fn a_server_that_floods_and_never_reads_is_cut_off() {
    for version in VERSIONS {
        flood(version, options(version), &[], &pubrel(1));
        flood(version, options(version), &[], &pubrec(1));
        let first = [publish(ExactlyOnce, 1)];
        flood(version, options(version), &first, &repeat(ExactlyOnce, 1));
        flood(version, options(version), &[], &publish(AtLeastOnce, 1));
    }
}

/// A held message has no answer yet, so its repeats cost nothing: neither memory nor the connection.
#[test]
fn repeats_of_a_held_message_cost_nothing() {
    for version in VERSIONS {
        let mut options = options(version);
        options.incoming.acknowledge = Acknowledge::ByApplication;
        let mut pair = Pair::connected(options);
        pair.writable = false;
        pair.server_sends(publish(ExactlyOnce, 1));
        let repeats = vec![repeat(ExactlyOnce, 1); 10_000];
        for _ in 0..3 {
            one_read(&mut pair, version, &repeats);
        }
        assert!(pair.client.is_connected());
        assert_eq!(pair.client.pending_transmit(), 0);
        let messages = pair.messages();
        assert_eq!(messages.len(), 1);
        pair.client.acknowledge(messages[0].delivery.unwrap());
        pair.writable = true;
        pair.pump();
        assert_eq!(pair.sent(), ["PUBREC 1"]);
    }
}

/// The same when another message is held before it: the repeats wait as one.
#[test]
fn repeats_behind_a_held_message_are_answered_as_one() {
    for version in VERSIONS {
        let mut pair = Pair::connected(resuming(version));
        let own = pair.client.open_queue(QueueOptions {
            acknowledge: Acknowledge::ByApplication,
            ..QueueOptions::default()
        });
        pair.subscribe_to(&["held"], own);
        pair.server_sends(publish(ExactlyOnce, 2));
        pair.bytes();
        pair.server_sends(Packet::Publish(message("held", "x", AtLeastOnce, 1)));
        let repeats = vec![repeat(ExactlyOnce, 2); 10_000];
        for _ in 0..3 {
            one_read(&mut pair, version, &repeats);
        }
        assert!(pair.client.is_connected());
        assert!(pair.bytes().is_empty());
        let held = pair.messages_of(own).remove(0).delivery.unwrap();
        pair.acknowledge(held);
        assert_eq!(pair.sent(), ["PUBACK 1", "PUBREC 2"]);
        assert_eq!(pair.messages().len(), 1);
    }
}

/// MQTT-3.3.4-9: a server that releases a message before it has PUBREC cannot use that to send more than the Receive
/// Maximum while the application holds what it has got.
#[test]
fn releasing_early_does_not_get_round_the_maximum() {
    let mut pair = Pair::connected(announcing_by_application(2));
    for _ in 0..100 {
        if pair.client.is_connected() {
            pair.server_sends(publish(ExactlyOnce, 1));
        }
        if pair.client.is_connected() {
            pair.server_sends(pubrel(1));
        }
    }
    let held = pair.messages().len();
    assert!(held <= 2, "{held} messages are held");
}
