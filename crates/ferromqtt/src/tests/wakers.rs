//! Wakers are the application's: dropping one may run code that calls the client.

use std::future::{Future, IntoFuture};
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};
use std::thread;

use super::*;
use crate::{Client, OutgoingLimits};

/// Calls the client when it is woken, and when it is dropped.
struct Calls(Client);

impl Calls {
    fn waker(client: &Client) -> Waker {
        Waker::from(Arc::new(Self(client.clone())))
    }
}

impl Wake for Calls {
    fn wake(self: Arc<Self>) {
        let _ = self.0.stats();
    }
}

impl Drop for Calls {
    fn drop(&mut self) {
        let _ = self.0.stats();
    }
}

/// Runs `test` with a client that has no room for another message.
fn with_full_client<F: Future<Output = ()>>(test: impl FnOnce(Client) -> F + Send + 'static) {
    without_deadlock(move || {
        paused_runtime().block_on(async {
            let limits = OutgoingLimits {
                messages: Some(1),
                bytes: None,
            };
            let options = options().outgoing(limits).max_in_flight(1);
            let (connection, _server, _attempts) = connected(options, 4096).await;
            let client = connection.client();
            let publish = client.publish("t", "first").qos(QoS::AtLeastOnce);
            let mut receipt = publish.enqueue().await.unwrap();
            let waker = Calls::waker(&client);
            assert!(poll(&mut receipt, &waker).is_pending());
            drop((receipt, waker));
            test(client).await;
        });
    });
}

fn poll<F: Future + Unpin>(future: &mut F, waker: &Waker) -> Poll<F::Output> {
    std::pin::Pin::new(future).poll(&mut Context::from_waker(waker))
}

#[test]
fn the_waker_of_a_stream_may_call_the_client_when_another_one_replaces_it() {
    with_full_client(async |client: Client| {
        let mut messages = client.messages();
        for _ in 0..3 {
            let waker = Calls::waker(&client);
            assert!(poll(&mut pin!(messages.next()), &waker).is_pending());
        }
    });
}

#[test]
fn the_waker_of_a_stream_may_call_the_client_when_the_stream_is_dropped() {
    with_full_client(async |client: Client| {
        let mut messages = client.messages();
        let waker = Calls::waker(&client);
        assert!(poll(&mut pin!(messages.next()), &waker).is_pending());
        drop(waker);
        drop(messages);
    });
}

#[test]
fn the_waker_of_a_publish_that_waits_for_room_may_call_the_client_when_it_is_dropped() {
    with_full_client(async |client: Client| {
        let publish = client.publish("t", "second").qos(QoS::AtLeastOnce);
        let mut publish = Box::pin(publish.into_future());
        let waker = Calls::waker(&client);
        assert!(poll(&mut publish, &waker).is_pending());
        drop((publish, waker));
    });
}

#[test]
fn the_waker_of_a_receipt_that_was_dropped_may_call_the_client_when_that_leaves() {
    with_full_client(async |client: Client| {
        client.shared.leave(crate::ReasonCode::Success);
    });
}

#[test]
fn a_waker_may_call_the_client_when_the_runtime_is_gone() {
    with_full_client(async |client: Client| {
        let mut messages = client.messages();
        let waker = Calls::waker(&client);
        assert!(poll(&mut pin!(messages.next()), &waker).is_pending());
        let shared = Arc::clone(&client.shared);
        thread::spawn(move || shared.driver_gone()).join().unwrap();
    });
}
