//! A publisher with an outbox dies of a session that is lost: what it has stored comes, or is kept apart.

use std::collections::{HashMap, HashSet};
use std::io::{BufRead, BufReader, Write};
use std::path::Path;

use ferromqtt::{Messages, Options, QoS};
use ferromqtt_store::StoreReader;

use crate::proxy::{Direction, Moment, PUBREC, PUBREL, Proxy, Seen, WAYS, Way};
use crate::{Chance, World, at_connack, kills, start};

/// A publisher, and what its lives have stored.
struct Publisher {
    qos: QoS,
    lives: u32,
    stored: Vec<String>,
}

impl Publisher {
    /// Lives once: to the moment, or to the end of what there is to send.
    fn live(&mut self, world: &World, moment: Option<Moment>) -> Seen {
        self.lives += 1;
        let life = moment.map_or(0, |_| self.lives);
        let proxy = Proxy::start(world.port);
        let folder = world.outbox();
        let (path, qos) = (folder.display(), self.qos.value());
        let mut process = start(&format!("publish {} {path} {qos} {life}", proxy.port));
        proxy.aim(process.id(), &folder, moment);
        process.stdin.take().unwrap().write_all(b"\n").unwrap();
        let lines = BufReader::new(process.stdout.take().unwrap()).lines();
        let stored = lines
            .map_while(Result::ok)
            .filter_map(|line| Some(line.split_once('!')?.1.to_owned()));
        self.stored.extend(stored);
        let status = process.wait().unwrap();
        assert_eq!(status.code().is_none(), moment.is_some(), "{status}");
        proxy.finish()
    }
}

/// Where the handshakes of sent messages are: PUBLISH and PUBACK; PUBLISH, PUBREC, PUBREL and PUBCOMP.
const SENDING: [&[(Direction, u8)]; 2] = [
    &[(Direction::Up, 3), (Direction::Down, 4)],
    &[
        (Direction::Up, 3),
        (Direction::Down, PUBREC),
        (Direction::Up, PUBREL),
        (Direction::Down, 7),
    ],
];

/// Has a publisher die in its handshakes, and of the sessions that are lost behind that, in all ways.
fn lose_sessions_of_publisher(qos: QoS) {
    let world = World::new(&format!("publisher-{}", qos.value()));
    let mut publisher = Publisher {
        qos,
        lives: 0,
        stored: Vec::new(),
    };
    let options = Options::new("127.0.0.1", world.port);
    let mut chance = Chance(1);
    let hearing = world
        .runtime
        .block_on(ferromqtt::Connection::open(options))
        .unwrap();
    let client = hearing.client();
    let numbers = client.subscribe("numbers").qos(QoS::ExactlyOnce);
    let mut messages = world.runtime.block_on(async { numbers.await }).unwrap();
    let packets = SENDING[usize::from(qos.value()) - 1];
    for number in 0..kills() as usize {
        let (direction, packet_type) = packets[number % packets.len()];
        let count = 1 + u32::try_from(chance.below(5)).unwrap();
        let way = Way::Before;
        publisher.live(
            &world,
            Some(Moment {
                direction,
                packet_type,
                count,
                way,
            }),
        );
        world.forget("publisher");
        let seen = publisher.live(
            &world,
            at_connack(WAYS[(number / packets.len() + number) % 4]),
        );
        assert_eq!(seen.resumed, Some(false));
    }
    publisher.live(&world, None);
    let received = world.runtime.block_on(async {
        let client = hearing.client();
        let end = client.publish("numbers", "end").qos(QoS::AtLeastOnce);
        end.await.unwrap();
        until_the_end(&mut messages).await
    });
    world.runtime.block_on(hearing.disconnect()).unwrap();
    let kept = quarantined(&world.outbox());
    let unique: HashSet<_> = received.iter().collect();
    let lost: Vec<_> = (publisher.stored.iter())
        .filter(|it| !unique.contains(it) && !kept.contains(*it))
        .collect();
    println!(
        "{qos:?}: {} stored, {} kept",
        publisher.stored.len(),
        kept.len()
    );
    assert!(lost.is_empty(), "stored and lost: {lost:?}");
    match qos {
        QoS::ExactlyOnce => {
            assert!(!kept.is_empty(), "nothing was uncertain");
            let mut times = HashMap::<_, u32>::new();
            received
                .iter()
                .for_each(|it| *times.entry(it).or_default() += 1);
            times.retain(|name, times| *times > 1 && !kept.contains(*name));
            assert!(
                times.is_empty(),
                "came twice, and nothing says so: {times:?}"
            );
        }
        _ => assert!(kept.is_empty(), "{kept:?}"),
    }
}

async fn until_the_end(messages: &mut Messages) -> Vec<String> {
    let mut received = Vec::new();
    while let Some(message) = messages.next().await {
        match message.text().unwrap() {
            "end" => break,
            text => received.push(text.to_owned()),
        }
    }
    received
}

/// The payloads of what is kept apart.
fn quarantined(folder: &Path) -> HashSet<String> {
    let mut reader = StoreReader::open(folder).unwrap();
    let kept = reader.messages().filter(|it| it.quarantine.is_some());
    let keys: Vec<_> = kept.map(|it| it.key).collect();
    let payload = |key| reader.read(key).unwrap().unwrap().publish.payload;
    let payloads = keys.into_iter().map(payload);
    payloads
        .map(|it| String::from_utf8(it.to_vec()).unwrap())
        .collect()
}

#[test]
fn a_publisher_at_qos_1_that_dies_of_a_lost_session_loses_nothing() {
    lose_sessions_of_publisher(QoS::AtLeastOnce);
}

/// What the server may have lost with the session is kept apart, and said to be uncertain: also behind a PUBCOMP, since a server
/// answers PUBREL in the next session as if it knew the message (section 3.7.2.1).
#[test]
fn a_publisher_at_qos_2_that_dies_of_a_lost_session_loses_nothing() {
    lose_sessions_of_publisher(QoS::ExactlyOnce);
}
