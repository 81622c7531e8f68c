//! What authenticates somebody is in no recording.

use bytes::Bytes;
use ferromqtt_proto::packet::{
    Auth, ConnAck, Disconnect, Packet, Properties, ProtocolVersion, ReasonCode,
};
use ferromqtt_recording::{
    RecordedEntry, RecordedEvent, RecordedLink, RecordedPacket, RecordedPayloads, Recorder,
    Recording, RecordingError,
};

use crate::markers::*;
use crate::scene::{Scene, connect, publish};

const SECRETS: [&str; 4] = [
    "hunter2-password",
    "user-token-4711",
    "auth-data-0815",
    "answer-1234567",
];

/// As text, and as the hexadecimal digits of the raw bytes.
fn assert_masked(text: &str) {
    for secret in SECRETS {
        assert!(!text.contains(secret), "{secret} in {text}");
        let hex: String = secret.bytes().map(|byte| format!("{byte:02x}")).collect();
        assert!(!text.contains(&hex), "{secret} as {hex} in {text}");
    }
}

fn data(text: &'static str) -> Properties {
    Properties {
        authentication_method: Some("SCRAM".try_into().unwrap()),
        authentication_data: Some(Bytes::from_static(text.as_bytes())),
        ..Properties::default()
    }
}

fn authenticating(scene: &mut Scene) {
    let mut packet = connect("a", ProtocolVersion::V5);
    packet.user_name = Some("user-token-4711".try_into().unwrap());
    packet.password = Some(Bytes::from_static(b"hunter2-password"));
    packet.properties = data("auth-data-0815");
    scene.client(&Packet::Connect(Box::new(packet)));
    let auth = |text| {
        Packet::Auth(Box::new(Auth {
            reason: ReasonCode::ContinueAuthentication,
            properties: data(text),
        }))
    };
    scene.server(&auth("auth-data-0815"));
    scene.client(&auth("answer-1234567"));
}

#[test]
fn what_authenticates_is_masked_in_every_packet() {
    for payloads in [RecordedPayloads::Hashed, RecordedPayloads::Whole] {
        let mut scene = Scene::v5(payloads);
        authenticating(&mut scene);
        scene.server(&Packet::ConnAck(Box::new(ConnAck {
            session_present: false,
            reason: ReasonCode::Success,
            properties: data("answer-1234567"),
        })));
        scene.close();
        assert_masked(&scene.text());
        assert!(
            scene.text().contains(r#""password":"***""#),
            "{}",
            scene.text()
        );
        assert!(scene.text().contains(r#""authentication_data":"***""#));
    }
}

#[test]
fn a_text_of_the_server_that_repeats_a_secret_is_masked() {
    for payloads in [RecordedPayloads::Hashed, RecordedPayloads::Whole] {
        let mut scene = Scene::v5(payloads);
        authenticating(&mut scene);
        let mut properties = Properties {
            reason_string: Some("no such password: hunter2-password".try_into().unwrap()),
            ..Properties::default()
        };
        properties
            .user_properties
            .try_push("harmless", "kept")
            .unwrap();
        properties
            .user_properties
            .try_push("you", "said answer-1234567")
            .unwrap();
        scene.server(&Packet::Disconnect(Box::new(Disconnect {
            reason: ReasonCode::NotAuthorized,
            properties,
        })));
        scene.close();
        assert_masked(&scene.text());
        assert!(scene.text().contains(r#""reason_string":"***""#));
        let kept = scene.text().contains(r#"["harmless","kept"]"#);
        assert_eq!(kept, payloads == RecordedPayloads::Whole);
    }
}

#[test]
fn a_connect_that_is_malformed_or_not_whole_is_recorded_without_its_bytes() {
    let mut packet = connect("a", ProtocolVersion::V5);
    packet.password = Some(Bytes::from_static(b"hunter2-password"));
    let mut scene = Scene::v5(RecordedPayloads::Whole);
    let bytes = scene.encoded(&Packet::Connect(Box::new(packet)));
    let mut malformed = bytes.to_vec();
    malformed[9] |= 1; // the reserved flag
    let now = scene.now;
    scene.link().to_server(now, &malformed);
    scene.link().to_server(now, &bytes[..bytes.len() - 1]);
    scene.close();
    assert_masked(&scene.text());
    assert!(scene.text().contains("malformed") && scene.text().contains("incomplete"));
}

#[test]
fn debug_shows_nothing_that_was_recorded() {
    let mut scene = Scene::v5(RecordedPayloads::Whole);
    let mut packet = connect("a", ProtocolVersion::V5);
    packet.password = Some(MARKER.into());
    scene.client(&Packet::Connect(Box::new(packet)));
    scene.client(&publish("t", MARKER.as_bytes(), None));
    let half = scene.encoded(&publish("t", MARKER.as_bytes(), None));
    let now = scene.now;
    scene.link().to_server(now, &half[..half.len() - 1]);
    let (recorder, link): (&Recorder, &RecordedLink) =
        (&scene.recorder, scene.link.as_ref().unwrap());
    look(recorder);
    look(link);
    let recording: Recording = scene.recording();
    look(&recording);
    for entry in recording.entries() {
        let entry: &RecordedEntry = entry;
        look(entry);
        if let RecordedEvent::Packet(packet) = &entry.event {
            let packet: &RecordedPacket = packet;
            look(packet);
        }
    }
    let damaged = format!("{}{MARKER}\n", scene.text());
    let error: RecordingError = damaged.parse::<Recording>().unwrap_err();
    look_at_error(&error);
}

/// Public types that hold nothing of a session.
const WITHOUT_SECRETS: &str = "ComparedTimes ClosedBy Receiver RecordedPayloads";

#[test]
fn every_public_type_is_known() {
    let test = format!("{}{WITHOUT_SECRETS}", include_str!("secrets.rs"));
    knows_all_exports(include_str!("../../src/lib.rs"), &test);
}
