//! The clock jumps, because the machine slept or the process stood still; and durations as long as they can be.

use std::time::Duration;

use ferromqtt_proto::packet::Packet;
use ferromqtt_proto::{ConnectionError, Event, Outcome, Properties, Publish, Reconnect, TopicName};

use crate::support::*;

const JUMPS: [Duration; 2] = [
    Duration::from_secs(3_600),
    Duration::from_secs(30 * 24 * 3_600),
];

/// The clock alone moves; the driver calls as late as it wakes.
fn jump(pair: &mut Pair, duration: Duration) {
    pair.now += duration;
    pair.client.handle_timeout(pair.now);
    pair.pump();
}

fn lively(version: ferromqtt_proto::ProtocolVersion) -> ferromqtt_proto::Options {
    let mut options = resuming(version);
    options.keep_alive = 60;
    options
}

/// MQTT-3.1.2-20 (3.1.1: MQTT-3.1.2-23): nothing says that the peer is dead before it was asked. PINGREQ goes out, and a
/// server that is there answers.
#[test]
fn an_idle_connection_survives_a_jump_when_the_server_answers() {
    for version in VERSIONS {
        for duration in JUMPS {
            let mut pair = Pair::connected(lively(version));
            jump(&mut pair, duration);
            assert_eq!(pair.sent(), ["PINGREQ"]);
            pair.server_sends(Packet::PingResp);
            pair.advance(40 * SECOND);
            assert!(pair.client.is_connected());
        }
    }
}

/// The answer may have come while nobody read: the server is asked once more, and is dead only if it says nothing then.
#[test]
fn a_ping_that_was_under_way_is_asked_again_after_a_jump() {
    for version in VERSIONS {
        for answers in [true, false] {
            let mut pair = Pair::connected(lively(version));
            pair.advance(60 * SECOND);
            assert_eq!(pair.sent(), ["PINGREQ"]);
            jump(&mut pair, JUMPS[0]);
            assert_eq!(pair.sent(), ["PINGREQ"]);
            assert!(pair.client.is_connected());
            pair.events();
            if answers {
                pair.server_sends(Packet::PingResp); // the one of before
            }
            pair.advance(31 * SECOND);
            assert_eq!(pair.client.is_connected(), answers);
            if !answers {
                assert_eq!(pair.cause(), ConnectionError::KeepAliveTimeout);
            }
        }
    }
}

/// A half-open link: the deadline of the answer finds it, and the client connects anew.
#[test]
fn a_link_that_died_during_a_jump_is_found_and_replaced() {
    for version in VERSIONS {
        let mut pair = Pair::connected(lively(version));
        jump(&mut pair, JUMPS[1]);
        pair.packets();
        pair.events();
        pair.advance(30 * SECOND);
        assert_eq!(pair.cause(), ConnectionError::KeepAliveTimeout);
        pair.wait_for_transport();
        pair.accept(true, Properties::default());
    }
}

#[test]
fn an_attempt_that_slept_beyond_its_time_limit_is_made_again() {
    for opens in [true, false] {
        let mut options = lively(V5);
        options.reconnect = Some(Reconnect {
            initial: true,
            ..Reconnect::default()
        });
        let mut pair = Pair::new(options);
        pair.opens = opens;
        pair.connect();
        pair.packets();
        jump(&mut pair, JUMPS[0]);
        assert_eq!(pair.cause(), ConnectionError::ConnectTimeout);
        pair.opens = true;
        pair.wait_for_transport();
        pair.accept(false, Properties::default());
    }
}

#[test]
fn a_retry_that_was_due_during_a_jump_is_made_at_once() {
    let mut pair = Pair::connected(lively(V5));
    pair.cut();
    jump(&mut pair, JUMPS[1]);
    assert!(pair.link_is_up());
    pair.accept(true, Properties::default());
}

/// A clock that seems to go back, as one read by another thread may, changes nothing.
#[test]
fn time_that_goes_back_is_harmless() {
    let mut pair = Pair::connected(lively(V5));
    let mut publish = Publish::new(TopicName::new("t").unwrap(), "x");
    publish.properties = Some(Box::new(Properties {
        message_expiry_interval: Some(5),
        ..Properties::default()
    }));
    pair.cut();
    pair.client.publish(pair.now, publish).unwrap();
    pair.now -= 30 * SECOND;
    pair.client.handle_timeout(pair.now);
    pair.pump();
    assert!(pair.outcomes().is_empty());
    pair.now += 31 * SECOND;
    pair.wait_for_transport();
    pair.accept(true, Properties::default());
    assert_eq!(pair.sent(), ["PUBLISH q0 x"]);
}

/// Whatever the application asks for, nothing overflows.
#[test]
fn the_longest_durations_never_panic() {
    let mut options = lively(V5);
    options.connect_timeout = Some(Duration::MAX);
    options.reconnect = Some(Reconnect {
        initial_delay: Duration::MAX,
        max_delay: Duration::MAX,
        stable_after: Duration::MAX,
        initial: true,
        ..Reconnect::default()
    });
    let mut pair = Pair::new(options);
    pair.connect();
    assert!(pair.client.poll_timeout() > Some(pair.now + JUMPS[1]));
    pair.accept(false, Properties::default());
    let mut publish = Publish::new(TopicName::new("t").unwrap(), "x");
    publish.qos = AtLeastOnce;
    publish.properties = Some(Box::new(Properties {
        message_expiry_interval: Some(u32::MAX),
        ..Properties::default()
    }));
    pair.cut();
    let retry_at = pair.events().into_iter().find_map(|event| match event {
        Event::Disconnected { retry_at, .. } => retry_at,
        _ => None,
    });
    assert!(retry_at > Some(pair.now + JUMPS[1]));
    let op = pair.client.publish(pair.now, publish).unwrap();
    jump(&mut pair, JUMPS[1]);
    assert!(pair.outcomes().is_empty());
    pair.client
        .disconnect(pair.now, ferromqtt_proto::packet::Disconnect::normal());
    pair.pump();
    assert!(matches!(pair.outcome(op), Outcome::Disconnected { .. }));
}
