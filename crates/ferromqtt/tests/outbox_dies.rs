//! Programs with an outbox die at a packet, or at the record behind it, on mosquitto: what each life may rely on. A program of its
//! own, since it runs itself.
//!
//! `FERROMQTT_KILLS=100` is the long version.
#![cfg(all(feature = "outbox", feature = "tracing", target_os = "linux"))]
#![allow(clippy::print_stdout, reason = "figures for those who ask for them")]

#[path = "scenarios/mosquitto_process.rs"]
#[allow(dead_code, reason = "others need its folder")]
mod mosquitto_process;
#[path = "outbox_dies/proxy.rs"]
mod proxy;
#[path = "outbox_dies/worker.rs"]
mod worker;

use std::collections::{HashMap, HashSet};
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use ferromqtt::{CleanStart, Messages, Options, QoS};
use ferromqtt_store::StoreReader;
use tokio::runtime::Runtime;

use mosquitto_process::{Mosquitto, free_port};
use proxy::{CONNACK, Direction, Moment, PUBREC, PUBREL, Proxy, Seen, WAYS, Way};

/// The variable that makes a run of this program the one that dies.
const ROLE: &str = "FERROMQTT_OUTBOX_WORKER";
const EACH_LIFE: u32 = 12;
/// The Packet Identifier that is on record when the server loses a session: it counts from 1.
const REMEMBERED: u32 = 6;

fn kills() -> u32 {
    std::env::var("FERROMQTT_KILLS").map_or(10, |it| it.parse().unwrap())
}

/// Not a test: what the others run and kill.
#[tokio::test]
async fn worker_that_dies() {
    if let Ok(orders) = std::env::var(ROLE) {
        worker::play(&orders).await;
    }
}

fn start(orders: &str) -> Child {
    Command::new(std::env::current_exe().unwrap())
        .args(["worker_that_dies", "--exact", "--nocapture"])
        .env(ROLE, orders)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap()
}

/// A broker, and what tests publish and hear past the programs.
struct World {
    port: u16,
    folder: PathBuf,
    broker: Option<Mosquitto>,
    runtime: Runtime,
    next: u32,
}

impl World {
    fn new(name: &str) -> Self {
        let name = format!("ferromqtt-outbox-dies-{}-{name}", std::process::id());
        let mut world = Self {
            port: free_port(),
            folder: std::env::temp_dir().join(name),
            broker: None,
            runtime: Runtime::new().unwrap(),
            next: 0,
        };
        world.restart_broker();
        world
    }

    /// It forgets all sessions.
    fn restart_broker(&mut self) {
        self.broker = None;
        let listener = format!("listener {} 127.0.0.1\nmax_queued_messages 0\n", self.port);
        self.broker = Some(Mosquitto::start(self.folder.join("mosquitto"), &listener));
    }

    fn outbox(&self) -> PathBuf {
        self.folder.join("outbox")
    }

    /// Publishes so many numbers. Returns their names.
    fn publish(&mut self, count: u32, qos: QoS) -> Vec<String> {
        let numbers = self.next..self.next + count;
        self.next += count;
        let names: Vec<_> = numbers.map(|it| format!("{}:{it}", qos.value())).collect();
        let all = names.clone();
        let options = Options::new("127.0.0.1", self.port);
        let publishing = ferromqtt::scope(options, async |client| {
            for name in all {
                client.publish("numbers/all", name).qos(qos).await?;
            }
            Ok(())
        });
        self.runtime.block_on(publishing).unwrap();
        names
    }

    /// The server forgets a session: a client begins a new one, which ends with it.
    fn forget(&self, identifier: &str) {
        let options = Options::new("127.0.0.1", self.port)
            .client_identifier(identifier)
            .clean_start(CleanStart::Always);
        let begun = ferromqtt::scope(options, async |_| Ok(()));
        self.runtime.block_on(begun).unwrap();
    }
}

impl Drop for World {
    fn drop(&mut self) {
        self.broker = None;
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

/// A message that a life has taken.
struct Taken {
    life: u32,
    name: String,
    dup: bool,
}

/// A subscriber, and everything that its lives have said.
struct Listener {
    ack: &'static str,
    store: &'static str,
    lives: u32,
    taken: Vec<Taken>,
    /// The lives in which the log has said that a message may have come twice.
    reports: HashSet<u32>,
    /// The QoS 2 messages that were answered in the server's session.
    answered: HashSet<String>,
    problems: Vec<String>,
}

impl Listener {
    fn new(ack: &'static str, store: &'static str) -> Self {
        Self {
            ack,
            store,
            lives: 0,
            taken: Vec::new(),
            reports: HashSet::new(),
            answered: HashSet::new(),
            problems: Vec::new(),
        }
    }

    /// Lives once: to the moment, or until `enough` says so, which is asked at the beginning and after each message.
    fn live(
        &mut self,
        world: &mut World,
        moment: Option<Moment>,
        mut enough: impl FnMut(&mut World, Option<&str>) -> bool,
    ) -> Seen {
        self.lives += 1;
        let proxy = Proxy::start(world.port);
        let folder = world.outbox();
        let path = folder.display();
        let orders = format!("listen {} {path} {} {}", proxy.port, self.ack, self.store);
        let mut process = start(&orders);
        proxy.aim(process.id(), &folder, moment);
        process.stdin.take().unwrap().write_all(b"\n").unwrap();
        let from = self.taken.len();
        for line in BufReader::new(process.stdout.take().unwrap()).lines() {
            let Ok(line) = line else { break };
            let Some((_, line)) = line.split_once('!') else {
                continue; // of the test harness
            };
            let mut taken = None;
            match line.split_once(' ') {
                None if line == "reported" => _ = self.reports.insert(self.lives),
                None => {}
                Some((name, dup)) => {
                    let (name, dup) = (name.to_owned(), dup == "1");
                    taken = Some(name.clone());
                    let life = self.lives;
                    self.taken.push(Taken { life, name, dup });
                }
            }
            if line != "reported" && enough(world, taken.as_deref()) {
                process.kill().unwrap();
            }
        }
        process.kill().unwrap();
        let status = process.wait().unwrap();
        assert!(status.code().is_none(), "it ended by itself: {status}");
        let seen = proxy.finish();
        self.check(from, &seen);
        self.answered.extend(seen.answered.iter().cloned());
        seen
    }

    /// Notes what is wrong with what was taken from the one numbered `from` on, by the present life.
    fn check(&mut self, from: usize, seen: &Seen) {
        let (before, now) = self.taken.split_at(from);
        let before: HashSet<_> = before.iter().map(|it| &it.name).collect();
        let mut of_life = HashSet::new();
        for it in now.iter().filter(|it| it.name.starts_with('2')) {
            let is_reported = it.dup || self.reports.contains(&it.life);
            let is_first = of_life.insert(&it.name);
            if !is_first || before.contains(&it.name) && !is_reported {
                let problem = format!("{} comes again, and nothing says so", it.name);
                self.problems.push(problem);
            }
            if self.answered.contains(&it.name) {
                let problem = format!("{} comes again, and was answered before", it.name);
                self.problems.push(problem);
            }
        }
        // Of the client: mosquitto 2.0 at times sends a message before an older one.
        for qos in ["1:", "2:"] {
            let mut left = seen.carried.iter();
            for it in now.iter().filter(|it| it.name.starts_with(qos)) {
                if !left.any(|name| *name == it.name) {
                    self.problems.push(format!("{} is out of order", it.name));
                }
            }
        }
    }

    fn assert_has_all<'a>(&self, names: impl IntoIterator<Item = &'a String>) {
        assert!(self.problems.is_empty(), "{:#?}", self.problems);
        let taken: HashSet<_> = self.taken.iter().map(|it| &it.name).collect();
        let lost: Vec<_> = names.into_iter().filter(|it| !taken.contains(it)).collect();
        assert!(lost.is_empty(), "lost: {lost:?}");
    }
}

/// Draws numbers from a seed.
struct Chance(u64);

impl Chance {
    fn below(&mut self, end: u64) -> usize {
        let next = self.0.wrapping_mul(6_364_136_223_846_793_005);
        self.0 = next.wrapping_add(1_442_695_040_888_963_407);
        usize::try_from((self.0 >> 33) % end).unwrap()
    }
}

/// Where the handshakes of received messages are: PUBLISH, PUBACK, PUBREC, PUBREL and PUBCOMP.
const RECEIVING: [(Direction, u8); 5] = [
    (Direction::Down, 3),
    (Direction::Up, 4),
    (Direction::Up, PUBREC),
    (Direction::Down, PUBREL),
    (Direction::Up, 7),
];

fn moment(chance: &mut Chance) -> Moment {
    let (direction, packet_type) = RECEIVING[chance.below(5)];
    let count = 1 + u32::try_from(chance.below(6)).unwrap();
    let way = WAYS[chance.below(4)];
    Moment {
        direction,
        packet_type,
        count,
        way,
    }
}

/// Kills a subscriber again and again.
fn kill_subscriber(ack: &'static str) {
    let mut world = World::new(ack);
    let mut listener = Listener::new(ack, "outbox");
    let mut chance = Chance(1);
    let mut names = Vec::new();
    let mut acknowledged = HashSet::new();
    for life in 0..=kills() {
        let dies = life < kills();
        let moment = (dies && chance.below(5) > 0).then(|| moment(&mut chance));
        let most = match moment {
            None if dies => 1 + chance.below(20),
            _ => usize::MAX,
        };
        let (mut taken, mut last) = (0, HashSet::new());
        let seen = listener.live(&mut world, moment, |world, name| {
            let Some(name) = name else {
                for qos in [QoS::AtLeastOnce, QoS::ExactlyOnce] {
                    let published = world.publish(EACH_LIFE / 2, qos);
                    last.extend(published.last().cloned());
                    names.extend(published);
                }
                return false;
            };
            taken += 1;
            last.remove(name);
            taken >= most || last.is_empty()
        });
        acknowledged.extend(seen.acknowledged);
    }
    println!(
        "{ack}: {} taken in {} lives",
        listener.taken.len(),
        listener.lives
    );
    // What the client acknowledges is the program's from then on, also if that dies.
    let is_its_own = |it: &&String| {
        ack == "auto" && (listener.answered.contains(*it) || acknowledged.contains(*it))
    };
    listener.assert_has_all(names.iter().filter(|it| !is_its_own(it)));
}

#[test]
fn a_killed_subscriber_takes_qos_2_once_unless_it_is_reported() {
    kill_subscriber("auto");
}

#[test]
fn a_killed_subscriber_loses_nothing_that_it_acknowledges_itself() {
    kill_subscriber("manual");
}

/// What shows that the tests above would find it.
#[test]
fn without_the_record_messages_are_taken_again() {
    let mut world = World::new("none");
    let mut listener = Listener::new("auto", "none");
    publish_and_die(&mut listener, &mut world, 1);
    listener.live(&mut world, None, |_, name| name.is_some());
    assert_eq!(
        listener.problems,
        ["2:0 comes again, and was answered before"]
    );
}

/// Publishes to the program, which dies when it has answered so many messages, the last of them in vain.
fn publish_and_die(listener: &mut Listener, world: &mut World, count: u32) {
    let death = Moment {
        direction: Direction::Up,
        packet_type: PUBREC,
        count,
        way: Way::Before,
    };
    listener.live(world, Some(death), |world, name| {
        if name.is_none() {
            world.publish(EACH_LIFE, QoS::ExactlyOnce);
        }
        false
    });
}

const fn at_connack(way: Way) -> Option<Moment> {
    Some(Moment {
        direction: Direction::Down,
        packet_type: CONNACK,
        count: 1,
        way,
    })
}

/// MQTT-3.3.1-1: without DUP it is a new message, though its identifier is remembered.
#[test]
fn a_subscriber_that_dies_of_a_lost_session_takes_every_message_of_the_next_one() {
    let mut world = World::new("session");
    let mut listener = Listener::new("auto", "outbox");
    let mut names = Vec::new();
    for way in WAYS.into_iter().cycle().take(kills() as usize) {
        world.restart_broker();
        listener.answered.clear();
        publish_and_die(&mut listener, &mut world, REMEMBERED);
        world.restart_broker();
        listener.answered.clear();
        let lost = listener.live(&mut world, at_connack(way), |_, _| false);
        assert_eq!(lost.resumed, Some(false));
        let mut last = None;
        let next = listener.live(&mut world, None, |world, name| {
            if name.is_none() {
                names.extend(world.publish(EACH_LIFE, QoS::ExactlyOnce));
                last = world.publish(1, QoS::AtLeastOnce).pop();
            }
            name.is_some() && name == last.as_deref()
        });
        assert_eq!(next.resumed, Some(true));
        // Behind "after" the end of the session may be on record.
        assert!(way == Way::After || listener.reports.contains(&listener.lives));
    }
    listener.assert_has_all(&names);
    let times = |name: &String| listener.taken.iter().filter(|it| it.name == *name).count();
    assert!(names.iter().all(|name| times(name) == 1), "one came twice");
}

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
