//! Topic Aliases as they go by in one direction of a link.

use std::collections::HashMap;

use ferromqtt_proto::Utf8String;
use ferromqtt_proto::packet::{PublishPacket, TopicAlias};

/// Topics by alias, up to the Topic Alias Maximum of the receiver.
#[derive(Default)]
pub(crate) struct LaneAliases(HashMap<TopicAlias, KnownAlias>);

struct KnownAlias {
    topic: Utf8String,
    /// Whether the packet that set it has reached the receiver.
    arrived: bool,
}

impl LaneAliases {
    /// The topic of a PUBLISH, also where an alias stands for it. `None` for an alias that was never set.
    pub(crate) fn topic_of(&self, publish: &PublishPacket) -> Option<Utf8String> {
        if !publish.topic.is_empty() {
            return Some(publish.topic.clone());
        }
        self.0
            .get(&alias_of(publish)?)
            .map(|known| known.topic.clone())
    }

    /// Notes what a PUBLISH says of its alias, and whether it reaches the receiver, whose
    /// Topic Alias Maximum is `maximum`.
    pub(crate) fn note(&mut self, publish: &PublishPacket, maximum: u16, arrives: bool) {
        let Some(alias) = alias_of(publish) else {
            return;
        };
        if !publish.topic.is_empty() && alias.0.get() <= maximum {
            let topic = publish.topic.detached();
            self.0.insert(
                alias,
                KnownAlias {
                    topic,
                    arrived: arrives,
                },
            );
        }
    }

    /// The topic that a PUBLISH has to carry after all, since the packet that set its alias was lost.
    pub(crate) fn unknown_to_receiver(&mut self, publish: &PublishPacket) -> Option<Utf8String> {
        if !publish.topic.is_empty() {
            return None;
        }
        let known = self.0.get_mut(&alias_of(publish)?)?;
        if known.arrived {
            return None;
        }
        known.arrived = true;
        Some(known.topic.clone())
    }
}

fn alias_of(publish: &PublishPacket) -> Option<TopicAlias> {
    publish.properties.as_ref()?.topic_alias
}
