//! Readers of the events of a connection: what is behind `Client.events`.

use std::sync::{Mutex, MutexGuard, PoisonError};

use ferromqtt_engine::{ConnectionEvent, EventReaderId};
use ferromqtt_proto::{FilterRefusal, TopicFilter};
use pyo3::gc::{PyTraverseError, PyVisit};
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::PyDict;

use crate::access::Access;
use crate::core::Core;
use crate::failure::{End, request_text};
use crate::gate;
use crate::hooks;
use crate::properties;
use crate::tokens::{PyEngine, Reader};

/// One reader. `ferromqtt.events` makes events of what it takes.
#[pyclass(frozen, module = "ferromqtt._native")]
pub(crate) struct EventReader {
    core: Py<Core>,
    reader: EventReaderId,
    place: Mutex<Place>,
}

/// How far a reader has come.
struct Place {
    /// How the connection stood when the reader was made.
    first: Option<ConnectionEvent>,
    /// The number of the event that comes next.
    next: u64,
}

impl EventReader {
    pub(crate) fn new(core: &Bound<'_, Core>) -> Self {
        let (reader, first, next) = core.lock().engine.read_events();
        Self {
            core: core.clone().unbind(),
            reader,
            place: Mutex::new(Place { first, next }),
        }
    }
}

#[pymethods]
impl EventReader {
    /// The next event, by the name of its class and its fields; None when there is none yet.
    fn take<'py>(slf: &Bound<'py, Self>) -> PyResult<Option<(&'static str, Bound<'py, PyDict>)>> {
        let this = slf.get();
        let core = this.core.bind(slf.py());
        let _inside = gate::enter_on(core)?;
        let guard = core.read(); // first: waiting for it may detach, which the lock of the place must not see
        let event = this.place().take(&guard.engine);
        drop(guard);
        event.map(|event| fields(core, event)).transpose()
    }

    /// Whether no event will come any more, beside those that are there.
    #[getter]
    fn ended(&self, py: Python<'_>) -> bool {
        self.core.bind(py).read().engine.has_ended()
    }

    /// A future that is done when there is more to take.
    fn wait<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        let _inside = gate::enter_on(self.core.bind(py))?;
        let core = self.core.bind(py);
        let event_loop = hooks::running_loop(py)?.call0()?;
        let future = event_loop.call_method0(intern!(py, "create_future"))?;
        let token = Reader {
            future: future.clone().unbind(),
            name: None,
        };
        let former = core.lock().engine.wait_for_event(self.reader, token);
        drop(former);
        Ok(future)
    }

    /// Nobody waits for the next event any more.
    fn stop_waiting(&self, py: Python<'_>) -> PyResult<()> {
        let _inside = gate::enter_on(self.core.bind(py))?;
        let core = self.core.bind(py);
        let token = (core.lock().engine).stop_waiting_for_events(self.reader);
        drop(token);
        Ok(())
    }

    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        visit.call(&self.core)
    }

    // No `__clear__`: whatever cycle it is in runs through the core, which can be cleared.
}

impl EventReader {
    /// Held for as long as an event is looked up, and never while Python code runs.
    fn place(&self) -> MutexGuard<'_, Place> {
        self.place.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Place {
    fn take(&mut self, engine: &PyEngine) -> Option<ConnectionEvent> {
        let first = self.first.take();
        first.or_else(|| engine.take_event(&mut self.next))
    }
}

/// Sets the fields of an event about a filter that was refused.
fn set_refused(
    fields: &Bound<'_, PyDict>,
    filter: &TopicFilter,
    refusal: &FilterRefusal,
) -> PyResult<()> {
    fields.set_item("filter", filter.as_str())?;
    fields.set_item("reason", refusal.reason().value())?;
    fields.set_item("forbidden_by", refusal.forbidden_by().map(request_text))
}

/// An event by the name of its class and its fields.
fn fields<'py>(
    core: &Bound<'py, Core>,
    event: ConnectionEvent,
) -> PyResult<(&'static str, Bound<'py, PyDict>)> {
    let py = core.py();
    let fields = PyDict::new(py);
    let kind = match event {
        ConnectionEvent::Connected {
            session_present,
            properties,
        } => {
            fields.set_item("session_present", session_present)?;
            fields.set_item("properties", properties::to_dict(py, Some(&properties))?)?;
            "Connected"
        }
        ConnectionEvent::Disconnected {
            cause,
            address,
            has_accepted,
            retry_at,
            unflushed,
        } => {
            let now = Core::now(core)?;
            let retry_in = retry_at.map(|at| at.saturating_duration_since(now).as_secs_f64());
            fields.set_item("cause", End::new(&cause, &address, has_accepted))?;
            fields.set_item("retry_in", retry_in)?;
            fields.set_item("unflushed", unflushed)?;
            "Disconnected"
        }
        ConnectionEvent::NotResubscribed { filter, refusal } => {
            set_refused(&fields, &filter, &refusal)?;
            "NotResubscribed"
        }
        ConnectionEvent::Lagged { filters, lost } => {
            fields.set_item("filters", texts(&filters))?;
            fields.set_item("lost", lost)?;
            "Lagged"
        }
        ConnectionEvent::Missed(events) => {
            fields.set_item("events", events)?;
            "Missed"
        }
        ConnectionEvent::Unflushed { messages } => {
            fields.set_item("messages", messages)?;
            "Unflushed"
        }
        ConnectionEvent::Tolerated { slip } => {
            fields.set_item("slip", slip.to_string())?;
            "Tolerated"
        }
        ConnectionEvent::Unclaimed { messages } => {
            fields.set_item("messages", messages)?;
            "Unclaimed"
        }
        ConnectionEvent::NotSubscribed { filter, refusal } => {
            set_refused(&fields, &filter, &refusal)?;
            "NotSubscribed"
        }
        ConnectionEvent::NotUnsubscribed { filter, refusal } => {
            set_refused(&fields, &filter, &refusal)?;
            "NotUnsubscribed"
        }
        ConnectionEvent::MessageSuspected {
            topic,
            messages,
            ends,
            reason,
        } => {
            fields.set_item("topic", topic.as_str())?;
            fields.set_item("messages", messages)?;
            fields.set_item("ends", ends)?;
            fields.set_item("reason", reason.map(|reason| reason.value()))?;
            "MessageSuspected"
        }
        ConnectionEvent::MessageRefused { topic, reason } => {
            fields.set_item("topic", topic.as_str())?;
            fields.set_item("reason", reason.value())?;
            "MessageRefused"
        }
        ConnectionEvent::IdentifierContested(contest) => {
            fields.set_item("text", contest.to_string())?;
            fields.set_item("ends", contest.ends)?;
            "IdentifierContested"
        }
        ConnectionEvent::Stalled { filters } => {
            fields.set_item("filters", texts(&filters))?;
            "Stalled"
        }
        _ => "ConnectionEvent", // of a later version of the engine
    };
    Ok((kind, fields))
}

fn texts(filters: &[TopicFilter]) -> Vec<&str> {
    filters.iter().map(TopicFilter::as_str).collect()
}
