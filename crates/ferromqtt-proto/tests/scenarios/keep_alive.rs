//! Keep Alive: when PINGREQ is due, and when the server is taken for dead.

use std::time::Duration;

use ferromqtt_proto::packet::Packet;
use ferromqtt_proto::{ConnectionError, Event, Options, Properties, ProtocolVersion};

use crate::support::*;

fn seconds(version: ProtocolVersion, keep_alive: u16) -> Options {
    let mut options = options(version);
    options.keep_alive = keep_alive;
    options
}

fn server_keep_alive(seconds: u16) -> Properties {
    Properties {
        server_keep_alive: Some(seconds),
        ..Properties::default()
    }
}

/// MQTT-3.1.2-20; 3.1.1: MQTT-3.1.2-23.
#[test]
fn a_ping_when_nothing_was_sent_for_the_interval() {
    for version in VERSIONS {
        let mut pair = Pair::connected(seconds(version, 10));
        pair.advance(Duration::from_millis(9_999));
        assert!(pair.bytes().is_empty());
        pair.advance(Duration::from_millis(1));
        assert_eq!(pair.bytes(), &b"\xc0\x00"[..]);
        pair.server_sends_bytes(b"\xd0\x00");
        pair.advance(Duration::from_millis(9_999));
        assert!(pair.bytes().is_empty());
        pair.advance(Duration::from_millis(1));
        assert_eq!(pair.bytes(), &b"\xc0\x00"[..]);
        assert!(pair.client.is_connected());
    }
}

/// MQTT-3.1.2-20. Pitfall 11: the server times out a client that only receives, so receiving must not count.
#[test]
fn receiving_does_not_postpone_a_ping() {
    for version in VERSIONS {
        let mut pair = Pair::connected(seconds(version, 10));
        let mut pings = 0;
        for _ in 0..20 {
            pair.advance(5 * SECOND);
            pings += pair
                .sent()
                .iter()
                .filter(|packet| *packet == "PINGREQ")
                .count();
            pair.server_sends(Packet::Publish(message("t", "x", AtMostOnce, 0)));
        }
        assert_eq!(pings, 10, "one for each 10 of 100 seconds");
    }
}

/// Pitfall 11, the other half: publishing QoS 0 into a dead link must not hide that nothing comes back.
#[test]
fn sending_does_not_hide_a_dead_server() {
    for version in VERSIONS {
        let mut pair = Pair::connected(seconds(version, 10));
        pair.events();
        let began = pair.now;
        for _ in 0..20 {
            pair.advance(SECOND);
            if !pair.client.is_connected() {
                break;
            }
            pair.publish("t", "x", AtMostOnce);
        }
        assert_eq!(pair.now - began, 15 * SECOND, "one interval and a half");
        assert_eq!(
            pair.sent()
                .iter()
                .filter(|packet| *packet == "PINGREQ")
                .count(),
            1
        );
        assert_eq!(pair.cause(), ConnectionError::KeepAliveTimeout);
        assert_eq!(pair.closes, [false], "aborted: nothing could be flushed");
    }
}

/// MQTT-3.1.2-20: as long as both sides talk, no ping is needed.
#[test]
fn traffic_both_ways_needs_no_ping() {
    for version in VERSIONS {
        let mut pair = Pair::connected(seconds(version, 10));
        for id in 1..=30 {
            pair.advance(9 * SECOND);
            pair.publish("t", "x", AtLeastOnce);
            pair.server_sends(puback(id));
        }
        assert!(!pair.sent().iter().any(|packet| packet == "PINGREQ"));
        assert!(pair.client.is_connected());
    }
}

/// MQTT-3.12.4-1; 3.1.1: MQTT-3.12.4-1. Any packet answers a ping, and 1 KiB of one that is still arriving gives it more
/// time.
#[test]
fn any_packet_answers_a_ping_and_silence_does_not() {
    let arriving = [&b"\x30\xff\xff\x7f"[..], &[7; 1_020]].concat();
    for version in VERSIONS {
        for answer in [&b"\xd0\x00"[..], b"\x40\x02\x00\x07", &arriving] {
            let mut pair = Pair::connected(seconds(version, 10));
            pair.advance(14 * SECOND);
            pair.server_sends_bytes(answer);
            pair.advance(Duration::from_millis(4_999));
            assert!(pair.client.is_connected(), "{answer:?}");
        }
        let mut pair = Pair::connected(seconds(version, 10));
        pair.advance(Duration::from_millis(14_999));
        assert!(pair.client.is_connected());
        pair.advance(Duration::from_millis(1));
        assert_eq!(pair.cause(), ConnectionError::KeepAliveTimeout);
    }
}

/// A socket that takes nothing for an interval and a half is as dead as one that gives nothing.
#[test]
fn a_stuck_transport_is_noticed() {
    let mut pair = Pair::connected(seconds(V5, 10));
    pair.writable = false;
    pair.advance(15 * SECOND);
    assert_eq!(pair.cause(), ConnectionError::KeepAliveTimeout);
}

#[test]
fn zero_means_no_ping_and_no_time_limit() {
    for version in VERSIONS {
        let mut pair = Pair::connected(seconds(version, 0));
        pair.advance(10_000_000 * SECOND);
        assert!(pair.bytes().is_empty());
        assert!(pair.client.is_connected());
        assert_eq!(pair.client.poll_timeout(), None);
    }
}

/// MQTT-3.1.2-21, MQTT-3.2.2-21. Pitfall 10: shorter, longer, on and off.
#[test]
fn server_keep_alive_replaces_ours() {
    for (ours, servers) in [(60, 2), (60, 300), (0, 30), (60, 0)] {
        let mut pair = Pair::connected_with(seconds(V5, ours), server_keep_alive(servers));
        let began = pair.now;
        let due = pair.client.poll_timeout();
        match servers {
            0 => assert_eq!(due, None),
            _ => {
                assert_eq!(due, Some(began + u32::from(servers) * SECOND));
                pair.advance(u32::from(servers) * SECOND);
                assert_eq!(pair.sent(), ["PINGREQ"]);
            }
        }
    }
}

/// Pitfall 10: it holds for its connection; the next CONNECT asks for ours again.
#[test]
fn server_keep_alive_does_not_outlive_its_connection() {
    let mut options = resuming(V5);
    options.keep_alive = 60;
    let mut pair = Pair::connected_with(options, server_keep_alive(2));
    pair.cut();
    pair.wait_for_transport();
    let connect = pair.accept(true, Properties::default());
    assert_eq!(connect.keep_alive, 60);
    assert_eq!(pair.client.poll_timeout(), Some(pair.now + 60 * SECOND));
}

/// A dead server is a lost connection like another: the client tries again.
#[test]
fn after_a_keep_alive_timeout_the_client_reconnects() {
    let mut options = resuming(V5);
    options.keep_alive = 10;
    let mut pair = Pair::connected(options);
    pair.publish("t", "x", AtLeastOnce);
    pair.advance(15 * SECOND);
    let reported = pair.events().into_iter().any(|event| {
        matches!(
            event,
            Event::Disconnected {
                cause: ConnectionError::KeepAliveTimeout,
                retry_at: Some(_),
                ..
            }
        )
    });
    assert!(reported);
    pair.wait_for_transport();
    pair.accept(true, Properties::default());
    assert_eq!(pair.sent(), ["PUBLISH q1 1 DUP x"]);
}

/// MQTT-3.1.2-20. Keep Alive counts from CONNECT, however long CONNACK takes, and PINGREQ is no packet to send before it.
#[test]
fn keep_alive_counts_from_connect_and_no_ping_goes_out_before_connack_mqtt_3_1_0_1() {
    for version in VERSIONS {
        let mut pair = Pair::new(options_without_time_limit(version));
        pair.connect();
        pair.advance(8 * SECOND);
        pair.accept(false, Properties::default());
        pair.advance(Duration::from_millis(1_999));
        assert!(pair.bytes().is_empty());
        pair.advance(Duration::from_millis(1));
        assert_eq!(pair.sent(), ["PINGREQ"]);

        pair = Pair::new(options_without_time_limit(version));
        pair.connect();
        pair.advance(25 * SECOND);
        pair.accept(false, Properties::default());
        pair.advance(Duration::ZERO);
        assert_eq!(pair.sent(), ["PINGREQ"], "only now");
        pair.advance(Duration::from_millis(4_999));
        assert!(pair.client.is_connected());
    }
}

fn options_without_time_limit(version: ProtocolVersion) -> Options {
    let mut options = seconds(version, 10);
    options.connect_timeout = None;
    options
}

/// A large packet that comes slowly keeps the connection while it gains 1 KiB per half Keep Alive.
#[test]
fn an_unfinished_packet_gives_more_time_only_while_it_moves() {
    for version in VERSIONS {
        for (bytes_per_second, lives) in [(257, true), (204, false)] {
            let mut pair = Pair::connected(seconds(version, 10));
            pair.server_sends_bytes(b"\x30\xff\xff\x7f");
            for _ in 0..60 {
                pair.advance(SECOND);
                if pair.client.is_connected() {
                    pair.server_sends_bytes(&vec![0; bytes_per_second]);
                }
            }
            assert_eq!(pair.client.is_connected(), lives, "{bytes_per_second}");
            let pings = (pair.bytes().iter()).filter(|&&byte| byte == 0xC0).count();
            assert_eq!(pings, if lives { 6 } else { 1 }, "the server counts too");
        }
    }
}
