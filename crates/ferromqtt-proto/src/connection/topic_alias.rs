//! Topic Aliases (section 3.3.2.3.4), those that the server assigns and our own: they live for one connection
//! (MQTT-3.3.2-7).

use std::collections::{BTreeMap, HashMap};
use std::num::NonZeroU16;

use crate::error::DecodeError;
use crate::packet::{Publish, ReasonCode, TopicAlias};
use crate::text::Utf8String;
use crate::topic::TopicName;

#[derive(Debug)]
pub(crate) struct IncomingAliases {
    maximum: u16,
    names: HashMap<u16, Utf8String>,
}

impl IncomingAliases {
    pub(crate) fn new(maximum: u16) -> Self {
        Self {
            maximum,
            names: HashMap::new(),
        }
    }

    /// The Topic Name of a PUBLISH: its own, or the one its alias stands for (MQTT-3.3.2-10, MQTT-3.3.2-11).
    pub(crate) fn resolve(&mut self, publish: &Publish) -> Result<TopicName, DecodeError> {
        let alias = publish
            .properties
            .as_ref()
            .and_then(|properties| properties.topic_alias);
        let Some(alias) = alias else {
            return name(publish.topic.clone());
        };
        let alias = alias.0.get();
        if alias > self.maximum {
            return Err(DecodeError {
                reason: ReasonCode::TopicAliasInvalid,
                what: "Topic Alias is above the Topic Alias Maximum",
            });
        }
        if publish.topic.is_empty() {
            let known = self.names.get(&alias).cloned();
            return name(known.ok_or_else(|| DecodeError::protocol("Topic Alias is not known"))?);
        }
        self.names.insert(alias, publish.topic.detached());
        name(publish.topic.clone())
    }
}

/// The aliases that this client assigns: at most as many as the server takes (MQTT-3.2.2-17, MQTT-3.2.2-18). When all are
/// in use, the one used least recently goes to the next topic.
#[derive(Debug, Default)]
pub(crate) struct OutgoingAliases {
    maximum: u16,
    /// The alias of a topic, and when it was used last.
    topics: HashMap<Box<[u8]>, (TopicAlias, u64)>,
    /// The topics in order of use.
    by_use: BTreeMap<u64, Box<[u8]>>,
    uses: u64,
}

impl OutgoingAliases {
    /// A topic this short takes less room than its alias would.
    const SHORTEST_TOPIC: usize = 4;

    pub(crate) fn new(maximum: u16) -> Self {
        Self {
            maximum,
            ..Self::default()
        }
    }

    pub(crate) const fn serves(&self, topic: &[u8]) -> bool {
        self.maximum > 0 && topic.len() >= Self::SHORTEST_TOPIC
    }

    /// The alias for `topic`, and whether the server knows it already, so that the topic itself can be left out. What
    /// this returns must be sent.
    pub(crate) fn assign(&mut self, topic: &[u8]) -> Option<(TopicAlias, bool)> {
        self.uses += 1;
        if let Some((alias, last_use)) = self.topics.get_mut(topic) {
            let name = self.by_use.remove(last_use)?;
            *last_use = self.uses;
            self.by_use.insert(self.uses, name);
            return Some((*alias, true));
        }
        let alias = if self.topics.len() < usize::from(self.maximum) {
            let next = u16::try_from(self.topics.len() + 1).ok()?;
            TopicAlias(NonZeroU16::new(next)?)
        } else {
            let (_, least) = self.by_use.pop_first()?;
            self.topics.remove(&least)?.0
        };
        self.topics.insert(topic.into(), (alias, self.uses));
        self.by_use.insert(self.uses, topic.into());
        Some((alias, false))
    }
}

fn name(topic: Utf8String) -> Result<TopicName, DecodeError> {
    TopicName::from_wire(topic).ok_or_else(|| DecodeError::protocol("PUBLISH has no valid topic"))
}
