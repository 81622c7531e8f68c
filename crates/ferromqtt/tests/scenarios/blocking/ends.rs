//! How a connection ends, and its thread with it.

use std::sync::mpsc::channel;
use std::thread;
use std::time::Duration;

use ferromqtt::blocking::Client;
use ferromqtt::{
    ConnectError, ConnectionError, ConnectionEvent, Delivery, Options, PublishError, QoS, Will,
};
use ferromqtt_testing::TestBroker;
use tokio::net::TcpListener;

use super::{Host, connect, has_ended, in_time, watched};
use crate::options;
use crate::server::Server;

#[test]
fn the_end_of_a_connection_ends_every_iterator() {
    in_time(|| {
        let broker = TestBroker::new();
        let client = connect(&broker);
        let messages = client.subscribe("t").wait().unwrap();
        let events = client.events().unwrap();
        let (reading, has_read) = channel();
        let reader = thread::spawn(move || messages.inspect(|_| reading.send(()).unwrap()).count());
        let watcher = thread::spawn(move || events.last());
        client.publish("t", "x").wait().unwrap();
        has_read.recv().unwrap();
        client.disconnect().unwrap();
        assert_eq!(reader.join().unwrap(), 1);
        let last = watcher.join().unwrap();
        let Some(ConnectionEvent::Disconnected { cause, .. }) = last else {
            panic!("{last:?}");
        };
        assert_eq!(cause, ConnectionError::Closed);
        assert_eq!(client.end_cause(), Some(ConnectionError::Closed));
        assert_eq!(client.wait_closed(None), Ok(true));
        assert_eq!(client.wait_connected(None), Err(ConnectionError::Closed));
    });
}

#[test]
fn the_thread_ends_with_the_last_clone_of_the_client() {
    in_time(|| {
        let broker = TestBroker::new();
        let (options, thread) = watched(&broker);
        let client = Client::connect(options).unwrap();
        let messages = client.subscribe("t").wait().unwrap();
        let clone = client.clone();
        drop(client);
        assert!(clone.is_connected() && !has_ended(&thread));
        drop(clone);
        assert!(has_ended(&thread));
        assert_eq!(broker.stats().connections, 0);
        assert_eq!(messages.count(), 0);
    });
}

#[test]
fn disconnecting_ends_the_thread_for_all_clones() {
    in_time(|| {
        let broker = TestBroker::new();
        let (options, thread) = watched(&broker);
        let client = Client::connect(options).unwrap();
        let others = [client.clone(), client.clone()];
        let ends = others.map(|client| thread::spawn(move || client.disconnect()));
        for end in ends {
            end.join().unwrap().unwrap();
        }
        assert!(has_ended(&thread));
        client.disconnect().unwrap();
        assert!(client.drain(Duration::ZERO).is_complete());
        let refused = client.publish("t", "x").wait();
        assert_eq!(
            refused,
            Err(PublishError::Disconnected {
                cause: ConnectionError::Closed,
                delivery: Delivery::NotSent,
            })
        );
    });
}

#[test]
fn an_attempt_that_fails_leaves_no_thread() {
    in_time(|| {
        let broker = TestBroker::new();
        let (options, thread) = watched(&broker);
        drop(broker);
        let error = Client::connect(options).unwrap_err();
        assert!(matches!(error, ConnectError::Connection { .. }), "{error}");
        assert!(has_ended(&thread));
        let wrong = Client::connect(Options::new("localhost", 0));
        assert!(matches!(wrong, Err(ConnectError::Options(_))), "{wrong:?}");
    });
}

#[test]
fn draining_waits_for_every_outcome() {
    in_time(|| {
        let broker = TestBroker::new();
        let (client, watcher) = (connect(&broker), connect(&broker));
        let mut seen = watcher.subscribe("t").wait().unwrap();
        for _ in 0..50 {
            drop(
                client
                    .publish("t", "x")
                    .qos(QoS::ExactlyOnce)
                    .enqueue()
                    .unwrap(),
            );
        }
        let drained = client.drain(Duration::from_secs(30));
        assert!(drained.is_complete(), "{drained:?}");
        for _ in 0..50 {
            seen.recv().unwrap();
        }
    });
}

/// The server takes a message and never acknowledges it.
#[test]
fn whoever_waits_when_the_client_is_dropped_gets_one_outcome() {
    in_time(|| {
        let host = Host::start();
        let listener = host
            .runtime
            .block_on(TcpListener::bind("127.0.0.1:0"))
            .unwrap();
        let port = listener.local_addr().unwrap().port();
        let (has_published, published) = channel();
        let serving = host.runtime.spawn(async move {
            let (stream, _) = listener.accept().await.unwrap();
            let (mut server, _) = Server::accept(stream, false).await;
            for _ in 0..2 {
                server.publish().await;
            }
            has_published.send(()).unwrap();
            while server.next().await.is_some() {}
        });
        let client = Client::connect(Options::new("127.0.0.1", port)).unwrap();
        let publish = |payload| client.publish("t", payload).qos(QoS::AtLeastOnce);
        let receipts = ["one", "two"].map(|payload| publish(payload).enqueue().unwrap());
        let messages = client.messages().unwrap();
        let events = client.events().unwrap();
        let waiting = receipts.map(|receipt| thread::spawn(move || receipt.wait()));
        let reading = thread::spawn(move || messages.count());
        let watching = thread::spawn(move || events.count());
        published.recv().unwrap();
        drop(client);
        for waiter in waiting {
            let outcome = waiter.join().unwrap();
            let dropped = PublishError::Disconnected {
                cause: ConnectionError::Dropped,
                delivery: Delivery::Unknown,
            };
            assert_eq!(outcome, Err(dropped));
        }
        assert_eq!(reading.join().unwrap(), 0);
        assert_eq!(watching.join().unwrap(), 2, "connected, disconnected");
        host.runtime.block_on(serving).unwrap();
    });
}

#[test]
fn a_client_that_is_dropped_without_a_goodbye_counts_as_failed_if_told_so() {
    in_time(|| {
        let broker = TestBroker::new();
        let watcher = connect(&broker);
        let mut wills = watcher.subscribe("gone").wait().unwrap();
        let client = |name: &'static str| {
            let options = options(&broker).will(Will::new("gone", name));
            Client::connect(options.will_on_error(true)).unwrap()
        };
        client("disconnected").disconnect().unwrap();
        client("dropped").is_connected();
        client("on purpose").disconnect_with_will().unwrap();
        for name in ["dropped", "on purpose"] {
            assert_eq!(wills.recv().unwrap().payload, name);
        }
        drop(client("last"));
        assert_eq!(wills.recv().unwrap().payload, "last");
    });
}
