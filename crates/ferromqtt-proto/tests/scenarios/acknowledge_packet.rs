//! Messages that the application acknowledges by Packet Identifier, on the connection that they came on, and the report of a
//! server that waits for it.

use std::time::Duration;

use ferromqtt_proto::{Acknowledge, Event, Options, ProtocolVersion, QoS, QueueId, QueueOptions};

use crate::support::*;

const DEFAULT: QueueId = QueueId::DEFAULT;

/// A client that resumes, and whose default queue is acknowledged by the application.
fn manual(version: ProtocolVersion) -> Options {
    let mut options = resuming(version);
    options.incoming = by_application();
    options
}

/// Takes what is in the default queue and hands it over.
fn take(pair: &mut Pair) -> Vec<String> {
    let messages = pair.messages();
    for delivery in messages.iter().filter_map(|message| message.delivery) {
        pair.client.hand_over(delivery);
    }
    let payload =
        |message: &ferromqtt_proto::Message| String::from_utf8_lossy(&message.payload).into_owned();
    messages.iter().map(payload).collect()
}

fn acknowledge(pair: &mut Pair, packet_id: u16, qos: QoS) -> bool {
    let known = pair.client.acknowledge_packet(id(packet_id), qos);
    pair.pump();
    known
}

/// MQTT-4.6.0-2, MQTT-4.6.0-3; 3.1.1: MQTT-4.6.0-2, MQTT-4.6.0-3.
#[test]
fn acknowledgements_by_identifier_leave_in_order_of_receipt() {
    for version in VERSIONS {
        let mut pair = Pair::connected(manual(version));
        pair.receive("t", "a", AtLeastOnce, 7);
        pair.receive("t", "b", ExactlyOnce, 8);
        pair.receive("t", "c", AtLeastOnce, 9);
        assert_eq!(take(&mut pair), ["a", "b", "c"]);
        assert!(acknowledge(&mut pair, 9, AtLeastOnce));
        assert!(acknowledge(&mut pair, 8, ExactlyOnce));
        assert!(pair.bytes().is_empty());
        assert!(acknowledge(&mut pair, 7, AtLeastOnce));
        assert_eq!(pair.sent(), ["PUBACK 7", "PUBREC 8", "PUBACK 9"]);
    }
}

#[test]
fn an_acknowledgement_of_what_is_unknown_not_taken_or_of_another_qos_is_harmless() {
    for version in VERSIONS {
        let mut pair = Pair::connected(manual(version));
        pair.receive("t", "a", AtLeastOnce, 7);
        assert!(!acknowledge(&mut pair, 7, AtLeastOnce), "not taken");
        take(&mut pair);
        assert!(!acknowledge(&mut pair, 8, AtLeastOnce), "unknown");
        assert!(!acknowledge(&mut pair, 7, ExactlyOnce), "of another QoS");
        assert!(!acknowledge(&mut pair, 7, AtMostOnce), "of another QoS");
        assert!(pair.bytes().is_empty());
        assert!(acknowledge(&mut pair, 7, AtLeastOnce));
        assert!(!acknowledge(&mut pair, 7, AtLeastOnce), "twice");
        assert_eq!(pair.sent(), ["PUBACK 7"]);
    }
}

/// MQTT-4.4.0-1; 3.1.1: MQTT-4.4.0-1: the server sends it again, and it is handed out again.
#[test]
fn what_was_handed_over_and_not_acknowledged_is_handed_out_again_after_a_reconnect() {
    for version in VERSIONS {
        for qos in [AtLeastOnce, ExactlyOnce] {
            let mut pair = Pair::connected(manual(version));
            pair.receive("t", "a", qos, 5);
            pair.receive("t", "b", qos, 6);
            assert_eq!(take(&mut pair), ["a", "b"]);
            pair.reconnect(true);
            assert!(!acknowledge(&mut pair, 5, qos), "nothing came yet");
            pair.server_sends(again("t", "a", qos, 5));
            assert!(!acknowledge(&mut pair, 5, qos), "it was not taken again");
            pair.server_sends(again("t", "b", qos, 6));
            assert_eq!(take(&mut pair), ["a", "b"]);
            assert!(pair.bytes().is_empty());
            assert!(acknowledge(&mut pair, 5, qos));
            assert!(acknowledge(&mut pair, 6, qos));
            let packet = if qos == ExactlyOnce {
                "PUBREC"
            } else {
                "PUBACK"
            };
            assert_eq!(pair.sent(), [format!("{packet} 5"), format!("{packet} 6")]);
        }
    }
}

/// What the application acknowledged before the connection ended is answered, and not handed out again.
#[test]
fn what_was_acknowledged_behind_another_is_not_handed_out_again() {
    for version in VERSIONS {
        for qos in [AtLeastOnce, ExactlyOnce] {
            let mut pair = Pair::connected(manual(version));
            pair.receive("t", "a", qos, 5);
            pair.receive("t", "b", qos, 6);
            take(&mut pair);
            acknowledge(&mut pair, 6, qos);
            assert!(pair.bytes().is_empty(), "the first one holds it up");
            pair.reconnect(true);
            pair.server_sends(again("t", "a", qos, 5));
            pair.server_sends(again("t", "b", qos, 6));
            assert_eq!(take(&mut pair), ["a"]);
            acknowledge(&mut pair, 5, qos);
            assert_eq!(pair.sent().len(), 2);
        }
    }
}

/// A queue outlives its connection, so a message may be taken when nothing can acknowledge it.
#[test]
fn what_is_taken_while_there_is_no_connection_is_handed_out_again_when_it_comes_again() {
    for version in VERSIONS {
        for qos in [AtLeastOnce, ExactlyOnce] {
            let mut pair = Pair::connected(manual(version));
            pair.receive("t", "a", qos, 5);
            pair.receive("t", "b", qos, 6);
            pair.receive("t", "not taken", qos, 7);
            pair.cut();
            let taken = pair.take(DEFAULT).delivery.unwrap();
            pair.client.hand_over(taken);
            assert!(!acknowledge(&mut pair, 5, qos), "there is no connection");
            pair.wait_for_transport();
            let taken = pair.take(DEFAULT).delivery.unwrap();
            pair.client.hand_over(taken);
            assert!(!acknowledge(&mut pair, 6, qos), "it is not accepted");
            pair.accept(true, ferromqtt_proto::Properties::default());
            pair.server_sends(again("t", "a", qos, 5));
            pair.server_sends(again("t", "b", qos, 6));
            pair.server_sends(again("t", "not taken", qos, 7));
            assert_eq!(take(&mut pair), ["not taken", "a", "b"]);
            pair.packets();
            for packet_id in [5, 6, 7] {
                assert!(acknowledge(&mut pair, packet_id, qos));
            }
            assert_eq!(pair.sent().len(), 3);
        }
    }
}

/// Each that has taken the message acknowledges it.
#[test]
fn a_message_that_two_queues_hold_is_acknowledged_by_both() {
    for version in VERSIONS {
        let mut pair = Pair::connected(manual(version));
        let queues = [
            pair.queue(&["t"], by_application()),
            pair.queue(&["+"], by_application()),
        ];
        pair.packets();
        pair.receive("t", "x", AtLeastOnce, 7);
        for queue in queues {
            for delivery in pair.take_deliveries(queue) {
                pair.client.hand_over(delivery);
            }
        }
        assert!(acknowledge(&mut pair, 7, AtLeastOnce));
        assert!(pair.bytes().is_empty(), "the other one works on it");
        assert!(acknowledge(&mut pair, 7, AtLeastOnce));
        assert_eq!(pair.sent(), ["PUBACK 7"]);
        assert!(!acknowledge(&mut pair, 7, AtLeastOnce), "a third time");
    }
}

/// A message that was not taken yet stays one, and can be acknowledged on the new connection.
#[test]
fn what_lay_in_the_queue_at_a_reconnect_stays_one_message() {
    for version in VERSIONS {
        for qos in [AtLeastOnce, ExactlyOnce] {
            let mut pair = Pair::connected(manual(version));
            pair.receive("t", "a", qos, 5);
            pair.reconnect(true);
            pair.server_sends(again("t", "a", qos, 5));
            assert_eq!(take(&mut pair), ["a"]);
            assert!(acknowledge(&mut pair, 5, qos));
            assert_eq!(pair.sent().len(), 1);
        }
    }
}

#[test]
fn in_a_fresh_session_an_old_acknowledgement_acknowledges_nothing() {
    for version in VERSIONS {
        for qos in [AtLeastOnce, ExactlyOnce] {
            let mut pair = Pair::connected(manual(version));
            pair.receive("t", "old", qos, 5);
            pair.receive("t", "old, not taken", qos, 6);
            let taken = pair.take(DEFAULT).delivery.unwrap();
            pair.client.hand_over(taken);
            pair.reconnect(false);
            pair.receive("t", "new", qos, 5);
            assert!(!acknowledge(&mut pair, 5, qos), "the new one is not taken");
            pair.client.hand_over(taken); // stale
            assert!(!acknowledge(&mut pair, 5, qos));
            assert_eq!(take(&mut pair), ["old, not taken", "new"]);
            assert!(!acknowledge(&mut pair, 6, qos), "of the old session");
            assert!(pair.bytes().is_empty());
            assert!(acknowledge(&mut pair, 5, qos));
            assert_eq!(pair.sent().len(), 1);
        }
    }
}

/// A program may turn it on at any time, and off.
#[test]
fn who_acknowledges_can_be_changed_for_what_comes_next() {
    for version in VERSIONS {
        let mut pair = Pair::connected(resuming(version));
        pair.receive("t", "a", AtLeastOnce, 1);
        assert_eq!(pair.sent(), ["PUBACK 1"]);
        (pair.client).set_acknowledge(DEFAULT, Acknowledge::ByApplication);
        pair.receive("t", "b", AtLeastOnce, 2);
        assert_eq!(take(&mut pair), ["a", "b"]);
        assert!(pair.bytes().is_empty());
        (pair.client).set_acknowledge(DEFAULT, Acknowledge::OnReceipt);
        pair.receive("t", "c", AtLeastOnce, 3);
        assert!(pair.bytes().is_empty(), "in order of receipt");
        assert!(acknowledge(&mut pair, 2, AtLeastOnce));
        assert_eq!(pair.sent(), ["PUBACK 2", "PUBACK 3"]);
    }
}

fn unacknowledged(pair: &mut Pair) -> Vec<usize> {
    (pair.events().into_iter())
        .filter_map(|event| match event {
            Event::Unacknowledged { messages } => Some(messages),
            _ => None,
        })
        .collect()
}

#[test]
fn a_server_that_waits_for_acknowledgements_is_reported_after_5_seconds_once_for_a_connection() {
    for version in VERSIONS {
        let mut options = manual(version);
        options.keep_alive = 0;
        let mut pair = Pair::connected(options);
        for id in 1..=9 {
            pair.receive("t", "x", AtLeastOnce, id);
        }
        pair.advance(3_600 * SECOND);
        assert_eq!(unacknowledged(&mut pair), [], "the server may send more");
        pair.receive("t", "x", AtLeastOnce, 10);
        pair.advance(Duration::from_millis(4_999));
        assert_eq!(unacknowledged(&mut pair), []);
        pair.advance(Duration::from_millis(1));
        assert_eq!(unacknowledged(&mut pair), [10]);
        pair.receive("t", "x", AtLeastOnce, 11);
        pair.advance(3_600 * SECOND);
        assert_eq!(unacknowledged(&mut pair), [], "once");
        pair.reconnect(true);
        for id in 1..=11 {
            pair.server_sends(again("t", "x", AtLeastOnce, id));
        }
        pair.advance(5 * SECOND);
        assert_eq!(unacknowledged(&mut pair), [11], "on the next connection");
    }
}

/// A Receive Maximum says how many the server may send.
#[test]
fn a_window_of_few_messages_is_full_with_those() {
    let mut options = manual(V5);
    options.properties = receive_maximum(2);
    let mut pair = Pair::connected(options);
    pair.receive("t", "x", AtLeastOnce, 1);
    pair.advance(5 * SECOND);
    assert_eq!(unacknowledged(&mut pair), []);
    pair.receive("t", "x", ExactlyOnce, 2);
    pair.advance(5 * SECOND);
    assert_eq!(unacknowledged(&mut pair), [2]);
}

/// An application that is slower than the server, but acknowledges, is no news.
#[test]
fn an_application_that_acknowledges_now_and_then_is_not_reported() {
    let mut options = manual(V5);
    options.keep_alive = 0;
    let mut pair = Pair::connected(options);
    for packet_id in 1..=20 {
        pair.receive("t", "x", AtLeastOnce, packet_id);
    }
    take(&mut pair);
    for packet_id in 1..=10 {
        pair.advance(4 * SECOND);
        assert!(acknowledge(&mut pair, packet_id, AtLeastOnce));
    }
    assert_eq!(unacknowledged(&mut pair), []);
    pair.advance(10 * SECOND);
    assert_eq!(unacknowledged(&mut pair), [10]);
}

/// A full queue that waits is [`Event::Stalled`], and nobody forgets to acknowledge.
#[test]
fn what_a_full_queue_withholds_is_not_the_application_s_to_acknowledge() {
    let mut options = resuming(V5);
    options.incoming = QueueOptions {
        limit: Some(1),
        ..QueueOptions::default()
    };
    let mut pair = Pair::connected(options);
    for id in 1..=20 {
        pair.receive("t", "x", AtLeastOnce, id);
    }
    pair.advance(60 * SECOND);
    assert_eq!(unacknowledged(&mut pair), []);
}
