//! What a full outgoing queue does with a message more.

use ferromqtt_proto::{
    InvalidPublish, Options, Outcome, OutgoingLimits, OutgoingPolicy, Properties, Publish,
    TopicName,
};

use crate::support::*;

fn bounded(policy: OutgoingPolicy, messages: Option<usize>, bytes: Option<usize>) -> Options {
    let mut options = resuming(V5);
    options.outgoing = OutgoingLimits { messages, bytes };
    options.outgoing_policy = policy;
    options
}

#[test]
fn the_options_begin_with_the_default_policy() {
    assert_eq!(
        Options::default().outgoing_policy,
        OutgoingPolicy::default()
    );
    assert_eq!(OutgoingPolicy::default(), OutgoingPolicy::Wait);
}

/// Nothing that was accepted is lost.
#[test]
fn refuse() {
    let mut pair = Pair::connected(bounded(OutgoingPolicy::Refuse, Some(1), None));
    pair.cut();
    pair.publish("t", "a", AtLeastOnce);
    let more = Publish::new(TopicName::new("t").unwrap(), "b");
    let (limit, unit) = (1, "messages");
    let full = InvalidPublish::QueueFull { limit, unit };
    assert_eq!(pair.client.publish(pair.now, more), Err(full));
}

#[test]
fn drop_newest() {
    let mut pair = Pair::connected(bounded(OutgoingPolicy::DropNewest, Some(2), None));
    pair.cut();
    pair.events();
    pair.publish("t", "a", AtLeastOnce);
    pair.publish("t", "b", AtMostOnce);
    let dropped = pair.publish("t", "c", ExactlyOnce);
    assert_eq!(pair.outcome(dropped), Outcome::Dropped);
    pair.wait_for_transport();
    pair.accept(true, Properties::default());
    assert_eq!(pair.sent(), ["PUBLISH q1 1 a", "PUBLISH q0 b"]);
}

#[test]
fn drop_oldest() {
    let mut pair = Pair::connected(bounded(OutgoingPolicy::DropOldest, Some(2), None));
    pair.cut();
    pair.events();
    let oldest = pair.publish("t", "a", AtLeastOnce);
    let older = pair.publish("t", "b", AtMostOnce);
    pair.publish("t", "c", ExactlyOnce);
    assert_eq!(pair.outcome(oldest), Outcome::Dropped);
    pair.publish("t", "d", AtMostOnce);
    assert_eq!(pair.outcome(older), Outcome::Dropped);
    pair.wait_for_transport();
    pair.accept(true, Properties::default());
    assert_eq!(pair.sent(), ["PUBLISH q2 1 c", "PUBLISH q0 d"]);
}

/// As many as it takes, and none when all would not be enough.
#[test]
fn drop_oldest_by_bytes() {
    let bytes = counted(&[5, 2, 2, 1]);
    let mut pair = Pair::connected(bounded(OutgoingPolicy::DropOldest, None, Some(bytes)));
    pair.publish("t", "12345", AtLeastOnce); // on the wire
    pair.cut();
    pair.events();
    let first = pair.publish("t", "12", AtMostOnce);
    let second = pair.publish("t", "34", AtMostOnce);
    let third = pair.publish("t", "5", AtMostOnce);
    let beside_the_first = bytes - counted(&[5, 0]);
    let too_large = "x".repeat(beside_the_first + 1);
    let too_large = pair.publish("t", &too_large, AtMostOnce);
    assert_eq!(pair.outcome(too_large), Outcome::Dropped);
    let fits = pair.publish("t", "1234", AtMostOnce);
    let dropped = [(first, Outcome::Dropped), (second, Outcome::Dropped)];
    assert_eq!(pair.outcomes(), dropped);
    pair.wait_for_transport();
    pair.accept(true, Properties::default());
    let sent = ["PUBLISH q1 1 DUP 12345", "PUBLISH q0 5", "PUBLISH q0 1234"];
    assert_eq!(pair.sent(), sent);
    let outcomes = [(third, Outcome::Sent), (fits, Outcome::Sent)];
    assert_eq!(pair.outcomes(), outcomes);
    pair.server_sends(puback(1));
    pair.outcomes();
    let alone = pair.publish("t", &"x".repeat(bytes), AtMostOnce);
    assert_eq!(
        pair.outcome(alone),
        Outcome::Sent,
        "the bytes were counted right"
    );
}

/// MQTT-4.4.0-1: what is on the wire, or was in a session that the server lost, is never dropped; the new message is.
#[test]
fn what_was_on_the_wire_is_not_dropped() {
    let mut pair = Pair::connected(bounded(OutgoingPolicy::DropOldest, Some(2), None));
    pair.publish("t", "a", AtLeastOnce);
    pair.publish("t", "b", ExactlyOnce);
    pair.server_sends(pubrec(2));
    pair.events();
    let dropped = pair.publish("t", "c", AtLeastOnce);
    assert_eq!(pair.outcome(dropped), Outcome::Dropped);
    pair.bytes();
    pair.cut();
    pair.wait_for_transport();
    pair.writable = false;
    pair.server_sends(accepted(false, Properties::default()));
    pair.events();
    let oldest = pair.publish("t", "d", AtLeastOnce); // beside `a`, which waits to go out anew
    pair.publish("t", "e", AtLeastOnce);
    assert_eq!(pair.outcome(oldest), Outcome::Dropped);
    pair.bytes();
    pair.writable = true;
    pair.pump();
    assert_eq!(pair.sent(), ["PUBLISH q1 3 a", "PUBLISH q1 4 e"]);
}
