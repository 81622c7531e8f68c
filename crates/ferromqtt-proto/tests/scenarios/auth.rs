//! Enhanced authentication: AUTH before CONNACK, and anew on an accepted connection.

use bytes::Bytes;
use ferromqtt_proto::packet::{Auth, Packet};
use ferromqtt_proto::{
    AuthError, Client, ConnectionError, Event, InvalidOptions, Options, Properties, ReasonCode,
    Session,
};

use crate::support::*;

const CONTINUE: ReasonCode = ReasonCode::ContinueAuthentication;
const AGAIN: ReasonCode = ReasonCode::ReAuthenticate;

fn properties(method: &str, data: &'static str) -> Properties {
    Properties {
        authentication_method: Some(text(method)),
        authentication_data: Some(Bytes::from(data)),
        ..Properties::default()
    }
}

fn authenticating() -> Options {
    let mut options = options(V5);
    options.properties = properties("M", "hello");
    options
}

fn reconnecting() -> Options {
    let mut options = authenticating();
    options.reconnect = resuming(V5).reconnect;
    options
}

fn auth(reason: ReasonCode, method: &str, data: &'static str) -> Auth {
    let properties = properties(method, data);
    Auth { reason, properties }
}

fn from_server(reason: ReasonCode, method: &str) -> Packet {
    Packet::Auth(Box::new(auth(reason, method, "ask")))
}

fn method_alone() -> Properties {
    Properties {
        authentication_data: None,
        ..properties("M", "")
    }
}

/// AUTH without a method, which is then added.
fn answer(reason: ReasonCode) -> Auth {
    let mut auth = auth(reason, "M", "re");
    auth.properties.authentication_method = None;
    auth
}

fn connected() -> Pair {
    let mut pair = Pair::connected_with(authenticating(), method_alone());
    pair.events();
    pair
}

fn violates(pair: &mut Pair) {
    let cause = pair.cause();
    assert!(
        matches!(cause, ConnectionError::ProtocolViolation(error) if error.reason == ReasonCode::ProtocolError),
        "{cause:?}"
    );
}

/// MQTT-3.1.2-30, MQTT-4.12.0-3, MQTT-4.12.0-5: nothing but AUTH goes out before CONNACK.
#[test]
fn an_exchange_before_connack() {
    let mut pair = Pair::new(authenticating());
    pair.connect();
    let packets = pair.packets();
    let [Packet::Connect(connect)] = &packets[..] else {
        panic!("{packets:?}");
    };
    assert_eq!(connect.properties, properties("M", "hello"));
    for _ in 0..3 {
        pair.server_sends(from_server(CONTINUE, "M"));
        let expected = Event::Auth(Box::new(auth(CONTINUE, "M", "ask")));
        assert_eq!(pair.events(), [expected]);
        assert!(pair.bytes().is_empty(), "the application answers");
        pair.client
            .authenticate(pair.now, answer(CONTINUE))
            .unwrap();
        pair.pump();
        let sent = &b"\xf0\x0b\x18\x09\x15\x00\x01M\x16\x00\x02re"[..];
        assert_eq!(pair.bytes(), sent);
    }
    pair.server_sends(accepted(false, properties("M", "done")));
    let connected = pair.connected_event();
    assert_eq!(connected.properties, properties("M", "done"));
}

/// MQTT-4.12.0-2, MQTT-4.12.0-5, MQTT-4.12.0-6: what a server must not send before or in CONNACK.
#[test]
fn a_server_that_breaks_the_rules_of_the_handshake() {
    let plain = || options(V5);
    for (options, packet) in [
        (plain(), from_server(CONTINUE, "M")),
        (plain(), accepted(false, method_alone())),
        (authenticating(), from_server(CONTINUE, "N")),
        (authenticating(), from_server(ReasonCode::Success, "M")),
        (authenticating(), from_server(AGAIN, "M")),
        (authenticating(), accepted(false, Properties::default())),
        (authenticating(), accepted(false, properties("N", ""))),
        (authenticating(), disconnect(ReasonCode::NotAuthorized)),
    ] {
        let mut pair = Pair::new(options);
        pair.connect();
        pair.bytes();
        pair.server_sends(packet);
        violates(&mut pair);
        assert!(pair.bytes().is_empty() && !pair.link_is_up());
    }
    let mut pair = Pair::new(authenticating());
    pair.connect();
    pair.server_sends(from_server(CONTINUE, "M"));
    pair.events();
    pair.server_sends(from_server(CONTINUE, "M"));
    violates(&mut pair);
}

/// A refusal names no method, and is told as one.
#[test]
fn a_refusal_needs_no_method() {
    let mut pair = Pair::new(authenticating());
    pair.connect();
    pair.server_sends(refused(ReasonCode::BadAuthenticationMethod));
    assert!(matches!(pair.cause(), ConnectionError::Refused { .. }));
}

/// An exchange that does not end is ended by the time limit of connecting.
#[test]
fn the_connect_timeout_covers_the_exchange() {
    let mut pair = Pair::new(authenticating());
    pair.connect();
    pair.server_sends(from_server(CONTINUE, "M"));
    pair.events();
    pair.advance(10 * SECOND);
    assert_eq!(pair.cause(), ConnectionError::ConnectTimeout);
}

/// MQTT-4.12.1-1: on an accepted connection this client starts; publishing goes on meanwhile.
#[test]
fn authenticating_anew() {
    let mut pair = connected();
    for _ in 0..2 {
        pair.client.authenticate(pair.now, answer(AGAIN)).unwrap();
        pair.publish("t", "x", AtMostOnce);
        let bytes = pair.bytes();
        let start = &b"\xf0\x0b\x19\x09\x15\x00\x01M\x16\x00\x02re\x30"[..];
        assert!(bytes.starts_with(start), "{bytes:?}");
        pair.events();
        pair.server_sends(from_server(CONTINUE, "M"));
        pair.client
            .authenticate(pair.now, answer(CONTINUE))
            .unwrap();
        pair.server_sends(from_server(ReasonCode::Success, "M"));
        let reported = |reason| Event::Auth(Box::new(auth(reason, "M", "ask")));
        assert_eq!(
            pair.events(),
            [reported(CONTINUE), reported(ReasonCode::Success)]
        );
        pair.bytes();
    }
}

/// Section 4.12.1: only clients start it; MQTT-4.12.0-5 holds on. MQTT-4.12.1-2: a failure ends the connection.
#[test]
fn a_server_that_breaks_the_rules_of_authenticating_anew() {
    for (started, packet) in [
        (false, from_server(CONTINUE, "M")),
        (false, from_server(ReasonCode::Success, "M")),
        (false, from_server(AGAIN, "M")),
        (true, from_server(AGAIN, "M")),
        (true, from_server(CONTINUE, "N")),
    ] {
        let mut pair = connected();
        if started {
            pair.client.authenticate(pair.now, answer(AGAIN)).unwrap();
            pair.pump();
        }
        pair.bytes();
        pair.server_sends(packet);
        violates(&mut pair);
        assert_eq!(pair.bytes(), &b"\xe0\x01\x82"[..]);
    }
    let mut pair = connected();
    pair.client.authenticate(pair.now, answer(AGAIN)).unwrap();
    pair.server_sends(disconnect(ReasonCode::NotAuthorized));
    assert!(matches!(pair.cause(), ConnectionError::Disconnected { .. }));
}

/// MQTT-3.15.2-1, MQTT-4.12.0-7, MQTT-3.2.2-15: refused before anything is sent.
#[test]
fn what_authenticate_refuses() {
    let mut pair = Pair::new(authenticating());
    let refused = |pair: &mut Pair, auth| {
        pair.bytes();
        let error = pair.client.authenticate(pair.now, auth).unwrap_err();
        pair.pump();
        assert!(pair.bytes().is_empty());
        error
    };
    assert_eq!(refused(&mut pair, answer(AGAIN)), AuthError::NotConnected);
    pair.connect();
    let not_now = AuthError::NotNow;
    assert_eq!(refused(&mut pair, answer(CONTINUE)), not_now(CONTINUE));
    assert_eq!(refused(&mut pair, answer(AGAIN)), not_now(AGAIN));
    let mut pair = connected();
    assert_eq!(refused(&mut pair, answer(CONTINUE)), not_now(CONTINUE));
    let success = ReasonCode::Success;
    assert_eq!(refused(&mut pair, answer(success)), not_now(success));
    assert_eq!(refused(&mut pair, auth(AGAIN, "N", "")), AuthError::Method);
    let mut foreign = answer(AGAIN);
    foreign.properties.topic_alias_maximum = Some(1);
    assert!(matches!(
        refused(&mut pair, foreign),
        AuthError::Property(_)
    ));
    let mut limits = method_alone();
    limits.maximum_packet_size = maximum_packet_size(12).maximum_packet_size;
    let mut small = Pair::connected_with(authenticating(), limits);
    let (bytes, limit) = (13, 12);
    assert_eq!(
        refused(&mut small, answer(AGAIN)),
        AuthError::TooLarge { bytes, limit }
    );
    let mut plain = Pair::connected(options(V5));
    assert_eq!(refused(&mut plain, answer(AGAIN)), AuthError::Method);
    let named = auth(AGAIN, "M", "");
    assert_eq!(refused(&mut plain, named), AuthError::Method);
}

/// Section 3.1.2.11.10: Authentication Data stands beside a method only.
#[test]
fn data_without_a_method_is_refused() {
    let mut options = authenticating();
    options.properties.authentication_method = None;
    let error = Client::new(options, Session::default(), 1).unwrap_err();
    assert!(matches!(error, InvalidOptions::Property(_)));
}

/// Each connection begins its exchange with data of its own.
#[test]
fn the_beginning_of_the_exchange_is_set_anew_for_each_connection() {
    let mut pair = Pair::new(reconnecting());
    for data in ["one", "two"] {
        let data = Bytes::from(data);
        pair.client
            .set_authentication_data(Some(data.clone()))
            .unwrap();
        let connect = if pair.client.is_idle() {
            pair.connect();
            let packets = pair.packets();
            let Some(Packet::Connect(connect)) = packets.into_iter().next() else {
                panic!("CONNECT");
            };
            pair.server_sends(accepted(false, method_alone()));
            *connect
        } else {
            pair.cut();
            pair.wait_for_transport();
            pair.accept(true, method_alone())
        };
        assert_eq!(connect.properties.authentication_data, Some(data));
    }
    let long = Bytes::from(vec![0; 65_536]);
    let error = pair.client.set_authentication_data(Some(long));
    assert!(matches!(error, Err(AuthError::Property(_))));
    let mut plain = Pair::new(options(V5));
    assert_eq!(
        plain.client.set_authentication_data(None),
        Err(AuthError::Method)
    );
}

/// MQTT-4.12.1-2: after CONNACK with DISCONNECT, before it without a word; and never tried again.
#[test]
fn an_exchange_that_fails_on_this_side_ends_the_connection() {
    let why = || std::sync::Arc::from("not the right server");
    let mut pair = Pair::new(reconnecting());
    pair.client.fail_authentication(pair.now, why()); // harmless
    pair.connect();
    pair.bytes();
    pair.server_sends(from_server(CONTINUE, "M"));
    pair.events();
    pair.client.fail_authentication(pair.now, why());
    pair.pump();
    assert_eq!(pair.cause(), ConnectionError::AuthenticationFailed(why()));
    assert!(pair.bytes().is_empty() && !pair.link_is_up() && pair.client.is_idle());
    let mut pair = connected();
    pair.bytes();
    pair.client.fail_authentication(pair.now, why());
    pair.pump();
    assert_eq!(pair.sent(), ["DISCONNECT 0x80"]);
    assert_eq!(pair.cause(), ConnectionError::AuthenticationFailed(why()));
}
