//! Full queues: acknowledgements withheld ([`Overflow::Wait`]), failure ([`Overflow::Fail`]), and what is told of a loss.

use ferromqtt_proto::packet::Packet;
use ferromqtt_proto::{
    DeliveryId, Options, Overflow, Properties, ProtocolVersion, QoS, QueueId, QueueOptions,
    ReasonCode,
};

use crate::support::*;

/// Options of a client that resumes its session, and whose default queue is this one.
fn with_queue(version: ProtocolVersion, queue: QueueOptions) -> Options {
    let mut options = resuming(version);
    options.incoming = queue;
    options
}

/// A connected client with a queue of its own for each of these, which all subscribe to `t`.
fn with_queues(version: ProtocolVersion, options: &[QueueOptions]) -> (Pair, Vec<QueueId>) {
    let mut pair = Pair::connected(resuming(version));
    let mut queues = Vec::new();
    for &options in options {
        let queue = pair.client.open_queue(options);
        pair.subscribe_to(&["t"], queue);
        queues.push(queue);
    }
    pair.bytes();
    pair.events();
    (pair, queues)
}

/// A message whose payload is its Packet Identifier.
fn arrives_at(pair: &mut Pair, topic: &str, qos: QoS, packet_id: u16) {
    let publish = message(topic, &packet_id.to_string(), qos, packet_id);
    pair.server_sends(Packet::Publish(publish));
}

fn arrives(pair: &mut Pair, qos: QoS, packet_id: u16) {
    arrives_at(pair, "t", qos, packet_id);
}

fn comes_again(pair: &mut Pair, qos: QoS, packet_id: u16) {
    pair.server_sends(again("t", &packet_id.to_string(), qos, packet_id));
}

/// Takes one message: its payload, and what holds it.
fn take(pair: &mut Pair, queue: QueueId) -> Option<(String, Option<DeliveryId>)> {
    let message = pair.client.next_message(queue)?;
    pair.pump();
    let payload = String::from_utf8(message.payload.to_vec()).unwrap();
    Some((payload, message.delivery))
}

fn take_default(pair: &mut Pair) -> Option<String> {
    Some(take(pair, QueueId::DEFAULT)?.0)
}

/// PUBACK and PUBREC of a message beyond the limit leave when there is room for it. Nothing is lost.
#[test]
fn wait_withholds_acknowledgements_and_releases_one_for_each_message_taken() {
    for version in VERSIONS {
        let mut pair = Pair::connected(with_queue(version, limited(2, Overflow::Wait)));
        for (packet_id, qos) in [
            (1, AtLeastOnce),
            (2, ExactlyOnce),
            (3, AtLeastOnce),
            (4, ExactlyOnce),
            (5, AtLeastOnce),
        ] {
            arrives(&mut pair, qos, packet_id);
        }
        assert_eq!(pair.sent(), ["PUBACK 1", "PUBREC 2"]);
        pair.advance(1_000 * SECOND);
        assert!(pair.bytes().is_empty());
        for (payload, released) in [
            ("1", vec!["PUBACK 3"]),
            ("2", vec!["PUBREC 4"]),
            ("3", vec!["PUBACK 5"]),
            ("4", vec![]),
            ("5", vec![]),
        ] {
            assert_eq!(take_default(&mut pair).as_deref(), Some(payload));
            assert_eq!(pair.sent(), released);
        }
        assert_eq!(take_default(&mut pair), None);
        assert_eq!(pair.client.take_lost(QueueId::DEFAULT), 0);
        assert_eq!(pair.lagged(), []);
        arrives(&mut pair, AtLeastOnce, 6);
        assert_eq!(pair.sent(), ["PUBACK 6"], "there is room again");
    }
}

/// Exactly the limit is no overflow.
#[test]
fn wait_withholds_nothing_up_to_the_limit() {
    for version in VERSIONS {
        let mut pair = Pair::connected(with_queue(version, limited(2, Overflow::Wait)));
        for packet_id in 1..=10 {
            arrives(&mut pair, AtLeastOnce, packet_id);
            assert_eq!(pair.sent(), [format!("PUBACK {packet_id}")]);
            if packet_id > 1 {
                assert!(take_default(&mut pair).is_some());
                assert!(pair.bytes().is_empty());
            }
        }
    }
}

/// QoS 0 has no acknowledgement to withhold: input waits instead. See `paused_input.rs`.
#[test]
fn wait_holds_back_qos_0_and_all_behind_it() {
    for version in VERSIONS {
        let mut pair = Pair::connected(with_queue(version, limited(1, Overflow::Wait)));
        pair.server_sends(Packet::Publish(message("t", "first", AtMostOnce, 0)));
        arrives(&mut pair, AtLeastOnce, 1);
        assert!(
            !pair.client.input_paused(),
            "QoS 1 is bounded by its window"
        );
        pair.server_sends(Packet::Publish(message("t", "second", AtMostOnce, 0)));
        arrives(&mut pair, AtLeastOnce, 2);
        assert!(pair.client.input_paused());
        assert!(pair.bytes().is_empty());
        assert_eq!(take_default(&mut pair).as_deref(), Some("first"));
        assert_eq!(pair.sent(), ["PUBACK 1"]);
        assert!(pair.client.input_paused());
        assert_eq!(take_default(&mut pair).as_deref(), Some("1"));
        assert!(!pair.client.input_paused());
        assert_eq!(take_default(&mut pair).as_deref(), Some("second"));
        assert_eq!(take_default(&mut pair).as_deref(), Some("2"));
        assert_eq!(pair.sent(), ["PUBACK 2"]);
        assert_eq!(pair.client.take_lost(QueueId::DEFAULT), 0);
        assert_eq!(pair.lagged(), []);
    }
}

/// A limit of 0: each message is acknowledged when it is taken. One of QoS 0 comes when there is no other.
#[test]
fn wait_with_a_limit_of_none() {
    for version in VERSIONS {
        let mut pair = Pair::connected(with_queue(version, limited(0, Overflow::Wait)));
        arrives(&mut pair, AtLeastOnce, 1);
        arrives(&mut pair, ExactlyOnce, 2);
        arrives(&mut pair, AtMostOnce, 0);
        assert!(pair.bytes().is_empty());
        assert_eq!(take_default(&mut pair).as_deref(), Some("1"));
        assert_eq!(pair.sent(), ["PUBACK 1"]);
        assert_eq!(take_default(&mut pair).as_deref(), Some("2"));
        assert_eq!(pair.sent(), ["PUBREC 2"]);
        assert_eq!(take_default(&mut pair).as_deref(), Some("0"));
        assert_eq!(take_default(&mut pair), None);
        assert_eq!(pair.client.take_lost(QueueId::DEFAULT), 0);
    }
}

/// MQTT-4.6.0-2, MQTT-4.6.0-3: a full queue delays the acknowledgements of the others, and nothing else of them.
#[test]
fn a_waiting_queue_delays_the_acknowledgements_behind_it() {
    for version in VERSIONS {
        let (mut pair, queues) = with_queues(version, &[limited(1, Overflow::Wait)]);
        let small = queues[0];
        arrives(&mut pair, AtLeastOnce, 1);
        arrives(&mut pair, AtLeastOnce, 2); // beyond the limit
        arrives_at(&mut pair, "other", AtLeastOnce, 3);
        arrives_at(&mut pair, "other", ExactlyOnce, 4);
        arrives_at(&mut pair, "other", AtMostOnce, 0);
        assert_eq!(pair.sent(), ["PUBACK 1"]);
        assert_eq!(pair.payloads(), ["3", "4", "0"], "not delayed");
        pair.pump();
        assert!(pair.bytes().is_empty(), "taking those gives no room");
        assert!(take(&mut pair, small).is_some());
        assert_eq!(pair.sent(), ["PUBACK 2", "PUBACK 3", "PUBREC 4"]);
    }
}

/// A message that two queues have no room for is acknowledged when both have.
#[test]
fn every_waiting_queue_must_have_room() {
    for version in VERSIONS {
        let wait = limited(1, Overflow::Wait);
        let (mut pair, queues) = with_queues(version, &[wait, wait]);
        arrives(&mut pair, AtLeastOnce, 1);
        arrives(&mut pair, AtLeastOnce, 2);
        assert_eq!(pair.sent(), ["PUBACK 1"]);
        assert!(take(&mut pair, queues[0]).is_some());
        assert!(take(&mut pair, queues[0]).is_some());
        assert!(pair.bytes().is_empty(), "the other has none yet");
        assert!(take(&mut pair, queues[1]).is_some());
        assert_eq!(pair.sent(), ["PUBACK 2"]);
    }
}

/// Its messages are dropped by the application's own will, so nothing waits for them.
#[test]
fn closing_a_waiting_queue_releases_what_it_withheld() {
    for version in VERSIONS {
        let (mut pair, queues) = with_queues(version, &[limited(1, Overflow::Wait)]);
        arrives(&mut pair, AtLeastOnce, 1);
        arrives(&mut pair, ExactlyOnce, 2);
        arrives(&mut pair, AtLeastOnce, 3);
        assert_eq!(pair.sent(), ["PUBACK 1"]);
        pair.client.close_queue(queues[0]);
        pair.pump();
        assert_eq!(pair.sent(), ["PUBREC 2", "PUBACK 3"]);
    }
}

/// MQTT-4.4.0-1: what was withheld comes again with the session; it is in the queue already.
#[test]
fn what_is_withheld_survives_a_reconnect() {
    for version in VERSIONS {
        for (qos, answer) in [(AtLeastOnce, "PUBACK"), (ExactlyOnce, "PUBREC")] {
            let mut pair = Pair::connected(with_queue(version, limited(1, Overflow::Wait)));
            for packet_id in 1..=4 {
                arrives(&mut pair, qos, packet_id);
            }
            assert_eq!(pair.sent(), [format!("{answer} 1")]);
            pair.cut();
            assert_eq!(take_default(&mut pair).as_deref(), Some("1")); // room for 2
            pair.wait_for_transport();
            pair.accept(true, Properties::default());
            for packet_id in 2..=4 {
                comes_again(&mut pair, qos, packet_id);
            }
            assert_eq!(pair.client.queue_len(QueueId::DEFAULT), 3);
            assert_eq!(pair.sent(), [format!("{answer} 2")]);
            for (payload, released) in [
                ("2", vec![format!("{answer} 3")]),
                ("3", vec![format!("{answer} 4")]),
                ("4", vec![]),
            ] {
                assert_eq!(take_default(&mut pair).as_deref(), Some(payload));
                assert_eq!(pair.sent(), released);
            }
        }
    }
}

/// MQTT-3.2.2-5: the answers that were withheld belong to the session that is gone. What the queue has, it keeps; the
/// server's new session has messages of its own, which find the queue as full as it is.
#[test]
fn what_is_withheld_is_forgotten_with_the_session() {
    for version in VERSIONS {
        let mut pair = Pair::connected(with_queue(version, limited(1, Overflow::Wait)));
        arrives(&mut pair, AtLeastOnce, 1);
        arrives(&mut pair, AtLeastOnce, 2);
        pair.reconnect(false);
        arrives(&mut pair, AtLeastOnce, 2);
        assert!(pair.bytes().is_empty());
        assert_eq!(take_default(&mut pair).as_deref(), Some("1"));
        assert!(pair.bytes().is_empty(), "there is no room for it yet");
        assert_eq!(take_default(&mut pair).as_deref(), Some("2"));
        assert_eq!(pair.sent(), ["PUBACK 2"]);
        assert_eq!(take_default(&mut pair).as_deref(), Some("2"));
        assert!(pair.bytes().is_empty());
    }
}

/// Under both, room is not enough: the application says when.
#[test]
fn wait_and_acknowledge_limited_by_application() {
    for version in VERSIONS {
        let queue = limited_by_application(1, Overflow::Wait);
        let mut pair = Pair::connected(with_queue(version, queue));
        for packet_id in 1..=3 {
            arrives(&mut pair, AtLeastOnce, packet_id);
        }
        let mut taken = Vec::new();
        while let Some((_, delivery)) = take(&mut pair, QueueId::DEFAULT) {
            taken.push(delivery.unwrap());
        }
        assert!(pair.bytes().is_empty());
        for (packet_id, delivery) in (1..).zip(taken) {
            pair.acknowledge(delivery);
            assert_eq!(pair.sent(), [format!("PUBACK {packet_id}")]);
        }
    }
}

/// The reader sees no gap without knowing. MQTT-4.5.0-2: acknowledged all the same.
#[test]
fn a_failed_queue_takes_nothing_until_its_reader_knows() {
    for version in VERSIONS {
        let mut pair = Pair::connected(with_queue(version, limited(2, Overflow::Fail)));
        let queue = QueueId::DEFAULT;
        arrives(&mut pair, AtLeastOnce, 1);
        arrives(&mut pair, ExactlyOnce, 2);
        assert_eq!(pair.lagged(), []);
        arrives(&mut pair, AtLeastOnce, 3); // it fails
        assert_eq!(pair.lagged(), [queue]);
        assert!(
            !pair.client.has_failed(queue),
            "there is more to take first"
        );
        assert_eq!(pair.client.take_lost(queue), 0, "told behind the last");
        assert_eq!(take_default(&mut pair).as_deref(), Some("1"));
        arrives(&mut pair, ExactlyOnce, 4); // there is room, but it would hide the gap
        arrives(&mut pair, AtMostOnce, 0);
        assert_eq!(
            pair.sent(),
            ["PUBACK 1", "PUBREC 2", "PUBACK 3", "PUBREC 4"]
        );
        assert_eq!(pair.client.take_lost(queue), 0);
        assert_eq!(take_default(&mut pair).as_deref(), Some("2"));
        assert_eq!(take_default(&mut pair), None);
        assert!(pair.client.has_failed(queue));
        arrives(&mut pair, AtLeastOnce, 5);
        assert_eq!(pair.client.queue_len(queue), 0, "still");
        assert_eq!(pair.lagged(), [], "no more than once");
        assert_eq!(pair.client.take_lost(queue), 4);
        assert!(!pair.client.has_failed(queue));
        assert_eq!(pair.client.take_lost(queue), 0);
        arrives(&mut pair, AtLeastOnce, 6);
        assert_eq!(take_default(&mut pair).as_deref(), Some("6"));
        assert_eq!(pair.sent(), ["PUBACK 5", "PUBACK 6"]);
        for packet_id in 7..=9 {
            arrives(&mut pair, AtLeastOnce, packet_id);
        }
        assert_eq!(pair.lagged(), [queue], "it can fail again");
        assert_eq!(pair.payloads(), ["7", "8"]);
        assert_eq!(pair.client.take_lost(queue), 1);
    }
}

/// At the limit's edge: a queue that can hold nothing fails with its first message.
#[test]
fn a_queue_with_no_room_at_all_fails_at_once() {
    for version in VERSIONS {
        let mut pair = Pair::connected(with_queue(version, limited(0, Overflow::Fail)));
        assert!(!pair.client.has_failed(QueueId::DEFAULT));
        arrives(&mut pair, AtLeastOnce, 1);
        assert_eq!(pair.sent(), ["PUBACK 1"]);
        assert!(pair.client.has_failed(QueueId::DEFAULT));
        assert_eq!(pair.client.take_lost(QueueId::DEFAULT), 1);
    }
}

/// The failure of one queue is no other's, and it outlives the connection.
#[test]
fn a_failed_queue_concerns_no_other_and_no_connection() {
    for version in VERSIONS {
        let fail = limited(1, Overflow::Fail);
        let (mut pair, queues) = with_queues(version, &[fail, QueueOptions::default()]);
        for packet_id in 1..=3 {
            arrives(&mut pair, AtLeastOnce, packet_id);
        }
        assert_eq!(pair.sent(), ["PUBACK 1", "PUBACK 2", "PUBACK 3"]);
        pair.server_sends(suback(1, &[ReasonCode::GrantedQos1]));
        pair.server_sends(suback(2, &[ReasonCode::GrantedQos1]));
        pair.reconnect(true);
        arrives(&mut pair, AtLeastOnce, 4);
        assert_eq!(pair.sent(), ["PUBACK 4"]);
        assert_eq!(pair.payloads_of(queues[1]), ["1", "2", "3", "4"]);
        assert!(!pair.client.has_failed(queues[1]));
        assert_eq!(pair.client.take_lost(queues[1]), 0);
        assert_eq!(pair.payloads_of(queues[0]), ["1"]);
        assert!(pair.client.has_failed(queues[0]));
        assert_eq!(pair.client.take_lost(queues[0]), 3);
    }
}

/// MQTT-4.5.0-2. Each queue tells of its own losses: once, until its reader asks.
#[test]
fn lagged_is_told_once_for_each_time_of_loss() {
    for version in VERSIONS {
        for overflow in [Overflow::DropOldest, Overflow::DropNewest, Overflow::Fail] {
            let (mut pair, queues) = with_queues(
                version,
                &[
                    limited(1, overflow),
                    limited(2, overflow),
                    QueueOptions::default(),
                ],
            );
            arrives(&mut pair, AtLeastOnce, 1);
            assert_eq!(pair.lagged(), []);
            arrives(&mut pair, AtLeastOnce, 2);
            assert_eq!(pair.lagged(), [queues[0]]);
            arrives(&mut pair, AtLeastOnce, 3);
            assert_eq!(pair.lagged(), [queues[1]]);
            arrives(&mut pair, AtLeastOnce, 4);
            assert_eq!(pair.lagged(), []);
            assert_eq!(pair.sent().len(), 4, "acknowledged all the same");
            let kept = pair.payloads_of(queues[0]).len();
            assert_eq!(kept, 1);
            assert_eq!(pair.client.take_lost(queues[0]), 3);
            arrives(&mut pair, AtLeastOnce, 5);
            assert_eq!(pair.lagged(), []);
            arrives(&mut pair, AtLeastOnce, 6);
            assert_eq!(pair.lagged(), [queues[0]], "the other told before");
            assert_eq!(pair.client.take_lost(queues[2]), 0);
        }
    }
}

/// A message that leaves its queue for a newer one can be acknowledged by nobody any more: it holds nothing.
#[test]
fn drop_oldest_lets_go_of_the_message_that_leaves() {
    for version in VERSIONS {
        let queue = limited_by_application(1, Overflow::DropOldest);
        let mut pair = Pair::connected(with_queue(version, queue));
        arrives(&mut pair, AtLeastOnce, 1);
        assert!(pair.bytes().is_empty());
        arrives(&mut pair, ExactlyOnce, 2);
        assert_eq!(pair.sent(), ["PUBACK 1"]);
        arrives(&mut pair, AtMostOnce, 0); // has no acknowledgement itself
        assert_eq!(pair.sent(), ["PUBREC 2"]);
        arrives(&mut pair, AtLeastOnce, 3);
        let (payload, delivery) = take(&mut pair, QueueId::DEFAULT).unwrap();
        assert_eq!(payload, "3");
        assert!(pair.bytes().is_empty());
        pair.acknowledge(delivery.unwrap());
        assert_eq!(pair.sent(), ["PUBACK 3"]);
        assert_eq!(pair.client.take_lost(QueueId::DEFAULT), 3);
    }
}

/// MQTT-4.6.0-2, MQTT-4.6.0-3: dropped or not, in its turn.
#[test]
fn a_dropped_message_waits_for_those_before_it() {
    for version in VERSIONS {
        for overflow in [Overflow::DropOldest, Overflow::DropNewest, Overflow::Fail] {
            let mut pair =
                Pair::connected(with_queue(version, limited_by_application(1, overflow)));
            arrives(&mut pair, AtLeastOnce, 1);
            let (_, first) = take(&mut pair, QueueId::DEFAULT).unwrap();
            arrives(&mut pair, ExactlyOnce, 2);
            arrives(&mut pair, AtLeastOnce, 3);
            assert!(pair.bytes().is_empty(), "1 is still held");
            let (kept, second) = take(&mut pair, QueueId::DEFAULT).unwrap();
            pair.acknowledge(first.unwrap());
            if overflow == Overflow::DropOldest {
                assert_eq!(kept, "3");
                assert_eq!(pair.sent(), ["PUBACK 1", "PUBREC 2"]);
                pair.acknowledge(second.unwrap());
                assert_eq!(pair.sent(), ["PUBACK 3"]);
            } else {
                assert_eq!(kept, "2");
                assert_eq!(pair.sent(), ["PUBACK 1"]);
                pair.acknowledge(second.unwrap());
                assert_eq!(pair.sent(), ["PUBREC 2", "PUBACK 3"]);
            }
        }
    }
}

/// Dropped by one queue, a message may still be held by another.
#[test]
fn a_message_dropped_by_one_queue_is_held_by_the_other() {
    for version in VERSIONS {
        for overflow in [Overflow::DropOldest, Overflow::DropNewest, Overflow::Fail] {
            let small = limited_by_application(1, overflow);
            let large = limited_by_application(10, overflow);
            let (mut pair, queues) = with_queues(version, &[small, large]);
            arrives(&mut pair, AtLeastOnce, 1);
            arrives(&mut pair, AtLeastOnce, 2);
            let mut held: Vec<_> = Vec::new();
            while let Some((_, delivery)) = take(&mut pair, queues[1]) {
                held.push(delivery.unwrap());
            }
            assert!(pair.bytes().is_empty());
            for delivery in held {
                pair.client.acknowledge(delivery);
            }
            let (kept, delivery) = take(&mut pair, queues[0]).unwrap();
            let before: &[&str] = match kept.as_str() {
                "2" => &["PUBACK 1"], // the small queue has dropped 1
                _ => &[],
            };
            assert_eq!(pair.sent(), before);
            pair.acknowledge(delivery.unwrap());
            let after: &[&str] = match kept.as_str() {
                "2" => &["PUBACK 2"],
                _ => &["PUBACK 1", "PUBACK 2"],
            };
            assert_eq!(pair.sent(), after);
        }
    }
}

/// MQTT-4.3.3-10: a QoS 2 message that was dropped was received all the same, and does not come back by being repeated.
#[test]
fn a_dropped_qos_2_message_is_not_handed_out_when_it_is_repeated() {
    for version in VERSIONS {
        for overflow in [Overflow::DropNewest, Overflow::Fail] {
            let mut pair = Pair::connected(with_queue(version, limited(1, overflow)));
            arrives(&mut pair, ExactlyOnce, 1);
            arrives(&mut pair, ExactlyOnce, 2);
            assert_eq!(pair.payloads(), ["1"]);
            pair.client.take_lost(QueueId::DEFAULT);
            pair.reconnect(true);
            comes_again(&mut pair, ExactlyOnce, 2);
            assert_eq!(pair.sent(), ["PUBREC 2"]);
            assert!(pair.payloads().is_empty());
        }
    }
}
