//! One step of `async for message in client.messages`, or of a subscription: the awaitable. Its slots are in
//! `next_message_type.rs`.
//!
//! A step that finds a message ends at once, without a coroutine and without raising StopIteration: `am_send` returns the
//! message. A step that must wait does so on a real asyncio future. A message is taken out of its queue only when it is
//! handed to the awaiting code, so a step that is cancelled, closed or never awaited loses nothing.

use ferromqtt_engine::ReaderId;
use ferromqtt_proto::QueueId;
use pyo3::exceptions::{PyException, PyRuntimeError, PyStopIteration};
use pyo3::gc::{PyTraverseError, PyVisit};
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::PyType;

use crate::access::Access;
use crate::core::Core;
use crate::decoding::Decoding;
use crate::gate;
use crate::hand_over::hand_over;
use crate::hooks;
use crate::operations;
use crate::readers::{give_back, give_back_of_closed_loops};
use crate::subscription;
use crate::tokens::Reader;

/// So many messages may be taken without suspending; then other tasks get to run.
pub(crate) const IN_A_ROW: u32 = 512;

/// One step of a [`MessagesIterator`].
// Without a free list: PyO3 does not tell the garbage collector of an object that comes out of it. Instead the core keeps one
// step that is done, and it is used again once nobody else has it.
#[pyclass(module = "ferromqtt._native")]
pub(crate) struct NextMessage {
    /// None once it is done and the core keeps it, which would be a cycle.
    pub(crate) core: Option<Py<Core>>,
    /// Where its message comes from.
    pub(crate) queue: QueueId,
    /// How its message is read, of a subscription with templates or a codec. None once it is done.
    pub(crate) decoding: Option<Py<Decoding>>,
    pub(crate) state: State,
}

impl NextMessage {
    pub(crate) const fn new(
        core: Option<Py<Core>>,
        queue: QueueId,
        decoding: Option<Py<Decoding>>,
    ) -> Self {
        Self {
            core,
            queue,
            decoding,
            state: State::Fresh,
        }
    }

    /// Begins again: it is done, and nobody else has it.
    #[cfg(not(Py_GIL_DISABLED))]
    pub(crate) fn begin(
        &mut self,
        core: Option<Py<Core>>,
        queue: QueueId,
        decoding: Option<Py<Decoding>>,
    ) {
        self.core = core;
        self.queue = queue;
        self.decoding = decoding;
        self.state = State::Fresh;
    }
}

pub(crate) enum State {
    /// Not awaited yet.
    Fresh,
    /// Has let others run, or was woken: takes a message next, or raises.
    Yielded,
    /// Waits on this future, through its iterator.
    Waiting {
        future: Py<PyAny>,
        steps: Py<PyAny>,
        /// Its name among those that wait.
        reader: ReaderId,
    },
    Done,
}

/// How a step goes on.
pub(crate) enum Step<'py> {
    Return(Bound<'py, PyAny>),
    Yield(Bound<'py, PyAny>),
}

#[pymethods]
impl NextMessage {
    const fn __await__(slf: Bound<'_, Self>) -> Bound<'_, Self> {
        slf
    }

    const fn __iter__(slf: Bound<'_, Self>) -> Bound<'_, Self> {
        slf
    }

    fn __next__<'py>(slf: &Bound<'py, Self>) -> PyResult<Bound<'py, PyAny>> {
        let _inside = gate::enter()?;
        match advance(slf)? {
            Step::Yield(object) => Ok(object),
            // A tuple, so that a value that is itself a tuple or an exception stays what it is.
            Step::Return(value) => Err(PyStopIteration::new_err((value.unbind(),))),
        }
    }

    fn send<'py>(slf: &Bound<'py, Self>, value: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
        let _ = value;
        Self::__next__(slf)
    }

    #[pyo3(signature = (kind, value = None, traceback = None))]
    pub(crate) fn throw(
        slf: &Bound<'_, Self>,
        kind: &Bound<'_, PyAny>,
        value: Option<&Bound<'_, PyAny>>,
        traceback: Option<&Bound<'_, PyAny>>,
    ) -> PyResult<()> {
        let _inside = gate::enter()?;
        let _ = traceback;
        release(slf)?;
        let error = match (kind.cast::<PyType>(), value) {
            (Ok(class), None) => class.call0()?,
            (Ok(class), Some(value)) if value.is_instance(class)? => value.clone(),
            (Ok(class), Some(value)) => class.call1((value,))?,
            (Err(_), _) => kind.clone(),
        };
        Err(PyErr::from_value(error))
    }

    pub(crate) fn close(slf: &Bound<'_, Self>) -> PyResult<()> {
        let _inside = gate::enter()?;
        release(slf)
    }

    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        visit.call(&self.core)?;
        visit.call(&self.decoding)?;
        if let State::Waiting { future, steps, .. } = &self.state {
            visit.call(future)?;
            visit.call(steps)?;
        }
        Ok(())
    }

    // No `__clear__`: a step that waits must be dropped, to give back what it holds. Whatever cycle it is in runs through a
    // task, a list or the core, which can be cleared.
}

/// A step that waits and is dropped, rather than closed, gives back what it holds.
impl Drop for NextMessage {
    fn drop(&mut self) {
        let state = std::mem::replace(&mut self.state, State::Done);
        let State::Waiting {
            future,
            steps,
            reader,
        } = state
        else {
            return;
        };
        let Ok(_inside) = gate::enter() else {
            std::mem::forget((future, steps)); // releasing them may run Python code
            return;
        };
        Python::attach(|py| {
            if let Some(core) = &self.core
                && let Err(error) = give_back(core.bind(py), reader)
            {
                error.write_unraisable(py, None);
            }
        });
        drop((future, steps));
    }
}

/// Runs a step up to its end or its next suspension.
pub(crate) fn advance<'py>(slf: &Bound<'py, NextMessage>) -> PyResult<Step<'py>> {
    let py = slf.py();
    let step = slf.read();
    let Some(core) = &step.core else {
        return Err(is_done());
    };
    let core = core.bind(py).clone();
    let _held = gate::hold(&core);
    let fresh = match &step.state {
        State::Fresh => true,
        State::Yielded => false,
        State::Waiting {
            future,
            steps,
            reader,
        } => {
            let (future, steps) = (future.bind(py).clone(), steps.bind(py).clone());
            let reader = *reader;
            drop(step);
            if let Some(yielded) = still_waits(slf, &future, &steps)? {
                return Ok(Step::Yield(yielded));
            }
            return take_or_wait(slf, &core, Some(reader), false);
        }
        State::Done => return Err(is_done()),
    };
    drop(step);
    take_or_wait(slf, &core, None, fresh)
}

#[cold]
fn is_done() -> PyErr {
    PyRuntimeError::new_err(
        "This step was awaited to its end already: call anext() for each message.",
    )
}

/// Takes a message: the one that is reserved for `woken`, or one that is reserved for nobody. Without one, raises if none will
/// come, or queues up.
///
/// `may_rest`: the step has not suspended yet. Then it lets other tasks run when many messages were taken in a row, and
/// before it raises: a loop around a step that fails at once would starve them.
fn take_or_wait<'py>(
    slf: &Bound<'py, NextMessage>,
    core: &Bound<'py, Core>,
    woken: Option<ReaderId>,
    may_rest: bool,
) -> PyResult<Step<'py>> {
    let py = slf.py();
    let queue = slf.read().queue;
    let mut guard = core.lock();
    if may_rest && guard.taken >= IN_A_ROW && guard.engine.has_message(queue) {
        guard.taken = 0;
        drop(guard);
        slf.lock().state = State::Yielded;
        return Ok(Step::Yield(py.None().into_bound(py)));
    }
    // What was reserved for a step that was woken is there for it now.
    let token = woken.and_then(|reader| guard.engine.end_reservation(reader));
    let (received, goes_on) = guard.engine.take_and_go_on(queue);
    if let Some(received) = received {
        guard.taken += 1;
        let mut step = slf.lock();
        step.state = State::Done;
        let decoding = step.decoding.take();
        drop(step);
        let message = hand_over(core, guard, received, decoding.as_ref());
        drop(token);
        if goes_on {
            Core::schedule_flush(core)?;
        }
        return Ok(Step::Return(message?.into_any()));
    }
    guard.taken = 0;
    let end = guard.engine.end_of(queue);
    let all_reserved = end.is_some() && guard.engine.core().queue_len(queue) > 0;
    drop(guard);
    drop(token);
    if all_reserved && give_back_of_closed_loops(core, queue)? {
        return take_or_wait(slf, core, None, may_rest);
    }
    let outcome = match end {
        Some(end) => Err(subscription::end_of_queue(core, end)),
        None => wait(slf, core, may_rest),
    };
    let Err(error) = outcome else {
        return outcome;
    };
    release(slf)?;
    if may_rest && error.is_instance_of::<PyException>(py) {
        slf.lock().state = State::Yielded; // it looks again after the turn
        return Ok(Step::Yield(py.None().into_bound(py)));
    }
    Err(error)
}

/// Queues up behind the other waiting steps.
fn wait<'py>(
    slf: &Bound<'py, NextMessage>,
    core: &Bound<'py, Core>,
    may_rest: bool,
) -> PyResult<Step<'py>> {
    let py = slf.py();
    let future = waiter(core)?;
    let steps = future.call_method0(intern!(py, "__await__"))?;
    let queue = slf.read().queue;
    let mut guard = core.lock();
    if guard.engine.has_message(queue) || guard.engine.is_over(queue) {
        drop(guard);
        return take_or_wait(slf, core, None, may_rest); // it came while code of the loop ran
    }
    let token = future.clone().unbind();
    let reader = (guard.engine).wait(queue, |name| Reader {
        future: token,
        name: Some(name),
    });
    drop(guard);
    let yielded = match steps.call_method0(intern!(py, "__next__")) {
        Ok(yielded) => yielded,
        Err(error) => {
            give_back(core, reader)?;
            return Err(error);
        }
    };
    let state = State::Waiting {
        future: future.unbind(),
        steps: steps.unbind(),
        reader,
    };
    let previous = std::mem::replace(&mut slf.lock().state, state);
    if let State::Waiting { reader, .. } = previous {
        give_back(core, reader)?; // the loop's code has run the step meanwhile
    }
    Ok(Step::Yield(yielded))
}

/// What a step waits on: a future of its loop, or what threads wait on.
fn waiter<'py>(core: &Bound<'py, Core>) -> PyResult<Bound<'py, PyAny>> {
    let py = core.py();
    let parker = core.read().parker_of_thread(py);
    if let Some(parker) = parker {
        return parker.into_bound(py).call0();
    }
    operations::check_loop(core)?;
    let event_loop = hooks::running_loop(py)?.call0()?;
    if core.read().engine.core().is_idle() {
        core.call_method0(intern!(py, "warn_if_not_entered"))?;
    }
    event_loop.call_method0(intern!(py, "create_future"))
}

/// Looks at the future that a step waits on. What to yield if it is not done; nothing if the step was woken.
fn still_waits<'py>(
    slf: &Bound<'py, NextMessage>,
    future: &Bound<'py, PyAny>,
    steps: &Bound<'py, PyAny>,
) -> PyResult<Option<Bound<'py, PyAny>>> {
    let py = slf.py();
    if !future.call_method0(intern!(py, "done"))?.is_truthy()? {
        return steps.call_method0(intern!(py, "__next__")).map(Some);
    }
    if let Err(error) = future.call_method0(intern!(py, "result")) {
        release(slf)?; // it was cancelled, or its loop is not the client's
        return Err(error);
    }
    let state = std::mem::replace(&mut slf.lock().state, State::Yielded);
    drop(state);
    Ok(None)
}

/// Ends a step before its time.
fn release(slf: &Bound<'_, NextMessage>) -> PyResult<()> {
    let state = std::mem::replace(&mut slf.lock().state, State::Done);
    let State::Waiting { reader, .. } = &state else {
        return Ok(());
    };
    let step = slf.read();
    let core = step.core.as_ref().map(|core| core.bind(slf.py()).clone());
    drop(step);
    core.map_or(Ok(()), |core| give_back(&core, *reader))
}
