//! The clock of a core or a broker: the one of the event loop that it runs on.
//!
//! Under a loop of asyncio or uvloop that is the system's monotonic clock, read without a Python call. Any other loop may
//! have a clock of its own, as those do that jump over idle time in tests, and is asked for `loop.time()`.
//! `docs/design/0029-clock.md` has the reasons.
//!
//! Asking a loop runs Python code, so no borrow of the owner may be held meanwhile: the owner's clock is cloned first.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use pyo3::exceptions::{PyTypeError, PyValueError};
use pyo3::gc::{PyTraverseError, PyVisit};
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::PyDict;

/// The largest number of seconds, of either sign, that `loop.time()` may return: about 31,700 years.
const LARGEST: f64 = 1e12;

const NANOSECONDS: i128 = 1_000_000_000;

/// What tells the time in a loop of asyncio, as it was when the module was imported.
static ASYNCIO_TIME: PyOnceLock<Py<PyAny>> = PyOnceLock::new();

/// Tells the time. Clones share their readings.
#[derive(Clone, Default)]
pub(crate) enum Clock {
    /// The system's monotonic clock.
    #[default]
    System,
    /// `loop.time()`.
    Loop(Arc<LoopClock>),
}

/// An event loop's own clock, as `Instant`s: its seconds become nanoseconds since a base, so nothing drifts.
pub(crate) struct LoopClock {
    event_loop: Py<PyAny>,
    readings: Mutex<Readings>,
}

/// What a loop's clock has shown.
struct Readings {
    /// The `Instant` at which `loop.time()` was `start`.
    base: Instant,
    /// In nanoseconds.
    start: i128,
    /// The last `loop.time()`, in nanoseconds.
    time: i128,
    /// What [`Clock::now`] returned last.
    now: Instant,
}

impl Clock {
    /// The clock of `event_loop`. It continues from this one's last reading, and is the same clock if it is the same loop.
    ///
    /// # Errors
    /// Those of `loop.time()`. `TypeError` and `ValueError`: it returns something other than a finite number of seconds.
    pub(crate) fn of_loop(&self, event_loop: &Bound<'_, PyAny>) -> PyResult<Self> {
        let before = match self {
            Self::System => None,
            Self::Loop(clock) if clock.event_loop.is(event_loop) => return Ok(self.clone()),
            Self::Loop(clock) => Some(clock.readings().now),
        };
        let is_ahead = before.is_some_and(|before| before > Instant::now());
        if !is_ahead && has_system_time(event_loop)? {
            return Ok(Self::System);
        }
        let base = before.unwrap_or_else(Instant::now);
        let start = loop_time(event_loop)?;
        Ok(Self::Loop(Arc::new(LoopClock {
            event_loop: event_loop.clone().unbind(),
            readings: Mutex::new(Readings {
                base,
                start,
                time: start,
                now: base,
            }),
        })))
    }

    /// The time, which never goes backwards. May run Python code.
    ///
    /// # Errors
    /// As [`Clock::of_loop`].
    #[inline]
    pub(crate) fn now(&self, py: Python<'_>) -> PyResult<Instant> {
        match self {
            Self::System => Ok(Instant::now()),
            Self::Loop(clock) => clock.read(py, None),
        }
    }

    /// The time in a callback of the timer for `due`. A loop's own clock has reached that moment by definition: the loop may
    /// count in coarser steps and call back a fraction of one too early, and its clock may then stand still until the callback
    /// finds that something is due.
    ///
    /// # Errors
    /// As [`Clock::of_loop`].
    pub(crate) fn now_at_timer(&self, py: Python<'_>, due: Option<Instant>) -> PyResult<Instant> {
        match self {
            Self::System => Ok(Instant::now()),
            Self::Loop(clock) => clock.read(py, due),
        }
    }

    /// The time, or else the one that was read last and why it cannot be read: for what must be done all the same.
    pub(crate) fn now_or_last(&self, py: Python<'_>) -> (Instant, PyResult<()>) {
        match self {
            Self::System => (Instant::now(), Ok(())),
            Self::Loop(clock) => match clock.read(py, None) {
                Ok(now) => (now, Ok(())),
                Err(error) => (clock.readings().now, Err(error)),
            },
        }
    }

    pub(crate) fn traverse(&self, visit: &PyVisit<'_>) -> Result<(), PyTraverseError> {
        match self {
            Self::System => Ok(()),
            Self::Loop(clock) => visit.call(&clock.event_loop),
        }
    }
}

impl LoopClock {
    fn read(&self, py: Python<'_>, at_least: Option<Instant>) -> PyResult<Instant> {
        let time = loop_time(self.event_loop.bind(py))?;
        let mut readings = self.readings();
        let now = readings.add(time);
        readings.now = at_least.map_or(now, |due| now.max(due));
        Ok(readings.now)
    }

    /// Held for some additions only, and never while Python code runs.
    fn readings(&self) -> MutexGuard<'_, Readings> {
        (self.readings.lock()).unwrap_or_else(PoisonError::into_inner)
    }
}

impl Readings {
    /// The `Instant` of a new `loop.time()`.
    fn add(&mut self, time: i128) -> Instant {
        // A clock that was set back, as by a library that replaces it while the loop runs, goes on from here.
        self.start -= (self.time - time).max(0);
        self.time = time;
        let elapsed = u64::try_from(time - self.start).unwrap_or(u64::MAX);
        let now = self.base.checked_add(Duration::from_nanos(elapsed));
        now.map_or(self.now, |now| now.max(self.now))
    }
}

/// `loop.time()` in nanoseconds.
fn loop_time(event_loop: &Bound<'_, PyAny>) -> PyResult<i128> {
    let py = event_loop.py();
    let time = event_loop.call_method0(intern!(py, "time"))?;
    let Ok(seconds) = time.extract::<f64>() else {
        let kind = time.get_type().qualname()?;
        return Err(PyTypeError::new_err(format!(
            "The event loop's time() must return a number of seconds, not {kind}"
        )));
    };
    nanoseconds(seconds).ok_or_else(|| {
        PyValueError::new_err(format!(
            "The event loop's time() must return a finite number of seconds, not {seconds:?}"
        ))
    })
}

/// To the nearest nanosecond: a float rarely holds a whole number of them.
fn nanoseconds(seconds: f64) -> Option<i128> {
    if !seconds.is_finite() || seconds.abs() > LARGEST {
        return None;
    }
    let whole = seconds.trunc();
    let rest = ((seconds - whole) * 1e9).round();
    #[expect(clippy::cast_possible_truncation, reason = "bounded above, and whole")]
    Some(whole as i128 * NANOSECONDS + rest as i128)
}

/// Whether a loop's `time` is the one of asyncio, or of uvloop: the system's monotonic clock.
fn has_system_time(event_loop: &Bound<'_, PyAny>) -> PyResult<bool> {
    let py = event_loop.py();
    let name = intern!(py, "time");
    let Some(time) = event_loop.get_type().getattr_opt(name)? else {
        return Ok(false);
    };
    if !time.is(asyncio_time(py)?) && !is_time_of_uvloop(&time)? {
        return Ok(false);
    }
    // Whether the loop object has another one than its class. Not asked of its `__dict__`: CPython keeps the attributes of an
    // object that nobody has asked for that where they are found faster.
    let bound = event_loop.getattr(name)?;
    let owner = bound.getattr_opt(intern!(py, "__self__"))?;
    let function = bound.getattr_opt(intern!(py, "__func__"))?; // uvloop's has none
    Ok(owner.is_some_and(|owner| owner.is(event_loop))
        && function.is_none_or(|function| function.is(&time)))
}

/// uvloop is not imported for this: a loop of it has done so.
fn is_time_of_uvloop(time: &Bound<'_, PyAny>) -> PyResult<bool> {
    let py = time.py();
    let modules = py
        .import(intern!(py, "sys"))?
        .getattr(intern!(py, "modules"))?;
    let modules = modules.cast_into::<PyDict>()?;
    // The extension's class, which nobody can patch, and not the one of the package.
    let Some(module) = modules.get_item(intern!(py, "uvloop.loop"))? else {
        return Ok(false);
    };
    let class = module.getattr_opt(intern!(py, "Loop"))?;
    let theirs = class.map(|class| class.getattr_opt(intern!(py, "time")));
    Ok(theirs
        .transpose()?
        .flatten()
        .is_some_and(|theirs| time.is(&theirs)))
}

fn asyncio_time(py: Python<'_>) -> PyResult<&Bound<'_, PyAny>> {
    let time = ASYNCIO_TIME.get_or_try_init(py, || {
        let class = py.import("asyncio")?.getattr("BaseEventLoop")?;
        Ok::<_, PyErr>(class.getattr("time")?.unbind())
    })?;
    Ok(time.bind(py))
}

/// Looks up asyncio's clock before anybody replaces it.
pub(crate) fn set_up(py: Python<'_>) -> PyResult<()> {
    asyncio_time(py).map(|_| ())
}
