//! What a publish costs beside the lock: at most one wake-up of the driver.

use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, Wake, Waker};
use std::thread;

use ferromqtt_proto::packet::Packet;

use super::*;
use crate::Client;
use crate::driver::drive;

#[derive(Default)]
struct Count(AtomicUsize);

impl Count {
    fn take(&self) -> usize {
        self.0.swap(0, Ordering::SeqCst)
    }
}

impl Wake for Count {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

/// The driver is polled by hand, so that each of its wake-ups is seen; the publishes come from another thread.
#[tokio::test(start_paused = true)]
async fn a_publish_of_another_thread_costs_at_most_one_wake_up() {
    const EACH: usize = 100;
    let (attempts, script) = Attempts::new();
    let stream = attempts.succeeds(1 << 20);
    let shared = Connection::shared(&options(), None).unwrap();
    let client = Client {
        shared: Arc::clone(&shared),
    };
    let mut driver = pin!(drive(shared, script));
    let wake_ups = Arc::new(Count::default());
    let waker = Waker::from(Arc::clone(&wake_ups));
    let mut cx = Context::from_waker(&waker);
    let mut settle = move |wake_ups: &Count| {
        for _ in 0..100 {
            let polled = tokio::task::unconstrained(driver.as_mut());
            assert!(matches!(pin!(polled).poll(&mut cx), Poll::Pending));
            if wake_ups.take() == 0 {
                return;
            }
        }
        panic!("the driver never rests");
    };
    settle(&wake_ups);
    let accepting = tokio::spawn(Server::accept(stream, false));
    while !accepting.is_finished() {
        tokio::task::yield_now().await;
        settle(&wake_ups);
    }
    let (mut server, _) = accepting.await.unwrap();
    settle(&wake_ups);
    assert!(client.is_connected());

    for qos in [QoS::AtMostOnce, QoS::AtLeastOnce] {
        settle(&wake_ups);
        // Many publishes while the driver has no turn are one wake-up for all.
        let publisher = client.clone();
        thread::spawn(move || publish(&publisher, qos, EACH))
            .join()
            .unwrap();
        assert_eq!(wake_ups.take(), 1, "{qos:?}");
        settle(&wake_ups);
        // And each alone is one.
        for _ in 0..EACH {
            let publisher = client.clone();
            thread::spawn(move || publish(&publisher, qos, 1))
                .join()
                .unwrap();
            assert_eq!(wake_ups.take(), 1, "{qos:?}");
            settle(&wake_ups);
        }
        for _ in 0..2 * EACH {
            assert!(matches!(server.next().await, Some(Packet::Publish(_))));
        }
    }
}

/// Enqueues without a runtime: nothing of it may wait for the driver.
fn publish(client: &Client, qos: QoS, count: usize) {
    for _ in 0..count {
        let enqueuing = pin!(client.publish("t", "x").qos(qos).enqueue());
        let accepted = enqueuing.poll(&mut Context::from_waker(Waker::noop()));
        let Poll::Ready(Ok(receipt)) = accepted else {
            panic!("accepted at once");
        };
        drop(receipt);
    }
}
