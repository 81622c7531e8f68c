//! A program with a handler without a key, which lives several times.

use std::path::PathBuf;
use std::time::Duration;

use ferromqtt::{
    Client, Connection, DeclaredSubscription, ExactlyOnce, Message, OnceError, Options,
    ProtocolVersion, QoS,
};
use ferromqtt_proto::packet::PacketType;
use ferromqtt_testing::TestBroker;
use rusqlite::Transaction;

use crate::store::{Sqlite, column, connect, new_file, orders};
use crate::world::*;

/// The name of the handler in the table.
const NAME: &str = "6:worker kitchen by Packet Identifier";

pub(crate) type Stopped = OnceError<rusqlite::Error, Unknown>;

/// A broker, and the database of a program that lives several times.
pub(crate) struct Lives {
    pub(crate) broker: TestBroker,
    pub(crate) path: PathBuf,
    pub(crate) look: rusqlite::Connection,
    pub(crate) version: ProtocolVersion,
}

impl Lives {
    pub(crate) fn new(name: &str, version: ProtocolVersion) -> Self {
        let path = new_file(name);
        let look = connect(&path);
        Self {
            broker: TestBroker::new(),
            path,
            look,
            version,
        }
    }

    pub(crate) fn store(&self) -> Sqlite {
        let db = connect(&self.path);
        db.busy_timeout(Duration::ZERO).unwrap();
        Sqlite(db)
    }

    pub(crate) fn options(&self) -> Options {
        let orders = DeclaredSubscription::new("orders").exactly_once();
        lasting(&self.broker, self.version).subscription(orders)
    }

    /// Runs a program with a handler while `body` runs. Then it ends, wherever it is.
    pub(crate) async fn live_with<T>(
        &self,
        mut once: ExactlyOnce,
        handle: impl AsyncFnMut(&Message, &mut Transaction<'_>) -> Result<(), Unknown>,
        body: impl AsyncFnOnce(Client) -> T,
    ) -> Result<T, Stopped> {
        let connection = Connection::start(self.options()).await.unwrap();
        let client = connection.client();
        let mut store = self.store();
        let handled = once.run_by_identifier(&client, "orders", &mut store, handle);
        let result = tokio::select! {
            ended = handled => Err(ended.expect_err("the connection has not ended")),
            value = body(client.clone()) => Ok(value),
        };
        let _ = connection.disconnect().await;
        settled().await;
        result
    }

    /// The same with a handler that works.
    pub(crate) async fn live<T>(&self, body: impl AsyncFnOnce(Client) -> T) -> Result<T, Stopped> {
        let once = ExactlyOnce::new("kitchen");
        let handle = async |message: &Message, db: &mut Transaction<'_>| insert(message, db);
        self.live_with(once, handle, async |client| {
            settled().await;
            body(client).await
        })
        .await
    }

    pub(crate) async fn publish(&self, dishes: &[&str]) {
        publish(&self.broker, QoS::ExactlyOnce, dishes).await;
    }

    pub(crate) fn orders(&self) -> Vec<String> {
        orders(&self.look)
    }

    /// What the handler has on record.
    pub(crate) fn rows(&self) -> Vec<String> {
        let select = "SELECT message_key FROM handled WHERE handler = '{}' ORDER BY rowid";
        column(&self.look, &select.replace("{}", NAME))
    }

    pub(crate) fn count(&self, kind: PacketType) -> usize {
        count(&self.broker, kind)
    }

    /// What the server has sent, and not been told the end of.
    pub(crate) fn unfinished(&self) -> Vec<String> {
        self.broker.unfinished()
    }

    pub(crate) fn lock(&self) {
        self.look.execute_batch("BEGIN IMMEDIATE").unwrap();
    }

    pub(crate) fn unlock(&self) {
        self.look.execute_batch("ROLLBACK").unwrap();
    }
}
