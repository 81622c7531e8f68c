//! What becomes of a message whose handler fails, and of a transaction that another one makes fail.

use std::sync::Mutex;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use ferromqtt::{
    Acknowledge, ExactlyOnce, Message, OnFailure, OnceError, ProtocolVersion, QoS, QueueOptions,
};
use ferromqtt_proto::packet::PacketType;
use ferromqtt_testing::TestBroker;
use rusqlite::{Connection, Transaction};

use crate::store::{Sqlite, TABLES, column, connect, new_file, orders};
use crate::world::*;

const BY_HAND: QueueOptions = QueueOptions {
    acknowledge: Acknowledge::ByApplication,
    ..QueueOptions::UNBOUNDED
};

type Handled = Result<Option<usize>, OnceError<rusqlite::Error, Unknown>>;

/// Lets a handler have these dishes as one batch. Returns how many were acknowledged too.
async fn handle(
    mut once: ExactlyOnce,
    store: &mut Sqlite,
    dishes: &[&str],
    key: impl FnMut(&Message) -> Result<String, Unknown>,
    handle: impl AsyncFnMut(&Message, &mut Transaction<'_>) -> Result<(), Unknown>,
) -> (Handled, usize) {
    let broker = TestBroker::new();
    let mut handled = None;
    let program = ferromqtt::scope(lasting(&broker, ProtocolVersion::V5), async |client| {
        let orders = client.subscribe("orders").qos(QoS::AtLeastOnce);
        let mut orders = orders.queue(BY_HAND).await?;
        publish(&broker, QoS::AtLeastOnce, dishes).await;
        handled = Some(once.handle_next(&mut orders, store, key, handle).await);
        settled().await;
        Ok(())
    });
    program.await.unwrap();
    (handled.unwrap(), count(&broker, PacketType::PubAck))
}

fn memory() -> Sqlite {
    let db = Connection::open_in_memory().unwrap();
    db.execute_batch(TABLES).unwrap();
    Sqlite(db)
}

fn letters(store: &Sqlite) -> Vec<String> {
    let row = "coalesce(message_key, 'none') || ': ' || CAST(payload AS TEXT) || ': ' || error";
    column(&store.0, &format!("SELECT {row} FROM dead_letters"))
}

fn is_dish(message: &Message, transaction: &Transaction<'_>) -> Result<(), Unknown> {
    insert(message, transaction)?;
    match dish(message).as_str() {
        "stone" => Err(Unknown("no such dish".to_owned())),
        _ => Ok(()),
    }
}

#[test]
fn a_handler_that_fails_takes_back_its_own_part_and_its_message_becomes_a_dead_letter() {
    play(async {
        let mut store = memory();
        let once = ExactlyOnce::new("kitchen").on_failure(OnFailure::DeadLetter);
        let mut calls = Vec::new();
        let dishes = ["soup", "bread", "stone", "rice", "salt", "stone"];
        let key = |message: &Message| Ok(format!("{:?}", message.packet_id));
        let (handled, acknowledged) =
            handle(once, &mut store, &dishes, key, async |message, db| {
                calls.push(dish(message));
                is_dish(message, db)
            })
            .await;
        assert_eq!((handled.unwrap(), acknowledged), (Some(6), 6));
        assert_eq!(orders(&store.0), ["soup", "bread", "rice", "salt"]);
        let letters = letters(&store);
        assert_eq!(letters.len(), 2, "{letters:?}");
        assert!(
            (letters.iter()).all(|letter| letter.ends_with(": stone: no such dish")),
            "{letters:?}"
        );
        let stones = calls.iter().filter(|call| *call == "stone").count();
        assert_eq!(stones, 6, "{calls:?}");
        let soups = calls.iter().filter(|call| *call == "soup").count();
        assert_eq!(soups, 2, "{calls:?}"); // again without the stone behind it, and never more
    });
}

#[test]
fn a_handler_that_fails_at_each_try_stops_by_default_and_what_came_before_is_acknowledged() {
    play(async {
        let mut store = memory();
        let once = ExactlyOnce::new("kitchen");
        let key = |message: &Message| Ok(dish(message));
        let mut calls = 0;
        let dishes = ["soup", "stone", "rice"];
        let (handled, acknowledged) =
            handle(once, &mut store, &dishes, key, async |message, db| {
                calls += usize::from(dish(message) == "stone");
                is_dish(message, db)
            })
            .await;
        let error = handled.unwrap_err();
        assert!(
            matches!(error, OnceError::Handler { tries: 3, .. }),
            "{error}"
        );
        assert_eq!((calls, acknowledged), (3, 1));
        assert_eq!(orders(&store.0), ["soup"]);
        assert_eq!(
            column(&store.0, "SELECT message_key FROM handled"),
            ["soup"]
        );
        assert!(letters(&store).is_empty());
    });
}

#[test]
fn a_handler_is_called_again_as_often_as_it_was_said() {
    play(async {
        for retries in [0, 1, 3] {
            let mut store = memory();
            let once = ExactlyOnce::new("kitchen").retries(retries);
            let key = |message: &Message| Ok(dish(message));
            let mut calls = 0;
            let dishes = ["soup", "stone", "rice"];
            // The last call succeeds.
            let (handled, acknowledged) =
                handle(once, &mut store, &dishes, key, async |message, db| {
                    calls += u32::from(dish(message) == "stone");
                    match dish(message).as_str() {
                        "stone" if calls > retries => insert(message, db),
                        _ => is_dish(message, db),
                    }
                })
                .await;
            assert_eq!((handled.unwrap(), acknowledged), (Some(3), 3));
            assert_eq!(calls, retries + 1);
            assert_eq!(orders(&store.0), dishes);
        }
    });
}

#[test]
fn a_dead_letter_counts_as_handled_when_its_message_comes_again() {
    play(async {
        let mut store = memory();
        let key = |message: &Message| Ok(dish(message));
        for dishes in [&["stone", "soup", "stone"][..], &["stone"]] {
            let once = ExactlyOnce::new("kitchen").on_failure(OnFailure::DeadLetter);
            let (handled, acknowledged) =
                handle(once, &mut store, dishes, key, async |message, db| {
                    is_dish(message, db)
                })
                .await;
            assert_eq!(handled.unwrap(), Some(dishes.len()));
            assert_eq!(acknowledged, dishes.len());
        }
        assert_eq!(letters(&store), ["stone: stone: no such dish"]);
        assert_eq!(orders(&store.0), ["soup"]);
    });
}

/// A key that no database stores, or that cannot be found.
#[test]
fn a_message_without_a_valid_key_has_failed_and_its_dead_letter_has_no_key() {
    let wrong = |message: &Message| match dish(message).as_str() {
        "empty" => Ok(String::new()),
        "long" => Ok("ä".repeat(256)),
        "zero" => Ok("a\0b".to_owned()),
        "none" => Err(Unknown("no key".to_owned())),
        dish => Ok(dish.to_owned()),
    };
    play(async {
        let mut store = memory();
        let once = ExactlyOnce::new("kitchen").on_failure(OnFailure::DeadLetter);
        let dishes = ["empty", "soup", "long", "zero", "none"];
        let (handled, acknowledged) =
            handle(once, &mut store, &dishes, wrong, async |message, db| {
                is_dish(message, db)
            })
            .await;
        assert_eq!((handled.unwrap(), acknowledged), (Some(5), 5));
        assert_eq!(orders(&store.0), ["soup"]);
        let expected = [
            "none: empty: the key is not valid",
            "none: long: the key is not valid",
            "none: zero: the key is not valid",
            "none: none: no key",
        ];
        assert_eq!(letters(&store), expected);
        let once = ExactlyOnce::new("kitchen");
        let longest = |message: &Message| match dish(message).as_str() {
            "bread" => Ok("ä".repeat(255)),
            _ => wrong(message),
        };
        let (handled, acknowledged) = handle(
            once,
            &mut store,
            &["bread", "long"],
            longest,
            async |message, db| is_dish(message, db),
        )
        .await;
        let error = handled.unwrap_err();
        assert!(matches!(error, OnceError::Key { .. }), "{error}");
        assert_eq!(acknowledged, 1);
        assert_eq!(orders(&store.0), ["soup", "bread"]);
    });
}

/// The transaction of somebody else, and when it is over.
static OTHER: Mutex<Option<Connection>> = Mutex::new(None);
static ASKED: AtomicU32 = AtomicU32::new(0);
static ENDS_AT: AtomicU32 = AtomicU32::new(0);

/// SQLite has found the database locked.
fn is_locked(_: i32) -> bool {
    if ASKED.fetch_add(1, Ordering::Relaxed) + 1 == ENDS_AT.load(Ordering::Relaxed) {
        drop(OTHER.lock().unwrap().take()); // rolls back
    }
    false // it is not waited for
}

#[test]
fn a_transaction_that_another_one_makes_fail_is_begun_again_three_times_in_all() {
    let path = new_file("contested");
    for (ends_at, succeeds) in [(2, true), (9, false)] {
        let mut store = Sqlite(connect(&path));
        store.0.busy_timeout(Duration::ZERO).unwrap();
        store.0.busy_handler(Some(is_locked)).unwrap();
        let other = connect(&path);
        other.execute_batch("BEGIN IMMEDIATE").unwrap();
        *OTHER.lock().unwrap() = Some(other);
        ASKED.store(0, Ordering::Relaxed);
        ENDS_AT.store(ends_at, Ordering::Relaxed);
        play(async {
            let once = ExactlyOnce::new("kitchen");
            let key = |_: &Message| Ok(ends_at.to_string());
            let (handled, acknowledged) =
                handle(once, &mut store, &["soup"], key, async |message, db| {
                    insert(message, db)
                })
                .await;
            assert_eq!(acknowledged, usize::from(succeeds));
            match handled {
                Ok(handled) => assert!(succeeds && handled == Some(1)),
                Err(error) => assert!(
                    !succeeds && matches!(error, OnceError::Store { .. }),
                    "{error}"
                ),
            }
        });
        assert_eq!(ASKED.load(Ordering::Relaxed), if succeeds { 2 } else { 3 });
        drop(OTHER.lock().unwrap().take());
        assert_eq!(orders(&store.0), ["soup"]);
    }
}
