//! Sends acknowledgements: PUBACK, PUBREC, PUBREL and PUBCOMP.

use super::NetworkConnection;
use crate::error::DecodeError;
use crate::packet::{Ack, PacketType, ProtocolVersion, ReasonCode};
use crate::session::{Needed, Open};

impl NetworkConnection {
    /// Answers a packet of the server, within its Maximum Packet Size (MQTT-3.2.2-15). `ended` is the slot of the Receive
    /// Maximum that the server gets back if this ends an exchange; `needed` is what the answer waits for, if that is not on record
    /// yet.
    ///
    /// # Errors
    /// When the server asks for answers without reading them: they would accumulate without bound.
    pub(crate) fn acknowledge(
        &mut self,
        packet_type: PacketType,
        answer: Ack,
        version: ProtocolVersion,
        ended: Open,
        needed: Option<Needed>,
    ) -> Result<(), DecodeError> {
        let answer = answer.within(self.limits.maximum_packet_size());
        if needed.is_none() && self.held.lets_through(packet_type) {
            (self.transmit).push_answer(packet_type, &answer, version, ended);
        } else {
            let needed = needed.unwrap_or_default();
            (self.held).hold_answer(packet_type, answer, ended, needed);
        }
        if self.transmit.unsent_answers() + self.held.answers() > MOST_UNSENT_ANSWERS {
            return Err(DecodeError {
                reason: ReasonCode::ReceiveMaximumExceeded,
                what: "the server asks for more and more answers, and reads none of them",
            });
        }
        Ok(())
    }
}

/// Answers that may wait to be written: one of each of the four kinds for every Packet Identifier there is. A server that
/// keeps to the rules cannot cause more, and less would cut off one that only is slow.
const MOST_UNSENT_ANSWERS: usize = 4 * u16::MAX as usize;
