//! Recordings of the broker, and programs that are replayed from them.

use std::io;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use ferromqtt_proto::packet::{Ack, Disconnect, Packet, ProtocolVersion, QoS};
use ferromqtt_testing::recording::{ComparedTimes, RecordedPayloads, Recorder, Recording, diff};
use ferromqtt_testing::{Broker, FaultRule};
use proptest::prelude::*;

use crate::scene::{Peer, Scene, VERSIONS, connect, connect_persistent, publish};

/// What a recorder has written.
#[derive(Clone, Default)]
pub(crate) struct Memory(Arc<Mutex<Vec<u8>>>);

impl io::Write for Memory {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Memory {
    pub(crate) fn text(&self) -> String {
        String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
    }

    pub(crate) fn recording(&self) -> Recording {
        self.text().parse().unwrap()
    }
}

/// Records what goes on in a scene.
pub(crate) fn record(scene: &mut Scene) -> Memory {
    let memory = Memory::default();
    let recorder = Recorder::new(memory.clone(), RecordedPayloads::Whole);
    scene.broker.record(recorder);
    memory
}

#[test]
fn a_recording_has_what_the_clients_see_also_where_a_fault_is_in_the_way() {
    use ferromqtt_proto::packet::PacketType;
    let mut scene = Scene::new();
    let recorded = record(&mut scene);
    let rule = FaultRule::sends(PacketType::PubAck).lose().cut();
    scene.broker.add_fault(scene.now, rule).unwrap();
    let peer = scene.client(ProtocolVersion::V5, "a");
    scene.send(peer, &Packet::Publish(publish("t", "1", QoS::AtLeastOnce)));
    assert!(scene.is_closed(peer));
    let shown = recorded.recording().show();
    assert!(
        !shown.contains("PUBACK") && shown.contains("-- closed by the server --"),
        "{shown}"
    );
}

#[test]
fn recording_begins_with_the_next_connection() {
    let mut scene = Scene::new();
    let earlier = scene.client(ProtocolVersion::V5, "earlier");
    let recorded = record(&mut scene);
    scene.client(ProtocolVersion::V5, "later");
    scene.publish(earlier, publish("t", "1", QoS::AtLeastOnce));
    assert!(!recorded.text().contains("earlier") && recorded.text().contains("later"));
}

/// What one of three clients does.
#[derive(Clone, Debug)]
enum Doing {
    Connect {
        version: usize,
        persistent: bool,
    },
    Subscribe(u8),
    Publish(u8, QoS),
    /// Acknowledges what has come.
    Acknowledge,
    Ping,
    Disconnect,
    Cut,
    Wait(u16),
}

fn doing() -> impl Strategy<Value = Doing> {
    let qos = prop_oneof![
        Just(QoS::AtMostOnce),
        Just(QoS::AtLeastOnce),
        Just(QoS::ExactlyOnce)
    ];
    prop_oneof![
        3 => (0..3_usize, any::<bool>())
            .prop_map(|(version, persistent)| Doing::Connect { version, persistent }),
        2 => (0..3_u8).prop_map(Doing::Subscribe),
        4 => (0..3_u8, qos).prop_map(|(topic, qos)| Doing::Publish(topic, qos)),
        4 => Just(Doing::Acknowledge),
        1 => Just(Doing::Ping),
        1 => Just(Doing::Disconnect),
        1 => Just(Doing::Cut),
        2 => (0..2_000_u16).prop_map(Doing::Wait),
    ]
}

/// Plays a program; what a client sends depends only on that, and on what has come to it.
fn play(scene: &mut Scene, program: &[(usize, Doing)]) {
    let mut clients: [Option<Peer>; 3] = [None; 3];
    for (client, doing) in program {
        let name = ["a", "b", "c"][*client];
        let current = clients[*client];
        match (doing, current) {
            (
                Doing::Connect {
                    version,
                    persistent,
                },
                None,
            ) => {
                let version = VERSIONS[*version];
                let mut packet = match persistent {
                    true => connect_persistent(version, name),
                    false => connect(version, name),
                };
                packet.keep_alive = 2; // the broker ends what is silent for three
                let peer = scene.open(version);
                scene.send(peer, &Packet::Connect(Box::new(packet)));
                clients[*client] = Some(peer);
                scene.next(peer);
            }
            (Doing::Subscribe(topic), Some(peer)) => {
                let subscribe = ferromqtt_proto::packet::SubscribePacket {
                    packet_id: crate::scene::packet_id(9),
                    properties: Default::default(),
                    filters: [(
                        crate::scene::text(&format!("t/{topic}")),
                        QoS::ExactlyOnce.into(),
                    )]
                    .into(),
                };
                scene.send(peer, &Packet::Subscribe(Box::new(subscribe)));
            }
            (Doing::Publish(topic, qos), Some(peer)) => {
                scene.send(
                    peer,
                    &Packet::Publish(publish(&format!("t/{topic}"), "x", *qos)),
                );
            }
            (Doing::Acknowledge, Some(peer)) => {
                while let Some(packet) = scene.next(peer) {
                    let answer = match packet {
                        Packet::Publish(publish) => match (publish.qos, publish.packet_id) {
                            (QoS::AtLeastOnce, Some(id)) => Packet::PubAck(Ack::success(id)),
                            (QoS::ExactlyOnce, Some(id)) => Packet::PubRec(Ack::success(id)),
                            _ => continue,
                        },
                        Packet::PubRec(ack) => Packet::PubRel(Ack::success(ack.packet_id)),
                        Packet::PubRel(ack) => Packet::PubComp(Ack::success(ack.packet_id)),
                        _ => continue,
                    };
                    scene.send(peer, &answer);
                }
            }
            (Doing::Ping, Some(peer)) => scene.send(peer, &Packet::PingReq),
            (Doing::Disconnect, Some(peer)) => {
                let farewell = Packet::Disconnect(Box::new(Disconnect::normal()));
                scene.send(peer, &farewell);
                clients[*client] = None;
            }
            (Doing::Cut, Some(peer)) => {
                scene.cut(peer);
                clients[*client] = None;
            }
            (Doing::Wait(millis), _) => scene.pass(Duration::from_millis(u64::from(*millis))),
            _ => {}
        }
        if let Some(peer) = clients[*client]
            && scene.is_closed(peer)
        {
            clients[*client] = None;
        }
    }
    scene.pass(Duration::from_secs(60));
}

proptest! {
    /// The same program finds the same server again: the recording of the replay has no difference, in times neither.
    #[test]
    fn a_program_that_is_replayed_gets_the_same_again(
        program in prop::collection::vec((0..3_usize, doing()), 1..60),
    ) {
        let mut scene = Scene::new();
        let recorded = record(&mut scene);
        play(&mut scene, &program);
        let recording = recorded.recording();

        let mut scene = Scene::serving(Broker::from_recording(&recording).unwrap());
        let again = record(&mut scene);
        play(&mut scene, &program);
        prop_assert_eq!(scene.broker.check_replay(), Ok(()));
        let again = again.recording();
        let difference = diff(&recording, &again, ComparedTimes::Milliseconds);
        prop_assert!(difference.is_empty(), "{}\n{}\n{}", difference, recording.show(), again.show());
    }

    /// Any other program, and any bytes, end in a mismatch or in nothing, and not in a panic.
    #[test]
    fn another_program_than_the_recorded_one_does_no_harm(
        program in prop::collection::vec((0..3_usize, doing()), 1..30),
        other in prop::collection::vec((0..3_usize, doing()), 1..30),
        bytes in prop::collection::vec(any::<u8>(), 0..40),
    ) {
        let mut scene = Scene::new();
        let recorded = record(&mut scene);
        play(&mut scene, &program);
        let mut scene = Scene::serving(Broker::from_recording(&recorded.recording()).unwrap());
        play(&mut scene, &other);
        let peer = scene.open(ProtocolVersion::V5);
        scene.send_bytes(peer, &bytes);
        scene.pass(Duration::from_secs(60));
        if let Err(error) = scene.broker.check_replay() {
            prop_assert!(error.to_string().starts_with("the replay "), "{error}");
        }
    }
}
