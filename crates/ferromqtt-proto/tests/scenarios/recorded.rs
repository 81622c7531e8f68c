//! Messages that a store has: their keys, their way through any number of clients, and how they end.

use std::time::Duration;

use ferromqtt_proto::packet::{Ack, Packet};
use ferromqtt_proto::{
    Delivery, Event, InvalidOptions, InvalidPublish, Outcome, OutgoingLimits, OutgoingPolicy,
    Properties, ProtocolVersion, Publish, QoS, ReasonCode, Session, SessionChange, TopicName,
};

use crate::support::store::*;
use crate::support::*;

/// Has the store accept a message, and publish it.
fn publish_recorded(pair: &mut Pair, payload: &'static str, qos: QoS) -> u64 {
    let mut message = publish(payload, qos);
    let key = pair
        .client
        .record_accepted(&mut message, None, false)
        .unwrap();
    (pair.client)
        .publish_recorded(pair.now, key, message, None)
        .unwrap();
    pair.pump();
    key
}

/// The messages that have ended since the last look; other events are dropped.
fn ended(pair: &mut Pair) -> Vec<(u64, Outcome)> {
    let ended = pair.events().into_iter().filter_map(|event| match event {
        Event::Ended { key, outcome } => Some((key, outcome)),
        _ => None,
    });
    ended.collect()
}

fn acknowledged(resent_as_new: bool) -> Outcome {
    Outcome::Acknowledged {
        reason: ReasonCode::Success,
        properties: None,
        resent_as_new,
    }
}

fn with_interval(seconds: u32) -> Publish {
    let mut message = publish("a", AtLeastOnce);
    message.properties = Some(Box::new(Properties {
        message_expiry_interval: Some(seconds),
        ..Properties::default()
    }));
    message
}

fn unconnected(version: ProtocolVersion) -> Pair {
    Pair::new(resuming(version))
}

#[test]
fn a_message_goes_on_record_once_when_it_is_accepted() {
    for version in VERSIONS {
        let (mut pair, mut store) = connected(journaled(version));
        let mut message = publish("a", ExactlyOnce);
        let expires_in = Some(Duration::from_secs(9));
        let key = (pair.client)
            .record_accepted(&mut message, expires_in, false)
            .unwrap();
        let publish = message.clone();
        let accepted = SessionChange::Accepted {
            key,
            publish,
            expires_in,
            keep_latest: false,
        };
        assert_eq!(store.write(&mut pair), [accepted]);
        assert!(pair.bytes().is_empty());
        (pair.client)
            .publish_recorded(pair.now, key, message, None)
            .unwrap();
        pair.pump();
        assert!(pair.bytes().is_empty(), "its sending is not on record");
        let packet_id = id(1);
        let sending = SessionChange::Sending { key, packet_id };
        assert_eq!(store.write(&mut pair), [sending]);
        assert_eq!(pair.sent(), ["PUBLISH q2 1 a"]);
        pair.server_sends(pubrec(1));
        assert_eq!(store.write(&mut pair), [SessionChange::Releasing { key }]);
        pair.server_sends(pubcomp(1));
        assert_eq!(store.write(&mut pair), [SessionChange::Finished { key }]);
        assert_eq!(ended(&mut pair), [(key, acknowledged(false))]);
    }
}

#[test]
fn keys_are_larger_than_any_before_also_those_that_the_store_alone_remembers() {
    let (mut pair, mut store) = connected(journaled(V5));
    let first = publish_recorded(&mut pair, "a", AtLeastOnce);
    pair.publish("t", "b", AtLeastOnce); // has a key when it is sent
    let changes = store.write(&mut pair);
    let second = changes.iter().find_map(|change| match change {
        SessionChange::Publishing { key, .. } => Some(*key),
        _ => None,
    });
    let third = publish_recorded(&mut pair, "c", AtLeastOnce);
    assert!(Some(first) < second && second < Some(third));
    store.write(&mut pair);
    let identifier = journaled(V5).client_identifier;
    for (next_key, expected) in [(0, third + 1), (third, third + 1), (1_000, 1_000)] {
        let entries = store.entries.clone();
        let session = Session::restore(identifier.clone(), next_key, entries);
        let mut pair = resumed(journaled(V5), session);
        assert_eq!(publish_recorded(&mut pair, "d", AtMostOnce), expected);
    }
}

/// A Topic Alias belongs to one connection.
#[test]
fn a_message_is_accepted_in_any_phase() {
    for version in VERSIONS {
        let mut pair = unconnected(version);
        let keys =
            [AtMostOnce, AtLeastOnce, ExactlyOnce].map(|qos| publish_recorded(&mut pair, "a", qos));
        pair.connect();
        let during = publish_recorded(&mut pair, "b", AtLeastOnce);
        pair.accept(false, Properties::default());
        let sent = [
            "PUBLISH q0 a",
            "PUBLISH q1 1 a",
            "PUBLISH q2 2 a",
            "PUBLISH q1 3 b",
        ];
        assert_eq!(pair.sent(), sent);
        assert_eq!(ended(&mut pair), [(keys[0], Outcome::Sent)]);
        let left = pair.client.recorded().collect::<Vec<_>>();
        let unknown = [keys[1], keys[2], during].map(|key| (key, Delivery::Unknown));
        assert_eq!(left, unknown);
    }
    let mut pair = unconnected(V5);
    let mut aliased = publish("a", AtMostOnce);
    aliased.properties = Some(Box::new(Properties {
        topic_alias: Some(ferromqtt_proto::packet::TopicAlias(1.try_into().unwrap())),
        ..Properties::default()
    }));
    pair.client
        .record_accepted(&mut aliased, None, false)
        .unwrap();
    assert_eq!(aliased.properties.unwrap().topic_alias, None);
}

#[test]
fn what_the_server_does_not_accept_is_refused_and_has_no_key() {
    let limits = Properties {
        maximum_qos: Some(AtMostOnce),
        ..Properties::default()
    };
    let mut pair = Pair::connected_with(options(V5), limits);
    let mut message = publish("a", AtLeastOnce);
    let refused = pair.client.record_accepted(&mut message, None, false);
    assert!(matches!(
        refused,
        Err(InvalidPublish::QosNotSupported { .. })
    ));
    let refused = pair.client.publish_recorded(pair.now, 1, message, None);
    assert!(matches!(
        refused,
        Err(InvalidPublish::QosNotSupported { .. })
    ));
    assert_eq!(publish_recorded(&mut pair, "b", AtMostOnce), 1);
}

/// MQTT-4.4.0-1; 3.1.1: MQTT-4.4.0-1.
#[test]
fn no_end_of_a_connection_and_none_of_a_client_ends_a_message() {
    for version in VERSIONS {
        let mut options = resuming(version);
        options.reconnect = None;
        options.max_in_flight = Some(1.try_into().unwrap());
        let mut pair = Pair::connected(options.clone());
        let sent = publish_recorded(&mut pair, "sent", ExactlyOnce);
        let waits = publish_recorded(&mut pair, "waits", AtLeastOnce);
        pair.bytes();
        pair.cut();
        assert_eq!(ended(&mut pair), []);
        pair.connect();
        pair.accept(true, Properties::default());
        assert_eq!(pair.sent(), ["PUBLISH q2 1 DUP sent"]);
        let session = pair.client.into_session();
        let mut pair = Pair::with_session(options, session);
        pair.connect();
        pair.accept(true, Properties::default());
        assert_eq!(pair.sent(), ["PUBLISH q2 1 DUP sent"]);
        pair.server_sends(pubrec(1));
        pair.server_sends(pubcomp(1));
        assert_eq!(pair.sent(), ["PUBREL 1", "PUBLISH q1 2 waits"]);
        pair.server_sends(puback(2));
        let both = [(sent, acknowledged(false)), (waits, acknowledged(false))];
        assert_eq!(ended(&mut pair), both);
    }
}

/// MQTT-4.4.0-2: also the refusal has reached the store.
#[test]
fn a_refusal_is_reported_with_its_code() {
    for (qos, kind) in [
        (AtLeastOnce, Packet::PubAck as fn(Ack) -> _),
        (ExactlyOnce, Packet::PubRec),
    ] {
        let (mut pair, mut store) = connected(journaled(V5));
        let key = publish_recorded(&mut pair, "a", qos);
        store.write(&mut pair);
        let mut restored = resumed(journaled(V5), store.session(store.entries.len()));
        for pair in [&mut pair, &mut restored] {
            let reason = ReasonCode::NotAuthorized;
            pair.server_sends(kind(Ack::new(id(1), reason)));
            let properties = None;
            assert_eq!(
                ended(pair),
                [(key, Outcome::Refused { reason, properties })]
            );
        }
        assert_eq!(store.write(&mut pair), [SessionChange::Finished { key }]);
    }
}

/// As `docs/design/0005-lost-sessions.md` says: QoS 1 goes out again, of QoS 2 it is unknown, which the record says too.
#[test]
fn in_a_session_that_the_server_lost_every_message_ends_once_after_a_restart_too() {
    for version in VERSIONS {
        let (mut pair, mut store) = connected(journaled(version));
        let first = publish_recorded(&mut pair, "1", AtLeastOnce);
        let second = publish_recorded(&mut pair, "2", ExactlyOnce);
        let released = publish_recorded(&mut pair, "3", ExactlyOnce);
        pair.server_sends(pubrec(3));
        store.write(&mut pair);
        let mut restored =
            Pair::with_session(journaled(version), store.session(store.entries.len()));
        restored.connect();
        pair.cut();
        pair.wait_for_transport();
        for mut pair in [pair, restored] {
            let mut store = store.clone();
            store.write(&mut pair);
            pair.accept(false, Properties::default());
            let lost = [second, released].map(|key| (key, Outcome::Uncertain));
            assert_eq!(ended(&mut pair), lost);
            let changes = store.write(&mut pair);
            let uncertain = [second, released].map(|key| SessionChange::Uncertain { key });
            assert!(changes.starts_with(&uncertain), "{changes:?}");
            store.write(&mut pair);
            assert_eq!(pair.sent(), ["PUBLISH q1 4 1"]);
            // Restored again, it is still the same message.
            let mut again = resumed(journaled(version), store.session(store.entries.len()));
            assert_eq!(again.sent(), ["PUBLISH q1 4 DUP 1"]);
            again.server_sends(puback(4));
            assert_eq!(ended(&mut again), [(first, acknowledged(true))]);
        }
    }
}

/// The interval is what is left of it, wherever the message has waited. On 3.1.1 there is nothing to send.
#[test]
fn what_is_left_of_the_time_is_sent_and_nothing_after_it() {
    let mut pair = unconnected(V5);
    let expires_at = pair.now + Duration::from_millis(9_500);
    for key in [1, 2] {
        let seconds = [10, 60][key - 1];
        let expires_at = Some(expires_at).filter(|_| key == 1);
        let key = u64::try_from(key).unwrap();
        (pair.client)
            .publish_recorded(pair.now, key, with_interval(seconds), expires_at)
            .unwrap();
    }
    pair.advance(Duration::from_secs(3));
    pair.connect();
    pair.accept(false, Properties::default());
    let intervals: Vec<_> = (pair.packets().into_iter())
        .map(|packet| match packet {
            Packet::Publish(publish) => {
                publish.properties.and_then(|it| it.message_expiry_interval)
            }
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(intervals, [Some(7), Some(60)]);
    for version in VERSIONS {
        let mut pair = unconnected(version);
        for (key, seconds) in [(1, 5), (2, 4)] {
            let expires_at = Some(pair.now + Duration::from_secs(seconds));
            (pair.client)
                .publish_recorded(pair.now, key, publish("a", AtLeastOnce), expires_at)
                .unwrap();
        }
        pair.advance(Duration::from_secs(4));
        assert_eq!(ended(&mut pair), [(2, Outcome::Expired)]);
        pair.connect();
        pair.accept(false, Properties::default());
        assert_eq!(pair.sent(), ["PUBLISH q1 1 a"], "no property");
    }
}

/// The bounds of the outgoing queue are for what no store has.
#[test]
fn the_policy_of_a_full_queue_does_not_concern_what_a_store_has() {
    for policy in [OutgoingPolicy::DropOldest, OutgoingPolicy::Refuse] {
        let mut options = resuming(V5);
        options.outgoing_policy = policy;
        options.outgoing = OutgoingLimits {
            messages: Some(1),
            bytes: None,
        };
        let mut pair = Pair::new(options);
        publish_recorded(&mut pair, "a", AtLeastOnce);
        publish_recorded(&mut pair, "b", AtLeastOnce);
        pair.connect();
        let other = Publish::new(TopicName::new("t").unwrap(), "c");
        assert_eq!(
            pair.client.publish(pair.now, other).is_ok(),
            policy == OutgoingPolicy::DropOldest
        );
        pair.accept(false, Properties::default());
        assert_eq!(pair.sent(), ["PUBLISH q1 1 a", "PUBLISH q1 2 b"]);
        assert_eq!(ended(&mut pair), []);
    }
}

/// No caller waits for it, and it is waited for all the same; nor can a caller abandon it.
#[test]
fn leaving_waits_for_what_a_store_has_published() {
    let mut pair = Pair::connected(options(V5));
    let key = publish_recorded(&mut pair, "a", AtLeastOnce);
    pair.client.retain_callers(|_| false);
    let until = Some(pair.now + 10 * SECOND);
    let disconnect = ferromqtt_proto::packet::Disconnect::normal();
    pair.client.leave(pair.now, disconnect, until);
    pair.pump();
    assert_eq!(pair.sent(), ["PUBLISH q1 1 a"]);
    pair.server_sends(puback(1));
    assert_eq!(pair.sent(), ["DISCONNECT 0x00"]);
    assert_eq!(ended(&mut pair), [(key, acknowledged(false))]);
}

#[test]
fn a_record_is_of_one_client_identifier() {
    let named = |name: &str| {
        let mut named = options(V5);
        named.client_identifier = text(name);
        named
    };
    for (name, fits) in [("pump", true), ("other", false), ("", false)] {
        let session = Session::restore(text("pump"), 1, []);
        let client = ferromqtt_proto::Client::new(named(name), session, 7);
        let error = client.err();
        let expected = (!fits).then_some(InvalidOptions::OtherSession);
        assert_eq!(error, expected, "{name:?}");
    }
}

/// A store begins a new record with what there is, and forgets the old one.
#[test]
fn a_record_of_the_state_makes_the_same_session() {
    for version in VERSIONS {
        let (mut pair, mut store) = connected(journaled(version));
        let mut states = Vec::new();
        let mut state = |pair: &mut Pair, store: &mut Store| {
            store.write(pair);
            let record: Vec<_> = pair.client.session().record().collect();
            states.push((store.clone(), record));
        };
        state(&mut pair, &mut store);
        publish_recorded(&mut pair, "1", AtLeastOnce);
        pair.publish("t", "2", ExactlyOnce);
        publish_recorded(&mut pair, "3", ExactlyOnce);
        pair.receive("t", "x", ExactlyOnce, 9);
        state(&mut pair, &mut store);
        pair.server_sends(pubrec(3));
        pair.server_sends(pubrec(2));
        publish_recorded(&mut pair, "4", AtLeastOnce);
        state(&mut pair, &mut store);
        pair.cut();
        pair.publish("t", "5", AtLeastOnce);
        pair.wait_for_transport();
        pair.writable = false;
        pair.server_sends(accepted(false, Properties::default()));
        state(&mut pair, &mut store);
        pair.writable = true;
        pair.pump();
        state(&mut pair, &mut store);
        for (number, (store, record)) in states.into_iter().enumerate() {
            let session = restore(entries(record.clone()));
            assert!(session.record().eq(record.clone()), "{number}: {record:?}");
            let mut anew = resumed(journaled(version), session);
            let mut all = resumed(journaled(version), store.session(store.entries.len()));
            let (mut one, mut other) = (Store::default(), Store::default());
            one.write(&mut anew);
            other.write(&mut all);
            assert_eq!(anew.sent(), all.sent(), "{number}");
            let known = |pair: &mut Pair| {
                pair.server_sends(again("t", "x", ExactlyOnce, 9));
                pair.payloads().is_empty()
            };
            assert_eq!(known(&mut anew), known(&mut all), "{number}");
        }
    }
}
