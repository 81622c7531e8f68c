//! Messages that the program acknowledges itself.
//!
//! A message is handed over when an iterator takes it: one that lies in the core's queue cannot be acknowledged, and stays one
//! message when the server sends it again. One that goes to the program's own code first, an `_on_message` or a queue of the
//! user's own class, is handed over there: such code may acknowledge, drop, replace or wrap it, and nobody could tell.

use ferromqtt_proto::packet::PacketId;
use ferromqtt_proto::{Acknowledge, QoS, QueueId};
use pyo3::prelude::*;

use crate::core::Core;
use crate::message::Message;
use crate::operations;

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
    let Some(delivery) = (message.cast::<Message>().ok()).and_then(|it| it.borrow().delivery())
    else {
        return Ok(());
    };
    slf.borrow_mut().engine.acknowledge(delivery);
    Core::schedule_flush(slf)
}

/// Acknowledges a message that was handed over on this connection. Returns whether there is one.
pub(crate) fn acknowledge(slf: &Bound<'_, Core>, mid: i64, qos: i64) -> PyResult<bool> {
    operations::check_loop(slf)?;
    let packet_id = u16::try_from(mid).ok().and_then(PacketId::new);
    let qos = u8::try_from(qos).ok().and_then(QoS::from_value);
    let (Some(packet_id), Some(qos)) = (packet_id, qos) else {
        return Ok(false);
    };
    let known = (slf.borrow_mut().engine).acknowledge_packet(packet_id, qos);
    if known {
        Core::schedule_flush(slf)?;
    }
    Ok(known)
}
