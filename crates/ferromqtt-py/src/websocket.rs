//! WebSocket between the transport of a socket and the core. Frames are made and taken apart here: no message travels
//! through Python on its way between the two.

use std::sync::{Mutex, MutexGuard, OnceLock};

use bytes::BytesMut;
use ferromqtt_transport as transport;
use pyo3::exceptions::{PyAttributeError, PyConnectionError, PyValueError};
use pyo3::gc::{PyTraverseError, PyVisit};
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::PyMemoryView;

use crate::buffer;
use crate::gate;
use crate::link::Link;
use crate::transport::Host;

/// The headers that a WebSocket request usually has, in their usual order.
#[pyfunction]
pub(crate) fn websocket_headers(host: &Host, port: u16, secure: bool) -> Vec<(String, String)> {
    transport::default_headers(&host.0, port, secure)
}

/// A WebSocket on the transport of a socket: the protocol of that transport, and the transport of the core.
/// `ferromqtt._transport.websocket` adds the base class.
#[pyclass(subclass, frozen, weakref, module = "ferromqtt._native")]
pub(crate) struct WebSocketTransport {
    /// What has this as its transport once the server has accepted.
    above: Py<Link>,
    /// The transport of the socket.
    below: OnceLock<Py<PyAny>>,
    /// Never locked while Python code may run.
    state: Mutex<LayerState>,
}

struct LayerState {
    websocket: transport::WebSocket,
    /// Whether the core has its transport.
    attached: bool,
    /// Why the connection is closed from here.
    failure: Option<String>,
}

#[pymethods]
impl WebSocketTransport {
    #[new]
    #[expect(clippy::needless_pass_by_value, reason = "what PyO3 makes of a list")]
    fn new(above: Py<Link>, path: &str, headers: Vec<(String, String)>) -> PyResult<Self> {
        let _inside = gate::enter()?;
        let request = transport::WebSocketRequest::new(path, &headers)
            .map_err(|error| PyValueError::new_err(error.to_string()))?;
        Ok(Self {
            above,
            below: OnceLock::new(),
            state: Mutex::new(LayerState {
                websocket: transport::WebSocket::new(request),
                attached: false,
                failure: None,
            }),
        })
    }

    // asyncio.BufferedProtocol, for the transport of the socket

    /// Sends the opening request.
    fn connection_made(&self, py: Python<'_>, transport: Py<PyAny>) -> PyResult<()> {
        let _inside = gate::enter()?;
        let _ = self.below.set(transport); // it has one only
        self.transmit(py)
    }

    fn get_buffer<'py>(
        &self,
        py: Python<'py>,
        sizehint: isize,
    ) -> PyResult<Bound<'py, PyMemoryView>> {
        self.above.get().get_buffer(py, sizehint)
    }

    fn buffer_updated(slf: &Bound<'_, Self>, nbytes: usize) -> PyResult<()> {
        let _inside = gate::enter()?;
        let (this, py) = (slf.get(), slf.py());
        let link = this.above.get();
        let Some(buffer) = link.take_buffer(py) else {
            return Ok(());
        };
        let mut frames = BytesMut::with_capacity(nbytes.min(buffer::READ_SIZE));
        buffer.get().copy_to(&mut frames, nbytes);
        let mut unframed = Ok(());
        let attached = this.state().attached;
        let handed_up = match attached {
            true => link.receive(py, nbytes, |input| {
                unframed = this.state().websocket.receive_into(&frames, input);
            }),
            false => {
                let mut early = BytesMut::new();
                unframed = this.state().websocket.receive_into(&frames, &mut early);
                Self::attach_if_open(slf, &early)
            }
        };
        this.transmit(py)?;
        Self::end_if_closed(slf, unframed)?;
        handed_up
    }

    /// Reports that the server has ended its side; the transport closes.
    fn eof_received(&self, py: Python<'_>) -> PyResult<()> {
        self.forward_if_open(py, "eof_received")
    }

    fn pause_writing(&self, py: Python<'_>) -> PyResult<()> {
        self.forward_if_open(py, "pause_writing")
    }

    fn resume_writing(&self, py: Python<'_>) -> PyResult<()> {
        self.forward_if_open(py, "resume_writing")
    }

    /// Reports the end to the core, or to the caller that waits for the server's answer.
    fn connection_lost<'py>(
        slf: &Bound<'py, Self>,
        exc: Option<Bound<'py, PyAny>>,
    ) -> PyResult<()> {
        let _inside = gate::enter()?;
        let (this, py) = (slf.get(), slf.py());
        let mut state = this.state();
        if state.attached {
            let failure = state.failure.take().map(PyConnectionError::new_err);
            drop(state);
            let failure = failure.map(|error| error.into_value(py).into_bound(py).into_any());
            let ended = intern!(py, "connection_lost");
            return this
                .above
                .call_method1(py, ended, (failure.or(exc),))
                .map(drop);
        }
        let ended = state.websocket.end_of_stream();
        drop(state);
        let text = match (&exc, ended) {
            (Some(exc), _) => format!("WebSocket handshake error: {}", exc.str()?),
            (None, Err(error)) => error.to_string(),
            (None, Ok(())) => return Ok(()), // the caller has been told
        };
        let error = PyConnectionError::new_err(text);
        error.set_cause(py, exc.map(PyErr::from_value));
        Self::answer(slf, Some(error)).map(drop)
    }

    // asyncio.Transport, for the core and for the driver

    /// Sends a chunk of the core's in one frame.
    fn write(&self, py: Python<'_>, data: &Bound<'_, PyAny>) -> PyResult<()> {
        let _inside = gate::enter()?;
        let chunk = buffer::of_chunk(data)?;
        if self.open_below(py)?.is_some() {
            self.state().websocket.send(chunk);
            self.transmit(py)?;
        }
        Ok(())
    }

    const fn can_write_eof(&self) -> bool {
        true
    }

    /// Sends a Close frame behind everything, and nothing after it.
    fn write_eof(&self, py: Python<'_>) -> PyResult<()> {
        self.close_then(py, "write_eof")
    }

    /// Sends a Close frame behind everything, and closes when all is written.
    fn close(&self, py: Python<'_>) -> PyResult<()> {
        self.close_then(py, "close")
    }

    fn abort(&self, py: Python<'_>) -> PyResult<()> {
        let _inside = gate::enter()?;
        if let Some(below) = self.below.get() {
            below.call_method0(py, intern!(py, "abort"))?;
        }
        Ok(())
    }

    /// Whatever else a transport has is that of the socket's.
    fn __getattr__(&self, py: Python<'_>, name: &str) -> PyResult<Py<PyAny>> {
        let _inside = gate::enter()?;
        match self.below.get() {
            Some(below) => below.getattr(py, name),
            None => Err(PyAttributeError::new_err(name.to_owned())),
        }
    }

    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        visit.call(&self.above)?;
        visit.call(self.below.get())
    }

    // No `__clear__`: whatever cycle it is in runs through the transport or the core, which can be cleared.
}

/// Releases the transport of the socket, which may have a finalizer, as a call of the module.
impl Drop for WebSocketTransport {
    fn drop(&mut self) {
        gate::release(self.below.take());
    }
}

impl WebSocketTransport {
    fn state(&self) -> MutexGuard<'_, LayerState> {
        self.state.lock().unwrap_or_else(|error| error.into_inner())
    }

    /// The transport of the socket, unless it is closing.
    fn open_below<'py>(&self, py: Python<'py>) -> PyResult<Option<&Bound<'py, PyAny>>> {
        let Some(below) = self.below.get().map(|below| below.bind(py)) else {
            return Ok(None);
        };
        let closing = below.call_method0(intern!(py, "is_closing"))?;
        Ok((!closing.is_truthy()?).then_some(below))
    }

    /// Hands all frames to the transport of the socket.
    fn transmit(&self, py: Python<'_>) -> PyResult<()> {
        let frames = self.state().websocket.poll_transmit();
        if let (Some(frames), Some(below)) = (frames, self.below.get()) {
            let frames = buffer::for_transport(py, frames)?;
            below.call_method1(py, intern!(py, "write"), (frames,))?;
        }
        Ok(())
    }

    /// Sends a Close frame, and calls this method of the transport of the socket, if it can do that.
    fn close_then(&self, py: Python<'_>, end: &str) -> PyResult<()> {
        let _inside = gate::enter()?;
        let Some(below) = self.open_below(py)? else {
            return Ok(());
        };
        self.state().websocket.close();
        self.transmit(py)?;
        let can_end = below.call_method0(intern!(py, "can_write_eof"))?;
        if end == "close" || can_end.is_truthy()? {
            below.call_method0(end)?;
        }
        Ok(())
    }

    /// Connects the core once the server has accepted, and hands it what has come behind the answer.
    fn attach_if_open(slf: &Bound<'_, Self>, early: &[u8]) -> PyResult<()> {
        let (this, py) = (slf.get(), slf.py());
        let is_open = this.state().websocket.is_open();
        if !is_open || !Self::answer(slf, None)? {
            return Ok(());
        }
        this.state().attached = true;
        let made = intern!(py, "connection_made");
        this.above.call_method1(py, made, (slf,))?;
        (this.above.get()).receive(py, early.len(), |input| input.extend_from_slice(early))
    }

    /// Tells the caller that waits for the server's answer, and whether it still does: otherwise the connection is being
    /// given up.
    fn answer(slf: &Bound<'_, Self>, refusal: Option<PyErr>) -> PyResult<bool> {
        slf.call_method1(intern!(slf.py(), "_on_answer"), (refusal,))?
            .extract()
    }

    /// Closes the connection if the server has closed, refused, or speaks something else.
    fn end_if_closed(
        slf: &Bound<'_, Self>,
        unframed: Result<(), transport::WebSocketError>,
    ) -> PyResult<()> {
        let mut state = slf.get().state();
        let failure = match unframed {
            Err(error) => Some(error.to_string()),
            Ok(()) => state.websocket.close_reason().map(ToString::to_string),
        };
        if failure.is_none() && !state.websocket.is_closed() {
            return Ok(());
        }
        state.failure.clone_from(&failure);
        drop(state);
        if let Some(failure) = failure {
            Self::answer(slf, Some(PyConnectionError::new_err(failure)))?;
        }
        match slf.get().below.get() {
            Some(below) => below.call_method0(slf.py(), "close").map(drop),
            None => Ok(()),
        }
    }

    /// Reports to the core what the transport of the socket has reported, while the WebSocket is open.
    fn forward_if_open(&self, py: Python<'_>, callback: &str) -> PyResult<()> {
        let _inside = gate::enter()?;
        let state = self.state();
        let is_open = state.attached && state.websocket.is_open();
        drop(state);
        if is_open {
            self.above.call_method0(py, callback)?;
        }
        Ok(())
    }
}
