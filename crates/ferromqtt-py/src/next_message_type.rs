//! The slots of CPython by which a step of an iterator is awaited without a coroutine and without raising `StopIteration`.

use std::panic::{AssertUnwindSafe, catch_unwind};

use ferromqtt_proto::QueueId;
use pyo3::ffi;
use pyo3::panic::PanicException;
use pyo3::prelude::*;

use crate::access::Access;
use crate::core::Core;
use crate::gate;
use crate::hand_over::hand_over;
use crate::next_message::{IN_A_ROW, NextMessage, State, Step, advance};

/// `Py_TPFLAGS_HAVE_AM_SEND` of CPython's `object.h`.
const HAVE_AM_SEND: std::ffi::c_ulong = 1 << 21;

/// Gives [`NextMessage`] the slot that PyO3 has no name for, and a shorter way to [`am_await`].
pub(crate) fn finish_type(py: Python<'_>) {
    let class = py.get_type::<NextMessage>();
    #[allow(unsafe_code, reason = "these slots can be set in no other way")]
    // SAFETY: `class` is a heap type that this module alone has made, and no instance of it yet: the module is being imported, by
    // one thread. If the module is imported again,
    // the same values are stored again. A heap type has `tp_as_async`, since the interpreter lays it out inside the type.
    // `am_send` and `am_await` fit their slots.
    unsafe {
        let class = class.as_type_ptr();
        (*(*class).tp_as_async).am_send = Some(am_send);
        (*(*class).tp_as_async).am_await = Some(am_await);
        #[cfg(not(Py_GIL_DISABLED))]
        {
            (*class).tp_flags |= HAVE_AM_SEND;
        }
        #[cfg(Py_GIL_DISABLED)]
        {
            let flags = &(*class).tp_flags;
            flags.fetch_or(HAVE_AM_SEND, std::sync::atomic::Ordering::AcqRel);
        }
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
    let mut step = slf.lock();
    if let State::Fresh = step.state
        && let Some(core) = step.core.take()
    {
        let core = core.into_bound(py);
        let mut guard = core.lock();
        // The default queue makes no server wait, so nothing goes on when a message leaves it.
        let mut goes_on = false;
        let received = match step.queue {
            _ if guard.taken >= IN_A_ROW => None,
            QueueId::DEFAULT => guard.engine.take(QueueId::DEFAULT),
            queue => {
                let (received, more) = guard.engine.take_and_go_on(queue);
                goes_on = more;
                received
            }
        };
        if let Some(received) = received {
            guard.taken += 1;
            step.state = State::Done;
            let decoding = (step.decoding.take()).map(|decoding| decoding.into_bound(py));
            drop(step);
            if cfg!(not(Py_GIL_DISABLED)) && guard.spare_step.is_none() {
                guard.spare_step = Some(slf.clone().unbind());
            }
            let decoding = decoding.as_ref().map(Bound::as_unbound);
            let message = hand_over(&core, guard, received, decoding)?;
            if goes_on {
                Core::schedule_flush(&core)?;
            }
            return Ok(Step::Return(message.into_any()));
        }
        drop(guard);
        step.core = Some(core.unbind());
    }
    drop(step);
    Python::attach(|_| advance(slf))
}
