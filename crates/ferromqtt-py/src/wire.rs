//! Between the engine and the transport of one client: what is written once a turn, what is read, and the requests to open and
//! to close.

use std::time::Instant;

use bytes::BytesMut;
use ferromqtt_engine::{InputDemand, LinkId, LinkRequest};
use ferromqtt_proto::{ReasonCode, ServerChoice, TransportError};
use pyo3::exceptions::PyOSError;
use pyo3::intern;
use pyo3::prelude::*;

use crate::access::Access;
use crate::buffer;
use crate::core::Core;
use crate::events;
use crate::lines;
use crate::progress;
use crate::turn::Turn;

/// The end of what is written to a transport.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum WritingEnd {
    /// More may follow.
    Open,
    /// It comes when the transport has written all that it holds.
    Awaited,
    /// All is written.
    Reached,
    /// The transport is aborted, whatever it holds.
    Aborted,
}

impl Core {
    /// Writes all that can be written; once a turn, and whenever there is something to hurry.
    pub(crate) fn flush(slf: &Bound<'_, Self>) -> PyResult<()> {
        let mut core = slf.lock();
        core.flush_scheduled = false;
        core.turn = Turn::default();
        if core.writing {
            return Ok(()); // Code of the user's runs between two chunks: what it adds goes behind them.
        }
        core.writing = true;
        let clock = core.clock.clone();
        drop(core);
        let now = clock.now(slf.py());
        let written = now.and_then(|now| Self::write_chunks(slf, now).map(|()| now));
        slf.lock().writing = false;
        let now = written?;
        progress::report(slf, now)?;
        Self::follow_requests(slf)?;
        Self::end_writing(slf, now)?;
        let mut core = slf.lock();
        if core.input_paused && core.engine.input_demand() != InputDemand::Nothing {
            core.engine.on_time(now); // what was held back goes first: with more behind it, it would only grow
        }
        drop(core);
        events::pump(slf, now)?;
        Self::follow_demand(slf)?;
        Self::arm_timer(slf)
    }

    /// Leaves the transport's input alone while a queue makes the server wait, and reads on afterwards.
    fn follow_demand(slf: &Bound<'_, Self>) -> PyResult<()> {
        let mut core = slf.lock();
        let paused = core.engine.input_demand() == InputDemand::Nothing;
        if paused == core.input_paused {
            return Ok(());
        }
        core.input_paused = paused;
        drop(core);
        let Some(transport) = Self::open_transport(slf)? else {
            return Ok(());
        };
        let py = slf.py();
        let call = match paused {
            true => intern!(py, "pause_reading"),
            false => intern!(py, "resume_reading"),
        };
        transport.call_method0(call).map(drop)
    }

    /// Hands all chunks to the transport, in their order.
    fn write_chunks(slf: &Bound<'_, Self>, now: Instant) -> PyResult<()> {
        let py = slf.py();
        loop {
            let mut core = slf.lock();
            let (true, Some(write), Some(link)) = (core.writable, core.write.as_ref(), core.link)
            else {
                return Ok(());
            };
            let write = write.clone_ref(py);
            let slice = core.slice;
            let Some(chunk) = core.engine.transmit_up_to(now, link, slice) else {
                core.held_up = false;
                return Ok(());
            };
            drop(core);
            write.bind(py).call1((buffer::for_transport(py, chunk)?,))?;
        }
    }

    /// Takes input of the connection: `append` appends it, at most `count` bytes.
    #[inline]
    pub(crate) fn take_input(
        &mut self,
        now: Instant,
        link: LinkId,
        count: usize,
        append: impl FnOnce(&mut BytesMut),
    ) {
        if self.input.is_empty() {
            self.input = BytesMut::with_capacity(count.min(buffer::READ_SIZE));
        } else {
            // A large packet is under way: make room for the rest of it once.
            let missing = self.engine.core().input_hint(&self.input);
            self.input
                .reserve(missing.max(count.min(buffer::READ_SIZE)));
        }
        let before = self.input.len();
        append(&mut self.input);
        if self.input.len() > before {
            self.engine.receive(now, link, &mut self.input);
        }
        if self.input.is_empty() {
            self.input = BytesMut::new(); // an idle client keeps no memory, and messages theirs alone
        }
    }

    /// Stops reading for one turn of the loop. There is more in the socket, and libuv would read on up to 32 times before
    /// anybody else got to run. One turn keeps nobody waiting for an answer.
    pub(crate) fn rest_from_reading(slf: &Bound<'_, Self>) -> PyResult<()> {
        let py = slf.py();
        let Some(transport) = Self::open_transport(slf)? else {
            return Ok(());
        };
        transport.call_method0(intern!(py, "pause_reading"))?;
        let event_loop = slf.read().event_loop.as_ref().map(|it| it.clone_ref(py));
        let resume = slf.getattr(intern!(py, "resume_reading"))?;
        if let Some(event_loop) = event_loop {
            event_loop.call_method1(py, intern!(py, "call_soon"), (resume,))?;
        }
        Ok(())
    }

    /// Goes on reading, after a turn of the loop, unless a queue has no capacity meanwhile.
    pub(crate) fn go_on_reading(slf: &Bound<'_, Self>) -> PyResult<()> {
        let py = slf.py();
        if slf.read().input_paused {
            return Ok(());
        }
        if let Some(transport) = Self::open_transport(slf)? {
            transport.call_method0(intern!(py, "resume_reading"))?;
        }
        Ok(())
    }

    /// The transport, unless it is closing.
    pub(crate) fn open_transport<'py>(
        slf: &Bound<'py, Self>,
    ) -> PyResult<Option<Bound<'py, PyAny>>> {
        let py = slf.py();
        let Some(transport) = slf.read().transport.as_ref().map(|it| it.bind(py).clone()) else {
            return Ok(None);
        };
        let closing = transport.call_method0(intern!(py, "is_closing"))?;
        Ok((!closing.is_truthy()?).then_some(transport))
    }

    /// Sees to it that `flush` runs at the end of this turn of the loop.
    pub(crate) fn schedule_flush(slf: &Bound<'_, Self>) -> PyResult<()> {
        let py = slf.py();
        let core = slf.read();
        if core.flush_scheduled {
            return Ok(());
        }
        let event_loop = core.event_loop.as_ref().map(|it| it.clone_ref(py));
        let by_thread = core.is_called_by_thread();
        drop(core);
        if let Some(event_loop) = event_loop {
            let flush = slf.getattr(intern!(py, "flush"))?;
            if by_thread {
                // Before, since the loop's thread may run the flush at once.
                slf.lock().flush_scheduled = true;
                let wake = intern!(py, "call_soon_threadsafe");
                return match event_loop.call_method1(py, wake, (flush,)) {
                    Ok(_) => Ok(()),
                    Err(error) => {
                        slf.lock().flush_scheduled = false;
                        Err(error)
                    }
                };
            }
            event_loop.call_method1(py, intern!(py, "call_soon"), (flush,))?;
            slf.lock().flush_scheduled = true;
        }
        Ok(())
    }

    /// A transport is to be opened. Returns what is left of an earlier one, for the caller to drop.
    fn begin_link(&mut self, link: LinkId) -> impl Sized + use<> {
        self.link = Some(link);
        self.writing_end = WritingEnd::Open;
        self.backlog.begin();
        self.detach()
    }

    /// Forgets the transport. Returns what is left of it, for the caller to drop.
    pub(crate) fn detach(&mut self) -> (Option<Py<PyAny>>, Option<Py<PyAny>>) {
        self.writable = false;
        self.input_paused = false;
        self.input = BytesMut::new();
        (self.transport.take(), self.write.take())
    }

    /// The transport of the present link has ended, or could not be opened. `is_final`: no connection follows.
    pub(crate) fn end_link(
        slf: &Bound<'_, Self>,
        link: LinkId,
        cause: TransportError,
        is_final: bool,
    ) -> PyResult<()> {
        let (now, failed) = Self::now_or_last(slf);
        let mut core = slf.lock();
        core.link = None;
        let transport = core.detach();
        let options = core.engine.core().options();
        if is_final && (options.reconnect.is_some() || options.servers.get() > 1) {
            core.disconnect_soon(now, ReasonCode::Success);
        }
        core.engine.closed(now, link, cause);
        drop(core);
        drop(transport);
        // Whatever a hook of the user's raises meanwhile, those who wait for the end must be told.
        let reported = events::pump(slf, now);
        let is_over = slf.read().engine.core().is_idle();
        match is_over {
            true => Self::stop_timer(slf)?,
            false => Self::arm_timer(slf)?, // for the next attempt
        }
        let written = lines::closed(slf);
        reported.and(written).and(failed)
    }

    pub(crate) fn follow_requests(slf: &Bound<'_, Self>) -> PyResult<()> {
        let py = slf.py();
        loop {
            let mut core = slf.lock();
            let Some(request) = core.engine.next_request() else {
                return Ok(());
            };
            let link = match request {
                LinkRequest::Open {
                    link,
                    server,
                    attempt,
                } => {
                    let former = core.begin_link(link);
                    drop(core);
                    drop(former);
                    let place = match server {
                        ServerChoice::Listed(place) => place,
                        _ => 0, // this client follows no Server Reference
                    };
                    slf.call_method1(intern!(py, "_on_open"), (place, attempt))?;
                    continue;
                }
                LinkRequest::HalfClose(link)
                | LinkRequest::Close(link)
                | LinkRequest::Abort(link) => link,
            };
            let is_current = core.link == Some(link);
            let transport = core.transport.as_ref().filter(|_| is_current);
            let Some(transport) = transport.map(|it| it.clone_ref(py)) else {
                drop(core);
                if is_current {
                    slf.call_method0(intern!(py, "_on_unwanted"))?; // it is being opened
                }
                continue; // or has ended
            };
            drop(core);
            match request {
                LinkRequest::Open { .. } => {} // see above
                LinkRequest::HalfClose(_) => {
                    slf.lock().writing_end = WritingEnd::Awaited;
                    // So that `resume_writing` comes when nothing is left.
                    let set_limits = intern!(py, "set_write_buffer_limits");
                    transport.call_method1(py, set_limits, (0,))?;
                }
                LinkRequest::Close(_) => {
                    transport.call_method0(py, intern!(py, "close"))?;
                }
                LinkRequest::Abort(_) => {
                    let holds_some = progress::hides_unwritten(slf, transport.bind(py))?;
                    let mut core = slf.lock();
                    if holds_some || core.writing_end != WritingEnd::Reached {
                        core.writing_end = WritingEnd::Aborted;
                    }
                    drop(core);
                    transport.call_method0(py, intern!(py, "abort"))?;
                }
            }
        }
    }

    /// Ends this side of the transport, where its layer can, once all is written that was to be.
    fn end_writing(slf: &Bound<'_, Self>, now: Instant) -> PyResult<()> {
        let py = slf.py();
        let core = slf.read();
        let transport =
            (core.transport.as_ref()).filter(|_| core.writing_end == WritingEnd::Awaited);
        let Some(transport) = transport.map(|it| it.bind(py).clone()) else {
            return Ok(());
        };
        drop(core);
        let unwritten = transport.call_method0(intern!(py, "get_write_buffer_size"))?;
        if unwritten.is_truthy()? {
            return Ok(());
        }
        let mut core = slf.lock();
        core.writing_end = WritingEnd::Reached;
        if let Some(link) = core.link {
            core.engine.finished(now, link);
        }
        drop(core);
        let can_end = transport.call_method0(intern!(py, "can_write_eof"))?;
        if can_end.is_truthy()?
            && let Err(error) = transport.call_method0(intern!(py, "write_eof"))
            && !error.is_instance_of::<PyOSError>(py)
        {
            return Err(error);
        }
        Ok(()) // a socket that has failed says so by `connection_lost`
    }
}
