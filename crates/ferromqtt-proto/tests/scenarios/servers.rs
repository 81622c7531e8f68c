//! Several servers: a list tried in turn, and servers that refer to others (section 4.11).

use std::num::NonZeroU16;

use ferromqtt_proto::packet::{ConnAck, Disconnect, Packet};
use ferromqtt_proto::{
    ConnectionError, Event, Options, Properties, ReasonCode, Reconnect, ServerChoice,
    TransportError,
};

use crate::support::*;

fn listed(servers: u16, reconnect: Option<Reconnect>) -> Options {
    let mut options = options(V5);
    options.servers = NonZeroU16::new(servers).unwrap();
    options.reconnect = reconnect;
    options
}

fn places(pair: &mut Pair) -> Vec<usize> {
    std::mem::take(&mut pair.servers)
        .into_iter()
        .map(|server| match server {
            ServerChoice::Listed(place) => place,
            other => panic!("{other:?}"),
        })
        .collect()
}

fn refer(reason: ReasonCode, to: &str) -> Packet {
    Packet::ConnAck(Box::new(ConnAck {
        session_present: false,
        reason,
        properties: Properties {
            server_reference: Some(text(to)),
            ..Properties::default()
        },
    }))
}

/// Lets the attempt that is under way fail, and time pass until the next.
fn fails(pair: &mut Pair) {
    pair.cut();
    if let Some(due) = pair.client.poll_timeout() {
        pair.advance(due - pair.now);
    }
}

/// An attempt to connect fails when every server has been tried once, whether the client reconnects or not; its cause is the
/// last one.
#[test]
fn a_first_connection_fails_when_all_have_been_tried() {
    for reconnect in [None, Some(Reconnect::default())] {
        let mut pair = Pair::new(listed(3, reconnect));
        pair.opens = false;
        pair.connect();
        for _ in 0..3 {
            assert!(!pair.client.is_idle());
            fails(&mut pair);
        }
        assert!(pair.client.is_idle());
        assert_eq!(places(&mut pair), [0, 1, 2]);
        let retries: Vec<_> = pair
            .events()
            .into_iter()
            .filter_map(|event| match event {
                Event::Disconnected { retry_at, .. } => Some(retry_at.is_some()),
                _ => None,
            })
            .collect();
        assert_eq!(retries, [true, true, false]);
    }
}

/// The others are tried at once; only when all have failed it waits.
#[test]
fn the_next_server_is_tried_at_once_and_a_round_is_followed_by_a_wait() {
    let policy = Reconnect {
        initial: true,
        ..Reconnect::default()
    };
    let mut pair = Pair::new(listed(2, Some(policy)));
    pair.opens = false;
    pair.connect();
    let start = pair.now;
    fails(&mut pair);
    assert_eq!(pair.now, start, "the second one without a wait");
    fails(&mut pair);
    assert!(pair.now > start, "both have failed");
    fails(&mut pair);
    assert_eq!(places(&mut pair), [0, 1, 0, 1]);
    assert_eq!(pair.attempts, [0, 1, 2, 3]);
}

/// A server that was connected and is gone is left, after a wait: its clients must not all turn to the next one at once.
#[test]
fn a_lost_connection_goes_on_to_the_next_server_after_a_wait() {
    let mut pair = Pair::connected(listed(2, Some(Reconnect::default())));
    let start = pair.now;
    pair.cut();
    pair.wait_for_transport();
    assert!(pair.now > start);
    assert_eq!(places(&mut pair), [0, 1]);
}

/// Connecting anew begins with the first one.
#[test]
fn connecting_begins_with_the_first_server() {
    let mut pair = Pair::connected(listed(2, Some(Reconnect::default())));
    pair.cut();
    pair.wait_for_transport();
    pair.accept(false, Properties::default());
    pair.client.disconnect(pair.now, Disconnect::normal());
    pair.pump();
    pair.connect();
    assert_eq!(places(&mut pair), [0, 1, 0]);
}

/// Server moved: trying it again cannot help, trying another one may.
#[test]
fn a_server_that_has_moved_is_final_only_when_it_is_the_only_one() {
    for (servers, is_final) in [(1, true), (2, false)] {
        let mut pair = Pair::new(listed(servers, Some(Reconnect::default())));
        pair.connect();
        pair.packets();
        pair.server_sends(refused(ReasonCode::ServerMoved));
        assert_eq!(pair.client.is_idle(), is_final);
    }
}

/// The reference is told, and not followed: it could lead credentials anywhere.
#[test]
fn a_server_reference_is_told_and_not_followed_unless_asked() {
    let mut pair = Pair::new(listed(1, None));
    pair.connect();
    pair.packets();
    pair.server_sends(refer(ReasonCode::UseAnotherServer, "other:1883"));
    let ConnectionError::Refused { reason, properties } = pair.cause() else {
        panic!("not refused");
    };
    assert_eq!(reason, ReasonCode::UseAnotherServer);
    assert_eq!(properties.server_reference, Some(text("other:1883")));
    assert!(pair.client.is_idle());
    assert_eq!(places(&mut pair), [0]);
}

/// In CONNACK and in DISCONNECT, by both Reason Codes, and several in turn.
#[test]
fn a_server_reference_is_followed_when_asked() {
    for reason in [ReasonCode::UseAnotherServer, ReasonCode::ServerMoved] {
        let mut options = listed(1, Some(Reconnect::default()));
        options.follow_server_reference = true;
        let mut pair = Pair::new(options);
        pair.connect();
        pair.packets();
        pair.opens = false;
        pair.server_sends(refer(reason, "one:1883 two"));
        pair.advance(SECOND);
        fails(&mut pair);
        pair.transport_opens();
        pair.accept(false, Properties::default());
        let referred = |name| ServerChoice::Referred(text(name));
        assert_eq!(
            pair.servers,
            [
                ServerChoice::Listed(0),
                referred("one:1883"),
                referred("two")
            ]
        );
        pair.server_sends(Packet::Disconnect(Box::new(Disconnect {
            reason,
            properties: Properties {
                server_reference: Some(text("three")),
                ..Properties::default()
            },
        })));
        pair.advance(SECOND);
        assert_eq!(pair.servers.last(), Some(&referred("three")));
        pair.cut();
        pair.advance(SECOND);
        assert_eq!(
            pair.servers.last(),
            Some(&ServerChoice::Listed(0)),
            "the list again"
        );
    }
}

/// Servers that refer to each other do not make the client spin: it waits after a few.
#[test]
fn referrals_in_a_circle_are_followed_a_few_times_and_then_with_waits() {
    let mut options = listed(
        1,
        Some(Reconnect {
            initial: true,
            ..Reconnect::default()
        }),
    );
    options.follow_server_reference = true;
    let mut pair = Pair::new(options);
    let start = pair.now;
    pair.connect();
    for _ in 0..100 {
        pair.wait_for_transport();
        pair.packets();
        pair.server_sends(refer(ReasonCode::UseAnotherServer, "the:other"));
    }
    let elapsed = pair.now - start;
    assert!(elapsed > 60 * SECOND, "{elapsed:?}");
}

/// The end of one connection is told as an end of the transport, whatever server is next.
#[test]
fn every_attempt_that_fails_is_told() {
    let mut pair = Pair::new(listed(2, None));
    pair.opens = false;
    pair.connect();
    fails(&mut pair);
    fails(&mut pair);
    assert_eq!(
        pair.causes(),
        [
            ConnectionError::Transport(TransportError::EndOfStream),
            ConnectionError::Transport(TransportError::EndOfStream)
        ]
    );
}
