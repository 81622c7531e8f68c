//! A store that records the same message twice: its connection had ended before the first was handed over.

use crate::support::store::{connected, journaled, resumed};
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
