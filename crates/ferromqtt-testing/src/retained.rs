//! Retained messages (section 3.3.1.3).

use std::sync::Arc;
use std::time::Instant;

use ferromqtt_proto::{NameTree, TopicFilter, TopicName};

use crate::memory::{self, Meter};
use crate::message::{Kept, PublishedMessage};
use crate::options::BrokerOptions;

/// The last message of each topic that was published with RETAIN.
#[derive(Debug, Default)]
pub(crate) struct Retained {
    by_topic: NameTree<Arc<Kept>>,
    meter: Meter,
}

impl Retained {
    /// Whether [`Retained::store`] keeps a message, or forgets its topic.
    pub(crate) fn has_room_for(&self, message: &PublishedMessage, options: &BrokerOptions) -> bool {
        TopicName::new(message.topic.as_str())
            .is_ok_and(|topic| self.has_room(&topic, message, options))
    }

    fn has_room(
        &self,
        topic: &TopicName,
        message: &PublishedMessage,
        options: &BrokerOptions,
    ) -> bool {
        if message.payload.is_empty() {
            return true;
        }
        let old = self.by_topic.get(topic);
        if old.is_none() && self.by_topic.len() >= options.maximum_retained_messages {
            return false;
        }
        let around = memory::retained_entry_size(message.topic.len());
        let freed = old.map_or(0, |old| old.size + around);
        let more = (message.memory_size() + around).saturating_sub(freed);
        self.meter.has_room(more, options.maximum_retained_bytes)
    }

    /// Keeps a message, or forgets its topic when the payload is empty (MQTT-3.3.1-5, MQTT-3.3.1-6). `false` when there is
    /// no room for it.
    pub(crate) fn store(&mut self, message: &PublishedMessage, options: &BrokerOptions) -> bool {
        let Ok(topic) = TopicName::new(message.topic.as_str()) else {
            return false; // cannot be: packets with another topic are not read
        };
        if !self.has_room(&topic, message, options) {
            return false;
        }
        if message.payload.is_empty() {
            self.by_topic.remove(&topic);
            return true;
        }
        let around = memory::retained_entry_size(message.topic.len());
        let kept = Kept::new(message, around, &self.meter);
        match self.by_topic.get_mut(&topic) {
            Some(old) => *old = kept,
            None => _ = self.by_topic.get_or_insert_with(&topic, || kept),
        }
        true
    }

    /// The messages whose topics match `filter`, in the order of the topics. Those that have expired are forgotten, so that
    /// nobody finds them again (MQTT-3.3.2-5).
    pub(crate) fn matching(&mut self, now: Instant, filter: &TopicFilter) -> Vec<Arc<Kept>> {
        let mut found = Vec::new();
        (self.by_topic).for_each_match(filter, |message| found.push(Arc::clone(message)));
        found.retain(|message| {
            let expired = message.expired(now);
            if expired && let Ok(topic) = TopicName::new(message.topic.as_str()) {
                self.by_topic.remove(&topic);
            }
            !expired
        });
        found.sort_unstable_by(|one, other| one.topic.cmp(&other.topic));
        found
    }

    pub(crate) const fn len(&self) -> usize {
        self.by_topic.len()
    }

    /// Bytes of those that are retained, and of those replaced that are still on their way to a new subscription.
    pub(crate) fn bytes(&self) -> usize {
        self.meter.held()
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use ferromqtt_proto::Utf8String;
    use ferromqtt_proto::packet::QoS;

    use super::*;
    use crate::session::SessionId;

    fn message(topic: &str) -> PublishedMessage {
        PublishedMessage {
            topic: Utf8String::try_from(topic).unwrap(),
            payload: Bytes::from_static(b"x"),
            qos: QoS::AtMostOnce,
            retain: true,
            properties: None,
            publisher: SessionId(1),
            received: Instant::now(),
        }
    }

    #[test]
    fn a_filter_finds_the_topics_that_it_matches_in_their_order_mqtt_4_7() {
        let mut retained = Retained::default();
        for topic in ["b", "a/c", "a", "$a/b", "a/b/c", "a!/b", "/"] {
            assert!(retained.store(&message(topic), &BrokerOptions::default()));
        }
        for (filter, expected) in [
            ("#", &["/", "a", "a!/b", "a/b/c", "a/c", "b"][..]),
            ("a/#", &["a", "a/b/c", "a/c"]),
            ("+/+", &["/", "a!/b", "a/c"]),
            ("$a/+", &["$a/b"]),
            ("c", &[]),
        ] {
            let filter = TopicFilter::new(filter).unwrap();
            let found = retained.matching(Instant::now(), &filter);
            let topics: Vec<_> = found.iter().map(|it| it.topic.as_str()).collect();
            assert_eq!(topics, expected, "{filter}");
        }
    }

    #[test]
    fn replaced_and_forgotten_messages_are_counted_no_more() {
        let mut retained = Retained::default();
        let topics = ["a", "a/b", "a/b/c", "b", "/"];
        for topic in topics {
            assert!(retained.store(&message(topic), &BrokerOptions::default()));
        }
        let before = retained.bytes();
        assert!(before > 0);
        for topic in topics {
            assert!(retained.store(&message(topic), &BrokerOptions::default()));
        }
        assert_eq!((retained.bytes(), retained.len()), (before, 5));
        for topic in topics {
            let mut message = message(topic);
            message.payload = Bytes::new();
            assert!(retained.store(&message, &BrokerOptions::default()));
        }
        assert_eq!((retained.bytes(), retained.len()), (0, 0));
    }
}
