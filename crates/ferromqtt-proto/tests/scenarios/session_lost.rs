//! Session Present 0, or Clean Start, while publishes are unacknowledged
//! (`docs/design/0005-lost-sessions.md`).

use ferromqtt_proto::{CleanStart, OnSessionLost, Options, Outcome, Properties};

use crate::support::*;

fn report_or_resend(options: Options, choice: OnSessionLost) -> Options {
    let mut options = options;
    options.on_session_lost = choice;
    options
}

/// MQTT-3.2.2-3, MQTT-3.2.2-5; 3.1.1: MQTT-3.2.2-2, MQTT-3.2.2-3, MQTT-3.1.2-6. Pitfall 6: QoS 1 goes out anew (a new identifier, DUP 0,
/// before what waits), QoS 2 is told as lost, whether PUBREC had come or not.
#[test]
fn qos_1_goes_out_anew_and_qos_2_is_told_as_lost() {
    for version in VERSIONS {
        let mut pair = Pair::connected(resuming(version));
        let first = pair.publish("t", "a", AtLeastOnce);
        let second = pair.publish("t", "b", ExactlyOnce);
        let third = pair.publish("t", "c", ExactlyOnce);
        let fourth = pair.publish("t", "d", AtLeastOnce);
        pair.server_sends(pubrec(2));
        pair.bytes();
        pair.cut();
        let waiting = pair.publish("t", "e", AtLeastOnce);
        pair.wait_for_transport();
        pair.accept(false, Properties::default());
        let mut lost = pair.outcomes();
        lost.sort_by_key(|(op, _)| *op);
        assert_eq!(
            lost,
            [
                (second, Outcome::SessionLost),
                (third, Outcome::SessionLost)
            ]
        );
        let sent = ["PUBLISH q1 5 a", "PUBLISH q1 6 d", "PUBLISH q1 7 e"];
        assert_eq!(pair.sent(), sent);
        for (id, op, anew) in [(5, first, true), (6, fourth, true), (7, waiting, false)] {
            pair.server_sends(puback(id));
            let outcome = pair.outcome(op);
            assert!(
                matches!(outcome, Outcome::Acknowledged { resent_as_new, .. } if resent_as_new == anew),
                "{outcome:?}"
            );
        }
    }
}

#[test]
fn qos_2_goes_out_anew_when_asked_unless_the_server_had_it() {
    for version in VERSIONS {
        let options = report_or_resend(resuming(version), OnSessionLost::Resend);
        let mut pair = Pair::connected(options);
        let released = pair.publish("t", "a", ExactlyOnce);
        let open = pair.publish("t", "b", ExactlyOnce);
        pair.server_sends(pubrec(1));
        pair.bytes();
        pair.reconnect(false);
        assert_eq!(pair.outcome(released), Outcome::SessionLost);
        assert_eq!(
            pair.sent(),
            ["PUBLISH q2 3 b"],
            "no PUBREL into a fresh session"
        );
        pair.server_sends(pubrec(3));
        pair.server_sends(pubcomp(3));
        let outcome = pair.outcome(open);
        assert!(
            matches!(
                outcome,
                Outcome::Acknowledged {
                    resent_as_new: true,
                    ..
                }
            ),
            "{outcome:?}"
        );
    }
}

/// The identifiers of the lost session are free; an acknowledgement of theirs completes nothing of the new one.
#[test]
fn acknowledgements_of_the_lost_session_complete_nothing() {
    for version in VERSIONS {
        let mut pair = Pair::connected(resuming(version));
        pair.publish("t", "a", AtLeastOnce);
        pair.reconnect(false);
        assert_eq!(pair.sent(), ["PUBLISH q1 2 a"]);
        pair.events();
        pair.server_sends(puback(1));
        assert!(pair.outcomes().is_empty());
    }
}

/// Nor is its PUBREC known: the new session has no such exchange, and the identifier can be used for another.
#[test]
fn a_pubrec_of_the_lost_session_is_unknown() {
    for (version, unknown) in [(V311, "PUBREL 1"), (V5, "PUBREL 1 0x92")] {
        let mut pair = Pair::connected(resuming(version));
        pair.publish("t", "a", ExactlyOnce);
        pair.server_sends(pubrec(1));
        pair.reconnect(false);
        pair.server_sends(pubrec(1));
        assert_eq!(pair.sent(), [unknown]);
        for id in 2..=65_535 {
            pair.publish("t", "x", AtLeastOnce);
            pair.server_sends(puback(id));
        }
        pair.bytes();
        pair.publish("t", "b", AtLeastOnce);
        assert_eq!(pair.sent(), ["PUBLISH q1 1 b"]);
    }
}

/// MQTT-3.1.2-4; 3.1.1: MQTT-3.1.2-6: after Clean Start nothing of the old session is sent, and its DUP flags are gone.
#[test]
fn clean_start_is_a_lost_session_too() {
    for version in VERSIONS {
        let mut options = resuming(version);
        options.clean_start = CleanStart::Always;
        let mut pair = Pair::connected(options);
        pair.publish("t", "a", AtLeastOnce);
        let lost = pair.publish("t", "b", ExactlyOnce);
        pair.bytes();
        pair.reconnect(false);
        assert_eq!(pair.outcome(lost), Outcome::SessionLost);
        assert_eq!(pair.sent(), ["PUBLISH q1 3 a"]);
    }
}

/// Lost, sent anew, and lost again before the acknowledgement: still one outcome.
#[test]
fn a_publish_can_be_lost_many_times_and_completes_once() {
    for version in VERSIONS {
        let mut pair = Pair::connected(resuming(version));
        let op = pair.publish("t", "a", AtLeastOnce);
        pair.bytes();
        for id in 2..10 {
            pair.reconnect(false);
            assert_eq!(pair.sent(), [format!("PUBLISH q1 {id} a")]);
        }
        pair.server_sends(puback(9));
        assert!(matches!(
            pair.outcome(op),
            Outcome::Acknowledged {
                resent_as_new: true,
                ..
            }
        ));
    }
}

/// Between two sessions it was only queued, but it had been on a wire: what became of it is unknown.
#[test]
fn a_publish_that_waits_to_go_out_anew_is_still_of_unknown_delivery() {
    let mut pair = Pair::connected(resuming(V5));
    let op = pair.publish("t", "a", AtLeastOnce);
    pair.cut();
    pair.wait_for_transport();
    pair.writable = false;
    pair.server_sends(accepted(false, Properties::default()));
    assert_eq!(
        pair.client.abandon(op),
        Some(ferromqtt_proto::Delivery::Unknown)
    );
}
