//! Messages that the application acknowledges itself ([`Acknowledge::ByApplication`](ferromqtt_proto::Acknowledge)).

use std::num::NonZeroU64;

use ferromqtt_proto::packet::{Disconnect, Packet};
use ferromqtt_proto::{
    CleanStart, DeliveryId, Options, Properties, ProtocolVersion, QoS, QueueId, QueueOptions,
    Session,
};

use crate::support::*;

const DEFAULT: QueueId = QueueId::DEFAULT;

/// A client that resumes, and whose default queue is acknowledged by the application.
fn manual(version: ProtocolVersion) -> Options {
    let mut options = resuming(version);
    options.incoming = by_application();
    options
}

fn answer(qos: QoS, id: u16) -> String {
    let name = if qos == ExactlyOnce {
        "PUBREC"
    } else {
        "PUBACK"
    };
    format!("{name} {id}")
}

/// Receives one message and takes it.
fn held(pair: &mut Pair, payload: &str, qos: QoS, id: u16) -> DeliveryId {
    pair.receive("t", payload, qos, id);
    let message = pair.take(DEFAULT);
    assert_eq!(message.payload, payload.as_bytes());
    message.delivery.expect("nothing to acknowledge it with")
}

/// MQTT-4.6.0-2, MQTT-4.6.0-3; 3.1.1: MQTT-4.6.0-2, MQTT-4.6.0-3. Pitfall 5.
#[test]
fn acknowledgements_leave_in_order_of_receipt_whatever_the_order_they_are_given_in() {
    for version in VERSIONS {
        for order in [
            [0, 1, 2],
            [2, 1, 0],
            [1, 0, 2],
            [1, 2, 0],
            [2, 0, 1],
            [0, 2, 1],
        ] {
            let mut pair = Pair::connected(manual(version));
            pair.receive("t", "a", AtLeastOnce, 50);
            pair.receive("t", "b", ExactlyOnce, 3);
            pair.receive("t", "c", AtLeastOnce, 9);
            let deliveries = pair.take_deliveries(DEFAULT);
            pair.bytes();
            let expected = ["PUBACK 50", "PUBREC 3", "PUBACK 9"];
            let mut given = [false; 3];
            let mut sent = Vec::new();
            for index in order {
                pair.acknowledge(deliveries[index]);
                given[index] = true;
                sent.extend(pair.sent());
                let due = given.iter().take_while(|given| **given).count();
                assert_eq!(sent, expected[..due], "{order:?}");
            }
        }
    }
}

/// Taking is not acknowledging, and what is not taken can be acknowledged by nobody.
#[test]
fn nothing_is_acknowledged_before_the_application_does() {
    for version in VERSIONS {
        let mut pair = Pair::connected(manual(version));
        pair.receive("t", "a", AtLeastOnce, 1);
        pair.receive("t", "b", ExactlyOnce, 2);
        pair.advance(1_000 * SECOND);
        assert_eq!(pair.payloads(), ["a", "b"]);
        pair.advance(1_000 * SECOND);
        assert_eq!(pair.sent(), ["CONNECT"; 0]);
    }
}

/// QoS 0 has no acknowledgement, so there is nothing to give.
#[test]
fn qos_0_has_nothing_to_acknowledge() {
    for version in VERSIONS {
        let mut pair = Pair::connected(manual(version));
        pair.receive("t", "a", AtMostOnce, 0);
        assert_eq!(pair.take(DEFAULT).delivery, None);
    }
}

/// MQTT-4.6.0-2, MQTT-4.6.0-3; 3.1.1: MQTT-4.6.0-2, MQTT-4.6.0-3: what is acknowledged on receipt waits for what came before.
#[test]
fn messages_of_other_queues_between_keep_their_place() {
    for version in VERSIONS {
        let mut pair = Pair::connected(resuming(version));
        let by_hand = pair.queue(&["by/hand"], by_application());
        pair.receive("other", "0", AtLeastOnce, 7);
        assert_eq!(pair.sent(), ["PUBACK 7"], "nothing is before it");
        pair.receive("by/hand", "1", AtLeastOnce, 1);
        pair.receive("other", "2", ExactlyOnce, 2);
        pair.receive("other", "3", AtMostOnce, 0);
        pair.receive("by/hand", "4", ExactlyOnce, 4);
        pair.receive("other", "5", AtLeastOnce, 5);
        assert_eq!(
            pair.payloads(),
            ["0", "2", "3", "5"],
            "but handed out at once"
        );
        assert!(pair.bytes().is_empty());
        let deliveries = pair.take_deliveries(by_hand);
        pair.acknowledge(deliveries[0]);
        assert_eq!(pair.sent(), ["PUBACK 1", "PUBREC 2"]);
        pair.acknowledge(deliveries[1]);
        assert_eq!(pair.sent(), ["PUBREC 4", "PUBACK 5"]);
    }
}

/// One PUBACK for one PUBLISH: when all that it went to are done with it.
#[test]
fn a_message_in_several_queues_is_acknowledged_when_all_have_let_go() {
    for version in VERSIONS {
        for qos in [AtLeastOnce, ExactlyOnce] {
            let mut pair = Pair::connected(resuming(version));
            let one = pair.queue(&["t"], by_application());
            let two = pair.queue(&["+"], by_application());
            let automatic = pair.queue(&["#"], QueueOptions::default());
            pair.receive("t", "x", qos, 6);
            let first = pair.take_deliveries(one)[0];
            let second = pair.take_deliveries(two)[0];
            assert_eq!(pair.take(automatic).delivery, None);
            assert_ne!(first, second);
            pair.acknowledge(first);
            pair.acknowledge(first);
            assert!(pair.bytes().is_empty(), "one of the two, twice");
            pair.acknowledge(second);
            assert_eq!(pair.sent(), [answer(qos, 6)]);
        }
    }
}

/// Another message is not acknowledged by mistake, and none is twice.
#[test]
fn stale_double_and_unknown_acknowledgements_are_harmless() {
    for version in VERSIONS {
        let mut pair = Pair::connected(manual(version));
        let first = held(&mut pair, "a", AtLeastOnce, 1);
        pair.acknowledge(first);
        assert_eq!(pair.sent(), ["PUBACK 1"]);
        let second = held(&mut pair, "b", AtLeastOnce, 1); // the identifier is free again
        assert_ne!(first, second);
        let unknown = DeliveryId::from_value(NonZeroU64::MAX);
        for delivery in [first, unknown, first] {
            pair.acknowledge(delivery);
            assert!(pair.bytes().is_empty());
        }
        pair.acknowledge(second);
        pair.acknowledge(second);
        assert_eq!(pair.sent(), ["PUBACK 1"], "once");
    }
}

/// MQTT-4.3.3-10; 3.1.1: MQTT-4.3.3-2: the PUBREC that is held answers a repeat as well.
#[test]
fn a_repeat_at_qos_2_is_not_answered_before_the_application_does() {
    for version in VERSIONS {
        let mut pair = Pair::connected(manual(version));
        let delivery = held(&mut pair, "a", ExactlyOnce, 5);
        pair.server_sends(again("t", "a", ExactlyOnce, 5));
        assert!(pair.bytes().is_empty());
        assert!(pair.payloads().is_empty(), "handed out once");
        pair.acknowledge(delivery);
        assert_eq!(pair.sent(), ["PUBREC 5"]);
        pair.server_sends(again("t", "a", ExactlyOnce, 5));
        pair.server_sends(pubrel(5));
        assert_eq!(pair.sent(), ["PUBREC 5", "PUBCOMP 5"]);
    }
}

/// MQTT-4.4.0-1; 3.1.1: MQTT-4.4.0-1: the server sends it again, and it is known. It may be acknowledged at any time.
#[test]
fn what_comes_again_is_not_handed_out_again() {
    for version in VERSIONS {
        for qos in [AtLeastOnce, ExactlyOnce] {
            for when in ["offline", "before it comes again", "afterwards"] {
                let mut pair = Pair::connected(manual(version));
                let delivery = held(&mut pair, "a", qos, 5);
                pair.cut();
                if when == "offline" {
                    pair.acknowledge(delivery);
                }
                pair.wait_for_transport();
                pair.accept(true, Properties::default());
                if when == "before it comes again" {
                    pair.acknowledge(delivery);
                }
                assert!(
                    pair.bytes().is_empty(),
                    "{when}: there is nothing to answer yet"
                );
                pair.server_sends(again("t", "a", qos, 5));
                if when == "afterwards" {
                    assert!(pair.bytes().is_empty());
                    pair.acknowledge(delivery);
                }
                assert_eq!(pair.sent(), [answer(qos, 5)], "{when}");
                assert!(pair.payloads().is_empty(), "{when}");
                pair.acknowledge(delivery);
                assert!(pair.bytes().is_empty(), "{when}: once");
            }
        }
    }
}

/// A message that is still in its queue keeps its place there, and stays one.
#[test]
fn what_comes_again_before_it_was_taken_stays_one_message() {
    for version in VERSIONS {
        for qos in [AtLeastOnce, ExactlyOnce] {
            let mut pair = Pair::connected(manual(version));
            pair.receive("t", "a", qos, 5);
            pair.reconnect(true);
            pair.server_sends(again("t", "a", qos, 5));
            pair.receive("t", "b", qos, 6);
            let deliveries = pair.take_deliveries(DEFAULT);
            assert_eq!(deliveries.len(), 2);
            pair.acknowledge(deliveries[1]);
            pair.acknowledge(deliveries[0]);
            assert_eq!(pair.sent(), [answer(qos, 5), answer(qos, 6)]);
        }
    }
}

/// MQTT-4.6.0-2, MQTT-4.6.0-3; 3.1.1: MQTT-4.6.0-2, MQTT-4.6.0-3: the order of receipt is that of the new connection.
#[test]
fn after_a_reconnect_the_order_is_the_new_one() {
    for version in VERSIONS {
        let mut pair = Pair::connected(manual(version));
        let first = held(&mut pair, "a", AtLeastOnce, 1);
        let second = held(&mut pair, "b", ExactlyOnce, 2);
        let third = held(&mut pair, "c", AtLeastOnce, 3);
        pair.cut();
        pair.acknowledge(third);
        pair.wait_for_transport();
        pair.accept(true, Properties::default());
        pair.server_sends(again("t", "a", AtLeastOnce, 1));
        pair.server_sends(again("t", "b", ExactlyOnce, 2));
        let fourth = held(&mut pair, "d", AtLeastOnce, 4); // the third is still to come
        pair.acknowledge(fourth);
        pair.acknowledge(second);
        assert!(pair.bytes().is_empty());
        pair.acknowledge(first);
        assert_eq!(pair.sent(), ["PUBACK 1", "PUBREC 2", "PUBACK 4"]);
        pair.server_sends(again("t", "c", AtLeastOnce, 3));
        assert_eq!(pair.sent(), ["PUBACK 3"]);
    }
}

/// Many connections end before the application is done.
#[test]
fn a_delivery_outlives_many_connections() {
    for version in VERSIONS {
        for qos in [AtLeastOnce, ExactlyOnce] {
            let mut pair = Pair::connected(manual(version));
            let delivery = held(&mut pair, "a", qos, 5);
            for connection in 0..5 {
                pair.reconnect(true);
                if connection != 2 {
                    pair.server_sends(again("t", "a", qos, 5)); // the third ends before that
                }
            }
            pair.acknowledge(delivery);
            assert_eq!(pair.sent(), [answer(qos, 5)]);
            assert!(pair.payloads().is_empty());
        }
    }
}

/// MQTT-4.3.2-5; 3.1.1: MQTT-4.3.2-2: at QoS 1 a message without DUP is another one, so the server has dropped the first.
#[test]
fn at_qos_1_without_dup_it_is_another_message() {
    for version in VERSIONS {
        let mut pair = Pair::connected(manual(version));
        let old = held(&mut pair, "old", AtLeastOnce, 5);
        pair.reconnect(true);
        let new = held(&mut pair, "new", AtLeastOnce, 5);
        pair.acknowledge(old);
        assert!(pair.bytes().is_empty(), "the old one means nothing now");
        pair.acknowledge(new);
        assert_eq!(pair.sent(), ["PUBACK 5"]);
    }
}

/// MQTT-4.3.3-10; 3.1.1: MQTT-4.3.3-2: at QoS 2 the identifier alone tells, until PUBREL.
#[test]
fn at_qos_2_it_is_the_same_message_with_or_without_dup() {
    for version in VERSIONS {
        let mut pair = Pair::connected(manual(version));
        let delivery = held(&mut pair, "a", ExactlyOnce, 5);
        pair.reconnect(true);
        pair.receive("t", "a", ExactlyOnce, 5);
        assert!(pair.payloads().is_empty() && pair.bytes().is_empty());
        pair.acknowledge(delivery);
        assert_eq!(pair.sent(), ["PUBREC 5"]);
    }
}

/// A server that has dropped the QoS 1 message (it may have expired) uses its identifier for others. None of them may be
/// taken for the old one, or it would be lost.
#[test]
fn an_identifier_that_was_used_for_another_message_names_the_old_one_no_more() {
    for version in VERSIONS {
        let mut pair = Pair::connected(manual(version));
        held(&mut pair, "old", AtLeastOnce, 5);
        pair.reconnect(true);
        let other = held(&mut pair, "other", ExactlyOnce, 5);
        pair.acknowledge(other);
        pair.server_sends(pubrel(5));
        assert_eq!(pair.sent(), ["PUBREC 5", "PUBCOMP 5"]);
        pair.reconnect(true); // a third message with this identifier was lost with the connection
        pair.server_sends(again("t", "third", AtLeastOnce, 5));
        let delivery = pair.take(DEFAULT).delivery.unwrap();
        pair.acknowledge(delivery);
        assert_eq!(pair.sent(), ["PUBACK 5"]);
    }
}

/// MQTT-3.2.2-5, MQTT-3.1.2-4; 3.1.1: MQTT-3.2.2-2, MQTT-3.1.2-6. Pitfall 6: a fresh session knows nothing of the old messages.
#[test]
fn in_a_fresh_session_old_acknowledgements_are_harmless_and_messages_come_anew() {
    for version in VERSIONS {
        for clean_start in [CleanStart::Never, CleanStart::Always] {
            for qos in [AtLeastOnce, ExactlyOnce] {
                let mut options = manual(version);
                options.clean_start = clean_start;
                let mut pair = Pair::connected(options);
                let old = held(&mut pair, "a", qos, 5);
                pair.receive("t", "not taken", qos, 6);
                pair.reconnect(false);
                pair.acknowledge(old);
                let left = pair.take_deliveries(DEFAULT);
                pair.acknowledge(left[0]);
                assert!(pair.bytes().is_empty(), "nobody waits for these");
                let new = held(&mut pair, "a", qos, 5);
                pair.acknowledge(old);
                assert!(pair.bytes().is_empty());
                pair.acknowledge(new);
                assert_eq!(pair.sent(), [answer(qos, 5)]);
            }
        }
    }
}

/// What was read belongs to its reader; what was not is dropped, and must not hold up the others.
#[test]
fn closing_a_queue_acknowledges_what_was_not_taken() {
    for version in VERSIONS {
        let mut pair = Pair::connected(resuming(version));
        let queue = pair.queue(&["t"], by_application());
        for id in 1..=3 {
            pair.receive("t", "x", AtLeastOnce, id);
        }
        let taken = pair.take(queue).delivery.unwrap();
        pair.client.close_queue(queue);
        pair.pump();
        assert!(pair.bytes().is_empty(), "the first is still worked on");
        pair.receive("other", "x", ExactlyOnce, 4);
        pair.acknowledge(taken);
        let sent = ["PUBACK 1", "PUBACK 2", "PUBACK 3", "PUBREC 4"];
        assert_eq!(pair.sent(), sent);
    }
}

/// Closing one of two holders is not the other's acknowledgement.
#[test]
fn closing_a_queue_does_not_acknowledge_for_another() {
    for version in VERSIONS {
        let mut pair = Pair::connected(resuming(version));
        let closed = pair.queue(&["t"], by_application());
        let open = pair.queue(&["+"], by_application());
        pair.receive("t", "x", AtLeastOnce, 1);
        pair.client.close_queue(closed);
        pair.pump();
        assert!(pair.bytes().is_empty());
        let delivery = pair.take_deliveries(open)[0];
        pair.acknowledge(delivery);
        assert_eq!(pair.sent(), ["PUBACK 1"]);
    }
}

/// What becomes of the queue while there is no connection is remembered for the next one.
#[test]
fn a_queue_closed_offline_holds_nothing_afterwards() {
    for version in VERSIONS {
        let mut pair = Pair::connected(resuming(version));
        let queue = pair.queue(&["t"], by_application());
        pair.receive("t", "x", AtLeastOnce, 1);
        pair.cut();
        pair.client.close_queue(queue);
        pair.wait_for_transport();
        pair.accept(true, Properties::default());
        pair.server_sends(again("t", "x", AtLeastOnce, 1));
        assert_eq!(pair.sent(), ["PUBACK 1"]);
        assert!(pair.payloads().is_empty());
    }
}

/// Nobody is left to tell.
#[test]
fn acknowledging_after_the_end_is_harmless() {
    for version in VERSIONS {
        let mut options = options(version);
        options.incoming = by_application();
        let mut pair = Pair::connected(options);
        let delivery = held(&mut pair, "a", AtLeastOnce, 1);
        pair.client.disconnect(pair.now, Disconnect::normal());
        pair.pump();
        pair.bytes();
        pair.acknowledge(delivery);
        assert!(pair.bytes().is_empty());
        assert!(pair.client.is_idle());
    }
}

/// How a client ends before its session is given to another one.
#[derive(Clone, Copy, Debug)]
enum End {
    Disconnect,
    Cut,
    /// While its connection is up.
    Dropped,
}

fn end(mut pair: Pair, end: End) -> Session {
    match end {
        End::Disconnect => pair.client.disconnect(pair.now, Disconnect::normal()),
        End::Cut => pair.cut(),
        End::Dropped => {}
    }
    pair.client.into_session()
}

/// Deliveries belong to the session: what one client has handed out, the next one knows.
#[test]
fn deliveries_go_with_the_session_to_another_client() {
    for version in VERSIONS {
        for how in [End::Disconnect, End::Cut, End::Dropped] {
            for qos in [AtLeastOnce, ExactlyOnce] {
                let mut pair = Pair::connected(manual(version));
                let delivery = held(&mut pair, "a", qos, 5);
                pair.receive("t", "b", qos, 6);
                let mut pair = Pair::with_session(manual(version), end(pair, how));
                pair.connect();
                pair.accept(true, Properties::default());
                pair.acknowledge(delivery);
                assert!(pair.bytes().is_empty(), "{how:?}: nothing came yet");
                pair.server_sends(again("t", "a", qos, 5));
                assert_eq!(pair.sent(), [answer(qos, 5)], "{how:?}");
                pair.server_sends(again("t", "b", qos, 6));
                let left = pair.take_deliveries(DEFAULT);
                assert_eq!(left.len(), 1, "{how:?}: handed out once");
                pair.acknowledge(left[0]);
                assert_eq!(pair.sent(), [answer(qos, 6)], "{how:?}");
            }
        }
    }
}

/// The slots of the connection before are not those of the next.
#[test]
fn what_is_held_takes_no_slot_of_the_next_client_before_it_comes_again() {
    for how in [End::Disconnect, End::Cut, End::Dropped] {
        let mut options = manual(V5);
        options.properties = receive_maximum(1);
        let mut pair = Pair::connected(options.clone());
        let delivery = held(&mut pair, "a", AtLeastOnce, 5);
        let mut pair = Pair::with_session(options, end(pair, how));
        pair.connect();
        pair.accept(true, Properties::default());
        pair.server_sends(again("t", "a", AtLeastOnce, 5));
        assert!(pair.client.is_connected(), "{how:?}: one is allowed");
        pair.acknowledge(delivery);
        assert_eq!(pair.sent(), ["PUBACK 5"], "{how:?}");
    }
}

/// Deliveries are never named twice, also when the session goes to another client.
#[test]
fn deliveries_have_names_of_their_own() {
    let mut pair = Pair::connected(manual(V5));
    let old = held(&mut pair, "a", AtLeastOnce, 1);
    pair.acknowledge(old);
    let mut pair = Pair::with_session(manual(V5), end(pair, End::Disconnect));
    pair.connect();
    pair.accept(true, Properties::default());
    let new = held(&mut pair, "b", AtLeastOnce, 1);
    assert_ne!(old, new);
    pair.acknowledge(old);
    assert!(pair.bytes().is_empty());
    pair.server_sends(Packet::PingResp);
    pair.acknowledge(new);
    assert_eq!(pair.sent(), ["PUBACK 1"]);
}
