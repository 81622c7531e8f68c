//! Steps of iterators that wait for a message, or that were woken for one: how they are woken, and how they leave.

use ferromqtt_engine::ReaderId;
use ferromqtt_proto::QueueId;
use pyo3::exceptions::PyRuntimeError;
use pyo3::intern;
use pyo3::prelude::*;

use crate::access::Access;
use crate::core::Core;
use crate::events;
use crate::gate;
use crate::hooks;
use crate::tokens::Reader;

/// Gives back what a waiting step holds: its place in the queue, or the message that it was woken for, which the next one gets.
pub(crate) fn give_back(core: &Bound<'_, Core>, reader: ReaderId) -> PyResult<()> {
    let _held = gate::hold(core);
    let Some(mut guard) = core.try_lock() else {
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
    let woken = future.call_method1(intern!(py, "set_result"), (py.None(),));
    let Some(name) = reader.name else {
        return Ok(()); // see above
    };
    let mut guard = core.lock();
    let tokens = match woken {
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
    let guard = core.read();
    let event_loop = guard.event_loop.as_ref().map(|it| it.bind(py).clone());
    drop(guard);
    // All loops are looked at before anything is taken out: `get_loop` may raise, and a step may leave meanwhile.
    let mut foreign = Vec::new();
    for (reader, future) in all_readers(core) {
        let its_loop = future.call_method0(intern!(py, "get_loop"))?;
        if !event_loop.as_ref().is_some_and(|it| it.is(&its_loop)) {
            foreign.push((reader, future));
        }
    }
    let mut waiters = Vec::new();
    for (reader, future) in foreign {
        let mut guard = core.lock();
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

/// The steps that wait for a queue, and then those that have a message reserved, with their futures.
fn readers<'py>(core: &Bound<'py, Core>, queue: QueueId) -> Vec<(ReaderId, Bound<'py, PyAny>)> {
    let guard = core.read();
    let readers = guard.engine.readers(queue);
    readers
        .map(|(name, reader)| (name, reader.future.bind(core.py()).clone()))
        .collect()
}

/// As [`readers`], of all queues.
fn all_readers<'py>(core: &Bound<'py, Core>) -> Vec<(ReaderId, Bound<'py, PyAny>)> {
    let guard = core.read();
    let readers = guard.engine.all_readers();
    readers
        .map(|(name, reader)| (name, reader.future.bind(core.py()).clone()))
        .collect()
}

/// Gives back the messages of a queue that are reserved for steps whose loop is closed: they never run again. Returns whether there were
/// any. It looks for them only when the core's own loop is closed, so that it costs nothing where many steps meet an end.
pub(crate) fn give_back_of_closed_loops(core: &Bound<'_, Core>, queue: QueueId) -> PyResult<bool> {
    let py = core.py();
    let is_closed = |event_loop: &Bound<'_, PyAny>| {
        let closed = event_loop.call_method0(intern!(py, "is_closed"))?;
        closed.is_truthy()
    };
    let guard = core.read();
    let event_loop = guard.event_loop.as_ref().map(|it| it.bind(py).clone());
    drop(guard);
    let Some(event_loop) = event_loop else {
        return Ok(false);
    };
    if !is_closed(&event_loop)? {
        return Ok(false);
    }
    let mut any = false;
    for (reader, future) in readers(core, queue) {
        if is_closed(&future.call_method0(intern!(py, "get_loop"))?)? {
            let token = core.lock().engine.stop_waiting(reader);
            any |= token.is_some();
            drop(token);
        }
    }
    Ok(any)
}
