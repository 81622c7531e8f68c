//! Exactly-once handlers of a program that is killed again and again, on mosquitto.
//!
//! `FERROMQTT_KILLS=50 FERROMQTT_ORDERS=1000` is the long version.

use std::env;
use std::fmt;
use std::io::Read;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use ferromqtt::{Options, QoS};
use tokio::runtime::Runtime;

use crate::mosquitto_process::{Mosquitto, free_port};
use crate::store::{connect, new_file, orders};
use crate::worker::{BY_HAND, ROLE, options};

fn number(name: &str, otherwise: usize) -> usize {
    let value = env::var(name).ok();
    value.map_or(otherwise, |value| value.parse().unwrap())
}

/// Draws numbers from a seed.
struct Chance(u64);

impl Chance {
    fn below(&mut self, end: u64) -> u64 {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        (self.0 >> 33) % end
    }
}

/// What tells messages from others.
#[derive(Clone, Copy, Debug)]
enum KnownBy {
    Key,
    Identifier,
}

/// What the handlers of a worker are.
#[derive(Clone, Copy)]
struct Handling {
    qos: QoS,
    batch: u64,
    known_by: KnownBy,
}

impl fmt::Display for Handling {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            qos,
            batch,
            known_by,
        } = self;
        write!(f, "{}-{known_by:?}-{batch}", qos.value())
    }
}

const fn handling(qos: QoS, known_by: KnownBy, batch: u64) -> Handling {
    Handling {
        qos,
        batch,
        known_by,
    }
}

const HANDLINGS: [Handling; 6] = [
    handling(QoS::AtLeastOnce, KnownBy::Key, 1),
    handling(QoS::AtLeastOnce, KnownBy::Key, 100),
    handling(QoS::ExactlyOnce, KnownBy::Key, 1),
    handling(QoS::ExactlyOnce, KnownBy::Key, 100),
    handling(QoS::ExactlyOnce, KnownBy::Identifier, 1),
    handling(QoS::ExactlyOnce, KnownBy::Identifier, 100),
];

/// What ends one run of the program.
#[derive(Clone, Copy)]
struct Death {
    /// After which thing that happens it aborts; `-` if it does not.
    kind: char,
    /// After how many of them.
    count: u64,
    /// After how many things the test kills it.
    reads: usize,
}

const NEVER: Death = Death {
    kind: '-',
    count: 1,
    reads: usize::MAX,
};

/// Draws an end: at once, within a batch, around a commit, or whenever the signal comes.
fn death(chance: &mut Chance, batch: u64) -> Death {
    let kind = ['k', 'h', 'b', 'c', 'c', '-'][chance.below(6) as usize];
    let most = match kind {
        'b' | 'c' => (30 / batch).max(1),
        '-' => 3 * batch + 40,
        _ => batch + 20,
    };
    let drawn = 1 + chance.below(most);
    match kind {
        '-' => Death {
            reads: drawn as usize,
            ..NEVER
        },
        kind => Death {
            kind,
            count: drawn,
            ..NEVER
        },
    }
}

/// A server, and the database of the program.
struct World {
    port: u16,
    path: PathBuf,
    handling: Handling,
    remembers: bool,
    runtime: Runtime,
    published: usize,
    _mosquitto: Mosquitto,
}

impl World {
    /// The program's session has its subscription before anything is published.
    fn new(handling: Handling, remembers: bool) -> Self {
        let port = free_port();
        let name = format!("once-{handling}-{remembers}");
        let folder = env::temp_dir().join(format!("ferromqtt-{name}-{port}"));
        let listener = format!(
            "listener {port} 127.0.0.1\nmax_inflight_messages 100\nmax_queued_messages 100000\n"
        );
        let world = Self {
            port,
            path: new_file(&name),
            handling,
            remembers,
            runtime: Runtime::new().unwrap(),
            published: 0,
            _mosquitto: Mosquitto::start(folder, &listener),
        };
        let subscribing = ferromqtt::scope(options(port), async |client| {
            let orders = client.subscribe("orders").qos(handling.qos);
            orders.queue(BY_HAND).await?.detach();
            Ok(())
        });
        world.runtime.block_on(subscribing).unwrap();
        world
    }

    fn publish(&mut self, count: usize) {
        let numbers: Range<usize> = self.published..self.published + count;
        self.published = numbers.end;
        let program = ferromqtt::scope(Options::new("127.0.0.1", self.port), async |client| {
            for number in numbers {
                let order = client.publish("orders", number.to_string());
                order.qos(self.handling.qos).await?;
            }
            Ok(())
        });
        self.runtime.block_on(program).unwrap();
    }

    /// The numbers of the orders that are handled, as often as they are.
    fn handled(&self) -> Vec<usize> {
        let orders = orders(&connect(&self.path));
        orders.iter().map(|order| order.parse().unwrap()).collect()
    }

    fn left(&self) -> usize {
        let mut numbers = self.handled();
        numbers.sort_unstable();
        numbers.dedup();
        self.published - numbers.len()
    }

    /// How many orders were handled more than once.
    fn repeated(&self) -> usize {
        self.handled().len() + self.left() - self.published
    }

    /// Runs the program until it dies, is killed, or has nothing left. Returns what happened.
    fn run(&self, death: Death) -> Vec<u8> {
        let Handling {
            qos,
            batch,
            known_by,
        } = self.handling;
        let Death { kind, count, reads } = death;
        let (port, qos) = (self.port, qos.value());
        let path = Path::to_str(&self.path).unwrap();
        let known_by = match known_by {
            KnownBy::Key => "key",
            KnownBy::Identifier => "identifier",
        };
        let remembers = self.remembers;
        let role = format!("{port} {path} {qos} {batch} {kind} {count} {remembers} {known_by}");
        let mut child = Command::new(env::current_exe().unwrap())
            .args(["worker::worker", "--exact", "--nocapture"])
            .env(ROLE, role)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut output = child.stdout.take().unwrap();
        let mut events = Vec::new();
        let mut byte = [0];
        let mut is_event = false;
        while events.len() < reads && output.read(&mut byte).unwrap() == 1 {
            // The test harness writes lines, too.
            if is_event {
                events.push(byte[0]);
                if byte[0] == b'c' && self.left() == 0 {
                    break;
                }
            }
            is_event = byte[0] == b'!' && !is_event;
        }
        child.kill().unwrap();
        let end = child.wait_with_output().unwrap();
        let errors = String::from_utf8_lossy(&end.stderr);
        assert!(!errors.contains("panicked"), "{errors}");
        events
    }

    /// Of these events, those that a message has caused which was sent before.
    fn redeliveries(&self, events: &[u8]) -> usize {
        let is_again = |event: &&u8| match self.handling.known_by {
            KnownBy::Key => **event == b'd',
            KnownBy::Identifier => matches!(**event, b'd' | b'r'),
        };
        events.iter().filter(is_again).count()
    }
}

/// Kills the program at random until it was killed often enough, messages were sent again as often, and all is handled.
fn play(handling: Handling) {
    let kills_wanted = number("FERROMQTT_KILLS", 10);
    let mut world = World::new(handling, true);
    let mut chance = Chance(handling.batch + u64::from(handling.qos.value()));
    let (mut kills, mut redeliveries) = (0, 0);
    world.publish(number("FERROMQTT_ORDERS", 120));
    while kills < kills_wanted || redeliveries < kills_wanted {
        assert!(
            kills < 20 * kills_wanted,
            "{handling}: nothing is sent again"
        );
        if world.left() == 0 {
            world.publish(10); // for a program that has handled all, and was not killed often enough
        }
        let events = world.run(death(&mut chance, handling.batch.min(100)));
        redeliveries += world.redeliveries(&events);
        kills += 1;
    }
    if world.left() > 0 {
        world.run(NEVER);
    }
    let messages = world.published;
    println!("{handling}: {messages} messages, {kills} kills, {redeliveries} redeliveries");
    assert_eq!(world.left(), 0, "{handling}: messages are lost");
    assert_eq!(
        world.repeated(),
        0,
        "{handling}: messages are handled twice"
    );
}

#[test]
fn each_message_is_handled_once_by_a_program_that_is_killed() {
    HANDLINGS.into_iter().for_each(play);
}

/// What shows that the test above would find it: killed right behind a commit, before an acknowledgement leaves.
#[test]
fn without_the_row_that_remembers_messages_are_handled_twice() {
    let behind_the_first_commit = Death { kind: 'c', ..NEVER };
    for handling in HANDLINGS {
        for remembers in [true, false] {
            let mut world = World::new(handling, remembers);
            world.publish(10);
            let events = world.run(behind_the_first_commit);
            assert_eq!(events.last(), Some(&b'c'), "{handling}");
            let committed = world.handled().len();
            assert!(committed > 0, "{handling}");
            // A message behind those that come again shows that they have come.
            world.publish(1);
            world.run(NEVER);
            assert_eq!(world.left(), 0, "{handling}");
            let twice = if remembers { 0 } else { committed };
            assert_eq!(
                world.repeated(),
                twice,
                "{handling}, remembers: {remembers}"
            );
        }
    }
}
