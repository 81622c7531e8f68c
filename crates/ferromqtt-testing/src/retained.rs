//! Retained messages (section 3.3.1.3).

use std::collections::BTreeMap;
use std::ops::Bound;

use ferromqtt_proto::TopicFilter;

use crate::message::Message;

/// The last message of each topic that was published with RETAIN.
#[derive(Debug, Default)]
pub(crate) struct Retained(BTreeMap<String, Message>);

impl Retained {
    /// Keeps a message, or forgets its topic when the payload is empty (MQTT-3.3.1-5, MQTT-3.3.1-6). `false` when there is
    /// no room for one more topic.
    pub(crate) fn store(&mut self, message: &Message, limit: usize) -> bool {
        if message.payload.is_empty() {
            self.0.remove(message.topic.as_str());
            return true;
        }
        if self.0.len() >= limit && !self.0.contains_key(message.topic.as_str()) {
            return false;
        }
        self.0.insert(message.topic.to_string(), message.detached());
        true
    }

    /// The messages whose topics match `filter`, in the order of the topics.
    pub(crate) fn matching<'a>(
        &'a self,
        filter: &'a TopicFilter,
    ) -> impl Iterator<Item = &'a Message> {
        // `a/#` matches `a` as well, so the slash before a wildcard does not count.
        let literal = filter.split(['+', '#']).next().unwrap_or_default();
        let prefix = if literal.len() == filter.len() {
            literal
        } else {
            literal.trim_end_matches('/')
        };
        self.0
            .range::<str, _>((Bound::Included(prefix), Bound::Unbounded))
            .take_while(move |(topic, _)| topic.starts_with(prefix))
            .filter(|(topic, _)| filter.matches(topic))
            .map(|(_, message)| message)
    }

    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }
}
