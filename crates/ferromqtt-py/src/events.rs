//! From what the engine hands out to futures, hooks and exceptions.

use std::fmt::Debug;
use std::time::Instant;

use bytes::Bytes;
use ferromqtt_engine::{Ask, CallEnd, Fact, PublishRefusal, Reply, SubscribeRefusal, Woken};
use ferromqtt_proto::{
    ConnectionError, Delivery, InvalidPublish, InvalidSubscribe, Outcome, QueueId, ReasonCode,
};
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyList};

use crate::call_future::Wakeups;
use crate::core::Core;
use crate::failure::{self, CallFailure, End};
use crate::hooks;
use crate::next_message;
use crate::receipts;
use crate::tokens::Call;

/// What the calls that one end of a connection fails are told of it, made once for all of them.
struct Ended<'py> {
    cause: ConnectionError,
    told: Bound<'py, PyAny>,
}

/// Settles the engine, and hands out what follows from that: to be called when the driver has called the engine.
pub(crate) fn pump(slf: &Bound<'_, Core>, now: Instant) -> PyResult<()> {
    slf.borrow_mut().engine.settle(now);
    authenticate(slf, now)?;
    hand_out(slf)?;
    let sink = slf.borrow().sink(slf.py());
    if let Some(sink) = sink {
        return feed(slf, &sink);
    }
    let mut core = slf.borrow_mut();
    let Core {
        backlog, engine, ..
    } = &mut *core;
    let grown = backlog.grown(engine.core());
    drop(core);
    if let Some(size) = grown {
        slf.call_method1(intern!(slf.py(), "_on_backlog"), size)?;
    }
    Ok(())
}

/// Hands out what the engine has for callers, iterators and hooks, one by one. Each of them may run Python code.
pub(crate) fn hand_out(slf: &Bound<'_, Core>) -> PyResult<()> {
    let mut ended = None;
    let mut wakeups = Wakeups::default();
    loop {
        let woken = slf.borrow_mut().engine.next_woken();
        match woken {
            None => return Ok(()),
            Some(Woken::Call(call, end)) => {
                let future = complete(slf, call, end, &mut ended)?;
                wakeups.add(slf, &future)?;
                continue;
            }
            Some(Woken::Reader(reader)) => next_message::wake(slf, reader)?,
            Some(Woken::Fact(fact)) => report(slf, fact)?,
        }
        wakeups.end(); // tasks are woken in order
    }
}

/// Reports to Python what happened: by a line of the packet trace, and by a hook.
fn report(slf: &Bound<'_, Core>, fact: Fact) -> PyResult<()> {
    let py = slf.py();
    let traces = slf.borrow().engine.core().packet_trace();
    if traces && let Some(line) = trace_line(&fact) {
        slf.call_method1(intern!(py, "_on_trace"), (vec![line],))?;
    }
    match fact {
        Fact::Packet(_) | Fact::Untraced { .. } => {} // a line is all
        Fact::Connected {
            session_present, ..
        } => {
            slf.call_method1(intern!(py, "_on_connected"), (session_present,))?;
            Core::arm_timer(slf)?;
        }
        Fact::Disconnected {
            cause,
            retry_at,
            unflushed,
            established,
        } => {
            let end = End::new(&cause);
            let told = (end, unflushed, retry_at.is_some(), established);
            slf.call_method1(intern!(py, "_on_disconnected"), told)?;
        }
        Fact::Lost { .. } => {
            let lost = slf.borrow_mut().engine.take_lost(QueueId::DEFAULT);
            if lost > 0 {
                slf.call_method1(intern!(py, "_on_lost"), (lost,))?;
            }
        }
        Fact::Tolerated { slip } => {
            slf.call_method1(intern!(py, "_on_tolerated"), (slip.to_string(),))?;
        }
        Fact::Unacknowledged { messages } => {
            slf.call_method1(intern!(py, "_on_unacknowledged"), (messages,))?;
        }
        Fact::Unflushed { messages } => {
            slf.call_method1(intern!(py, "_on_unflushed"), (messages,))?;
        }
        Fact::MessageSuspected {
            topic,
            messages,
            ends,
            reason,
        } => {
            let code = reason.map(ReasonCode::value);
            let suspected = (topic.as_str(), messages, ends, code);
            slf.call_method1(intern!(py, "_on_message_suspected"), suspected)?;
        }
        Fact::IdentifierContested(contest) => {
            let text = contest.to_string();
            slf.call_method1(intern!(py, "_on_identifier_contested"), (text,))?;
        }
        Fact::MessageRefused { topic, reason } => {
            let refused = (topic.as_str(), reason.value());
            slf.call_method1(intern!(py, "_on_message_refused"), refused)?;
        }
        Fact::Ended { .. } => {} // follows `Disconnected`
        Fact::NotRestored { filter, reason } => {
            let lost = (filter.as_str(), reason.value());
            slf.call_method1(intern!(py, "_on_not_restored"), lost)?;
        }
        // Cannot come: this client declares no subscriptions, its one queue claims everything from the start and does not make
        // the server wait.
        Fact::NotSubscribed { .. }
        | Fact::Unclaimed { .. }
        | Fact::Stalled { .. }
        // Messages whose receipts were dropped.
        | Fact::MessageEnded { .. }
        | Fact::Unawaited { .. }
        | Fact::Forgotten { .. } => {}
    }
    Ok(())
}

/// The line of a packet, or of a connection that was made or has ended.
#[cold]
fn trace_line(fact: &Fact) -> Option<String> {
    Some(match fact {
        Fact::Packet(record) => record.to_string(),
        Fact::Untraced { packets } => {
            format!("{packets} packets have no line: there were too many at once")
        }
        Fact::Connected {
            session_present: true,
            ..
        } => "connected (session present)".to_owned(),
        Fact::Connected { .. } => "connected".to_owned(),
        Fact::Disconnected {
            cause: ConnectionError::Closed,
            ..
        } => "disconnected".to_owned(),
        Fact::Disconnected {
            cause,
            established: true,
            ..
        } => format!("connection lost: {cause}"),
        Fact::Disconnected { cause, .. } => format!("cannot connect: {cause}"),
        _ => return None,
    })
}

/// Hands every message to Python code that keeps them itself.
fn feed(slf: &Bound<'_, Core>, sink: &Bound<'_, PyAny>) -> PyResult<()> {
    while let Some(message) = next_message::pop(slf)? {
        sink.call1((message,))?;
    }
    Ok(())
}

/// Lets Python answer the server in an exchange of authentication: at once, or later by [`answer`].
fn authenticate(slf: &Bound<'_, Core>, now: Instant) -> PyResult<()> {
    let py = slf.py();
    loop {
        let mut core = slf.borrow_mut();
        match core.engine.next_ask() {
            None => return Ok(()),
            Some(Ask::Continue(data)) => {
                drop(core);
                let data = PyBytes::new(py, data.as_deref().unwrap_or_default());
                slf.call_method1(intern!(py, "_on_auth"), (data,))?;
            }
            // The authenticator is not asked about the end of an exchange.
            Some(Ask::Accepted(_)) => _ = core.engine.reply(now, Reply::Accepted),
        }
    }
}

/// Answers the server's AUTH; without data the connection ends. Returns why data cannot be sent: the connection ends then too.
pub(crate) fn answer(slf: &Bound<'_, Core>, data: Option<&[u8]>) -> PyResult<Option<String>> {
    let now = Core::now(slf)?;
    let mut core = slf.borrow_mut();
    let sent = match data {
        Some(data) => {
            let data = Bytes::copy_from_slice(data);
            core.engine.reply(now, Reply::Data(Some(data)))
        }
        None => {
            let reason = ReasonCode::ImplementationSpecificError;
            core.disconnect_soon(now, reason);
            Ok(())
        }
    };
    drop(core);
    Core::schedule_flush(slf)?;
    Ok(sent.err().map(|error| error.to_string()))
}

/// Ends the wait of a call. Returns its future.
fn complete<'py>(
    slf: &Bound<'py, Core>,
    call: Call,
    end: CallEnd,
    ended: &mut Option<Ended<'py>>,
) -> PyResult<Bound<'py, PyAny>> {
    let future = call.future.into_bound(slf.py());
    match end {
        CallEnd::Completed(outcome @ (Outcome::Sent | Outcome::Acknowledged { .. }))
            if call.wants_outcome =>
        {
            let published = receipts::published(slf.py(), &outcome)?;
            hooks::set_result(&future, published)?;
        }
        CallEnd::Completed(outcome) => complete_with(slf, &future, outcome, ended)?,
        CallEnd::Queued { key } => {
            let key = key.into_pyobject(slf.py())?;
            hooks::set_result(&future, key.into_any())?;
        }
        CallEnd::Refused(refusal) => {
            let error = enqueue_refused(slf, refusal)?;
            hooks::set_exception(
                &future,
                error.into_value(slf.py()).into_bound(slf.py()).into_any(),
            )?;
        }
        CallEnd::TimedOut(delivery) => {
            let sent = delivery != Delivery::NotSent;
            let text = failure::overdue(call.awaited, sent, &slf.borrow().address, call.limit);
            fail(&future, CallFailure::Timeout, 0, text, Some(delivery))?;
        }
        // Cannot come: no message waits for the core's capacity, the outgoing queue ends with its connection, and this client
        // neither authenticates again nor abandons its driver.
        CallEnd::Accepted
        | CallEnd::Kept { .. }
        | CallEnd::ReAuthenticated(_)
        | CallEnd::DriverGone => unknown(&future, &end)?,
    }
    Ok(future)
}

/// Fails a call whose end this client cannot make sense of.
fn unknown(future: &Bound<'_, PyAny>, end: &dyn Debug) -> PyResult<()> {
    let text = format!("The call ended with an outcome that this client does not know: {end:?}");
    fail(future, CallFailure::NotSent, 0, text, None)
}

/// Completes a call with the outcome of its operation.
fn complete_with<'py>(
    slf: &Bound<'py, Core>,
    future: &Bound<'py, PyAny>,
    outcome: Outcome,
    ended: &mut Option<Ended<'py>>,
) -> PyResult<()> {
    let py = slf.py();
    match outcome {
        Outcome::Sent | Outcome::Acknowledged { .. } => {
            hooks::set_result(future, py.None().into_bound(py))
        }
        Outcome::Subscribed { reasons, .. } | Outcome::Unsubscribed { reasons, .. } => {
            let codes = PyList::new(py, reasons.iter().map(|reason| reason.value()))?;
            hooks::set_result(future, codes.into_any())
        }
        Outcome::Refused { reason, properties } => {
            let text = failure::reason_string(properties.as_deref());
            let kind = CallFailure::Refused;
            fail(future, kind, reason.value(), text, None)
        }
        Outcome::NotPossible(error) => not_possible(future, &error, Delivery::NotSent),
        Outcome::GivenUp(error) => not_possible(future, &error, Delivery::Unknown),
        Outcome::RequestNotPossible(error) => {
            let (kind, code) = CallFailure::of_request(&error);
            fail(
                future,
                kind,
                code,
                failure::request_text(&error),
                Some(Delivery::NotSent),
            )
        }
        Outcome::Expired => {
            let text = "The message expired before it could be sent".to_owned();
            discarded(future, "expired", text)
        }
        Outcome::Dropped => {
            let text = "The full outgoing queue dropped the message".to_owned();
            discarded(future, "dropped", text)
        }
        Outcome::Replaced => {
            let text = "A newer message to the same topic took the place of this one".to_owned();
            discarded(future, "replaced", text)
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
            hooks::set_exception(future, error)
        }
        Outcome::SessionLost => {
            let text = "The server lost the session: delivery is unknown".to_owned();
            let kind = CallFailure::SessionLost;
            fail(future, kind, 0, text, Some(Delivery::Unknown))
        }
        // This client makes no requests.
        Outcome::Responded(_) | Outcome::Unanswerable { .. } => unknown(future, &outcome),
    }
}

/// Fails a call whose message left the outgoing queue without being sent. `outcome` names why, for programs.
fn discarded(future: &Bound<'_, PyAny>, outcome: &str, text: String) -> PyResult<()> {
    let (kind, delivery) = (CallFailure::NotSent, Some(Delivery::NotSent));
    let error = call_error(future.py(), kind, 0, text, delivery, outcome)?;
    hooks::set_exception(future, error)
}

fn not_possible(
    future: &Bound<'_, PyAny>,
    error: &InvalidPublish,
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
pub(crate) fn publish_refused(slf: &Bound<'_, Core>, refusal: PublishRefusal) -> PyResult<PyErr> {
    message_refused(slf, refusal, "publish")
}

/// The exception for a message that the outgoing queue has not accepted.
pub(crate) fn enqueue_refused(slf: &Bound<'_, Core>, refusal: PublishRefusal) -> PyResult<PyErr> {
    message_refused(slf, refusal, "enqueue")
}

fn message_refused(slf: &Bound<'_, Core>, refusal: PublishRefusal, what: &str) -> PyResult<PyErr> {
    let error = match refusal {
        PublishRefusal::Invalid(error) => error,
        PublishRefusal::Disconnected(_) | PublishRefusal::Draining => InvalidPublish::NotConnected,
    };
    let (kind, code) = CallFailure::of_publish(&error);
    refused(slf, kind, code, failure::publish_text(&error), what)
}

/// The exception for a SUBSCRIBE or UNSUBSCRIBE that was refused before anything was sent.
pub(crate) fn request_refused(
    slf: &Bound<'_, Core>,
    refusal: SubscribeRefusal,
    what: &str,
) -> PyResult<PyErr> {
    let error = match refusal {
        SubscribeRefusal::Invalid(error) => error,
        SubscribeRefusal::Disconnected(_) => InvalidSubscribe::NotConnected,
    };
    let (kind, code) = CallFailure::of_request(&error);
    refused(slf, kind, code, failure::request_text(&error), what)
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
    // As in aiomqtt, of publishing alone where a connection that is lost is not made again.
    let reconnects = slf.borrow().engine.core().options().reconnect.is_some();
    if kind == CallFailure::NotConnected && (what == "publish" || what == "enqueue" || reconnects) {
        let cause = slf.call_method0(intern!(py, "_disconnect_cause"))?;
        error.setattr(intern!(py, "__cause__"), cause)?;
    }
    Ok(PyErr::from_value(error))
}
