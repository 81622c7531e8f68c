//! Nothing of the broker shows a payload, or what authenticates, in its `Debug`, whatever state it is in.

use std::time::Duration;

use ferromqtt_proto::packet::{
    Auth, Connect, Packet, PacketType, Properties, ProtocolVersion, QoS, ReasonCode,
};
use ferromqtt_testing::{
    Authentication, Broker, BrokerJournal, BrokerOptions, FaultAction, FaultError, FaultRule,
    FaultScript, JournalEvent, JournalLink, JournalMessage, JournalPacket, ListShrinker,
    ReplayError, ReplayMismatch, ScriptEntry, ScriptShrinker, User,
};

use crate::markers::*;
use crate::recordings::record;
use crate::scene::{Scene, connect_persistent, publish, retained, text, will};

const V5: ProtocolVersion = ProtocolVersion::V5;

fn guarded(options: &mut BrokerOptions) {
    options.users = vec![User::new("u", MARKER)];
    options.authentication = Some(Authentication::new("QUIZ", [(MARKER, MARKER)]).unwrap());
    options.topic_alias_maximum = 10;
    look(options);
    look(&options.users[0]);
    look(&options.authentication);
}

fn login(name: &str) -> Connect {
    let mut connect = connect_persistent(V5, name);
    connect.user_name = Some(text("u"));
    connect.password = Some(MARKER.into());
    let mut will = will("gone", MARKER);
    will.properties.will_delay_interval = Some(100);
    will.properties.correlation_data = Some(MARKER.into());
    connect.will = Some(will);
    connect
}

#[test]
fn a_broker_shows_no_secret_in_any_state() {
    let mut scene = Scene::with(guarded);
    let (reader, _) = scene.join(login("reader"));
    scene.subscribe(reader, "#", QoS::ExactlyOnce);
    look(&scene.broker);
    let (writer, _) = scene.join(login("writer"));
    for qos in [QoS::AtMostOnce, QoS::AtLeastOnce, QoS::ExactlyOnce] {
        let mut message = publish("t", MARKER, qos);
        message.properties = Some(Box::new(Properties {
            correlation_data: Some(MARKER.into()),
            user_properties: vec![(text("name"), text(MARKER))].into_iter().collect(),
            ..Properties::default()
        }));
        scene.publish(writer, message);
        look(&scene.broker); // output that nobody has taken
        scene.payloads(reader);
        look(&scene.broker); // messages in flight
    }
    scene.publish(writer, publish("t", &MARKER.repeat(1000), QoS::AtLeastOnce));
    scene.publish(writer, retained("kept", MARKER, QoS::AtMostOnce));
    look(&scene.broker);
    scene.cut(reader);
    scene.publish(writer, publish("t", MARKER, QoS::AtLeastOnce));
    look(&scene.broker); // a queue, and a will that waits
    scene.pass(Duration::from_secs(200));
    look(&scene.broker); // the will as a message
    look(&scene.broker.stats());
}

/// The journal and what rules put in place of packets; and the journal holds no Password at all.
#[test]
fn faults_and_the_journal_show_no_secret() {
    let mut scene = Scene::with(|options| {
        guarded(options);
        options.journal_packets = Some(100);
    });
    let rule: FaultRule = FaultRule::sends(PacketType::PubAck).replace(MARKER.as_bytes());
    look(&rule);
    let action: &FaultAction = &rule.actions[0];
    look(action);
    let wrong = rule.clone().lose();
    let error: FaultError = wrong.check().unwrap_err();
    look_at_error(&error);
    let script: FaultScript = FaultScript::new().rule(rule.clone());
    look(&script);
    let entry: &ScriptEntry = &script.entries[0];
    look(entry);
    let mut shrinker: ScriptShrinker = ScriptShrinker::new(vec![script.clone()], 9);
    shrinker.candidate();
    look(&shrinker); // leaves entries out
    shrinker.report(false);
    shrinker.candidate();
    look(&shrinker); // makes numbers smaller
    let list: ListShrinker<ScriptEntry> = ListShrinker::new(vec![entry.clone()]);
    look(&list);
    scene.broker.add_fault(scene.now, rule).unwrap();
    let held = FaultRule::receives(PacketType::Publish).nth(2).hold();
    scene.broker.add_fault(scene.now, held).unwrap();
    let (client, _) = scene.join(login("c"));
    scene.send(
        client,
        &Packet::Publish(publish("t", MARKER, QoS::AtLeastOnce)),
    );
    scene.send(
        client,
        &Packet::Publish(publish("t", MARKER, QoS::AtLeastOnce)),
    );
    look(&scene.broker);
    let journal: &BrokerJournal = scene.broker.journal().unwrap();
    look(journal);
    for event in journal.events() {
        let event: &JournalEvent = event;
        look(event);
        match event {
            JournalEvent::Packet(packet) => {
                let packet: &JournalPacket = packet;
                if let Some(Packet::Connect(connect)) = &packet.packet {
                    assert_eq!(connect.password.as_deref(), Some(&b"***"[..]));
                }
            }
            JournalEvent::Link(link) => {
                let link: &JournalLink = link;
                look(link);
            }
            _ => {}
        }
    }
    let message: &JournalMessage = journal.messages().next().unwrap();
    look(message);
}

#[test]
fn a_broker_shows_no_challenge_and_no_answer() {
    let mut scene = Scene::with(guarded);
    let mut connect = login("c");
    (connect.user_name, connect.password) = (None, None);
    connect.properties.authentication_method = Some(text("QUIZ"));
    let client = scene.open(V5);
    scene.send(client, &Packet::Connect(Box::new(connect)));
    look(&scene.broker);
    while scene.next(client).is_some() {}
    let answer = Auth {
        reason: ReasonCode::ContinueAuthentication,
        properties: Properties {
            authentication_method: Some(text("QUIZ")),
            authentication_data: Some(MARKER.into()),
            ..Properties::default()
        },
    };
    scene.send(client, &Packet::Auth(Box::new(answer)));
    look(&scene.broker);
}

#[cfg(feature = "tokio")]
#[tokio::test]
async fn a_connection_in_memory_does_not_show_what_is_on_its_way() {
    use ferromqtt_testing::{MemoryStream, TestBroker};
    use tokio::io::AsyncWriteExt;

    let broker = TestBroker::new();
    let mut client: MemoryStream = broker.connect().unwrap();
    client.write_all(MARKER.as_bytes()).await.unwrap();
    look(&client);
    look(&broker);
}

#[cfg(feature = "certificates")]
#[test]
fn private_keys_of_certificates_are_not_shown() {
    use ferromqtt_testing::{TestAuthority, TestIdentity};

    let authority = TestAuthority::new().unwrap();
    assert_eq!(format!("{authority:?}"), "TestAuthority { issuer: *** }");
    let identity: TestIdentity = authority.issue("broker.example").unwrap();
    let shown = format!("{identity:?}");
    assert_eq!(shown, "TestIdentity { certificate: ***, key: *** }");
    assert!(identity.key_pem().contains("PRIVATE KEY"));
    let error = authority.issue("b\u{fc}cher").unwrap_err();
    assert!(error.to_string().contains("certificate"), "{error}");
}

#[test]
fn a_replay_shows_no_secret_in_any_state() {
    let program = |scene: &mut Scene, topic: &str| {
        let (client, _) = scene.join(login("a"));
        scene.subscribe(client, "#", QoS::AtLeastOnce);
        look(&scene.broker);
        scene.send(
            client,
            &Packet::Publish(publish(topic, MARKER, QoS::ExactlyOnce)),
        );
        look(&scene.broker); // output that nobody has taken
    };
    let mut scene = Scene::with(guarded);
    let memory = record(&mut scene);
    program(&mut scene, "t");
    let recording = memory.recording();
    look(&recording);
    look(&recording.entries());
    let mut scene = Scene::serving(Broker::from_recording(&recording).unwrap());
    let unfinished: ReplayError = scene.broker.check_replay().unwrap_err();
    look_at_error(&unfinished);
    program(&mut scene, "t");
    let mut scene = Scene::serving(Broker::from_recording(&recording).unwrap());
    program(&mut scene, "another");
    let Err(ReplayError::Mismatch(mismatch)) = scene.broker.check_replay() else {
        panic!("another topic is no mismatch");
    };
    let mismatch: ReplayMismatch = *mismatch;
    look_at_error(&mismatch);
}

/// Public types that can hold neither a payload nor what authenticates; `TestBroker` is looked at by the client's test.
const WITHOUT_SECRETS: &str = "BrokerStats ConnectionId TestBroker BrokerOptionsError BrokerStopped SessionStats BrokerSide CutPoint FaultId \
     BrokerUnreachable ClientWatch ExpectedMessages FaultFileError FaultFileProblem FaultHandle Listen Listening CertificateError \
     FaultPlace FaultTextError FaultTimes FaultTiming LinkChange LinkHandle MessageFilter NotPublished PacketFilter PacketType RestartKeeps UnusedFaults \
     BrokerEvent BrokerVerb ChaosError EventTime FaultScriptError Faults";

#[test]
fn every_public_type_is_known() {
    // The types of runs are looked at where there are runs.
    let seeds = include_str!("../seeds.rs");
    let test = format!("{}{seeds}{WITHOUT_SECRETS}", include_str!("secrets.rs"));
    knows_all_exports(include_str!("../../src/lib.rs"), &test);
}
