//! What the journal says of packets that were on their way when their link ended.

use std::time::Duration;

use ferromqtt_proto::packet::{Packet, PacketType, ProtocolVersion, QoS};
use ferromqtt_testing::{BrokerSide, FaultRule, PacketFilter, RestartKeeps};

use crate::scene::{Peer, Scene, packet_id, publish};

const V5: ProtocolVersion = ProtocolVersion::V5;
const SECOND: Duration = Duration::from_secs(1);

fn recorded() -> Scene {
    Scene::with(|options| options.journal_packets = Some(1_000))
}

/// What became of the packets of this type, in order: whether each goes on, whether it has come, and why not.
fn fates(scene: &Scene, kind: PacketType) -> Vec<(bool, bool, Option<String>)> {
    let journal = scene.broker.journal().expect("it was asked for");
    let filter = PacketFilter::from(kind);
    let fate = |it: &ferromqtt_testing::JournalPacket| {
        let fault = it.fault.as_ref().map(ToString::to_string);
        (it.passed, it.arrived, fault)
    };
    journal.packets(&filter).map(fate).collect()
}

fn lost(why: &str) -> (bool, bool, Option<String>) {
    (false, false, Some(why.to_owned()))
}

const ARRIVED: (bool, bool, Option<String>) = (true, true, None);
const ON_ITS_WAY: (bool, bool, Option<String>) = (true, false, None);

fn add(scene: &mut Scene, rule: FaultRule) {
    scene.broker.add_fault(scene.now, rule).unwrap();
}

/// Sends messages of QoS 1 in one piece, so that their acknowledgements leave the broker together.
fn publish_together(scene: &mut Scene, peer: Peer, count: u16) {
    let mut bytes = bytes::BytesMut::new();
    for number in 1..=count {
        let mut message = publish("t", "x", QoS::AtLeastOnce);
        message.packet_id = Some(packet_id(number));
        Packet::Publish(message).encode(peer.version, &mut bytes);
    }
    scene.feed(peer, &mut bytes);
}

fn acknowledged(scene: &mut Scene, peer: Peer) -> usize {
    std::iter::from_fn(|| scene.next(peer)).count()
}

#[test]
fn what_stands_behind_a_cut_did_not_arrive() {
    for (rule, first, why, came) in [
        (
            FaultRule::sends(PacketType::PubAck).cut_before(),
            (false, false),
            "the link was cut",
            0,
        ),
        (
            FaultRule::sends(PacketType::PubAck).cut(),
            (true, true),
            "the link was cut",
            1,
        ),
        (
            FaultRule::sends(PacketType::PubAck).cut().reset(),
            (true, true),
            "the link was reset",
            1,
        ),
    ] {
        let text = rule.to_string();
        let mut scene = recorded();
        let client = scene.client(V5, "c");
        add(&mut scene, rule);
        publish_together(&mut scene, client, 3);
        assert_eq!(acknowledged(&mut scene, client), came, "{text}");
        let fates = fates(&scene, PacketType::PubAck);
        assert_eq!((fates[0].0, fates[0].1), first, "{text}");
        assert_eq!(fates[1..], [lost(why), lost(why)], "{text}");
        let chart = scene.broker.journal().unwrap().chart(30);
        let crossed = chart.lines().filter(|line| line.contains("x---"));
        assert_eq!(crossed.count(), 3 - came, "{chart}");
    }
}

#[test]
fn what_the_client_sent_behind_a_cut_did_not_arrive() {
    let mut scene = recorded();
    let client = scene.client(V5, "c");
    add(
        &mut scene,
        FaultRule::receives(PacketType::Publish).nth(2).cut(),
    );
    publish_together(&mut scene, client, 3);
    let fates = fates(&scene, PacketType::Publish);
    assert_eq!(fates[0], ARRIVED);
    assert!(fates[1].1, "the cut is behind it");
    assert_eq!(fates.get(2), None, "the broker never saw the third");
}

#[test]
fn what_is_on_its_way_when_a_link_ends_does_not_arrive() {
    type End = fn(&mut Scene, Peer);
    let ends: [(End, &str); 6] = [
        (
            |scene, _| assert!(scene.broker.cut_link(scene.now, "c", false)),
            "the link was cut",
        ),
        (
            |scene, _| assert!(scene.broker.cut_link(scene.now, "c", true)),
            "the link was reset",
        ),
        (
            |scene, _| assert!(scene.broker.kill_client(scene.now, "c")),
            "the link was reset",
        ),
        (
            |scene, _| {
                scene
                    .broker
                    .restart(scene.now, Duration::ZERO, RestartKeeps::default());
            },
            "the link was reset",
        ),
        (
            |scene, _| assert!(scene.broker.half_open_link(scene.now, "c")),
            "the link is half-open",
        ),
        (|scene, client| scene.cut(client), "the client has gone"),
    ];
    for (end, why) in ends {
        let mut scene = recorded();
        let client = scene.client(V5, "c");
        (scene.broker).slow_link(scene.now, "c", SECOND, Duration::ZERO);
        scene.send(client, &Packet::PingReq);
        assert_eq!(fates(&scene, PacketType::PingReq), [ON_ITS_WAY]);
        scene.pass(SECOND); // it has arrived, and the answer is on its way
        assert_eq!(fates(&scene, PacketType::PingReq), [ARRIVED]);
        assert_eq!(fates(&scene, PacketType::PingResp), [ON_ITS_WAY]);
        end(&mut scene, client);
        assert_eq!(fates(&scene, PacketType::PingResp), [lost(why)]);
        assert_eq!(scene.next(client), None);
    }
}

#[test]
fn a_packet_that_a_cut_after_some_bytes_splits_did_not_arrive() {
    let mut scene = recorded();
    let client = scene.client(V5, "c");
    let first = 5; // PUBACK with No matching subscribers
    for (bytes, came) in [(first, 1), (first + 1, 1)] {
        let client = match bytes == first {
            true => client,
            false => scene.client(V5, "d"),
        };
        let name = if bytes == first { "c" } else { "d" };
        (scene.broker).cut_link_after(scene.now, name, BrokerSide::Sends, bytes);
        publish_together(&mut scene, client, 3);
        let received = scene.bytes(client).len();
        assert_eq!(received, bytes);
        let journal = scene.broker.journal().unwrap();
        let filter = PacketFilter::from(PacketType::PubAck).client(name);
        let arrived = journal.packets(&filter).filter(|it| it.arrived).count();
        assert_eq!(arrived, came, "{}", journal.chart(30));
        let passed = journal.packets(&filter).filter(|it| it.passed).count();
        assert_eq!(passed, came, "{}", journal.chart(30));
    }
}

#[test]
fn what_a_partition_keeps_back_is_on_its_way_until_it_heals() {
    let mut scene = recorded();
    let client = scene.client(V5, "c");
    scene.broker.partition(scene.now, false);
    scene.send(client, &Packet::PingReq);
    assert_eq!(fates(&scene, PacketType::PingReq), [ON_ITS_WAY]);
    let chart = scene.broker.journal().unwrap().chart(30);
    let line = chart.lines().find(|line| line.contains("PINGREQ")).unwrap();
    assert!(line.ends_with(".."), "{chart}");
    scene.broker.heal(scene.now);
    assert_eq!(scene.next(client), Some(Packet::PingResp));
    assert_eq!(fates(&scene, PacketType::PingReq), [ARRIVED]);
    assert_eq!(fates(&scene, PacketType::PingResp), [ARRIVED]);
}

#[test]
fn a_held_packet_keeps_its_rule_when_its_link_ends() {
    let mut scene = recorded();
    let client = scene.client(V5, "c");
    add(&mut scene, FaultRule::sends(PacketType::PubAck).hold());
    publish_together(&mut scene, client, 1);
    let [(passed, arrived, rule)] = &fates(&scene, PacketType::PubAck)[..] else {
        panic!("one PUBACK");
    };
    assert!(passed & !arrived);
    let rule = rule.clone();
    scene.cut(client);
    assert_eq!(fates(&scene, PacketType::PubAck), [(false, false, rule)]);
}

#[test]
fn at_a_rate_a_packet_arrives_with_its_last_byte() {
    let mut scene = recorded();
    let client = scene.client(V5, "c");
    let rate = std::num::NonZeroU32::new(10);
    scene.broker.limit_link(scene.now, "c", rate);
    scene.send(
        client,
        &Packet::Publish(publish("t", "0123456789", QoS::AtMostOnce)),
    );
    scene.pass(SECOND);
    assert_eq!(fates(&scene, PacketType::Publish), [ON_ITS_WAY]);
    scene.pass(SECOND);
    assert_eq!(fates(&scene, PacketType::Publish), [ARRIVED]);
}
