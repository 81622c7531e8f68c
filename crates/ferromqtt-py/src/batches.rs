//! `async for batch in client.messages.batches()`: lists of the messages that are there.
//!
//! A step waits for the first message as a step of the iterator over single messages does, of which it has one inside, and
//! takes the others without waiting.

use std::num::NonZeroUsize;

use ferromqtt_proto::QueueId;
use pyo3::exceptions::{PyStopIteration, PyValueError};
use pyo3::gc::{PyTraverseError, PyVisit};
use pyo3::prelude::*;
use pyo3::types::PyList;

use crate::access::Access;
use crate::core::Core;
use crate::decoding::Decoding;
use crate::gate;
use crate::hand_over;
use crate::messages_iterator::MessagesIterator;
use crate::next_message::{self, NextMessage, Step};

/// The messages of a client or of a subscription in lists, from `messages.batches()`.
#[pyclass(frozen, weakref, generic, module = "ferromqtt._native")]
pub(crate) struct Batches {
    core: Py<Core>,
    messages: Py<MessagesIterator>,
    most: NonZeroUsize,
}

impl Batches {
    /// Batches of at most `most` messages of this iterator, which is over those of `core`.
    pub(crate) fn new(core: Py<Core>, messages: Py<MessagesIterator>, most: i64) -> PyResult<Self> {
        match usize::try_from(most).ok().and_then(NonZeroUsize::new) {
            Some(most) => Ok(Self {
                core,
                messages,
                most,
            }),
            None => {
                let text = format!("max must be 1 or more, not {most}.");
                Err(PyValueError::new_err(text))
            }
        }
    }
}

#[pymethods]
impl Batches {
    const fn __aiter__(slf: PyRef<'_, Self>) -> PyRef<'_, Self> {
        slf
    }

    fn __anext__(&self, py: Python<'_>) -> PyResult<NextBatch> {
        let _inside = gate::enter()?;
        Ok(NextBatch {
            core: self.core.clone_ref(py),
            queue: self.messages.get().queue(),
            decoding: self.messages.get().decoding(py),
            first: self.messages.get().next_step(py)?.unbind(),
            most: self.most,
        })
    }

    fn __repr__(&self, py: Python<'_>) -> String {
        let queued = self.messages.get().queued(py);
        format!(
            "<batches of at most {} messages, {queued} queued>",
            self.most
        )
    }

    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        visit.call(&self.core)?;
        visit.call(&self.messages)
    }

    // No `__clear__`: whatever cycle it is in runs through the core, which can be cleared.
}

/// One step of [`Batches`].
#[pyclass(frozen, module = "ferromqtt._native")]
pub(crate) struct NextBatch {
    core: Py<Core>,
    queue: QueueId,
    decoding: Option<Py<Decoding>>,
    first: Py<NextMessage>,
    most: NonZeroUsize,
}

#[pymethods]
impl NextBatch {
    const fn __await__(slf: PyRef<'_, Self>) -> PyRef<'_, Self> {
        slf
    }

    const fn __iter__(slf: PyRef<'_, Self>) -> PyRef<'_, Self> {
        slf
    }

    fn __next__<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        let _inside = gate::enter()?;
        match next_message::advance(self.first.bind(py))? {
            Step::Yield(object) => Ok(object),
            Step::Return(first) => {
                let batch = self.take_others(first)?;
                Err(PyStopIteration::new_err((batch.unbind(),)))
            }
        }
    }

    fn send<'py>(&self, py: Python<'py>, value: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
        let _ = value;
        self.__next__(py)
    }

    #[pyo3(signature = (kind, value = None, traceback = None))]
    fn throw(
        &self,
        py: Python<'_>,
        kind: &Bound<'_, PyAny>,
        value: Option<&Bound<'_, PyAny>>,
        traceback: Option<&Bound<'_, PyAny>>,
    ) -> PyResult<()> {
        NextMessage::throw(self.first.bind(py), kind, value, traceback)
    }

    fn close(&self, py: Python<'_>) -> PyResult<()> {
        NextMessage::close(self.first.bind(py))
    }

    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        visit.call(&self.core)?;
        visit.call(&self.decoding)?;
        visit.call(&self.first)
    }

    // No `__clear__`: as of `NextMessage`.
}

impl NextBatch {
    /// The list of the first message and of those that are there behind it and reserved for nobody.
    fn take_others<'py>(&self, first: Bound<'py, PyAny>) -> PyResult<Bound<'py, PyList>> {
        let py = first.py();
        let core = self.core.bind(py);
        let batch = PyList::new(py, [first])?;
        while batch.len() < self.most.get() {
            match hand_over::pop(core, self.queue, self.decoding.as_ref()) {
                Ok(Some(message)) => batch.append(message)?,
                Ok(None) => break,
                // What is taken already is not lost with it.
                Err(error) => {
                    error.write_unraisable(py, None);
                    break;
                }
            }
        }
        let others = u32::try_from(batch.len() - 1).unwrap_or(u32::MAX);
        let mut core = core.lock();
        core.taken = core.taken.saturating_add(others);
        Ok(batch)
    }
}
