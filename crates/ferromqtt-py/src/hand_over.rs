//! From a message in a queue to the object that the program gets.

use ferromqtt_proto::{Message as Received, QueueId};
use pyo3::prelude::*;

use crate::access::Access;
use crate::core::Core;
use crate::decoding::Decoding;
use crate::message::{self, Message};
use crate::typed_message::TypedMessage;

/// Takes the next message of a queue of those that are reserved for nobody, as a Python object.
pub(crate) fn pop<'py>(
    core: &Bound<'py, Core>,
    queue: QueueId,
    decoding: Option<&Py<Decoding>>,
) -> PyResult<Option<Bound<'py, Message>>> {
    let mut guard = core.lock();
    let (received, goes_on) = guard.engine.take_and_go_on(queue);
    let message = received.map(|received| hand_over(core, guard, received, decoding));
    if goes_on {
        Core::schedule_flush(core)?;
    }
    message.transpose()
}

/// Makes a Python object of a message. It is handed over: the program has it now. `decoding` is its subscription's.
pub(crate) fn hand_over<'py>(
    core: &Bound<'py, Core>,
    mut guard: PyRefMut<'py, Core>,
    received: Received,
    decoding: Option<&Py<Decoding>>,
) -> PyResult<Bound<'py, Message>> {
    let py = core.py();
    if let Some(delivery) = received.delivery {
        guard.engine.hand_over(delivery);
    }
    let v5 = guard.engine.core().options().protocol.is_v5();
    let known = guard.topics.get(py, received.topic.as_utf8().as_bytes());
    drop(guard);
    let topic = match known {
        Some(topic) => topic,
        None => {
            let topic = message::make_topic(py, received.topic.as_str())?;
            let name = received.topic.as_utf8().as_bytes();
            let forgotten = core.lock().topics.insert(name, topic.clone().unbind());
            drop(forgotten); // with the core released, since it may run code of the user's
            topic
        }
    };
    let message = Message::create(core, topic, received, v5)?;
    match decoding {
        None => Bound::new(py, message),
        Some(decoding) => {
            let typed = TypedMessage::of(message, decoding.clone_ref(py), py)?;
            Ok(typed.into_super())
        }
    }
}
