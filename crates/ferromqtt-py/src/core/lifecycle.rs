//! How a client begins and ends: its options, the loop it is on, credentials, and the ways to leave.

use std::time::{Duration, Instant};

use ferromqtt_engine::{Engine, EngineOptions, Goodbye};
use ferromqtt_outbox::OpenedOutbox;
use ferromqtt_proto::{InvalidOptions, Options, ReasonCode, Session, Utf8String};
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::PyDict;

use super::Core;
use crate::access::Access;
use crate::acknowledge;
use crate::call_future;
use crate::convert;
use crate::events;
use crate::failure;
use crate::home::Home;
use crate::outbox::{self, OutboxFolder};
use crate::tokens::PyEngine;

/// Sets the core's options, before the first connection.
pub(super) fn configure(
    slf: &Bound<'_, Core>,
    options: Option<&Bound<'_, PyDict>>,
    outbox: Option<&OutboxFolder>,
) -> PyResult<()> {
    let mut options = match options {
        Some(options) => convert::options(options)?,
        None => Options::default(),
    };
    let mut outbox = outbox.and_then(OutboxFolder::take);
    if let Some(outbox) = &outbox {
        outbox.settle_options(&mut options);
    }
    let session = (outbox.as_mut()).map_or_else(Session::default, OpenedOutbox::take_session);
    let of_engine = engine_options(&options);
    let is_quiet = options.reconnect.is_none();
    if options.reconnect.is_some() {
        options.keep_session();
    }
    let mut core = slf.lock();
    let (seed, manual) = (core.seed, core.manual_ack);
    let former = (core.engine).configure(options, session, seed, of_engine);
    core.opened_outbox = outbox;
    core.engine.claim_default();
    core.lines.set_quiet(is_quiet);
    acknowledge::set_manual(&mut core, manual);
    drop(core);
    former.map(drop).map_err(|error| wrong_options(&error))
}

/// Begins on a loop, on which the caller opens a connection to `address`.
pub(super) fn begin(
    slf: &Bound<'_, Core>,
    event_loop: Bound<'_, PyAny>,
    address: String,
) -> PyResult<()> {
    let previous_clock = slf.read().clock.clone();
    let clock = previous_clock.of_loop(&event_loop)?;
    let now = clock.now(slf.py())?;
    let future_arguments = call_future::arguments(&event_loop)?.map(Bound::unbind);
    Core::stop_timer(slf)?; // of a loop that was closed before it fired
    let mut core = slf.lock();
    let previous = (
        core.event_loop.replace(event_loop.unbind()),
        std::mem::replace(&mut core.future_arguments, future_arguments),
        std::mem::replace(&mut core.clock, clock),
    );
    core.home = Some(Home::here());
    let started = match core.opened_outbox.take() {
        Some(opened) => outbox::start(&mut core, opened, now),
        None => Ok(()),
    };
    if let Err(error) = started {
        drop(core);
        drop(previous);
        return Err(error);
    }
    let keeps = core.keeps_identifiers;
    core.engine.keep_identifiers(keeps);
    core.engine.start(now);
    core.engine.begin_attempt(address);
    drop(core);
    drop(previous);
    Core::follow_requests(slf)
}

/// User Name and Password for the attempt whose transport was asked for, and for those after it.
pub(super) fn set_credentials(
    slf: &Bound<'_, Core>,
    user_name: Option<&Bound<'_, PyAny>>,
    password: Option<&Bound<'_, PyAny>>,
) -> PyResult<()> {
    let user_name: Option<Utf8String> = user_name.map(convert::utf8).transpose()?;
    let password = password.map(convert::binary).transpose()?;
    let set = (slf.lock().engine).set_credentials(user_name, password);
    set.map_err(|error| wrong_options(&error))
}

/// There are no credentials for the attempt whose transport was asked for.
pub(super) fn fail_credentials(slf: &Bound<'_, Core>, why: &str) -> PyResult<()> {
    let now = Core::now(slf)?;
    slf.lock().engine.fail_credentials(now, why.into());
    Ok(())
}

/// Disconnects behind all that is encoded.
pub(super) fn disconnect(slf: &Bound<'_, Core>, with_will: bool) -> PyResult<()> {
    let now = Core::now(slf)?;
    (slf.lock()).disconnect_soon(now, farewell(with_will));
    Core::flush(slf)
}

/// Leaves: with `wait`, when every call that was accepted, and that somebody waits for, has its outcome. `limit` is in
/// seconds; None is no limit.
pub(super) fn leave(
    slf: &Bound<'_, Core>,
    with_will: bool,
    wait: bool,
    limit: Option<f64>,
) -> PyResult<()> {
    let reason = farewell(with_will);
    let now = Core::now(slf)?;
    let until = end_of(now, limit);
    let mut core = slf.lock();
    let gone = match wait {
        // Callers that have gone say so by `abandon`.
        true => core.engine.leave(now, reason, until, |_| false),
        false => {
            (core.engine).disconnect(now, Goodbye::Asked, reason, until);
            Vec::new()
        }
    };
    drop(core);
    drop(gone);
    Core::flush(slf)
}

/// Drains: the engine accepts no more messages, and disconnects when what it has is done. `limit` is in seconds; None is no
/// limit.
pub(super) fn drain(slf: &Bound<'_, Core>, limit: Option<f64>) -> PyResult<()> {
    let now = Core::now(slf)?;
    slf.lock().engine.drain(now, end_of(now, limit));
    events::pump(slf, now)?;
    Core::flush(slf)
}

/// When a limit is over. One that is over already counts from now.
fn end_of(now: Instant, limit: Option<f64>) -> Option<Instant> {
    limit.and_then(|seconds| convert::deadline(now, seconds.max(0.0)))
}

impl Core {
    /// Disconnects, within the core's time limit for closing.
    pub(crate) fn disconnect_soon(&mut self, now: Instant, reason: ReasonCode) {
        let until = now.checked_add(self.engine.core().options().closing_timeout);
        (self.engine).disconnect(now, Goodbye::Asked, reason, until);
    }
}

/// What the client leaves with. `with_will`: the server is to publish the will, for which there is no DISCONNECT before 5.0.
const fn farewell(with_will: bool) -> ReasonCode {
    match with_will {
        true => ReasonCode::DisconnectWithWill,
        false => ReasonCode::Success,
    }
}

/// An engine whose default queue is read from the start, by `Client.messages`: a session's stored messages go there.
pub(super) fn new_engine(options: Options, seed: u64) -> PyResult<PyEngine> {
    let of_engine = engine_options(&options);
    let engine = Engine::new(options, Session::default(), seed, of_engine);
    let mut engine = engine.map_err(|error| wrong_options(&error))?;
    engine.claim_default();
    Ok(engine)
}

fn engine_options(options: &Options) -> EngineOptions {
    EngineOptions {
        disconnect_timeout: Duration::MAX, // each call has its own limit
        ends_session: options.reconnect.is_some() && options.ends_session(),
        authenticates: options.properties.authentication_method.is_some(),
        restarts: true,
    }
}

fn wrong_options(error: &InvalidOptions) -> PyErr {
    PyValueError::new_err(failure::options_text(error))
}
