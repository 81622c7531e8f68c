//! What CONNACK says that the server cannot do (MQTT 5.0, section 3.2.2.3).

use ferromqtt_proto::{
    InvalidPublish, InvalidSubscribe, Outcome, Properties, Publish, QoS, QueueId, Subscribe,
    TopicName, Unsubscribe,
};

use crate::support::*;

fn publish(qos: QoS, retain: bool) -> Publish {
    let mut publish = Publish::new(TopicName::new("t").unwrap(), "x");
    publish.qos = qos;
    publish.retain = retain;
    publish
}

fn maximum_qos(maximum: QoS) -> Properties {
    Properties {
        maximum_qos: Some(maximum),
        ..Properties::default()
    }
}

fn no_retain() -> Properties {
    Properties {
        retain_available: Some(false),
        ..Properties::default()
    }
}

/// MQTT-3.2.2-11: refused, and not sent at a lower QoS. Pitfall 16.
#[test]
fn a_publish_above_maximum_qos_is_refused() {
    for (maximum, allowed) in [(AtMostOnce, 1), (AtLeastOnce, 2)] {
        let mut pair = Pair::connected_with(options(V5), maximum_qos(maximum));
        for (index, qos) in [AtMostOnce, AtLeastOnce, ExactlyOnce]
            .into_iter()
            .enumerate()
        {
            let result = pair.client.publish(pair.now, publish(qos, false));
            let maximum = maximum.value();
            match result {
                Ok(_) => assert!(index < allowed),
                Err(error) => assert_eq!(
                    error,
                    InvalidPublish::QosNotSupported {
                        maximum,
                        whose: "the server"
                    }
                ),
            }
            assert_eq!(index < allowed, qos.value() <= maximum);
        }
        pair.pump();
        assert_eq!(pair.packets().len(), allowed);
    }
}

/// MQTT-3.2.2-14. Pitfall 16.
#[test]
fn retain_is_refused_where_it_is_not_available() {
    let mut pair = Pair::connected_with(options(V5), no_retain());
    let refused = pair.client.publish(pair.now, publish(AtMostOnce, true));
    assert_eq!(
        refused,
        Err(InvalidPublish::RetainNotSupported {
            whose: "the server",
        })
    );
    pair.client
        .publish(pair.now, publish(AtMostOnce, false))
        .unwrap();
}

/// MQTT-3.2.2-15: the whole packet counts, and a packet of exactly the limit passes. Pitfall 15.
#[test]
fn maximum_packet_size_counts_the_whole_packet() {
    let mut pair = Pair::connected_with(options(V5), maximum_packet_size(20));
    // Fixed header 2, topic 3, Property Length 1, and a Packet Identifier of 2 at QoS 1.
    for (qos, fits) in [(AtMostOnce, 14), (AtLeastOnce, 12), (ExactlyOnce, 12)] {
        let mut exact = publish(qos, false);
        exact.payload = vec![0; fits].into();
        pair.client.publish(pair.now, exact.clone()).unwrap();
        pair.pump();
        assert_eq!(pair.bytes().len(), 20);
        exact.payload = vec![0; fits + 1].into();
        let error = InvalidPublish::TooLarge {
            bytes: 21,
            limit: 20,
            whose: "the server",
        };
        assert_eq!(pair.client.publish(pair.now, exact), Err(error));
    }
}

/// MQTT-3.2.2-15 for requests. Pitfall 15: a refused call keeps neither identifier nor slot.
#[test]
fn requests_larger_than_maximum_packet_size_are_refused_and_keep_nothing() {
    let mut pair = Pair::connected_with(options(V5), maximum_packet_size(20));
    let long = "x".repeat(30);
    let subscribe = Subscribe {
        filters: vec![(filter(&long), at(AtMostOnce))],
        properties: Properties::default(),
        queue: QueueId::DEFAULT,
    };
    let error = pair.client.subscribe(pair.now, subscribe).unwrap_err();
    assert_eq!(
        error,
        InvalidSubscribe::TooLarge {
            bytes: 38,
            limit: 20
        }
    );
    let unsubscribe = Unsubscribe {
        filters: vec![filter(&long)],
        properties: Properties::default(),
    };
    let error = pair.client.unsubscribe(pair.now, unsubscribe).unwrap_err();
    assert_eq!(
        error,
        InvalidSubscribe::TooLarge {
            bytes: 37,
            limit: 20
        }
    );
    let mut large = publish(AtLeastOnce, false);
    large.payload = vec![0; 100].into();
    pair.client.publish(pair.now, large).unwrap_err();
    pair.publish("t", "x", AtLeastOnce);
    assert_eq!(pair.sent(), ["PUBLISH q1 1 x"]);
}

/// MQTT-3.2.2-15 for DISCONNECT: left out when it would not fit.
#[test]
fn disconnect_is_left_out_when_it_does_not_fit() {
    let mut pair = Pair::connected_with(options(V5), maximum_packet_size(2));
    let reason = ferromqtt_proto::ReasonCode::DisconnectWithWill;
    pair.client.disconnect(
        pair.now,
        ferromqtt_proto::packet::Disconnect::because(reason),
    );
    pair.pump();
    assert!(pair.bytes().is_empty());
    assert_eq!(pair.closes, [true]);
}

/// Sections 3.2.2.3.11 to 3.2.2.3.13.
#[test]
fn subscriptions_of_a_kind_that_is_not_available_are_refused() {
    let identifier = Properties {
        subscription_identifiers: [1].into(),
        ..Properties::default()
    };
    let none = Properties::default();
    let no_wildcard = Properties {
        wildcard_subscription_available: Some(false),
        ..none.clone()
    };
    let no_shared = Properties {
        shared_subscription_available: Some(false),
        ..none.clone()
    };
    let no_identifier = Properties {
        subscription_identifier_available: Some(false),
        ..none.clone()
    };
    for (limits, text, properties) in [
        (&no_wildcard, "a/+", &none),
        (&no_wildcard, "#", &none),
        (&no_shared, "$share/g/a", &none),
        (&no_identifier, "a", &identifier),
    ] {
        let request = || Subscribe {
            filters: vec![(filter(text), at(AtMostOnce))],
            properties: properties.clone(),
            queue: QueueId::DEFAULT,
        };
        let mut pair = Pair::connected_with(options(V5), limits.clone());
        let error = pair.client.subscribe(pair.now, request()).unwrap_err();
        assert!(matches!(error, InvalidSubscribe::NotSupported(_)), "{text}");
        pair.subscribe(&["plain"]);
        assert_eq!(pair.sent(), ["SUBSCRIBE 1 plain"]);
        let mut pair = Pair::connected(options(V5));
        pair.client.subscribe(pair.now, request()).unwrap();
    }
}

/// MQTT-3.2.2-11, MQTT-3.2.2-14, MQTT-3.2.2-15: limits that the next connection brings forbid what was accepted before.
/// Pitfalls 15 and 16.
#[test]
fn limits_learnt_only_after_a_reconnect_make_a_waiting_publish_not_possible() {
    for (limits, error) in [
        (
            maximum_qos(AtLeastOnce),
            InvalidPublish::QosNotSupported {
                maximum: 1,
                whose: "the server",
            },
        ),
        (
            no_retain(),
            InvalidPublish::RetainNotSupported {
                whose: "the server",
            },
        ),
        (
            maximum_packet_size(8),
            InvalidPublish::TooLarge {
                bytes: 9,
                limit: 8,
                whose: "the server",
            },
        ),
    ] {
        let mut pair = Pair::connected(resuming(V5));
        pair.cut();
        let before = pair.publish("t", "", AtMostOnce);
        let op = pair
            .client
            .publish(pair.now, publish(ExactlyOnce, true))
            .unwrap();
        let after = pair.publish("t", "", AtLeastOnce);
        pair.wait_for_transport();
        pair.accept(true, limits);
        assert_eq!(
            pair.outcomes(),
            [(before, Outcome::Sent), (op, Outcome::NotPossible(error))]
        );
        assert_eq!(
            pair.sent(),
            ["PUBLISH q0 ", "PUBLISH q1 1 "],
            "the others go on"
        );
        pair.server_sends(puback(1));
        assert!(matches!(pair.outcome(after), Outcome::Acknowledged { .. }));
    }
}

/// MQTT-3.2.2-15: the same for a request, which would otherwise end the connection again and again. Pitfall 15.
#[test]
fn a_waiting_request_too_large_for_the_next_connection_is_not_possible() {
    let mut pair = Pair::connected(resuming(V5));
    pair.cut();
    pair.events();
    let long = "x".repeat(30);
    let subscribe = pair.subscribe(&[&long]);
    let unsubscribe = pair.unsubscribe(&[&long]);
    pair.wait_for_transport();
    pair.accept(true, maximum_packet_size(20));
    assert!(pair.bytes().is_empty());
    let too_large =
        |bytes| Outcome::RequestNotPossible(InvalidSubscribe::TooLarge { bytes, limit: 20 });
    assert_eq!(
        pair.outcomes(),
        [(subscribe, too_large(38)), (unsubscribe, too_large(37))]
    );
    pair.reconnect(true);
    assert!(pair.bytes().is_empty(), "given up for good");
}

/// A limit of one connection does not hold on the next. Pitfall 15.
#[test]
fn limits_do_not_outlive_their_connection() {
    let mut limits = maximum_qos(AtMostOnce);
    limits.retain_available = Some(false);
    limits.maximum_packet_size = maximum_packet_size(10).maximum_packet_size;
    let mut pair = Pair::connected_with(resuming(V5), limits);
    pair.client
        .publish(pair.now, publish(ExactlyOnce, true))
        .unwrap_err();
    pair.reconnect(true);
    let mut large = publish(ExactlyOnce, true);
    large.payload = vec![0; 1_000].into();
    pair.client.publish(pair.now, large).unwrap();
    pair.pump();
    assert_eq!(pair.packets().len(), 1);
}
