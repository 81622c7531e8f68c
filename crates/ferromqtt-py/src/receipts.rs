//! Publishing through the outgoing queue, where a receipt tells what becomes of a message; and publishing many at once.
//!
//! As in [`crate::core`], a borrow of the core is never held while Python code may run.

use std::time::Duration;

use ferromqtt_engine::{
    Awaited, MessageTerms, OutgoingQueueOptions, Published, QueueSubmission, at_once,
};
use ferromqtt_proto::{OutgoingLimits, OutgoingPolicy, Publish, TopicName};
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyList};

use crate::access::Access;
use crate::call_future;
use crate::call_result;
use crate::convert::{self, Payload};
use crate::core::Core;
use crate::hooks;
use crate::operations;
use crate::properties;
use crate::tokens::Call;

/// A message as `ferromqtt._receipt` and `ferromqtt._requests` give it: topic, payload, qos, retain, properties.
pub(crate) type Given<'py> = (
    Bound<'py, PyAny>,
    Bound<'py, PyAny>,
    Bound<'py, PyAny>,
    Bound<'py, PyAny>,
    Option<Bound<'py, PyDict>>,
);

/// What `enqueue` returns: the future of the outcome, the key of the message or 0, and for one that waits for capacity the
/// future of its key, with the number of that call. Then whether it is time to let other tasks run.
pub(crate) type Enqueued<'py> = (Bound<'py, PyAny>, u64, Option<Bound<'py, PyAny>>, u64, bool);

/// The bounds of the outgoing queue, by the names of `ferromqtt.OutgoingQueue`.
pub(crate) fn queue_options(
    messages: Option<usize>,
    bytes: Option<usize>,
    policy: &str,
) -> PyResult<OutgoingQueueOptions> {
    Ok(OutgoingQueueOptions {
        limits: OutgoingLimits { messages, bytes },
        policy: self::policy(policy)?,
        outlives_connection: false,
        ..OutgoingQueueOptions::default()
    })
}

/// What happens to a message that would exceed these bounds, by the names of Python's `overflow`.
pub(crate) fn policy(name: &str) -> PyResult<OutgoingPolicy> {
    Ok(match name {
        "wait" => OutgoingPolicy::Wait,
        "drop_oldest" => OutgoingPolicy::DropOldest,
        "drop_newest" => OutgoingPolicy::DropNewest,
        "fail" => OutgoingPolicy::Refuse,
        _ => return Err(PyValueError::new_err("unknown policy")),
    })
}

/// The core's message of the one that Python gave. Everything is checked before anything is done with it.
pub(crate) fn message((topic, payload, qos, retain, properties): Given<'_>) -> PyResult<Publish> {
    let topic = convert::topic_text("topic", &topic)?;
    let topic = topic.to_str().map_err(|_| convert::surrogate("topic"))?;
    convert::check_topic(topic)?;
    let qos = convert::qos(&qos)?;
    let payload = Payload::new(&payload)?;
    let retain = retain.is_truthy()?;
    let properties = (properties.as_ref())
        .map(properties::from_dict)
        .transpose()?;
    Ok(Publish {
        topic: TopicName::new(topic).map_err(|error| PyValueError::new_err(error.to_string()))?,
        payload: payload.into_bytes(),
        qos,
        retain,
        properties: properties.map(Box::new),
    })
}

fn token(future: &Bound<'_, PyAny>, awaited: Awaited, wants_outcome: bool, limit: f64) -> Call {
    Call {
        future: future.clone().unbind(),
        awaited,
        wants_outcome,
        #[expect(clippy::cast_possible_truncation, reason = "it is shown to people")]
        limit: limit as f32,
    }
}

/// Has the outgoing queue accept a message. `timeout` is for the wait until there is capacity; without one there is no wait.
pub(crate) fn enqueue<'py>(
    slf: &Bound<'py, Core>,
    given: Given<'py>,
    timeout: Option<&Bound<'py, PyAny>>,
    expires_in: Option<f64>,
    keep_latest: bool,
) -> PyResult<Enqueued<'py>> {
    let timeout = timeout.map(convert::timeout).transpose()?;
    let publish = message(given)?;
    let terms = MessageTerms {
        expires_in: expires_in.and_then(|seconds| Duration::try_from_secs_f64(seconds).ok()),
        keep_latest,
    };
    operations::calling_task(slf)?;
    let now = Core::now(slf)?;
    let outcome = call_future::create(slf)?;
    let outcome_token = token(&outcome, Awaited::Writing, true, 0.0);
    let accepted = match timeout {
        Some(limit) => Some((call_future::create(slf)?, limit)),
        None => None,
    };
    let accepted_token =
        (accepted.as_ref()).map(|(future, limit)| token(future, Awaited::Capacity, false, *limit));
    let mut core = slf.lock();
    if !core.takes_calls() {
        let refusal = core.engine.end_cause().into();
        drop(core);
        drop((outcome_token, accepted_token));
        return Err(call_result::enqueue_refused(slf, refusal)?);
    }
    core.open_queue();
    // What is not needed is given back, to be dropped without the borrow.
    let submitted = match accepted_token {
        Some(accepted) => {
            let deadline = timeout.and_then(|limit| convert::deadline(now, limit));
            (core.engine)
                .queue_or_wait(now, publish, terms, deadline, outcome_token, accepted)
                .map_err(|(tokens, refusal)| (tokens.into_iter().collect::<Vec<_>>(), refusal))
        }
        None => (core.engine)
            .queue_publish(now, publish, terms, Some(outcome_token))
            .map(|key| (QueueSubmission::Accepted(key), None))
            .map_err(|(token, refusal)| (token.into_iter().collect(), refusal)),
    };
    drop(core);
    let (submission, unused) = match submitted {
        Ok(submitted) => submitted,
        Err((tokens, refusal)) => {
            drop(tokens);
            return Err(call_result::enqueue_refused(slf, refusal)?);
        }
    };
    drop(unused);
    Core::schedule_flush(slf)?;
    let rest = slf.lock().turn.count();
    Ok(match submission {
        QueueSubmission::Accepted(key) => (outcome, key, None, 0, rest),
        QueueSubmission::Waits(call) => {
            let accepted = accepted.map(|(future, _)| future);
            (outcome, 0, accepted, call.number(), false)
        }
    })
}

/// Nobody waits any more for the outcome of the message with this key.
pub(crate) fn release(slf: &Bound<'_, Core>, key: u64) {
    // Called by a finalizer, so perhaps at any moment.
    let token = slf
        .try_lock()
        .map(|mut core| core.engine.release_queued(key));
    drop(token);
}

/// Publishes messages in their order. Returns for each of them a future, an exception, or None for one that is on its way; and
/// the numbers of the calls, 0 for those that are none.
pub(crate) fn publish_many<'py>(
    slf: &Bound<'py, Core>,
    given: Vec<Given<'py>>,
    timeout: &Bound<'py, PyAny>,
) -> PyResult<(Bound<'py, PyList>, Vec<u64>)> {
    let py = slf.py();
    let timeout = convert::timeout(timeout)?;
    // All of them before any is sent: what cannot be a message is a mistake of the program.
    let messages: Vec<_> = given.into_iter().map(message).collect::<PyResult<_>>()?;
    operations::calling_task(slf)?;
    let now = Core::now(slf)?;
    if !slf.read().takes_calls() {
        let refusal = slf.read().engine.end_cause().into();
        return Err(call_result::publish_refused(slf, refusal)?);
    }
    let deadline = convert::deadline(now, timeout);
    let results = PyList::empty(py);
    let mut calls = Vec::with_capacity(messages.len());
    for publish in messages {
        let at_once = match at_once(&publish) {
            Some(packet) => (slf.lock().engine).try_publish_now(packet, &publish.payload),
            None => Ok(false),
        };
        let refusal = match at_once {
            Ok(true) => {
                results.append(py.None())?;
                calls.push(0);
                continue;
            }
            Ok(false) => {
                let future = call_future::create(slf)?;
                let awaited = Awaited::of_publish(publish.qos);
                let token = token(&future, awaited, true, timeout);
                let accepted = (slf.lock().engine).try_publish(now, publish, deadline, token);
                match accepted {
                    Ok(call) => {
                        results.append(future)?;
                        calls.push(call.number());
                        continue;
                    }
                    Err((token, refusal)) => {
                        drop(token);
                        refusal
                    }
                }
            }
            Err(refusal) => refusal,
        };
        let error = call_result::publish_refused(slf, refusal)?;
        results.append(error.into_value(py))?;
        calls.push(0);
    }
    Core::schedule_flush(slf)?;
    Ok((results, calls))
}

/// What became of a message that was sent: a `Published`.
pub(crate) fn published<'py>(
    py: Python<'py>,
    published: &Published,
) -> PyResult<Bound<'py, PyAny>> {
    let properties = (published.properties.as_deref())
        .map(|properties| properties::to_dict(py, Some(properties)))
        .transpose()?;
    let code = published.reason.value();
    hooks::published(py)?.call1((code, properties, published.resent_as_new))
}
