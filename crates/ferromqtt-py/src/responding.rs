//! What is behind `Client.responder`: requests, and not the other messages of its subscription.

use ferromqtt_engine::{self as engine, asks_for_response};
use ferromqtt_proto::{ProtocolVersion, TopicName};
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;

use crate::access::Access;
use crate::acknowledge::{self, Origin};
use crate::core::Core;
use crate::failure;
use crate::gate;
use crate::message::Message;
use crate::typed_message::TypedMessage;

/// Raises ValueError if a client of this version of MQTT, 3, 4 or 5, cannot receive requests.
#[pyfunction]
pub(crate) fn check_responder(version: u8) -> PyResult<()> {
    let version = match version {
        5 => ProtocolVersion::V5,
        _ => ProtocolVersion::V311,
    };
    engine::check_responder(version)
        .map_err(|error| PyValueError::new_err(failure::request_text(&error)))
}

/// Makes a request of a message that a responder has just taken: all that the message has goes to `request`, an empty one of a
/// subclass, which is read by the same templates and codec. Returns False for a message that asks for no response, which is acknowledged if that was left to the program.
#[pyfunction]
pub(crate) fn admit_request(
    core: &Bound<'_, Core>,
    message: &Bound<'_, Message>,
    request: &Bound<'_, TypedMessage>,
) -> PyResult<bool> {
    let _inside = gate::enter()?;
    let asks = Message::read_property(message, |properties| asks_for_response(Some(properties)));
    if asks.is_ok_and(|asks| asks) {
        if let Ok(typed) = message.cast::<TypedMessage>() {
            request.lock().read_as(&typed.read(), request.py());
        }
        let request = request.as_any().cast::<Message>()?;
        std::mem::swap(&mut *message.lock(), &mut *request.lock());
        return Ok(true);
    }
    if is_unacknowledged(message) {
        acknowledge::ack(message)?;
    }
    let topic = message.getattr("topic")?.str()?.to_string();
    if let Ok(topic) = TopicName::new(&topic) {
        core.lock().engine.pass_over(topic, None);
        let _ = Core::schedule_flush(core); // fails when its loop is closed: then nothing more is reported
    }
    Ok(false)
}

/// Whether the program is to acknowledge a message, and has not yet.
#[pyfunction]
pub(crate) fn is_unacknowledged(message: &Bound<'_, Message>) -> bool {
    let origin = &message.read().origin;
    matches!(origin.as_deref(), Some(Origin::Unacknowledged { .. }))
}
