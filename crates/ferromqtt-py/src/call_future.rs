//! The futures that calls wait on.
//!
//! On a loop that makes the futures of asyncio they are of a class of ours, `ferromqtt._call_future.CallFuture`: asyncio
//! schedules one callback for each future, and [`Wakeups`] one for all that are completed at a time. Any other loop makes its
//! own futures (docs/design/0041-python-hot-paths.md).

use pyo3::intern;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyDict, PyList};

use crate::access::Access;
use crate::core::Core;
use crate::hooks;

/// What makes the futures of a loop of asyncio, as it was when the module was imported.
static CREATE_FUTURE: PyOnceLock<Py<PyAny>> = PyOnceLock::new();

fn create_future(py: Python<'_>) -> PyResult<&Bound<'_, PyAny>> {
    let function = CREATE_FUTURE.get_or_try_init(py, || {
        let class = py.import("asyncio")?.getattr("BaseEventLoop")?;
        Ok::<_, PyErr>(class.getattr("create_future")?.unbind())
    })?;
    Ok(function.bind(py))
}

/// Looks up what makes asyncio's futures before anybody replaces it.
pub(crate) fn set_up(py: Python<'_>) -> PyResult<()> {
    create_future(py).map(|_| ())
}

/// The arguments of the class for a loop that makes asyncio's futures; nothing for any other loop.
pub(crate) fn arguments<'py>(
    event_loop: &Bound<'py, PyAny>,
) -> PyResult<Option<Bound<'py, PyDict>>> {
    let py = event_loop.py();
    let Some(makes) = event_loop.getattr_opt(intern!(py, "create_future"))? else {
        return Ok(None);
    };
    let function = makes.getattr_opt(intern!(py, "__func__"))?;
    let of_asyncio = create_future(py)?;
    if !function.is_some_and(|function| function.is(of_asyncio)) {
        return Ok(None);
    }
    hooks::call_future(py)?; // imported here, and not in the middle of a call
    hooks::wake(py)?;
    let arguments = PyDict::new(py);
    arguments.set_item(intern!(py, "loop"), event_loop)?;
    Ok(Some(arguments))
}

/// Makes a future for a call on the client's loop; None before the client has one, when every call is refused.
pub(crate) fn create<'py>(core: &Bound<'py, Core>) -> PyResult<Bound<'py, PyAny>> {
    let py = core.py();
    let guard = core.read();
    if let Some(arguments) = &guard.future_arguments {
        let arguments = arguments.bind(py).clone();
        drop(guard);
        let future = hooks::call_future(py)?.call((), Some(&arguments))?;
        future.setattr(intern!(py, "callback"), py.None())?;
        return Ok(future);
    }
    let event_loop = guard.event_loop.as_ref().map(|it| it.bind(py).clone());
    drop(guard);
    match event_loop {
        Some(event_loop) => event_loop.call_method0(intern!(py, "create_future")),
        None => Ok(py.None().into_bound(py)),
    }
}

/// Futures that are done, and whose tasks the loop is going to wake together.
///
/// All of them are of one loop: the calls of a connection end with it.
#[derive(Default)]
pub(crate) struct Wakeups<'py> {
    futures: Option<Bound<'py, PyList>>,
}

impl<'py> Wakeups<'py> {
    /// Wakes the task that waits on a future. Those that are added one after the other are woken by one callback of the loop.
    pub(crate) fn add(
        &mut self,
        core: &Bound<'py, Core>,
        future: &Bound<'py, PyAny>,
    ) -> PyResult<()> {
        let py = core.py();
        if !future.get_type().is(hooks::call_future(py)?) {
            return Ok(()); // a future of another class has scheduled its callbacks
        }
        if let Some(futures) = &self.futures {
            return futures.append(future);
        }
        let event_loop = core
            .read()
            .event_loop
            .as_ref()
            .map(|it| it.bind(py).clone());
        let Some(event_loop) = event_loop else {
            return Ok(());
        };
        let futures = PyList::new(py, [future])?;
        let wake = (hooks::wake(py)?, &futures);
        match event_loop.call_method1(intern!(py, "call_soon"), wake) {
            Ok(_) => self.futures = Some(futures),
            Err(_) => debug_assert!(!PyErr::occurred(py)), // the loop is closed: nobody is there to wake
        }
        Ok(())
    }

    /// What is added from now on is woken behind what the loop is given meanwhile.
    pub(crate) fn end(&mut self) {
        self.futures = None;
    }
}
