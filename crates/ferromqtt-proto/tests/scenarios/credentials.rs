//! Credentials that each attempt to connect has anew.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use ferromqtt_proto::packet::Connect;
use ferromqtt_proto::{
    ConnectionError, InvalidOptions, Options, Properties, ProtocolVersion, ReasonCode, Reconnect,
    ServerChoice, TransportError,
};

use crate::support::*;

fn fresh(version: ProtocolVersion) -> Options {
    let mut options = resuming(version);
    options.fresh_credentials = true;
    options
}

/// Also tries the first connection again.
fn patient(version: ProtocolVersion) -> Options {
    let mut options = fresh(version);
    options.reconnect = Some(Reconnect {
        initial: true,
        ..Reconnect::default()
    });
    options
}

/// A client that has asked for its first transport.
fn asked(options: Options) -> Pair {
    let mut pair = Pair::new(options);
    pair.opens = false;
    pair.connect();
    pair
}

/// Lets time pass until the client asks for a transport.
fn wait_until_asked(pair: &mut Pair) {
    let due = pair.client.poll_timeout().expect("a further attempt");
    assert!(due > pair.now, "without any wait");
    pair.advance(due - pair.now);
    assert!(pair.transport_is_asked_for());
}

/// Does what a driver does: gets a password, and opens the transport.
fn open_with(pair: &mut Pair, password: &'static str) {
    let password = Some(Bytes::from(password));
    let set = pair.client.set_credentials(Some(text("me")), password);
    assert_eq!(set, Ok(()));
    pair.transport_opens();
}

fn credentials(connect: &Connect) -> (Option<&str>, Option<&[u8]>) {
    let user_name = connect.user_name.as_ref().map(|name| name.as_str());
    (user_name, connect.password.as_deref())
}

fn why() -> Arc<str> {
    "the token service is busy".into()
}

#[test]
fn connect_holds_the_credentials_that_were_set_last() {
    for version in VERSIONS {
        let mut options = fresh(version);
        options.user_name = Some(text("of the options"));
        let mut pair = asked(options);
        for password in ["one", "two"] {
            open_with(&mut pair, password);
            let connect = pair.accept(true, Properties::default());
            let expected = (Some("me"), Some(password.as_bytes()));
            assert_eq!(credentials(&connect), expected);
            pair.cut();
            wait_until_asked(&mut pair);
        }
        pair.client.set_credentials(None, None).unwrap();
        pair.transport_opens();
        let connect = pair.accept(true, Properties::default());
        assert_eq!(credentials(&connect), (None, None));
    }
}

/// As with the options; what was set before stays.
#[test]
fn credentials_that_connect_cannot_hold_are_refused() {
    let mut pair = asked(fresh(V311));
    let good = (Some(text("me")), Some(Bytes::from("good")));
    (pair.client.set_credentials(good.0, good.1)).unwrap();
    let alone = pair.client.set_credentials(None, Some(Bytes::from("p")));
    assert_eq!(alone, Err(InvalidOptions::PasswordWithoutUserName));
    let long = Bytes::from(vec![0; 65_536]);
    let long = pair.client.set_credentials(Some(text("me")), Some(long));
    assert!(
        matches!(long, Err(InvalidOptions::TooLong { bytes: 65_536, .. })),
        "{long:?}"
    );
    pair.transport_opens();
    let connect = pair.accept(true, Properties::default());
    assert_eq!(credentials(&connect), (Some("me"), Some(&b"good"[..])));
    let mut pair = asked(fresh(V5));
    let alone = pair.client.set_credentials(None, Some(Bytes::from("p")));
    assert_eq!(alone, Ok(()), "5.0 allows it");
}

/// The next ones may be better. What has nothing to do with credentials stays final.
#[test]
fn a_refusal_for_bad_credentials_is_tried_again_with_fresh_ones() {
    for (version, reason, is_final) in [
        (V31, ReasonCode::BadUserNameOrPassword, false),
        (V311, ReasonCode::BadUserNameOrPassword, false),
        (V311, ReasonCode::NotAuthorized, false),
        (V5, ReasonCode::BadUserNameOrPassword, false),
        (V5, ReasonCode::NotAuthorized, false),
        (V5, ReasonCode::Banned, true),
        (V5, ReasonCode::BadAuthenticationMethod, true),
        (V311, ReasonCode::ClientIdentifierNotValid, true),
    ] {
        let mut pair = asked(patient(version));
        open_with(&mut pair, "expired");
        pair.server_sends(refused(reason));
        let ConnectionError::Refused {
            reason: reported, ..
        } = pair.cause()
        else {
            panic!("the refusal is told");
        };
        assert_eq!(reported, reason);
        assert_eq!(pair.client.is_idle(), is_final, "{version:?} {reason}");
        if !is_final {
            wait_until_asked(&mut pair);
            open_with(&mut pair, "fresh");
            pair.bytes();
            pair.server_sends(accepted(false, Properties::default()));
            assert!(pair.client.is_connected());
        }
    }
}

/// A server that goes on refusing is asked less and less often.
#[test]
fn refusals_for_bad_credentials_are_tried_again_with_growing_pauses() {
    let mut pair = asked(patient(V5));
    let mut pauses = Vec::new();
    for _ in 0..8 {
        open_with(&mut pair, "expired");
        pair.server_sends(refused(ReasonCode::NotAuthorized));
        let refused_at = pair.now;
        wait_until_asked(&mut pair);
        pauses.push(pair.now - refused_at);
    }
    let bounds = [500, 1_000, 2_000, 4_000, 8_000, 16_000, 30_000, 30_000];
    for (pause, bound) in pauses.iter().zip(bounds.map(Duration::from_millis)) {
        assert!(*pause >= bound / 2 && *pause <= bound, "{pauses:?}");
    }
}

/// 5.0: what a server says when the token that a connection was made with has expired.
#[test]
fn a_connection_that_is_ended_as_not_authorized_is_made_again_with_fresh_credentials() {
    for (reason, is_final) in [
        (ReasonCode::NotAuthorized, false),
        (ReasonCode::ServerMoved, true),
        (ReasonCode::SessionTakenOver, true),
    ] {
        let mut pair = asked(fresh(V5));
        open_with(&mut pair, "one");
        pair.accept(false, Properties::default());
        pair.server_sends(disconnect(reason));
        assert_eq!(pair.client.is_idle(), is_final, "{reason}");
    }
}

/// That one is reported at once, unless `initial` says otherwise.
#[test]
fn the_first_refusal_is_final_all_the_same() {
    let mut pair = asked(fresh(V5));
    open_with(&mut pair, "wrong");
    pair.server_sends(refused(ReasonCode::BadUserNameOrPassword));
    assert!(pair.client.is_idle());
}

#[test]
fn an_attempt_without_credentials_fails_like_one_without_a_network() {
    let mut pair = asked(fresh(V5));
    pair.client.fail_credentials(pair.now, why());
    pair.pump();
    assert_eq!(pair.cause(), ConnectionError::NoCredentials(why()));
    assert!(pair.client.is_idle(), "the first one is the only one");
    let mut pair = asked(patient(V5));
    for attempt in 1..4 {
        pair.client.fail_credentials(pair.now, why());
        pair.pump();
        assert_eq!(pair.cause(), ConnectionError::NoCredentials(why()));
        wait_until_asked(&mut pair);
        assert_eq!(pair.attempts.last(), Some(&attempt));
    }
    assert!(pair.bytes().is_empty(), "nothing was sent");
    open_with(&mut pair, "good");
    pair.accept(false, Properties::default());
    pair.client.fail_credentials(pair.now, why()); // too late to matter
    pair.pump();
    assert!(pair.client.is_connected());
}

/// Credentials may differ from server to server.
#[test]
fn each_server_of_a_list_is_tried_with_credentials_of_its_own() {
    let mut options = fresh(V5);
    options.servers = 3.try_into().unwrap();
    let mut pair = asked(options);
    pair.client.fail_credentials(pair.now, why());
    pair.pump();
    assert!(pair.client.poll_timeout() <= Some(pair.now), "at once");
    pair.advance(Duration::ZERO);
    open_with(&mut pair, "of the second");
    pair.server_sends(refused(ReasonCode::NotAuthorized));
    pair.advance(Duration::ZERO);
    open_with(&mut pair, "of the third");
    assert_eq!(pair.servers, [0, 1, 2].map(ServerChoice::Listed));
    pair.accept(false, Properties::default());
}

/// Which of the two is slow is told.
#[test]
fn credentials_that_do_not_come_in_time_are_told_from_a_server_that_does_not_answer() {
    let mut pair = asked(patient(V5));
    pair.advance(Duration::from_secs(10));
    let cause = pair.cause();
    assert!(
        matches!(cause, ConnectionError::NoCredentials(_)),
        "{cause:?}"
    );
    wait_until_asked(&mut pair);
    (pair.client.set_credentials(None, None)).unwrap();
    pair.advance(Duration::from_secs(10));
    assert_eq!(pair.cause(), ConnectionError::ConnectTimeout);
    wait_until_asked(&mut pair);
    open_with(&mut pair, "good");
    pair.advance(Duration::from_secs(10));
    assert_eq!(pair.cause(), ConnectionError::ConnectTimeout);
    let mut plain = asked(options(V5));
    plain.advance(Duration::from_secs(10));
    assert_eq!(plain.cause(), ConnectionError::ConnectTimeout);
}

/// The credentials of one attempt do not stand for those of the next.
#[test]
fn each_attempt_awaits_credentials_anew() {
    let mut pair = asked(patient(V5));
    (pair.client.set_credentials(None, None)).unwrap();
    pair.cut();
    let cause = ConnectionError::Transport(TransportError::EndOfStream);
    assert_eq!(pair.cause(), cause);
    wait_until_asked(&mut pair);
    pair.advance(Duration::from_secs(10));
    let cause = pair.cause();
    assert!(
        matches!(cause, ConnectionError::NoCredentials(_)),
        "{cause:?}"
    );
}
