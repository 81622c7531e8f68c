//! Handle each message once, in a transaction of an SQLite database.
//!
//! The program fails in the middle of its second order, twice, and gives up: what it has inserted is rolled back. It begins again.
//!
//! It prints:
//!
//! ```text
//! make soup
//! make bread
//! make bread
//! the exactly-once handler kitchen has failed 2 times on a message to orders: the oven is cold (it is not acknowledged, and comes again with the next connection; with OnFailure::DeadLetter it would go to a table, and the next one be handled)
//! make bread
//! make rice
//! 3 orders of 3 dishes
//! ```

#![allow(clippy::print_stdout, reason = "it shows what happens")]

use std::error::Error as StdError;
use std::fmt;

use ferromqtt::{
    Acknowledge, CleanStart, Client, DeadLetter, Error, ExactlyOnce, Message, Messages, OnceError,
    OnceStore, Options, QoS, QueueOptions, SubscribeError,
};
use ferromqtt_testing::TestBroker;
use rusqlite::{Connection, Row, Transaction, TransactionBehavior, params};

/// What makes a store of a connection of rusqlite.
struct Sqlite(Connection);

impl OnceStore for Sqlite {
    type Transaction<'s> = Transaction<'s>; // rolls back when it is dropped
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
        let insert = "INSERT INTO handled VALUES (?, ?, ?) ON CONFLICT DO NOTHING";
        let rows = transaction.execute(insert, params![handler, key, now])?;
        Ok(rows == 1)
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

    async fn release(
        transaction: &mut Self::Transaction<'_>,
        handler: &str,
        keys: Option<&[String]>,
    ) -> rusqlite::Result<()> {
        let Some(keys) = keys else {
            transaction.execute("DELETE FROM handled WHERE handler = ?", [handler])?;
            return Ok(());
        };
        for key in keys {
            let delete = "DELETE FROM handled WHERE handler = ? AND message_key = ?";
            transaction.execute(delete, [handler, key])?;
        }
        Ok(())
    }

    async fn bury(
        transaction: &mut Self::Transaction<'_>,
        letter: &DeadLetter<'_>,
    ) -> rusqlite::Result<()> {
        let insert = "INSERT INTO dead_letters VALUES (?, ?, ?, ?, ?, ?)";
        let row = params![
            letter.handler,
            letter.key,
            letter.message.topic.as_str(),
            &letter.message.payload[..],
            letter.error,
            letter.failed_at,
        ];
        transaction.execute(insert, row)?;
        Ok(())
    }

    async fn commit(transaction: Self::Transaction<'_>) -> rusqlite::Result<()> {
        transaction.commit()
    }
}

const TABLES: &str = "
    CREATE TABLE orders (dish TEXT);
    CREATE TABLE handled (
        handler TEXT NOT NULL,
        message_key TEXT NOT NULL,
        handled_at INTEGER NOT NULL,
        PRIMARY KEY (handler, message_key)
    );
    CREATE INDEX handled_at ON handled (handler, handled_at);
    CREATE TABLE dead_letters (
        handler TEXT NOT NULL,
        message_key TEXT,
        topic TEXT NOT NULL,
        payload BLOB NOT NULL,
        error TEXT NOT NULL,
        failed_at INTEGER NOT NULL
    );
";

const BY_HAND: QueueOptions = QueueOptions {
    acknowledge: Acknowledge::ByApplication,
    ..QueueOptions::UNBOUNDED // no more than the Receive Maximum come without being acknowledged
};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn StdError>> {
    let broker = TestBroker::start().await?;
    let mut store = Sqlite(Connection::open_in_memory()?); // in earnest a file
    store.0.execute_batch(TABLES)?;
    let options = Options::new(broker.host(), broker.port())
        .client_identifier("kitchen")
        .clean_start(CleanStart::Never);
    for breaks_off in [true, false] {
        ferromqtt::scope(options.clone(), async |client| {
            let mut orders = subscribe(&client).await?;
            if breaks_off {
                publish(&client).await?;
            }
            if let Err(error) = work(&mut orders, &mut store, breaks_off).await {
                println!("{error}");
            }
            Ok(())
        })
        .await?;
    }
    let orders = "SELECT COUNT(*), COUNT(DISTINCT dish) FROM orders";
    let counts = |row: &Row<'_>| Ok((row.get(0)?, row.get(1)?));
    let (orders, dishes): (u32, u32) = store.0.query_row(orders, [], counts)?;
    println!("{orders} orders of {dishes} dishes");
    broker.stop().await;
    Ok(())
}

async fn subscribe(client: &Client) -> Result<Messages, SubscribeError> {
    let orders = client.subscribe("orders").qos(QoS::AtLeastOnce);
    orders.queue(BY_HAND).await
}

async fn publish(client: &Client) -> Result<(), Error> {
    for dish in ["soup", "bread", "soup", "rice"] {
        // The publisher was not sure whether the first soup had arrived.
        let order = client.publish("orders", dish).qos(QoS::AtLeastOnce);
        order.await?;
    }
    Ok(())
}

/// Handles orders one by one, until all dishes are made.
async fn work(
    orders: &mut Messages,
    store: &mut Sqlite,
    breaks_off: bool,
) -> Result<(), OnceError<rusqlite::Error, Broken>> {
    let dish = |order: &Message| String::from_utf8_lossy(&order.payload).into_owned();
    let key = |order: &Message| Ok(dish(order));
    let mut once = ExactlyOnce::new("kitchen").batch(1).retries(1);
    let mut is_done = false;
    while !is_done {
        let handle = async |order: &Message, transaction: &mut Transaction<'_>| {
            let dish = dish(order);
            println!("make {dish}");
            let insert = transaction.execute("INSERT INTO orders VALUES (?)", [&dish]);
            insert.map_err(|_| Broken)?;
            is_done = dish == "rice";
            match breaks_off && dish == "bread" {
                true => Err(Broken),
                false => Ok(()),
            }
        };
        once.handle_next(orders, store, key, handle).await?;
    }
    Ok(())
}

/// The kitchen has broken off.
#[derive(Debug)]
struct Broken;

impl fmt::Display for Broken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the oven is cold")
    }
}

impl StdError for Broken {}
