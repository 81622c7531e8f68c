//! Calls into the module, and the end of the interpreter.
//!
//! A daemon thread outlives the main thread's code. Up to version 3.13 CPython ends such a thread where it next asks for the
//! GIL, by `pthread_exit`, which unwinds the thread's stack. If the thread asks from Python code that this module has called,
//! Rust frames are on that stack, and unwinding those aborts the process. So every call that may run Python code begins with
//! [`enter`], and an `atexit` hook, [`close`], waits until no thread is inside and refuses those that come later
//! (docs/design/0027-binding-and-interpreter.md).

use std::mem;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::{self, ThreadId};
use std::time::{Duration, Instant};

use pyo3::exceptions::PyRuntimeError;
use pyo3::prelude::*;

/// How many calls are inside, and [`CLOSED`]. Changed with the GIL held only, so a load and a store will do: a locked
/// instruction for each received message would be felt.
static CALLS: AtomicUsize = AtomicUsize::new(0);

/// Set in [`CALLS`] once the interpreter exits.
const CLOSED: usize = 1 << (usize::BITS - 1);

/// How many of [`CALLS`] belong to threads that a fork has left in the parent: they never end here.
static LEFT_BEHIND: AtomicUsize = AtomicUsize::new(0);

/// The thread that closed the gate. CPython ends the others, so this one alone may still enter.
static CLOSED_BY: Mutex<Option<ThreadId>> = Mutex::new(None);

/// How long the end of the interpreter waits for calls to return. They run callbacks on an event loop, and none of them waits
/// for anything; only code of the user's can take longer, such as a log handler.
const LIMIT: Duration = Duration::from_secs(1);

/// How often it looks.
const INTERVAL: Duration = Duration::from_micros(200);

/// A call that may run Python code. The GIL is held where it begins and where it ends, although not always between.
#[must_use]
pub(crate) struct Inside(());

impl Drop for Inside {
    #[inline]
    fn drop(&mut self) {
        CALLS.store(
            CALLS.load(Ordering::Relaxed).wrapping_sub(1),
            Ordering::Relaxed,
        );
    }
}

/// The interpreter is exiting.
#[derive(Debug)]
pub(crate) struct Closed;

impl From<Closed> for PyErr {
    fn from(_: Closed) -> Self {
        PyRuntimeError::new_err(
            "The interpreter is exiting: ferromqtt takes no more calls from this thread, which Python is about to end",
        )
    }
}

/// Begins a call, to be made first in everything that may run Python code, and with the GIL held. Running Python code
/// includes releasing an object, which may have a finalizer, and allocating one, which may collect garbage.
///
/// # Errors
/// Once the interpreter exits, in every thread but the one that ends it.
#[inline]
pub(crate) fn enter() -> Result<Inside, Closed> {
    let calls = CALLS.load(Ordering::Relaxed);
    if calls & CLOSED != 0 {
        return enter_closed();
    }
    CALLS.store(calls + 1, Ordering::Relaxed);
    Ok(Inside(()))
}

#[cold]
fn enter_closed() -> Result<Inside, Closed> {
    let closed_by = *CLOSED_BY.lock().unwrap_or_else(|error| error.into_inner());
    if closed_by != Some(thread::current().id()) {
        return Err(Closed);
    }
    CALLS.store(CALLS.load(Ordering::Relaxed) + 1, Ordering::Relaxed);
    Ok(Inside(()))
}

/// Drops what holds Python objects, as a call; where no call is taken any more, leaks it.
pub(crate) fn release<T>(held: T) {
    match enter() {
        Ok(_inside) => drop(held),
        Err(Closed) => mem::forget(held),
    }
}

/// Whether the interpreter exits, or has ended.
pub(crate) fn is_closed() -> bool {
    CALLS.load(Ordering::Relaxed) & CLOSED != 0
}

fn is_anybody_inside() -> bool {
    let calls = CALLS.load(Ordering::Relaxed) & !CLOSED;
    calls > LEFT_BEHIND.load(Ordering::Relaxed)
}

/// The `atexit` hook: refuses other threads from now on, and waits until none of them is inside, for at most a second.
#[pyfunction]
fn close(py: Python<'_>) {
    *CLOSED_BY.lock().unwrap_or_else(|error| error.into_inner()) = Some(thread::current().id());
    CALLS.fetch_or(CLOSED, Ordering::Relaxed);
    if !is_anybody_inside() {
        return;
    }
    py.detach(|| {
        let begin = Instant::now(); // real time, whatever clocks the loops have: threads are waited for
        while is_anybody_inside() && begin.elapsed() < LIMIT {
            thread::sleep(INTERVAL);
        }
    });
}

/// In the child of a fork: the other threads are gone, and never leave the calls they were in.
pub(crate) fn note_fork() {
    let calls = CALLS.load(Ordering::Relaxed) & !CLOSED;
    LEFT_BEHIND.store(calls, Ordering::Relaxed);
}

/// Has Python call [`close`].
pub(crate) fn set_up(module: &Bound<'_, PyModule>) -> PyResult<()> {
    let atexit = module.py().import("atexit")?;
    atexit.call_method1("register", (wrap_pyfunction!(close, module)?,))?;
    Ok(())
}
