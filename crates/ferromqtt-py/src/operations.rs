//! The calls of a client: publishing, subscribing and unsubscribing, and what they wait on.
//!
//! As in [`crate::core`], a borrow of the core is never held while Python code may run.

use std::time::Instant;

use ferromqtt_engine::{Awaited, CallId, PublishRefusal, SubscribeRefusal};
use ferromqtt_proto::packet::PublishRef;
use ferromqtt_proto::{
    ConnectionError, InvalidPublish, Properties, Publish, QoS, QueueId, RetainHandling, Subscribe,
    SubscriptionOptions, TopicFilter, TopicName, Unsubscribe,
};
use pyo3::exceptions::{PyRuntimeError, PyValueError};
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::PyDict;

use crate::access::Access;
use crate::call_future;
use crate::call_result;
use crate::convert::{self, Payload};
use crate::core::Core;
use crate::home::Home;
use crate::hooks;
use crate::properties;
use crate::tokens::{Call, PyEngine};

/// Publishes. Returns None when the message is on its way, or something to await: a future, or one turn of the loop.
pub(crate) fn publish<'py>(
    slf: &Bound<'py, Core>,
    topic: &Bound<'py, PyAny>,
    payload: &Bound<'py, PyAny>,
    qos: &Bound<'py, PyAny>,
    retain: &Bound<'py, PyAny>,
    properties: Option<&Bound<'py, PyDict>>,
    timeout: &Bound<'py, PyAny>,
) -> PyResult<Option<Bound<'py, PyAny>>> {
    let timeout = convert::timeout(timeout)?;
    let topic = convert::topic_text("topic", topic)?;
    let topic = topic.to_str().map_err(|_| convert::surrogate("topic"))?;
    let is_alias = topic.is_empty() && properties.is_some();
    if !is_alias {
        convert::check_topic(topic)?;
    }
    let qos = convert::qos(qos)?;
    let payload = Payload::new(payload)?;
    let retain = retain.is_truthy()?;
    let properties = properties.map(properties::from_dict).transpose()?;
    let known;
    let topic = match is_alias {
        false => topic,
        true => {
            known = topic_of_alias(slf, properties.as_ref())?;
            known.as_str()
        }
    };
    let packet = PublishRef {
        dup: false,
        qos,
        retain,
        topic: topic.as_bytes(),
        packet_id: None,
        properties: properties.as_ref(),
        payload_len: payload.as_slice().len(),
    };
    let task = calling_task(slf)?;
    // Nothing waits for capacity, so there is nothing to pass.
    let at_once = (slf.lock().engine).try_publish_now(packet, payload.as_slice());
    match at_once {
        Ok(true) => return sent_at_once(slf, task),
        Ok(false) => {}
        Err(refusal) => return Err(call_result::publish_refused(slf, refusal)?),
    }
    let publish = Publish {
        topic: TopicName::new(topic).map_err(|error| PyValueError::new_err(error.to_string()))?,
        payload: payload.into_bytes(),
        qos,
        retain,
        properties: properties.map(Box::new),
    };
    let awaited = Awaited::of_publish(qos);
    let publish = |engine: &mut PyEngine, now, deadline, token| {
        engine.try_publish(now, publish, deadline, token)
    };
    call(slf, timeout, awaited, publish, |refusal| {
        call_result::publish_refused(slf, refusal)
    })
    .map(Some)
}

/// The topic that a publish with an empty one goes to.
fn topic_of_alias(slf: &Bound<'_, Core>, properties: Option<&Properties>) -> PyResult<TopicName> {
    let Some(alias) = properties.and_then(|properties| properties.topic_alias) else {
        return Err(PyValueError::new_err(convert::EMPTY_TOPIC));
    };
    let known = slf.read().engine.core().topic_of_alias(alias);
    match known {
        Ok(topic) => Ok(topic),
        Err(error @ InvalidPublish::TopicAliasUnknown { .. }) => Err(PyValueError::new_err(
            format!("Invalid topic. It is empty, and {error}."),
        )),
        Err(error) => Err(call_result::publish_refused(
            slf,
            PublishRefusal::Invalid(error),
        )?),
    }
}

/// A filter to subscribe to: with QoS, No Local, Retain As Published and Retain Handling.
pub(crate) type GivenFilter = (String, u8, bool, bool, u8);

/// Subscribes, for the default queue. Returns a future of the list of Reason Codes.
pub(crate) fn subscribe<'py>(
    slf: &Bound<'py, Core>,
    filters: Vec<GivenFilter>,
    properties: Option<&Bound<'py, PyDict>>,
    timeout: &Bound<'py, PyAny>,
) -> PyResult<Bound<'py, PyAny>> {
    let timeout = convert::timeout(timeout)?;
    let terms = terms(filters, properties, QueueId::DEFAULT)?;
    let subscribe =
        |engine: &mut PyEngine, now, deadline, token| engine.subscribe(now, terms, deadline, token);
    request_filters(slf, timeout, Awaited::SubAck, subscribe)
}

/// Has the engine accept a SUBSCRIBE or UNSUBSCRIBE, by which answer is awaited. Returns a future of the list of Reason Codes.
pub(crate) fn request_filters<'py>(
    slf: &Bound<'py, Core>,
    timeout: f64,
    awaited: Awaited,
    accept: impl FnOnce(
        &mut PyEngine,
        Instant,
        Option<Instant>,
        Call,
    ) -> Result<CallId, (Call, SubscribeRefusal)>,
) -> PyResult<Bound<'py, PyAny>> {
    calling_task(slf)?;
    let what = match awaited {
        Awaited::UnsubAck => "unsubscribe",
        _ => "subscribe",
    };
    call(slf, timeout, awaited, accept, |refusal| {
        call_result::request_refused(slf, refusal, what)
    })
}

/// What is subscribed to, and where its messages go.
pub(crate) fn terms(
    filters: Vec<GivenFilter>,
    properties: Option<&Bound<'_, PyDict>>,
    queue: QueueId,
) -> PyResult<Subscribe> {
    let filters = filters.into_iter().map(subscription);
    Ok(Subscribe {
        filters: filters.collect::<PyResult<_>>()?,
        properties: properties
            .map(properties::from_dict)
            .transpose()?
            .unwrap_or_default(),
        queue,
    })
}

/// Unsubscribes from filters. Returns a future of the list of Reason Codes, which is empty before 5.0. What the server refuses
/// is reported as an event and a line, since aiomqtt's call does not raise for it.
pub(crate) fn unsubscribe<'py>(
    slf: &Bound<'py, Core>,
    filters: Vec<String>,
    properties: Option<&Bound<'py, PyDict>>,
    timeout: &Bound<'py, PyAny>,
) -> PyResult<Bound<'py, PyAny>> {
    let timeout = convert::timeout(timeout)?;
    let filters = filters.into_iter().map(filter);
    let unsubscribe = Unsubscribe {
        filters: filters.collect::<PyResult<_>>()?,
        properties: properties
            .map(properties::from_dict)
            .transpose()?
            .unwrap_or_default(),
    };
    let accept = |engine: &mut PyEngine, now, deadline, token| {
        engine.unsubscribe_unheeded(now, unsubscribe, deadline, token)
    };
    request_filters(slf, timeout, Awaited::UnsubAck, accept)
}

/// As [`unsubscribe`], without properties, and for a caller that raises for what the server refuses.
pub(crate) fn unsubscribe_from<'py>(
    slf: &Bound<'py, Core>,
    filters: Vec<TopicFilter>,
    timeout: f64,
) -> PyResult<Bound<'py, PyAny>> {
    let unsubscribe = Unsubscribe {
        filters,
        properties: Properties::default(),
    };
    let accept = |engine: &mut PyEngine, now, deadline, token| {
        engine.unsubscribe(now, unsubscribe, deadline, token)
    };
    request_filters(slf, timeout, Awaited::UnsubAck, accept)
}

/// The caller of a call does not wait for it any more.
pub(crate) fn abandon(slf: &Bound<'_, Core>, call: CallId) {
    let mut core = slf.lock();
    let given_up = core.engine.give_up(call);
    let is_leaving = core.engine.core().is_leaving(); // and may have waited for this call alone
    drop(core);
    drop(given_up);
    if is_leaving {
        let _ = Core::schedule_flush(slf); // fails when its loop is closed: then nobody waits
    }
}

/// The task that calls, while calls are accepted. Whoever calls from another loop is refused: it must not touch the
/// transport, and could not wait for the answer.
pub(crate) fn calling_task<'py>(slf: &Bound<'py, Core>) -> PyResult<Option<Bound<'py, PyAny>>> {
    let py = slf.py();
    let core = slf.read();
    let (true, Some(event_loop)) = (core.takes_calls(), &core.event_loop) else {
        return Ok(None);
    };
    let event_loop = event_loop.bind(py).clone();
    let at_home = core.home == Some(Home::here());
    let by_thread = !at_home && core.parker.is_some();
    drop(core);
    if by_thread {
        return Ok(None);
    }
    if at_home {
        let task = hooks::current_task(&event_loop)?;
        if !task.is_none() {
            return Ok(Some(task));
        }
    }
    check_loop(slf)?;
    hooks::current_task(&event_loop).map(Some)
}

/// Refuses whoever calls from another loop than the one that the client was entered on.
pub(crate) fn check_loop(slf: &Bound<'_, Core>) -> PyResult<()> {
    let py = slf.py();
    let core = slf.read();
    let (true, Some(event_loop)) = (core.takes_calls(), &core.event_loop) else {
        return Ok(());
    };
    if core.is_called_by_thread() {
        return Ok(());
    }
    let event_loop = event_loop.bind(py).clone();
    drop(core);
    match hooks::running_loop(py)?.call0() {
        Ok(running) if running.is(&event_loop) => {
            slf.lock().home = Some(Home::here()); // a loop may go on in another thread
            Ok(())
        }
        _ => Err(other_loop()),
    }
}

/// The error for a call from another event loop.
fn other_loop() -> PyErr {
    PyRuntimeError::new_err(
        "The client was entered on another event loop: use it there, \
         for example by asyncio.run_coroutine_threadsafe",
    )
}

/// A QoS 0 publish has been encoded: sees to it that it is written, that others get to run, and that it is counted by its
/// task, since it does not wait here.
fn sent_at_once<'py>(
    slf: &Bound<'py, Core>,
    task: Option<Bound<'py, PyAny>>,
) -> PyResult<Option<Bound<'py, PyAny>>> {
    let py = slf.py();
    let mut core = slf.lock();
    let full = core.engine.core().pending_transmit() >= ferromqtt_proto::CHUNK;
    let rest = core.turn.count() || full;
    let flush = full && !core.is_called_by_thread();
    drop(core);
    if flush {
        Core::flush(slf)?;
    } else {
        Core::schedule_flush(slf)?;
    }
    warn_of_pending(slf, task.as_ref())?;
    slf.lock().last_op = 0; // there is no call to abandon
    if rest {
        return hooks::turn(py).map(|turn| Some(turn.clone()));
    }
    Ok(None)
}

/// Warns when more calls wait than the threshold allows, now that `task` has published without waiting.
fn warn_of_pending(slf: &Bound<'_, Core>, task: Option<&Bound<'_, PyAny>>) -> PyResult<()> {
    let mut core = slf.lock();
    if let Some(task) = task {
        core.turn.note_task(task);
    }
    // Tasks that take turns publishing at QoS 0 within one turn of the loop do not wait all at once.
    let pending = (core.engine.open_calls() + core.turn.tasks).min(core.max_calls);
    let threshold = core.pending_calls_threshold;
    let warn = core.pending_warning.is_due(pending, threshold);
    drop(core);
    if warn {
        slf.call_method1(intern!(slf.py(), "_on_pending_calls"), (pending,))?;
    }
    Ok(())
}

/// Makes a future, and has the engine `accept` a call that waits on it. What goes first in a turn is written at once; what
/// follows joins one write. `refused` makes the exception for a refusal of the engine.
pub(crate) fn call<'py, R: From<ConnectionError>>(
    slf: &Bound<'py, Core>,
    timeout: f64,
    awaited: Awaited,
    accept: impl FnOnce(&mut PyEngine, Instant, Option<Instant>, Call) -> Result<CallId, (Call, R)>,
    refused: impl FnOnce(R) -> PyResult<PyErr>,
) -> PyResult<Bound<'py, PyAny>> {
    let py = slf.py();
    let now = Core::now(slf)?;
    let parker = slf.read().parker_of_thread(py);
    let by_thread = parker.is_some();
    let future = match parker {
        Some(parker) => parker.into_bound(py).call0()?,
        None => call_future::create(slf)?,
    };
    let token = Call {
        future: future.clone().unbind(),
        awaited,
        wants_outcome: false,
        #[expect(clippy::cast_possible_truncation, reason = "it is shown to people")]
        limit: timeout as f32,
    };
    let deadline = convert::deadline(now, timeout);
    let mut core = slf.lock();
    let accepted = match core.takes_calls() || core.engine.core().is_idle() {
        true => accept(&mut core.engine, now, deadline, token),
        // The connection is being made. The core would let calls wait for it; aiomqtt refuses them.
        false => Err((token, core.engine.end_cause().into())),
    };
    let first = !core.flush_scheduled && !by_thread;
    drop(core);
    let call = match accepted {
        Ok(call) => call,
        Err((token, refusal)) => {
            drop(token);
            return Err(refused(refusal)?);
        }
    };
    if let Err(error) = hurry(slf, first) {
        abandon(slf, call); // the caller gets the error, and nobody the future
        return Err(error);
    }
    if first && !slf.read().engine.is_open(call) {
        // Writing it has ended the connection. Raised here, like a refusal, for which the caller gives the loop a turn.
        let done = future.call_method0(intern!(py, "done"))?;
        if done.is_truthy()? {
            future.call_method0(intern!(py, "result"))?;
        }
    }
    if by_thread {
        future.setattr(intern!(py, "op"), call.number())?; // other threads make calls meanwhile
        return Ok(future);
    }
    slf.lock().last_op = call.number(); // last, since a log handler may have published meanwhile
    Ok(future)
}

/// Sees to it that what was accepted is written.
pub(crate) fn hurry(slf: &Bound<'_, Core>, first: bool) -> PyResult<()> {
    if first {
        write_first(slf)?;
    }
    Core::schedule_flush(slf)?;
    warn_of_pending(slf, None)
}

/// Writes without waiting for the end of the turn, which saves the first caller the wait.
fn write_first(slf: &Bound<'_, Core>) -> PyResult<()> {
    let tasks = std::mem::take(&mut slf.lock().turn);
    Core::flush(slf)?;
    slf.lock().turn = tasks;
    Ok(())
}

fn filter(text: String) -> PyResult<TopicFilter> {
    TopicFilter::new(text).map_err(|_| PyValueError::new_err("Invalid subscription filter."))
}

fn subscription(
    (text, qos, no_local, retain_as_published, retain_handling): GivenFilter,
) -> PyResult<(TopicFilter, SubscriptionOptions)> {
    let options = SubscriptionOptions {
        qos: QoS::from_value(qos).ok_or_else(|| PyValueError::new_err("Invalid QoS level."))?,
        no_local,
        retain_as_published,
        retain_handling: match retain_handling {
            1 => RetainHandling::IfNew,
            2 => RetainHandling::Never,
            _ => RetainHandling::OnSubscribe,
        },
    };
    Ok((filter(text)?, options))
}
