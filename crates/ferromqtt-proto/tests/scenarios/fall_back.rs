//! A client that falls back from 5.0 to 3.1.1: which answers count, what is remembered of each server, and what becomes of
//! that which only 5.0 can express.

use std::num::NonZeroU16;

use ferromqtt_proto::{
    CleanStart, ConnectionError, Event, FilterRefusal, InvalidOptions, InvalidPublish,
    InvalidSubscribe, Options, Outcome, Properties, ProtocolVersion, Publish, QueueId,
    QueueOptions, ReasonCode, Reconnect, ServerChoice, Subscribe, SubscriptionOptions,
    TransportError,
};

use crate::support::*;

/// CONNACK of 3.1.1 with return code 1, unacceptable protocol version.
const REFUSED_BY_3_1_1: &[u8] = &[0x20, 2, 0, 1];
/// CONNACK of 5.0 with Unsupported Protocol Version.
const REFUSED_BY_5_0: &[u8] = &[0x20, 3, 0, 0x84, 0];

fn falling_back(reconnect: Option<Reconnect>) -> Options {
    let mut options = options(V5);
    options.fall_back = true;
    options.reconnect = reconnect;
    options
}

/// What the server does with a CONNECT.
#[derive(Clone, Copy, Debug)]
enum Answer {
    Bytes(&'static [u8]),
    Closes,
    Resets,
}

const NO_5_0: [Answer; 4] = [
    Answer::Bytes(REFUSED_BY_3_1_1),
    Answer::Bytes(REFUSED_BY_5_0),
    Answer::Closes,
    Answer::Resets,
];

/// The version of the CONNECT that the client has sent.
fn connect_version(pair: &mut Pair) -> ProtocolVersion {
    let bytes = pair.bytes();
    assert_eq!(bytes[0], 0x10, "CONNECT");
    match bytes[8] {
        4 => V311,
        5 => V5,
        other => panic!("level {other}"),
    }
}

fn answer(pair: &mut Pair, answer: Answer) {
    match answer {
        Answer::Bytes(bytes) => pair.server_sends_bytes(bytes),
        Answer::Closes => pair.cut(),
        Answer::Resets => {
            pair.lose(TransportError::Failed("connection reset".into()));
            pair.pump();
        }
    }
    pair.advance(std::time::Duration::ZERO);
}

/// Expects a CONNECT in this version, and accepts it.
fn accepts(pair: &mut Pair, version: ProtocolVersion) {
    assert_eq!(connect_version(pair), version);
    pair.version = version;
    pair.server_sends(accepted(false, Properties::default()));
    assert!(pair.client.is_connected());
    assert_eq!(pair.client.options().protocol, version);
}

/// Cuts the connection, and waits for the CONNECT of the next one.
fn reconnects(pair: &mut Pair) {
    pair.cut();
    pair.wait_for_transport();
}

fn ends(pair: &mut Pair) -> Vec<Event> {
    (pair.events().into_iter())
        .filter(|event| {
            matches!(
                event,
                Event::Disconnected { .. } | Event::VersionRefused { .. }
            )
        })
        .collect()
}

/// 3.1.1: MQTT-3.1.2-2, and section 3.1.2.2 of 5.0. The same server, without a wait, and without a failed attempt.
#[test]
fn a_server_without_5_0_is_tried_in_3_1_1_at_once() {
    for no in NO_5_0 {
        let mut pair = Pair::new(falling_back(None));
        pair.connect();
        let start = pair.now;
        assert_eq!(connect_version(&mut pair), V5);
        answer(&mut pair, no);
        assert_eq!(pair.now, start, "{no:?}");
        let ends = ends(&mut pair);
        assert!(
            matches!(ends[..], [Event::VersionRefused { next: V311, .. }]),
            "{no:?}: {ends:?}"
        );
        accepts(&mut pair, V311);
        assert_eq!(pair.attempts, [0, 0], "{no:?}: not counted");
        assert_eq!(pair.servers, [0, 0].map(ServerChoice::Listed));
    }
}

#[test]
fn without_the_option_a_refusal_of_the_version_is_final() {
    for no in NO_5_0 {
        let mut pair = Pair::new(options(V5));
        pair.connect();
        answer(&mut pair, no);
        assert!(pair.client.is_idle(), "{no:?}");
        assert_eq!(pair.attempts, [0]);
    }
}

/// Whatever else goes wrong is no sign of another version.
#[test]
fn other_refusals_and_faults_are_told_and_not_tried_in_another_version() {
    let silence = |pair: &mut Pair| pair.advance(SECOND * 20);
    let no_transport = |pair: &mut Pair| {
        pair.lose(TransportError::Failed("no route".into()));
        pair.pump();
    };
    let password = |pair: &mut Pair| pair.server_sends(refused(ReasonCode::BadUserNameOrPassword));
    for (what, opens, fails) in [
        ("silence", true, &silence as &dyn Fn(&mut Pair)),
        ("no transport", false, &no_transport),
        ("a wrong password", true, &password),
    ] {
        let mut pair = Pair::new(falling_back(None));
        pair.opens = opens;
        pair.connect();
        fails(&mut pair);
        assert!(pair.client.is_idle(), "{what}");
        let ends = ends(&mut pair);
        assert!(
            matches!(ends[..], [Event::Disconnected { .. }]),
            "{what}: {ends:?}"
        );
    }
}

/// A hostile server: each version is answered by the refusal of the other one, forever.
#[test]
fn a_server_that_refuses_both_versions_ends_the_attempt() {
    for second in NO_5_0 {
        for reconnect in [None, Some(Reconnect::default())] {
            let mut pair = Pair::new(falling_back(reconnect));
            pair.connect();
            answer(&mut pair, Answer::Bytes(REFUSED_BY_3_1_1));
            assert_eq!(connect_version(&mut pair), V311);
            answer(&mut pair, second);
            assert!(pair.client.is_idle(), "{second:?}");
            assert_eq!(pair.attempts, [0, 0], "{second:?}");
        }
    }
}

/// With `Reconnect::initial` such a server is waited for like any other, with two attempts a round.
#[test]
fn a_server_that_closes_on_both_versions_is_waited_for() {
    let policy = Reconnect {
        initial: true,
        ..Reconnect::default()
    };
    let mut pair = Pair::new(falling_back(Some(policy)));
    pair.connect();
    for round in 0..4 {
        let start = pair.now;
        assert_eq!(connect_version(&mut pair), V5, "round {round}");
        answer(&mut pair, Answer::Closes);
        assert_eq!(connect_version(&mut pair), V311, "round {round}");
        assert_eq!(pair.now, start);
        reconnects(&mut pair);
        assert!(pair.now > start, "it waits between rounds");
    }
    assert_eq!(pair.attempts, [0, 0, 1, 1, 2, 2, 3, 3, 4]);
}

#[test]
fn what_a_server_has_said_holds_for_later_connections() {
    let mut pair = Pair::new(falling_back(Some(Reconnect::default())));
    pair.connect();
    answer(&mut pair, Answer::Bytes(REFUSED_BY_3_1_1));
    for _ in 0..3 {
        accepts(&mut pair, V311);
        reconnects(&mut pair);
    }
}

/// A fault of the network looks like a server that closes on 5.0: it must not cost 5.0 for good.
#[test]
fn a_server_that_closed_once_is_tried_in_5_0_again() {
    let mut pair = Pair::new(falling_back(Some(Reconnect::default())));
    pair.connect();
    answer(&mut pair, Answer::Closes);
    accepts(&mut pair, V311);
    reconnects(&mut pair);
    accepts(&mut pair, V5); // it was a fault
    reconnects(&mut pair);
    assert_eq!(connect_version(&mut pair), V5);
    answer(&mut pair, Answer::Closes); // another one: this server has spoken 5.0
    pair.wait_for_transport();
    accepts(&mut pair, V5);
}

#[test]
fn a_server_that_closes_on_5_0_each_time_is_spoken_to_in_3_1_1() {
    let mut pair = Pair::new(falling_back(Some(Reconnect::default())));
    pair.connect();
    for _ in 0..2 {
        assert_eq!(connect_version(&mut pair), V5);
        answer(&mut pair, Answer::Closes);
        accepts(&mut pair, V311);
        reconnects(&mut pair);
    }
    accepts(&mut pair, V311);
}

/// Servers are updated, and replaced by older ones.
#[test]
fn what_does_not_hold_any_more_is_forgotten() {
    let mut pair = Pair::new(falling_back(Some(Reconnect::default())));
    pair.connect();
    answer(&mut pair, Answer::Bytes(REFUSED_BY_3_1_1));
    accepts(&mut pair, V311);
    for (no, now) in [
        (REFUSED_BY_5_0, V5),
        (REFUSED_BY_3_1_1, V311),
        (REFUSED_BY_3_1_1, V5),
    ] {
        reconnects(&mut pair);
        pair.bytes();
        answer(&mut pair, Answer::Bytes(no));
        accepts(&mut pair, now);
    }
    reconnects(&mut pair);
    accepts(&mut pair, V5);
}

/// Each server of a list has a version of its own.
#[test]
fn each_server_of_a_list_is_spoken_to_in_its_version() {
    let mut options = falling_back(Some(Reconnect::default()));
    options.servers = NonZeroU16::new(2).unwrap();
    let mut pair = Pair::new(options);
    pair.connect();
    answer(&mut pair, Answer::Bytes(REFUSED_BY_3_1_1));
    accepts(&mut pair, V311);
    for version in [V5, V311, V5, V311] {
        reconnects(&mut pair);
        accepts(&mut pair, version);
    }
}

/// 3.1.1: MQTT-3.1.2-22, MQTT-3.1.3-8. What 3.1.1 cannot do, and the caller relies on, is refused in either version.
#[test]
fn options_that_3_1_1_cannot_do_are_refused() {
    let refused = |change: &dyn Fn(&mut Options)| {
        let mut options = falling_back(None);
        change(&mut options);
        options.check()
    };
    let password = refused(&|options| options.password = Some("x".into()));
    assert_eq!(password, Err(InvalidOptions::PasswordWithoutUserName));
    let nameless = refused(&|options| {
        options.client_identifier = text("");
        options.clean_start = CleanStart::Never;
    });
    assert_eq!(nameless, Err(InvalidOptions::IdentifierNeeded));
    let method = refused(&|options| {
        options.properties.authentication_method = Some(text("SCRAM"));
    });
    assert_eq!(
        method.unwrap_err().to_string(),
        "authentication_method of CONNECT has no effect where the client falls back to MQTT 3.1.1: leave it out, or use \
         version 5.0 alone"
    );
    let anonymous = refused(&|options| options.client_identifier = text(""));
    assert_eq!(anonymous, Ok(()), "a session that starts clean");
}

/// Nothing of 5.0 is on the wire of 3.1.1, and its limits do not hold for a server that does not know them.
#[test]
fn options_that_only_5_0_has_are_left_out() {
    let mut options = falling_back(None);
    options.properties.receive_maximum = NonZeroU16::new(1);
    options.properties.session_expiry_interval = Some(60);
    options.properties.topic_alias_maximum = Some(5);
    options.topic_aliases_out = 5;
    let mut pair = Pair::new(options);
    pair.connect();
    assert!(pair.bytes().len() > 16, "properties");
    answer(&mut pair, Answer::Bytes(REFUSED_BY_3_1_1));
    let connect = b"\x10\x0e\x00\x04MQTT\x04\x02\x00\x00\x00\x02me";
    assert_eq!(&pair.bytes()[..], connect);
    pair.version = V311;
    pair.server_sends(accepted(false, Properties::default()));
    for id in 1..=2 {
        pair.receive("t", "x", ExactlyOnce, id); // more than the Receive Maximum
    }
    assert!(pair.client.is_connected());
    assert_eq!(pair.sent(), ["PUBREC 1", "PUBREC 2"]);
}

/// Nothing of it would be known to the receiver.
#[test]
fn what_was_accepted_for_5_0_ends_when_3_1_1_cannot_express_it() {
    let mut pair = Pair::new(falling_back(None));
    pair.connect();
    let mut publish = Publish::new("t".try_into().unwrap(), "x");
    publish.properties = Some(Box::new(Properties {
        content_type: Some(text("text/plain")),
        ..Properties::default()
    }));
    let request = Publish::new("ask".try_into().unwrap(), "x");
    let no_local = SubscriptionOptions {
        no_local: true,
        ..SubscriptionOptions::default()
    };
    let subscribe = Subscribe {
        filters: vec![(filter("a"), no_local)],
        properties: Properties::default(),
        queue: QueueId::DEFAULT,
    };
    let now = pair.now;
    let published = pair.client.publish(now, publish).unwrap();
    let requested = pair.client.request(now, request).unwrap();
    let subscribed = pair.client.subscribe(now, subscribe).unwrap();
    let plain = pair.publish("t", "plain", AtMostOnce);
    answer(&mut pair, Answer::Bytes(REFUSED_BY_3_1_1));
    accepts(&mut pair, V311);
    let mut outcomes = pair.outcomes();
    outcomes.sort_by_key(|(op, _)| *op);
    assert!(
        matches!(
            &outcomes[..],
            [
                (first, Outcome::NotPossible(InvalidPublish::Property(_))),
                (second, Outcome::NotPossible(InvalidPublish::NoRequests)),
                (third, Outcome::RequestNotPossible(InvalidSubscribe::Property(_))),
                (fourth, Outcome::Sent),
            ] if (*first, *second, *third, *fourth) == (published, requested, subscribed, plain)
        ),
        "{outcomes:?}"
    );
    let sent = pair.sent();
    assert_eq!(sent.last().unwrap(), "PUBLISH q0 plain");
}

/// The QoS is what the subscription is about.
#[test]
fn a_subscription_is_made_without_what_3_1_1_has_not_when_asked() {
    let mut options = falling_back(None);
    options.reduce_subscriptions = true;
    let mut pair = Pair::new(options);
    pair.connect();
    let wanted = SubscriptionOptions {
        qos: AtLeastOnce,
        no_local: true,
        ..SubscriptionOptions::default()
    };
    let subscribe = Subscribe {
        filters: vec![(filter("a"), wanted)],
        properties: Properties {
            user_properties: vec![(text("k"), text("v"))].into(),
            ..Properties::default()
        },
        queue: QueueId::DEFAULT,
    };
    let now = pair.now;
    pair.client.subscribe(now, subscribe).unwrap();
    answer(&mut pair, Answer::Bytes(REFUSED_BY_3_1_1));
    accepts(&mut pair, V311);
    assert_eq!(pair.outcomes(), []);
    let sent = pair.bytes();
    assert_eq!((sent[0], &sent[4..]), (0x82, &b"\0\x01a\x01"[..]));
}

fn of_requests(pair: &mut Pair) -> QueueId {
    pair.client.open_request_queue(QueueOptions::DEFAULT)
}

/// Section 4.10: there are no requests before 5.0, so a responder would wait in silence.
#[test]
fn a_responder_of_a_server_of_3_1_1_is_refused() {
    let mut pair = Pair::new(falling_back(None));
    pair.connect();
    let queue = of_requests(&mut pair);
    let responder = pair.subscribe_to(&["square"], queue);
    let plain = pair.subscribe(&["a"]);
    answer(&mut pair, Answer::Bytes(REFUSED_BY_3_1_1));
    accepts(&mut pair, V311);
    let refused = Outcome::RequestNotPossible(InvalidSubscribe::NoRequests);
    assert_eq!(pair.outcomes(), [(responder, refused)]);
    let subscribes = pair.subscribes();
    assert_eq!(subscribes.len(), 1);
    pair.server_sends(suback(
        subscribes[0].packet_id.get(),
        &[ReasonCode::Success],
    ));
    assert_eq!(pair.outcomes()[0].0, plain);
}

/// Section 4.10. With and without the session: a server that keeps it would go on to send what nobody can answer.
#[test]
fn a_responder_ends_when_a_later_connection_has_3_1_1() {
    for session_present in [false, true] {
        let mut options = falling_back(Some(Reconnect::default()));
        options.clean_start = CleanStart::Never;
        let mut pair = Pair::new(options);
        pair.connect();
        accepts(&mut pair, V5);
        let queue = of_requests(&mut pair);
        pair.subscribe_to(&["square"], queue);
        pair.subscribe(&["a"]);
        for subscribe in pair.subscribes() {
            pair.server_sends(suback(subscribe.packet_id.get(), &[ReasonCode::Success]));
        }
        reconnects(&mut pair);
        pair.bytes();
        answer(&mut pair, Answer::Bytes(REFUSED_BY_3_1_1));
        assert_eq!(connect_version(&mut pair), V311);
        pair.version = V311;
        pair.events();
        pair.server_sends(accepted(session_present, Properties::default()));
        let ended = (pair.events().into_iter())
            .filter(|event| matches!(event, Event::NotResubscribed { .. }))
            .collect::<Vec<_>>();
        let refused = Event::NotResubscribed {
            queue,
            filter: filter("square"),
            refusal: FilterRefusal::NotAsked(InvalidSubscribe::NoRequests),
        };
        assert_eq!(ended, [refused], "session present: {session_present}");
        assert_eq!(pair.client.filters(queue).count(), 0);
        let filters = pair.client.filters(QueueId::DEFAULT);
        assert_eq!(filters.count(), 1, "another subscription goes on");
    }
}

/// The reason is the one of the last attempt.
#[test]
fn the_end_in_3_1_1_is_told() {
    let mut pair = Pair::new(falling_back(None));
    pair.connect();
    answer(&mut pair, Answer::Closes);
    pair.server_sends_bytes(&[0x20, 2, 0, 4]);
    let causes = pair.causes();
    assert!(
        matches!(
            causes[..],
            [ConnectionError::Refused {
                reason: ReasonCode::BadUserNameOrPassword,
                ..
            }]
        ),
        "{causes:?}"
    );
}
