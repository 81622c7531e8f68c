//! Faults on demand: where x when x what.

mod instead;
mod late;
mod rules;
mod wrong;

use std::time::Duration;

use ferromqtt_proto::packet::{Ack, Packet, ProtocolVersion, QoS};
use ferromqtt_testing::{FaultId, FaultRule};

use crate::scene::{Peer, Scene, packet_id, publish};

const V5: ProtocolVersion = ProtocolVersion::V5;
const V311: ProtocolVersion = ProtocolVersion::V311;
const SECOND: Duration = Duration::from_secs(1);

fn add(scene: &mut Scene, rule: FaultRule) -> FaultId {
    scene
        .broker
        .add_fault(scene.now, rule)
        .expect("it makes sense")
}

/// A client that subscribes to everything, and one that publishes.
fn pair(scene: &mut Scene, version: ProtocolVersion, qos: QoS) -> (Peer, Peer) {
    let reader = scene.client(version, "reader");
    scene.subscribe(reader, "#", qos);
    (reader, scene.client(version, "writer"))
}

fn qos0(topic: &str, payload: &str) -> Packet {
    Packet::Publish(publish(topic, payload, QoS::AtMostOnce))
}

fn qos1(payload: &str) -> Packet {
    Packet::Publish(publish("t", payload, QoS::AtLeastOnce))
}

fn puback() -> Option<Packet> {
    Some(Packet::PubAck(Ack::success(packet_id(77))))
}

fn encoded(packet: &Packet) -> bytes::BytesMut {
    let mut bytes = bytes::BytesMut::new();
    packet.encode(V5, &mut bytes);
    bytes
}
