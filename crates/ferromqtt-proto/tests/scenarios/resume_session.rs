//! A session that outlives its client.

use ferromqtt_proto::packet::Packet;
use ferromqtt_proto::{Options, Properties, ProtocolVersion, QueueOptions, Session};

use crate::support::*;

/// The session of a client that is dropped while its connection is up.
fn session_after(version: ProtocolVersion, prepare: impl FnOnce(&mut Pair)) -> Session {
    let mut pair = Pair::connected(resuming(version));
    prepare(&mut pair);
    pair.client.into_session()
}

fn resumed(options: Options, session: Session, properties: Properties) -> Pair {
    let mut pair = Pair::with_session(options, session);
    pair.connect();
    pair.accept(true, properties);
    pair
}

/// MQTT-4.4.0-1, MQTT-4.1.0-1; 3.1.1: MQTT-3.1.2-4, MQTT-4.1.0-1.
#[test]
fn what_was_on_the_wire_comes_again_what_was_not_is_dropped() {
    for version in VERSIONS {
        let session = session_after(version, |pair| {
            pair.publish("t", "a", AtLeastOnce);
            pair.publish("t", "b", ExactlyOnce);
            pair.server_sends(pubrec(2));
            pair.writable = false;
            pair.publish("t", "never sent", AtLeastOnce);
        });
        let mut pair = resumed(resuming(version), session, Properties::default());
        assert_eq!(pair.sent(), ["PUBREL 2", "PUBLISH q1 1 DUP a"]);
    }
}

/// 3.1 cannot tell that there was a session: one that was asked for is taken to be there.
#[test]
fn mqtt_3_1_resumes_the_session_that_it_asks_for() {
    let session = session_after(V31, |pair| {
        pair.publish("t", "a", AtLeastOnce);
    });
    let mut pair = Pair::with_session(resuming(V31), session);
    pair.connect();
    pair.accept(false, Properties::default());
    assert_eq!(pair.sent(), ["PUBLISH q1 1 DUP a"]);
}

/// Operations belong to a client: an acknowledgement of the old one's publish completes nothing of the new one.
#[test]
fn operations_of_the_old_client_complete_nothing_of_the_new_one() {
    for version in VERSIONS {
        let session = session_after(version, |pair| {
            pair.publish("t", "old", AtLeastOnce);
            pair.subscribe(&["old"]);
        });
        let mut pair = resumed(resuming(version), session, Properties::default());
        let publish = pair.publish("t", "new", AtLeastOnce);
        let subscribe = pair.subscribe(&["new"]);
        assert_eq!(
            pair.sent(),
            [
                "PUBLISH q1 1 DUP old",
                "PUBLISH q1 3 new",
                "SUBSCRIBE 4 new"
            ]
        );
        pair.server_sends(puback(1));
        pair.server_sends(suback(2, &[ferromqtt_proto::ReasonCode::GrantedQos1]));
        assert_eq!(pair.outcomes(), []);
        pair.server_sends(puback(3));
        pair.server_sends(suback(4, &[ferromqtt_proto::ReasonCode::GrantedQos1]));
        let completed: Vec<_> = pair.outcomes().into_iter().map(|(op, _)| op).collect();
        assert_eq!(completed, [publish, subscribe]);
    }
}

/// MQTT-3.3.4-7: a slot that was taken on a connection of the old client is not given back on one of the new. Pitfall 7.
#[test]
fn slots_of_the_old_client_are_not_given_back_to_the_new_one() {
    let session = session_after(V5, |pair| {
        pair.publish("t", "a", ExactlyOnce);
        pair.server_sends(pubrec(1));
    });
    let mut pair = resumed(resuming(V5), session, receive_maximum(1));
    pair.publish("t", "b", AtLeastOnce);
    pair.publish("t", "c", AtLeastOnce);
    assert_eq!(pair.sent(), ["PUBREL 1", "PUBLISH q1 2 b"]);
    pair.server_sends(pubcomp(1));
    assert!(pair.bytes().is_empty(), "b is still unacknowledged");
}

/// MQTT-4.3.3-10.
#[test]
fn qos_2_identifiers_and_messages_not_taken_are_kept() {
    for version in VERSIONS {
        let publish = Packet::Publish(message("t", "x", ExactlyOnce, 5));
        let session = session_after(version, |pair| pair.server_sends(publish.clone()));
        let mut pair = resumed(resuming(version), session, Properties::default());
        pair.server_sends(publish);
        assert_eq!(pair.sent(), ["PUBREC 5"]);
        assert_eq!(pair.payloads(), ["x"], "once");
    }
}

/// The bounds of the default queue are the new client's.
#[test]
fn the_new_options_bound_the_default_queue() {
    let session = session_after(V5, |_| ());
    let mut options = resuming(V5);
    options.incoming = QueueOptions {
        limit: Some(1),
        ..QueueOptions::LATEST
    };
    let mut pair = resumed(options, session, Properties::default());
    for payload in ["a", "b"] {
        pair.server_sends(Packet::Publish(message("t", payload, AtMostOnce, 0)));
    }
    assert_eq!(pair.payloads(), ["b"]);
}
