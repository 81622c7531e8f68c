//! Two clients with one Client Identifier: the server ends one connection for the other, and the clients say so.

use std::time::Duration;

use ferromqtt_proto::{
    Contest, Event, Options, ProtocolVersion, ReasonCode, Reconnect, TransportError,
};

use crate::support::*;

fn reconnecting(version: ProtocolVersion) -> Options {
    let mut options = options(version);
    options.reconnect = Some(Reconnect::default());
    options
}

fn contests(pair: &mut Pair) -> Vec<Contest> {
    (pair.events().into_iter())
        .filter_map(|event| match event {
            Event::IdentifierContested(contest) => Some(contest),
            _ => None,
        })
        .collect()
}

fn come_back(pair: &mut Pair) {
    pair.wait_for_transport();
    pair.accept(false, Default::default());
}

/// A server as the standard has it (section 3.1.4): who connects last stays, and the other one is cut off.
/// Both reconnect as they do by default.
#[test]
fn two_clients_that_take_the_server_from_each_other_both_notice() {
    for version in VERSIONS {
        let mut pairs = [reconnecting(version), reconnecting(version)].map(Pair::connected);
        let mut noticed = [0, 0];
        pairs[0].cut(); // for the second
        for round in 0..8 {
            let (loser, winner) = (round % 2, 1 - round % 2);
            let waits = pairs[loser].client.poll_timeout().unwrap() - pairs[loser].now;
            for pair in &mut pairs {
                pair.advance(waits);
            }
            come_back(&mut pairs[loser]);
            pairs[winner].cut();
            for (noticed, pair) in noticed.iter_mut().zip(&mut pairs) {
                let contests = contests(pair);
                *noticed += contests.len();
                if let Some(contest) = contests.first() {
                    assert_eq!(contest.client_identifier, text("me"));
                    assert_eq!((contest.ends, contest.reason), (3, None));
                    let reported = contest.to_string();
                    assert!(
                        reported.contains("\"me\"")
                            && reported.contains("give each client its own"),
                        "{reported}"
                    );
                }
            }
        }
        assert_eq!(noticed, [1, 1], "{version:?}: once for each");
    }
}

/// 5.0: section 4.13, Session taken over.
#[test]
fn a_server_that_says_so_is_believed_at_once() {
    let mut pair = Pair::connected(reconnecting(V5));
    pair.advance(Duration::from_secs(3_600));
    pair.events();
    pair.server_sends(disconnect(ReasonCode::SessionTakenOver));
    let [contest] = &contests(&mut pair)[..] else {
        panic!("reported once");
    };
    assert_eq!(contest.reason, Some(ReasonCode::SessionTakenOver));
    assert!(
        contest.to_string().contains("Session taken over"),
        "{contest}"
    );
}

/// A program that connects again itself, with the same client.
#[test]
fn connecting_again_goes_on_counting() {
    for version in VERSIONS {
        let mut pair = Pair::connected(options(version));
        pair.cut();
        for _ in 0..2 {
            assert!(contests(&mut pair).is_empty());
            pair.advance(Duration::from_secs(5));
            pair.connect();
            pair.accept(false, Default::default());
            pair.advance(Duration::from_secs(5));
            pair.cut();
        }
        assert_eq!(contests(&mut pair).len(), 1);
    }
}

#[test]
fn a_connection_that_lasts_or_ends_otherwise_begins_the_count_anew() {
    let ends: [fn(&mut Pair); 2] = [
        |pair| {
            pair.advance(Duration::from_secs(10));
            pair.cut();
        },
        |pair| pair.server_sends(disconnect(ReasonCode::ServerBusy)),
    ];
    for end in ends {
        let mut pair = Pair::connected(reconnecting(V5));
        for _ in 0..2 {
            pair.cut();
            come_back(&mut pair);
        }
        end(&mut pair);
        for _ in 0..2 {
            come_back(&mut pair);
            pair.cut();
        }
        assert!(contests(&mut pair).is_empty());
        come_back(&mut pair);
        pair.cut();
        assert_eq!(contests(&mut pair).len(), 1);
    }
}

#[test]
fn an_attempt_that_was_not_accepted_counts_for_nothing() {
    let mut pair = Pair::connected(reconnecting(V311));
    for _ in 0..5 {
        pair.cut();
        pair.wait_for_transport();
    }
    assert!(contests(&mut pair).is_empty());
}

/// Without a Client Identifier nobody has the same one.
#[test]
fn a_client_without_a_name_shares_it_with_nobody() {
    let mut options = reconnecting(V311);
    options.client_identifier = text("");
    let mut pair = Pair::connected(options);
    for _ in 0..5 {
        pair.cut();
        come_back(&mut pair);
    }
    assert!(contests(&mut pair).is_empty());
}

/// A program that cuts the connection itself, to have the will published or to test itself, is no other client.
#[test]
fn what_the_program_cuts_itself_is_no_contest() {
    let mut pair = Pair::connected(reconnecting(V311));
    for _ in 0..5 {
        pair.lose(TransportError::Cut);
        pair.pump();
        come_back(&mut pair);
    }
    assert!(contests(&mut pair).is_empty());
}
