//! The thread behind a client. It has a runtime, which runs the same driver as any connection's.

use std::io;
use std::sync::mpsc::{SyncSender, sync_channel};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use tokio::runtime::{Builder, Handle};
use tokio::sync::oneshot;

use super::process::{Process, check_runtime};
use crate::{
    Client, ConnectError, Connection, ConnectionError, Drained, Options, ReasonCode, TransportError,
};

/// How a connection is to be ended.
#[derive(Debug)]
pub(super) enum Ending {
    /// As [`Connection::disconnect`] does, with this Reason Code.
    Leave(ReasonCode),
    /// As [`Connection::drain`] does, within this limit.
    Drain(Duration),
}

/// A client of the connection, and the runtime that keeps the client's time limits.
pub(super) type Begun = (Client, Handle);

/// How long the thread's end waits for its runtime's blocking work. A look-up of a host name cannot be interrupted, and goes
/// on alone.
const BLOCKING_WORK: Duration = Duration::from_millis(100);

/// A thread that was started.
pub(super) struct Background {
    endings: oneshot::Sender<Ending>,
    thread: JoinHandle<Option<Drained>>,
}

impl Background {
    /// Starts the thread, and waits until the connection has begun.
    pub(super) fn start(
        options: Options,
        open: impl AsyncFnOnce(Options) -> Result<Connection, ConnectError> + Send + 'static,
        process: Process,
    ) -> Result<(Self, Begun), ConnectError> {
        let (report, begun) = sync_channel(1);
        let (endings, ending) = oneshot::channel();
        let run = move || match run(options, open, process, &report, ending) {
            Ok(drained) => Some(drained),
            Err(error) => {
                let _ = report.send(Err(error)); // it is received below
                None
            }
        };
        let thread = thread::Builder::new().name("ferromqtt".to_owned());
        let thread = thread.spawn(run).map_err(|error| not_started(&error))?;
        match begun.recv() {
            Ok(Ok(begun)) => Ok((Self { endings, thread }, begun)),
            failed => {
                let _ = thread.join(); // it has nothing left to do
                let panicked = || ConnectError::NotTried(ConnectionError::DriverGone);
                Err(failed.ok().and_then(Result::err).unwrap_or_else(panicked))
            }
        }
    }

    /// Has the connection ended, and waits until the thread has ended. `None` when it panicked.
    pub(super) fn end(self, ending: Ending) -> Option<Drained> {
        let _ = self.endings.send(ending); // it is not received if the thread has gone
        self.thread.join().ok()?
    }

    /// Has the thread let go of the connection, and waits for its end unless that would block a runtime, or this is the thread.
    pub(super) fn let_go(self) {
        drop(self.endings);
        if check_runtime().is_ok() && self.thread.thread().id() != thread::current().id() {
            let _ = self.thread.join();
        }
    }
}

fn not_started(error: &io::Error) -> ConnectError {
    let why = format!("the thread behind the client could not be started: {error}");
    let failed = TransportError::Failed(why.into());
    ConnectError::NotTried(ConnectionError::Transport(failed))
}

/// What the thread does. Returns how the connection has ended.
fn run(
    options: Options,
    open: impl AsyncFnOnce(Options) -> Result<Connection, ConnectError>,
    process: Process,
    report: &SyncSender<Result<Begun, ConnectError>>,
    ending: oneshot::Receiver<Ending>,
) -> Result<Drained, ConnectError> {
    let runtime = Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| not_started(&error))?;
    let counts_as_failed = options.will_on_error;
    let ran = runtime.block_on(async {
        let mut connection = open(options).await?;
        if counts_as_failed {
            connection.when_dropped = ReasonCode::DisconnectWithWill;
        }
        let client = connection.client();
        let _ = client.shared.process.set(process); // it is new: nobody has set another one
        let _ = report.send(Ok((client, Handle::current()))); // it is received by who started the thread
        Ok(match ending.await {
            Ok(Ending::Leave(reason)) => Drained::nothing_left(connection.leave(reason).await),
            Ok(Ending::Drain(limit)) => connection.drain(limit).await,
            Err(_) => Drained::nothing_left(connection.let_go().await), // the last client was dropped
        })
    });
    runtime.shutdown_timeout(BLOCKING_WORK);
    ran
}
