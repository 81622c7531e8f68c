//! A subscriber with an outbox dies: QoS 2 comes once unless it is reported, and no message is lost.

use std::collections::HashSet;
use std::io::{BufRead, BufReader, Write};

use ferromqtt::QoS;

use crate::proxy::{Direction, Moment, PUBREC, PUBREL, Proxy, Seen, WAYS, Way};
use crate::{Chance, World, at_connack, kills, start};

const EACH_LIFE: u32 = 12;
/// The Packet Identifier that is on record when the server loses a session: it counts from 1.
const REMEMBERED: u32 = 6;

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
        proxy.call_off();
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
