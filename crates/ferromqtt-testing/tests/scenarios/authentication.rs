//! Enhanced authentication (section 4.12).

use std::time::Duration;

use ferromqtt_proto::packet::{
    Auth, Connect, Disconnect, Packet, Properties, ProtocolVersion, QoS, ReasonCode,
};
use ferromqtt_testing::{Authentication, BrokerOptions, BrokerOptionsError, User};

use crate::scene::{Peer, Scene, VERSIONS, connect, publish, text, will};

const V5: ProtocolVersion = ProtocolVersion::V5;
const STEPS: [(&str, &str); 2] = [("first?", "one"), ("second?", "two")];

fn challenging(options: &mut BrokerOptions) {
    options.authentication = Some(Authentication::new("QUIZ", STEPS).unwrap());
}

fn connect_with(method: &str) -> Connect {
    let mut connect = connect(V5, "c");
    connect.properties.authentication_method = Some(text(method));
    connect
}

fn auth(reason: ReasonCode, method: &str, data: Option<&str>) -> Packet {
    Packet::Auth(Box::new(Auth {
        reason,
        properties: Properties {
            authentication_method: Some(text(method)),
            authentication_data: data.map(|data| data.to_owned().into()),
            ..Properties::default()
        },
    }))
}

fn answer(data: &str) -> Packet {
    auth(ReasonCode::ContinueAuthentication, "QUIZ", Some(data))
}

fn reauthenticate() -> Packet {
    auth(ReasonCode::ReAuthenticate, "QUIZ", None)
}

/// Sends CONNECT and reads the first challenge.
fn begin(scene: &mut Scene) -> Peer {
    let client = scene.open(V5);
    scene.send(client, &Packet::Connect(Box::new(connect_with("QUIZ"))));
    assert_eq!(scene.next(client), Some(answer("first?")));
    client
}

fn expect_connack(scene: &mut Scene, client: Peer, reason: ReasonCode) {
    let Some(Packet::ConnAck(connack)) = scene.next(client) else {
        panic!("CONNACK expected");
    };
    assert_eq!(connack.reason, reason);
    let method = (reason == ReasonCode::Success).then(|| text("QUIZ"));
    assert_eq!(connack.properties.authentication_method, method);
    assert_eq!(scene.is_closed(client), reason.is_error());
}

fn join(scene: &mut Scene) -> Peer {
    let client = begin(scene);
    scene.send(client, &answer("one"));
    assert_eq!(scene.next(client), Some(answer("second?")));
    scene.send(client, &answer("two"));
    expect_connack(scene, client, ReasonCode::Success);
    client
}

#[test]
fn connack_comes_after_the_last_right_answer_mqtt_4_12_0_2_and_5() {
    let mut scene = Scene::with(challenging);
    let client = begin(&mut scene);
    assert_eq!(scene.broker.stats().sessions, 0, "not a client yet");
    scene.cut(client);

    let client = join(&mut scene);
    scene.subscribe(client, "t", QoS::AtMostOnce);
    scene.publish(client, publish("t", "x", QoS::AtMostOnce));
    assert_eq!(scene.payloads(client), ["x"]);
}

#[test]
fn a_method_without_challenges_accepts_at_once() {
    let mut scene = Scene::with(|options| {
        let open = Authentication::new::<&str, &str>("QUIZ", []);
        options.authentication = Some(open.unwrap());
    });
    let client = scene.open(V5);
    scene.send(client, &Packet::Connect(Box::new(connect_with("QUIZ"))));
    expect_connack(&mut scene, client, ReasonCode::Success);
    scene.send(client, &reauthenticate());
    assert_eq!(
        scene.next(client),
        Some(auth(ReasonCode::Success, "QUIZ", None))
    );
}

#[test]
fn a_wrong_answer_is_not_authorized_mqtt_4_12_0_4() {
    for wrong in [Some("two"), Some(""), None] {
        let mut scene = Scene::with(challenging);
        let client = begin(&mut scene);
        let packet = auth(ReasonCode::ContinueAuthentication, "QUIZ", wrong);
        scene.send(client, &packet);
        expect_connack(&mut scene, client, ReasonCode::NotAuthorized);
        assert_eq!(scene.broker.stats().sessions, 0);
    }
}

#[test]
fn another_method_is_bad_mqtt_4_12_0_1() {
    let mut scene = Scene::with(challenging);
    let (client, connack) = scene.connect(connect_with("RIDDLE"));
    assert_eq!(connack.reason, ReasonCode::BadAuthenticationMethod);
    assert!(scene.is_closed(client));
}

#[test]
fn authentication_data_without_a_method_is_a_protocol_error_3_1_2_11_10() {
    let open = |_: &mut BrokerOptions| {};
    let elsewhere = |options: &mut BrokerOptions| {
        options.server_reference = Some(text("other"));
    };
    for set in [open as fn(&mut BrokerOptions), challenging, elsewhere] {
        let mut scene = Scene::with(set);
        let mut connect = connect(V5, "c");
        connect.properties.authentication_data = Some("data".into());
        let (client, connack) = scene.connect(connect);
        assert_eq!(connack.reason, ReasonCode::ProtocolError);
        assert!(scene.is_closed(client));
        assert_eq!(scene.broker.stats().sessions, 0);
    }
}

#[test]
fn auth_with_data_and_without_a_method_is_a_protocol_error_3_15_2_2_2() {
    let without_method = |reason| {
        Packet::Auth(Box::new(Auth {
            reason,
            properties: Properties {
                authentication_data: Some("one".into()),
                ..Properties::default()
            },
        }))
    };
    let mut scene = Scene::with(challenging);
    let client = begin(&mut scene);
    scene.send(client, &without_method(ReasonCode::ContinueAuthentication));
    assert_eq!(scene.next(client), None);
    assert!(scene.is_closed(client));

    let client = join(&mut scene);
    scene.send(client, &without_method(ReasonCode::ReAuthenticate));
    scene.expect_end(client, ReasonCode::ProtocolError);
}

#[test]
fn nothing_but_auth_and_disconnect_comes_before_connack_mqtt_3_1_2_30() {
    for packet in [
        Packet::PingReq,
        Packet::Publish(publish("t", "x", QoS::AtMostOnce)),
        Packet::Connect(Box::new(connect_with("QUIZ"))),
        auth(ReasonCode::ContinueAuthentication, "RIDDLE", Some("one")),
        reauthenticate(),
        auth(ReasonCode::Success, "QUIZ", Some("one")),
        Packet::Disconnect(Box::new(Disconnect::normal())),
    ] {
        let mut scene = Scene::with(challenging);
        let client = begin(&mut scene);
        scene.send(client, &packet);
        assert_eq!(scene.next(client), None, "{packet:?}");
        assert!(scene.is_closed(client), "{packet:?}");
    }
}

#[test]
fn who_never_answers_is_closed_in_time_and_leaves_no_will() {
    let mut scene = Scene::with(challenging);
    let watcher = join(&mut scene);
    scene.subscribe(watcher, "t", QoS::AtMostOnce);
    let mut late = connect_with("QUIZ");
    (late.client_identifier, late.will) = (text("late"), Some(will("t", "gone")));
    let client = scene.open(V5);
    scene.send(client, &Packet::Connect(Box::new(late)));
    scene.pass(Duration::from_secs(9));
    assert!(!scene.is_closed(client));
    scene.pass(Duration::from_secs(1));
    assert!(scene.is_closed(client));
    assert_eq!(scene.next(watcher), None);
}

#[test]
fn a_client_authenticates_again_while_messages_flow_mqtt_4_12_1_1() {
    let mut scene = Scene::with(challenging);
    let client = join(&mut scene);
    scene.subscribe(client, "t", QoS::AtMostOnce);
    for _ in 0..2 {
        scene.send(client, &reauthenticate());
        assert_eq!(scene.next(client), Some(answer("first?")));
        scene.publish(client, publish("t", "x", QoS::AtMostOnce));
        assert_eq!(scene.payloads(client), ["x"]);
        scene.send(client, &answer("one"));
        assert_eq!(scene.next(client), Some(answer("second?")));
        scene.send(client, &answer("two"));
        assert_eq!(
            scene.next(client),
            Some(auth(ReasonCode::Success, "QUIZ", None))
        );
    }
}

#[test]
fn a_failed_reauthentication_disconnects_mqtt_4_12_1_2() {
    let mut scene = Scene::with(challenging);
    let client = join(&mut scene);
    scene.send(client, &reauthenticate());
    assert_eq!(scene.next(client), Some(answer("first?")));
    scene.send(client, &answer("wrong"));
    scene.expect_end(client, ReasonCode::NotAuthorized);
}

#[test]
fn auth_out_of_turn_is_a_protocol_error_mqtt_4_12_0_3_and_6() {
    for packets in [
        &[answer("one")][..],
        &[reauthenticate(), reauthenticate()],
        &[auth(ReasonCode::ReAuthenticate, "RIDDLE", None)],
        &[auth(ReasonCode::Success, "QUIZ", None)],
    ] {
        let mut scene = Scene::with(challenging);
        let client = join(&mut scene);
        for packet in packets {
            while scene.next(client).is_some() {}
            scene.send(client, packet);
        }
        scene.expect_end(client, ReasonCode::ProtocolError);
    }
}

#[test]
fn with_a_method_set_others_need_a_user_name() {
    for version in VERSIONS {
        let mut scene = Scene::with(|options| {
            challenging(options);
            options.users = vec![User::new("a", "secret")];
        });
        let (_, connack) = scene.connect(connect(version, "c"));
        assert_eq!(connack.reason, ReasonCode::NotAuthorized);
        let mut login = connect(version, "c");
        (login.user_name, login.password) = (Some(text("a")), Some("secret".into()));
        let (client, connack) = scene.connect(login);
        assert_eq!(connack.reason, ReasonCode::Success);
        if version.is_v5() {
            scene.send(client, &reauthenticate());
            scene.expect_end(client, ReasonCode::ProtocolError);
        }
    }
}

#[test]
fn no_debug_output_shows_challenges_or_answers() {
    let mut options = BrokerOptions::default();
    challenging(&mut options);
    let shown = format!("{options:?}");
    assert!(shown.contains("QUIZ"));
    for (challenge, right) in STEPS {
        assert!(!shown.contains(challenge) && !shown.contains(&format!("{right:?}")));
        assert!(!shown.contains(&format!("{:?}", right.as_bytes())));
    }
}

#[test]
fn data_that_no_packet_can_carry_is_an_error() {
    let long = vec![0; 65_536];
    let error = Authentication::new("QUIZ", [("?", long)]).unwrap_err();
    let expected = BrokerOptionsError::TooLong {
        what: "an answer",
        bytes: 65_536,
    };
    assert_eq!(error, expected);
    let error = Authentication::new::<&str, &str>("a\0b", []).unwrap_err();
    assert!(
        error.to_string().contains("Authentication Method"),
        "{error}"
    );
}
