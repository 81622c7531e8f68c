//! Requests and responses (5.0, section 4.10).
//!
//! As in [`crate::core`], a borrow of the core is never held while Python code may run.

use ferromqtt_engine::{Awaited, Purpose, Submission};
use ferromqtt_proto::Publish;
use pyo3::prelude::*;
use pyo3::types::PyDict;

use crate::call_result;
use crate::convert::{self, Payload};
use crate::core::Core;
use crate::operations::{call, calling_task};
use crate::properties;
use crate::receipts;
use crate::tokens::PyEngine;

/// Publishes a request. Returns a future of the message that answers it.
pub(crate) fn request<'py>(
    slf: &Bound<'py, Core>,
    message: receipts::Given<'py>,
    timeout: &Bound<'py, PyAny>,
) -> PyResult<Bound<'py, PyAny>> {
    let timeout = convert::timeout(timeout)?;
    let request = receipts::message(message)?;
    calling_task(slf)?;
    let ask = |engine: &mut PyEngine, now, deadline, token| {
        let submitted = engine.publish(now, Purpose::Request, &request, deadline, token)?;
        let (Submission::Accepted(call) | Submission::Waits(call)) = submitted;
        Ok(call)
    };
    call(slf, timeout, Awaited::Response, ask, |refusal| {
        call_result::publish_refused(slf, refusal)
    })
}

/// Publishes the response to a request that had these properties and this QoS. Returns a future of None.
pub(crate) fn respond<'py>(
    slf: &Bound<'py, Core>,
    asked: Option<&Bound<'py, PyDict>>,
    (payload, qos, retain): (&Bound<'py, PyAny>, &Bound<'py, PyAny>, bool),
    own: Option<&Bound<'py, PyDict>>,
    timeout: &Bound<'py, PyAny>,
) -> PyResult<Bound<'py, PyAny>> {
    let timeout = convert::timeout(timeout)?;
    let asked = asked.map(properties::from_dict).transpose()?;
    let qos = convert::qos(qos)?;
    let payload = Payload::new(payload)?.into_bytes();
    let own = own.map(properties::from_dict).transpose()?;
    let mut response = match Publish::response(asked.as_ref(), qos, payload) {
        Ok(response) => response,
        Err(error) => {
            return Err(call_result::publish_refused(slf, error.into())?);
        }
    };
    response.retain = retain;
    if let Some(own) = own {
        response.replace_properties(own);
    }
    let awaited = Awaited::of_publish(qos);
    calling_task(slf)?;
    let publish = |engine: &mut PyEngine, now, deadline, token| {
        engine.try_publish(now, response, deadline, token)
    };
    call(slf, timeout, awaited, publish, |refusal| {
        call_result::publish_refused(slf, refusal)
    })
}
