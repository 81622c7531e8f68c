//! Topic Aliases of one connection (section 3.3.2.3.4): those that the client set, and those that the broker assigns.

use std::collections::{HashMap, VecDeque};
use std::num::NonZeroU16;

use ferromqtt_proto::packet::{PublishPacket, ReasonCode, TopicAlias};
use ferromqtt_proto::{DecodeError, Utf8String};

/// Topics by the alias that the client set.
#[derive(Debug, Default)]
pub(crate) struct ClientAliases(HashMap<TopicAlias, Utf8String>);

impl ClientAliases {
    /// Takes the alias out of `publish`, and gives it the topic or remembers its topic (MQTT-3.3.2-9 for the maximum).
    pub(crate) fn resolve(
        &mut self,
        publish: &mut PublishPacket,
        maximum: u16,
    ) -> Result<(), DecodeError> {
        let Some(properties) = &mut publish.properties else {
            return Ok(());
        };
        let Some(alias) = properties.topic_alias.take() else {
            return Ok(());
        };
        if alias.0.get() > maximum {
            return Err(DecodeError {
                reason: ReasonCode::TopicAliasInvalid,
                what: "client uses a Topic Alias above the Topic Alias Maximum",
            });
        }
        if properties.is_empty() {
            publish.properties = None;
        }
        if !publish.topic.is_empty() {
            self.0.insert(alias, publish.topic.detached());
        } else if let Some(topic) = self.0.get(&alias) {
            publish.topic = topic.clone();
        } else {
            return Err(DecodeError::protocol(
                "client uses a Topic Alias that it never set",
            ));
        }
        Ok(())
    }
}

/// Aliases by topic, and the topics from the one that got its alias first to the one that got it last.
#[derive(Debug, Default)]
pub(crate) struct BrokerAliases {
    maximum: usize,
    by_topic: HashMap<Utf8String, TopicAlias>,
    oldest_first: VecDeque<Utf8String>,
}

/// An alias for one PUBLISH.
#[derive(Clone, Copy, Debug)]
pub(crate) struct AliasUse {
    pub(crate) alias: TopicAlias,
    /// Whether the client knows it, so that the topic is left out.
    pub(crate) known: bool,
}

impl BrokerAliases {
    /// A topic this short takes fewer bytes than its alias would.
    const SHORTEST_TOPIC: usize = 4;

    /// For a client with this Topic Alias Maximum (MQTT-3.1.2-26).
    pub(crate) fn new(maximum: u16) -> Self {
        Self {
            maximum: maximum.into(),
            ..Self::default()
        }
    }

    /// The alias for the next PUBLISH to `topic`. It holds once [`BrokerAliases::sent`] is called.
    pub(crate) fn offer(&self, topic: &Utf8String) -> Option<AliasUse> {
        if self.maximum == 0 || topic.len() < Self::SHORTEST_TOPIC {
            return None;
        }
        if let Some(&alias) = self.by_topic.get(topic) {
            return Some(AliasUse { alias, known: true });
        }
        let alias = if self.by_topic.len() < self.maximum {
            let next = u16::try_from(self.by_topic.len() + 1).ok()?;
            TopicAlias(NonZeroU16::new(next)?)
        } else {
            *self.by_topic.get(self.oldest_first.front()?)?
        };
        Some(AliasUse {
            alias,
            known: false,
        })
    }

    /// The PUBLISH with the offered alias goes out.
    pub(crate) fn sent(&mut self, topic: &Utf8String, used: AliasUse) {
        if used.known {
            return;
        }
        if self.by_topic.len() == self.maximum
            && let Some(oldest) = self.oldest_first.pop_front()
        {
            self.by_topic.remove(&oldest);
        }
        let topic = topic.detached();
        self.oldest_first.push_back(topic.clone());
        self.by_topic.insert(topic, used.alias);
    }
}
