//! The engine on an event loop: links to transports on one side, `ferromqtt.Client` on the other.
//!
//! A borrow of [`Core`] is never held while Python code may run: a transport's `write` calls `pause_writing` at once,
//! and any allocation may run a finalizer. So every method takes what it needs in a short borrow, and then acts.

mod lifecycle;
mod methods;

use std::time::Instant;

use bytes::BytesMut;
use ferromqtt_engine::{Lines, LinkId, OutgoingQueueOptions, Standing};
use ferromqtt_outbox::OpenedOutbox;
use ferromqtt_proto::Options;
use pyo3::gc::{PyTraverseError, PyVisit};
use pyo3::prelude::*;
use pyo3::types::PyDict;

use crate::backlog::Backlog;
use crate::buffer::ReadBuffer;
use crate::clock::Clock;
use crate::gate;
use crate::home::Home;
use crate::message::TopicCache;
use crate::next_message::NextMessage;
use crate::outbox::OutboxLink;
use crate::pending::PendingWarning;
use crate::progress::WriteLimits;
use crate::tokens::PyEngine;
use crate::turn::Turn;
use crate::wire::WritingEnd;

/// One MQTT client on asyncio. `ferromqtt._driver.Protocol` adds the hooks; each transport has a [`Link`](crate::link::Link).
#[pyclass(subclass, weakref, module = "ferromqtt._native")]
pub(crate) struct Core {
    pub(crate) engine: PyEngine,
    seed: u64,
    pub(crate) input: BytesMut,
    pub(crate) read_buffer: Option<Py<ReadBuffer>>,
    pub(crate) event_loop: Option<Py<PyAny>>,
    /// What the futures of calls are made with, if they are not left to the loop.
    pub(crate) future_arguments: Option<Py<PyDict>>,
    /// What tells the time on that loop.
    pub(crate) clock: Clock,
    /// Where that loop runs.
    pub(crate) home: Option<Home>,
    /// For a client that any thread may call: makes what a thread waits on. None: callers are tasks of the loop.
    pub(crate) parker: Option<Py<PyAny>>,
    /// The engine's name for the transport: from the request to open it to its end.
    pub(crate) link: Option<LinkId>,
    pub(crate) transport: Option<Py<PyAny>>,
    pub(crate) write: Option<Py<PyAny>>,
    pub(crate) writable: bool,
    /// The transport's input is left alone: a queue has no capacity.
    pub(crate) input_paused: bool,
    /// The transport has paused the core since there was last nothing left to write.
    pub(crate) held_up: bool,
    /// The most that the transport gets at once.
    pub(crate) slice: usize,
    pub(crate) flush_scheduled: bool,
    /// How far this side of the transport has come to its end.
    pub(crate) writing_end: WritingEnd,
    /// A chunk is on its way to the transport: whoever wants to write meanwhile leaves it to `flush` to go on.
    pub(crate) writing: bool,
    pub(crate) timer: Option<(Instant, Py<PyAny>)>,
    pub(crate) turn: Turn,
    /// Messages taken since an iterator last suspended.
    pub(crate) taken: u32,
    pub(crate) topics: TopicCache,
    /// A step that is done, for the next one to be: used again once nobody else has it.
    pub(crate) spare_step: Option<Py<NextMessage>>,
    /// Takes every message instead of the queue, if set.
    message_sink: Option<Py<PyAny>>,
    /// The transport is aborted from here.
    pub(crate) is_cut: bool,
    /// The program acknowledges messages itself.
    pub(crate) manual_ack: bool,
    /// Exactly-once handlers keep the identifiers of QoS 2 messages, from the next connection on.
    pub(crate) keeps_identifiers: bool,
    /// How many calls may wait before a warning is logged.
    pub(crate) pending_calls_threshold: usize,
    /// When it is.
    pub(crate) pending_warning: PendingWarning,
    /// The outbox, from the beginning of the first connection to its closing.
    pub(crate) outbox: Option<OutboxLink>,
    /// One that is open, for the next beginning.
    pub(crate) opened_outbox: Option<OpenedOutbox>,
    /// How often its folder had been written to when the client was left last: what is here is what is there.
    pub(crate) left_frames: Option<u64>,
    /// The bounds of the outgoing queue, until that is opened for the first message.
    queue_options: Option<OutgoingQueueOptions>,
    /// When to warn that the queue of received messages grows long.
    pub(crate) backlog: Backlog,
    /// How many calls the client lets through at once.
    pub(crate) max_calls: usize,
    /// The number of the call that was accepted last, for `abandon`.
    pub(crate) last_op: u64,
    /// Which log lines have been written how often.
    pub(crate) lines: Lines,
}

impl Core {
    /// One that was never begun.
    fn unconfigured(seed: u64) -> PyResult<Self> {
        Ok(Self {
            engine: lifecycle::new_engine(Options::default(), seed)?,
            seed,
            input: BytesMut::new(),
            read_buffer: None,
            event_loop: None,
            future_arguments: None,
            clock: Clock::default(),
            home: None,
            parker: None,
            link: None,
            transport: None,
            write: None,
            writable: false,
            input_paused: false,
            held_up: false,
            slice: WriteLimits::PLAIN.slice,
            flush_scheduled: false,
            writing_end: WritingEnd::Open,
            writing: false,
            is_cut: false,
            timer: None,
            turn: Turn::default(),
            taken: 0,
            topics: TopicCache::default(),
            spare_step: None,
            message_sink: None,
            manual_ack: false,
            keeps_identifiers: false,
            pending_calls_threshold: 10,
            pending_warning: PendingWarning::default(),
            outbox: None,
            opened_outbox: None,
            left_frames: None,
            queue_options: None,
            backlog: Backlog::default(),
            max_calls: usize::MAX,
            last_op: 0,
            lines: Lines::default(),
        })
    }

    /// Where the connection stands: the value of a `ClientState`.
    fn state_name(&self) -> &'static str {
        if self.engine.core().is_idle() {
            return "disconnected";
        }
        match self.engine.standing() {
            Standing::Connecting => "connecting",
            Standing::Connected => "connected",
            Standing::Reconnecting => "reconnecting",
            Standing::Ended(_) => "disconnected",
        }
    }

    /// Everything of Python's, for the garbage collection.
    fn visit_held(&self, visit: &PyVisit<'_>) -> Result<(), PyTraverseError> {
        visit.call(&self.event_loop)?;
        visit.call(&self.future_arguments)?;
        visit.call(&self.parker)?;
        self.clock.traverse(visit)?;
        visit.call(&self.transport)?;
        visit.call(&self.write)?;
        visit.call(&self.read_buffer)?;
        visit.call(&self.message_sink)?;
        visit.call(&self.spare_step)?;
        visit.call(self.timer.as_ref().map(|(_, handle)| handle))?;
        let calls = self.engine.held_calls().map(|call| &call.future);
        let readers = self.engine.held_readers().map(|reader| &reader.future);
        for future in calls.chain(readers) {
            visit.call(future)?;
        }
        Ok(())
    }

    /// Everything of Python's, for the caller to drop.
    fn take_held(&mut self) -> impl Sized + use<> {
        (
            (self.event_loop.take(), self.future_arguments.take()),
            (std::mem::take(&mut self.clock), self.parker.take()),
            (self.message_sink.take(), self.spare_step.take()),
            (self.transport.take(), self.write.take()),
            (self.read_buffer.take(), self.timer.take()),
            self.engine.take_held(),
            std::mem::take(&mut self.topics),
        )
    }

    /// Opens the outgoing queue, for its first message: a client that never uses it pays nothing for it.
    pub(crate) fn open_queue(&mut self) {
        if let Some(options) = self.queue_options.take() {
            self.engine.open_outgoing_queue(options, []);
        }
    }

    pub(crate) fn sink<'py>(&self, py: Python<'py>) -> Option<Bound<'py, PyAny>> {
        self.message_sink.as_ref().map(|sink| sink.bind(py).clone())
    }

    /// Whether a thread calls that does not run the loop, of a client that permits it. Such a call leaves writing to the loop.
    pub(crate) fn is_called_by_thread(&self) -> bool {
        self.parker.is_some() && self.home != Some(Home::here())
    }

    /// What makes the waiter of such a call.
    pub(crate) fn parker_of_thread(&self, py: Python<'_>) -> Option<Py<PyAny>> {
        let parker = self.parker.as_ref()?;
        self.is_called_by_thread().then(|| parker.clone_ref(py))
    }

    /// Whether calls are accepted, so that they belong on the client's loop: there is a connection, or one will come.
    pub(crate) fn takes_calls(&self) -> bool {
        let core = self.engine.core();
        core.is_connected() || (core.options().reconnect.is_some() && !core.is_idle())
    }
}

/// Releases what the core holds as a call of the module, as [`Core::__clear__`] does.
impl Drop for Core {
    fn drop(&mut self) {
        gate::release(self.take_held());
    }
}
