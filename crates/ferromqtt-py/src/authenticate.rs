//! Enhanced authentication (5.0, section 4.12): its beginning, and authenticating again. `events.rs` has the answers.
//!
//! As in [`crate::core`], a borrow of the core is never held while Python code may run.

use bytes::Bytes;
use ferromqtt_engine::Awaited;
use ferromqtt_proto::AuthError;
use pyo3::prelude::*;

use crate::access::Access;
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
    let mut core = slf.lock();
    Ok(core.engine.begin_authentication(now, beginning))
}

/// Which connection may authenticate again now. Raises when none may.
pub(crate) fn check_again(slf: &Bound<'_, Core>) -> PyResult<u64> {
    calling_task(slf)?;
    let core = slf.read();
    let connections = core.engine.core().stats().connections;
    let checked = core.engine.check_re_authenticate();
    drop(core);
    match checked {
        Ok(()) => Ok(connections),
        Err(error) => Err(call_result::authentication_refused(slf, &error)?),
    }
}

/// Authenticates again on this connection, beginning with this data. Returns a future of None.
pub(crate) fn again<'py>(
    slf: &Bound<'py, Core>,
    connection: u64,
    data: Option<&[u8]>,
) -> PyResult<Bound<'py, PyAny>> {
    if check_again(slf)? != connection {
        let error = AuthError::NotConnected; // that one has ended
        return Err(call_result::authentication_refused(slf, &error)?);
    }
    let now = Core::now(slf)?;
    let future = call_future::create(slf)?;
    let token = Call {
        future: future.clone().unbind(),
        awaited: Awaited::Authentication,
        wants_outcome: false,
        limit: f32::INFINITY, // the caller has its own
    };
    let data = data.map(Bytes::copy_from_slice);
    let begun = slf.lock().engine.re_authenticate(now, data, token);
    if let Err((token, error)) = begun {
        drop(token);
        return Err(call_result::authentication_refused(slf, &error)?);
    }
    Core::schedule_flush(slf)?;
    Ok(future)
}
