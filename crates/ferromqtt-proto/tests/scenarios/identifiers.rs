//! Packet Identifiers of received QoS 2 messages that the application keeps, together with what it has done with the messages:
//! what waits until its store has a change of them.

use ferromqtt_proto::{
    Direction, Event, JournalEntry, Options, Properties, ProtocolVersion, QueueId, SessionChange,
};

use crate::support::store::*;
use crate::support::*;

const DEFAULT: QueueId = QueueId::DEFAULT;

fn manual(version: ProtocolVersion) -> Options {
    let mut options = resuming(version);
    options.incoming = by_application();
    options
}

/// The changes that the client has for the application.
fn changes(pair: &mut Pair) -> Vec<JournalEntry> {
    let poll = || pair.client.poll_identifier_change();
    std::iter::from_fn(poll).collect()
}

/// Writes the changes that there are, and returns them.
fn write(pair: &mut Pair) -> Vec<SessionChange> {
    let changes = changes(pair);
    if let Some(last) = changes.last() {
        pair.client.identifiers_written(last.sequence);
    }
    pair.pump();
    changes.into_iter().map(|entry| entry.change).collect()
}

fn released(id_: u16) -> SessionChange {
    SessionChange::Released { packet_id: id(id_) }
}

const LOST: SessionChange = SessionChange::SessionLost {
    direction: Direction::Received,
};

/// A process whose application keeps identifiers; CONNECT is on its way.
fn started(options: Options) -> Pair {
    let mut pair = Pair::new(options);
    pair.client.keep_identifiers(true);
    pair.connect();
    assert!(pair.bytes().is_empty(), "CONNECT left before its record");
    assert_eq!(write(&mut pair), [SessionChange::Connecting]);
    pair
}

/// The same, in a session that the server has.
fn resumed_by(options: Options) -> Pair {
    let mut pair = started(options);
    pair.accept(true, Properties::default());
    assert_eq!(write(&mut pair), [SessionChange::Resumed]);
    pair
}

/// MQTT-4.3.3-10, MQTT-4.3.3-11; 3.1.1: MQTT-4.3.3-2. The application has put the identifier on record before it acknowledges.
#[test]
fn pubcomp_waits_until_the_application_has_removed_the_identifier_and_pubrec_for_nothing() {
    for version in VERSIONS {
        let mut pair = resumed_by(manual(version));
        pair.receive("t", "x", ExactlyOnce, 9);
        pair.receive("t", "y", ExactlyOnce, 10);
        for delivery in pair.take_deliveries(DEFAULT) {
            pair.acknowledge(delivery);
        }
        assert_eq!(pair.sent(), ["PUBREC 9", "PUBREC 10"]);
        assert_eq!(changes(&mut pair), []);
        pair.server_sends(pubrel(9));
        pair.server_sends(pubrel(10));
        assert!(pair.bytes().is_empty());
        let entries = changes(&mut pair);
        let of_entries: Vec<_> = entries.iter().map(|entry| entry.change.clone()).collect();
        assert_eq!(of_entries, [released(9), released(10)]);
        assert!(entries.iter().all(|entry| entry.holds));
        pair.client.identifiers_written(entries[0].sequence);
        pair.pump();
        assert_eq!(pair.sent(), ["PUBCOMP 9"]);
        pair.client.identifiers_written(entries[1].sequence + 7); // of which there is none yet
        pair.pump();
        assert_eq!(pair.sent(), ["PUBCOMP 10"]);
        pair.server_sends(pubrel(9));
        assert!(pair.bytes().is_empty(), "a number that is given later");
    }
}

/// The process was killed between PUBREC and PUBREL: it knows of no message, and the application may have its identifier.
#[test]
fn a_pubrel_of_a_message_of_an_earlier_process_is_reported_before_its_pubcomp() {
    for version in VERSIONS {
        let mut pair = resumed_by(manual(version));
        pair.server_sends(pubrel(9));
        assert!(pair.bytes().is_empty());
        assert_eq!(write(&mut pair), [released(9)]);
        assert_eq!(pair.sent(), ["PUBCOMP 9"]);
    }
}

/// The client does not know what the application has done with a message that an earlier process has received.
#[test]
fn a_message_that_comes_again_is_handed_out_unless_this_process_has_acknowledged_it() {
    for version in VERSIONS {
        let mut pair = resumed_by(manual(version));
        pair.server_sends(again("t", "x", ExactlyOnce, 9));
        let delivery = pair.take_deliveries(DEFAULT)[0];
        pair.acknowledge(delivery);
        pair.bytes();
        pair.cut();
        pair.wait_for_transport();
        write(&mut pair);
        pair.accept(true, Properties::default());
        pair.server_sends(again("t", "x", ExactlyOnce, 9));
        assert_eq!(pair.sent(), ["PUBREC 9"]);
        assert!(pair.payloads().is_empty());
    }
}

/// Whether the old session or a new one is there, each attempt is on record before it: after a crash the next CONNACK may be about
/// another session than the identifiers.
#[test]
fn each_connect_waits_until_it_is_on_record_and_what_answers_it_is_reported() {
    for version in VERSIONS {
        let mut pair = resumed_by(manual(version));
        pair.cut();
        pair.wait_for_transport();
        assert!(pair.bytes().is_empty());
        assert_eq!(write(&mut pair), [SessionChange::Connecting]);
        assert_eq!(pair.sent(), ["CONNECT"]);
        pair.cut();
        pair.wait_for_transport();
        assert_eq!(pair.sent(), ["CONNECT"], "it is on record");
        pair.server_sends(accepted(true, Properties::default()));
        assert_eq!(write(&mut pair), [], "nobody knows what the first one did");
        for session_present in [true, false] {
            pair.cut();
            pair.wait_for_transport();
            assert_eq!(write(&mut pair), []);
            pair.accept(session_present, Properties::default());
            let expected: &[SessionChange] = match session_present {
                true => &[], // the application may have an identifier from before
                false => &[LOST],
            };
            assert_eq!(write(&mut pair), expected);
        }
        pair.cut();
        pair.wait_for_transport();
        assert_eq!(write(&mut pair), [SessionChange::Connecting]);
        pair.accept(true, Properties::default());
        assert_eq!(write(&mut pair), [SessionChange::Resumed]);
    }
}

/// Otherwise the process may die with identifiers that mean nothing any more, and the server send messages under them.
#[test]
fn after_a_lost_session_nothing_leaves_before_the_application_has_removed_its_identifiers() {
    for version in VERSIONS {
        let mut options = manual(version);
        options.keep_alive = 10;
        let mut pair = started(options);
        pair.accept(false, Properties::default());
        pair.subscribe(&["s"]);
        pair.publish("t", "a", AtLeastOnce);
        pair.receive("t", "x", AtLeastOnce, 9);
        let delivery = pair.take_deliveries(DEFAULT)[0];
        pair.acknowledge(delivery);
        pair.advance(10 * SECOND);
        assert_eq!(pair.sent(), ["PINGREQ"]);
        assert_eq!(write(&mut pair), [LOST]);
        assert_eq!(pair.sent(), ["SUBSCRIBE 1 s", "PUBACK 9", "PUBLISH q1 2 a"]);
    }
}

/// A store keeps what is sent. It learns that it has nothing of what is received, since it will not hear what becomes of that, and
/// whatever becomes of the store, the application's identifiers are not its affair.
#[test]
fn a_store_beside_the_application_has_the_row_of_sent_messages_alone() {
    for version in VERSIONS {
        let mut options = manual(version);
        options.journal = true;
        let mut store = Store::default();
        let mut pair = Pair::new(options);
        pair.client.keep_identifiers(true);
        assert_eq!(store.write(&mut pair), [LOST]);
        pair.connect();
        write(&mut pair);
        pair.accept(true, Properties::default());
        write(&mut pair);
        pair.receive("t", "x", ExactlyOnce, 9);
        for delivery in pair.take_deliveries(DEFAULT) {
            pair.acknowledge(delivery);
        }
        assert_eq!(pair.sent(), ["PUBREC 9"]);
        pair.publish("t", "a", ExactlyOnce);
        pair.server_sends(pubrel(9));
        let changes = store.write(&mut pair);
        assert!(
            matches!(changes[..], [SessionChange::Publishing { .. }]),
            "{changes:?}"
        );
        assert_eq!(pair.sent(), ["PUBLISH q2 1 a"]);
        pair.client.journal_failed(Direction::Received);
        let (number, row) = pair.client.begin_record(pair.now, Direction::Received);
        assert_eq!(row, []);
        pair.client.journal_written(Direction::Received, number);
        pair.pump();
        assert!(pair.bytes().is_empty(), "it is not the store that has it");
        assert_eq!(write(&mut pair), [released(9)]);
        assert_eq!(pair.sent(), ["PUBCOMP 9"]);
    }
}

#[test]
fn an_application_that_keeps_no_identifiers_any_more_holds_up_nothing() {
    for version in VERSIONS {
        let mut pair = Pair::new(manual(version));
        pair.client.keep_identifiers(true);
        pair.client.keep_identifiers(false);
        pair.connect();
        pair.accept(true, Properties::default());
        pair.server_sends(pubrel(9));
        assert_eq!(pair.sent().len(), 1);
        assert_eq!(changes(&mut pair), []);
        // The session of a client that kept them, in another client.
        let mut pair = resumed_by(manual(version));
        let former = std::mem::replace(&mut pair, Pair::new(manual(version)));
        pair.restart(manual(version), former.client.into_session());
        pair.connect();
        pair.accept(true, Properties::default());
        assert!(pair.client.is_connected());
    }
}

/// Of a doubt that nothing has ended, the record has to say so: what was received before it may be of another session still.
#[test]
fn a_connection_behind_one_that_resumed_in_doubt_does_not_end_the_doubt_on_record() {
    for version in VERSIONS {
        let (mut pair, mut store) = connected(journaled(version));
        pair.receive("t", "old", ExactlyOnce, 9);
        store.write(&mut pair);
        pair.bytes();
        for answers in [false, true, true] {
            pair.cut();
            pair.wait_for_transport();
            store.write(&mut pair);
            if answers {
                pair.accept(true, Properties::default());
                store.write(&mut pair);
            } else {
                assert_eq!(pair.sent(), ["CONNECT"]);
            }
        }
        let mut again = resumed(journaled(version), store.session(store.entries.len()));
        again.receive("t", "new", ExactlyOnce, 9);
        assert_eq!(again.payloads(), ["new"]);
        // Once the server has released the identifier, nothing is in doubt.
        pair.server_sends(pubrel(9));
        store.write(&mut pair);
        pair.bytes();
        pair.receive("t", "next", ExactlyOnce, 9);
        store.write(&mut pair);
        pair.bytes();
        pair.cut();
        pair.wait_for_transport();
        store.write(&mut pair);
        pair.accept(true, Properties::default());
        assert!(store.write(&mut pair).contains(&SessionChange::Resumed));
        let is_duplicate = |event: &Event| matches!(event, Event::PossibleDuplicate { .. });
        assert!(!pair.events().iter().any(is_duplicate));
    }
}
