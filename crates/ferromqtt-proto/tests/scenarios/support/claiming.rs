//! A session that the server has resumed, and an application that has not said yet what it reads.

use ferromqtt_proto::{
    Event, Options, Properties, ProtocolVersion, QoS, QueueId, QueueOptions, Session,
};

use super::pair::Pair;
use super::write::resuming;

/// A client whose session the server has resumed, and whose application has not claimed anything yet.
pub(crate) fn resumed(options: Options) -> Pair {
    let mut pair = Pair::unclaimed(options, Session::default());
    pair.connect();
    pair.accept(true, Properties::default());
    pair.events();
    pair
}

/// Options of a client that resumes its session, and whose default queue is this one.
pub(crate) fn with_default(version: ProtocolVersion, queue: QueueOptions) -> Options {
    let mut options = resuming(version);
    options.incoming = queue;
    options
}

impl Pair {
    /// The server sends messages at QoS 1, whose payloads are their Packet Identifiers.
    pub(crate) fn stored(&mut self, topic: &str, packet_ids: impl IntoIterator<Item = u16>) {
        for packet_id in packet_ids {
            self.receive(topic, &packet_id.to_string(), QoS::AtLeastOnce, packet_id);
        }
    }

    /// Subscribes a new queue, and answers nothing: acceptance is enough.
    pub(crate) fn claim(&mut self, filters: &[&str], options: QueueOptions) -> QueueId {
        let queue = self.client.open_queue(options);
        self.subscribe_to(filters, queue);
        queue
    }

    /// The packets since the last look, SUBSCRIBE left out.
    pub(crate) fn answers(&mut self) -> Vec<String> {
        let mut sent = self.sent();
        sent.retain(|packet| !packet.starts_with("SUBSCRIBE"));
        sent
    }

    /// How many messages were reported as unclaimed since the last look, each time.
    pub(crate) fn unclaimed_events(&mut self) -> Vec<u64> {
        (self.events().into_iter())
            .filter_map(|event| match event {
                Event::Unclaimed { messages } => Some(messages),
                _ => None,
            })
            .collect()
    }
}
