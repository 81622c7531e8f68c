//! Subscriptions after a reconnect: they live in the server's session, and are made again when it was lost.

use ferromqtt_proto::packet::Packet;
use ferromqtt_proto::{Properties, QueueId, QueueOptions, ReasonCode};

use crate::support::*;

/// A client that is subscribed to `filters`.
fn subscribed(version: ferromqtt_proto::ProtocolVersion, filters: &[&str]) -> Pair {
    let mut pair = Pair::connected(resuming(version));
    for (index, filter) in filters.iter().enumerate() {
        pair.subscribe(&[filter]);
        pair.server_sends(suback(index as u16 + 1, &[ReasonCode::GrantedQos1]));
    }
    pair.bytes();
    pair.events();
    pair
}

/// Pitfall 6: only when the session was lost; nobody gets an outcome for it.
#[test]
fn subscriptions_are_made_again_exactly_when_the_session_was_lost() {
    for version in VERSIONS {
        let mut pair = subscribed(version, &["a", "b"]);
        pair.reconnect(true);
        assert!(pair.bytes().is_empty(), "the session has them");
        pair.reconnect(false);
        assert_eq!(pair.sent(), ["SUBSCRIBE 3 a b"]);
        pair.server_sends(suback(3, &[ReasonCode::GrantedQos1; 2]));
        assert_eq!(pair.outcomes(), []);
        pair.reconnect(true);
        assert!(pair.bytes().is_empty());
    }
}

/// Their options are those asked for last.
#[test]
fn subscriptions_are_restored_with_their_options() {
    let mut pair = subscribed(V5, &["a"]);
    let mut options = at(ExactlyOnce);
    options.retain_as_published = true;
    let again = ferromqtt_proto::Subscribe {
        filters: vec![(filter("a"), options)],
        properties: Properties::default(),
        queue: QueueId::DEFAULT,
    };
    pair.client.subscribe(pair.now, again).unwrap();
    pair.pump();
    pair.server_sends(suback(2, &[ReasonCode::GrantedQos2]));
    pair.reconnect(false);
    assert_eq!(pair.bytes(), &b"\x82\x07\x00\x03\x00\x00\x01a\x0a"[..]);
}

/// Section 3.8.2.1.2: without its Subscription Identifier the application could not tell the messages apart.
#[test]
fn subscriptions_are_restored_with_their_identifiers() {
    let mut pair = subscribed(V5, &["a"]);
    for (name, identifier) in [("b", 7), ("c", 7), ("d", 8)] {
        let subscribe = ferromqtt_proto::Subscribe {
            filters: vec![(filter(name), at(AtLeastOnce))],
            properties: Properties {
                subscription_identifiers: [identifier].into(),
                ..Properties::default()
            },
            queue: QueueId::DEFAULT,
        };
        pair.client.subscribe(pair.now, subscribe).unwrap();
        pair.pump();
    }
    for id in 2..=4 {
        pair.server_sends(suback(id, &[ReasonCode::GrantedQos1]));
    }
    pair.reconnect(false);
    let restored: Vec<_> = pair
        .packets()
        .into_iter()
        .map(|packet| match packet {
            Packet::Subscribe(it) => (
                it.properties.subscription_identifiers.to_vec(),
                it.filters.len(),
            ),
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(restored, [(vec![], 1), (vec![7], 2), (vec![8], 1)]);
}

#[test]
fn what_was_unsubscribed_or_refused_is_not_restored() {
    for version in VERSIONS {
        let mut pair = subscribed(version, &["a", "b"]);
        pair.unsubscribe(&["a"]);
        pair.server_sends(unsuback(
            3,
            if version == V5 {
                &[ReasonCode::Success]
            } else {
                &[]
            },
        ));
        pair.subscribe(&["c", "d"]);
        pair.server_sends(suback(
            4,
            &[ReasonCode::UnspecifiedError, ReasonCode::GrantedQos1],
        ));
        pair.reconnect(false);
        assert_eq!(pair.sent(), ["SUBSCRIBE 5 b d"]);
    }
}

/// An UNSUBSCRIBE that waited must not be undone by the restoring.
#[test]
fn restoring_comes_before_requests_that_waited() {
    for version in VERSIONS {
        let mut pair = subscribed(version, &["a", "b"]);
        pair.cut();
        pair.unsubscribe(&["a"]);
        pair.wait_for_transport();
        pair.accept(false, Properties::default());
        assert_eq!(pair.sent(), ["SUBSCRIBE 3 a b", "UNSUBSCRIBE 4 a"]);
        pair.reconnect(false);
        assert_eq!(pair.sent(), ["SUBSCRIBE 5 b", "UNSUBSCRIBE 6 a"]);
        pair.reconnect(true);
        assert_eq!(
            pair.sent(),
            ["SUBSCRIBE 7 b", "UNSUBSCRIBE 8 a"],
            "none was answered"
        );
    }
}

/// A SUBSCRIBE that waits, or was not answered, is sent once, not once for itself and once to restore it.
#[test]
fn a_filter_that_is_asked_for_anyway_is_not_restored_as_well() {
    for version in VERSIONS {
        let mut pair = subscribed(version, &["a"]);
        pair.subscribe(&["b"]);
        pair.reconnect(false);
        assert_eq!(pair.sent(), ["SUBSCRIBE 3 a", "SUBSCRIBE 4 b"]);
    }
}

/// Pitfall 6: the connection breaks before the server has the restoring SUBSCRIBE, and the next one finds a session, but one
/// without subscriptions.
#[test]
fn restoring_that_was_interrupted_starts_over() {
    for version in VERSIONS {
        let mut pair = subscribed(version, &["a", "b"]);
        pair.reconnect(false);
        assert_eq!(pair.sent(), ["SUBSCRIBE 3 a b"]);
        for id in [4, 5] {
            pair.reconnect(true);
            assert_eq!(pair.sent(), [format!("SUBSCRIBE {id} a b")]);
        }
        pair.server_sends(suback(5, &[ReasonCode::GrantedQos1; 2]));
        pair.reconnect(true);
        assert!(pair.bytes().is_empty());
        assert_eq!(pair.outcomes(), []);
    }
}

/// Messages go to the queue they went to before, and a queue that was closed gets no subscription again.
#[test]
fn queues_are_kept() {
    for version in VERSIONS {
        let mut pair = subscribed(version, &["a"]);
        let kept = pair.client.open_queue(QueueOptions::default());
        let closed = pair.client.open_queue(QueueOptions::default());
        pair.subscribe_to(&["b"], kept);
        pair.subscribe_to(&["c"], closed);
        pair.client.close_queue(closed);
        pair.server_sends(suback(2, &[ReasonCode::GrantedQos1]));
        pair.server_sends(suback(3, &[ReasonCode::GrantedQos1]));
        pair.reconnect(false);
        assert_eq!(pair.sent(), ["SUBSCRIBE 4 a", "SUBSCRIBE 5 b"]);
        for topic in ["a", "b"] {
            let publish = message(topic, topic, AtMostOnce, 0);
            pair.server_sends(Packet::Publish(publish));
        }
        assert_eq!(pair.payloads(), ["a"]);
        assert_eq!(pair.payloads_of(kept), ["b"]);
    }
}

/// The application subscribes itself after `connect()`: only what a reconnect loses is restored.
#[test]
fn connecting_anew_restores_nothing() {
    for version in VERSIONS {
        let mut pair = subscribed(version, &["a"]);
        pair.client
            .disconnect(pair.now, ferromqtt_proto::packet::Disconnect::normal());
        pair.pump();
        pair.connect();
        pair.accept(false, Properties::default());
        assert!(pair.bytes().is_empty());
        pair.reconnect(false);
        assert!(pair.bytes().is_empty());
    }
}

/// The server has lost the session and says so by a CONNACK that is lost as well: the next one finds the session that the
/// CONNECT before has started, without subscriptions.
#[test]
fn subscriptions_are_made_again_when_an_attempt_before_got_no_answer() {
    for version in VERSIONS {
        let mut pair = subscribed(version, &["a", "b"]);
        pair.cut();
        pair.wait_for_transport();
        pair.cut();
        pair.wait_for_transport();
        pair.accept(true, Properties::default());
        assert_eq!(pair.sent(), ["SUBSCRIBE 3 a b"]);
        pair.server_sends(suback(3, &[ReasonCode::GrantedQos1; 2]));
        assert_eq!(pair.outcomes(), []);
        pair.reconnect(true);
        assert!(pair.bytes().is_empty(), "the session has them");
    }
}

/// A server that refuses a connection starts no session.
#[test]
fn an_attempt_that_was_refused_leaves_the_session_as_it_was() {
    for version in VERSIONS {
        let mut pair = subscribed(version, &["a"]);
        pair.cut();
        pair.wait_for_transport();
        pair.bytes();
        pair.server_sends(refused(ReasonCode::ServerUnavailable));
        pair.wait_for_transport();
        pair.accept(true, Properties::default());
        assert!(pair.bytes().is_empty());
    }
}
