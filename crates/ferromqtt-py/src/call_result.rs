//! From the ends of calls to the results and exceptions of their futures. What an end means is the engine's to say.

use std::time::Duration;

use ferromqtt_engine::{Awaited, CallEnd, PublishError, RequestError, SubscribeError};
use ferromqtt_proto::{
    AuthError, ConnectionError, Delivery, InvalidPublish, InvalidSubscribe, ReasonCode,
};
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::PyList;

use crate::access::Access;
use crate::core::Core;
use crate::failure::{self, End};
use crate::hand_over::hand_over;
use crate::hooks;
use crate::receipts;
use crate::tokens::Call;

/// What the exceptions of all calls that one end of a connection fails share, made once for all of them.
pub(crate) struct Ended<'py> {
    cause: ConnectionError,
    shared: Bound<'py, PyAny>,
}

/// The kind of those for which there is no connection.
const DISCONNECTED: &str = "disconnected";

/// A call that failed, as `ferromqtt._errors` makes an exception of it.
struct FailedCall {
    /// One of the kinds that are told apart there.
    kind: &'static str,
    /// The Reason Code that fits; 0 if there is none.
    code: u8,
    text: String,
    delivery: Delivery,
    /// The end of the connection that failed it.
    cause: Option<ConnectionError>,
}

impl FailedCall {
    fn publish(error: PublishError, address: &str) -> Self {
        let delivery = error.delivery();
        let summary = error.summary();
        let failure = match error {
            PublishError::Invalid(InvalidPublish::NotConnected) => (DISCONNECTED, 0, String::new()),
            PublishError::Invalid(InvalidPublish::StoreBusy) => ("store_busy", 0, summary),
            PublishError::Invalid(InvalidPublish::StoreFailed) => ("discarded", 0, summary),
            PublishError::Invalid(error) => checked(error.limit(), failure::publish_text(&error)),
            PublishError::Quarantined { .. } => ("quarantined", 0, summary),
            PublishError::Kept { .. } => ("kept", 0, summary),
            PublishError::GivenUp(error) => checked(error.limit(), summary),
            PublishError::Rejected { reason, properties } => {
                let text = failure::reason_string(properties.as_deref());
                ("refused", reason.value(), text)
            }
            PublishError::Unreleased { .. } => {
                let reason = ReasonCode::PacketIdentifierNotFound;
                ("unreleased", reason.value(), summary)
            }
            PublishError::TimedOut { awaited, limit, .. } => {
                ("timed_out", 0, awaited.overdue(delivery, address, limit))
            }
            PublishError::QueueFull { .. } => ("queue_full", 0, summary),
            PublishError::Disconnected { cause, .. } => return Self::ended(cause, delivery),
            PublishError::Draining => ("draining", 0, String::new()),
            PublishError::Expired => ("expired", 0, summary),
            PublishError::Replaced => ("replaced", 0, summary),
            PublishError::Dropped => ("dropped", 0, summary),
            _ => ("discarded", 0, summary),
        };
        Self::raised(failure, delivery)
    }

    fn request(error: SubscribeError, address: &str) -> Self {
        let delivery = error.delivery();
        let failure = match error {
            SubscribeError::Invalid(InvalidSubscribe::NoRequests) => {
                ("no_requests", 0, failure::NO_REQUESTS.to_owned())
            }
            SubscribeError::Invalid(error) => checked(error.limit(), failure::request_text(&error)),
            SubscribeError::TimedOut { awaited, limit, .. } => {
                ("timed_out", 0, awaited.overdue(delivery, address, limit))
            }
            SubscribeError::Disconnected { cause, .. } => return Self::ended(cause, delivery),
            error => ("discarded", 0, error.to_string()),
        };
        Self::raised(failure, delivery)
    }

    fn response(error: RequestError, address: &str) -> Self {
        let delivery = error.delivery();
        let failure = match error {
            RequestError::Publish(error) => return Self::publish(error, address),
            RequestError::NoResponder => {
                let reason = ReasonCode::NoMatchingSubscribers;
                ("no_responder", reason.value(), String::new())
            }
            RequestError::Unanswerable { refusal, .. } => {
                let reason = refusal.reason();
                match refusal.forbidden_by() {
                    Some(error) => (
                        "no_subscription",
                        reason.value(),
                        failure::request_text(error),
                    ),
                    None => ("unanswerable", reason.value(), reason.to_string()),
                }
            }
            RequestError::TimedOut { limit, .. } => {
                let text = Awaited::Response.overdue(delivery, address, limit);
                ("timed_out", 0, text)
            }
            error => ("discarded", 0, error.to_string()),
        };
        Self::raised(failure, delivery)
    }

    /// What was accepted is no wrong argument any more: the server turned out to be another one than it was accepted for.
    fn once_accepted(self) -> Self {
        match self.kind {
            "invalid" => Self {
                kind: "discarded",
                ..self
            },
            _ => self,
        }
    }

    fn raised((kind, code, text): (&'static str, u8, String), delivery: Delivery) -> Self {
        Self {
            kind,
            code,
            text,
            delivery,
            cause: None,
        }
    }

    const fn ended(cause: ConnectionError, delivery: Delivery) -> Self {
        Self {
            kind: DISCONNECTED,
            code: 0,
            text: String::new(),
            delivery,
            cause: Some(cause),
        }
    }

    fn into_exception<'py>(self, py: Python<'py>, what: &str) -> PyResult<Bound<'py, PyAny>> {
        let delivery = name(self.delivery);
        hooks::call_error(py)?.call1((self.kind, self.code, self.text, delivery, what))
    }
}

/// Of an operation that a limit of the server forbids, or that is wrong in itself.
fn checked(limit: Option<ReasonCode>, text: String) -> (&'static str, u8, String) {
    match limit {
        Some(reason) => ("limit", reason.value(), text),
        None => ("invalid", 0, text),
    }
}

/// Ends the wait of a call. Returns its future.
pub(crate) fn complete<'py>(
    slf: &Bound<'py, Core>,
    call: Call,
    end: CallEnd,
    ended: &mut Option<Ended<'py>>,
) -> PyResult<Bound<'py, PyAny>> {
    let py = slf.py();
    let future = call.future.into_bound(py);
    let awaited = call.awaited;
    let limit = Duration::try_from_secs_f32(call.limit).unwrap_or(Duration::MAX);
    let what = match awaited {
        Awaited::Capacity => "enqueue",
        _ => "publish",
    };
    let failed = match awaited {
        Awaited::Capacity => match end {
            CallEnd::Queued { key } => return succeed(future, key.into_pyobject(py)?.into_any()),
            end => match end.published(awaited, limit) {
                Ok(_) => FailedCall::ended(ConnectionError::DriverGone, Delivery::NotSent),
                Err(error) => FailedCall::publish(error, slf.read().engine.address()),
            },
        },
        Awaited::SubAck | Awaited::UnsubAck => match end.answered(awaited, limit) {
            Ok(answer) => {
                let reasons = answer.results.iter().map(|result| result.reason());
                let codes = PyList::new(py, reasons.map(|reason| reason.value()))?;
                return succeed(future, codes.into_any());
            }
            Err(error) => FailedCall::request(error, slf.read().engine.address()),
        },
        Awaited::Response => match end.responded(awaited, limit) {
            Ok(response) => {
                let response = hand_over(slf, slf.lock(), response, None)?;
                return succeed(future, response.into_any());
            }
            Err(error) => FailedCall::response(error, slf.read().engine.address()),
        },
        Awaited::Stored => match end.stored() {
            Ok(()) => return succeed(future, py.None().into_bound(py)),
            Err(error) => FailedCall::publish(error, slf.read().engine.address()),
        },
        Awaited::Authentication => match end {
            CallEnd::ReAuthenticated(Ok(())) => return succeed(future, py.None().into_bound(py)),
            CallEnd::ReAuthenticated(Err(cause)) => FailedCall::ended(cause, Delivery::Unknown),
            _ => FailedCall::ended(ConnectionError::DriverGone, Delivery::Unknown),
        },
        _ => match end.published(awaited, limit) {
            Ok(published) if call.wants_outcome => {
                return succeed(future, receipts::published(py, &published)?);
            }
            Ok(_) => return succeed(future, py.None().into_bound(py)),
            Err(error) => FailedCall::publish(error, slf.read().engine.address()),
        },
    };
    let failed = failed.once_accepted();
    let error = match &failed.cause {
        Some(cause) => {
            let shared = shared_end(slf, cause, ended)?;
            hooks::ended_error(py)?.call1((shared, name(failed.delivery)))?
        }
        None => failed.into_exception(py, what)?,
    };
    hooks::set_exception(&future, error)?;
    Ok(future)
}

fn succeed<'py>(
    future: Bound<'py, PyAny>,
    result: Bound<'py, PyAny>,
) -> PyResult<Bound<'py, PyAny>> {
    hooks::set_result(&future, result)?;
    Ok(future)
}

fn shared_end<'a, 'py>(
    slf: &Bound<'py, Core>,
    cause: &ConnectionError,
    ended: &'a mut Option<Ended<'py>>,
) -> PyResult<&'a Bound<'py, PyAny>> {
    let made = match ended.take() {
        Some(made) if made.cause == *cause => made,
        _ => {
            let core = slf.read();
            let address = core.engine.last_end_address();
            let end = End::new(cause, address, core.engine.has_accepted(address));
            drop(core);
            let shared = slf.call_method1(intern!(slf.py(), "_share_end"), (end,))?;
            let cause = cause.clone();
            Ended { cause, shared }
        }
    };
    Ok(&ended.insert(made).shared)
}

const fn name(delivery: Delivery) -> &'static str {
    match delivery {
        Delivery::NotSent => "not_sent",
        Delivery::Unknown => "unknown",
    }
}

/// The exception for a publish that was refused before anything was sent.
pub(crate) fn publish_refused(slf: &Bound<'_, Core>, refusal: PublishError) -> PyResult<PyErr> {
    refused(slf, FailedCall::publish(refusal, ""), "publish")
}

/// The exception for a message that the outgoing queue has not accepted.
pub(crate) fn enqueue_refused(slf: &Bound<'_, Core>, refusal: PublishError) -> PyResult<PyErr> {
    refused(slf, FailedCall::publish(refusal, ""), "enqueue")
}

/// The exception for an authentication that was not begun.
pub(crate) fn authentication_refused(slf: &Bound<'_, Core>, error: &AuthError) -> PyResult<PyErr> {
    let failed = match error {
        AuthError::NotConnected => {
            let cause = slf.read().engine.end_cause();
            FailedCall::ended(cause, Delivery::NotSent)
        }
        error => {
            let kind = match error {
                AuthError::NotNow(_) => "discarded",
                _ => "invalid",
            };
            FailedCall::raised((kind, 0, error.to_string()), Delivery::NotSent)
        }
    };
    refused(slf, failed, "authenticate")
}

/// The exception for a SUBSCRIBE or UNSUBSCRIBE that was refused before anything was sent.
pub(crate) fn request_refused(
    slf: &Bound<'_, Core>,
    refusal: SubscribeError,
    what: &str,
) -> PyResult<PyErr> {
    refused(slf, FailedCall::request(refusal, ""), what)
}

fn refused(slf: &Bound<'_, Core>, failed: FailedCall, what: &str) -> PyResult<PyErr> {
    let py = slf.py();
    let has_drained = slf.read().engine.is_draining() && !slf.read().takes_calls();
    let failed = match failed.kind {
        DISCONNECTED if has_drained => FailedCall::publish(PublishError::Draining, ""),
        _ => failed,
    };
    let is_disconnected = failed.kind == DISCONNECTED;
    let error = failed.into_exception(py, what)?;
    // As in aiomqtt, of publishing alone where a connection that is lost is not made again.
    let reconnects = slf.read().engine.core().options().reconnect.is_some();
    if is_disconnected && (matches!(what, "publish" | "enqueue") || reconnects) {
        let cause = slf.call_method0(intern!(py, "_disconnect_cause"))?;
        error.setattr(intern!(py, "__cause__"), cause)?;
    }
    Ok(PyErr::from_value(error))
}
