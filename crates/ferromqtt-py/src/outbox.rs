//! The outbox of a client on an event loop. Its thread never attaches to the interpreter: it writes to one end of a pair of
//! sockets, and the loop reads the other.

use std::io::{Read, Write};
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use ferromqtt_engine::Awaited;
use ferromqtt_outbox::{OpenedOutbox, Outbox, RunningOutbox, StoreError, StoreSync};
use ferromqtt_proto::Direction;
use pyo3::exceptions::{PyOSError, PyRuntimeError};
use pyo3::prelude::*;
use pyo3::types::PyDict;

use crate::access::Access;
use crate::call_future;
use crate::core::Core;
use crate::events;
use crate::receipts;
use crate::tokens::Call;

/// A folder that is open, until a client takes it up.
#[pyclass(frozen, module = "ferromqtt._native")]
pub(crate) struct OutboxFolder {
    opened: Mutex<Option<OpenedOutbox>>,
    /// Whose session it has.
    #[pyo3(get)]
    client_identifier: String,
}

#[pymethods]
impl OutboxFolder {
    /// Closes it, so that it is free.
    fn close(&self, py: Python<'_>) {
        py.detach(|| drop(self.take()));
    }
}

impl OutboxFolder {
    pub(crate) fn take(&self) -> Option<OpenedOutbox> {
        let mut opened = self.opened.lock().unwrap_or_else(PoisonError::into_inner);
        opened.take()
    }
}

fn failed(error: &StoreError) -> PyErr {
    PyOSError::new_err(error.to_string())
}

/// Opens the outbox in a folder: for a thread that may block. `sync` is "always", "never", or a number of seconds.
#[pyfunction]
#[expect(
    clippy::too_many_arguments,
    reason = "the fields of `ferromqtt.Outbox`"
)]
pub(crate) fn open_outbox(
    py: Python<'_>,
    path: PathBuf,
    maxsize: Option<usize>,
    maxbytes: Option<usize>,
    overflow: &str,
    max_age: Option<f64>,
    quarantine: bool,
    sync: (&str, f64),
    client_identifier: String,
) -> PyResult<OutboxFolder> {
    let seconds = |seconds| Duration::try_from_secs_f64(seconds).unwrap_or(Duration::MAX);
    let outbox = Outbox::new(path)
        .max_messages(maxsize)
        .max_bytes(maxbytes)
        .when_full(receipts::policy(overflow)?)
        .max_age(max_age.map(seconds))
        .quarantine(quarantine)
        .sync(match sync {
            ("always", _) => StoreSync::Always,
            ("never", _) => StoreSync::Never,
            (_, interval) => StoreSync::Interval(seconds(interval)),
        });
    let opened = py.detach(|| outbox.open(&client_identifier));
    let opened = opened.map_err(|error| failed(&error))?;
    Ok(OutboxFolder {
        client_identifier: opened.client_identifier().to_string(),
        opened: Mutex::new(Some(opened)),
    })
}

/// The outbox of a client that is entered.
pub(crate) struct OutboxLink {
    running: RunningOutbox,
    /// Has something to read when the store has something to say.
    wakes: UnixStream,
    /// The file that holds the lock of the folder.
    lock: i32,
    pub(crate) is_closed: bool,
}

impl OutboxLink {
    /// Reads what has woken the loop.
    fn take_wakes(&self) {
        let mut taken = [0; 64];
        while (&self.wakes).read(&mut taken).is_ok_and(|count| count > 0) {}
    }
}

/// Has a client that was left take up its outbox again. Returns `false`, and does nothing, when somebody has written to the folder
/// since.
pub(crate) fn take_up_again(slf: &Bound<'_, Core>, folder: &OutboxFolder) -> bool {
    let Some(opened) = folder.take() else {
        return false;
    };
    let mut core = slf.lock();
    let unchanged = core.left_frames == Some(opened.frames());
    if unchanged {
        core.opened_outbox = Some(opened);
    }
    unchanged
}

/// Starts an outbox, before its engine starts.
pub(crate) fn start(core: &mut Core, opened: OpenedOutbox, now: Instant) -> PyResult<()> {
    let lock = opened.lock_descriptor();
    let (wakes, waker) = UnixStream::pair()?;
    wakes.set_nonblocking(true)?;
    waker.set_nonblocking(true)?;
    let wake = move || {
        let _ = (&waker).write(&[0]); // where it is full, the loop has not read yet
    };
    let running = match core.left_frames {
        Some(_) => opened.resume(&mut core.engine, Arc::new(wake)),
        None => opened.start(&mut core.engine, now, Arc::new(wake)),
    };
    let running = running.map_err(|error| failed(&error))?;
    core.outbox = Some(OutboxLink {
        running,
        wakes,
        lock,
        is_closed: false,
    });
    Ok(())
}

impl Core {
    /// Hands what has changed to the outbox. Returns whether there is more to write since.
    pub(crate) fn settle_outbox(&mut self, now: Instant) -> bool {
        let Some(outbox) = &mut self.outbox else {
            return false;
        };
        let mut more = false;
        while outbox.running.settle(&mut self.engine, now) {
            self.engine.settle(now);
            more = true;
        }
        more
    }
}

/// What the loop is to watch: it is readable when [`woken`] has something to do.
pub(crate) fn descriptor(slf: &Bound<'_, Core>) -> Option<i32> {
    let core = slf.read();
    core.outbox.as_ref().map(|outbox| outbox.wakes.as_raw_fd())
}

/// Whether the store is about to have something to say.
pub(crate) fn is_writing(slf: &Bound<'_, Core>) -> bool {
    let core = slf.read();
    (core.outbox.as_ref()).is_some_and(|outbox| !outbox.is_closed && outbox.running.is_writing())
}

/// The store has something to say.
pub(crate) fn woken(slf: &Bound<'_, Core>) -> PyResult<()> {
    if let Some(outbox) = &slf.lock().outbox {
        outbox.take_wakes();
    }
    let now = Core::now(slf)?;
    events::pump(slf, now)?;
    Core::flush(slf)
}

/// Closes the outbox, once the connection has ended: receipts that wait learn whether their messages are kept. Returns whether it
/// is closed; until then it is to be called again when the store has something to say.
pub(crate) fn close(slf: &Bound<'_, Core>) -> PyResult<bool> {
    let (now, _) = Core::now_or_last(slf);
    let mut core = slf.lock();
    let core_now = &mut *core;
    let Some(outbox) = &mut core_now.outbox else {
        return Ok(true);
    };
    outbox.take_wakes();
    let closed = outbox.running.close(&mut core_now.engine, now);
    if closed {
        outbox.is_closed = true;
        core_now.left_frames = Some(outbox.running.frames());
    }
    drop(core);
    if closed {
        Core::stop_timer(slf)?; // of messages that expire: their next client sees to that
    }
    Ok(closed)
}

/// Nobody waits any more until the outbox is closed, which its thread does by itself: whoever waits for it here is released.
pub(crate) fn give_up(slf: &Bound<'_, Core>) -> PyResult<()> {
    let mut core = slf.lock();
    let Some(outbox) = &mut core.outbox else {
        return Ok(());
    };
    outbox.is_closed = true;
    core.engine.store_closed();
    drop(core);
    Core::stop_timer(slf)
}

/// In a forked child: neither the thread nor what it writes is here. Its memory is left alone, as the thread may have been
/// changing it at that moment. Returns the descriptor to close, so that the folder is not locked by this process.
pub(crate) fn forget(slf: &Bound<'_, Core>) -> Option<i32> {
    let mut core = slf.lock();
    let outbox = core.outbox.take()?;
    let lock = outbox.lock;
    std::mem::forget(outbox);
    core.engine.journal_failed(Direction::Sent);
    Some(lock)
}

/// What it holds, in figures; `None` without one.
pub(crate) fn stats<'py>(slf: &Bound<'py, Core>) -> PyResult<Option<Bound<'py, PyDict>>> {
    let core = slf.read();
    let Some(stats) = core.outbox.as_ref().map(|it| it.running.stats()) else {
        return Ok(None);
    };
    drop(core);
    let dict = PyDict::new(slf.py());
    dict.set_item("messages", stats.messages)?;
    dict.set_item("bytes", stats.bytes)?;
    dict.set_item("quarantined", stats.quarantined)?;
    dict.set_item("disk_bytes", stats.disk_bytes)?;
    dict.set_item("is_full", stats.is_full)?;
    dict.set_item("has_failed", stats.has_failed)?;
    let counters = stats.counters;
    dict.set_item("accepted", counters.accepted)?;
    dict.set_item("finished", counters.finished)?;
    dict.set_item("refused", counters.refused)?;
    dict.set_item("expired", counters.expired)?;
    dict.set_item("dropped", counters.dropped)?;
    dict.set_item("replaced", counters.replaced)?;
    dict.set_item("requeued", counters.requeued)?;
    dict.set_item("damaged", counters.damaged)?;
    Ok(Some(dict))
}

/// A future that is done when the message with this key is on record.
pub(crate) fn await_stored<'py>(slf: &Bound<'py, Core>, key: u64) -> PyResult<Bound<'py, PyAny>> {
    if slf.read().outbox.is_none() {
        return Err(PyRuntimeError::new_err(
            "Nothing is stored without an outbox: give the client one, or await the receipt alone",
        ));
    }
    let future = call_future::create(slf)?;
    let call = Call {
        future: future.clone().unbind(),
        awaited: Awaited::Stored,
        wants_outcome: false,
        limit: 0.0,
    };
    slf.lock().engine.await_stored(key, call);
    events::hand_out(slf)?;
    Ok(future)
}
