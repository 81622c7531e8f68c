//! Messages that the program acknowledges itself.
//!
//! A message is handed over when an iterator takes it: one that lies in a queue cannot be acknowledged, and stays one message
//! when the server sends it again. Between the core and an iterator may lie a queue of the user's own class, so the message
//! carries the name of its delivery.

use ferromqtt_proto::packet::PacketId;
use ferromqtt_proto::{Acknowledge, DeliveryId, QoS, QueueId};
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
    core.client.set_acknowledge(QueueId::DEFAULT, acknowledge);
}

/// An iterator has taken this out of a queue of the user's own class, which may hold anything.
pub(crate) fn hand_over(slf: &Bound<'_, Core>, taken: &Bound<'_, PyAny>) {
    if let Some(delivery) = delivery_of(taken) {
        slf.borrow_mut().client.hand_over(delivery);
    }
}

fn delivery_of(object: &Bound<'_, PyAny>) -> Option<DeliveryId> {
    object.cast::<Message>().ok()?.borrow().delivery()
}

/// Nobody will see this message: it is lost, and acknowledged as those are that the core's own queue loses.
pub(crate) fn discard(slf: &Bound<'_, Core>, message: &Bound<'_, PyAny>) -> PyResult<()> {
    let Some(delivery) = delivery_of(message) else {
        return Ok(());
    };
    slf.borrow_mut().client.acknowledge(delivery);
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
    let known = (slf.borrow_mut().client).acknowledge_packet(packet_id, qos);
    if known {
        Core::schedule_flush(slf)?;
    }
    Ok(known)
}
