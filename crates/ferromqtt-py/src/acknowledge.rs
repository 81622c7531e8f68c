//! Messages that the program acknowledges itself: by `message.ack()`, or by Packet Identifier as paho's programs do.
//!
//! A message is handed over when an iterator takes it: one that lies in the core's queue cannot be acknowledged, and stays one
//! message when the server sends it again. One that goes to the program's own code first, an `_on_message` or a queue of the
//! user's own class, is handed over there: such code may acknowledge, drop, replace or wrap it, and nobody could tell.
//! What is handed over and not acknowledged when the connection ends comes again (docs/design/0045-acknowledging-in-python.md).

use std::time::Duration;

use ferromqtt_proto::packet::PacketId;
use ferromqtt_proto::{
    Acknowledge, AcknowledgeError, DeliveryId, Properties, QoS, QueueId, ReasonCode,
};
use pyo3::exceptions::{PyRuntimeError, PyTypeError, PyValueError};
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::PyString;

use crate::access::Access;
use crate::convert;
use crate::core::Core;
use crate::gate;
use crate::home::Home;
use crate::message::Message;
use crate::operations;
use crate::rules;

/// What there is to know of a message for acknowledging it.
pub(crate) enum Origin {
    /// The program has made, copied or unpickled it.
    Made,
    /// It was received, and the program is to acknowledge it.
    Unacknowledged {
        core: Py<Core>,
        delivery: DeliveryId,
    },
    /// An exactly-once handler has it: it is acknowledged when the transaction is on record, and not by the program.
    InTransaction {
        core: Py<Core>,
        delivery: DeliveryId,
    },
    /// The program has acknowledged or rejected it.
    Acknowledged,
}

impl Origin {
    #[expect(clippy::unnecessary_wraps, reason = "the type of the field")]
    pub(crate) fn made() -> Option<Box<Self>> {
        Some(Box::new(Self::Made))
    }

    #[cold]
    pub(crate) fn unacknowledged(core: &Bound<'_, Core>, delivery: DeliveryId) -> Box<Self> {
        let core = core.clone().unbind();
        Box::new(Self::Unacknowledged { core, delivery })
    }

    /// The core that is to acknowledge it.
    pub(crate) const fn core(&self) -> Option<&Py<Core>> {
        match self {
            Self::Unacknowledged { core, .. } | Self::InTransaction { core, .. } => Some(core),
            Self::Made | Self::Acknowledged => None,
        }
    }
}

/// What acknowledging returns: it is done, so awaiting it does not suspend.
#[pyclass(frozen, module = "ferromqtt._native")]
pub(crate) struct Acknowledgement;

#[pymethods]
impl Acknowledgement {
    const fn __await__(slf: PyRef<'_, Self>) -> PyRef<'_, Self> {
        slf
    }

    const fn __iter__(slf: PyRef<'_, Self>) -> PyRef<'_, Self> {
        slf
    }

    #[expect(clippy::unused_self, reason = "it has no state")]
    const fn __next__(&self) -> Option<Py<PyAny>> {
        None
    }
}

/// Acknowledges a message.
pub(crate) fn ack<'py>(slf: &Bound<'py, Message>) -> PyResult<Bound<'py, Acknowledgement>> {
    if let Some((core, delivery)) = to_acknowledge(slf)? {
        acknowledge_delivery(slf, &core, delivery)?;
    }
    done(slf.py())
}

/// Acknowledges a message with a Reason Code that refuses it.
pub(crate) fn reject<'py>(
    slf: &Bound<'py, Message>,
    reason: Option<&Bound<'py, PyAny>>,
    reason_string: Option<&Bound<'py, PyAny>>,
) -> PyResult<Bound<'py, Acknowledgement>> {
    let reason = reason.map_or(Ok(ReasonCode::UnspecifiedError), refusal)?;
    let properties = Properties {
        reason_string: reason_string.map(reason_text).transpose()?,
        ..Properties::default()
    };
    if let Some((core, delivery)) = to_acknowledge(slf)? {
        let _held = gate::hold(&core);
        check_caller(&core)?;
        let answered = (core.lock().engine).acknowledge_with(delivery, reason, properties);
        match answered {
            Ok(()) => finish(slf, &core)?,
            Err(AcknowledgeError::NotInThisVersion) => {
                return Err(PyRuntimeError::new_err(
                    "reject() needs MQTT 5.0: before it an acknowledgement has no Reason Code. Give the client \
                     protocol=ProtocolVersion.V5, or acknowledge the message by ack()",
                ));
            }
            Err(error) => return Err(PyValueError::new_err(error.to_string())),
        }
    }
    done(slf.py())
}

fn acknowledge_delivery(
    message: &Bound<'_, Message>,
    core: &Bound<'_, Core>,
    delivery: DeliveryId,
) -> PyResult<()> {
    let _held = gate::hold(core);
    check_caller(core)?;
    core.lock().engine.acknowledge(delivery);
    finish(message, core)
}

/// The core and the delivery of a message that is to be acknowledged, or `None` where there is nothing to do.
fn to_acknowledge<'py>(
    slf: &Bound<'py, Message>,
) -> PyResult<Option<(Bound<'py, Core>, DeliveryId)>> {
    let message = slf.read();
    match message.origin.as_deref() {
        Some(Origin::Unacknowledged { core, delivery }) => {
            return Ok(Some((core.bind(slf.py()).clone(), *delivery)));
        }
        Some(Origin::Acknowledged) => return Ok(None),
        Some(Origin::InTransaction { .. }) => {
            return Err(PyRuntimeError::new_err(
                "This message is acknowledged when the transaction of its exactly-once handler is committed: leave out ack() \
                 and reject(). What the handler raises keeps it from being acknowledged",
            ));
        }
        Some(Origin::Made) => {
            return Err(PyRuntimeError::new_err(
                "This message cannot be acknowledged: the program has made, copied or unpickled it. Acknowledge the one that \
                 the client has handed out",
            ));
        }
        None => {}
    }
    drop(message);
    match Message::qos(slf)?.bind(slf.py()).eq(0)? {
        true => Ok(None),
        false => Err(PyRuntimeError::new_err(
            "The client has acknowledged this message on receipt. Give the client manual_ack=True, or its subscription \
             ack=\"manual\", to acknowledge messages by ack() and reject()",
        )),
    }
}

/// Refuses a caller that must not touch the transport, or whose connection is another process's.
fn check_caller(core: &Bound<'_, Core>) -> PyResult<()> {
    let guard = core.read();
    let home = guard.home;
    let by_thread = guard.is_called_by_thread();
    drop(guard);
    if home.is_some_and(|home| !home.is_in_this_process()) {
        return Err(PyRuntimeError::new_err(
            "The message was received before this process was forked, and its connection belongs to the parent. Acknowledge \
             it there",
        ));
    }
    if home == Some(Home::here()) || by_thread {
        return Ok(());
    }
    operations::check_loop(core).map_err(|_| {
        PyRuntimeError::new_err(
            "A message of an asyncio client is acknowledged on the client's event loop. From another thread, call \
             loop.call_soon_threadsafe(message.ack)",
        )
    })
}

/// The message is acknowledged: sees to it that this is sent.
fn finish(slf: &Bound<'_, Message>, core: &Bound<'_, Core>) -> PyResult<()> {
    let acknowledged = Some(Box::new(Origin::Acknowledged));
    let former = std::mem::replace(&mut slf.lock().origin, acknowledged);
    drop(former); // with the message released, since it may be the last to have the core
    match send(core) {
        // Its loop is closed, and the connection with it: the server sends the message again.
        Err(error) if error.is_instance_of::<PyRuntimeError>(slf.py()) => Ok(()),
        sent => sent,
    }
}

/// Sees to it that what the core has encoded is written.
fn send(core: &Bound<'_, Core>) -> PyResult<()> {
    let has_output = core.read().engine.core().pending_transmit() > 0;
    match has_output {
        true => Core::schedule_flush(core),
        false => Ok(()),
    }
}

fn done(py: Python<'_>) -> PyResult<Bound<'_, Acknowledgement>> {
    static DONE: PyOnceLock<Py<Acknowledgement>> = PyOnceLock::new();
    let done = DONE.get_or_try_init(py, || Py::new(py, Acknowledgement))?;
    Ok(done.bind(py).clone())
}

/// A Reason Code that refuses a message, from a number or a `ReasonCode`.
fn refusal(given: &Bound<'_, PyAny>) -> PyResult<ReasonCode> {
    let py = given.py();
    let number = match given.getattr_opt(intern!(py, "value"))? {
        Some(value) => value.extract::<i64>(),
        None => given.extract::<i64>(),
    };
    let Ok(number) = number else {
        let kind = given.get_type().name()?;
        return Err(PyTypeError::new_err(format!(
            "reason_code must be int or ReasonCode, not {kind}"
        )));
    };
    (u8::try_from(number).ok())
        .and_then(ReasonCode::from_value)
        .filter(|code| code.is_error() && code.acknowledges())
        .ok_or_else(|| {
            PyValueError::new_err(format!(
                "reason_code must be one by which a client refuses a message (128, 131, 135, 144, 145, 151 or 153), not \
                 {number}. To acknowledge it, call ack()"
            ))
        })
}

fn reason_text(given: &Bound<'_, PyAny>) -> PyResult<ferromqtt_proto::Utf8String> {
    let Ok(text) = given.cast::<PyString>() else {
        let kind = given.get_type().name()?;
        return Err(PyTypeError::new_err(format!(
            "reason_string must be str, not {kind}"
        )));
    };
    rules::check_text("reason_string", text, "")?;
    convert::utf8(given)
}

/// Has a message of an exactly-once handler acknowledged by `acknowledge_committed`, and by nothing else.
#[pyfunction]
pub(crate) fn hold_for_transaction(message: &Bound<'_, Message>) {
    let _held = gate::hold(message);
    let mut message = message.lock();
    let origin = message.origin.take().map(|origin| match *origin {
        Origin::Unacknowledged { core, delivery } => {
            Box::new(Origin::InTransaction { core, delivery })
        }
        _ => origin,
    });
    message.origin = origin;
}

/// Acknowledges a message of an exactly-once handler, whose transaction is committed. QoS 0 has nothing to acknowledge.
#[pyfunction]
pub(crate) fn acknowledge_committed(message: &Bound<'_, Message>) -> PyResult<()> {
    let _inside = gate::enter_on(message)?;
    let found = match message.read().origin.as_deref() {
        Some(Origin::InTransaction { core, delivery }) => {
            Some((core.bind(message.py()).clone(), *delivery))
        }
        _ => None,
    };
    match found {
        Some((core, delivery)) => acknowledge_delivery(message, &core, delivery),
        None => Ok(()),
    }
}

/// Sets whether the program acknowledges the messages that come from now on.
pub(crate) fn set_manual(core: &mut Core, manual: bool) {
    let acknowledge = match manual {
        true => Acknowledge::ByApplication,
        false => Acknowledge::OnReceipt,
    };
    core.manual_ack = manual;
    core.engine.set_acknowledge(QueueId::DEFAULT, acknowledge);
}

/// Nobody will see this message: it is lost, and acknowledged as those are that the core's own queue loses.
pub(crate) fn discard(slf: &Bound<'_, Core>, message: &Bound<'_, PyAny>) -> PyResult<()> {
    let Ok(message) = message.cast::<Message>() else {
        return Ok(());
    };
    let held = gate::hold(message);
    let delivery = match message.read().origin.as_deref() {
        Some(Origin::Unacknowledged { delivery, .. }) => *delivery,
        _ => return Ok(()),
    };
    drop(held);
    slf.lock().engine.acknowledge(delivery);
    Core::schedule_flush(slf)
}

/// Acknowledges a message that was handed over on this connection, by its Packet Identifier. Returns whether there is one.
pub(crate) fn acknowledge(slf: &Bound<'_, Core>, mid: i64, qos: i64) -> PyResult<bool> {
    operations::check_loop(slf)?;
    let packet_id = u16::try_from(mid).ok().and_then(PacketId::new);
    let qos = u8::try_from(qos).ok().and_then(QoS::from_value);
    let (Some(packet_id), Some(qos)) = (packet_id, qos) else {
        return Ok(false);
    };
    let known = (slf.lock().engine).acknowledge_packet(packet_id, qos);
    if known {
        Core::schedule_flush(slf)?;
    }
    Ok(known)
}

/// What the program has taken and not acknowledged: how many messages, since how many seconds, and how many wait behind.
pub(crate) fn unacknowledged(slf: &Bound<'_, Core>) -> PyResult<(usize, Option<f64>, usize)> {
    let now = Core::now(slf)?;
    let counted = slf.read().engine.core().unacknowledged(now);
    let oldest = counted.oldest.as_ref().map(Duration::as_secs_f64);
    Ok((counted.messages, oldest, counted.held_back))
}
