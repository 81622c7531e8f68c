//! Exactly-once handlers of a program that is killed again and again: a program of its own, since it runs itself.
//!
//! `FERROMQTT_KILLS=50 FERROMQTT_ORDERS=1000` is the long version.
#![allow(clippy::print_stdout, reason = "figures for those who ask for them")]

use std::env;
use std::io::{Read, Write, stdout};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio, abort};
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};

use ferromqtt::{
    Acknowledge, CleanStart, ExactlyOnce, Message, OnceStore, Options, QoS, QueueOptions,
};
use ferromqtt_testing::TestBroker;
use rusqlite::{Connection, Transaction, TransactionBehavior, params};

/// The variable that makes a run of this program the one that is killed.
const ROLE: &str = "FERROMQTT_ONCE_WORKER";
const BY_HAND: QueueOptions = QueueOptions {
    acknowledge: Acknowledge::ByApplication,
    ..QueueOptions::UNBOUNDED
};

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

/// What the handlers of a worker are.
#[derive(Clone, Copy, Debug)]
struct Handling {
    qos: QoS,
    batch: usize,
    remembers: bool,
}

// The program that is killed

/// Where the worker dies by itself, and after how many of these: `k` a key, `h` a handler, `b` before a commit, `c` after one.
static DIES_AT: AtomicI64 = AtomicI64::new(0);
static DIES_AFTER: AtomicI64 = AtomicI64::new(i64::MAX);
static REMEMBERS: AtomicBool = AtomicBool::new(true);

/// Writes a byte for what has happened, and dies of it if it is time.
fn happened(kind: u8) {
    stdout().write_all(&[b'!', kind]).unwrap();
    stdout().flush().unwrap();
    if i64::from(kind) == DIES_AT.load(Ordering::Relaxed)
        && DIES_AFTER.fetch_sub(1, Ordering::Relaxed) <= 1
    {
        abort();
    }
}

struct Sqlite(Connection);

impl OnceStore for Sqlite {
    type Transaction<'s> = Transaction<'s>;
    type Error = rusqlite::Error;

    async fn begin(&mut self) -> rusqlite::Result<Self::Transaction<'_>> {
        self.0
            .transaction_with_behavior(TransactionBehavior::Immediate)
    }

    async fn remember(
        transaction: &mut Self::Transaction<'_>,
        handler: &str,
        key: &str,
        now: i64,
    ) -> rusqlite::Result<bool> {
        if !REMEMBERS.load(Ordering::Relaxed) {
            return Ok(true); // the mistake that the test has to find
        }
        let insert = "INSERT INTO handled VALUES (?, ?, ?) ON CONFLICT DO NOTHING";
        Ok(transaction.execute(insert, params![handler, key, now])? == 1)
    }

    async fn forget(
        transaction: &mut Self::Transaction<'_>,
        handler: &str,
        before: i64,
        most: i64,
    ) -> rusqlite::Result<()> {
        let delete = "DELETE FROM handled WHERE rowid IN \
            (SELECT rowid FROM handled WHERE handler = ? AND handled_at < ? LIMIT ?)";
        transaction.execute(delete, params![handler, before, most])?;
        Ok(())
    }

    async fn commit(transaction: Self::Transaction<'_>) -> rusqlite::Result<()> {
        happened(b'b');
        transaction.commit()?;
        happened(b'c');
        Ok(())
    }
}

fn connect(path: &Path) -> Connection {
    let db = Connection::open(path).unwrap();
    db.pragma_update(None, "synchronous", "OFF").unwrap(); // what is written survives the program, if not the machine
    db
}

fn options(port: u16) -> Options {
    Options::new("127.0.0.1", port)
        .client_identifier("worker")
        .clean_start(CleanStart::Never)
}

fn qos_of(number: &str) -> QoS {
    match number {
        "1" => QoS::AtLeastOnce,
        _ => QoS::ExactlyOnce,
    }
}

/// Not a test: what [`play`] runs and kills.
#[test]
fn worker() {
    let Ok(role) = env::var(ROLE) else {
        return;
    };
    let given: Vec<_> = role.split(' ').collect();
    let [port, path, qos, batch, kind, count, remembers] = given[..] else {
        panic!("{given:?}");
    };
    DIES_AT.store(kind.bytes().next().unwrap().into(), Ordering::Relaxed);
    DIES_AFTER.store(count.parse().unwrap(), Ordering::Relaxed);
    REMEMBERS.store(remembers == "true", Ordering::Relaxed);
    let mut store = Sqlite(connect(Path::new(path)));
    let key = |message: &Message| {
        happened(if message.dup { b'd' } else { b'k' });
        String::from_utf8(message.payload.to_vec()).unwrap()
    };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let program = ferromqtt::scope(options(port.parse().unwrap()), async |client| {
        let orders = client.subscribe("orders").qos(qos_of(qos));
        let mut orders = orders.queue(BY_HAND).await?;
        let mut once = ExactlyOnce::new("orders").batch(batch.parse().unwrap());
        let handle = async |message: &Message, transaction: &mut Transaction<'_>| {
            let order = String::from_utf8(message.payload.to_vec()).unwrap();
            let inserted = transaction.execute("INSERT INTO orders VALUES (?)", [order]);
            happened(b'h');
            inserted.map(drop)
        };
        once.run(&client, &mut orders, &mut store, key, handle)
            .await
            .unwrap();
        Ok(())
    });
    runtime.block_on(program).unwrap();
}

// The test

/// What the database holds in the end, and what it took.
struct Outcome {
    handled: Vec<usize>,
    kills: usize,
    redeliveries: usize,
}

impl Outcome {
    /// How many orders were handled more than once.
    fn repeated(&self) -> usize {
        let mut numbers = self.handled.clone();
        numbers.sort_unstable();
        numbers.dedup();
        self.handled.len() - numbers.len()
    }
}

fn rows(path: &Path) -> Vec<usize> {
    let db = connect(path);
    let mut select = db.prepare("SELECT number FROM orders").unwrap();
    let rows = select.query_map([], |row| row.get::<_, u32>(0)).unwrap();
    rows.map(|number| number.unwrap() as usize).collect()
}

fn left(path: &Path, published: usize) -> usize {
    let mut numbers = rows(path);
    numbers.sort_unstable();
    numbers.dedup();
    published - numbers.len()
}

/// Runs a worker until it dies, is killed after so many events, or has nothing left. Returns what happened.
fn run(
    port: u16,
    path: &Path,
    handling: Handling,
    end: (char, u64),
    reads: usize,
    published: usize,
) -> Vec<u8> {
    let Handling {
        qos,
        batch,
        remembers,
    } = handling;
    let (kind, count) = end;
    let qos = qos.value();
    let path_text = path.to_str().unwrap();
    let role = format!("{port} {path_text} {qos} {batch} {kind} {count} {remembers}");
    let mut child = Command::new(env::current_exe().unwrap())
        .args(["worker", "--exact", "--nocapture"])
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
            if byte[0] == b'c' && left(path, published) == 0 {
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

/// A folder for the database of a test, without those of former runs.
fn file(name: &str) -> PathBuf {
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("{name}.db"));
    for ending in ["", "-journal"] {
        let _ = std::fs::remove_file(format!("{}{ending}", path.display()));
    }
    path
}

/// Kills the worker at random until it was killed often enough, and all is handled.
fn play(handling: Handling, name: &str) -> Outcome {
    let (kills, orders) = (
        number("FERROMQTT_KILLS", 10),
        number("FERROMQTT_ORDERS", 60),
    );
    let path = file(name);
    let tables = "CREATE TABLE orders (number INTEGER);
        CREATE TABLE handled (handler TEXT NOT NULL, message_key TEXT NOT NULL, handled_at INTEGER NOT NULL,
            PRIMARY KEY (handler, message_key));";
    connect(&path).execute_batch(tables).unwrap();
    let runtime = tokio::runtime::Runtime::new().unwrap(); // whose threads run the broker while a worker is waited for
    let broker = runtime.block_on(TestBroker::start()).unwrap();
    let port = broker.port();
    let publish = |numbers: std::ops::Range<usize>| {
        let options = Options::new("127.0.0.1", port);
        let program = ferromqtt::scope(options, async |client| {
            for number in numbers {
                let order = client.publish("orders", number.to_string());
                order.qos(handling.qos).await?;
            }
            Ok(())
        });
        runtime.block_on(program).unwrap();
    };
    // The session has its subscription before anything is published.
    let subscribing = ferromqtt::scope(options(port), async |client| {
        let orders = client.subscribe("orders").qos(handling.qos);
        orders.queue(BY_HAND).await?.detach();
        Ok(())
    });
    runtime.block_on(subscribing).unwrap();
    let mut chance = Chance(handling.batch as u64 + u64::from(handling.qos.value()));
    let mut outcome = Outcome {
        handled: Vec::new(),
        kills: 0,
        redeliveries: 0,
    };
    let mut published = 0;
    loop {
        outcome.handled = rows(&path);
        let has_met = match handling.remembers {
            true => outcome.redeliveries >= kills,
            false => outcome.repeated() > 0,
        };
        let is_enough = outcome.kills >= kills && (has_met || outcome.kills >= 10 * kills);
        if is_enough && left(&path, published) == 0 {
            break;
        }
        if left(&path, published) == 0 {
            let more = if published == 0 { orders } else { 10 };
            publish(published..published + more);
            published += more;
        }
        let kind = ['k', 'h', 'b', 'c', '-'][chance.below(5) as usize];
        let most = match kind {
            'b' | 'c' => (20 / handling.batch as u64).max(1),
            _ => handling.batch.min(30) as u64 + 10,
        };
        let count = 1 + chance.below(most);
        let (end, reads) = match kind {
            _ if is_enough => (('-', 1), usize::MAX),
            '-' => (('-', 1), 1 + chance.below(3 * most) as usize),
            _ => ((kind, count), usize::MAX),
        };
        let events = run(port, &path, handling, end, reads, published);
        outcome.redeliveries += events.iter().filter(|event| **event == b'd').count();
        outcome.kills += 1;
    }
    runtime.block_on(broker.stop());
    let mut numbers = outcome.handled.clone();
    numbers.sort_unstable();
    numbers.dedup();
    assert!(numbers.into_iter().eq(0..published), "messages are lost");
    outcome
}

const HANDLINGS: [(QoS, usize); 4] = [
    (QoS::AtLeastOnce, 1),
    (QoS::AtLeastOnce, 100),
    (QoS::ExactlyOnce, 1),
    (QoS::ExactlyOnce, 100),
];

#[test]
fn each_message_is_handled_once_by_a_program_that_is_killed() {
    for (qos, batch) in HANDLINGS {
        let remembers = true;
        let handling = Handling {
            qos,
            batch,
            remembers,
        };
        let outcome = play(handling, &format!("once-{}-{batch}", qos.value()));
        println!(
            "{handling:?}: {} messages, {} kills, {} redeliveries",
            outcome.handled.len(),
            outcome.kills,
            outcome.redeliveries
        );
        assert_eq!(outcome.repeated(), 0, "{handling:?}");
        assert!(outcome.redeliveries > 0, "{handling:?}");
    }
}

/// What shows that the test above would find it.
#[test]
fn without_the_row_that_remembers_messages_are_handled_twice() {
    for (qos, batch) in HANDLINGS {
        let remembers = false;
        let handling = Handling {
            qos,
            batch,
            remembers,
        };
        let outcome = play(handling, &format!("twice-{}-{batch}", qos.value()));
        assert!(outcome.repeated() > 0, "{handling:?}");
    }
}
