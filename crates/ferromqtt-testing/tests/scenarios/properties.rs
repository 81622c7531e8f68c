//! What holds whatever happens: connections break anywhere, acknowledgements come late, bytes come in any portions.

use std::collections::{BTreeSet, HashSet};

use bytes::{Bytes, BytesMut};
use ferromqtt_proto::packet::{Ack, Packet, PacketId, ProtocolVersion, QoS};
use proptest::prelude::*;

use crate::scene::{Peer, Scene, connect_persistent, publish};

#[derive(Clone, Copy, Debug)]
enum Step {
    Publish(QoS),
    /// The subscriber reads and answers so many packets.
    Read(usize),
    /// The subscriber's connection breaks; what it has not read is lost.
    Cut,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => prop_oneof![Just(QoS::AtMostOnce), Just(QoS::AtLeastOnce), Just(QoS::ExactlyOnce)].prop_map(Step::Publish),
        3 => (1..8_usize).prop_map(Step::Read),
        1 => Just(Step::Cut),
    ]
}

/// A subscriber as the standard wants it: its session outlives its connections.
struct Subscriber {
    peer: Peer,
    receive_maximum: u16,
    unreleased: HashSet<PacketId>,
    /// What came for the first time, at any QoS.
    firsts: Vec<usize>,
    at_most_once: Vec<usize>,
    at_least_once: BTreeSet<usize>,
    exactly_once: Vec<usize>,
}

impl Subscriber {
    fn join(scene: &mut Scene, receive_maximum: u16) -> Peer {
        let mut connect = connect_persistent(ProtocolVersion::V5, "subscriber");
        connect.properties.receive_maximum = Some(receive_maximum.try_into().unwrap());
        scene.join(connect).0
    }

    /// Reads one packet and answers it; `false` when there is none.
    fn read(&mut self, scene: &mut Scene) -> bool {
        match scene.next(self.peer) {
            None => return false,
            Some(Packet::Publish(message)) => {
                let number = std::str::from_utf8(&message.payload)
                    .unwrap()
                    .parse()
                    .unwrap();
                match message.packet_id {
                    None => {
                        self.at_most_once.push(number);
                        self.firsts.push(number);
                    }
                    Some(packet_id) if message.qos == QoS::AtLeastOnce => {
                        if self.at_least_once.insert(number) {
                            self.firsts.push(number);
                        }
                        scene.send(self.peer, &Packet::PubAck(Ack::success(packet_id)));
                    }
                    Some(packet_id) => {
                        if self.unreleased.insert(packet_id) {
                            self.exactly_once.push(number);
                            self.firsts.push(number);
                        }
                        scene.send(self.peer, &Packet::PubRec(Ack::success(packet_id)));
                    }
                }
                assert!(self.unreleased.len() <= usize::from(self.receive_maximum));
            }
            Some(Packet::PubRel(ack)) => {
                self.unreleased.remove(&ack.packet_id);
                scene.send(self.peer, &Packet::PubComp(Ack::success(ack.packet_id)));
            }
            other => panic!("{other:?}"),
        }
        true
    }
}

proptest! {
    #[test]
    fn qos_0_comes_at_most_once_qos_1_at_least_once_qos_2_once_all_in_one_order_mqtt_4_3_and_4_6(
        steps in prop::collection::vec(step(), 0..120),
        receive_maximum in 1..6_u16,
    ) {
        let mut scene = Scene::new();
        let publisher = scene.client(ProtocolVersion::V5, "publisher");
        let peer = Subscriber::join(&mut scene, receive_maximum);
        scene.subscribe(peer, "t", QoS::ExactlyOnce);
        let mut subscriber = Subscriber {
            peer,
            receive_maximum,
            unreleased: HashSet::new(),
            firsts: Vec::new(),
            at_most_once: Vec::new(),
            at_least_once: BTreeSet::new(),
            exactly_once: Vec::new(),
        };
        let mut sent = [Vec::new(), Vec::new(), Vec::new()];
        let mut cut = false;
        for (number, step) in steps.into_iter().enumerate() {
            match step {
                Step::Publish(qos) => {
                    scene.publish(publisher, publish("t", &number.to_string(), qos));
                    sent[usize::from(qos.value())].push(number);
                }
                Step::Read(count) => {
                    for _ in 0..count {
                        subscriber.read(&mut scene);
                    }
                }
                Step::Cut => {
                    cut = true;
                    scene.cut(subscriber.peer);
                    subscriber.peer = Subscriber::join(&mut scene, receive_maximum);
                }
            }
        }
        while subscriber.read(&mut scene) {}
        prop_assert!(subscriber.firsts.is_sorted_by(|left, right| left < right), "{:?}", subscriber.firsts);
        prop_assert!(cut || subscriber.at_most_once == sent[0]);
        prop_assert!(subscriber.at_most_once.iter().all(|number| sent[0].contains(number)));
        prop_assert!(subscriber.at_least_once.iter().eq(&sent[1]));
        prop_assert_eq!(&subscriber.exactly_once, &sent[2]);
        prop_assert!(subscriber.unreleased.is_empty());
        prop_assert_eq!(scene.broker.stats().dropped, 0);
    }

    #[test]
    fn any_portions_of_the_input_give_the_same_output(
        portions in prop::collection::vec(1..40_usize, 1..60),
    ) {
        let mut input = BytesMut::new();
        let version = ProtocolVersion::V311;
        Packet::Connect(Box::new(connect_persistent(version, "c"))).encode(version, &mut input);
        input.extend_from_slice(b"\x82\x06\x00\x01\x00\x01t\x02");
        for qos in [QoS::AtMostOnce, QoS::AtLeastOnce, QoS::ExactlyOnce] {
            Packet::Publish(publish("t", &"x".repeat(200), qos)).encode(version, &mut input);
            Packet::PingReq.encode(version, &mut input);
        }
        input.extend_from_slice(b"\x00\x00\xc0\x00"); // malformed, and one packet too many
        let mut rest = input.freeze();
        let whole = output(&mut [&rest[..]].into_iter());
        let mut pieces: Vec<Bytes> = portions.iter().map(|&size| rest.split_to(size.min(rest.len()))).collect();
        pieces.push(rest);
        prop_assert_eq!(whole, output(&mut pieces.iter().map(|piece| &piece[..])));
    }
}

/// What one client gets for input that comes in `pieces`.
fn output(pieces: &mut dyn Iterator<Item = &[u8]>) -> Vec<Packet> {
    let mut scene = Scene::new();
    let client = scene.open(ProtocolVersion::V311);
    let mut waiting = BytesMut::new();
    for piece in pieces {
        waiting.extend_from_slice(piece);
        scene.feed(client, &mut waiting);
    }
    assert!(scene.is_closed(client));
    std::iter::from_fn(|| scene.next(client)).collect()
}
