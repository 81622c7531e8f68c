//! The test broker for `ferromqtt.testing`: the sans-IO broker with Python's `bytes` on both sides.

use std::collections::{HashMap, HashSet};
use std::num::NonZeroU32;
use std::path::PathBuf;
use std::time::Instant;

use bytes::{Bytes, BytesMut};
use ferromqtt_proto::QoS;
use ferromqtt_testing::{ConnectionId, FaultId, RestartKeeps};
use pyo3::exceptions::PyValueError;
use pyo3::gc::{PyTraverseError, PyVisit};
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict};

use crate::access::Access;
use crate::clock::Clock;
use crate::gate;
use crate::recording::{self, Recorder};

mod faults;
mod journal;
mod listening;
mod options;
mod packet;

pub(crate) use listening::{TestAuthority, WebSocketServer};

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
        let mut options = options::read(options)?;
        options.journal_packets.get_or_insert(journal::PACKETS);
        Ok(Self {
            core: ferromqtt_testing::Broker::new(options),
            clock: Clock::default(),
            due: None,
            inputs: HashMap::new(),
            paused: HashSet::new(),
            resumed: Vec::new(),
        })
    }

    /// All options: see [`options::OptionRow`].
    #[staticmethod]
    fn options() -> Vec<options::OptionRow> {
        options::rows()
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

    /// The connections whose transports are to be closed behind their output, and whether each is to be reset.
    fn take_closed(slf: &Bound<'_, Self>) -> Vec<(u64, bool)> {
        let mut broker = slf.lock();
        let mut closed = Vec::new();
        while let Some(id) = broker.core.poll_close() {
            broker.forget(id);
            closed.push((id.0, broker.core.closes_by_reset(id)));
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

    /// Whether a new connection would reach it.
    fn is_reachable(slf: &Bound<'_, Self>) -> PyResult<bool> {
        Self::with_time(slf, |core, now| core.is_reachable(now))
    }

    /// Whether the host should read no more of a connection for now.
    fn input_paused(slf: &Bound<'_, Self>, connection: u64) -> bool {
        slf.read().core.input_paused(ConnectionId(connection))
    }

    /// Whether there is nothing to do before somebody does something.
    fn is_idle(slf: &Bound<'_, Self>) -> bool {
        slf.read().core.is_idle()
    }

    /// Adds a rule in its text form; returns its number.
    fn add_fault(slf: &Bound<'_, Self>, rule: &str) -> PyResult<u64> {
        let rule = faults::rule(rule)?;
        let added = Self::with_time(slf, |core, now| core.add_fault(now, rule))?;
        added.map(|id| id.0).map_err(faults::error)
    }

    /// Puts another rule in the place of one.
    fn change_fault(slf: &Bound<'_, Self>, fault: u64, rule: &str) -> PyResult<()> {
        let rule = faults::rule(rule)?;
        let changed = slf.lock().core.change_fault(FaultId(fault), rule);
        changed.map(drop).map_err(faults::error)
    }

    /// Removes a rule, and releases what it holds.
    fn remove_fault(slf: &Bound<'_, Self>, fault: u64) -> PyResult<bool> {
        Self::with_time(slf, |core, now| core.remove_fault(now, FaultId(fault)))
    }

    /// Releases the packets that a rule holds; returns how many.
    fn release_fault(slf: &Bound<'_, Self>, fault: u64) -> PyResult<usize> {
        Self::with_time(slf, |core, now| core.release_fault(now, FaultId(fault)))
    }

    /// How often a rule has fired.
    fn fault_fired(slf: &Bound<'_, Self>, fault: u64) -> u64 {
        slf.read().core.fault_fired(FaultId(fault)).unwrap_or(0)
    }

    /// The texts of the rules that never fired and should have, each with what is known of why.
    fn explain_unused_faults(slf: &Bound<'_, Self>) -> Vec<String> {
        slf.read().core.explain_unused_faults()
    }

    /// What keeps the broker from being idle, a line each.
    fn unfinished(slf: &Bound<'_, Self>) -> Vec<String> {
        slf.read().core.unfinished()
    }

    /// The texts of the rules that never fired and should have.
    fn unused_faults(slf: &Bound<'_, Self>) -> Vec<String> {
        let unused = slf.read().core.unused_faults();
        unused.iter().map(ToString::to_string).collect()
    }

    fn set_fault_seed(slf: &Bound<'_, Self>, seed: u64) {
        slf.lock().core.set_fault_seed(seed);
    }

    /// The Client Identifiers of the clients that have a link.
    fn linked_clients(slf: &Bound<'_, Self>) -> Vec<String> {
        slf.lock().core.linked_clients()
    }

    /// Cuts a client's link; `False` when it has none. So do the next five.
    fn cut_link(slf: &Bound<'_, Self>, client: &str, reset: bool) -> PyResult<bool> {
        Self::with_time(slf, |core, now| core.cut_link(now, client, reset))
    }

    fn half_open_link(slf: &Bound<'_, Self>, client: &str) -> PyResult<bool> {
        Self::with_time(slf, |core, now| core.half_open_link(now, client))
    }

    fn stall_link(slf: &Bound<'_, Self>, client: &str, sends: bool, on: bool) -> PyResult<bool> {
        let side = faults::side(sends);
        Self::with_time(slf, |core, now| core.stall_link(now, client, side, on))
    }

    /// Bytes a second; 0 lifts the limit.
    fn limit_link(slf: &Bound<'_, Self>, client: &str, rate: u32) -> PyResult<bool> {
        let rate = NonZeroU32::new(rate);
        Self::with_time(slf, |core, now| core.limit_link(now, client, rate))
    }

    fn slow_link(
        slf: &Bound<'_, Self>,
        client: &str,
        latency: &str,
        jitter: &str,
    ) -> PyResult<bool> {
        let (latency, jitter) = (faults::duration(latency)?, faults::duration(jitter)?);
        Self::with_time(slf, |core, now| {
            core.slow_link(now, client, latency, jitter)
        })
    }

    fn cut_link_after(
        slf: &Bound<'_, Self>,
        client: &str,
        sends: bool,
        count: usize,
    ) -> PyResult<bool> {
        let side = faults::side(sends);
        Self::with_time(slf, |core, now| {
            core.cut_link_after(now, client, side, count)
        })
    }

    fn partition(slf: &Bound<'_, Self>, hangs: bool) -> PyResult<()> {
        Self::with_time(slf, |core, now| core.partition(now, hangs))
    }

    fn heal(slf: &Bound<'_, Self>) -> PyResult<()> {
        Self::with_time(slf, |core, now| core.heal(now))
    }

    fn restart(
        slf: &Bound<'_, Self>,
        down_for: &str,
        sessions: bool,
        retained: bool,
    ) -> PyResult<()> {
        let down_for = faults::duration(down_for)?;
        let keeps = RestartKeeps { sessions, retained };
        Self::with_time(slf, |core, now| core.restart(now, down_for, keeps))
    }

    fn forget_session(slf: &Bound<'_, Self>, client: &str) -> PyResult<bool> {
        Self::with_time(slf, |core, now| core.forget_session(now, client))
    }

    fn take_over(slf: &Bound<'_, Self>, client: &str) -> PyResult<bool> {
        Self::with_time(slf, |core, now| core.take_over(now, client))
    }

    fn kill_client(slf: &Bound<'_, Self>, client: &str) -> PyResult<bool> {
        Self::with_time(slf, |core, now| core.kill_client(now, client))
    }

    /// Sends a client a packet of this type and these fields; `False` when it has no link.
    fn send_packet(
        slf: &Bound<'_, Self>,
        client: &str,
        kind: u8,
        fields: &Bound<'_, PyDict>,
    ) -> PyResult<bool> {
        let packet = packet::of_server(kind, fields)?;
        Self::with_time(slf, |core, now| core.send_packet(now, client, &packet))
    }

    fn send_raw(slf: &Bound<'_, Self>, client: &str, data: &[u8]) -> PyResult<bool> {
        let data = Bytes::copy_from_slice(data);
        Self::with_time(slf, |core, now| core.send_raw(now, client, data))
    }

    /// Publishes a message as if a client had.
    fn publish(
        slf: &Bound<'_, Self>,
        topic: &str,
        payload: &[u8],
        qos: u8,
        retain: bool,
    ) -> PyResult<()> {
        let message = faults::message(topic, payload, qos, retain)?;
        Self::with_time(slf, |core, now| core.publish(now, message))
    }

    /// The packets of the journal, of these kinds, clients and directions.
    fn packets(
        slf: &Bound<'_, Self>,
        kind: Option<u8>,
        client: Option<String>,
        sends: Option<bool>,
    ) -> Vec<journal::PacketTuple> {
        journal::packets(&slf.read().core, kind, client, sends)
    }

    /// The messages that the broker accepted after the first `after`.
    fn published(
        slf: &Bound<'_, Self>,
        topic: &str,
        after: u64,
    ) -> PyResult<Vec<journal::MessageTuple>> {
        let filter = journal::filter(topic)?;
        Ok(journal::published(&slf.read().core, &filter, after))
    }

    /// How many messages the broker has accepted, and how many of them the journal has dropped; `None` without a journal.
    fn accepted(slf: &Bound<'_, Self>) -> Option<(u64, u64)> {
        let broker = slf.read();
        let journal = broker.core.journal()?;
        Some((journal.accepted(), journal.dropped_messages()))
    }

    /// The newest lines of the journal as a sequence chart.
    fn chart(slf: &Bound<'_, Self>, most: usize) -> String {
        let broker = slf.read();
        (broker.core.journal()).map_or_else(String::new, |journal| journal.chart(most))
    }

    /// The text of a test's failure: why no message was accepted that is wanted.
    fn explain_missing(
        slf: &Bound<'_, Self>,
        headline: &str,
        topic: &str,
        payload: Option<&[u8]>,
        qos: Option<u8>,
        retain: Option<bool>,
    ) -> PyResult<String> {
        let mut filter = journal::filter(topic)?;
        if let Some(payload) = payload {
            filter = filter.payload(Bytes::copy_from_slice(payload));
        }
        if let Some(qos) = qos.and_then(QoS::from_value) {
            filter = filter.qos(qos);
        }
        if let Some(retain) = retain {
            filter = filter.retain(retain);
        }
        Ok(slf.read().core.explain_missing(headline, &filter))
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

    /// Calls the core with the time on the broker's loop.
    pub(crate) fn with_time<T>(
        slf: &Bound<'_, Self>,
        call: impl FnOnce(&mut ferromqtt_testing::Broker, Instant) -> T,
    ) -> PyResult<T> {
        let _inside = gate::enter()?;
        let now = Self::now(slf)?;
        Ok(call(&mut slf.lock().core, now))
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
