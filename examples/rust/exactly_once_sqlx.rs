//! Handle each message of QoS 2 once without a key in it, in a transaction of sqlx.
//!
//! The database remembers messages by their Packet Identifiers. What is no number goes to a table of dead letters. The database is
//! SQLite here; with another one of sqlx's, the statements and the names of its types differ.
//!
//! It prints:
//!
//! ```text
//! 3 readings
//! dead letter: warm (error occurred while decoding: invalid float literal)
//! ```

#![allow(clippy::print_stdout, reason = "it shows what happens")]

use std::error::Error as StdError;

use ferromqtt::{
    CleanStart, Connection, DeadLetter, DeclaredSubscription, ExactlyOnce, Message, OnFailure,
    OnceStore, Options, QoS,
};
use ferromqtt_testing::TestBroker;
use sqlx::{Connection as _, Sqlite, SqliteConnection, Transaction, query, query_as};
use tokio::sync::Notify;

/// What makes a store of a connection of sqlx.
struct Sqlx(SqliteConnection);

impl OnceStore for Sqlx {
    type Transaction<'s> = Transaction<'s, Sqlite>; // rolls back when it is dropped
    type Error = sqlx::Error;

    async fn begin(&mut self) -> sqlx::Result<Self::Transaction<'_>> {
        self.0.begin_with("BEGIN IMMEDIATE").await // with PostgreSQL: begin()
    }

    async fn remember(
        transaction: &mut Self::Transaction<'_>,
        handler: &str,
        key: &str,
        now: i64,
    ) -> sqlx::Result<bool> {
        let insert = query("INSERT INTO handled VALUES ($1, $2, $3) ON CONFLICT DO NOTHING");
        let insert = insert.bind(handler).bind(key).bind(now);
        let done = insert.execute(&mut **transaction).await?;
        Ok(done.rows_affected() == 1)
    }

    async fn forget(
        transaction: &mut Self::Transaction<'_>,
        handler: &str,
        before: i64,
        most: i64,
    ) -> sqlx::Result<()> {
        let delete = query(
            "DELETE FROM handled WHERE (handler, message_key) IN \
            (SELECT handler, message_key FROM handled WHERE handler = $1 AND handled_at < $2 LIMIT $3)",
        );
        let delete = delete.bind(handler).bind(before).bind(most);
        delete.execute(&mut **transaction).await?;
        Ok(())
    }

    async fn release(
        transaction: &mut Self::Transaction<'_>,
        handler: &str,
        keys: Option<&[String]>,
    ) -> sqlx::Result<()> {
        let Some(keys) = keys else {
            let delete = query("DELETE FROM handled WHERE handler = $1").bind(handler);
            delete.execute(&mut **transaction).await?;
            return Ok(());
        };
        for key in keys {
            let delete = query("DELETE FROM handled WHERE handler = $1 AND message_key = $2");
            let delete = delete.bind(handler).bind(key);
            delete.execute(&mut **transaction).await?;
        }
        Ok(())
    }

    async fn bury(
        transaction: &mut Self::Transaction<'_>,
        letter: &DeadLetter<'_>,
    ) -> sqlx::Result<()> {
        let insert = query("INSERT INTO dead_letters VALUES ($1, $2, $3, $4, $5, $6)")
            .bind(letter.handler)
            .bind(letter.key)
            .bind(letter.message.topic.as_str())
            .bind(&letter.message.payload[..])
            .bind(letter.error)
            .bind(letter.failed_at);
        insert.execute(&mut **transaction).await?;
        Ok(())
    }

    async fn commit(transaction: Self::Transaction<'_>) -> sqlx::Result<()> {
        transaction.commit().await
    }
}

const TABLES: &str = "
    CREATE TABLE readings (value REAL NOT NULL);
    CREATE TABLE handled (
        handler TEXT NOT NULL,
        message_key TEXT NOT NULL,
        handled_at INTEGER NOT NULL,
        PRIMARY KEY (handler, message_key)
    );
    CREATE TABLE dead_letters (
        handler TEXT NOT NULL,
        message_key TEXT,
        topic TEXT NOT NULL,
        payload BLOB NOT NULL,
        error TEXT NOT NULL,
        failed_at INTEGER NOT NULL
    );
";

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn StdError>> {
    let broker = TestBroker::start().await?;
    let mut store = Sqlx(SqliteConnection::connect("sqlite::memory:").await?); // in earnest a file
    sqlx::raw_sql(TABLES).execute(&mut store.0).await?;
    let options = Options::new(broker.host(), broker.port())
        .client_identifier("logger")
        .clean_start(CleanStart::Never)
        .subscription(DeclaredSubscription::new("temperature").exactly_once());
    // The handler commits before the client connects, so this must not wait for the connection.
    let connection = Connection::start(options).await?;
    let client = connection.client();
    let has_last = Notify::new();
    let handle = async |message: &Message, transaction: &mut Transaction<'_, Sqlite>| {
        let reading = String::from_utf8_lossy(&message.payload).parse();
        let reading: f64 = reading.map_err(|error| sqlx::Error::Decode(Box::new(error)))?;
        let insert = query("INSERT INTO readings VALUES ($1)").bind(reading);
        insert.execute(&mut **transaction).await?;
        if reading < 0.0 {
            has_last.notify_one();
        }
        Ok::<_, sqlx::Error>(())
    };
    let publish = async {
        // The same reading twice is two readings.
        for reading in ["28.4", "28.4", "warm", "-3"] {
            let publish = client.publish("temperature", reading);
            publish.qos(QoS::ExactlyOnce).await?;
        }
        has_last.notified().await;
        connection.disconnect().await?; // the handler commits what it has, and returns
        Ok::<_, Box<dyn StdError>>(())
    };
    let mut once = ExactlyOnce::new("readings").on_failure(OnFailure::DeadLetter);
    let (handled, published) = tokio::join!(
        once.run_by_identifier(&client, "temperature", &mut store, handle),
        publish
    );
    handled?;
    published?;
    let count = query_as("SELECT COUNT(*) FROM readings");
    let (readings,): (i64,) = count.fetch_one(&mut store.0).await?;
    println!("{readings} readings");
    let letters = query_as("SELECT payload, error FROM dead_letters");
    let letters: Vec<(Vec<u8>, String)> = letters.fetch_all(&mut store.0).await?;
    for (payload, error) in letters {
        println!(
            "dead letter: {} ({error})",
            String::from_utf8_lossy(&payload)
        );
    }
    broker.stop().await;
    Ok(())
}
