//! What the native module needs of Python: a few functions, looked up once.

use pyo3::intern;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::PyDict;

/// `module.name`, imported at first use.
fn lookup<'py>(
    py: Python<'py>,
    cell: &'static PyOnceLock<Py<PyAny>>,
    module: &str,
    name: &str,
) -> PyResult<&'py Bound<'py, PyAny>> {
    cell.get_or_try_init(py, || Ok(py.import(module)?.getattr(name)?.unbind()))
        .map(|object| object.bind(py))
}

macro_rules! hooks {
    ($($(#[doc = $doc:literal])+ $function:ident = $module:literal . $name:literal;)+) => {
        $($(#[doc = $doc])+
        pub(crate) fn $function(py: Python<'_>) -> PyResult<&Bound<'_, PyAny>> {
            static CELL: PyOnceLock<Py<PyAny>> = PyOnceLock::new();
            lookup(py, &CELL, $module, $name)
        })+
    };
}

hooks! {
    /// The loop that runs in this thread.
    running_loop = "asyncio"."get_running_loop";
    /// The class of futures that calls wait on, where the loop has none of its own.
    call_future = "ferromqtt._call_future"."CallFuture";
    /// Wakes those who wait on such futures.
    wake = "ferromqtt._call_future"."wake";
    /// A `Topic` of a name that is known to be valid.
    trusted_topic = "ferromqtt.topic"."_trusted_topic";
    /// A `Topic`, or a copy of one, from what a user gives.
    topic_class = "ferromqtt.topic"."Topic";
    /// An object of a class, without its constructor.
    new_object = "copyreg"."__newobj__";
    /// A `Properties` object of a dictionary.
    from_native = "ferromqtt.properties"."from_native";
    /// What became of a message that a server, or at QoS 0 the transport, has got.
    published = "ferromqtt._receipt"."published";
    /// Completes a future with None, unless it is done.
    complete = "ferromqtt._driver"."complete";
    /// The exception that fits a failed call.
    call_error = "ferromqtt._errors"."call_error";
    /// The exception for one of those calls.
    ended_error = "ferromqtt._errors"."ended_error";
    /// The exception for a queue that has overflown and takes nothing more.
    overflow_error = "ferromqtt._subscription"."overflow_error";
    /// The exception for subscriptions that the server has refused.
    refused_subscription = "ferromqtt._queue_answers"."refused";
    /// The exception for a payload that a codec cannot decode.
    undecodable = "ferromqtt.codecs"."_undecodable";
    /// A topic or the like as an error shows it.
    quoted = "ferromqtt._shown"."quoted";
    /// The `repr` of a message.
    shown_message = "ferromqtt._shown"."message";
    /// Lets a coroutine wait for one turn of the loop.
    turn = "ferromqtt._turn"."TURN";
}

/// The task that runs on a loop: `asyncio.current_task(loop)`. Before CPython 3.12 that is a function in Python, which costs
/// ten times as much as the lookup that it makes.
pub(crate) fn current_task<'py>(event_loop: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
    let py = event_loop.py();
    static CELL: PyOnceLock<Py<PyAny>> = PyOnceLock::new();
    let look_up = || {
        let running = match py.version_info() < (3, 12) {
            true => py.import("asyncio.tasks")?.getattr_opt("_current_tasks")?,
            false => None,
        };
        match running {
            Some(running) => Ok(running),
            None => py.import("asyncio")?.getattr("current_task"),
        }
        .map(Bound::unbind)
    };
    let found = CELL.get_or_try_init(py, look_up)?.bind(py);
    match found.cast_exact::<PyDict>() {
        Ok(running) => {
            let task = running.get_item(event_loop)?;
            Ok(task.unwrap_or_else(|| py.None().into_bound(py)))
        }
        Err(_) => found.call1((event_loop,)),
    }
}

/// Completes a future, unless its caller has gone already.
pub(crate) fn set_result(future: &Bound<'_, PyAny>, result: Bound<'_, PyAny>) -> PyResult<()> {
    let py = future.py();
    if future
        .call_method1(intern!(py, "set_result"), (result,))
        .is_err()
    {
        // Cancelled, or its loop is closed: nobody is there to tell.
        debug_assert!(!PyErr::occurred(py));
    }
    Ok(())
}

/// Fails a future, unless its caller has gone already. One that nobody awaits says nothing of that: a receipt may be dropped, and
/// a call may be given up.
pub(crate) fn set_exception(future: &Bound<'_, PyAny>, error: Bound<'_, PyAny>) -> PyResult<()> {
    let py = future.py();
    let done = future.call_method0(intern!(py, "done"))?.is_truthy()?;
    if !done
        && future
            .call_method1(intern!(py, "set_exception"), (error,))
            .is_err()
    {
        // Its loop is closed: nobody is there to tell.
        debug_assert!(!PyErr::occurred(py));
    }
    // What a thread waits on has no such method, and reports nothing.
    if !done && let Some(exception) = future.getattr_opt(intern!(py, "exception"))? {
        exception.call0()?; // asyncio takes it for awaited from now on
    }
    Ok(())
}
