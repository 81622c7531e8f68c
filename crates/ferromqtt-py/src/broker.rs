//! The test broker for `ferromqtt.testing`: the sans-IO broker with Python's `bytes` on both sides.

use std::collections::{HashMap, HashSet};
use std::path::PathBuf;
use std::time::Instant;

use bytes::{Bytes, BytesMut};
use ferromqtt_testing::ConnectionId;
use pyo3::exceptions::PyValueError;
use pyo3::gc::{PyTraverseError, PyVisit};
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict};

use crate::access::Access;
use crate::clock::Clock;
use crate::gate;
use crate::recording::{self, Recorder};

mod options;

/// What [`Broker::take_output`] takes for one connection before it asks the transport again: a connection that does not read
/// leaves the rest in the core, where it is bounded.
const OUTPUT_AT_ONCE: usize = 256 * 1024;

/// Of a session: whether its client is connected, how many messages are queued, in flight and were dropped, how many bytes those
/// queued or in flight take, and how many subscriptions it has.
type SessionTuple = (bool, usize, usize, u64, usize, usize);

/// Connections, sessions and their bytes, retained messages and their bytes, dropped and refused.
type StatsTuple = (usize, usize, usize, usize, usize, u64, u64);

// Wraps `ferromqtt_testing::Broker`.
/// An MQTT broker without a socket; its host moves the bytes and watches the time.
#[pyclass(module = "ferromqtt._native")]
pub(crate) struct Broker {
    core: ferromqtt_testing::Broker,
    /// What tells the time on the host's loop.
    clock: Clock,
    /// The earliest deadline that the host was told of since it last called [`Broker::handle_timeout`].
    due: Option<Instant>,
    /// What each open connection sent that is not a whole packet yet.
    inputs: HashMap<ConnectionId, BytesMut>,
    /// Connections whose transport takes no more for now: their output stays in the core.
    paused: HashSet<ConnectionId>,
    /// Connections that were paused, and may have output since.
    resumed: Vec<ConnectionId>,
}

#[pymethods]
impl Broker {
    #[new]
    #[pyo3(signature = (**options))]
    fn new(options: Option<&Bound<'_, PyDict>>) -> PyResult<Self> {
        let _inside = gate::enter()?;
        Ok(Self {
            core: ferromqtt_testing::Broker::new(options::read(options)?),
            clock: Clock::default(),
            due: None,
            inputs: HashMap::new(),
            paused: HashSet::new(),
            resumed: Vec::new(),
        })
    }

    /// Plays the server's side of a recording, from now on and instead of what the options say.
    fn replay(slf: &Bound<'_, Self>, path: PathBuf) -> PyResult<()> {
        let _inside = gate::enter()?;
        let recording = recording::read(path)?;
        let replay = ferromqtt_testing::Broker::from_recording(&recording);
        slf.lock().core = replay.map_err(|error| PyValueError::new_err(error.to_string()))?;
        Ok(())
    }

    /// Records the connections that are opened from now on.
    fn record(slf: &Bound<'_, Self>, recorder: &Recorder) {
        slf.lock().core.record(recorder.shared());
    }

    /// Why the replay failed, or what is left of it; `None` when it is finished, or there is none.
    fn replay_failure(slf: &Bound<'_, Self>) -> Option<String> {
        let checked = slf.read().core.check_replay();
        checked.err().map(|error| error.to_string())
    }

    /// Takes the time from this loop from now on; before, it is the system's.
    fn run_on(slf: &Bound<'_, Self>, event_loop: &Bound<'_, PyAny>) -> PyResult<()> {
        let _inside = gate::enter()?;
        let previous = slf.read().clock.clone();
        let clock = previous.of_loop(event_loop)?;
        let replaced = std::mem::replace(&mut slf.lock().clock, clock);
        drop(replaced); // behind the borrow: its loop's finalizer may run
        Ok(())
    }

    /// A transport was opened; returns the number of its connection.
    fn open(slf: &Bound<'_, Self>) -> PyResult<u64> {
        let _inside = gate::enter()?;
        let now = Self::now(slf)?;
        let mut broker = slf.lock();
        let id = broker.core.open(now);
        broker.inputs.insert(id, BytesMut::new());
        Ok(id.0)
    }

    /// The transport delivered bytes.
    fn receive(slf: &Bound<'_, Self>, connection: u64, data: &[u8]) -> PyResult<()> {
        let _inside = gate::enter()?;
        let now = Self::now(slf)?;
        let id = ConnectionId(connection);
        let broker = &mut *slf.lock();
        if let Some(input) = broker.inputs.get_mut(&id) {
            input.extend_from_slice(data);
            broker.core.handle_input(now, id, input);
        }
        Ok(())
    }

    /// What is to be written now, and to which connections: at most about 256 KiB for each. To be called until nothing comes,
    /// after what came was written.
    fn take_output<'py>(slf: &Bound<'py, Self>) -> PyResult<Vec<(u64, Bound<'py, PyBytes>)>> {
        let output = slf.lock().take_chunks();
        let join = |(id, chunks): (ConnectionId, Vec<Bytes>)| {
            join(slf.py(), &chunks).map(|bytes| (id.0, bytes))
        };
        output.into_iter().map(join).collect()
    }

    /// The connections whose transports are to be closed behind their output.
    fn take_closed(slf: &Bound<'_, Self>) -> Vec<u64> {
        let mut broker = slf.lock();
        let mut closed = Vec::new();
        while let Some(id) = broker.core.poll_close() {
            broker.forget(id);
            closed.push(id.0);
        }
        closed
    }

    /// The transport's buffer is full: `take_output` leaves the connection out.
    fn pause_output(slf: &Bound<'_, Self>, connection: u64) {
        let id = ConnectionId(connection);
        let mut broker = slf.lock();
        if broker.inputs.contains_key(&id) {
            broker.paused.insert(id);
        }
    }

    /// The transport's buffer has room again.
    fn resume_output(slf: &Bound<'_, Self>, connection: u64) {
        let id = ConnectionId(connection);
        let mut broker = slf.lock();
        if broker.paused.remove(&id) {
            broker.resumed.push(id);
        }
    }

    /// The transport ended.
    fn closed(slf: &Bound<'_, Self>, connection: u64) -> PyResult<()> {
        let _inside = gate::enter()?;
        let clock = slf.read().clock.clone();
        let (now, failed) = clock.now_or_last(slf.py());
        let id = ConnectionId(connection);
        let mut broker = slf.lock();
        broker.forget(id);
        broker.core.closed(now, id);
        failed
    }

    /// Seconds until `handle_timeout` is due, or `None`.
    fn timeout(slf: &Bound<'_, Self>) -> PyResult<Option<f64>> {
        let _inside = gate::enter()?;
        if slf.read().core.poll_timeout().is_none() {
            return Ok(None);
        }
        let now = Self::now(slf)?;
        let mut broker = slf.lock();
        let Some(deadline) = broker.core.poll_timeout() else {
            return Ok(None);
        };
        broker.due = Some(broker.due.map_or(deadline, |due| due.min(deadline)));
        Ok(Some(deadline.saturating_duration_since(now).as_secs_f64()))
    }

    /// Does what is due. To be called when the shortest time is over that `timeout` has returned since the last call.
    fn handle_timeout(slf: &Bound<'_, Self>) -> PyResult<()> {
        let _inside = gate::enter()?;
        let clock = slf.read().clock.clone();
        let due = slf.lock().due.take();
        let now = clock.now_at_timer(slf.py(), due)?;
        slf.lock().core.handle_timeout(now);
        Ok(())
    }

    /// How many messages were dropped, at a limit or because they expired.
    #[getter]
    fn dropped(slf: &Bound<'_, Self>) -> u64 {
        slf.read().core.stats().dropped
    }

    /// What there is, and what was dropped and refused so far.
    fn stats(slf: &Bound<'_, Self>) -> StatsTuple {
        let stats = slf.read().core.stats();
        (
            stats.connections,
            stats.sessions,
            stats.session_bytes,
            stats.retained_messages,
            stats.retained_bytes,
            stats.dropped,
            stats.refused,
        )
    }

    /// The state of one client's session.
    fn session(slf: &Bound<'_, Self>, client_identifier: &str) -> Option<SessionTuple> {
        let stats = slf.read().core.session_stats(client_identifier)?;
        Some((
            stats.connected,
            stats.queued,
            stats.in_flight,
            stats.dropped,
            stats.queued_bytes,
            stats.subscriptions,
        ))
    }

    /// Sends a client away; `False` when it is not connected.
    fn disconnect_client(
        slf: &Bound<'_, Self>,
        client_identifier: &str,
        reason: &Bound<'_, PyAny>,
        server_reference: &Bound<'_, PyAny>,
    ) -> PyResult<bool> {
        let _inside = gate::enter()?;
        // Before the borrow: what the user gives may run Python as it is converted.
        let reason = options::reason_code("reason", reason)?;
        let elsewhere = options::optional("server_reference", server_reference, options::text)?;
        let now = Self::now(slf)?;
        (slf.lock().core)
            .disconnect_client(now, client_identifier, reason, elsewhere)
            .map_err(|error| PyValueError::new_err(error.to_string()))
    }

    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        self.clock.traverse(&visit)
    }

    /// What is taken out is dropped once the broker is released, since that may run Python code that uses it.
    fn __clear__(slf: &Bound<'_, Self>) {
        let held = slf
            .try_borrow_mut()
            .map(|mut broker| std::mem::take(&mut broker.clock));
        gate::release(held);
    }
}

/// Releases the loop as a call of the module, as [`Broker::__clear__`] does.
impl Drop for Broker {
    fn drop(&mut self) {
        gate::release(std::mem::take(&mut self.clock));
    }
}

impl Broker {
    /// The time on the broker's loop. May run Python code: no borrow of the broker may be held.
    fn now(slf: &Bound<'_, Self>) -> PyResult<Instant> {
        let clock = slf.read().clock.clone();
        clock.now(slf.py())
    }

    /// What is to be written now, of each connection.
    fn take_chunks(&mut self) -> Vec<(ConnectionId, Vec<Bytes>)> {
        let mut output = Vec::new();
        let mut unfinished = Vec::new();
        while let Some(id) = self.resumed.pop().or_else(|| self.core.poll_writable()) {
            if self.paused.contains(&id) {
                continue; // `resume_output` names it again
            }
            let (mut chunks, mut length) = (Vec::new(), 0);
            while length < OUTPUT_AT_ONCE
                && let Some(chunk) = self.core.poll_transmit(id)
            {
                length += chunk.len();
                chunks.push(chunk);
            }
            if length >= OUTPUT_AT_ONCE {
                unfinished.push(id);
            }
            if !chunks.is_empty() {
                output.push((id, chunks));
            }
        }
        self.resumed = unfinished;
        output
    }

    fn forget(&mut self, id: ConnectionId) {
        self.inputs.remove(&id);
        self.paused.remove(&id);
    }
}

/// One `bytes` object of all chunks.
fn join<'py>(py: Python<'py>, chunks: &[Bytes]) -> PyResult<Bound<'py, PyBytes>> {
    let length = chunks.iter().map(Bytes::len).sum();
    PyBytes::new_with(py, length, |mut rest| {
        for chunk in chunks {
            let (here, behind) = rest.split_at_mut(chunk.len());
            here.copy_from_slice(chunk);
            rest = behind;
        }
        Ok(())
    })
}
