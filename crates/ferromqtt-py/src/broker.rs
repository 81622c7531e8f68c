//! The test broker for `ferromqtt.testing`: the sans-IO broker with Python's `bytes` on both sides.

use std::collections::{HashMap, HashSet};
use std::time::Instant;

use bytes::{Bytes, BytesMut};
use ferromqtt_testing::ConnectionId;
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict};

use crate::gate;

mod options;

/// What [`Broker::take_output`] takes for one connection before it asks the transport again: a connection that does not read
/// leaves the rest in the core, where it is bounded.
const OUTPUT_AT_ONCE: usize = 256 * 1024;

/// Of a session: whether its client is connected, how many messages are queued, in flight and were dropped, how many bytes those
/// queued or in flight take, and how many subscriptions it has.
type SessionTuple = (bool, usize, usize, u64, usize, usize);

/// Connections, sessions and their bytes, retained messages and their bytes, dropped and refused.
type StatsTuple = (usize, usize, usize, usize, usize, u64, u64);

/// An MQTT broker without a socket; its host moves the bytes and watches the time.
#[pyclass(module = "ferromqtt._native")]
pub(crate) struct Broker {
    core: ferromqtt_testing::Broker,
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
            inputs: HashMap::new(),
            paused: HashSet::new(),
            resumed: Vec::new(),
        })
    }

    /// A transport was opened; returns the number of its connection.
    fn open(&mut self) -> u64 {
        let id = self.core.open(Instant::now());
        self.inputs.insert(id, BytesMut::new());
        id.0
    }

    /// The transport delivered bytes.
    fn receive(&mut self, connection: u64, data: &[u8]) {
        let id = ConnectionId(connection);
        if let Some(input) = self.inputs.get_mut(&id) {
            input.extend_from_slice(data);
            self.core.handle_input(Instant::now(), id, input);
        }
    }

    /// What is to be written now, and to which connections: at most about 256 KiB for each. To be called until nothing comes,
    /// after what came was written.
    fn take_output<'py>(&mut self, py: Python<'py>) -> PyResult<Vec<(u64, Bound<'py, PyBytes>)>> {
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
                output.push((id.0, join(py, &chunks)?));
            }
        }
        self.resumed = unfinished;
        Ok(output)
    }

    /// The connections whose transports are to be closed behind their output.
    fn take_closed(&mut self) -> Vec<u64> {
        let mut closed = Vec::new();
        while let Some(id) = self.core.poll_close() {
            self.forget(id);
            closed.push(id.0);
        }
        closed
    }

    /// The transport's buffer is full: `take_output` leaves the connection out.
    fn pause_output(&mut self, connection: u64) {
        let id = ConnectionId(connection);
        if self.inputs.contains_key(&id) {
            self.paused.insert(id);
        }
    }

    /// The transport's buffer has room again.
    fn resume_output(&mut self, connection: u64) {
        let id = ConnectionId(connection);
        if self.paused.remove(&id) {
            self.resumed.push(id);
        }
    }

    /// The transport ended.
    fn closed(&mut self, connection: u64) {
        let id = ConnectionId(connection);
        self.forget(id);
        self.core.closed(Instant::now(), id);
    }

    /// Seconds until `handle_timeout` is due, or `None`.
    fn timeout(&self) -> Option<f64> {
        let deadline = self.core.poll_timeout()?;
        Some(
            deadline
                .saturating_duration_since(Instant::now())
                .as_secs_f64(),
        )
    }

    /// Does what is due by now.
    fn handle_timeout(&mut self) {
        self.core.handle_timeout(Instant::now());
    }

    /// How many messages were dropped, at a limit or because they expired.
    #[getter]
    fn dropped(&self) -> u64 {
        self.core.stats().dropped
    }

    /// What there is, and what was dropped and refused so far.
    fn stats(&self) -> StatsTuple {
        let stats = self.core.stats();
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
    fn session(&self, client_identifier: &str) -> Option<SessionTuple> {
        let stats = self.core.session_stats(client_identifier)?;
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
        (slf.try_borrow_mut()?.core)
            .disconnect_client(Instant::now(), client_identifier, reason, elsewhere)
            .map_err(|error| PyValueError::new_err(error.to_string()))
    }
}

impl Broker {
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
