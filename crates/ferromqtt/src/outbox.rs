//! The outbox of a connection: opened before it, settled with each turn of the driver, and closed behind it.

use std::sync::{Arc, OnceLock, Weak};
use std::time::Instant;

use ferromqtt_engine::CallEnd;
pub(crate) use ferromqtt_outbox::{OpenedOutbox, RunningOutbox};
use ferromqtt_proto as proto;
use ferromqtt_proto::Session;
use tokio::sync::oneshot;

use crate::shared::{Shared, now};
use crate::state::TaskEngine;
use crate::{Client, ConnectError, Options, OutboxStats, PublishError, Receipt};

pub(crate) async fn open_outbox(options: &Options) -> Result<Option<OpenedOutbox>, ConnectError> {
    options.open_outbox().await
}

/// The core's options and session, from those of the application and from its outbox.
pub(crate) fn take_up(
    options: &Options,
    outbox: Option<OpenedOutbox>,
) -> Result<(proto::Options, Session, Option<OpenedOutbox>), ConnectError> {
    let Some(mut outbox) = outbox else {
        return Ok((options.to_core()?, Session::default(), None));
    };
    let core = options.to_core_with(|core| outbox.settle_options(core))?;
    let session = outbox.take_session();
    Ok((core, session, Some(outbox)))
}

/// An outbox whose thread wakes nobody yet.
pub(crate) struct StartedOutbox {
    running: RunningOutbox,
    /// Whose driver the thread wakes.
    wakes: Arc<OnceLock<Weak<Shared>>>,
}

/// Has the thread wake the driver of `shared`. It may have woken nobody before: the driver looks in its first turn.
pub(crate) fn attach_outbox(started: StartedOutbox, shared: &Arc<Shared>) {
    shared.lock().outbox = Some(started.running);
    let _ = started.wakes.set(Arc::downgrade(shared));
}

/// Has an engine take up what the outbox holds, before it starts.
pub(crate) fn start_outbox(
    engine: &mut TaskEngine,
    outbox: Option<OpenedOutbox>,
) -> Result<Option<StartedOutbox>, ConnectError> {
    let Some(outbox) = outbox else {
        return Ok(None);
    };
    let wakes = Arc::new(OnceLock::new());
    let woken = Arc::clone(&wakes);
    let wake = move || {
        if let Some(shared) = woken.get().and_then(Weak::<Shared>::upgrade) {
            shared.driver.notify_one();
        }
    };
    let running = outbox.start(engine, now(), Arc::new(wake))?;
    Ok(Some(StartedOutbox { running, wakes }))
}

/// Returns whether there may be more to transmit since.
pub(crate) fn settle_outbox(
    outbox: &mut Option<RunningOutbox>,
    engine: &mut TaskEngine,
    now: Instant,
) -> bool {
    (outbox.as_mut()).is_some_and(|outbox| outbox.settle(engine, now))
}

impl Shared {
    /// Whether what is enqueued is stored.
    pub(crate) const fn has_outbox(&self) -> bool {
        self.journals
    }

    /// Writes what there is to the outbox, and closes it: the folder is free then.
    pub(crate) async fn close_outbox(&self) {
        if self.lock().outbox.is_none() {
            return;
        }
        loop {
            let closed = self.call_and_notify(|state, now| {
                state.engine.settle(now);
                let outbox = state.outbox.as_mut();
                outbox.is_none_or(|outbox| outbox.close(&mut state.engine, now))
            });
            if closed {
                return;
            }
            self.driver.notified().await;
        }
    }
}

impl Client {
    /// What the [outbox](Options::outbox) holds, in figures; `None` without one.
    pub fn outbox_stats(&self) -> Option<OutboxStats> {
        match self.shared.has_forked() {
            true => None,
            false => self.shared.lock().outbox.as_ref().map(RunningOutbox::stats),
        }
    }
}

impl Receipt {
    /// Waits until the message is stored in the [outbox](Options::outbox), in the sense of its
    /// [`sync`](crate::Outbox::sync): on the disk, by default. Also `Ok` once the message has ended, since there is nothing left to store.
    ///
    /// # Errors
    /// [`PublishError::NotOnRecord`] when the store fails first, or the connection ends without it; [`PublishError::NoOutbox`]
    /// without an outbox.
    ///
    /// # Cancel safety
    /// It may be dropped, and called again, at any time.
    pub async fn stored(&self) -> Result<(), PublishError> {
        tokio::task::coop::consume_budget().await;
        let (shared, key) = self.stored_under().ok_or(PublishError::NoOutbox)?;
        let (token, end) = oneshot::channel();
        shared.call_and_notify(|state, _| state.engine.await_stored(*key, token));
        end.await.unwrap_or(CallEnd::DriverGone).stored()
    }
}
