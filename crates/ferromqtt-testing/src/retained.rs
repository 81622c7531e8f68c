//! Retained messages (section 3.3.1.3).

use ferromqtt_proto::{NameTree, TopicFilter, TopicName};

use crate::message::Message;

/// The last message of each topic that was published with RETAIN.
#[derive(Debug, Default)]
pub(crate) struct Retained(NameTree<Message>);

impl Retained {
    /// Keeps a message, or forgets its topic when the payload is empty (MQTT-3.3.1-5, MQTT-3.3.1-6). `false` when there is
    /// no room for one more topic.
    pub(crate) fn store(&mut self, message: &Message, limit: usize) -> bool {
        let Ok(topic) = TopicName::new(message.topic.as_str()) else {
            return false; // cannot be: packets with another topic are not read
        };
        if message.payload.is_empty() {
            self.0.remove(&topic);
            return true;
        }
        if let Some(retained) = self.0.get_mut(&topic) {
            *retained = message.detached();
            return true;
        }
        if self.0.len() >= limit {
            return false;
        }
        (self.0).get_or_insert_with(&topic, || message.detached());
        true
    }

    /// The messages whose topics match `filter`, in the order of the topics.
    pub(crate) fn matching(&self, filter: &TopicFilter) -> Vec<&Message> {
        let mut found = Vec::new();
        self.0.for_each_match(filter, |message| found.push(message));
        found.sort_unstable_by(|one, other| one.topic.cmp(&other.topic));
        found
    }

    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }
}
