//! Messages that go on record more than once: their connection had ended before they were handed over, or their session was lost.

use crate::support::store::{connected, entries, journaled, restore, resumed, resumed_on};
use crate::support::*;

/// MQTT-4.6.0-1.
#[test]
fn what_was_recorded_anew_keeps_its_order_after_a_restart() {
    for version in VERSIONS {
        let (mut pair, mut store) = connected(journaled(version));
        pair.publish("t", "a", AtLeastOnce);
        pair.publish("t", "b", AtLeastOnce);
        store.collect(&mut pair);
        pair.reconnect(true);
        store.collect(&mut pair);
        let session = store.session(store.entries.len() - 1);
        let mut pair = resumed(journaled(version), session);
        assert_eq!(pair.sent(), ["PUBLISH q1 3 DUP a", "PUBLISH q1 2 DUP b"]);
    }
}

/// MQTT-4.6.0-1. The store begins a new record while one message is in flight again, and the next one waits for the Receive Maximum.
#[test]
fn messages_of_a_lost_session_keep_their_order_in_a_new_record() {
    let (mut pair, mut store) = connected(journaled(V5));
    pair.publish("t", "a", AtLeastOnce);
    pair.publish("t", "b", AtLeastOnce);
    store.write(&mut pair);
    pair.bytes();
    pair.cut();
    pair.wait_for_transport();
    pair.accept(false, receive_maximum(1));
    store.write(&mut pair);
    store.write(&mut pair);
    assert_eq!(pair.sent(), ["PUBLISH q1 3 a"]);
    store.entries = entries(pair.client.session().record());
    let mut pair = resumed_on(journaled(V5), restore(store.entries.clone()), &mut store);
    assert_eq!(pair.sent(), ["PUBLISH q1 3 DUP a", "PUBLISH q1 4 b"]);
    let mut pair = resumed(journaled(V5), restore(store.entries));
    assert_eq!(pair.sent(), ["PUBLISH q1 3 DUP a", "PUBLISH q1 4 DUP b"]);
}
