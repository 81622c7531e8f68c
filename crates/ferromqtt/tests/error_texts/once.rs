//! Exactly-once handlers.

use ferromqtt::{
    Acknowledge, CleanStart, ConnectError, Connection, DeclaredSubscription, ExactlyOnce, Message,
    OnceError, Options, OptionsError, ProtocolVersion, QoS, QueueOptions,
};
use ferromqtt_testing::TestBroker;

use crate::clock::play;
use crate::memory_store::{Changing, Failure, Memory};
use crate::page::{Provoked, compare};

fn lasting(broker: &TestBroker) -> Options {
    Options::test(broker)
        .client_identifier("worker")
        .clean_start(CleanStart::Never)
}

/// Lets a handler that fails have a message.
async fn fail(fails: bool, acknowledge: Acknowledge, key: &str) -> Provoked {
    let broker = TestBroker::new();
    let mut provoked = None;
    let program = ferromqtt::scope(lasting(&broker), async |client| {
        let queue = QueueOptions {
            acknowledge,
            ..QueueOptions::UNBOUNDED
        };
        let orders = client.subscribe("orders").qos(QoS::AtLeastOnce);
        let mut orders = orders.queue(queue).await?;
        let order = client.publish("orders", "1").qos(QoS::AtLeastOnce);
        order.await?;
        let handle = async |_: &Message, _: &mut Changing<'_>| Err(Failure);
        let key = |_: &Message| Ok(key.to_owned());
        let mut once = ExactlyOnce::new("kitchen");
        let mut store = Memory {
            fails,
            ..Memory::default()
        };
        let end = once.run(&mut orders, &mut store, key, handle).await;
        provoked = Some(kind(&end.unwrap_err()));
        Ok(())
    });
    program.await.unwrap();
    provoked.unwrap()
}

/// Runs a handler of a subscription that is not declared, or is none.
async fn run(filter: &str) -> Provoked {
    let broker = TestBroker::new();
    let connection = Connection::start(lasting(&broker)).await.unwrap();
    let client = connection.client();
    let handle = async |_: &Message, _: &mut Changing<'_>| Err(Failure);
    let mut once = ExactlyOnce::new("kitchen");
    let mut store = Memory::default();
    let end = once.run_by_identifier(&client, filter, &mut store, handle);
    kind(&end.await.unwrap_err())
}

fn kind(error: &OnceError<Failure, Failure>) -> Provoked {
    let kind = match error {
        OnceError::Store { .. } => "OnceError::Store",
        OnceError::Handler { .. } => "OnceError::Handler",
        OnceError::Key { .. } => "OnceError::Key",
        OnceError::NotAcknowledged { .. } => "OnceError::NotAcknowledged",
        OnceError::NotDeclared { .. } => "OnceError::NotDeclared",
        OnceError::Subscribe { .. } => "OnceError::Subscribe",
        other => panic!("a kind that this test does not know: {other:?}"),
    };
    (error.to_string(), kind)
}

/// What is wrong with the options of a handler without a key.
async fn refused() -> Vec<Provoked> {
    let broker = TestBroker::new();
    let orders = || DeclaredSubscription::new("orders").exactly_once();
    let shared = DeclaredSubscription::new("$share/kitchen/orders").exactly_once();
    let options = |subscription| lasting(&broker).subscription(subscription);
    let refused = [
        options(orders().qos(QoS::AtLeastOnce)),
        options(shared),
        options(orders()).clean_start(CleanStart::Always),
        options(orders()).protocol(ProtocolVersion::V31),
    ];
    let mut provoked = Vec::new();
    for options in refused {
        provoked.push(refusal(Connection::start(options).await));
    }
    provoked.push(refusal(Connection::open(options(orders())).await));
    provoked
}

fn refusal(opened: Result<Connection, ConnectError>) -> Provoked {
    match opened {
        Err(ConnectError::Options(OptionsError::ExactlyOnce(error))) => {
            (error.to_string(), "OptionsError::ExactlyOnce")
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn texts_of_exactly_once_handlers() {
    let mut provoked = vec![
        play(fail(true, Acknowledge::ByApplication, "1")),
        play(fail(false, Acknowledge::ByApplication, "1")),
        play(fail(false, Acknowledge::ByApplication, "")),
        play(fail(false, Acknowledge::OnReceipt, "1")),
        play(run("orders")),
        play(run("a#")),
    ];
    provoked.extend(play(refused()));
    compare("Rust: exactly-once handlers", provoked);
}
