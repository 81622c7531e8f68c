//! Request Problem Information (section 3.1.2.11.7), and what is left out when a packet would be too large.

use ferromqtt_proto::packet::{Ack, Auth, Packet, SubAck, UnsubAck};
use ferromqtt_proto::{ConnectionError, Options, Properties, ReasonCode};

use crate::support::*;

fn reported() -> [Properties; 2] {
    [
        Properties {
            reason_string: Some(text("because")),
            ..Properties::default()
        },
        Properties {
            user_properties: [(text("k"), text("v"))].into(),
            ..Properties::default()
        },
    ]
}

fn unasked() -> Options {
    let mut options = options(V5);
    options.properties.request_problem_information = Some(false);
    options.properties.authentication_method = Some(text("m"));
    options
}

fn connected(options: Options) -> Pair {
    let method = options.properties.authentication_method.clone();
    Pair::connected_with(
        options,
        Properties {
            authentication_method: method,
            ..Properties::default()
        },
    )
}

fn ack(properties: &Properties) -> Ack {
    Ack {
        packet_id: id(1),
        reason: ReasonCode::Success,
        properties: Some(Box::new(properties.clone())),
    }
}

/// Starts to authenticate anew, so that AUTH is what the server owes.
fn re_authenticate(pair: &mut Pair) {
    let auth = Auth {
        reason: ReasonCode::ReAuthenticate,
        properties: Properties::default(),
    };
    pair.client.authenticate(pair.now, auth).unwrap();
    pair.pump();
    pair.bytes();
}

/// MQTT-3.1.2-29: neither in PUBACK, PUBREC, PUBREL, PUBCOMP, SUBACK, UNSUBACK nor AUTH. Each is fine when it tells nothing.
#[test]
fn problem_information_that_was_not_asked_for_is_a_protocol_error_mqtt_3_1_2_29() {
    for properties in reported().into_iter().chain([Properties::default()]) {
        let packets = [
            Packet::PubAck(ack(&properties)),
            Packet::PubRec(ack(&properties)),
            Packet::PubRel(ack(&properties)),
            Packet::PubComp(ack(&properties)),
            Packet::SubAck(Box::new(SubAck {
                packet_id: id(1),
                properties: properties.clone(),
                reasons: vec![ReasonCode::Success],
            })),
            Packet::UnsubAck(Box::new(UnsubAck {
                packet_id: id(1),
                properties: properties.clone(),
                reasons: vec![ReasonCode::Success],
            })),
            Packet::Auth(Box::new(Auth {
                reason: ReasonCode::Success,
                properties: Properties {
                    authentication_method: Some(text("m")),
                    ..properties.clone()
                },
            })),
        ];
        for packet in packets {
            let mut pair = connected(unasked());
            re_authenticate(&mut pair);
            pair.events();
            pair.server_sends(packet.clone());
            if properties.is_empty() {
                assert!(pair.client.is_connected(), "{packet:?}");
                continue;
            }
            assert_eq!(pair.sent(), ["DISCONNECT 0x82"], "{packet:?}");
            assert!(matches!(
                pair.cause(),
                ConnectionError::ProtocolViolation(error) if error.reason == ReasonCode::ProtocolError
            ));
        }
    }
}

/// MQTT-3.1.2-29: nor in the AUTH before CONNACK.
#[test]
fn problem_information_in_the_first_auth_is_a_protocol_error_mqtt_3_1_2_29() {
    for properties in reported().into_iter().chain([Properties::default()]) {
        let tells = !properties.is_empty();
        let mut pair = Pair::new(unasked());
        pair.connect();
        pair.events();
        pair.server_sends(Packet::Auth(Box::new(Auth {
            reason: ReasonCode::ContinueAuthentication,
            properties: Properties {
                authentication_method: Some(text("m")),
                ..properties
            },
        })));
        assert_eq!(pair.link_is_up(), !tells);
        if tells {
            assert!(matches!(
                pair.cause(),
                ConnectionError::ProtocolViolation(error) if error.reason == ReasonCode::ProtocolError
            ));
        }
    }
}

/// The same packets are fine without that property, and with it set; PUBLISH, CONNACK and DISCONNECT may always tell.
#[test]
fn problem_information_is_welcome_otherwise() {
    for asked in [None, Some(true)] {
        let mut options = options(V5);
        options.properties.request_problem_information = asked;
        let mut pair = Pair::connected(options);
        for properties in reported() {
            pair.server_sends(Packet::PubAck(ack(&properties)));
        }
        assert!(pair.client.is_connected());
    }
    let mut options = unasked();
    options.properties.authentication_method = None;
    let mut pair = Pair::connected_with(options, reported()[0].clone());
    let mut publish = message("t", "x", AtMostOnce, 0);
    publish.properties = Some(Box::new(reported()[1].clone()));
    pair.server_sends(Packet::Publish(publish));
    assert_eq!(pair.payloads(), ["x"]);
}

/// MQTT-3.15.2-2, MQTT-3.15.2-3: what only explains is left out of an AUTH that the server would find too large; one that is
/// too large by itself is refused.
#[test]
fn auth_is_shortened_to_the_servers_maximum_packet_size() {
    let mut options = options(V5);
    options.properties.authentication_method = Some(text("m"));
    let mut pair = Pair::connected_with(
        options,
        Properties {
            authentication_method: Some(text("m")),
            ..maximum_packet_size(30)
        },
    );
    let auth = |data: &'static [u8]| Auth {
        reason: ReasonCode::ReAuthenticate,
        properties: Properties {
            authentication_data: Some(bytes::Bytes::from_static(data)),
            reason_string: Some(text(&"long ".repeat(10))),
            user_properties: [(text("k"), text("v"))].into(),
            ..Properties::default()
        },
    };
    assert!(pair.client.authenticate(pair.now, auth(&[7; 30])).is_err());
    pair.client.authenticate(pair.now, auth(b"data")).unwrap();
    pair.pump();
    let packets = pair.packets();
    let [Packet::Auth(sent)] = &packets[..] else {
        panic!("{packets:?}");
    };
    assert_eq!(sent.properties.reason_string, None);
    assert!(sent.properties.user_properties.is_empty());
    assert_eq!(
        sent.properties.authentication_data.as_deref(),
        Some(&b"data"[..])
    );
}
