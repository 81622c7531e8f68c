//! From what the engine hands out to futures, hooks and exceptions.

use std::time::Instant;

use bytes::Bytes;
use ferromqtt_engine::{Ask, Fact, Reply, Woken};
use ferromqtt_proto::{QueueId, ReasonCode};
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::PyBytes;

use crate::access::Access;
use crate::call_future::Wakeups;
use crate::call_result;
use crate::core::Core;
use crate::failure::End;
use crate::hand_over;
use crate::identifiers;
use crate::lines;
use crate::readers;

/// Settles the engine, and hands out what follows from that: to be called when the driver has called the engine.
pub(crate) fn pump(slf: &Bound<'_, Core>, now: Instant) -> PyResult<()> {
    let mut core = slf.lock();
    core.engine.settle(now);
    let more = core.settle_outbox(now);
    let keeps_identifiers = core.keeps_identifiers;
    drop(core);
    if more {
        Core::schedule_flush(slf)?;
    }
    if keeps_identifiers {
        identifiers::report(slf)?;
    }
    authenticate(slf, now)?;
    hand_out(slf)?;
    let sink = slf.read().sink(slf.py());
    if let Some(sink) = sink {
        return feed(slf, &sink);
    }
    let mut core = slf.lock();
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
        let woken = slf.lock().engine.next_woken();
        match woken {
            None => return Ok(()),
            Some(Woken::Call(call, end)) => {
                let future = call_result::complete(slf, call, end, &mut ended)?;
                wakeups.add(slf, &future)?;
                continue;
            }
            Some(Woken::Reader(reader)) => readers::wake(slf, reader)?,
            Some(Woken::Fact(fact)) => report(slf, &fact)?,
        }
        wakeups.end(); // tasks are woken in order
    }
}

/// Reports to Python what happened: by lines of the log, and by a hook where there is more to do. Whatever a handler of the log
/// raises, the hook is called.
fn report(slf: &Bound<'_, Core>, fact: &Fact) -> PyResult<()> {
    let py = slf.py();
    match fact {
        Fact::Connected { .. } => {
            let written = lines::note(slf, fact);
            slf.call_method0(intern!(py, "_on_connected"))?;
            Core::arm_timer(slf)?;
            written
        }
        Fact::Disconnected {
            cause,
            address,
            has_accepted,
            retry_at,
            ..
        } => {
            let written = lines::note(slf, fact);
            let end = End::new(cause, address, *has_accepted);
            slf.call_method1(intern!(py, "_on_disconnected"), (end, retry_at.is_some()))?;
            written
        }
        Fact::VersionRefused { .. } => {
            let written = lines::note(slf, fact);
            slf.call_method0(intern!(py, "_on_version_refused"))?;
            written
        }
        // Each lost message counts, in the words of aiomqtt. Those of a subscription are counted in its queue.
        Fact::Lost { filters, .. } if !filters.is_empty() => lines::note(slf, fact),
        Fact::Lost { .. } => {
            let lost = slf.lock().engine.take_lost(QueueId::DEFAULT);
            if lost > 0 {
                slf.call_method1(intern!(py, "_on_lost"), (lost,))?;
            }
            Ok(())
        }
        // How many messages were lost in all, which the lines about them say.
        Fact::Ended { .. } => Ok(()),
        // Without a queue these are calls that were cancelled: their callers know.
        Fact::Unawaited { .. } if !slf.read().engine.has_outgoing_queue() => Ok(()),
        fact => lines::note(slf, fact),
    }
}

/// Hands every message to Python code that keeps them itself.
fn feed(slf: &Bound<'_, Core>, sink: &Bound<'_, PyAny>) -> PyResult<()> {
    while let Some(message) = hand_over::pop(slf, QueueId::DEFAULT, None)? {
        sink.call1((message,))?;
    }
    Ok(())
}

/// Lets Python answer the server in an exchange of authentication: at once, or later by [`answer`].
fn authenticate(slf: &Bound<'_, Core>, now: Instant) -> PyResult<()> {
    let py = slf.py();
    loop {
        let mut core = slf.lock();
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
    let mut core = slf.lock();
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
