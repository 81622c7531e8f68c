//! Calls inside a runtime, whose threads must not wait.

use std::sync::mpsc::RecvTimeoutError;
use std::time::Duration;

use ferromqtt::blocking::{Client, RecvError};
use ferromqtt::{
    ConnectError, ConnectionError, Delivery, PublishError, QoS, ReAuthenticateError, RequestError,
    SubscribeError,
};
use ferromqtt_testing::TestBroker;
use tokio::runtime::Builder;

use super::{LIMIT, connect, in_time, watched};
use crate::options;

const INSIDE: ConnectionError = ConnectionError::InsideRuntime;

fn not_published(delivery: Delivery) -> PublishError {
    PublishError::Disconnected {
        cause: INSIDE,
        delivery,
    }
}

fn not_subscribed<T>() -> Result<T, SubscribeError> {
    Err(SubscribeError::Disconnected {
        cause: INSIDE,
        delivery: Delivery::NotSent,
    })
}

/// None of these blocks the thread that it is called on.
async fn every_call_that_waits(client: &Client) {
    let publish = || client.publish("t", "x").qos(QoS::AtLeastOnce);
    let refused = || Err(not_published(Delivery::NotSent));
    assert_eq!(publish().wait(), refused());
    assert_eq!(publish().enqueue().map(drop), refused().map(drop));
    let receipt = publish().try_enqueue().unwrap(); // this does not wait
    assert_eq!(receipt.wait(), Err(not_published(Delivery::Unknown)));
    let receipt = publish().try_enqueue().unwrap();
    let outcome = receipt.wait_timeout(LIMIT).expect("an outcome");
    assert_eq!(outcome, Err(not_published(Delivery::Unknown)));
    let not_asked = RequestError::Publish(not_published(Delivery::NotSent));
    assert_eq!(client.request("t", "x").wait(), Err(not_asked));
    assert_eq!(client.subscribe("t").wait().map(drop), not_subscribed());
    assert_eq!(client.declared("t").map(drop), not_subscribed());
    assert_eq!(client.unsubscribe("t"), not_subscribed());
    let not_authenticated = ReAuthenticateError::Disconnected(INSIDE);
    assert_eq!(client.re_authenticate(), Err(not_authenticated));
    assert_eq!(client.wait_connected(None), Err(INSIDE));
    assert_eq!(client.wait_closed(None), Err(INSIDE));
    assert_eq!(client.disconnect(), Err(INSIDE));
    assert_eq!(client.disconnect_with_will(), Err(INSIDE));
    assert_eq!(client.drain(LIMIT).end, Err(INSIDE));
    let mut events = client.events().unwrap();
    assert!(events.try_recv().is_ok());
    assert_eq!(events.recv(), Err(RecvError::Refused(INSIDE)));
}

#[test]
fn a_call_that_waits_is_refused_inside_a_runtime() {
    in_time(|| {
        let broker = TestBroker::new();
        let client = connect(&broker);
        let mut messages = client.subscribe("own").wait().unwrap();
        let runtime = Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            let error = Client::connect(options(&broker)).unwrap_err();
            assert_eq!(error, ConnectError::NotTried(INSIDE));
            every_call_that_waits(&client).await;
            assert_eq!(messages.recv(), Err(RecvError::Refused(INSIDE)));
            let limited = messages.recv_timeout(Duration::MAX);
            assert_eq!(limited, Err(RecvError::Refused(INSIDE)));
            assert_eq!(messages.next(), None);
            assert_eq!(messages.try_recv(), Err(RecvError::Empty));
        });
        let clone = client.clone();
        let pool = runtime.spawn_blocking(move || clone.wait_connected(None));
        assert_eq!(runtime.block_on(pool).unwrap(), Err(INSIDE));
        // The connection is as it was.
        client
            .publish("own", "x")
            .qos(QoS::AtLeastOnce)
            .wait()
            .unwrap();
        assert_eq!(messages.recv().unwrap().payload, "x");
        client.disconnect().unwrap();
    });
}

#[test]
fn a_client_that_is_dropped_inside_a_runtime_ends_in_the_background() {
    in_time(|| {
        let broker = TestBroker::new();
        let (options, thread) = watched(&broker);
        let client = Client::connect(options).unwrap();
        let runtime = Builder::new_current_thread().build().unwrap();
        runtime.block_on(async { drop(client) });
        let end = thread.recv_timeout(LIMIT);
        assert_eq!(end, Err(RecvTimeoutError::Disconnected));
        assert_eq!(broker.stats().connections, 0);
    });
}
