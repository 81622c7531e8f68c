//! Calls of `ferromqtt::blocking` that are refused, and readers that have nothing to give.

use ferromqtt::blocking::{Client, RecvError};
use ferromqtt::testing::TestBroker;
use ferromqtt::{
    ConnectError, ConnectionError, Delivery, Options, PublishError, QoS, ReAuthenticateError,
    SubscribeError,
};

use crate::calls::kind;
use crate::clock::play;
use crate::page::{Provoked, compare};

fn of_connecting(error: ConnectError) -> Provoked {
    let ConnectError::NotTried(_) = &error else {
        panic!("{error:?}");
    };
    (error.to_string(), "ConnectError::NotTried")
}

fn of_subscribing(error: SubscribeError) -> Provoked {
    let SubscribeError::Disconnected { .. } = &error else {
        panic!("{error:?}");
    };
    (error.to_string(), "SubscribeError::Disconnected")
}

fn of_authenticating(error: ReAuthenticateError) -> Provoked {
    let ReAuthenticateError::Disconnected(_) = &error else {
        panic!("{error:?}");
    };
    (error.to_string(), "ReAuthenticateError::Disconnected")
}

fn of_a_connection(error: ConnectionError) -> Provoked {
    let kind = match &error {
        ConnectionError::InsideRuntime => "ConnectionError::InsideRuntime",
        ConnectionError::Forked => "ConnectionError::Forked",
        other => panic!("a kind that this test does not know: {other:?}"),
    };
    (error.to_string(), kind)
}

fn of_receiving(error: RecvError) -> Provoked {
    let kind = match &error {
        RecvError::Empty => "RecvError::Empty",
        RecvError::Ended => "RecvError::Ended",
        RecvError::Refused(_) => "RecvError::Refused",
        other => panic!("a kind that this test does not know: {other:?}"),
    };
    (error.to_string(), kind)
}

fn inside_a_runtime(broker: &TestBroker, client: &Client) -> Vec<Provoked> {
    let mut messages = client.messages().unwrap();
    let publish = || client.publish("a", "x").qos(QoS::AtLeastOnce);
    play(async {
        vec![
            of_connecting(Client::connect(Options::test(broker)).unwrap_err()),
            kind(publish().wait().unwrap_err()),
            kind(publish().try_enqueue().unwrap().wait().unwrap_err()),
            of_subscribing(client.subscribe("a").wait().unwrap_err()),
            of_authenticating(client.re_authenticate().unwrap_err()),
            of_a_connection(client.disconnect().unwrap_err()),
            of_receiving(messages.recv().unwrap_err()),
        ]
    })
}

/// No safe code forks. Unit tests of the module have the calls return these.
fn forked() -> Vec<Provoked> {
    let cause = || ConnectionError::Forked;
    let published = |delivery| PublishError::Disconnected {
        cause: cause(),
        delivery,
    };
    vec![
        kind(published(Delivery::NotSent)),
        kind(published(Delivery::Unknown)),
        of_subscribing(SubscribeError::Disconnected {
            cause: cause(),
            delivery: Delivery::NotSent,
        }),
        of_a_connection(cause()),
        of_receiving(RecvError::Refused(cause())),
    ]
}

#[test]
fn every_text_of_blocking_calls_is_provoked_and_reads_as_the_page_says() {
    let broker = TestBroker::new();
    let client = Client::connect(Options::test(&broker)).unwrap();
    let mut provoked = inside_a_runtime(&broker, &client);
    provoked.extend(forked());
    let mut messages = client.messages().unwrap();
    provoked.push(of_receiving(messages.try_recv().unwrap_err()));
    client.disconnect().unwrap();
    provoked.push(of_receiving(messages.recv().unwrap_err()));
    compare("Rust: blocking calls", provoked);
}
