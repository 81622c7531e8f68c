//! A Message Expiry Interval ends in time, wherever in the outgoing queue its message stands.

use ferromqtt_proto::{
    InvalidPublish, OpId, Outcome, OutgoingLimits, Properties, Publish, QoS, TopicName,
};

use crate::support::*;

fn publish(pair: &mut Pair, payload: &str, qos: QoS, expires: Option<u32>) -> OpId {
    try_publish(pair, payload, qos, expires).unwrap()
}

fn try_publish(
    pair: &mut Pair,
    payload: &str,
    qos: QoS,
    expires: Option<u32>,
) -> Result<OpId, InvalidPublish> {
    let mut publish = Publish::new(TopicName::new("t").unwrap(), payload.to_owned());
    publish.qos = qos;
    publish.properties = expires.map(|seconds| {
        Box::new(Properties {
            message_expiry_interval: Some(seconds),
            ..Properties::default()
        })
    });
    let op = pair.client.publish(pair.now, publish);
    pair.pump();
    op
}

/// While there is no connection, and with a message before it that does not expire.
#[test]
fn a_message_expires_in_time_while_offline() {
    let mut pair = Pair::connected(resuming(V5));
    pair.opens = false;
    pair.cut();
    pair.events();
    let kept = publish(&mut pair, "kept", AtLeastOnce, None);
    let late = publish(&mut pair, "late", AtLeastOnce, Some(100));
    let early = publish(&mut pair, "early", AtMostOnce, Some(3));
    pair.advance(2 * SECOND);
    assert!(pair.outcomes().is_empty());
    pair.advance(SECOND + SECOND / 2);
    assert_eq!(pair.outcome(early), Outcome::Expired);
    pair.advance(97 * SECOND);
    assert_eq!(pair.outcome(late), Outcome::Expired);
    pair.opens = true;
    if pair.transport_is_asked_for() {
        pair.cut();
    }
    pair.wait_for_transport();
    pair.accept(true, Properties::default());
    assert_eq!(pair.sent(), ["PUBLISH q1 1 kept"]);
    assert!(pair.client.abandon(kept).is_some());
}

/// The server's Receive Maximum holds all behind the first one up.
#[test]
fn a_message_expires_in_time_behind_a_window_that_is_full() {
    let mut pair = Pair::connected_with(options(V5), receive_maximum(1));
    publish(&mut pair, "1", AtLeastOnce, None);
    publish(&mut pair, "2", AtLeastOnce, None);
    let expires = publish(&mut pair, "3", AtLeastOnce, Some(1));
    assert!(pair.client.poll_timeout() <= Some(pair.now + SECOND));
    pair.advance(2 * SECOND);
    assert_eq!(pair.outcome(expires), Outcome::Expired);
    assert_eq!(pair.client.poll_timeout(), None, "nothing else is due");
}

/// What is over takes no room that a new message could have.
#[test]
fn an_expired_message_makes_room_in_a_full_queue() {
    let mut options = resuming(V5);
    options.outgoing = OutgoingLimits {
        messages: Some(2),
        bytes: None,
    };
    let mut pair = Pair::connected(options);
    pair.opens = false;
    pair.cut();
    pair.events();
    publish(&mut pair, "kept", AtLeastOnce, None);
    let expires = publish(&mut pair, "over", AtLeastOnce, Some(1));
    assert!(try_publish(&mut pair, "new", AtLeastOnce, None).is_err());
    pair.now += SECOND; // nobody has woken the client yet
    assert!(try_publish(&mut pair, "new", AtLeastOnce, None).is_ok());
    assert_eq!(pair.outcome(expires), Outcome::Expired);
}

/// Many different intervals do not make the client ask to be woken again and again: a few times a second at most.
#[test]
fn many_intervals_are_looked_after_together() {
    let mut pair = Pair::connected(resuming(V5));
    pair.opens = false;
    pair.cut();
    pair.events();
    for number in 0..1_000 {
        pair.now += SECOND / 1_000;
        publish(&mut pair, &number.to_string(), AtMostOnce, Some(5));
    }
    let mut wakes = 0;
    let end = pair.now + 10 * SECOND;
    let mut expired = 0;
    while let Some(due) = pair.client.poll_timeout().filter(|due| *due < end) {
        wakes += 1;
        pair.now = pair.now.max(due);
        pair.client.handle_timeout(pair.now);
        pair.pump();
        if pair.transport_is_asked_for() {
            pair.cut();
        }
        expired += pair.outcomes().len();
    }
    assert_eq!(expired, 1_000);
    assert!(wakes < 60, "{wakes}");
}
