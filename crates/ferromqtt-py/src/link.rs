//! One transport as asyncio sees it: the protocol object, from the request to open the transport to its end.
//!
//! asyncio's callbacks do not say which transport calls. Each transport has a protocol object of its own, so the callbacks of
//! an earlier one, which may come after the next connection was made, are told apart and ignored.

use bytes::BytesMut;
use ferromqtt_engine::{InputDemand, LinkId};
use ferromqtt_proto::TransportError;
use pyo3::gc::{PyTraverseError, PyVisit};
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyMemoryView, PySlice};

use crate::access::Access;
use crate::buffer::{self, ReadBuffer};
use crate::core::Core;
use crate::events;
use crate::gate;
use crate::progress::WriteLimits;

/// A transport's `BufferedProtocol`. `ferromqtt._link.Link` adds the base class.
#[pyclass(subclass, frozen, module = "ferromqtt._native")]
pub(crate) struct Link {
    core: Py<Core>,
    /// The engine's name for the transport; `None` when no transport was asked for.
    id: Option<LinkId>,
}

#[pymethods]
impl Link {
    /// The link whose transport is to be opened now.
    #[new]
    fn new(core: Bound<'_, Core>) -> Self {
        let id = core.read().link;
        Self {
            core: core.unbind(),
            id,
        }
    }

    /// Whether it is the client's present link.
    #[getter]
    fn is_current(&self, py: Python<'_>) -> bool {
        self.current(py).is_some()
    }

    /// Ends the link without its transport, which is aborted if there is one: it could not be opened, or nobody waits for its
    /// end. Without a reason the client has cut it.
    /// `is_final`: no connection follows.
    fn give_up(&self, py: Python<'_>, reason: Option<String>, is_final: bool) -> PyResult<()> {
        let _inside = gate::enter_on(self.core.bind(py))?;
        let Some((core, id)) = self.current(py) else {
            return Ok(());
        };
        let cause = match reason {
            Some(reason) => TransportError::Failed(reason.into()),
            None => TransportError::Cut,
        };
        let transport = (core.read().transport.as_ref()).map(|it| it.clone_ref(py));
        let ended = Core::end_link(core, id, cause, is_final);
        if let Some(transport) = transport {
            transport.call_method0(py, intern!(py, "abort"))?;
        }
        ended
    }

    // asyncio.BufferedProtocol

    fn connection_made(&self, transport: Bound<'_, PyAny>) -> PyResult<()> {
        let py = transport.py();
        let _inside = gate::enter_on(self.core.bind(py))?;
        let limits = WriteLimits::of(&transport)?;
        let limit = PyDict::new(py);
        limit.set_item(intern!(py, "high"), limits.buffer)?;
        transport.call_method(intern!(py, "set_write_buffer_limits"), (), Some(&limit))?;
        let write = transport.getattr(intern!(py, "write"))?.unbind();
        let opened = match self.current(py) {
            None => None,
            Some((core, id)) => {
                let now = Core::now(core)?;
                let opened = core.lock().engine.opened(now, id);
                opened.then_some(core)
            }
        };
        let Some(slf) = opened else {
            transport.call_method0(intern!(py, "abort"))?; // it was given up meanwhile
            return Ok(());
        };
        let mut core = slf.lock();
        let previous = (
            core.transport.replace(transport.unbind()),
            core.write.replace(write),
        );
        core.writable = true;
        core.is_cut = false;
        core.held_up = false;
        core.slice = limits.slice;
        core.input.clear();
        drop(core);
        drop(previous);
        Core::flush(slf)
    }

    fn connection_lost(&self, py: Python<'_>, exc: Option<Bound<'_, PyAny>>) -> PyResult<()> {
        let _inside = gate::enter_on(self.core.bind(py))?;
        let Some((core, id)) = self.current(py) else {
            return Ok(());
        };
        let cause = match exc {
            _ if core.read().is_cut => TransportError::Cut,
            None => TransportError::EndOfStream,
            Some(exc) => TransportError::Failed(exc.str()?.to_string().into()),
        };
        Core::end_link(core, id, cause, false)
    }

    /// The server has ended its side: the connection is over. The transport closes itself and reports `connection_lost` later,
    /// and what it is given until then it would take and drop.
    fn eof_received(&self, py: Python<'_>) -> PyResult<Option<bool>> {
        let _inside = gate::enter_on(self.core.bind(py))?;
        let Some((core, id)) = self.current(py) else {
            return Ok(None);
        };
        let (now, failed) = Core::now_or_last(core);
        (core.lock().engine).closed(now, id, TransportError::EndOfStream);
        events::pump(core, now).and(failed)?;
        Core::arm_timer(core)?; // for the next attempt
        Ok(None)
    }

    fn pause_writing(&self, py: Python<'_>) {
        if let Some((core, _)) = self.current(py) {
            let mut core = core.lock();
            core.writable = false;
            core.held_up = true;
        }
    }

    fn resume_writing(&self, py: Python<'_>) -> PyResult<()> {
        let _inside = gate::enter_on(self.core.bind(py))?;
        let Some((core, _)) = self.current(py) else {
            return Ok(());
        };
        core.lock().writable = true;
        // Not at once: asyncio's own transport would end twice if it were closed from here.
        Core::schedule_flush(core)
    }

    pub(crate) fn get_buffer<'py>(
        &self,
        py: Python<'py>,
        sizehint: isize,
    ) -> PyResult<Bound<'py, PyMemoryView>> {
        let _inside = gate::enter_on(self.core.bind(py))?;
        let _ = sizehint;
        let buffer = ReadBuffer::free(py)?;
        let mut view = PyMemoryView::from(buffer.as_any())?;
        if let Some((core, _)) = self.current(py) {
            let mut core = core.lock();
            let demand = core.engine.input_demand();
            let previous = core.read_buffer.replace(buffer.unbind());
            drop(core);
            drop(previous);
            if demand == InputDemand::Little {
                let little = PySlice::new(py, 0, buffer::LITTLE, 1);
                view = view.get_item(little)?.cast_into()?;
            }
        }
        Ok(view)
    }

    fn buffer_updated(&self, py: Python<'_>, nbytes: usize) -> PyResult<()> {
        let _inside = gate::enter_on(self.core.bind(py))?;
        let Some(buffer) = self.take_buffer(py) else {
            return Ok(());
        };
        self.receive(py, nbytes, |input| buffer.get().copy_to(input, nbytes))
    }

    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        visit.call(&self.core)
    }

    // No `__clear__`: whatever cycle it is in runs through the core, which can be cleared.
}

impl Link {
    /// The core and the name of the link, if it is the present one.
    fn current<'py>(&self, py: Python<'py>) -> Option<(&Bound<'py, Core>, LinkId)> {
        let core = self.core.bind(py);
        let id = self.id?;
        (core.read().link == Some(id)).then_some((core, id))
    }

    /// The buffer that the transport has just read into.
    pub(crate) fn take_buffer(&self, py: Python<'_>) -> Option<Py<ReadBuffer>> {
        let (core, _) = self.current(py)?;
        core.lock().read_buffer.take()
    }

    /// Takes input of the transport: `append` appends it, at most `count` bytes.
    #[inline]
    pub(crate) fn receive(
        &self,
        py: Python<'_>,
        count: usize,
        append: impl FnOnce(&mut BytesMut),
    ) -> PyResult<()> {
        let Some((slf, id)) = self.current(py) else {
            return Ok(());
        };
        let (now, failed) = Core::now_or_last(slf);
        slf.lock().take_input(now, id, count, append);
        events::pump(slf, now)?;
        Core::flush(slf)?;
        if count >= buffer::READ_SIZE {
            Core::rest_from_reading(slf)?;
        }
        failed
    }
}
