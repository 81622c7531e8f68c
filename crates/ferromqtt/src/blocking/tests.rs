//! Calls in a forked child. No safe code can fork, so the tests change what the system would answer.

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::thread;
use std::time::Duration;

use ferromqtt_testing::TestBroker;

use super::process::Process;
use super::{Client, Messages, RecvError, UNCHECKED};
use crate::{
    Connection, ConnectionError, Delivery, Options, PublishError, Published, QoS, Stats,
    SubscribeError,
};

const PARENT: u32 = 1;
const CHILD: u32 = 2;
const FORKED: ConnectionError = ConnectionError::Forked;

fn in_time(test: impl FnOnce() + Send + 'static) {
    let (ended, end) = channel::<()>();
    let running = thread::spawn(move || {
        let _ended = ended; // dropped also when the test panics
        test();
    });
    let end = end.recv_timeout(Duration::from_secs(60));
    assert_eq!(end, Err(RecvTimeoutError::Disconnected), "the test hangs");
    running.join().unwrap();
}

fn connect(broker: &TestBroker, current: fn() -> u32) -> Client {
    let options = Options::new("test-broker", 1883).transport(broker.transport());
    Client::begin(options, Connection::open, Process::by(current)).unwrap()
}

fn not_published(delivery: Delivery) -> Result<Published, PublishError> {
    Err(PublishError::Disconnected {
        cause: FORKED,
        delivery,
    })
}

/// Everything that a child can do with what it has of its parent.
fn every_call(client: &Client, messages: &mut Messages) {
    let publish = || client.publish("t", "from the child").qos(QoS::AtLeastOnce);
    let refused = || not_published(Delivery::NotSent);
    assert_eq!(publish().wait(), refused());
    assert_eq!(publish().enqueue().map(drop), refused().map(drop));
    assert_eq!(publish().try_enqueue().map(drop), refused().map(drop));
    let not_subscribed = SubscribeError::not_sent(FORKED);
    let subscribed = client.subscribe("t").wait().map(drop);
    assert_eq!(subscribed, Err(not_subscribed.clone()));
    assert_eq!(client.unsubscribe("t"), Err(not_subscribed.clone()));
    assert_eq!(client.declared("t").map(drop), Err(not_subscribed));
    assert!(client.request("t", "x").wait().is_err());
    assert!(client.re_authenticate().is_err());
    assert_eq!(client.wait_connected(None), Err(FORKED));
    assert_eq!(client.wait_closed(None), Err(FORKED));
    assert_eq!(client.messages().map(drop), Err(FORKED));
    assert_eq!(client.events().map(drop), Err(FORKED));
    assert_eq!(client.disconnect(), Err(FORKED));
    assert_eq!(client.drain(Duration::MAX).end, Err(FORKED));
    assert_eq!(client.end_cause(), Some(FORKED));
    assert_eq!(client.stats(), Stats::default());
    assert_eq!((client.is_connected(), messages.len()), (false, 0));
    assert!(format!("{client:?}").contains("is_connected: false"));
    assert_eq!(messages.recv(), Err(RecvError::Refused(FORKED)));
    assert_eq!(messages.try_recv(), Err(RecvError::Refused(FORKED)));
    assert_eq!(messages.next(), None);
    assert_eq!(messages.take_lost(), 0);
    assert!(messages.not_subscribed().is_empty());
}

#[test]
fn a_child_leaves_the_connection_of_its_parent_alone() {
    static ID: AtomicU32 = AtomicU32::new(PARENT);
    in_time(|| {
        let broker = TestBroker::new();
        let current = || ID.load(Ordering::Relaxed);
        let (client, own) = (connect(&broker, current), connect(&broker, current));
        let mut messages = client.subscribe("t").wait().unwrap();
        let mut others = client.subscribe("t").wait().unwrap();
        let events = client.events().unwrap();
        let receipt = client.publish("else", "x").qos(QoS::AtLeastOnce).enqueue();

        ID.store(CHILD, Ordering::Relaxed);
        every_call(&client, &mut messages);
        assert_eq!(receipt.unwrap().wait(), not_published(Delivery::Unknown));
        drop((client.clone(), messages, events, own));

        ID.store(PARENT, Ordering::Relaxed);
        assert_eq!(broker.stats().connections, 2);
        client.publish("t", "from the parent").wait().unwrap();
        assert_eq!(others.recv().unwrap().payload, "from the parent");
        client.disconnect().unwrap();
        assert_eq!(others.next(), None, "nothing else was sent");
    });
}

/// The thread that held the locks is not there in the child.
#[test]
fn a_child_waits_for_no_lock_that_was_held_when_it_was_forked() {
    static ID: AtomicU32 = AtomicU32::new(PARENT);
    in_time(|| {
        let broker = TestBroker::new();
        let client = connect(&broker, || ID.load(Ordering::Relaxed));
        let mut messages = client.subscribe("t").wait().unwrap();
        let events = client.events().unwrap();
        let held = client.0.client.shared.lock();
        ID.store(CHILD, Ordering::Relaxed);
        let sent = client.publish("t", "x").wait();
        assert_eq!(sent, not_published(Delivery::NotSent));
        every_call(&client, &mut messages);
        drop((messages, events, client.clone()));
        ID.store(PARENT, Ordering::Relaxed);
        drop(held);
        client.disconnect().unwrap();
    });
}

/// Keeps the driver from having a turn, as in a child, until this is dropped.
fn stop_driver(client: &Client) -> Sender<()> {
    let (resume, stopped) = channel();
    let (has_stopped, wait) = channel();
    client.0.runtime.spawn(async move {
        has_stopped.send(()).unwrap();
        let _ = stopped.recv();
    });
    wait.recv().unwrap();
    resume
}

#[test]
fn a_child_learns_soon_that_its_messages_of_qos_0_go_nowhere() {
    static ID: AtomicU32 = AtomicU32::new(PARENT);
    in_time(|| {
        let broker = TestBroker::new();
        let client = connect(&broker, || ID.load(Ordering::Relaxed));
        let publish = || client.publish("t", "x").wait();
        // So many are on their way when the process is forked.
        for before in [0, 1, 40, UNCHECKED] {
            let stopped = stop_driver(&client);
            for _ in 0..before {
                publish().unwrap();
            }
            ID.store(CHILD, Ordering::Relaxed);
            let refused = (0..UNCHECKED).find_map(|_| publish().err());
            ID.store(PARENT, Ordering::Relaxed);
            let expected = PublishError::not_sent(FORKED);
            assert_eq!(refused, Some(expected), "after {before}");
            drop(stopped);
            client.0.client.shared.driver.notify_one(); // a real child would have changed its own memory alone
            let answered = client.publish("t", "x").qos(QoS::AtLeastOnce);
            answered.wait().unwrap(); // the driver has had a turn
        }
        client.disconnect().unwrap();
    });
}

#[test]
fn a_child_takes_few_copies_of_what_its_parent_had_received() {
    static ID: AtomicU32 = AtomicU32::new(PARENT);
    in_time(|| {
        let broker = TestBroker::new();
        let client = connect(&broker, || ID.load(Ordering::Relaxed));
        let mut messages = client.subscribe("t").wait().unwrap();
        for _ in 0..2 * UNCHECKED {
            client
                .publish("t", "x")
                .qos(QoS::AtLeastOnce)
                .wait()
                .unwrap();
        }
        messages.recv().unwrap();
        ID.store(CHILD, Ordering::Relaxed);
        let copies = messages.by_ref().count();
        assert!(copies < UNCHECKED as usize, "{copies}");
        ID.store(PARENT, Ordering::Relaxed);
        client.disconnect().unwrap();
    });
}
