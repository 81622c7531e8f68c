//! Topic Aliases (section 3.3.2.3.4), those that the server assigns and our own: they live for one connection
//! (MQTT-3.3.2-7).

use std::collections::{BTreeMap, HashMap};
use std::num::NonZeroU16;

use crate::error::{DecodeError, InvalidPublish};
use crate::packet::{ReasonCode, TopicAlias};
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
    pub(crate) fn resolve(
        &mut self,
        topic: Utf8String,
        alias: Option<TopicAlias>,
    ) -> Result<TopicName, DecodeError> {
        let topic = match alias {
            None => topic,
            Some(alias) => self.full_name(topic, alias.0.get())?,
        };
        TopicName::from_wire(topic)
            .ok_or_else(|| DecodeError::protocol("PUBLISH has no valid topic"))
    }

    fn full_name(&mut self, topic: Utf8String, alias: u16) -> Result<Utf8String, DecodeError> {
        if alias > self.maximum {
            return Err(DecodeError {
                reason: ReasonCode::TopicAliasInvalid,
                what: "Topic Alias is above the Topic Alias Maximum",
            });
        }
        if topic.is_empty() {
            let known = self.names.get(&alias).cloned();
            return known.ok_or_else(|| DecodeError::protocol("Topic Alias is not known"));
        }
        self.names.insert(alias, topic.detached());
        Ok(topic)
    }
}

/// What a PUBLISH to a topic carries on this connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Form {
    /// The topic alone.
    Topic,
    /// The topic, and the alias that stands for it from then on.
    TopicAndAlias(TopicAlias),
    /// The alias alone: the server knows what it stands for.
    Alias(TopicAlias),
}

/// The aliases of the topics that this client publishes to: those that the application chooses, and those that the client
/// assigns by itself. Neither is above the server's Topic Alias Maximum (MQTT-3.2.2-17, MQTT-3.2.2-18). A number that the
/// application has chosen is its own until the connection ends, so that the two never contradict each other.
#[derive(Debug, Default)]
pub(crate) struct OutgoingAliases {
    /// The server's Topic Alias Maximum.
    maximum: u16,
    /// How many aliases the client assigns at most. When all are in use, the one used least recently goes to the next topic.
    own_maximum: u16,
    /// The application's aliases, in the order of the calls.
    chosen: HashMap<TopicAlias, Chosen>,
    /// The client's alias of a topic, and when it was used last.
    topics: HashMap<Box<[u8]>, (TopicAlias, u64)>,
    /// The topics in order of use.
    by_use: BTreeMap<u64, Box<[u8]>>,
    uses: u64,
    /// The highest number that the client has assigned, or found taken.
    last_assigned: u16,
}

/// What an alias of the application stands for.
#[derive(Debug)]
struct Chosen {
    topic: TopicName,
    /// Whether a PUBLISH with both is on the wire.
    is_sent: bool,
}

impl Chosen {
    fn stands_for(&self, topic: &[u8]) -> bool {
        self.topic.as_utf8().as_bytes() == topic
    }
}

impl OutgoingAliases {
    /// A topic this short takes fewer bytes than its alias would.
    const SHORTEST_TOPIC: usize = 4;

    /// `maximum` is the server's, `own_maximum` what the options allow the client to assign by itself.
    pub(crate) fn new(maximum: u16, own_maximum: u16) -> Self {
        Self {
            maximum,
            own_maximum: own_maximum.min(maximum),
            ..Self::default()
        }
    }

    /// Checks an alias that the application has chosen (MQTT-3.2.2-17).
    pub(crate) fn check(&self, alias: TopicAlias) -> Result<(), InvalidPublish> {
        if alias.0.get() > self.maximum {
            return Err(InvalidPublish::TopicAliasTooHigh {
                alias: alias.0.get(),
                maximum: self.maximum,
            });
        }
        Ok(())
    }

    /// What the application has chosen `alias` for on this connection.
    pub(crate) fn topic(&self, alias: TopicAlias) -> Option<&TopicName> {
        self.chosen.get(&alias).map(|chosen| &chosen.topic)
    }

    /// The application publishes to `topic`, which must be a Topic Name, and has chosen `alias` for it. The alias has been
    /// [checked](Self::check).
    pub(crate) fn choose(&mut self, alias: TopicAlias, topic: &[u8]) {
        if (self.chosen.get(&alias)).is_some_and(|chosen| chosen.stands_for(topic)) {
            return;
        }
        let Ok(Ok(topic)) = std::str::from_utf8(topic).map(TopicName::new) else {
            return;
        };
        let chosen = Chosen {
            topic,
            is_sent: false,
        };
        if self.chosen.insert(alias, chosen).is_some() {
            return;
        }
        let assigned = self.topics.iter().find(|(_, (own, _))| *own == alias);
        let assigned = assigned.map(|(topic, (_, last_use))| (topic.clone(), *last_use));
        if let Some((topic, last_use)) = assigned {
            self.topics.remove(&topic);
            self.by_use.remove(&last_use);
        }
    }

    /// How to send a PUBLISH to `topic`, for which the application may have chosen an alias. `fits` tells whether the longest
    /// form may be sent. What this returns must be sent.
    pub(crate) fn form(
        &mut self,
        topic: &[u8],
        chosen: Option<TopicAlias>,
        fits: impl FnOnce() -> bool,
    ) -> Form {
        if let Some(alias) = chosen {
            return self.chosen_form(topic, alias);
        }
        if self.own_maximum == 0 || topic.len() < Self::SHORTEST_TOPIC || !fits() {
            return Form::Topic;
        }
        self.assigned_form(topic).unwrap_or(Form::Topic)
    }

    /// An alias that was chosen on an earlier connection, or stands for another topic by now, is left out (MQTT-3.3.2-7).
    fn chosen_form(&mut self, topic: &[u8], alias: TopicAlias) -> Form {
        match self.chosen.get_mut(&alias) {
            Some(chosen) if chosen.stands_for(topic) => {
                match std::mem::replace(&mut chosen.is_sent, true) {
                    true => Form::Alias(alias),
                    false => Form::TopicAndAlias(alias),
                }
            }
            _ => Form::Topic,
        }
    }

    fn assigned_form(&mut self, topic: &[u8]) -> Option<Form> {
        self.uses += 1;
        if let Some((alias, last_use)) = self.topics.get_mut(topic) {
            let name = self.by_use.remove(last_use)?;
            *last_use = self.uses;
            self.by_use.insert(self.uses, name);
            return Some(Form::Alias(*alias));
        }
        let alias = match self.next_unused() {
            Some(alias) => alias,
            None => {
                let (_, least) = self.by_use.pop_first()?;
                self.topics.remove(&least)?.0
            }
        };
        self.topics.insert(topic.into(), (alias, self.uses));
        self.by_use.insert(self.uses, topic.into());
        Some(Form::TopicAndAlias(alias))
    }

    /// The next number that neither the client has assigned nor the application chosen.
    fn next_unused(&mut self) -> Option<TopicAlias> {
        while self.last_assigned < self.own_maximum {
            self.last_assigned += 1;
            let alias = NonZeroU16::new(self.last_assigned).map(TopicAlias)?;
            if !self.chosen.contains_key(&alias) {
                return Some(alias);
            }
        }
        None
    }
}
