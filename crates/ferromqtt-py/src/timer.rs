//! The time of a client, and the timer for its next deadline.

use std::time::Instant;

use pyo3::intern;
use pyo3::prelude::*;

use crate::access::Access;
use crate::core::Core;
use crate::events;
use crate::progress;

impl Core {
    /// The time on the client's loop. May run Python code: no borrow of the core may be held.
    #[inline]
    pub(crate) fn now(slf: &Bound<'_, Self>) -> PyResult<Instant> {
        let clock = slf.read().clock.clone();
        clock.now(slf.py())
    }

    /// As [`Clock::now_or_last`].
    pub(crate) fn now_or_last(slf: &Bound<'_, Self>) -> (Instant, PyResult<()>) {
        let clock = slf.read().clock.clone();
        clock.now_or_last(slf.py())
    }

    /// Sees to it that the loop calls back no later than the next deadline. A timer that fires early finds nothing to do
    /// and is set anew, so that the usual case, a deadline that moves further away, costs nothing.
    pub(crate) fn arm_timer(slf: &Bound<'_, Self>) -> PyResult<()> {
        let py = slf.py();
        let core = slf.read();
        if core.outbox.as_ref().is_some_and(|it| it.is_closed) {
            return Ok(()); // the client was left, and would be held for as long as a message may wait
        }
        let Some(next) = core.engine.deadline() else {
            return Ok(());
        };
        if core.timer.as_ref().is_some_and(|(armed, _)| *armed <= next) {
            return Ok(());
        }
        let Some(event_loop) = core.event_loop.as_ref().map(|it| it.clone_ref(py)) else {
            return Ok(());
        };
        drop(core);
        Self::stop_timer(slf)?;
        let now = Self::now(slf)?; // not an earlier one: the timer would come late by what was done since
        let delay = next.saturating_duration_since(now).as_secs_f64();
        let fired = slf.getattr(intern!(py, "timer_fired"))?;
        let handle = event_loop.call_method1(py, intern!(py, "call_later"), (delay, fired))?;
        let previous = slf.lock().timer.replace((next, handle));
        if let Some((_, handle)) = previous {
            handle.call_method0(py, intern!(py, "cancel"))?; // the loop's code has armed it meanwhile
        }
        Ok(())
    }

    pub(crate) fn stop_timer(slf: &Bound<'_, Self>) -> PyResult<()> {
        let timer = slf.lock().timer.take();
        if let Some((_, handle)) = timer {
            handle.call_method0(slf.py(), intern!(slf.py(), "cancel"))?;
        }
        Ok(())
    }

    /// The loop's timer has fired.
    pub(crate) fn fire_timer(slf: &Bound<'_, Self>) -> PyResult<()> {
        let fired = slf.lock().timer.take();
        let due = fired.as_ref().map(|(due, _)| *due);
        let clock = slf.read().clock.clone();
        let now = clock.now_at_timer(slf.py(), due)?;
        progress::report(slf, now)?;
        slf.lock().engine.on_time(now);
        drop(fired);
        events::pump(slf, now)?;
        Self::flush(slf)
    }
}
