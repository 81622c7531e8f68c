//! What a responder gets: requests, and not the other messages of its subscription (5.0, section 4.10).

use ferromqtt_proto::{DeliveryId, InvalidSubscribe, Properties, ProtocolVersion, TopicName};

use crate::{Engine, Fact, Tokens};

/// Whether a message with these properties asks for a response.
pub fn asks_for_response(properties: Option<&Properties>) -> bool {
    properties.is_some_and(|properties| properties.response_topic.is_some())
}

/// Whether a connection of this version can bring requests.
///
/// # Errors
/// [`InvalidSubscribe::NoRequests`] before 5.0.
pub const fn check_responder(version: ProtocolVersion) -> Result<(), InvalidSubscribe> {
    match version.is_v5() {
        true => Ok(()),
        false => Err(InvalidSubscribe::NoRequests),
    }
}

impl<T: Tokens> Engine<T> {
    /// A responder does not get this message, which asks for no response: it is reported, and acknowledged if that was left to
    /// the application.
    pub fn pass_over(&mut self, topic: TopicName, delivery: Option<DeliveryId>) {
        if let Some(delivery) = delivery {
            self.acknowledge(delivery);
        }
        self.report(Fact::PassedOver { topic });
    }
}
