//! When a client tries again, and when it does not.

use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use ferromqtt_proto::packet::{Packet, ReasonCode};
use ferromqtt_proto::{
    ConnectionError, Delivery, Event, Options, Outcome, Properties, ProtocolVersion, Reconnect,
    TransportError,
};

use crate::support::*;

fn with_policy(version: ProtocolVersion, initial: bool) -> Options {
    let mut options = resuming(version);
    options.reconnect = Some(Reconnect {
        initial_delay: SECOND,
        max_delay: 8 * SECOND,
        stable_after: 10 * SECOND,
        initial,
        ..Reconnect::default()
    });
    options
}

/// How long the client waits after the loss that was just told.
fn delay(pair: &mut Pair) -> Duration {
    let retry_at = pair.events().into_iter().find_map(|event| match event {
        Event::Disconnected { retry_at, .. } => retry_at,
        _ => None,
    });
    let retry_at = retry_at.expect("no further attempt");
    assert_eq!(pair.client.poll_timeout(), Some(retry_at));
    retry_at - pair.now
}

fn between_half_and_whole(delay: Duration, whole: Duration) -> bool {
    delay >= whole / 2 && delay <= whole
}

#[test]
fn the_delay_doubles_with_each_failure_up_to_its_bound() {
    let mut pair = Pair::new(with_policy(V5, true));
    pair.connect();
    for seconds in [1, 2, 4, 8, 8, 8] {
        pair.events();
        pair.cut();
        let delay = delay(&mut pair);
        assert!(
            between_half_and_whole(delay, seconds * SECOND),
            "{seconds} {delay:?}"
        );
        pair.advance(delay - Duration::from_nanos(1));
        assert!(!pair.link_is_up(), "too early");
        pair.advance(Duration::from_nanos(1));
        assert!(pair.link_is_up());
    }
    assert_eq!(pair.attempts, [0, 1, 2, 3, 4, 5, 6]);
}

/// A server that accepts and drops at once is not asked at full speed; one that held for a while counts as well again.
#[test]
fn only_a_stable_connection_resets_the_delay() {
    let mut pair = Pair::new(with_policy(V311, false));
    pair.connect();
    for seconds in [1, 2, 4, 8] {
        pair.accept(false, Properties::default());
        pair.advance(Duration::from_millis(9_999));
        pair.cut();
        let delay = delay(&mut pair);
        assert!(
            between_half_and_whole(delay, seconds * SECOND),
            "{seconds} {delay:?}"
        );
        pair.advance(delay);
    }
    pair.accept(false, Properties::default());
    pair.advance(10 * SECOND);
    pair.cut();
    assert!(between_half_and_whole(delay(&mut pair), SECOND));
}

/// The row of attempts begins again with a stable connection.
#[test]
fn after_so_many_attempts_in_a_row_the_end_is_final() {
    let mut options = with_policy(V5, false);
    if let Some(policy) = &mut options.reconnect {
        policy.attempts = NonZeroU32::new(2);
    }
    let mut pair = Pair::new(options);
    pair.connect();
    for _ in 0..3 {
        pair.accept(false, Properties::default());
        pair.advance(10 * SECOND);
        for _ in 0..2 {
            pair.events();
            pair.cut(); // the connection, and then the first attempt
            let delay = delay(&mut pair);
            pair.advance(delay);
            assert!(pair.link_is_up());
        }
    }
    pair.events();
    pair.cut();
    let is_final = |event: &Event| matches!(event, Event::Disconnected { retry_at: None, .. });
    assert!(pair.events().iter().any(is_final));
}

/// A wrong address is reported at once, unless `initial` says otherwise.
#[test]
fn the_first_connection_is_tried_again_only_when_asked() {
    for version in VERSIONS {
        for initial in [false, true] {
            let mut pair = Pair::new(with_policy(version, initial));
            pair.opens = false;
            pair.connect();
            let op = pair.publish("t", "x", AtLeastOnce);
            pair.cut();
            let events = pair.events();
            let Event::Disconnected { retry_at, .. } = &events[0] else {
                panic!("{events:?}");
            };
            assert_eq!(retry_at.is_some(), initial);
            assert_eq!(pair.client.is_idle(), !initial);
            let ended = events
                .iter()
                .any(|event| matches!(event, Event::Completed { op: it, .. } if *it == op));
            assert_eq!(ended, !initial);
        }
    }
}

/// `initial` is about the first connection alone.
#[test]
fn a_refused_reconnect_is_tried_again() {
    let mut pair = Pair::connected(with_policy(V5, false));
    pair.cut();
    pair.wait_for_transport();
    pair.events();
    pair.server_sends(refused(ReasonCode::ServerBusy));
    delay(&mut pair);
    pair.wait_for_transport();
    pair.accept(true, Properties::default());
}

/// What trying again cannot heal is final. 3.1.1: MQTT-3.1.2-2.
#[test]
fn refusals_that_cannot_heal_are_final() {
    for (version, reason, is_final) in [
        (V311, ReasonCode::UnsupportedProtocolVersion, true),
        (V311, ReasonCode::ClientIdentifierNotValid, true),
        (V311, ReasonCode::ServerUnavailable, false),
        (V311, ReasonCode::BadUserNameOrPassword, true),
        (V311, ReasonCode::NotAuthorized, true),
        (V5, ReasonCode::BadUserNameOrPassword, true),
        (V5, ReasonCode::NotAuthorized, true),
        (V5, ReasonCode::Banned, true),
        (V5, ReasonCode::UnspecifiedError, false),
        (V5, ReasonCode::ServerUnavailable, false),
        (V5, ReasonCode::ServerBusy, false),
        (V5, ReasonCode::QuotaExceeded, false),
        (V5, ReasonCode::ConnectionRateExceeded, false),
    ] {
        let mut pair = Pair::new(with_policy(version, true));
        pair.connect();
        let op = pair.publish("t", "x", AtLeastOnce);
        pair.server_sends(refused(reason));
        assert_eq!(pair.client.is_idle(), is_final, "{version:?} {reason}");
        let outcomes = pair.outcomes();
        if is_final {
            let cause = ConnectionError::Refused {
                reason,
                properties: Arc::default(),
            };
            let delivery = Delivery::NotSent;
            assert_eq!(outcomes, [(op, Outcome::Disconnected { cause, delivery })]);
        } else {
            assert_eq!(outcomes, []);
        }
    }
}

/// Reconnecting after a take-over would take the session back, forever.
#[test]
fn a_session_that_was_taken_over_is_left_alone() {
    for (reason, is_final) in [
        (ReasonCode::SessionTakenOver, true),
        (ReasonCode::NotAuthorized, true),
        (ReasonCode::ServerMoved, true),
        (ReasonCode::ServerShuttingDown, false),
        (ReasonCode::KeepAliveTimeout, false),
        (ReasonCode::UseAnotherServer, false),
    ] {
        let mut pair = Pair::connected(with_policy(V5, true));
        pair.server_sends(disconnect(reason));
        assert_eq!(pair.client.is_idle(), is_final, "{reason}");
    }
}

/// Publishes made offline join the queue, and go out in their order.
#[test]
fn publishes_wait_for_the_next_connection() {
    for version in VERSIONS {
        for session_present in [false, true] {
            let mut pair = Pair::connected(with_policy(version, false));
            pair.cut();
            let ops = [AtMostOnce, AtLeastOnce, ExactlyOnce].map(|qos| pair.publish("t", "x", qos));
            pair.advance(Duration::from_millis(1));
            assert_eq!(pair.outcomes(), [], "neither done nor failed");
            pair.wait_for_transport();
            pair.accept(session_present, Properties::default());
            assert_eq!(
                pair.sent(),
                ["PUBLISH q0 x", "PUBLISH q1 1 x", "PUBLISH q2 2 x"]
            );
            assert_eq!(pair.outcome(ops[0]), Outcome::Sent);
        }
    }
}

/// QoS 0 that was encoded for the connection that broke is gone: at most once. What was not encoded yet waits.
#[test]
fn qos_0_is_never_sent_twice() {
    for version in VERSIONS {
        let mut pair = Pair::connected(with_policy(version, false));
        let sent = pair.publish("t", "sent", AtMostOnce);
        assert_eq!(pair.outcome(sent), Outcome::Sent);
        pair.writable = false;
        let waits = pair.publish("t", "waits", AtMostOnce);
        pair.cut();
        pair.writable = true;
        pair.wait_for_transport();
        pair.accept(true, Properties::default());
        assert_eq!(pair.sent(), ["PUBLISH q0 waits"]);
        assert_eq!(pair.outcome(waits), Outcome::Sent);
    }
}

/// A driver tells that a transport could not be opened the same way as that it broke.
#[test]
fn a_transport_that_could_not_be_opened_is_tried_again() {
    let mut pair = Pair::connected(with_policy(V5, false));
    pair.cut();
    pair.events();
    pair.opens = false;
    let due = pair.client.poll_timeout().unwrap();
    pair.advance(due - pair.now);
    assert!(pair.transport_is_asked_for());
    let error = TransportError::Failed("no route".into());
    pair.client.transport_closed(pair.now, error.clone());
    while let Some(event) = pair.client.poll_event() {
        if let Event::Disconnected {
            cause, retry_at, ..
        } = event
        {
            assert_eq!(cause, ConnectionError::Transport(error.clone()));
            assert!(retry_at.is_some());
        }
    }
}

/// The handshake of a reconnect has a time limit too.
#[test]
fn a_reconnect_without_connack_is_given_up_and_tried_again() {
    let mut options = with_policy(V311, false);
    options.connect_timeout = Some(5 * SECOND);
    let mut pair = Pair::connected(options);
    pair.cut();
    pair.wait_for_transport();
    pair.events();
    pair.advance(5 * SECOND);
    assert_eq!(pair.closes, [false]);
    assert!(!pair.link_is_up());
    let reported = pair.events().into_iter().any(|event| {
        matches!(
            event,
            Event::Disconnected {
                cause: ConnectionError::ConnectTimeout,
                retry_at: Some(_),
                ..
            }
        )
    });
    assert!(reported);
    pair.wait_for_transport();
    pair.accept(false, Properties::default());
}

/// `connect()` while a connection is there, or on its way, changes nothing.
#[test]
fn connect_is_idempotent() {
    let mut pair = Pair::connected(with_policy(V5, false));
    pair.bytes();
    pair.connect();
    assert!(pair.bytes().is_empty() && pair.client.is_connected());
    pair.cut();
    pair.connect();
    assert!(!pair.link_is_up(), "the delay is kept");
    pair.wait_for_transport();
    pair.connect();
    pair.accept(true, Properties::default());
}

/// MQTT-3.1.0-1, MQTT-3.1.0-2, MQTT-3.1.3-2; 3.1.1: MQTT-3.1.0-1, MQTT-3.1.0-2, MQTT-3.1.3-2: whatever the application
/// asks for, each connection has one CONNECT, at its beginning, and all of a session name the same Client Identifier.
#[test]
fn each_connection_has_one_connect_that_names_the_session() {
    for version in VERSIONS {
        let mut pair = Pair::new(resuming(version));
        for connection in 0..3 {
            pair.connect();
            pair.wait_for_transport();
            pair.connect();
            let connect = pair.accept(connection > 0, Properties::default());
            assert_eq!(connect.client_identifier, "me");
            assert!(!connect.clean_start);
            pair.connect();
            pair.publish("t", "x", AtMostOnce);
            pair.connect();
            assert_eq!(pair.sent(), ["PUBLISH q0 x"]);
            pair.cut();
        }
        assert_eq!(pair.attempts.len(), 3);
    }
}

/// Without a policy there is one connection and no more; and calls fail rather than wait (pitfall 20).
#[test]
fn without_a_policy_nothing_is_tried_again() {
    for version in VERSIONS {
        let mut pair = Pair::connected(options(version));
        let op = pair.publish("t", "x", AtLeastOnce);
        pair.cut();
        let cause = ConnectionError::Transport(TransportError::EndOfStream);
        let delivery = Delivery::Unknown;
        assert_eq!(pair.outcome(op), Outcome::Disconnected { cause, delivery });
        assert_eq!(pair.client.poll_timeout(), None);
        pair.advance(1_000 * SECOND);
        assert_eq!(pair.attempts.len(), 1);
    }
}

/// Bytes that come when there is no connection are dropped.
#[test]
fn input_without_a_connection_is_dropped() {
    let mut pair = Pair::new(options(V5));
    let mut input = bytes::BytesMut::new();
    Packet::PingResp.encode(V5, &mut input);
    pair.client.handle_input(pair.now, &mut input);
    assert!(input.is_empty());
    pair.pump();
    assert!(pair.events().is_empty());
}
