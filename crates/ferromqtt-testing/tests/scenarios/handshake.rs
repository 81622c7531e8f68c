//! CONNECT and CONNACK (sections 3.1, 3.2).

use ferromqtt_proto::packet::{Packet, ProtocolVersion, ReasonCode};

use crate::scene::{Scene, VERSIONS, connect, connect_persistent, text};

#[test]
fn every_version_is_accepted_and_answers_pings_mqtt_3_12_4_1() {
    for version in VERSIONS {
        let mut scene = Scene::new();
        let (client, session_present) = scene.join(connect(version, "c"));
        assert!(!session_present);
        scene.send(client, &Packet::PingReq);
        assert_eq!(scene.next(client), Some(Packet::PingResp));
        assert_eq!(scene.next(client), None);
        assert!(!scene.is_closed(client));
    }
}

#[test]
fn an_unknown_protocol_level_is_answered_and_closed_mqtt_3_1_2_2() {
    let mut scene = Scene::new();
    let client = scene.open(ProtocolVersion::V311);
    scene.send_bytes(client, b"\x10\x0d\x00\x04MQTT\x06\x02\x00\x00\x00\x01a");
    let Some(Packet::ConnAck(connack)) = scene.next(client) else {
        panic!("CONNACK expected");
    };
    assert_eq!(connack.reason, ReasonCode::UnsupportedProtocolVersion);
    assert!(scene.is_closed(client));
}

#[test]
fn a_first_packet_other_than_connect_closes_mqtt_3_1_0_1() {
    for version in VERSIONS {
        let mut scene = Scene::new();
        let client = scene.open(version);
        scene.send(client, &Packet::PingReq);
        assert_eq!(scene.next(client), None);
        assert!(scene.is_closed(client));
    }
}

#[test]
fn a_second_connect_is_a_protocol_error_mqtt_3_1_0_2() {
    for version in VERSIONS {
        let mut scene = Scene::new();
        let client = scene.client(version, "c");
        scene.send(client, &Packet::Connect(Box::new(connect(version, "c"))));
        match scene.next(client) {
            Some(Packet::Disconnect(disconnect)) if version.is_v5() => {
                assert_eq!(disconnect.reason, ReasonCode::ProtocolError);
            }
            other => assert!(other.is_none() && !version.is_v5(), "{other:?}"),
        }
        assert!(scene.is_closed(client));
    }
}

#[test]
fn an_empty_identifier_gets_one_of_its_own_in_5_0_mqtt_3_1_3_6() {
    let mut scene = Scene::new();
    let (_, taken) = scene.connect(connect(ProtocolVersion::V5, "assigned-1"));
    assert_eq!(taken.properties.assigned_client_identifier, None);
    let (_, first) = scene.connect(connect(ProtocolVersion::V5, ""));
    let (_, second) = scene.connect(connect(ProtocolVersion::V5, ""));
    assert_eq!(
        first.properties.assigned_client_identifier,
        Some(text("assigned-2"))
    );
    assert_eq!(
        second.properties.assigned_client_identifier,
        Some(text("assigned-3"))
    );
    assert_eq!(scene.broker.stats().connections, 3);
}

#[test]
fn an_empty_identifier_needs_a_clean_session_in_3_1_1_mqtt_3_1_3_8() {
    let mut scene = Scene::new();
    let (first, accepted) = scene.connect(connect(ProtocolVersion::V311, ""));
    assert_eq!(accepted.reason, ReasonCode::Success);
    assert!(!scene.is_closed(first));

    let (second, refused) = scene.connect(connect_persistent(ProtocolVersion::V311, ""));
    assert_eq!(refused.reason, ReasonCode::ClientIdentifierNotValid);
    assert!(scene.is_closed(second));
    assert_eq!(scene.broker.stats().sessions, 1);
}

#[test]
fn an_authentication_method_is_refused_mqtt_4_12_0_1() {
    let mut scene = Scene::new();
    let mut with_method = connect(ProtocolVersion::V5, "c");
    with_method.properties.authentication_method = Some(text("SCRAM-SHA-1"));
    let (client, refused) = scene.connect(with_method);
    assert_eq!(refused.reason, ReasonCode::BadAuthenticationMethod);
    assert!(scene.is_closed(client));
    assert_eq!(scene.broker.stats().sessions, 0);
}

#[test]
fn who_connects_with_a_used_identifier_takes_it_over_mqtt_3_1_4_3() {
    for version in VERSIONS {
        let mut scene = Scene::new();
        let old = scene.client(version, "same");
        let new = scene.client(version, "same");
        match scene.next(old) {
            Some(Packet::Disconnect(disconnect)) if version.is_v5() => {
                assert_eq!(disconnect.reason, ReasonCode::SessionTakenOver);
            }
            other => assert!(other.is_none() && !version.is_v5(), "{other:?}"),
        }
        assert!(scene.is_closed(old));
        assert!(!scene.is_closed(new));
        assert_eq!(scene.broker.stats().sessions, 1);
    }
}

#[test]
fn limits_of_the_broker_are_told_and_the_defaults_are_not() {
    let mut scene = Scene::new();
    let (_, connack) = scene.connect(connect(ProtocolVersion::V5, "c"));
    assert_eq!(connack.properties.receive_maximum, None);
    assert_eq!(connack.properties.maximum_packet_size, None);
    assert!(connack.properties.is_empty());

    let mut scene = Scene::with(|options| {
        options.receive_maximum = 3.try_into().unwrap();
        options.maximum_packet_size = 1000.try_into().unwrap();
    });
    let (_, connack) = scene.connect(connect(ProtocolVersion::V5, "c"));
    assert_eq!(connack.properties.receive_maximum.map(u16::from), Some(3));
    assert_eq!(
        connack.properties.maximum_packet_size.map(u32::from),
        Some(1000)
    );
}
