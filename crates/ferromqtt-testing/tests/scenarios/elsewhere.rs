//! Sending clients away: Server Reference (section 4.11), and DISCONNECT on behalf of whoever runs the broker.

use ferromqtt_proto::packet::{Packet, ProtocolVersion, QoS, ReasonCode};

use crate::scene::{Scene, VERSIONS, connect, text, will};

#[test]
fn connect_is_answered_with_the_other_server_mqtt_4_11() {
    for (moved, reason) in [
        (false, ReasonCode::UseAnotherServer),
        (true, ReasonCode::ServerMoved),
    ] {
        for version in VERSIONS {
            let mut scene = Scene::with(|options| {
                options.server_reference = Some(text("other.example:1884"));
                options.server_moved = moved;
            });
            let (client, connack) = scene.connect(connect(version, "c"));
            assert!(scene.is_closed(client));
            if version.is_v5() {
                assert_eq!(connack.reason, reason);
                let reference = connack.properties.server_reference;
                assert_eq!(reference, Some(text("other.example:1884")));
            } else {
                assert_eq!(connack.reason, ReasonCode::ServerUnavailable);
            }
        }
    }
}

#[test]
fn a_reference_that_the_client_has_no_room_for_is_left_out_mqtt_3_1_2_24() {
    for (maximum, answered) in [(5, true), (4, false)] {
        let mut scene =
            Scene::with(|options| options.server_reference = Some(text("other.example")));
        let mut narrow = connect(ProtocolVersion::V5, "c");
        narrow.properties.maximum_packet_size = Some(maximum.try_into().unwrap());
        let client = scene.open(ProtocolVersion::V5);
        scene.send(client, &Packet::Connect(Box::new(narrow)));
        match scene.next(client) {
            Some(Packet::ConnAck(connack)) if answered => {
                assert_eq!(connack.reason, ReasonCode::UseAnotherServer);
                assert!(connack.properties.is_empty());
            }
            other => assert!(other.is_none() && !answered, "{other:?}"),
        }
        assert!(scene.is_closed(client));
    }
}

#[test]
fn a_client_is_disconnected_with_a_reason_and_its_will_is_published_mqtt_3_14_4_3() {
    for version in VERSIONS {
        let mut scene = Scene::new();
        let watcher = scene.client(version, "watcher");
        scene.subscribe(watcher, "t", QoS::AtMostOnce);
        let mut with_will = connect(version, "c");
        with_will.will = Some(will("t", "gone"));
        let (client, _) = scene.join(with_will);
        let done = (scene.broker).disconnect_client(scene.now, "c", ReasonCode::ServerBusy, None);
        assert_eq!(done, Ok(true));
        scene.expect_end(client, ReasonCode::ServerBusy);
        assert_eq!(scene.payloads(watcher), ["gone"]);
        let again = (scene.broker).disconnect_client(scene.now, "c", ReasonCode::ServerBusy, None);
        assert_eq!(again, Ok(false), "nobody is there any more");
    }
}

#[test]
fn a_client_that_stays_for_a_while_can_be_sent_to_another_server_mqtt_4_11() {
    for (maximum, expected) in [(1000, Some(text("other.example"))), (10, None)] {
        let mut scene = Scene::new();
        let mut connect = connect(ProtocolVersion::V5, "c");
        connect.properties.maximum_packet_size = Some(maximum.try_into().unwrap());
        let (client, _) = scene.join(connect);
        let (reason, reference) = (ReasonCode::UseAnotherServer, text("other.example"));
        let done = (scene.broker).disconnect_client(scene.now, "c", reason, Some(reference));
        assert_eq!(done, Ok(true));
        let Some(Packet::Disconnect(disconnect)) = scene.next(client) else {
            panic!("DISCONNECT expected");
        };
        assert_eq!(disconnect.reason, reason);
        assert_eq!(disconnect.properties.server_reference, expected);
        assert!(scene.is_closed(client));
    }
}

#[test]
fn a_reason_that_no_server_gives_is_an_error() {
    let mut scene = Scene::new();
    let client = scene.client(ProtocolVersion::V5, "c");
    for reason in [
        ReasonCode::Success,
        ReasonCode::DisconnectWithWill,
        ReasonCode::BadUserNameOrPassword,
    ] {
        let error = (scene.broker).disconnect_client(scene.now, "c", reason, None);
        assert!(error.unwrap_err().to_string().contains("3.14.2.1"));
    }
    assert!(!scene.is_closed(client));
}

#[test]
fn response_information_is_for_those_who_ask_mqtt_3_1_2_28() {
    let mut scene =
        Scene::with(|options| options.response_information = Some(text("answers/here")));
    for (asked, expected) in [
        (Some(true), Some(text("answers/here"))),
        (Some(false), None),
        (None, None),
    ] {
        let mut asking = connect(ProtocolVersion::V5, "c");
        asking.properties.request_response_information = asked;
        let (_, connack) = scene.connect(asking);
        assert_eq!(connack.properties.response_information, expected);
    }
}
