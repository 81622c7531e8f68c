//! Exactly-once handlers.

use std::fmt;

use ferromqtt::{
    Acknowledge, CleanStart, ExactlyOnce, Message, OnceError, OnceStore, Options, QoS, QueueOptions,
};
use ferromqtt_testing::TestBroker;

use crate::clock::play;
use crate::page::{Provoked, compare};

/// A database that remembers nothing, or fails.
struct Memory {
    fails: bool,
}

#[derive(Debug)]
struct Failure;

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("no such table")
    }
}

impl std::error::Error for Failure {}

impl OnceStore for Memory {
    type Transaction<'s> = ();
    type Error = Failure;

    async fn begin(&mut self) -> Result<(), Failure> {
        match self.fails {
            true => Err(Failure),
            false => Ok(()),
        }
    }

    async fn remember(
        (): &mut Self::Transaction<'_>,
        _: &str,
        _: &str,
        _: i64,
    ) -> Result<bool, Failure> {
        Ok(true)
    }

    async fn forget(
        (): &mut Self::Transaction<'_>,
        _: &str,
        _: i64,
        _: i64,
    ) -> Result<(), Failure> {
        Ok(())
    }

    async fn commit((): Self::Transaction<'_>) -> Result<(), Failure> {
        Ok(())
    }
}

/// Lets a handler that fails have a message.
async fn fail(fails: bool, acknowledge: Acknowledge) -> Provoked {
    let broker = TestBroker::new();
    let options = Options::test(&broker)
        .client_identifier("worker")
        .clean_start(CleanStart::Never);
    let mut provoked = None;
    let program = ferromqtt::scope(options, async |client| {
        let queue = QueueOptions {
            acknowledge,
            ..QueueOptions::UNBOUNDED
        };
        let orders = client.subscribe("orders").qos(QoS::AtLeastOnce);
        let mut orders = orders.queue(queue).await?;
        let order = client.publish("orders", "1").qos(QoS::AtLeastOnce);
        order.await?;
        let handle = async |_: &Message, (): &mut ()| Err(Failure);
        let key = |_: &Message| String::from("1");
        let mut once = ExactlyOnce::new("kitchen");
        let end = (once.run(&client, &mut orders, &mut Memory { fails }, key, handle)).await;
        provoked = Some(kind(&end.unwrap_err()));
        Ok(())
    });
    program.await.unwrap();
    provoked.unwrap()
}

fn kind(error: &OnceError<Failure, Failure>) -> Provoked {
    let kind = match error {
        OnceError::Store { .. } => "OnceError::Store",
        OnceError::Handler { .. } => "OnceError::Handler",
        OnceError::NotAcknowledged { .. } => "OnceError::NotAcknowledged",
        other => panic!("a kind that this test does not know: {other:?}"),
    };
    (error.to_string(), kind)
}

#[test]
fn texts_of_exactly_once_handlers() {
    let provoked = vec![
        play(fail(true, Acknowledge::ByApplication)),
        play(fail(false, Acknowledge::ByApplication)),
        play(fail(false, Acknowledge::OnReceipt)),
    ];
    compare("Rust: exactly-once handlers", provoked);
}
