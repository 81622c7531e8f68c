//! Subscriptions with a queue of their own: what is behind `ferromqtt._subscription`.

use ferromqtt_engine::{Awaited, QueueEnd};
use ferromqtt_proto::{Acknowledge, FilterRefusal, Overflow, QueueId, QueueOptions};
use pyo3::exceptions::{PyStopAsyncIteration, PyValueError};
use pyo3::gc::{PyTraverseError, PyVisit};
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::PyDict;

use crate::access::Access;
use crate::call_result;
use crate::convert;
use crate::core::Core;
use crate::decoding::Decoding;
use crate::events;
use crate::gate;
use crate::hand_over;
use crate::hooks;
use crate::message::Message;
use crate::messages_iterator::MessagesIterator;
use crate::operations::{self, GivenFilter};
use crate::tokens::PyEngine;

/// The queue of one subscription, until it is closed.
#[pyclass(frozen, weakref, module = "ferromqtt._native")]
pub(crate) struct SubscriptionQueue {
    core: Py<Core>,
    queue: QueueId,
    /// How its messages are read, if it has templates or a codec.
    decoding: Option<Py<Decoding>>,
}

#[pymethods]
impl SubscriptionQueue {
    /// Opens a queue; a bound may be None. `overflow` is "wait", "drop_oldest", "drop_newest" or "fail"; with `manual_ack` the
    /// program acknowledges. One `of_requests` is a responder's, whose subscriptions end on a connection before 5.0.
    #[new]
    #[pyo3(signature = (core, maxsize, maxbytes, overflow, manual_ack, decoding, of_requests))]
    fn new(
        core: Bound<'_, Core>,
        maxsize: Option<usize>,
        maxbytes: Option<usize>,
        overflow: &str,
        manual_ack: bool,
        decoding: Option<Py<Decoding>>,
        of_requests: bool,
    ) -> PyResult<Self> {
        let _inside = gate::enter_on(&core)?;
        let options = QueueOptions {
            limit: maxsize,
            bytes: maxbytes,
            overflow: overflow_named(overflow)?,
            acknowledge: match manual_ack {
                true => Acknowledge::ByApplication,
                false => Acknowledge::OnReceipt,
            },
        };
        let queue = match of_requests {
            true => core.lock().engine.open_request_queue(options),
            false => core.lock().engine.open_queue(options),
        };
        Ok(Self {
            core: core.unbind(),
            queue,
            decoding,
        })
    }

    /// Subscribes. Returns a future of the list of Reason Codes.
    fn subscribe<'py>(
        &self,
        py: Python<'py>,
        filters: Vec<GivenFilter>,
        properties: Option<&Bound<'py, PyDict>>,
        timeout: &Bound<'py, PyAny>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let _inside = gate::enter_on(self.core.bind(py))?;
        let timeout = convert::timeout(timeout)?;
        let terms = operations::terms(filters, properties, self.queue)?;
        let subscribe = |engine: &mut PyEngine, now, deadline, token| {
            engine.subscribe_lasting(now, terms, deadline, token)
        };
        operations::request_filters(self.core.bind(py), timeout, Awaited::SubAck, subscribe)
    }

    /// Has each start of the connection subscribe, for a client that is not connected yet.
    fn declare(
        &self,
        py: Python<'_>,
        filters: Vec<GivenFilter>,
        properties: Option<&Bound<'_, PyDict>>,
    ) -> PyResult<()> {
        let _inside = gate::enter_on(self.core.bind(py))?;
        let terms = operations::terms(filters, properties, self.queue)?;
        let core = self.core.bind(py);
        let now = Core::now(core)?;
        core.lock().engine.declare_lasting(now, terms);
        events::hand_out(core)
    }

    /// A new iterator over the messages.
    fn messages<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, MessagesIterator>> {
        let _inside = gate::enter_on(self.core.bind(py))?;
        let core = self.core.clone_ref(py);
        let decoding = self.decoding.as_ref().map(|it| it.clone_ref(py));
        Bound::new(py, MessagesIterator::new(core, self.queue, decoding))
    }

    /// Takes the next message of those that are reserved for no iterator, without waiting.
    fn take_message<'py>(&self, py: Python<'py>) -> PyResult<Option<Bound<'py, Message>>> {
        let _inside = gate::enter_on(self.core.bind(py))?;
        hand_over::pop(self.core.bind(py), self.queue, self.decoding.as_ref())
    }

    fn __len__(&self, py: Python<'_>) -> usize {
        let core = self.core.bind(py).read();
        core.engine.core().queue_len(self.queue)
    }

    /// How many messages the full queue has lost since the last call. With "fail" it goes on behind the gap.
    fn take_lost(&self, py: Python<'_>) -> u64 {
        let mut core = self.core.bind(py).lock();
        core.engine.take_lost(self.queue)
    }

    /// What the server has said to each filter when it was asked last: the filter and the Reason Code.
    #[getter]
    fn answer(&self, py: Python<'_>) -> Vec<(String, u8)> {
        let core = self.core.bind(py).read();
        let answer = core.engine.answer_of(self.queue);
        (answer.into_iter())
            .map(|(filter, reason)| (filter.as_str().to_owned(), reason.value()))
            .collect()
    }

    /// The filters that the server has refused in a later connection, with its Reason Codes.
    #[getter]
    fn not_subscribed(&self, py: Python<'_>) -> Vec<(String, u8)> {
        let core = self.core.bind(py).read();
        let refused = core.engine.not_subscribed(self.queue).iter();
        refused
            .map(|(filter, refusal)| (filter.as_str().to_owned(), refusal.reason().value()))
            .collect()
    }

    /// Whether the queue is closed.
    #[getter]
    fn is_closed(&self, py: Python<'_>) -> bool {
        let core = self.core.bind(py).read();
        !core.engine.is_lasting(self.queue)
    }

    /// Ends the subscription, without waiting for the server; in a session that outlives the program it leaves it to that.
    fn close(&self, py: Python<'_>) -> PyResult<()> {
        let _inside = gate::enter_on(self.core.bind(py))?;
        let core = self.core.bind(py);
        let (now, failed) = Core::now_or_last(core);
        core.lock().engine.drop_queue(now, self.queue);
        events::hand_out(core)?;
        let _ = Core::schedule_flush(core); // fails when its loop is closed: then there is nobody to write to
        failed
    }

    /// Ends the subscription. Returns the filters that are unsubscribed and a future of the list of their Reason Codes, which
    /// is empty before 5.0; or None when there is nothing to unsubscribe.
    fn unsubscribe<'py>(
        &self,
        py: Python<'py>,
    ) -> PyResult<Option<(Vec<String>, Bound<'py, PyAny>)>> {
        let _inside = gate::enter_on(self.core.bind(py))?;
        let core = self.core.bind(py);
        operations::check_loop(core)?;
        let filters = core.lock().engine.close_queue(self.queue);
        events::hand_out(core)?;
        if filters.is_empty() {
            let _ = Core::schedule_flush(core); // as in `close`
            return Ok(None);
        }
        let names = (filters.iter()).map(|filter| filter.as_str().to_owned());
        let names = names.collect();
        // Without a limit: the server is to hear of it, also when the caller waits no longer.
        let future = operations::unsubscribe_from(core, filters, f64::INFINITY)?;
        Ok(Some((names, future)))
    }

    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        visit.call(&self.core)?;
        visit.call(&self.decoding)
    }

    // No `__clear__`: whatever cycle it is in runs through the core, which can be cleared.
}

fn overflow_named(name: &str) -> PyResult<Overflow> {
    Ok(match name {
        "wait" => Overflow::Wait,
        "drop_oldest" => Overflow::DropOldest,
        "drop_newest" => Overflow::DropNewest,
        "fail" => Overflow::Fail,
        _ => return Err(PyValueError::new_err("There is no such overflow policy.")),
    })
}

/// What an iterator raises when no message will come any more.
#[cold]
pub(crate) fn end_of_queue(core: &Bound<'_, Core>, end: QueueEnd) -> PyErr {
    let py = core.py();
    let error = match end {
        QueueEnd::Connection => core.call_method0(intern!(py, "_iteration_error")),
        QueueEnd::Unsubscribed => return PyStopAsyncIteration::new_err(()),
        QueueEnd::Overflown { lost } => {
            hooks::overflow_error(py).and_then(|make| make.call1((lost,)))
        }
        QueueEnd::Refused {
            refusal: FilterRefusal::NotAsked(error),
            ..
        } => {
            let refused = call_result::request_refused(core, error.into(), "subscribe");
            return refused.unwrap_or_else(|failed| failed);
        }
        QueueEnd::Refused { filter, refusal } => hooks::refused_subscription(py)
            .and_then(|make| make.call1((vec![(filter.as_str(), refusal.reason().value())],))),
    };
    match error {
        Ok(error) => PyErr::from_value(error),
        Err(error) => error,
    }
}
