//! `async for message in client.messages`, and in a subscription of its own: the iterator.

use ferromqtt_proto::QueueId;
use pyo3::gc::{PyTraverseError, PyVisit};
use pyo3::prelude::*;

use crate::access::Access;
use crate::batches::Batches;
use crate::core::Core;
use crate::decoding::Decoding;
use crate::next_message::NextMessage;

/// The messages of a client, or of one subscription. Any number of tasks may iterate: each message goes to one of them, first
/// come first served.
#[pyclass(frozen, weakref, module = "ferromqtt")]
pub(crate) struct MessagesIterator {
    core: Py<Core>,
    queue: QueueId,
    /// How its messages are read, of a subscription with templates or a codec.
    decoding: Option<Py<Decoding>>,
}

impl MessagesIterator {
    pub(crate) const fn new(
        core: Py<Core>,
        queue: QueueId,
        decoding: Option<Py<Decoding>>,
    ) -> Self {
        Self {
            core,
            queue,
            decoding,
        }
    }
}

#[pymethods]
impl MessagesIterator {
    const fn __aiter__(slf: PyRef<'_, Self>) -> PyRef<'_, Self> {
        slf
    }

    fn __anext__<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, NextMessage>> {
        self.next_step(py)
    }

    /// An iterator over lists of 1 to `max` messages that are there, without waiting for more.
    ///
    /// A step waits for one message. A cancelled step loses none.
    #[pyo3(signature = (max = 100))]
    fn batches(slf: &Bound<'_, Self>, max: i64) -> PyResult<Batches> {
        let core = slf.get().core.clone_ref(slf.py());
        Batches::new(core, slf.clone().unbind(), max)
    }

    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        visit.call(&self.core)?;
        visit.call(&self.decoding)
    }

    // No `__clear__`: whatever cycle it is in runs through the core, which can be cleared.

    fn __repr__(&self, py: Python<'_>) -> String {
        let of = match self.queue {
            QueueId::DEFAULT => "client",
            _ => "subscription",
        };
        format!("<messages of a {of}, {} queued>", self.queued(py))
    }

    fn __len__(&self, py: Python<'_>) -> usize {
        self.queued(py)
    }
}

impl MessagesIterator {
    /// The queue that it reads.
    pub(crate) const fn queue(&self) -> QueueId {
        self.queue
    }

    /// How its messages are read.
    pub(crate) fn decoding(&self, py: Python<'_>) -> Option<Py<Decoding>> {
        self.decoding.as_ref().map(|it| it.clone_ref(py))
    }

    /// How many messages wait to be taken.
    pub(crate) fn queued(&self, py: Python<'_>) -> usize {
        let core = self.core.bind(py).read();
        core.engine.core().queue_len(self.queue)
    }

    /// A step that is about to be awaited.
    #[inline]
    pub(crate) fn next_step<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, NextMessage>> {
        let core = Some(self.core.clone_ref(py));
        #[cfg(not(Py_GIL_DISABLED))]
        {
            let spare = self.core.bind(py).lock().spare_step.take();
            if let Some(spare) = spare
                && crate::message::is_last(&spare)
            {
                let spare = spare.into_bound(py);
                spare.lock().begin(core, self.queue, self.decoding(py));
                return Ok(spare);
            }
        }
        Bound::new(py, NextMessage::new(core, self.queue, self.decoding(py)))
    }
}
