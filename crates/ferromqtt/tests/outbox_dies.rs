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
#[path = "outbox_dies/publisher.rs"]
mod publisher;
#[path = "outbox_dies/subscriber.rs"]
mod subscriber;
#[path = "outbox_dies/worker.rs"]
mod worker;

use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use ferromqtt::{CleanStart, Options, QoS};
use tokio::runtime::Runtime;

use mosquitto_process::{Mosquitto, free_port};
use proxy::{CONNACK, Direction, Moment, Way};

/// The variable that makes a run of this program the one that dies.
const ROLE: &str = "FERROMQTT_OUTBOX_WORKER";

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

/// Draws numbers from a seed.
struct Chance(u64);

impl Chance {
    fn below(&mut self, end: u64) -> usize {
        let next = self.0.wrapping_mul(6_364_136_223_846_793_005);
        self.0 = next.wrapping_add(1_442_695_040_888_963_407);
        usize::try_from((self.0 >> 33) % end).unwrap()
    }
}

const fn at_connack(way: Way) -> Option<Moment> {
    Some(Moment {
        direction: Direction::Down,
        packet_type: CONNACK,
        count: 1,
        way,
    })
}
