//! `async for message in client.messages`: the iterator, and the awaitable that each step of it is.
//!
//! A step that finds a message ends at once, without a coroutine and without raising StopIteration: `am_send` returns the
//! message. A step that must wait does so on a real asyncio future. A message is taken out of its queue only when it is
//! handed to the awaiting code, so a step that is cancelled, closed or never awaited loses nothing.

use std::panic::{AssertUnwindSafe, catch_unwind};

use ferromqtt_engine::ReaderId;
use ferromqtt_proto::{Message as Received, QueueId};
use pyo3::exceptions::{PyException, PyRuntimeError, PyStopIteration};
use pyo3::ffi;
use pyo3::gc::{PyTraverseError, PyVisit};
use pyo3::intern;
use pyo3::panic::PanicException;
use pyo3::prelude::*;
use pyo3::types::PyType;

use crate::core::Core;
use crate::events;
use crate::gate;
use crate::hooks;
use crate::message::{self, Message, is_last};
use crate::operations;
use crate::tokens::Reader;

/// So many messages may be taken without suspending; then other tasks get to run.
const IN_A_ROW: u32 = 512;

/// The messages of a client. Any number of tasks may iterate: each message goes to one of them, first come first served.
#[pyclass(frozen, weakref, module = "ferromqtt")]
pub(crate) struct MessagesIterator {
    core: Py<Core>,
}

impl MessagesIterator {
    pub(crate) const fn new(core: Py<Core>) -> Self {
        Self { core }
    }
}

#[pymethods]
impl MessagesIterator {
    const fn __aiter__(slf: PyRef<'_, Self>) -> PyRef<'_, Self> {
        slf
    }

    fn __anext__<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, NextMessage>> {
        let core = Some(self.core.clone_ref(py));
        let spare = self.core.bind(py).borrow_mut().spare_step.take();
        if let Some(spare) = spare
            && is_last(&spare)
        {
            let spare = spare.into_bound(py);
            let mut step = spare.borrow_mut();
            step.core = core;
            step.state = State::Fresh;
            drop(step);
            return Ok(spare);
        }
        let state = State::Fresh;
        Bound::new(py, NextMessage { core, state })
    }

    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        visit.call(&self.core)
    }

    // No `__clear__`: whatever cycle it is in runs through the core, which can be cleared.

    fn __repr__(&self, py: Python<'_>) -> String {
        format!("<messages of a client, {} queued>", self.__len__(py))
    }

    fn __len__(&self, py: Python<'_>) -> usize {
        let core = self.core.bind(py).borrow();
        core.engine.core().queue_len(QueueId::DEFAULT)
    }
}

/// One step of a [`MessagesIterator`].
// Without a free list: PyO3 does not tell the garbage collector of an object that comes out of it. Instead the core keeps one
// step that is done, and it is used again once nobody else has it.
#[pyclass(module = "ferromqtt._native")]
pub(crate) struct NextMessage {
    /// None once it is done and the core keeps it, which would be a cycle.
    core: Option<Py<Core>>,
    state: State,
}

enum State {
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
enum Step<'py> {
    Return(Bound<'py, PyAny>),
    Yield(Bound<'py, PyAny>),
}

#[pymethods]
impl NextMessage {
    const fn __await__(slf: PyRef<'_, Self>) -> PyRef<'_, Self> {
        slf
    }

    const fn __iter__(slf: PyRef<'_, Self>) -> PyRef<'_, Self> {
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
    fn throw(
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

    fn close(slf: &Bound<'_, Self>) -> PyResult<()> {
        let _inside = gate::enter()?;
        release(slf)
    }

    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        visit.call(&self.core)?;
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
fn advance<'py>(slf: &Bound<'py, NextMessage>) -> PyResult<Step<'py>> {
    let py = slf.py();
    let step = slf.borrow();
    let Some(core) = &step.core else {
        return Err(is_done());
    };
    let core = core.bind(py).clone();
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
    let mut guard = core.borrow_mut();
    if may_rest && guard.taken >= IN_A_ROW && guard.engine.has_message(QueueId::DEFAULT) {
        guard.taken = 0;
        drop(guard);
        slf.borrow_mut().state = State::Yielded;
        return Ok(Step::Yield(py.None().into_bound(py)));
    }
    let (received, token) = match woken {
        Some(reader) => guard.engine.take_reserved(reader),
        None => (guard.engine.take(QueueId::DEFAULT), None),
    };
    if let Some(received) = received {
        guard.taken += 1;
        slf.borrow_mut().state = State::Done;
        let message = hand_over(core, guard, received);
        drop(token);
        return Ok(Step::Return(message?.into_any()));
    }
    guard.taken = 0;
    let no_more = guard.engine.is_over(QueueId::DEFAULT);
    let all_reserved = no_more && guard.engine.core().queue_len(QueueId::DEFAULT) > 0;
    drop(guard);
    drop(token);
    if all_reserved && give_back_of_closed_loops(core)? {
        return take_or_wait(slf, core, None, may_rest);
    }
    let outcome = match no_more {
        true => Err(ended(core)),
        false => wait(slf, core, may_rest),
    };
    let Err(error) = outcome else {
        return outcome;
    };
    release(slf)?;
    if may_rest && error.is_instance_of::<PyException>(py) {
        slf.borrow_mut().state = State::Yielded; // it looks again after the turn
        return Ok(Step::Yield(py.None().into_bound(py)));
    }
    Err(error)
}

/// Takes the next message of those that are reserved for nobody, as a Python object.
pub(crate) fn pop<'py>(core: &Bound<'py, Core>) -> PyResult<Option<Bound<'py, Message>>> {
    let mut guard = core.borrow_mut();
    match guard.engine.take(QueueId::DEFAULT) {
        Some(received) => hand_over(core, guard, received).map(Some),
        None => Ok(None),
    }
}

/// Makes a Python object of a message. It is handed over: the program has it now.
pub(crate) fn hand_over<'py>(
    core: &Bound<'py, Core>,
    mut guard: PyRefMut<'py, Core>,
    received: Received,
) -> PyResult<Bound<'py, Message>> {
    let py = core.py();
    if let Some(delivery) = received.delivery {
        guard.engine.hand_over(delivery);
    }
    let v5 = guard.engine.core().options().protocol.is_v5();
    let known = guard.topics.get(py, received.topic.as_utf8().as_bytes());
    drop(guard);
    let topic = match known {
        Some(topic) => topic,
        None => {
            let topic = message::make_topic(py, received.topic.as_str())?;
            let name = received.topic.as_utf8().as_bytes();
            let forgotten = core
                .borrow_mut()
                .topics
                .insert(name, topic.clone().unbind());
            drop(forgotten); // with the core released, since it may run code of the user's
            topic
        }
    };
    Message::create(py, topic, received, v5)
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
    let mut guard = core.borrow_mut();
    if guard.engine.has_message(QueueId::DEFAULT) || guard.engine.is_over(QueueId::DEFAULT) {
        drop(guard);
        return take_or_wait(slf, core, None, may_rest); // it came while code of the loop ran
    }
    let token = future.clone().unbind();
    let reader = (guard.engine).wait(QueueId::DEFAULT, |name| Reader {
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
    let previous = std::mem::replace(&mut slf.borrow_mut().state, state);
    if let State::Waiting { reader, .. } = previous {
        give_back(core, reader)?; // the loop's code has run the step meanwhile
    }
    Ok(Step::Yield(yielded))
}

/// What a step waits on: a future of its loop, or what threads wait on.
fn waiter<'py>(core: &Bound<'py, Core>) -> PyResult<Bound<'py, PyAny>> {
    let py = core.py();
    let parker = core.borrow().parker_of_thread(py);
    if let Some(parker) = parker {
        return parker.into_bound(py).call0();
    }
    operations::check_loop(core)?;
    let event_loop = hooks::running_loop(py)?.call0()?;
    if core.borrow().engine.core().is_idle() {
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
    let state = std::mem::replace(&mut slf.borrow_mut().state, State::Yielded);
    drop(state);
    Ok(None)
}

/// Ends a step before its time.
fn release(slf: &Bound<'_, NextMessage>) -> PyResult<()> {
    let state = std::mem::replace(&mut slf.borrow_mut().state, State::Done);
    let State::Waiting { reader, .. } = &state else {
        return Ok(());
    };
    let step = slf.borrow();
    let core = step.core.as_ref().map(|core| core.bind(slf.py()).clone());
    drop(step);
    core.map_or(Ok(()), |core| give_back(&core, *reader))
}

/// Gives back what a waiting step holds: its place in the queue, or the message that it was woken for, which the next one gets.
fn give_back(core: &Bound<'_, Core>, reader: ReaderId) -> PyResult<()> {
    let Ok(mut guard) = core.try_borrow_mut() else {
        return Ok(()); // not while Python code runs, and a step that is dropped must not panic
    };
    let token = guard.engine.stop_waiting(reader);
    let by_thread = guard.is_called_by_thread();
    drop(guard);
    drop(token);
    match by_thread {
        false => events::hand_out(core),
        true => Core::schedule_flush(core), // what is handed out may be for tasks of the loop
    }
}

/// Wakes a step that waits. The engine keeps its future for as long as a message is reserved for it.
pub(crate) fn wake(core: &Bound<'_, Core>, reader: Reader) -> PyResult<()> {
    let py = core.py();
    let future = reader.future.bind(py);
    if reader.name.is_none() {
        return wake_event_reader(future);
    }
    let told = future.call_method1(intern!(py, "set_result"), (py.None(),));
    let Some(name) = reader.name else {
        return Ok(()); // see above
    };
    let mut guard = core.borrow_mut();
    let tokens = match told {
        Ok(_) => (guard.engine.bring_back(name, reader), None),
        // Cancelled, and its step not told yet, or its loop is closed: it is passed over.
        Err(_) => (guard.engine.stop_waiting(name), Some(reader)),
    };
    drop(guard);
    drop(tokens);
    Ok(())
}

/// Wakes a reader of events, perhaps on another loop. It looks at the events again, if it is still there.
fn wake_event_reader(future: &Bound<'_, PyAny>) -> PyResult<()> {
    let py = future.py();
    let event_loop = future.call_method0(intern!(py, "get_loop"))?;
    let complete = hooks::complete(py)?;
    let soon = intern!(py, "call_soon_threadsafe");
    match event_loop.call_method1(soon, (complete, future)) {
        Err(error) if !error.is_instance_of::<PyRuntimeError>(py) => Err(error),
        _ => Ok(()), // or its loop is closed
    }
}

/// The futures of steps that wait on another loop than the one that was begun on, which are taken out. The messages that
/// steps there were woken for, and have not taken, are for others to take.
pub(crate) fn take_foreign_waiters<'py>(
    core: &Bound<'py, Core>,
) -> PyResult<Vec<Bound<'py, PyAny>>> {
    let py = core.py();
    let guard = core.borrow();
    let event_loop = guard.event_loop.as_ref().map(|it| it.bind(py).clone());
    drop(guard);
    // All loops are looked at before anything is taken out: `get_loop` may raise, and a step may leave meanwhile.
    let mut foreign = Vec::new();
    for (reader, future) in readers(core) {
        let its_loop = future.call_method0(intern!(py, "get_loop"))?;
        if !event_loop.as_ref().is_some_and(|it| it.is(&its_loop)) {
            foreign.push((reader, future));
        }
    }
    let mut waiters = Vec::new();
    for (reader, future) in foreign {
        let mut guard = core.borrow_mut();
        let waits = guard.engine.reader_mut(reader).is_some();
        let token = guard.engine.stop_waiting(reader);
        drop(guard);
        drop(token);
        if waits {
            waiters.push(future);
        }
    }
    events::hand_out(core)?;
    Ok(waiters)
}

/// The steps that wait, and then those that have a message reserved, with their futures.
fn readers<'py>(core: &Bound<'py, Core>) -> Vec<(ReaderId, Bound<'py, PyAny>)> {
    let guard = core.borrow();
    let readers = guard.engine.readers(QueueId::DEFAULT);
    readers
        .map(|(name, reader)| (name, reader.future.bind(core.py()).clone()))
        .collect()
}

/// Gives back the messages that are reserved for steps whose loop is closed: they never run again. Returns whether there were
/// any. It looks for them only when the core's own loop is closed, so that it costs nothing where many steps meet an end.
fn give_back_of_closed_loops(core: &Bound<'_, Core>) -> PyResult<bool> {
    let py = core.py();
    let is_closed = |event_loop: &Bound<'_, PyAny>| {
        let closed = event_loop.call_method0(intern!(py, "is_closed"))?;
        closed.is_truthy()
    };
    let guard = core.borrow();
    let event_loop = guard.event_loop.as_ref().map(|it| it.bind(py).clone());
    drop(guard);
    let Some(event_loop) = event_loop else {
        return Ok(false);
    };
    if !is_closed(&event_loop)? {
        return Ok(false);
    }
    let mut any = false;
    for (reader, future) in readers(core) {
        if is_closed(&future.call_method0(intern!(py, "get_loop"))?)? {
            let token = core.borrow_mut().engine.stop_waiting(reader);
            any |= token.is_some();
            drop(token);
        }
    }
    Ok(any)
}

fn ended(core: &Bound<'_, Core>) -> PyErr {
    let py = core.py();
    match core.call_method0(intern!(py, "_iteration_error")) {
        Ok(error) => PyErr::from_value(error),
        Err(error) => error,
    }
}

/// `Py_TPFLAGS_HAVE_AM_SEND` of CPython's `object.h`.
const HAVE_AM_SEND: std::ffi::c_ulong = 1 << 21;

/// Gives [`NextMessage`] the slot that PyO3 has no name for, and a shorter way to [`am_await`].
pub(crate) fn finish_type(py: Python<'_>) {
    let class = py.get_type::<NextMessage>();
    #[allow(unsafe_code, reason = "these slots can be set in no other way")]
    // SAFETY: `class` is a heap type that this module alone has made, and the GIL is held. If the module is imported again,
    // the same values are stored again. A heap type has `tp_as_async`, since the interpreter lays it out inside the type.
    // `am_send` and `am_await` fit their slots.
    unsafe {
        let class = class.as_type_ptr();
        (*(*class).tp_as_async).am_send = Some(am_send);
        (*(*class).tp_as_async).am_await = Some(am_await);
        (*class).tp_flags |= HAVE_AM_SEND;
        ffi::PyType_Modified(class);
    }
}

/// `am_await` of [`NextMessage`]: the object itself. PyO3's own way to call `__await__` costs as much as a field of a message.
#[allow(unsafe_code, reason = "called by the interpreter, with raw pointers")]
unsafe extern "C" fn am_await(slf: *mut ffi::PyObject) -> *mut ffi::PyObject {
    // SAFETY: the interpreter calls slots with the GIL held, and passes a live object.
    unsafe { ffi::Py_NewRef(slf) }
}

/// `am_send` of [`NextMessage`]: as `send`, but a value that is returned needs no exception.
#[allow(unsafe_code, reason = "called by the interpreter, with raw pointers")]
unsafe extern "C" fn am_send(
    slf: *mut ffi::PyObject,
    _value: *mut ffi::PyObject,
    result: *mut *mut ffi::PyObject,
) -> ffi::PySendResult {
    // SAFETY: the interpreter calls slots with the GIL held.
    let py = unsafe { Python::assume_attached() };
    // SAFETY: the interpreter passes a live object of the type whose slot this is, or of a subclass, of which there are
    // none: the class is final.
    let slf = unsafe { Borrowed::from_ptr(py, slf).cast_unchecked::<NextMessage>() };
    // A panic must not reach the interpreter: it would end the process.
    let outcome = catch_unwind(AssertUnwindSafe(|| {
        let _inside = gate::enter()?;
        advance_attached(&slf)
    }))
    .unwrap_or_else(|_| Err(PanicException::new_err("a step of an iterator panicked")));
    let (status, object) = match outcome {
        Ok(Step::Return(value)) => (ffi::PySendResult::PYGEN_RETURN, value.into_ptr()),
        Ok(Step::Yield(value)) => (ffi::PySendResult::PYGEN_NEXT, value.into_ptr()),
        Err(error) => {
            error.restore(py);
            (ffi::PySendResult::PYGEN_ERROR, std::ptr::null_mut())
        }
    };
    // SAFETY: the interpreter passes a valid place for the result, and takes over the reference.
    unsafe { *result = object };
    status
}

/// [`advance`], by the shortest way when a message is there: that drops no `Py`, whose drop outside of a PyO3 call would be
/// put off. Everything else goes through a full attach.
fn advance_attached<'py>(slf: &Bound<'py, NextMessage>) -> PyResult<Step<'py>> {
    let py = slf.py();
    let mut step = slf.borrow_mut();
    if let State::Fresh = step.state
        && let Some(core) = step.core.take()
    {
        let core = core.into_bound(py);
        let mut guard = core.borrow_mut();
        if guard.taken < IN_A_ROW
            && let Some(received) = guard.engine.take(QueueId::DEFAULT)
        {
            guard.taken += 1;
            step.state = State::Done;
            drop(step);
            if guard.spare_step.is_none() {
                guard.spare_step = Some(slf.clone().unbind());
            }
            return hand_over(&core, guard, received).map(|it| Step::Return(it.into_any()));
        }
        drop(guard);
        step.core = Some(core.unbind());
    }
    drop(step);
    Python::attach(|_| advance(slf))
}
