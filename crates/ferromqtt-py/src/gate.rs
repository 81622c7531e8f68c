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

/// How many calls are inside, and [`CLOSED`], in each of several counters.
///
/// With the GIL there is one, changed with the GIL held only, so a load and a store will do: a locked instruction for each
/// received message would be felt. Without it each thread has one that it shares with few others, so that threads do not
/// wait for each other's caches.
static CALLS: [Counter; COUNTERS] = [const { Counter(AtomicUsize::new(0)) }; COUNTERS];

#[cfg_attr(Py_GIL_DISABLED, repr(align(128)))]
struct Counter(AtomicUsize);

const COUNTERS: usize = if cfg!(Py_GIL_DISABLED) { 32 } else { 1 };

impl Counter {
    /// That of the thread that calls.
    #[cfg(not(Py_GIL_DISABLED))]
    #[inline]
    const fn here() -> &'static Self {
        &CALLS[0]
    }

    #[cfg(Py_GIL_DISABLED)]
    #[inline]
    fn here() -> &'static Self {
        static NEXT: AtomicUsize = AtomicUsize::new(0);
        thread_local! {
            static COUNTER: usize = NEXT.fetch_add(1, Ordering::Relaxed) % COUNTERS;
        }
        // Where the thread is ending any of them will do, as long as it is the same when the call ends.
        &CALLS[COUNTER.try_with(|it| *it).unwrap_or(0)]
    }

    /// Counts a call in, unless the gate is closed.
    #[cfg(not(Py_GIL_DISABLED))]
    #[inline]
    fn enter(&self) -> bool {
        let calls = self.0.load(Ordering::Relaxed);
        if calls & CLOSED != 0 {
            return false;
        }
        self.0.store(calls + 1, Ordering::Relaxed);
        true
    }

    #[cfg(Py_GIL_DISABLED)]
    #[inline]
    fn enter(&self) -> bool {
        if self.0.fetch_add(1, Ordering::AcqRel) & CLOSED == 0 {
            return true;
        }
        self.leave();
        false
    }

    /// Counts a call in, closed or not.
    fn enter_closed(&self) {
        self.0.fetch_add(1, Ordering::AcqRel);
    }

    #[cfg(not(Py_GIL_DISABLED))]
    #[inline]
    fn leave(&self) {
        let calls = self.0.load(Ordering::Relaxed).wrapping_sub(1);
        self.0.store(calls, Ordering::Relaxed);
    }

    #[cfg(Py_GIL_DISABLED)]
    #[inline]
    fn leave(&self) {
        self.0.fetch_sub(1, Ordering::AcqRel);
    }

    fn close(&self) {
        self.0.fetch_or(CLOSED, Ordering::AcqRel);
    }

    fn is_closed(&self) -> bool {
        self.0.load(Ordering::Acquire) & CLOSED != 0
    }

    fn calls(&self) -> usize {
        self.0.load(Ordering::Acquire) & !CLOSED
    }
}

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

/// A call that may run Python code. The thread is attached where it begins and where it ends, although not always between.
#[must_use]
pub(crate) struct Inside {
    counter: &'static Counter,
}

impl Drop for Inside {
    #[inline]
    fn drop(&mut self) {
        self.counter.leave();
    }
}

/// A call on an object that other threads may call on, too: see [`enter_on`]. The section ends before the call does.
#[must_use]
pub(crate) struct InsideOf {
    _held: Held,
    _inside: Inside,
}

/// See [`hold`].
#[must_use]
pub(crate) struct Held {
    #[cfg(Py_GIL_DISABLED)]
    _section: Section,
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

/// Begins a call, to be made first in everything that may run Python code, by an attached thread. Running Python code
/// includes releasing an object, which may have a finalizer, and allocating one, which may collect garbage.
///
/// # Errors
/// Once the interpreter exits, in every thread but the one that ends it.
#[inline]
pub(crate) fn enter() -> Result<Inside, Closed> {
    let counter = Counter::here();
    if counter.enter() {
        return Ok(Inside { counter });
    }
    enter_closed(counter)
}

#[cold]
fn enter_closed(counter: &'static Counter) -> Result<Inside, Closed> {
    let closed_by = *CLOSED_BY.lock().unwrap_or_else(|error| error.into_inner());
    if closed_by != Some(thread::current().id()) {
        return Err(Closed);
    }
    counter.enter_closed();
    Ok(Inside { counter })
}

/// As [`enter`], and [holds](hold) `object` until the call ends.
///
/// # Errors
/// As [`enter`].
#[inline]
pub(crate) fn enter_on<T>(object: &Bound<'_, T>) -> Result<InsideOf, Closed> {
    let inside = enter()?;
    Ok(InsideOf {
        _held: hold(object),
        _inside: inside,
    })
}

/// Keeps other threads from what holds `object` too, as far as the GIL would: until the guard is dropped, or Python code runs
/// that waits for something. Costs nothing where there is a GIL.
#[inline]
pub(crate) fn hold<T>(object: &Bound<'_, T>) -> Held {
    #[cfg(not(Py_GIL_DISABLED))]
    let _ = object;
    Held {
        #[cfg(Py_GIL_DISABLED)]
        _section: Section::begin(object.as_any()),
    }
}

/// A critical section of the interpreter's, which suspends it where a thread detaches, as it releases a GIL.
#[cfg(Py_GIL_DISABLED)]
struct Section(std::ptr::NonNull<pyo3::ffi::PyCriticalSection>);

#[cfg(Py_GIL_DISABLED)]
impl Section {
    fn begin(object: &Bound<'_, PyAny>) -> Self {
        // On the heap, since the interpreter knows its address, and the guard moves.
        #[allow(unsafe_code, reason = "PyO3 has sections for closures alone")]
        // SAFETY: all zeros are a value of this plain C structure, which `begin` fills.
        let section = Box::new(unsafe { mem::zeroed::<pyo3::ffi::PyCriticalSection>() });
        let section = std::ptr::NonNull::from(Box::leak(section));
        #[allow(unsafe_code, reason = "PyO3 has sections for closures alone")]
        // SAFETY: the thread is attached, as `object` proves, which is alive; the structure is where it stays until `drop` has
        // ended the section. Guards of this type are locals of calls, so those of a thread end in the reverse order.
        unsafe {
            pyo3::ffi::PyCriticalSection_Begin(section.as_ptr(), object.as_ptr());
        }
        Self(section)
    }
}

#[cfg(Py_GIL_DISABLED)]
impl Drop for Section {
    fn drop(&mut self) {
        #[allow(unsafe_code, reason = "PyO3 has sections for closures alone")]
        // SAFETY: it was begun by this thread (the type is not `Send`), and is the latest of those that have not ended. The
        // caller of the call that it guards still has the object. Then nobody knows the box's address any more.
        unsafe {
            pyo3::ffi::PyCriticalSection_End(self.0.as_ptr());
            drop(Box::from_raw(self.0.as_ptr()));
        }
    }
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
    CALLS.iter().any(Counter::is_closed)
}

fn calls() -> usize {
    CALLS.iter().map(Counter::calls).sum()
}

fn is_anybody_inside() -> bool {
    calls() > LEFT_BEHIND.load(Ordering::Relaxed)
}

/// The `atexit` hook: refuses other threads from now on, and waits until none of them is inside, for at most a second.
#[pyfunction]
fn close(py: Python<'_>) {
    *CLOSED_BY.lock().unwrap_or_else(|error| error.into_inner()) = Some(thread::current().id());
    CALLS.iter().for_each(Counter::close);
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
    LEFT_BEHIND.store(calls(), Ordering::Relaxed);
}

/// Has Python call [`close`].
pub(crate) fn set_up(module: &Bound<'_, PyModule>) -> PyResult<()> {
    let atexit = module.py().import("atexit")?;
    atexit.call_method1("register", (wrap_pyfunction!(close, module)?,))?;
    Ok(())
}
