//! Random worlds of a program with an outbox, by seed: its connections are cut, the server forgets its session, and it is left or dies
//! at any moment and begins again with the same folder. A program that dies leaves its folder as it is on the disk at that moment, to
//! the next one. Time is real, since a disk does not wait for another.
//!
//! - A message of QoS 1 or 2 that was said to be stored comes, or is kept apart.
//! - One of QoS 2 comes once, unless it is kept apart.
//! - Each message that is on record ends once, over all lives, or is still there.
//! - Nothing is left: no task, no descriptor, no lock.
//!
//! `FERROMQTT_FIRST_SEED=1000 FERROMQTT_SEEDS=5000 cargo test -p ferromqtt --all-features --test outbox_worlds` plays others.
#![cfg(all(feature = "outbox", feature = "testing", target_os = "linux"))]

use std::collections::{BTreeMap, HashSet};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use ferromqtt::testing::TestBroker;
use ferromqtt::{
    Connection, Messages, Options, Outbox, OutgoingLimits, PublishError, QoS, Receipt, Reconnect,
    Server,
};
use ferromqtt_store::{StoreReader, StoreStats};
use tokio::io::{DuplexStream, copy_bidirectional, duplex};
use tokio::runtime::Handle;
use tokio::sync::watch;
use tokio::time::{sleep, timeout};

const TOPIC: &str = "world";
const AT_LONGEST: Duration = Duration::from_secs(20);

/// Draws what happens.
struct Chance(u64);

impl Chance {
    fn of_seed(seed: u64) -> Self {
        let mut chance = Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1);
        (0..8).for_each(|_| _ = chance.below(2));
        chance
    }

    fn below(&mut self, limit: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 16) % limit
    }

    fn is(&mut self, percent: u64) -> bool {
        self.below(100) < percent
    }
}

/// What a program that died leaves to the next one: rightly, or wrongly in one way, to see that the checks find it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Disk {
    Right,
    /// Nothing.
    Empty,
    /// What was there when that program began.
    Old,
}

/// A message that was accepted.
struct Accepted {
    qos: QoS,
    /// It was said to be stored, by a process that could not take it back.
    is_stored: bool,
    /// The server has it, as its receipt said.
    is_published: bool,
    is_kept_apart: bool,
}

struct World {
    broker: Arc<TestBroker>,
    chance: Chance,
    disk: Disk,
    folder: PathBuf,
    lives: u32,
    messages: BTreeMap<u32, Accepted>,
    loses_sessions: bool,
}

/// One process of the program.
struct Life {
    connection: Connection,
    cuts: watch::Sender<u32>,
    is_dead: Arc<AtomicBool>,
    receipts: Vec<(u32, Receipt)>,
}

async fn through_a_cable(
    broker: Arc<TestBroker>,
    mut cut: watch::Receiver<u32>,
    is_dead: Arc<AtomicBool>,
) -> io::Result<DuplexStream> {
    let (ours, mut theirs) = duplex(1024);
    if is_dead.load(Ordering::Relaxed) {
        return Err(io::ErrorKind::ConnectionRefused.into());
    }
    let mut server = broker.connect().map_err(io::Error::other)?;
    tokio::spawn(async move {
        tokio::select! {
            biased;
            _ = cut.changed() => {}
            _ = copy_bidirectional(&mut theirs, &mut server) => {}
        }
    });
    Ok(ours)
}

impl World {
    fn new(seed: u64, disk: Disk) -> Self {
        let mut chance = Chance::of_seed(seed);
        let name = format!(
            "ferromqtt-outbox-world-{}-{seed}-{disk:?}",
            std::process::id()
        );
        Self {
            broker: Arc::new(TestBroker::new()),
            loses_sessions: chance.is(40),
            chance,
            disk,
            folder: std::env::temp_dir().join(name),
            lives: 0,
            messages: BTreeMap::new(),
        }
    }

    fn outbox(&self) -> PathBuf {
        self.folder.join(self.lives.to_string())
    }

    /// Mostly one with few messages in memory: the others are read from the disk when their turn comes.
    fn narrow_outbox(&mut self) -> Outbox {
        let outbox = Outbox::new(self.outbox());
        match self.chance.below(5) {
            0 => outbox,
            messages => outbox.window(OutgoingLimits {
                messages: usize::try_from(messages).ok(),
                bytes: None,
            }),
        }
    }

    async fn begin(&mut self) -> Life {
        let cuts = watch::Sender::new(0);
        let is_dead = Arc::new(AtomicBool::new(false));
        let (broker, cut, dead) = (Arc::clone(&self.broker), cuts.clone(), Arc::clone(&is_dead));
        let transport = move |_: Server| {
            through_a_cable(Arc::clone(&broker), cut.subscribe(), Arc::clone(&dead))
        };
        let soon = Reconnect {
            initial: true,
            initial_delay: Duration::from_millis(1),
            max_delay: Duration::from_millis(3),
            ..Reconnect::default()
        };
        let mut options = Options::new("world", 1883)
            .client_identifier("program")
            .reconnect(soon)
            .transport(transport)
            .outbox(self.narrow_outbox());
        if self.chance.is(50) {
            options = options.max_in_flight(1 + u16::try_from(self.chance.below(4)).unwrap());
        }
        // The lock of the process before is free, or has gone with it.
        let connection = Connection::start(options).await.expect("an open outbox");
        Life {
            connection,
            cuts,
            is_dead,
            receipts: Vec::new(),
        }
    }

    async fn live(&mut self, life: &mut Life) {
        for _ in 0..5 + self.chance.below(40) {
            match self.chance.below(14) {
                0..=7 => self.enqueue(life).await,
                8 => self.wait_until_stored(life).await,
                9 => life.cuts.send_modify(|cuts| *cuts += 1),
                10 if self.loses_sessions => _ = self.broker.forget_session("program"),
                11 if self.chance.is(30) => {
                    self.broker.partition(false);
                    sleep(Duration::from_millis(self.chance.below(8))).await;
                    self.broker.heal();
                }
                _ => sleep(Duration::from_micros(self.chance.below(3_000))).await,
            }
        }
    }

    async fn enqueue(&mut self, life: &mut Life) {
        let qos = [QoS::AtMostOnce, QoS::AtLeastOnce, QoS::ExactlyOnce];
        let qos = qos[usize::try_from(self.chance.below(3)).unwrap()];
        let number = u32::try_from(self.messages.len()).unwrap();
        let client = life.connection.client();
        let publish = client.publish(TOPIC, number.to_string()).qos(qos);
        let receipt = publish.enqueue().await.expect("there is capacity");
        let message = Accepted {
            qos,
            is_stored: false,
            is_published: false,
            is_kept_apart: false,
        };
        self.messages.insert(number, message);
        life.receipts.push((number, receipt));
    }

    async fn wait_until_stored(&mut self, life: &Life) {
        for (number, receipt) in &life.receipts {
            let message = self.messages.get_mut(number).unwrap();
            if !message.is_stored && receipt.stored().await.is_ok() {
                message.is_stored = true;
            }
        }
    }

    /// The program leaves, and hears of each message that is not over what becomes of it.
    async fn leave(&mut self, life: Life) {
        match self.chance.is(50) {
            true => _ = life.connection.drain(AT_LONGEST).await,
            false => _ = life.connection.disconnect().await,
        }
        self.hear(life.receipts).await;
    }

    async fn hear(&mut self, receipts: Vec<(u32, Receipt)>) {
        for (number, receipt) in receipts {
            let message = self.messages.get_mut(&number).unwrap();
            match timeout(AT_LONGEST, receipt).await.expect("an outcome") {
                Ok(_) => message.is_published = true,
                Err(PublishError::Quarantined { .. }) => message.is_kept_apart = true,
                Err(PublishError::Kept { .. }) => message.is_stored = true,
                Err(PublishError::NotOnRecord) => message.is_stored = false,
                Err(error) => panic!("{number} ends with {error:?}"),
            }
        }
    }

    /// The program dies: nothing goes to the server any more, and the disk is as it is now.
    fn die(&mut self, life: Life, before: Option<PathBuf>) {
        life.is_dead.store(true, Ordering::Relaxed);
        life.cuts.send_modify(|cuts| *cuts += 1);
        let left = self.outbox();
        self.lives += 1;
        match (self.disk, before) {
            (Disk::Right, _) => copy(&left, &self.outbox()),
            (Disk::Old, Some(before)) => copy(&before, &self.outbox()),
            (Disk::Empty | Disk::Old, _) => {}
        }
        drop(life);
    }

    async fn play(mut self) -> Vec<String> {
        let options = Options::test(&self.broker);
        let hearing = Connection::open(options).await.unwrap();
        let client = hearing.client();
        let mut heard = (client.subscribe(TOPIC).qos(QoS::ExactlyOnce))
            .queue(ferromqtt::QueueOptions::UNBOUNDED)
            .await
            .unwrap();
        for _ in 0..1 + self.chance.below(4) {
            let before = (self.disk == Disk::Old).then(|| self.folder.join("before"));
            if let Some(before) = &before {
                let _ = fs::remove_dir_all(before);
                copy(&self.outbox(), before);
            }
            let mut life = self.begin().await;
            self.live(&mut life).await;
            match self.chance.is(60) {
                true => self.die(life, before),
                false => self.leave(life).await,
            }
        }
        self.loses_sessions = false;
        let life = self.begin().await;
        let client = life.connection.client();
        let is_sent = async {
            while client
                .outbox_stats()
                .is_none_or(|it| it.messages > it.quarantined || it.behind > 0)
            {
                sleep(Duration::from_millis(1)).await;
            }
        };
        let is_sent = timeout(AT_LONGEST, is_sent).await.is_ok();
        self.leave(life).await;
        let client = hearing.client();
        let end = client.publish(TOPIC, "end").qos(QoS::ExactlyOnce);
        end.await.unwrap();
        let came = until_the_end(&mut heard).await;
        let mut problems = self.problems(&came);
        if !is_sent {
            problems.push("not everything is sent".to_owned());
        }
        hearing.disconnect().await.unwrap();
        if let Ok(broker) = Arc::try_unwrap(self.broker) {
            broker.stop().await;
        }
        problems.extend(what_is_left(&self.folder).await);
        fs::remove_dir_all(&self.folder).unwrap();
        problems
    }

    fn problems(&self, came: &[u32]) -> Vec<String> {
        let (kept, stats) = kept_apart(&self.outbox());
        let mut problems = Vec::new();
        for (number, message) in &self.messages {
            let times = came.iter().filter(|it| *it == number).count();
            let is_kept = message.is_kept_apart || kept.contains(number);
            let must_come = message.is_stored && !is_kept || message.is_published;
            let is_right = match message.qos {
                QoS::AtMostOnce => times <= 1,
                QoS::AtLeastOnce => times > 0 || !must_come,
                QoS::ExactlyOnce => (times > 0 || !must_come) && (times <= 1 || is_kept),
            };
            if !is_right {
                let Accepted {
                    qos,
                    is_stored,
                    is_published,
                    ..
                } = message;
                problems.push(format!(
                    "{number} of {qos:?} came {times} times (stored {is_stored}, acknowledged {is_published}, kept {is_kept})"
                ));
            }
        }
        let counters = stats.counters;
        let ended = counters.finished + counters.dropped + counters.requeued + counters.damaged;
        let ended = ended + counters.refused + counters.expired + counters.replaced;
        if counters.accepted != ended + stats.messages as u64 || stats.messages != kept.len() {
            problems.push(format!("not each has one end: {stats:?}"));
        }
        problems
    }
}

/// Copies what is in a folder at this moment, as a process that dies leaves it.
fn copy(from: &Path, to: &Path) {
    if !from.is_dir() {
        return;
    }
    fs::create_dir_all(to).unwrap();
    let mut names: Vec<_> = (fs::read_dir(from).unwrap())
        .map(|it| it.unwrap().path())
        .filter(|it| it.is_file())
        .collect();
    names.sort(); // the newest file last: of the others all is there then
    for name in names {
        let _ = fs::copy(&name, to.join(name.file_name().unwrap())); // unless its owner has just removed it
    }
}

/// The numbers in quarantine, and figures.
fn kept_apart(folder: &Path) -> (HashSet<u32>, StoreStats) {
    let mut reader = StoreReader::open(folder).unwrap();
    let kept = reader.messages().filter(|it| it.quarantine.is_some());
    let keys: Vec<_> = kept.map(|it| it.key).collect();
    let number = |key| {
        let message = reader.read(key).unwrap().unwrap();
        String::from_utf8_lossy(&message.publish.payload)
            .parse()
            .unwrap()
    };
    (keys.into_iter().map(number).collect(), reader.stats())
}

async fn until_the_end(heard: &mut Messages) -> Vec<u32> {
    let mut came = Vec::new();
    while let Some(message) = heard.next().await {
        match message.text().unwrap() {
            "end" => break,
            number => came.push(number.parse().unwrap()),
        }
    }
    came
}

/// Tasks, and descriptors of files in the folder, that do not go soon.
async fn what_is_left(folder: &Path) -> Option<String> {
    let mut left = (Vec::new(), 0);
    for _ in 0..5_000 {
        let open = fs::read_dir("/proc/self/fd").unwrap();
        let open = open.filter_map(|it| fs::read_link(it.ok()?.path()).ok());
        let open = open.filter(|it| it.starts_with(folder));
        left = (
            open.collect(),
            Handle::current().metrics().num_alive_tasks(),
        );
        if left == (Vec::new(), 0) {
            return None;
        }
        sleep(Duration::from_millis(1)).await;
    }
    Some(format!("descriptors and tasks that are left: {left:?}"))
}

fn number(name: &str, default: u64) -> u64 {
    std::env::var(name).map_or(default, |text| text.parse().expect("a number"))
}

#[tokio::test]
async fn what_is_stored_comes_over_all_lives_of_a_program() {
    let first = number("FERROMQTT_FIRST_SEED", 0);
    for seed in first..first + number("FERROMQTT_SEEDS", 40) {
        let problems = World::new(seed, Disk::Right).play().await;
        assert!(
            problems.is_empty(),
            "seed {seed} (FERROMQTT_FIRST_SEED={seed} FERROMQTT_SEEDS=1):\n{}",
            problems.join("\n")
        );
    }
}

#[tokio::test]
async fn the_checks_find_a_disk_that_forgets() {
    for disk in [Disk::Empty, Disk::Old] {
        let mut found = false;
        for seed in 0..30 {
            found |= !World::new(seed, disk).play().await.is_empty();
            if found {
                break;
            }
        }
        assert!(found, "{disk:?}");
    }
}
