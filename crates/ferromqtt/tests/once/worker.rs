//! The program that is killed: this one, run again by `kill`.

use std::env;
use std::io::{Write, stdout};
use std::path::Path;
use std::process::abort;
use std::sync::atomic::{AtomicI64, Ordering};

use ferromqtt::{
    Acknowledge, CleanStart, Connection, DeclaredSubscription, ExactlyOnce, Message, Options, QoS,
    QueueOptions,
};
use rusqlite::Transaction;

use crate::store::{Sqlite, WATCHED, Watched, connect};
use crate::world::{Unknown, dish, insert};

/// The variable that makes a run of this program the one that is killed.
pub(crate) const ROLE: &str = "FERROMQTT_ONCE_WORKER";
pub(crate) const BY_HAND: QueueOptions = QueueOptions {
    acknowledge: Acknowledge::ByApplication,
    ..QueueOptions::UNBOUNDED
};

/// Where the worker dies by itself, and after how many of these: `k` a message, `d` one that was sent before (without a key: that
/// is handled), `r` a row that is there already, `h` a handler, `b` before a commit, `c` behind one with a handler's work, `e` behind
/// another.
static DIES_AT: AtomicI64 = AtomicI64::new(0);
static DIES_AFTER: AtomicI64 = AtomicI64::new(i64::MAX);
/// Handlers since the last commit.
static HANDLERS: AtomicI64 = AtomicI64::new(0);

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

fn behind_commit() {
    let handlers = HANDLERS.swap(0, Ordering::Relaxed);
    happened(if handlers > 0 { b'c' } else { b'e' });
}

pub(crate) fn options(port: u16) -> Options {
    Options::new("127.0.0.1", port)
        .client_identifier("worker")
        .clean_start(CleanStart::Never)
}

pub(crate) fn qos_of(number: &str) -> QoS {
    match number {
        "1" => QoS::AtLeastOnce,
        _ => QoS::ExactlyOnce,
    }
}

fn comes(message: &Message) {
    happened(if message.dup { b'd' } else { b'k' });
}

/// Not a test: what `kill` runs and kills.
#[test]
fn worker() {
    let Ok(role) = env::var(ROLE) else {
        return;
    };
    let given: Vec<_> = role.split(' ').collect();
    let [port, path, qos, batch, kind, count, remembers, known_by] = given[..] else {
        panic!("{given:?}");
    };
    DIES_AT.store(kind.bytes().next().unwrap().into(), Ordering::Relaxed);
    DIES_AFTER.store(count.parse().unwrap(), Ordering::Relaxed);
    let watched = Watched {
        remembers: remembers == "true",
        found_row: || happened(b'r'),
        before_commit: || happened(b'b'),
        behind_commit,
    };
    assert!(WATCHED.set(watched).is_ok());
    let once = ExactlyOnce::new("orders").batch(batch.parse().unwrap());
    let store = Sqlite(connect(Path::new(path)));
    let options = options(port.parse().unwrap());
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    match known_by {
        "key" => runtime.block_on(run_by_key(options, qos_of(qos), once, store)),
        _ => runtime.block_on(run_by_identifier(options, once, store)),
    }
}

async fn run_by_key(options: Options, qos: QoS, mut once: ExactlyOnce, mut store: Sqlite) {
    let program = ferromqtt::scope(options, async |client| {
        let mut orders = client.subscribe("orders").qos(qos).queue(BY_HAND).await?;
        let key = |message: &Message| {
            comes(message);
            Ok(dish(message))
        };
        let handled = once.run(&mut orders, &mut store, key, order);
        handled.await.unwrap();
        Ok(())
    });
    program.await.unwrap();
}

async fn run_by_identifier(options: Options, mut once: ExactlyOnce, mut store: Sqlite) {
    let orders = DeclaredSubscription::new("orders").exactly_once();
    let connection = Connection::start(options.subscription(orders))
        .await
        .unwrap();
    let client = connection.client();
    let handle = async |message: &Message, transaction: &mut Transaction<'_>| {
        comes(message);
        order(message, transaction).await
    };
    let handled = once.run_by_identifier(&client, "orders", &mut store, handle);
    handled.await.unwrap();
}

async fn order(message: &Message, transaction: &mut Transaction<'_>) -> Result<(), Unknown> {
    insert(message, transaction)?;
    HANDLERS.fetch_add(1, Ordering::Relaxed);
    happened(b'h');
    Ok(())
}
