//! The server's side of recordings that are written by hand.

use std::time::Duration;

use bytes::Bytes;
use ferromqtt_proto::packet::{
    Ack, Connect, Packet, PacketType, Properties, ProtocolVersion, PublishPacket, QoS,
    SubscribePacket,
};
use ferromqtt_testing::recording::{ComparedTimes, RecordedPayloads, Recorder, Recording, diff};
use ferromqtt_testing::{
    Broker, BrokerJournal, MessageFilter, PacketFilter, ReplayError, ReplayMismatch,
};

use crate::recordings::{Memory, record};
use crate::scene::{Scene, connect, packet_id, publish, text};

/// A program that subscribes, publishes at every QoS, and gets its own messages back.
fn recorded() -> Recording {
    let mut scene = Scene::new();
    let memory = record(&mut scene);
    let peer = scene.client(ProtocolVersion::V5, "pump-7");
    scene.pass(Duration::from_millis(250));
    scene.subscribe(peer, "own/#", QoS::AtLeastOnce);
    scene.publish(peer, publish("level", "1", QoS::AtLeastOnce));
    scene.publish(peer, publish("level", "2", QoS::ExactlyOnce));
    memory.recording()
}

fn replayed(recording: &Recording) -> Scene {
    Scene::serving(Broker::from_recording(recording).unwrap())
}

fn subscribe(filter: &str, id: u16) -> Packet {
    Packet::Subscribe(Box::new(SubscribePacket {
        packet_id: packet_id(id),
        properties: Properties::default(),
        filters: [(text(filter), QoS::AtLeastOnce.into())].into(),
    }))
}

fn with_id(publish: PublishPacket, id: u16) -> Packet {
    Packet::Publish(PublishPacket {
        packet_id: Some(packet_id(id)),
        ..publish
    })
}

fn mismatch(scene: &Scene) -> ReplayMismatch {
    match scene.broker.check_replay() {
        Err(ReplayError::Mismatch(mismatch)) => *mismatch,
        other => panic!("{other:?}"),
    }
}

#[test]
fn answers_have_the_packet_identifiers_that_the_client_has_now() {
    let mut scene = replayed(&recorded());
    let peer = scene.client(ProtocolVersion::V5, "pump-7");
    scene.send(peer, &subscribe("own/#", 500));
    let Some(Packet::SubAck(suback)) = scene.next(peer) else {
        panic!("SUBACK expected");
    };
    assert_eq!(suback.packet_id, packet_id(500));
    scene.send(peer, &with_id(publish("level", "7", QoS::AtLeastOnce), 501));
    assert_eq!(
        scene.next(peer),
        Some(Packet::PubAck(Ack::new(
            packet_id(501),
            ferromqtt_proto::ReasonCode::NoMatchingSubscribers
        )))
    );
    scene.send(peer, &with_id(publish("level", "8", QoS::ExactlyOnce), 502));
    let Some(Packet::PubRec(ack)) = scene.next(peer) else {
        panic!("PUBREC expected");
    };
    assert_eq!(ack.packet_id, packet_id(502));
    scene.send(peer, &Packet::PubRel(Ack::success(packet_id(502))));
    assert_eq!(
        scene.next(peer),
        Some(Packet::PubComp(Ack::success(packet_id(502))))
    );
    assert_eq!(scene.broker.check_replay(), Ok(()));
}

#[test]
fn messages_have_the_subscription_identifiers_that_the_client_has_now() {
    let identified = |id| {
        let Packet::Subscribe(mut packet) = subscribe("t", 1) else {
            unreachable!();
        };
        packet.properties.subscription_identifiers.push(id);
        Packet::Subscribe(packet)
    };
    let program = |scene: &mut Scene, id| {
        let peer = scene.client(ProtocolVersion::V5, "a");
        scene.send(peer, &identified(id));
        scene.next(peer);
        scene.send(peer, &Packet::Publish(publish("t", "1", QoS::AtMostOnce)));
        let properties = scene.message(peer).properties.unwrap();
        assert_eq!(properties.subscription_identifiers, [id]);
    };
    let mut scene = Scene::new();
    let memory = record(&mut scene);
    program(&mut scene, 7_000_000);
    let recording = memory.recording();
    let mut scene = replayed(&recording);
    let again = record(&mut scene);
    program(&mut scene, 9);
    let differs = |other: &Recording| diff(&recording, other, ComparedTimes::Ignored);
    assert_eq!(differs(&again.recording()), "");
    // A message of another subscription is a difference all the same.
    let text = again.text();
    let (before, behind) = text.rsplit_once("[9]").unwrap();
    let other = format!("{before}[8]{behind}");
    assert!(
        differs(&other.parse().unwrap())
            .contains("subscription_identifiers: [9], in the second [8]")
    );
}

#[test]
fn a_replay_has_a_journal_and_is_idle_while_it_waits_for_a_client() {
    let mut scene = replayed(&recorded());
    let peer = scene.client(ProtocolVersion::V5, "pump-7");
    assert!(scene.broker.is_idle());
    assert_eq!(scene.broker.stats().connections, 1);
    scene.send(peer, &subscribe("own/#", 1));
    scene.send(peer, &with_id(publish("level", "7", QoS::AtLeastOnce), 2));
    let twice = with_id(publish("level", "8", QoS::ExactlyOnce), 3);
    scene.send(peer, &twice);
    let all = MessageFilter::new("#");
    let journal = scene.broker.journal().unwrap();
    let payloads: Vec<_> = journal.published(&all).map(|it| &it.payload[..]).collect();
    assert_eq!(payloads, [b"7", b"8"]);
    let kinds = |journal: &BrokerJournal, kind: PacketType| {
        journal.packets(&PacketFilter::from(kind)).count()
    };
    assert_eq!(kinds(journal, PacketType::SubAck), 1);
    scene.send(peer, &with_id(publish("other", "9", QoS::AtLeastOnce), 4));
    assert!(scene.broker.check_replay().is_err());
    let journal = scene.broker.journal().unwrap();
    assert_eq!(journal.published(&all).count(), 2, "that did not fit");
    assert_eq!(
        kinds(journal, PacketType::Publish),
        3,
        "it came all the same"
    );
}

#[test]
fn the_server_takes_as_long_as_it_did() {
    let mut scene = Scene::new();
    let memory = record(&mut scene);
    let watcher = scene.client(ProtocolVersion::V5, "watcher");
    scene.subscribe(watcher, "t", QoS::AtMostOnce);
    let other = scene.client(ProtocolVersion::V5, "other");
    scene.pass(Duration::from_secs(3));
    scene.publish(other, publish("t", "1", QoS::AtMostOnce));
    assert_eq!(scene.payloads(watcher), ["1"]);
    scene
        .broker
        .disconnect_client(
            scene.now,
            "watcher",
            ferromqtt_proto::ReasonCode::ServerBusy,
            None,
        )
        .unwrap();
    let recording = memory.recording();

    // The message waits for its publisher, and the server's DISCONNECT follows it.
    let mut scene = replayed(&recording);
    let watcher = scene.client(ProtocolVersion::V5, "watcher");
    scene.subscribe(watcher, "t", QoS::AtMostOnce);
    scene.pass(Duration::from_secs(100));
    assert_eq!(scene.next(watcher), None);
    let other = scene.client(ProtocolVersion::V5, "other");
    scene.send(other, &Packet::Publish(publish("t", "1", QoS::AtMostOnce)));
    assert_eq!(scene.payloads(watcher).len(), 1);
}

#[test]
fn a_wait_of_the_server_is_as_long_again() {
    let mut scene = Scene::with(|options| options.server_keep_alive = Some(10));
    let memory = record(&mut scene);
    let peer = scene.client(ProtocolVersion::V5, "a");
    scene.pass(Duration::from_secs(20));
    assert!(scene.is_closed(peer)); // one and a half times the Keep Alive

    let mut scene = replayed(&memory.recording());
    let peer = scene.client(ProtocolVersion::V5, "a");
    scene.pass(Duration::from_secs(14));
    assert!(!scene.is_closed(peer));
    scene.pass(Duration::from_secs(1));
    assert!(scene.is_closed(peer));
    assert_eq!(scene.broker.check_replay(), Ok(()));
}

#[test]
fn pings_are_answered_whenever_they_come() {
    let mut scene = replayed(&recorded());
    let peer = scene.client(ProtocolVersion::V5, "pump-7");
    scene.send(peer, &Packet::PingReq);
    assert_eq!(scene.next(peer), Some(Packet::PingResp));
}

#[test]
fn another_packet_fails_with_what_was_expected_and_what_is_nearest() {
    let mut scene = replayed(&recorded());
    let peer = scene.client(ProtocolVersion::V5, "pump-7");
    scene.send(
        peer,
        &with_id(publish("level", "secret-payload", QoS::ExactlyOnce), 1),
    );
    assert!(scene.is_closed(peer));
    let mismatch = mismatch(&scene);
    assert!(
        mismatch.came.contains("-> PUBLISH topic \"level\", qos 2"),
        "{mismatch}"
    );
    let expected = mismatch.expected.clone().unwrap();
    assert!(
        expected.starts_with("line 5 of the recording, client \"pump-7\": -> SUBSCRIBE"),
        "{expected}"
    );
    let nearest = mismatch.nearest.clone().unwrap();
    assert!(
        nearest.starts_with("line 9 of the recording") && nearest.contains("qos 2"),
        "{nearest}"
    );
    let text = mismatch.to_string();
    assert!(
        text.ends_with(&format!("\n  nearest:  {nearest}")),
        "{text}"
    );
    assert!(!text.contains("secret-payload"), "{text}");
}

#[test]
fn a_mismatch_tells_lengths_and_no_hashes_and_names_what_is_nearest_once() {
    let mut scene = Scene::new();
    let memory = record(&mut scene);
    let user_properties = [(text("unit"), text("C"))].into_iter().collect();
    let properties = Properties {
        correlation_data: Some(Bytes::from_static(b"four")),
        user_properties,
        ..Properties::default()
    };
    let program = |scene: &mut Scene, topic: &str| {
        let peer = scene.client(ProtocolVersion::V5, "pump-7");
        let message = PublishPacket {
            properties: Some(Box::new(properties.clone())),
            ..publish(topic, "28.4", QoS::AtLeastOnce)
        };
        scene.send(peer, &with_id(message, 1));
    };
    program(&mut scene, "site/7/level");
    let mut scene = replayed(&memory.recording());
    program(&mut scene, "site/7/lewel");
    let of = |topic: &str| {
        format!(
            "-> PUBLISH topic \"{topic}\", qos 1, packet_id 1, payload 4 bytes, properties {{\"correlation_data\":{{\"length\":4}},\"user_properties\":{{\"count\":1}}}}"
        )
    };
    let came = of("site/7/lewel");
    let expected = of("site/7/level");
    assert_eq!(
        mismatch(&scene).to_string(),
        format!(
            "the replay fails at client \"pump-7\"\n  came:     {came}\n  expected: line 5 of the recording, client \"pump-7\": {expected}"
        )
    );
}

#[test]
fn a_client_that_leaves_early_or_comes_once_more_is_a_mismatch() {
    let recording = recorded();
    let mut scene = replayed(&recording);
    let peer = scene.client(ProtocolVersion::V5, "pump-7");
    scene.cut(peer);
    assert!(mismatch(&scene).came.contains("the end of the connection"));

    let mut scene = replayed(&recording);
    scene.client(ProtocolVersion::V5, "pump-7");
    let peer = scene.open(ProtocolVersion::V5);
    scene.send(
        peer,
        &Packet::Connect(Box::new(connect(ProtocolVersion::V5, "pump-7"))),
    );
    assert!(mismatch(&scene).expected.is_none());
    assert!(scene.is_closed(peer));
}

#[test]
fn another_version_of_mqtt_is_a_mismatch() {
    let mut scene = replayed(&recorded());
    let peer = scene.open(ProtocolVersion::V311);
    scene.send(
        peer,
        &Packet::Connect(Box::new(connect(ProtocolVersion::V311, "pump-7"))),
    );
    assert!(mismatch(&scene).came.contains("version \"3.1.1\""));
}

#[test]
fn a_client_whose_identifier_is_another_each_time_plays_the_next_link() {
    let mut scene = replayed(&recorded());
    let peer = scene.client(ProtocolVersion::V5, "random-8231");
    scene.send(peer, &subscribe("own/#", 1));
    assert!(matches!(scene.next(peer), Some(Packet::SubAck(_))));
}

#[test]
fn what_is_left_is_reported() {
    let mut scene = replayed(&recorded());
    scene.client(ProtocolVersion::V5, "pump-7");
    let error = scene.broker.check_replay().unwrap_err().to_string();
    assert!(
        error.contains("8 packets of the recording are left"),
        "{error}"
    );
    assert!(error.contains("line 5 of the recording"), "{error}");
}

#[test]
fn a_connect_with_masked_credentials_is_replayed() {
    let mut scene = Scene::new();
    let memory = record(&mut scene);
    let login = || Connect {
        user_name: Some(text("user-4711")),
        password: Some("hunter2".into()),
        ..connect(ProtocolVersion::V311, "a")
    };
    scene.join(login());
    assert!(!memory.text().contains("hunter2") && !memory.text().contains("user-4711"));
    let mut scene = replayed(&memory.recording());
    scene.join(login());
    assert_eq!(scene.broker.check_replay(), Ok(()));
}

#[test]
fn a_recording_without_payloads_cannot_be_replayed() {
    let memory = Memory::default();
    Recorder::new(memory.clone(), RecordedPayloads::Hashed);
    let error = Broker::from_recording(&memory.recording()).unwrap_err();
    assert_eq!(error, ReplayError::NoPayloads);
}

#[test]
fn a_packet_that_was_too_long_to_record_cannot_be_replayed() {
    let text = "{\"mqttlog\":1,\"payloads\":true}\n\
        {\"at\":0,\"link\":1,\"event\":\"opened\"}\n\
        {\"at\":0,\"link\":1,\"to\":\"client\",\"packet\":\"PUBLISH\",\"left_out\":99999999}\n";
    let error = Broker::from_recording(&text.parse().unwrap()).unwrap_err();
    assert!(
        error
            .to_string()
            .starts_with("line 3 of the recording cannot be replayed"),
        "{error}"
    );
}
