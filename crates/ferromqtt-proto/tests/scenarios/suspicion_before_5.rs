//! A server of a version before 5.0 that ends connections, perhaps because of a message: it gives no reason.

use ferromqtt_proto::{Properties, TransportError};

use crate::refused_by_disconnect::{close, findings};
use crate::support::*;

/// Before 5.0 a server gives no reason when it closes: a person is warned once, and nothing is given up.
#[test]
fn before_5_0_three_closes_in_a_row_are_warned_of_and_nothing_is_given_up() {
    for version in [V31, V311] {
        let mut pair = Pair::connected(resuming(version));
        pair.publish("t", "x", AtLeastOnce);
        pair.publish("t", "y", AtLeastOnce);
        close(&mut pair);
        close(&mut pair);
        assert!(findings(&mut pair).is_empty());
        for _ in 0..5 {
            pair.bytes();
            close(&mut pair);
            assert_eq!(pair.sent(), ["PUBLISH q1 1 DUP x", "PUBLISH q1 2 DUP y"]);
        }
        assert_eq!(findings(&mut pair), ["suspected t of 2 after 3: 00"]);
        assert_eq!(pair.client.stats().suspected, 1);
        pair.server_sends(puback(1));
        for _ in 0..3 {
            close(&mut pair);
        }
        assert_eq!(
            findings(&mut pair),
            ["suspected t of 1 after 3: 00"],
            "again"
        );
        assert_eq!(pair.client.stats().refused_by_disconnect, 0);
    }
}

/// Before 5.0: only the server, or the network, closes; and only what has been handed over can be the reason.
#[test]
fn before_5_0_other_ends_are_not_counted() {
    let mut pair = Pair::connected(resuming(V311));
    for _ in 0..5 {
        close(&mut pair); // nothing is in flight
    }
    pair.writable = false;
    pair.publish("t", "x", AtLeastOnce);
    pair.client
        .transport_closed(pair.now, TransportError::EndOfStream);
    pair.restart(resuming(V311), ferromqtt_proto::Session::default());
    assert!(findings(&mut pair).is_empty());

    let mut options = resuming(V311);
    options.keep_alive = 1;
    let mut pair = Pair::connected(options);
    pair.publish("t", "x", AtLeastOnce);
    for _ in 0..5 {
        pair.advance(2 * SECOND); // no PINGRESP
        pair.wait_for_transport();
        pair.accept(true, Properties::default());
    }
    assert!(findings(&mut pair).is_empty());
}
