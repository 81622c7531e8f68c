//! Enhanced authentication (5.0, section 4.12): its beginning, and authenticating again. `events.rs` has the answers.
//!
//! As in [`crate::core`], a borrow of the core is never held while Python code may run.

use bytes::Bytes;
use ferromqtt_engine::Awaited;
use pyo3::prelude::*;

use crate::call_future;
use crate::call_result;
use crate::core::Core;
use crate::operations::calling_task;
use crate::tokens::Call;

/// The Authentication Data that the next CONNECT has; or why there is none, which ends the attempt. Returns whether it goes on.
pub(crate) fn begin(
    slf: &Bound<'_, Core>,
    data: Option<&[u8]>,
    why: Option<String>,
) -> PyResult<bool> {
    let now = Core::now(slf)?;
    let beginning = match why {
        Some(why) => Err(why.into()),
        None => Ok(data.map(Bytes::copy_from_slice)),
    };
    let mut core = slf.borrow_mut();
    Ok(core.engine.begin_authentication(now, beginning))
}

/// Authenticates again, beginning with this data. Returns a future of None.
pub(crate) fn again<'py>(
    slf: &Bound<'py, Core>,
    data: Option<&[u8]>,
) -> PyResult<Bound<'py, PyAny>> {
    calling_task(slf)?;
    let now = Core::now(slf)?;
    let future = call_future::create(slf)?;
    let token = Call {
        future: future.clone().unbind(),
        awaited: Awaited::Authentication,
        wants_outcome: false,
        limit: f32::INFINITY, // the caller has its own
    };
    let data = data.map(Bytes::copy_from_slice);
    let begun = slf.borrow_mut().engine.re_authenticate(now, data, token);
    if let Err((token, error)) = begun {
        drop(token);
        return Err(call_result::authentication_refused(slf, &error)?);
    }
    Core::schedule_flush(slf)?;
    Ok(future)
}
