//! Topic Aliases that the server assigns (section 3.3.2.3.4): they live for one connection (MQTT-3.3.2-7).

use std::collections::HashMap;

use crate::error::DecodeError;
use crate::packet::{Publish, ReasonCode};
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

fn name(topic: Utf8String) -> Result<TopicName, DecodeError> {
    TopicName::from_wire(topic).ok_or_else(|| DecodeError::protocol("PUBLISH has no valid topic"))
}
