//! Message Expiry Interval: counted down while a message waits, and without effect once it was sent.

use std::time::Duration;

use ferromqtt_proto::packet::Packet;
use ferromqtt_proto::{OpId, Outcome, Properties, Publish, QoS, TopicName};

use crate::support::*;

fn publish(pair: &mut Pair, payload: &'static str, qos: QoS, seconds: u32) -> OpId {
    let mut publish = Publish::new(TopicName::new("t").unwrap(), payload);
    publish.qos = qos;
    publish.properties = Some(Box::new(Properties {
        message_expiry_interval: Some(seconds),
        ..Properties::default()
    }));
    let op = pair.client.publish(pair.now, publish).unwrap();
    pair.pump();
    op
}

/// Payload, DUP, and Message Expiry Interval of what the client sent.
fn sent(pair: &mut Pair) -> Vec<(String, bool, Option<u32>)> {
    let described = |packet| match packet {
        Packet::Publish(publish) => {
            let payload = String::from_utf8_lossy(&publish.payload).into_owned();
            let properties = publish.properties.unwrap_or_default();
            (payload, publish.dup, properties.message_expiry_interval)
        }
        other => panic!("{other:?}"),
    };
    pair.packets().into_iter().map(described).collect()
}

/// Holds the client's bytes back for `time`.
fn wait(pair: &mut Pair, time: Duration) {
    pair.writable = false;
    pair.advance(time);
}

fn go_on(pair: &mut Pair) {
    pair.writable = true;
    pair.pump();
}

/// Section 3.3.2.3.3: whole seconds that it waited are subtracted, at every QoS.
#[test]
fn the_interval_is_counted_down_while_a_message_waits() {
    for (waited, left) in [(0, 10), (999, 10), (1_000, 9), (2_500, 8), (9_999, 1)] {
        for qos in [AtMostOnce, AtLeastOnce, ExactlyOnce] {
            let mut pair = Pair::connected(options(V5));
            pair.writable = false;
            publish(&mut pair, "x", qos, 10);
            pair.publish("t", "no expiry", qos);
            wait(&mut pair, Duration::from_millis(waited));
            go_on(&mut pair);
            assert_eq!(
                sent(&mut pair),
                [
                    ("x".to_owned(), false, Some(left)),
                    ("no expiry".to_owned(), false, None)
                ]
            );
        }
    }
}

/// Section 3.3.2.3.3: over before it could be sent, so it never is; what is behind it goes on. Also while disconnected.
#[test]
fn what_has_expired_before_it_was_sent_is_never_sent() {
    for qos in [AtMostOnce, AtLeastOnce, ExactlyOnce] {
        let mut pair = Pair::connected(resuming(V5));
        pair.cut();
        pair.events();
        pair.opens = false;
        let short = publish(&mut pair, "short", qos, 10);
        let longer = publish(&mut pair, "longer", AtMostOnce, 11);
        pair.advance(10 * SECOND);
        pair.transport_opens();
        pair.accept(true, Properties::default());
        assert_eq!(sent(&mut pair), [("longer".to_owned(), false, Some(1))]);
        let expected = [(short, Outcome::Expired), (longer, Outcome::Sent)];
        assert_eq!(pair.outcomes(), expected);
    }
}

/// The server's window: what waits for it expires too, and takes neither slot nor identifier.
#[test]
fn what_waits_for_receive_maximum_expires() {
    let mut pair = Pair::connected_with(options(V5), receive_maximum(1));
    pair.publish("t", "first", AtLeastOnce);
    let expired = publish(&mut pair, "second", AtLeastOnce, 5);
    pair.publish("t", "third", AtLeastOnce);
    pair.bytes();
    pair.events();
    pair.advance(6 * SECOND);
    assert_eq!(pair.outcome(expired), Outcome::Expired);
    pair.server_sends(puback(1));
    assert_eq!(pair.sent(), ["PUBLISH q1 2 third"]);
}

/// MQTT-4.3.3-7: once sent, it is sent again however late, as it was.
#[test]
fn nothing_expires_once_it_was_sent_mqtt_4_3_3_7() {
    for qos in [AtLeastOnce, ExactlyOnce] {
        let mut pair = Pair::connected(resuming(V5));
        pair.writable = false;
        let op = publish(&mut pair, "x", qos, 5);
        wait(&mut pair, 2 * SECOND);
        go_on(&mut pair);
        assert_eq!(sent(&mut pair), [("x".to_owned(), false, Some(3))]);
        pair.advance(1_000 * SECOND);
        pair.reconnect(true);
        assert_eq!(sent(&mut pair), [("x".to_owned(), true, Some(3))]);
        pair.events();
        if qos == ExactlyOnce {
            pair.server_sends(pubrec(1));
            pair.server_sends(pubcomp(1));
        } else {
            pair.server_sends(puback(1));
        }
        assert!(matches!(pair.outcome(op), Outcome::Acknowledged { .. }));
    }
}

/// Published again it is a new message, with what is left of its time; or it ends as unknown.
#[test]
fn a_publish_of_a_lost_session_goes_on_counting() {
    let mut pair = Pair::connected(resuming(V5));
    let short = publish(&mut pair, "short", AtLeastOnce, 100);
    publish(&mut pair, "long", AtLeastOnce, 1_000);
    pair.advance(200 * SECOND);
    pair.cut();
    pair.wait_for_transport();
    pair.events();
    pair.accept(false, Properties::default());
    assert_eq!(sent(&mut pair), [("long".to_owned(), false, Some(800))]);
    assert_eq!(pair.outcome(short), Outcome::SessionLost);
}

/// An interval of 0 s leaves no time to wait; what need not wait is sent.
#[test]
fn an_interval_of_zero() {
    let mut pair = Pair::connected(options(V5));
    publish(&mut pair, "now", AtLeastOnce, 0);
    assert_eq!(sent(&mut pair), [("now".to_owned(), false, Some(0))]);
    pair.writable = false;
    let late = publish(&mut pair, "late", AtLeastOnce, 0);
    wait(&mut pair, Duration::from_millis(1));
    go_on(&mut pair);
    assert!(pair.bytes().is_empty());
    assert_eq!(pair.outcome(late), Outcome::Expired);
}
