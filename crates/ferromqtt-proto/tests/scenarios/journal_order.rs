//! A store that records the same message twice: its connection had ended before the first was handed over.

use ferromqtt_proto::{JournalEntry, Properties};

use crate::support::store::restore;
use crate::support::*;

/// MQTT-4.6.0-1.
#[test]
fn what_was_recorded_anew_keeps_its_order_after_a_restart() {
    for version in VERSIONS {
        let mut options = resuming(version);
        options.journal = true;
        let mut pair = Pair::connected(options.clone());
        let mut entries: Vec<JournalEntry> = Vec::new();
        let mut drain = |pair: &mut Pair| {
            entries.extend(std::iter::from_fn(|| pair.client.poll_journal()));
            entries.clone()
        };
        drain(&mut pair);
        pair.publish("t", "a", AtLeastOnce);
        pair.publish("t", "b", AtLeastOnce);
        drain(&mut pair);
        pair.reconnect(true);
        let all = drain(&mut pair);

        let session = restore(all[..all.len() - 1].to_vec());
        let mut pair = Pair::with_session(options, session);
        pair.connect();
        pair.accept(true, Properties::default());
        assert_eq!(pair.sent(), ["PUBLISH q1 3 DUP a", "PUBLISH q1 2 DUP b"]);
    }
}
