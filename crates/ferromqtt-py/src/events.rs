//! From the core's events and errors to futures, hooks and exceptions.

use std::time::Instant;

use bytes::Bytes;
use ferromqtt_proto::packet::{Auth, Disconnect};
use ferromqtt_proto::{
    ConnectionError, Delivery, Event, OpId, Outcome, Properties, PublishError, QueueId, ReasonCode,
    SubscribeError,
};
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyList};

use crate::core::Core;
use crate::failure::{self, CallFailure, End};
use crate::hooks;
use crate::next_message;

/// What the calls that one end of a connection fails are told of it, made once for all of them.
struct Ended<'py> {
    cause: ConnectionError,
    told: Bound<'py, PyAny>,
}

/// Hands out all events that have come up.
pub(crate) fn pump(slf: &Bound<'_, Core>) -> PyResult<()> {
    let traces = slf.borrow().client.packet_trace();
    if traces {
        tell_packets(slf)?;
    }
    let mut ended = None;
    loop {
        let event = slf.borrow_mut().client.poll_event();
        if traces && let Some(event) = &event {
            tell_connection(slf, event)?;
        }
        match event {
            None => break,
            Some(Event::Completed { op, outcome }) => complete(slf, op, outcome, &mut ended)?,
            Some(Event::MessageReady(_)) => {} // looked at below, with the steps that wait
            Some(Event::Connected(connected)) => {
                slf.call_method1(
                    intern!(slf.py(), "_on_connected"),
                    (connected.session_present,),
                )?;
                Core::arm_timer(slf)?;
            }
            Some(Event::Auth(auth)) => authenticate(slf, &auth)?,
            Some(Event::Tolerated { slip }) => {
                slf.call_method1(intern!(slf.py(), "_on_tolerated"), (slip.to_string(),))?;
            }
            Some(Event::Unacknowledged { messages }) => {
                slf.call_method1(intern!(slf.py(), "_on_unacknowledged"), (messages,))?;
            }
            Some(Event::Disconnected {
                cause, unflushed, ..
            }) => disconnected(slf, &cause, unflushed)?,
            Some(Event::Unflushed { messages }) => {
                slf.call_method1(intern!(slf.py(), "_on_unflushed"), (messages,))?;
            }
            Some(Event::MessageSuspected {
                topic,
                messages,
                ends,
                reason,
            }) => {
                let code = reason.map(ReasonCode::value);
                slf.call_method1(
                    intern!(slf.py(), "_on_message_suspected"),
                    (topic.as_str(), messages, ends, code),
                )?;
            }
            Some(Event::IdentifierContested(contest)) => {
                slf.call_method1(
                    intern!(slf.py(), "_on_identifier_contested"),
                    (contest.to_string(),),
                )?;
            }
            Some(Event::MessageRefused { topic, reason, .. }) => {
                slf.call_method1(
                    intern!(slf.py(), "_on_message_refused"),
                    (topic.as_str(), reason.value()),
                )?;
            }
            Some(_) => {}
        }
    }
    let lost = slf.borrow_mut().client.take_lost(QueueId::DEFAULT);
    if lost > 0 {
        slf.call_method1(intern!(slf.py(), "_on_lost"), (lost,))?;
    }
    let sink = slf.borrow().sink(slf.py());
    if let Some(sink) = sink {
        return feed(slf, &sink);
    }
    let mut core = slf.borrow_mut();
    let Core {
        backlog, client, ..
    } = &mut *core;
    let grown = backlog.grown(client);
    drop(core);
    if let Some(size) = grown {
        slf.call_method1(intern!(slf.py(), "_on_backlog"), size)?;
    }
    next_message::wake(slf)
}

/// Hands out a line for each packet that was written or read since.
#[cold]
fn tell_packets(slf: &Bound<'_, Core>) -> PyResult<()> {
    let mut core = slf.borrow_mut();
    let mut lines = Vec::new();
    while let Some(record) = core.client.poll_packet() {
        lines.push(record.to_string());
    }
    match core.client.take_untraced() {
        0 => {}
        packets => lines.push(format!(
            "{packets} packets have no line: there were too many at once"
        )),
    }
    drop(core);
    if lines.is_empty() {
        return Ok(());
    }
    slf.call_method1(intern!(slf.py(), "_on_trace"), (lines,))?;
    Ok(())
}

/// Hands out a line for a connection that was made or has ended.
#[cold]
fn tell_connection(slf: &Bound<'_, Core>, event: &Event) -> PyResult<()> {
    let accepted = matches!(event, Event::Connected(_));
    let ended = matches!(event, Event::Disconnected { .. });
    let mut core = slf.borrow_mut();
    let established = core.established;
    core.established = accepted || (established && !ended);
    drop(core);
    let line = match event {
        Event::Connected(connected) if connected.session_present => {
            "connected (session present)".to_owned()
        }
        Event::Connected(_) => "connected".to_owned(),
        Event::Disconnected {
            cause: ConnectionError::Closed,
            ..
        } => "disconnected".to_owned(),
        Event::Disconnected { cause, .. } if established => format!("connection lost: {cause}"),
        Event::Disconnected { cause, .. } => format!("cannot connect: {cause}"),
        _ => return Ok(()),
    };
    slf.call_method1(intern!(slf.py(), "_on_trace"), (vec![line],))?;
    Ok(())
}

/// Hands every message to Python code that keeps them itself.
fn feed(slf: &Bound<'_, Core>, sink: &Bound<'_, PyAny>) -> PyResult<()> {
    while let Some(message) = next_message::pop(slf)? {
        sink.call1((message,))?;
    }
    Ok(())
}

/// Lets Python answer an AUTH packet: at once, or later by [`answer`].
fn authenticate(slf: &Bound<'_, Core>, auth: &Auth) -> PyResult<()> {
    if auth.reason != ReasonCode::ContinueAuthentication {
        return Ok(());
    }
    let py = slf.py();
    let data = auth.properties.authentication_data.as_deref();
    let data = PyBytes::new(py, data.unwrap_or_default());
    slf.call_method1(intern!(py, "_on_auth"), (data,))?;
    Ok(())
}

/// Answers the server's AUTH; without data the connection ends. Returns why data cannot be sent: the connection ends then too.
pub(crate) fn answer(slf: &Bound<'_, Core>, data: Option<&[u8]>) -> PyResult<Option<String>> {
    let now = Core::now(slf)?;
    let mut core = slf.borrow_mut();
    let answered = data.map(|data| {
        let answer = Auth {
            reason: ReasonCode::ContinueAuthentication,
            properties: Properties {
                authentication_data: Some(Bytes::copy_from_slice(data)),
                ..Properties::default()
            },
        };
        core.client.authenticate(now, answer)
    });
    if !matches!(answered, Some(Ok(()))) {
        let reason = ReasonCode::ImplementationSpecificError;
        let disconnect = Disconnect::because(reason);
        core.client.disconnect(now, disconnect);
    }
    drop(core);
    Core::schedule_flush(slf)?;
    Ok(answered.and_then(|result| result.err().map(|error| error.to_string())))
}

fn disconnected(slf: &Bound<'_, Core>, cause: &ConnectionError, unflushed: u64) -> PyResult<()> {
    slf.call_method1(
        intern!(slf.py(), "_on_disconnected"),
        (End::new(cause), unflushed),
    )?;
    Ok(())
}

fn complete<'py>(
    slf: &Bound<'py, Core>,
    op: OpId,
    outcome: Outcome,
    ended: &mut Option<Ended<'py>>,
) -> PyResult<()> {
    let py = slf.py();
    let Some(call) = slf.borrow_mut().calls.remove(op.value()) else {
        return Ok(());
    };
    let future = call.future.into_bound(py);
    match outcome {
        Outcome::Sent | Outcome::Acknowledged { .. } => {
            hooks::set_result(&future, py.None().into_bound(py))
        }
        Outcome::Subscribed { reasons, .. } | Outcome::Unsubscribed { reasons, .. } => {
            let codes = PyList::new(py, reasons.iter().map(|reason| reason.value()))?;
            hooks::set_result(&future, codes.into_any())
        }
        Outcome::Refused { reason, properties } => {
            let text = failure::reason_string(properties.as_deref());
            let kind = CallFailure::Refused;
            fail(&future, kind, reason.value(), text, None)
        }
        Outcome::NotPossible(error) => not_possible(&future, &error, Delivery::NotSent),
        Outcome::GivenUp(error) => not_possible(&future, &error, Delivery::Unknown),
        Outcome::RequestNotPossible(error) => {
            let (kind, code) = CallFailure::of_request(&error);
            fail(
                &future,
                kind,
                code,
                failure::request_text(&error),
                Some(Delivery::NotSent),
            )
        }
        Outcome::Expired => {
            let text = "The message expired before it could be sent".to_owned();
            let kind = CallFailure::NotSent;
            fail(&future, kind, 0, text, Some(Delivery::NotSent))
        }
        Outcome::Dropped => {
            let text = "The full outgoing queue dropped the message".to_owned();
            let kind = CallFailure::NotSent;
            fail(&future, kind, 0, text, Some(Delivery::NotSent))
        }
        Outcome::Disconnected { cause, delivery } => {
            let told = match ended {
                Some(ended) if ended.cause == cause => &ended.told,
                _ => {
                    let told = slf.call_method1(intern!(py, "_share_end"), (End::new(&cause),))?;
                    &ended.insert(Ended { cause, told }).told
                }
            };
            let error = hooks::ended_error(py)?.call1((told, name(delivery)))?;
            hooks::set_exception(&future, error)
        }
        Outcome::SessionLost => {
            let text = "The server lost the session: delivery is unknown".to_owned();
            let kind = CallFailure::SessionLost;
            fail(&future, kind, 0, text, Some(Delivery::Unknown))
        }
        // The core tells nothing else today; its `Outcome` may grow.
        other => {
            let text =
                format!("The call ended with an outcome that this client does not know: {other:?}");
            fail(&future, CallFailure::NotSent, 0, text, None)
        }
    }
}

fn not_possible(
    future: &Bound<'_, PyAny>,
    error: &PublishError,
    delivery: Delivery,
) -> PyResult<()> {
    let (kind, code) = CallFailure::of_publish(error);
    fail(
        future,
        kind,
        code,
        failure::publish_text(error),
        Some(delivery),
    )
}

/// Fails the calls whose time is over.
pub(crate) fn expire_calls(slf: &Bound<'_, Core>, now: Instant) -> PyResult<()> {
    loop {
        let mut core = slf.borrow_mut();
        let Some(op) = core.calls.expired(now) else {
            return Ok(());
        };
        let call = core.calls.remove(op);
        let delivery = core.client.abandon(OpId::from_value(op));
        if let Some(call) = call {
            let sent = delivery != Some(Delivery::NotSent);
            let text = failure::overdue(call.awaited, sent, &core.address, call.limit);
            drop(core);
            let future = call.future.into_bound(slf.py());
            fail(&future, CallFailure::Timeout, 0, text, delivery)?;
        }
    }
}

fn fail(
    future: &Bound<'_, PyAny>,
    kind: CallFailure,
    code: u8,
    text: String,
    delivery: Option<Delivery>,
) -> PyResult<()> {
    let error = call_error(future.py(), kind, code, text, delivery, "")?;
    hooks::set_exception(future, error)
}

fn call_error<'py>(
    py: Python<'py>,
    kind: CallFailure,
    code: u8,
    text: String,
    delivery: Option<Delivery>,
    what: &str,
) -> PyResult<Bound<'py, PyAny>> {
    hooks::call_error(py)?.call1((kind, code, text, delivery.map(name), what))
}

const fn name(delivery: Delivery) -> &'static str {
    match delivery {
        Delivery::NotSent => "not_sent",
        Delivery::Unknown => "unknown",
    }
}

/// The exception for a publish that was refused before anything was sent.
pub(crate) fn publish_refused(slf: &Bound<'_, Core>, error: &PublishError) -> PyResult<PyErr> {
    let (kind, code) = CallFailure::of_publish(error);
    refused(slf, kind, code, failure::publish_text(error), "publish")
}

/// The exception for a SUBSCRIBE or UNSUBSCRIBE that was refused before anything was sent.
pub(crate) fn request_refused(
    slf: &Bound<'_, Core>,
    error: &SubscribeError,
    what: &str,
) -> PyResult<PyErr> {
    let (kind, code) = CallFailure::of_request(error);
    refused(slf, kind, code, failure::request_text(error), what)
}

fn refused(
    slf: &Bound<'_, Core>,
    kind: CallFailure,
    code: u8,
    text: String,
    what: &str,
) -> PyResult<PyErr> {
    let py = slf.py();
    let error = call_error(py, kind, code, text, Some(Delivery::NotSent), what)?;
    if kind == CallFailure::NotConnected && what == "publish" {
        let cause = slf.call_method0(intern!(py, "_disconnect_cause"))?;
        error.setattr(intern!(py, "__cause__"), cause)?;
    }
    Ok(PyErr::from_value(error))
}
