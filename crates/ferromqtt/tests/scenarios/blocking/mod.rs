//! `ferromqtt::blocking`: threads that wait without a runtime.

mod calls;
mod ends;
mod refused;

use std::cell::RefCell;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread;
use std::time::Duration;

use ferromqtt::Options;
use ferromqtt::blocking::Client;
use ferromqtt_testing::TestBroker;
use tokio::runtime::{Builder, Runtime};

use crate::options;

const LIMIT: Duration = Duration::from_secs(60);

/// Runs a test in a thread of its own, so that a hang is a failure.
fn in_time(test: impl FnOnce() + Send + 'static) {
    let (ended, end) = channel::<()>();
    let running = thread::spawn(move || {
        let _ended = ended; // dropped also when the test panics
        test();
    });
    let end = end.recv_timeout(LIMIT);
    assert_eq!(end, Err(RecvTimeoutError::Disconnected), "the test hangs");
    running.join().unwrap();
}

fn connect(broker: &TestBroker) -> Client {
    Client::connect(options(broker)).expect("a connection")
}

/// A broker on a loopback socket, and the runtime that it runs in, whose threads are none of the test's.
struct Host {
    broker: TestBroker,
    runtime: Runtime,
}

impl Host {
    fn start() -> Self {
        let mut builder = Builder::new_multi_thread();
        let runtime = builder.worker_threads(1).enable_all().build().unwrap();
        let broker = runtime.block_on(TestBroker::start()).unwrap();
        Self { broker, runtime }
    }

    fn options(&self) -> Options {
        Options::new(self.broker.host(), self.broker.port())
    }
}

thread_local! {
    /// Dropped when its thread ends.
    static UNTIL_THE_END: RefCell<Option<Sender<()>>> = const { RefCell::new(None) };
}

/// Options of a client in memory, and what is disconnected when the thread of that client has ended.
fn watched(broker: &TestBroker) -> (Options, Receiver<()>) {
    let (alive, end) = channel();
    let connect = broker.transport();
    let options = options(broker).transport(move |server| {
        let alive = alive.clone();
        UNTIL_THE_END.with(|end| end.replace(Some(alive)));
        connect(server)
    });
    (options, end)
}

/// Whether what [`watched`] returned says that the thread has ended: nothing is waited for.
fn has_ended(thread: &Receiver<()>) -> bool {
    thread.recv_timeout(Duration::ZERO) == Err(RecvTimeoutError::Disconnected)
}
