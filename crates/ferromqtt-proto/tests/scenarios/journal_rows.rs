//! Two rows of entries, one for messages sent and one for messages received: which entries hold which packets.

use ferromqtt_proto::packet::Disconnect;
use ferromqtt_proto::{Direction, Outcome, Session, SessionChange};

use crate::support::store::*;
use crate::support::*;

/// The kinds of the entries that the store was given since, with whether each holds a packet.
fn kinds(store: &Store, from: usize) -> Vec<(&'static str, bool)> {
    let kind = |change: &SessionChange| match change {
        SessionChange::Accepted { .. } => "Accepted",
        SessionChange::Publishing { .. } => "Publishing",
        SessionChange::Sending { .. } => "Sending",
        SessionChange::Releasing { .. } => "Releasing",
        SessionChange::Finished { .. } => "Finished",
        SessionChange::Received { .. } => "Received",
        SessionChange::Released { .. } => "Released",
        SessionChange::SessionLost { .. } => "SessionLost",
        SessionChange::Connecting => "Connecting",
        SessionChange::Resumed => "Resumed",
        other => panic!("{other:?}"),
    };
    let entries = store.entries[from..].iter();
    entries
        .map(|entry| (kind(&entry.change), entry.holds))
        .collect()
}

#[test]
fn an_entry_says_whether_a_packet_waits_for_it() {
    for version in VERSIONS {
        let (mut pair, mut store) = connected(journaled(version));
        let from = store.entries.len();
        for (payload, qos) in [("a", AtLeastOnce), ("b", ExactlyOnce)] {
            let mut message = publish(payload, qos);
            let key = pair.client.record_accepted(&mut message, None, false);
            let now = pair.now;
            (pair.client)
                .publish_recorded(now, key.unwrap(), message, None)
                .unwrap();
            pair.publish("t", "c", qos);
            store.write(&mut pair);
        }
        for packet in [puback(1), puback(2), pubrec(3), pubcomp(3)] {
            pair.server_sends(packet);
            store.write(&mut pair);
        }
        pair.receive("t", "x", ExactlyOnce, 9);
        pair.receive("t", "y", ExactlyOnce, 10);
        store.write(&mut pair);
        pair.server_sends(pubrel(9));
        store.write(&mut pair);
        pair.bytes();
        pair.cut();
        pair.wait_for_transport();
        store.write(&mut pair);
        pair.accept(true, Default::default());
        store.write(&mut pair);
        let expected = [
            ("Accepted", false),
            ("Sending", false),
            ("Publishing", true),
            ("Accepted", false),
            ("Sending", true),
            ("Publishing", true),
            ("Finished", false),
            ("Finished", false),
            ("Releasing", true),
            ("Finished", false),
            ("Received", true),
            ("Received", true),
            ("Released", true),
            ("Connecting", true),
            ("Resumed", false),
        ];
        assert_eq!(kinds(&store, from), expected);
    }
}

/// A server keeps no state for QoS 1, and nobody learns that a message is stored before it is.
#[test]
fn a_recorded_message_of_qos_1_leaves_before_its_record() {
    for version in VERSIONS {
        let (mut pair, mut store) = connected(journaled(version));
        let mut message = publish("a", AtLeastOnce);
        let key = pair
            .client
            .record_accepted(&mut message, None, false)
            .unwrap();
        (pair.client)
            .publish_recorded(pair.now, key, message, None)
            .unwrap();
        pair.pump();
        assert_eq!(pair.sent(), ["PUBLISH q1 1 a"]);
        pair.server_sends(puback(1));
        let changes = store.collect(&mut pair);
        assert_eq!(changes.last(), Some(&SessionChange::Finished { key }));
        // Whatever of it was written when the process ends, it is sent again or never.
        for count in 0..=store.entries.len() {
            let mut pair = resumed(journaled(version), store.session(count));
            let sent = pair.sent();
            assert!(
                sent.is_empty() || sent == ["PUBLISH q1 1 DUP a"],
                "{sent:?}"
            );
        }
    }
}

#[test]
fn each_direction_has_numbers_and_a_mark_of_its_own() {
    for version in VERSIONS {
        let (mut pair, mut store) = connected(journaled(version));
        let start = DIRECTIONS.map(|direction| store.last(direction).unwrap());
        pair.publish("t", "a", ExactlyOnce);
        pair.receive("t", "x", ExactlyOnce, 9);
        pair.publish("t", "b", ExactlyOnce);
        store.collect(&mut pair);
        let ends = DIRECTIONS.map(|direction| store.last(direction).unwrap());
        assert_eq!(ends, [start[0] + 2, start[1] + 1]);
        assert_eq!(
            DIRECTIONS.map(|direction| pair.client.journal_end(direction)),
            ends
        );
        assert_eq!(pair.client.held_packets(), 3);
        assert!(pair.bytes().is_empty());
        pair.client.journal_written(Direction::Received, ends[1]);
        pair.pump();
        assert_eq!(pair.sent(), ["PUBREC 9"]);
        pair.client.journal_written(Direction::Sent, ends[0] - 1);
        pair.pump();
        assert_eq!(pair.sent(), ["PUBLISH q2 1 a"]);
        pair.client.journal_written(Direction::Sent, ends[0]);
        pair.pump();
        assert_eq!(pair.sent(), ["PUBLISH q2 2 b"]);
        assert_eq!(pair.client.held_packets(), 0);
    }
}

/// Two stores know nothing of each other: their entries may be read in any order, and end anywhere.
#[test]
fn a_session_is_restored_from_two_rows_with_unequal_ends() {
    for version in VERSIONS {
        let (mut pair, mut store) = connected(journaled(version));
        pair.publish("t", "a", ExactlyOnce);
        pair.receive("t", "x", ExactlyOnce, 9);
        store.write(&mut pair);
        pair.server_sends(pubrec(1));
        pair.server_sends(pubrel(9));
        store.write(&mut pair);
        let row = |direction| {
            let entries = store.entries.iter().cloned();
            entries.filter(move |entry| entry.direction() == direction)
        };
        let (sent, received) = (row(Direction::Sent), row(Direction::Received));
        let (all_sent, all_received) = (sent.clone().count(), received.clone().count());
        for of_sent in 0..=all_sent {
            for of_received in 0..=all_received {
                let entries = received.clone().take(of_received);
                let entries = entries.chain(sent.clone().take(of_sent));
                let mut pair = resumed(journaled(version), restore(entries));
                let expected = match all_sent - of_sent {
                    0 => vec!["PUBREL 1"],
                    1 => vec!["PUBLISH q2 1 DUP a"],
                    _ => vec![],
                };
                assert_eq!(pair.sent(), expected);
                pair.server_sends(again("t", "x", ExactlyOnce, 9));
                let is_known = of_received + 1 == all_received;
                assert_eq!(pair.payloads().is_empty(), is_known);
            }
        }
    }
}

/// A stalled store stops neither keep-alive nor what needs no record (MQTT-3.1.2-23; 3.1.1: MQTT-3.1.2-23).
#[test]
fn what_needs_no_record_passes_what_waits_for_a_store() {
    for version in VERSIONS {
        let mut options = journaled(version);
        options.keep_alive = 10;
        let (mut pair, mut store) = connected(options);
        pair.publish("t", "held", ExactlyOnce);
        pair.receive("t", "x", ExactlyOnce, 9);
        pair.receive("t", "y", AtLeastOnce, 10);
        pair.subscribe(&["s"]);
        pair.server_sends(pubrel(9));
        pair.advance(10 * SECOND);
        assert_eq!(pair.sent(), ["PUBACK 10", "SUBSCRIBE 2 s", "PINGREQ"]);
        pair.server_sends(ferromqtt_proto::packet::Packet::PingResp);
        pair.advance(10 * SECOND);
        assert_eq!(pair.sent(), ["PINGREQ"]);
        assert!(pair.client.is_connected());
        pair.server_sends(ferromqtt_proto::packet::Packet::PingResp);
        store.write(&mut pair);
        let sent = pair.sent();
        assert_eq!(sent, ["PUBLISH q2 1 held", "PUBREC 9", "PUBCOMP 9"]);
    }
}

/// MQTT-4.6.0-1, MQTT-4.6.0-3; 3.1.1: MQTT-4.6.0-1, MQTT-4.6.0-3: no PUBLISH overtakes one that waits, and no PUBREC.
#[test]
fn publishes_and_pubrecs_keep_their_order_while_a_store_is_slow() {
    for version in VERSIONS {
        let (mut pair, mut store) = connected(journaled(version));
        pair.publish("t", "a", ExactlyOnce);
        let mut message = publish("b", AtLeastOnce);
        let key = pair
            .client
            .record_accepted(&mut message, None, false)
            .unwrap();
        (pair.client)
            .publish_recorded(pair.now, key, message, None)
            .unwrap();
        pair.publish("t", "c", AtMostOnce);
        pair.publish("t", "d", ExactlyOnce);
        for id in [9, 7, 8] {
            pair.receive("t", "x", ExactlyOnce, id);
        }
        assert!(pair.bytes().is_empty());
        store.write(&mut pair);
        store.write(&mut pair); // d is recorded behind c, which has no record
        let (publishes, pubrecs): (Vec<_>, Vec<_>) =
            (pair.sent().into_iter()).partition(|packet| packet.starts_with("PUBLISH"));
        let expected = [
            "PUBLISH q2 1 a",
            "PUBLISH q1 2 b",
            "PUBLISH q0 c",
            "PUBLISH q2 3 d",
        ];
        assert_eq!(publishes, expected);
        assert_eq!(pubrecs, ["PUBREC 9", "PUBREC 7", "PUBREC 8"]);
    }
}

/// One write of the store serves all messages that the server's Receive Maximum allows.
#[test]
fn messages_are_recorded_ahead_of_a_slow_store() {
    let (mut pair, mut store) = connected(journaled(V5));
    for payload in ["a", "b", "c"] {
        pair.publish("t", payload, ExactlyOnce);
    }
    assert_eq!(store.write(&mut pair).len(), 3);
    let expected = ["PUBLISH q2 1 a", "PUBLISH q2 2 b", "PUBLISH q2 3 c"];
    assert_eq!(pair.sent(), expected);
}

/// What a connection holds when it ends was never sent.
#[test]
fn disconnect_passes_what_waits_for_a_store() {
    for version in VERSIONS {
        let (mut pair, mut store) = connected(journaled(version));
        let op = pair.publish("t", "a", ExactlyOnce);
        pair.receive("t", "x", ExactlyOnce, 9);
        pair.client.disconnect(pair.now, Disconnect::normal());
        pair.pump();
        assert_eq!(pair.sent(), ["DISCONNECT 0x00"]);
        assert!(pair.client.is_idle());
        let delivery = ferromqtt_proto::Delivery::NotSent;
        assert!(matches!(
            pair.outcome(op),
            Outcome::Disconnected { delivery: it, .. } if it == delivery
        ));
        let changes = store.collect(&mut pair);
        assert!(matches!(
            changes.last(),
            Some(SessionChange::Finished { .. })
        ));
        store.write(&mut pair); // too late for all of them
        assert!(pair.bytes().is_empty());
    }
}

/// A message that a store has is on its way again with the next client, and was not sent by this one (MQTT-3.3.1-1).
#[test]
fn a_client_that_ends_takes_back_what_it_holds() {
    let (mut pair, mut store) = connected(journaled(V5));
    let mut message = publish("a", ExactlyOnce);
    let key = pair
        .client
        .record_accepted(&mut message, None, false)
        .unwrap();
    (pair.client)
        .publish_recorded(pair.now, key, message, None)
        .unwrap();
    pair.pump();
    store.collect(&mut pair);
    let session: Session = pair.client.into_session();
    let mut pair = resumed_on(journaled(V5), session, &mut store);
    store.write(&mut pair);
    assert_eq!(pair.sent(), ["PUBLISH q2 2 a"], "without DUP");
}

/// The interval that is sent is what is left when it leaves, and a message that is over by then does not.
#[test]
fn a_message_may_expire_while_its_record_is_awaited() {
    let (mut pair, mut store) = connected(journaled(V5));
    let mut message = publish("a", ExactlyOnce);
    message.properties = Some(Box::new(ferromqtt_proto::Properties {
        message_expiry_interval: Some(10),
        ..Default::default()
    }));
    let ops = [20, 4].map(|seconds| {
        let properties = message.properties.as_mut().unwrap();
        properties.message_expiry_interval = Some(seconds);
        pair.client.publish(pair.now, message.clone()).unwrap()
    });
    pair.pump();
    pair.advance(5 * SECOND);
    store.write(&mut pair);
    let packets = pair.packets();
    let [ferromqtt_proto::packet::Packet::Publish(sent)] = &packets[..] else {
        panic!("{packets:?}");
    };
    let interval = sent.properties.as_ref().unwrap().message_expiry_interval;
    assert_eq!(interval, Some(15));
    assert_eq!(pair.outcome(ops[1]), Outcome::Expired);
    assert!(matches!(
        store.collect(&mut pair)[..],
        [SessionChange::Finished { .. }]
    ));
}
