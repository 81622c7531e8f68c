//! From what the engine hands out to futures, hooks and exceptions.

use std::time::Instant;

use bytes::Bytes;
use ferromqtt_engine::{Ask, Fact, Reply, Woken};
use ferromqtt_proto::{ConnectionError, QueueId, ReasonCode};
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::PyBytes;

use crate::call_future::Wakeups;
use crate::call_result;
use crate::core::Core;
use crate::failure::End;
use crate::next_message;

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
                let future = call_result::complete(slf, call, end, &mut ended)?;
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
            address,
            has_accepted,
            retry_at,
            unflushed,
            established,
        } => {
            let end = End::new(&cause, &address, has_accepted);
            let arguments = (end, unflushed, retry_at.is_some(), established);
            slf.call_method1(intern!(py, "_on_disconnected"), arguments)?;
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
        // the server wait, and it has no outgoing queue.
        Fact::NotSubscribed { .. }
        | Fact::Unclaimed { .. }
        | Fact::Stalled { .. }
        | Fact::MessageEnded { .. }
        // Each of these calls has raised an error already.
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
