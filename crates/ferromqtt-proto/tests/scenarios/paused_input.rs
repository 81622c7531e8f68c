//! Input is held back while a queue under [`Overflow::Wait`] has no room for a QoS 0 message, and not while anything waits
//! for an answer that it may hold.

use std::num::{NonZeroU16, NonZeroU32};

use bytes::{Bytes, BytesMut};
use ferromqtt_proto::packet::{Disconnect, Packet, TopicAlias};
use ferromqtt_proto::{ConnectionError, Overflow, Properties, QoS, QueueOptions, ReasonCode};

use crate::support::pausing::{numbered, paused, send_at_once, send_each, take, texts, waiting};
use crate::support::*;

/// The default of a queue, and so of a stream. The default queue is for what no other one has asked for: perhaps nobody
/// reads it, and it must hold up nobody.
#[test]
fn queues_wait_unless_told_otherwise_and_the_default_one_keeps_the_latest() {
    assert_eq!(QueueOptions::default(), QueueOptions::DEFAULT);
    assert_eq!(QueueOptions::DEFAULT.overflow, Overflow::Wait);
    assert_eq!(options(V5).incoming, QueueOptions::LATEST);
    assert_eq!(QueueOptions::LATEST.overflow, Overflow::DropOldest);
}

/// MQTT-3.3.4-5: a copy that waited goes to the queue that it was sent for, and to no other whose filter matches too.
#[test]
fn a_copy_for_one_of_two_overlapping_queues_stays_its_own_while_it_waits() {
    let mut pair = Pair::connected(options(V5));
    let mut queues = Vec::new();
    for filter in ["a/#", "a/+"] {
        let queue = pair.client.open_queue(limited(1, Overflow::Wait));
        pair.subscribe_to(&[filter], queue);
        let subscribe = pair.subscribes().remove(0);
        let granted = [ReasonCode::GrantedQos1];
        pair.server_sends(suback(subscribe.packet_id.get(), &granted));
        queues.push((queue, subscribe.properties.subscription_identifiers));
    }
    for text in ["one", "two"] {
        for (_, identifiers) in &queues {
            let mut publish = message("a/b", text, AtMostOnce, 0);
            publish.properties = Some(Box::new(Properties {
                subscription_identifiers: identifiers.clone(),
                ..Properties::default()
            }));
            pair.server_sends(Packet::Publish(publish));
        }
    }
    assert!(pair.client.input_paused());
    for _ in 0..2 {
        for (queue, _) in &queues {
            assert!(pair.client.queue_len(*queue) <= 1);
            pair.client.next_message(*queue).expect("each gets both");
            pair.pump();
        }
    }
    for (queue, _) in &queues {
        assert_eq!(pair.payloads_of(*queue), [""; 0]);
    }
}

/// A pause begins with the first message that has no room, and ends when the queue is half empty.
#[test]
fn input_waits_for_a_full_queue_until_it_is_half_empty() {
    for version in VERSIONS {
        let (mut pair, queue) = waiting(options(version));
        send_each(&mut pair, 0..4);
        assert!(!pair.client.input_paused(), "full, and nothing has come");
        send_each(&mut pair, 4..12);
        assert!(pair.client.input_paused());
        assert_eq!(pair.client.queue_len(queue), 4);
        assert!(pair.unread() > 0);
        assert_eq!(take(&mut pair, queue, 1), ["0"]);
        assert!(pair.client.input_paused(), "one free place is not worth it");
        assert_eq!(take(&mut pair, queue, 1), ["1"]);
        assert_eq!(pair.client.queue_len(queue), 4, "2 to 5");
        assert!(pair.client.input_paused());
        assert_eq!(take(&mut pair, queue, 10), texts(2..12));
        assert_eq!((pair.unread(), pair.client.input_paused()), (0, false));
        assert_eq!(pair.client.take_lost(queue), 0);
        assert_eq!(pair.client.stats().lost, 0);
        assert_eq!(pair.client.stats().received, 12);
        assert_eq!(pair.lagged(), []);
    }
}

/// What one read brings is more than the queue takes: nothing of it is lost, and the rest comes in order.
#[test]
fn a_read_that_is_larger_than_the_queue_is_held_back_from_the_first_message_without_room() {
    for version in VERSIONS {
        let (mut pair, queue) = waiting(options(version));
        send_at_once(&mut pair, version, 0..1_000);
        assert_eq!(pair.client.queue_len(queue), 4);
        assert_eq!(pair.unread(), 0, "it was read already");
        assert_eq!(take(&mut pair, queue, 1_000), texts(0..1_000));
        assert_eq!(pair.client.take_lost(queue), 0);
        assert!(!pair.client.input_paused());
    }
}

/// The message that waits may be as large as the whole queue.
#[test]
fn a_message_that_needs_an_empty_queue_waits_until_it_is_empty() {
    let mut pair = Pair::connected(options(V5));
    let bounds = QueueOptions {
        bytes: Some(counted(&[2, 2])),
        overflow: Overflow::Wait,
        ..QueueOptions::UNBOUNDED
    };
    let queue = pair.queue(&["t"], bounds);
    let too_large = &*"too large".repeat(30);
    for payload in ["aa", "bb", too_large, "cc"] {
        pair.receive("t", payload, AtMostOnce, 0);
    }
    assert_eq!(take(&mut pair, queue, 1), ["aa"]);
    assert!(
        pair.client.input_paused(),
        "half empty, and too full for it"
    );
    assert_eq!(take(&mut pair, queue, 3), ["bb", too_large, "cc"]);
    assert_eq!(pair.client.take_lost(queue), 0);
}

/// Behind the message that waits everything waits, in order: also what other queues are to get.
#[test]
fn everything_behind_the_message_waits_in_order() {
    for version in VERSIONS {
        let (mut pair, queue) = waiting(options(version));
        let mut packets = numbered("t", 0..5);
        packets.push(Packet::Publish(message("other", "5", AtLeastOnce, 1)));
        packets.push(Packet::Publish(message("t", "6", ExactlyOnce, 2)));
        pair.server_sends_bytes(&in_one_read(version, packets));
        assert!(pair.client.input_paused());
        assert!(pair.sent().is_empty());
        assert_eq!(pair.payloads(), [""; 0]);
        assert_eq!(take(&mut pair, queue, 2), ["0", "1"]);
        assert_eq!(pair.sent(), ["PUBACK 1", "PUBREC 2"]);
        assert_eq!(pair.payloads(), ["5"]);
        assert_eq!(take(&mut pair, queue, 4), ["2", "3", "4", "6"]);
    }
}

/// Topic Aliases are set in the order in which they came.
#[test]
fn topic_aliases_are_resolved_behind_a_pause() {
    let mut options = options(V5);
    options.properties.topic_alias_maximum = Some(1);
    let (mut pair, queue) = waiting(options);
    let aliased = |topic: &str, payload: &str| {
        let mut publish = message(topic, payload, AtMostOnce, 0);
        publish.properties = Some(Box::new(Properties {
            topic_alias: NonZeroU16::new(1).map(TopicAlias),
            ..Properties::default()
        }));
        Packet::Publish(publish)
    };
    let mut packets = numbered("t", 0..4);
    packets.extend([aliased("t", "a"), aliased("", "b")]);
    packets.extend([aliased("other", "c"), aliased("", "d"), aliased("t", "e")]);
    pair.server_sends_bytes(&in_one_read(V5, packets));
    assert!(pair.client.input_paused());
    let rest = take(&mut pair, queue, 7);
    assert_eq!(rest[4..], ["a", "b", "e"]);
    assert_eq!(pair.payloads(), ["c", "d"]);
}

/// Acknowledgements bound QoS 1 and 2: input goes on, so that other queues get theirs.
#[test]
fn qos_1_and_2_alone_pause_nothing() {
    for version in VERSIONS {
        let (mut pair, queue) = waiting(options(version));
        for packet_id in 1..=8 {
            pair.receive("t", "x", AtLeastOnce, packet_id);
        }
        pair.receive("other", "y", AtMostOnce, 0);
        assert!(!pair.client.input_paused());
        assert_eq!(pair.payloads(), ["y"]);
        assert_eq!(pair.client.queue_len(queue), 8);
    }
}

/// The other policies lose messages rather than time, as before.
#[test]
fn other_policies_pause_nothing() {
    for overflow in [Overflow::DropOldest, Overflow::DropNewest, Overflow::Fail] {
        let mut pair = Pair::connected(options(V5));
        let queue = pair.queue(&["t"], limited(2, overflow));
        send_each(&mut pair, 0..5);
        assert!(!pair.client.input_paused());
        assert_eq!(pair.client.queue_lost(queue), 3, "{overflow:?}");
        assert_eq!(pair.client.stats().lost, 3);
        assert_eq!(pair.client.stats().pauses, 0);
    }
}

/// The reader's end of the queue is the end of the wait.
#[test]
fn closing_and_detaching_the_full_queue_let_input_go_on() {
    for version in VERSIONS {
        let (mut pair, queue) = paused(options(version));
        pair.client.close_queue(queue);
        pair.pump();
        assert_eq!((pair.unread(), pair.client.input_paused()), (0, false));
        assert_eq!(pair.payloads(), texts(4..6), "as what comes until UNSUBACK");

        let (mut pair, queue) = paused(options(version));
        pair.client.detach_queue(pair.now, queue);
        pair.pump();
        assert_eq!((pair.unread(), pair.client.input_paused()), (0, false));
        assert_eq!(pair.payloads(), texts(0..6));
    }
}

/// Of two queues one is full: the other waits with it, and both get every message once.
#[test]
fn a_message_for_several_queues_waits_for_each_of_them_and_comes_once() {
    for version in VERSIONS {
        let mut pair = Pair::connected(options(version));
        let narrow = pair.queue(&["t"], limited(2, Overflow::Wait));
        let wide = pair.queue(&["#"], limited(4, Overflow::Wait));
        let lossy = pair.queue(&["+"], limited(1, Overflow::DropOldest));
        for packet in numbered("t", 0..8) {
            pair.server_sends(packet);
        }
        assert!(pair.client.input_paused());
        assert_eq!(
            pair.client.queue_len(wide),
            2,
            "what is held back is in none"
        );
        assert_eq!(take(&mut pair, narrow, 1), ["0"]);
        assert!(pair.client.input_paused(), "now the other one fills up");
        let mut read = [vec!["0".to_owned()], Vec::new()];
        for _ in 0..8 {
            for (queue, read) in [narrow, wide].into_iter().zip(&mut read) {
                if pair.client.queue_len(queue) > 0 {
                    read.extend(take(&mut pair, queue, 1));
                }
            }
        }
        assert_eq!(read, [texts(0..8), texts(0..8)]);
        assert_eq!(pair.payloads_of(lossy), ["7"]);
        assert_eq!(pair.client.queue_lost(lossy), 7);
    }
}

/// What was read before the connection was lost has come; what was not is lost with it, as ever.
#[test]
fn a_connection_that_is_lost_during_a_pause_leaves_what_was_read() {
    for version in VERSIONS {
        let (mut pair, queue) = waiting(resuming(version));
        let mut packets = numbered("t", 0..6);
        packets.push(Packet::Publish(message("t", "6", ExactlyOnce, 1)));
        pair.server_sends_bytes(&in_one_read(version, packets));
        assert!(pair.client.input_paused());
        pair.cut();
        assert!(!pair.client.input_paused());
        pair.wait_for_transport();
        pair.accept(true, Properties::default());
        pair.server_sends(again("t", "6", ExactlyOnce, 1));
        send_each(&mut pair, 7..9);
        assert!(pair.client.input_paused());
        assert_eq!(take(&mut pair, queue, 9), texts(0..9));
        assert_eq!(pair.client.take_lost(queue), 0);
    }
}

/// Leaving waits for no reader. What was read is kept as while an answer is awaited, and acknowledged before DISCONNECT.
#[test]
fn disconnecting_during_a_pause_takes_what_was_read_and_ends_at_once() {
    for version in VERSIONS {
        let (mut pair, queue) = waiting(options(version));
        let mut packets = numbered("t", 0..6);
        packets.push(Packet::Publish(message("other", "x", AtLeastOnce, 1)));
        packets.extend(numbered("t", 6..10));
        pair.server_sends_bytes(&in_one_read(version, packets));
        pair.client.disconnect(pair.now, Disconnect::normal());
        assert!(
            !pair.client.input_paused(),
            "the driver reads until the peer ends"
        );
        pair.pump();
        let sent = pair.sent();
        assert_eq!(sent, ["PUBACK 1", "DISCONNECT 0x00"]);
        assert!(pair.client.is_idle());
        assert_eq!(pair.payloads_of(queue), texts(0..8));
        assert_eq!(pair.client.take_lost(queue), 2);
    }
}

/// The process goes on with the session, and with the message that had no room.
#[test]
fn a_session_keeps_the_message_that_waited() {
    let mut options = resuming(V5);
    options.incoming = limited(1, Overflow::Wait);
    let mut pair = Pair::connected(options.clone());
    send_each(&mut pair, 0..2);
    assert!(pair.client.input_paused());
    let Pair { client, .. } = pair;
    let mut pair = Pair::with_session(options, client.into_session());
    assert_eq!(pair.payloads(), texts(0..2));
}

/// Bytes that are no packet end the connection when it is their turn.
#[test]
fn a_broken_packet_behind_a_pause_ends_the_connection_after_what_came_before_it() {
    for version in VERSIONS {
        let (mut pair, queue) = waiting(options(version));
        let mut bytes = in_one_read(version, numbered("t", 0..6));
        bytes.extend_from_slice(b"\x00\xff\xff\xff\xff\xff");
        pair.server_sends_bytes(&bytes);
        assert!(pair.client.is_connected() && pair.client.input_paused());
        pair.events();
        assert_eq!(take(&mut pair, queue, 6), texts(0..6));
        assert!(matches!(
            pair.cause(),
            ConnectionError::ProtocolViolation(_)
        ));
    }
}

/// 3.1.1: a packet above our limit, behind a pause, is reported by its size.
#[test]
fn a_packet_too_large_behind_a_pause_is_told_by_its_size() {
    let mut options = options(V311);
    options.maximum_packet_size = NonZeroU32::new(100);
    let (mut pair, queue) = waiting(options);
    let mut bytes = in_one_read(V311, numbered("t", 0..6));
    bytes.extend_from_slice(b"\x30\xff\x01");
    pair.server_sends_bytes(&bytes);
    pair.events();
    assert_eq!(take(&mut pair, queue, 6), texts(0..6));
    let too_large = ConnectionError::PacketTooLarge {
        bytes: 258,
        limit: 100,
    };
    assert_eq!(pair.cause(), too_large);
}

/// Input that a driver gives all the same is held back too, up to 1 MiB; then it is taken as before an answer.
#[test]
fn input_that_is_given_during_a_pause_is_bounded() {
    let (mut pair, queue) = paused(options(V5));
    let mut given = 0;
    let mut give = |pair: &mut Pair| {
        let payload = Bytes::from(vec![b'x'; 100_000]);
        let mut publish = message("t", "", AtMostOnce, 0);
        publish.payload = payload;
        let mut bytes = BytesMut::new();
        Packet::Publish(publish).encode(V5, &mut bytes);
        pair.client.handle_input(pair.now, &mut bytes);
        given += 1;
        assert!(bytes.is_empty());
    };
    for _ in 0..10 {
        give(&mut pair);
        assert!(pair.client.input_paused());
        assert_eq!(pair.client.queue_lost(queue), 0);
    }
    give(&mut pair);
    assert_eq!(pair.client.queue_len(queue), 8);
    assert_eq!(pair.client.queue_lost(queue), 4 + 1 + 11 - 8);
}

/// The same message at QoS 0 and 1 in a queue that the application acknowledges by itself.
#[test]
fn a_queue_whose_messages_the_application_acknowledges_waits_too() {
    for version in VERSIONS {
        let mut pair = Pair::connected(options(version));
        let queue = pair.queue(&["t"], limited_by_application(1, Overflow::Wait));
        pair.receive("t", "0", AtLeastOnce, 1);
        send_each(&mut pair, 1..3);
        assert!(pair.client.input_paused());
        assert!(pair.take(queue).delivery.is_some());
        assert_eq!(take(&mut pair, queue, 2), texts(1..3));
        assert_eq!(pair.client.take_lost(queue), 0);
    }
}

fn qos_of(number: u16) -> QoS {
    QoS::from_value((number % 3) as u8).unwrap()
}

/// Mixed QoS through a queue of one: everything comes, in order, and every acknowledgement leaves.
#[test]
fn a_queue_of_one_passes_a_flood_of_every_qos_in_order() {
    for version in VERSIONS {
        let mut pair = Pair::connected(options(version));
        let queue = pair.queue(&["t"], limited(1, Overflow::Wait));
        let packets = (1..=300).map(|number| {
            let qos = qos_of(number);
            let id = if qos == AtMostOnce { 0 } else { number };
            Packet::Publish(message("t", &number.to_string(), qos, id))
        });
        pair.server_sends_bytes(&in_one_read(version, packets));
        assert_eq!(take(&mut pair, queue, 300), texts(1..301));
        let answers = pair.sent().len();
        assert_eq!(answers, 200);
        assert_eq!(pair.client.take_lost(queue), 0);
    }
}
