//! Paused input goes on while the client waits for an answer of the server: to an operation, or to a ping.

use std::time::Duration;

use ferromqtt_proto::packet::{Auth, Packet};
use ferromqtt_proto::{
    ConnectionError, Event, Options, Outcome, Overflow, Properties, ProtocolVersion, Publish,
    ReasonCode, TopicName,
};

use crate::support::pausing::{paused, send_at_once, send_each, take, texts, waiting};
use crate::support::*;

/// The Packet Identifier of the one packet that the client has sent.
fn sent_as(pair: &mut Pair) -> u16 {
    let id = match &pair.packets()[..] {
        [Packet::Publish(it)] => it.packet_id,
        [Packet::Subscribe(it)] => Some(it.packet_id),
        [Packet::Unsubscribe(it)] => Some(it.packet_id),
        other => panic!("{other:?}"),
    };
    id.unwrap().get()
}

/// A consumer that publishes in its loop: its PUBACK comes behind messages that have no room.
#[test]
fn a_publish_that_waits_for_its_acknowledgement_lets_input_go_on() {
    for version in VERSIONS {
        for qos in [AtLeastOnce, ExactlyOnce] {
            let (mut pair, queue) = paused(options(version));
            let op = pair.publish("answer", "x", qos);
            let id = sent_as(&mut pair);
            let answers = match qos {
                AtLeastOnce => vec![puback(id)],
                _ => vec![pubrec(id), pubcomp(id)],
            };
            assert!(!pair.client.input_paused());
            assert_eq!(pair.unread(), 0);
            for answer in answers {
                send_each(&mut pair, 6..7);
                pair.server_sends(answer);
            }
            assert!(matches!(pair.outcome(op), Outcome::Acknowledged { .. }));
            assert_eq!(pair.client.take_lost(queue), 0, "as much again is kept");
            send_each(&mut pair, 8..12);
            assert!(pair.client.input_paused(), "nothing waits any more");
            assert!(pair.unread() > 0);
        }
    }
}

#[test]
fn a_subscribe_and_an_unsubscribe_let_input_go_on() {
    for version in VERSIONS {
        let (mut pair, _) = paused(options(version));
        let op = pair.subscribe(&["more"]);
        assert!(!pair.client.input_paused());
        let id = sent_as(&mut pair);
        pair.server_sends(suback(id, &[ReasonCode::GrantedQos1]));
        assert!(matches!(pair.outcome(op), Outcome::Subscribed { .. }));
        send_each(&mut pair, 6..10);
        assert!(pair.client.input_paused());
        let op = pair.unsubscribe(&["more"]);
        assert!(!pair.client.input_paused());
        let reasons = vec![ReasonCode::Success; usize::from(version == V5)];
        let id = sent_as(&mut pair);
        pair.server_sends(unsuback(id, &reasons));
        assert!(matches!(pair.outcome(op), Outcome::Unsubscribed { .. }));
    }
}

/// A response is a message like those that wait: it comes behind them.
#[test]
fn a_request_that_waits_for_its_response_lets_input_go_on() {
    let (mut pair, _) = paused(options(V5));
    let request = Publish::new(TopicName::new("service").unwrap(), "ask");
    let op = pair.client.request(pair.now, request).unwrap();
    pair.pump();
    let mut asked = None;
    for packet in pair.packets() {
        match packet {
            Packet::Subscribe(it) => {
                pair.server_sends(suback(it.packet_id.get(), &[ReasonCode::GrantedQos1]));
            }
            Packet::Publish(it) => asked = Some(it),
            other => panic!("{other:?}"),
        }
    }
    let properties = asked.unwrap().properties.unwrap();
    assert!(!pair.client.input_paused(), "only the response is awaited");
    let topic = properties.response_topic.unwrap();
    let mut response = message(topic.as_str(), "answer", AtMostOnce, 0);
    response.properties = Some(Box::new(Properties {
        correlation_data: properties.correlation_data,
        ..Properties::default()
    }));
    pair.server_sends(Packet::Publish(response));
    assert!(matches!(pair.outcome(op), Outcome::Responded(_)));
    send_each(&mut pair, 6..10);
    assert!(pair.client.input_paused());
}

/// MQTT-4.12.1-1: authenticating again is an exchange like any other.
#[test]
fn authenticating_again_lets_input_go_on() {
    let method = || Properties {
        authentication_method: Some(text("m")),
        ..Properties::default()
    };
    let mut options = options(V5);
    options.properties = method();
    let mut pair = Pair::connected_with(options, method());
    let queue = pair.queue(&["t"], limited(4, Overflow::Wait));
    send_each(&mut pair, 0..6);
    assert!(pair.client.input_paused());
    let again = Auth {
        reason: ReasonCode::ReAuthenticate,
        properties: Properties::default(),
    };
    pair.client.authenticate(pair.now, again).unwrap();
    assert!(!pair.client.input_paused());
    pair.pump();
    pair.server_sends(Packet::Auth(Box::new(Auth {
        reason: ReasonCode::Success,
        properties: method(),
    })));
    assert!(pair.events().iter().any(|it| matches!(it, Event::Auth(_))));
    assert_eq!(pair.client.take_lost(queue), 0);
}

/// A call that nobody waits for any more, and that has not reached the wire, needs no answer.
#[test]
fn an_abandoned_operation_lets_input_wait_again() {
    let (mut pair, queue) = waiting(options(V5));
    pair.writable = false;
    let topic = TopicName::new("t").unwrap();
    let mut publish = Publish::new(topic, "x");
    publish.qos = AtLeastOnce;
    let op = pair.client.publish(pair.now, publish).unwrap();
    send_each(&mut pair, 0..6);
    assert!(!pair.client.input_paused());
    assert!(pair.client.abandon(op).is_some());
    send_each(&mut pair, 6..10);
    assert!(pair.client.input_paused());
    assert_eq!(pair.client.queue_lost(queue), 0);
}

/// What cannot be held back is kept up to twice the bounds; beyond that the newest is lost, counted and reported.
#[test]
fn what_comes_before_an_answer_is_kept_up_to_twice_the_bounds_and_counted_beyond() {
    for version in VERSIONS {
        let (mut pair, queue) = paused(options(version));
        let op = pair.publish("answer", "x", AtLeastOnce);
        let id = sent_as(&mut pair);
        send_each(&mut pair, 6..8);
        assert_eq!(pair.lagged(), [], "8 are twice 4");
        send_each(&mut pair, 8..11);
        assert_eq!(pair.lagged(), [queue], "once");
        pair.server_sends(puback(id));
        assert!(matches!(pair.outcome(op), Outcome::Acknowledged { .. }));
        assert_eq!(pair.client.queue_lost(queue), 3);
        assert_eq!(pair.client.stats().lost, 3);
        assert!(!pair.client.is_forgotten(queue));
        send_each(&mut pair, 11..13);
        assert!(pair.client.input_paused(), "from here on nothing is lost");
        let mut expected = texts(0..8);
        expected.extend(texts(11..13));
        assert_eq!(take(&mut pair, queue, 10), expected);
        assert_eq!(pair.client.take_lost(queue), 3);
    }
}

fn keep_alive(version: ProtocolVersion, seconds: u16) -> Options {
    let mut options = options(version);
    options.keep_alive = seconds;
    options
}

/// MQTT-3.1.2-20; 3.1.1: MQTT-3.1.2-23: a reader that is slow, and has its queue full all the time, pings, hears the answer,
/// and is not taken for dead by its own client. What is read to find the answer is held back, and not lost.
#[test]
fn a_paused_client_pings_and_lives() {
    for version in VERSIONS {
        let (mut pair, queue) = waiting(keep_alive(version, 10));
        let (mut sent, mut pings, mut taken) = (0, 0, Vec::new());
        for _ in 0..600 {
            send_each(&mut pair, sent..sent + 2); // twice as fast as it is read
            sent += 2;
            pair.advance(SECOND);
            for packet in pair.sent() {
                assert_eq!(packet, "PINGREQ");
                pings += 1;
                pair.server_sends_bytes(b"\xd0\x00");
            }
            taken.extend(take(&mut pair, queue, 1));
        }
        assert!(pair.client.is_connected());
        assert!(pings >= 55, "{pings} in 600 seconds of Keep Alive 10");
        assert!(pair.client.stats().pauses > 0);
        assert_eq!(pair.client.take_lost(queue), 0);
        assert_eq!(taken, texts(0..600));
    }
}

/// Input goes on from the moment that the PINGREQ leaves, so the answer's time limit is the usual one: a dead peer is found.
#[test]
fn a_paused_client_finds_a_dead_peer() {
    for version in VERSIONS {
        let (mut pair, queue) = paused(keep_alive(version, 10));
        let began = pair.now;
        pair.wire_is_cut_silently();
        pair.events();
        for _ in 0..30 {
            pair.advance(SECOND);
            let _ = pair.client.next_message(queue); // it is read all the time, and never empty
            if !pair.client.is_connected() {
                break;
            }
        }
        assert_eq!(pair.cause(), ConnectionError::KeepAliveTimeout);
        assert!(pair.now - began <= Duration::from_secs(15));
    }
}

/// Reading for a sign of life is no reason to read much: it must all be kept.
#[test]
fn a_paused_client_reads_little_for_the_answer_to_a_ping() {
    let mut pair = Pair::connected(keep_alive(V5, 10));
    let queue = pair.queue(&["t"], limited(40, Overflow::Wait));
    send_each(&mut pair, 0..60);
    assert!(pair.client.input_paused() && !pair.client.input_throttled());
    pair.wire_is_cut_silently();
    while !pair.sent().contains(&"PINGREQ".to_owned()) {
        pair.advance(SECOND);
        let _ = pair.client.next_message(queue); // it is read all the time
    }
    assert!(pair.client.input_throttled() && !pair.client.input_paused());
}

/// What was read before the connection ended is delivered, or lost and counted.
#[test]
fn what_was_held_back_when_keep_alive_ends_the_connection_is_accounted_for() {
    for version in VERSIONS {
        let mut pair = Pair::connected(keep_alive(version, 10));
        let queue = pair.queue(&["t"], limited(4, Overflow::Wait));
        send_at_once(&mut pair, version, 0..12);
        pair.wire_is_cut_silently();
        pair.events();
        let mut taken = 0;
        while pair.client.is_connected() {
            pair.advance(SECOND);
            if taken == 0 {
                taken += usize::from(pair.client.next_message(queue).is_some());
            }
        }
        let left = pair.messages_of(queue).len();
        let lost = pair.client.take_lost(queue) as usize;
        assert_eq!(taken + left + lost, 12, "{taken} {left} {lost}");
    }
}
