//! Topic Aliases that a client set on its connection (section 3.3.2.3.4).

use std::collections::HashMap;

use ferromqtt_proto::packet::{Publish, ReasonCode, TopicAlias};
use ferromqtt_proto::{DecodeError, Utf8String};

#[derive(Debug, Default)]
pub(crate) struct Aliases(HashMap<TopicAlias, Utf8String>);

impl Aliases {
    /// Takes the alias out of `publish`, and gives it the topic or remembers its topic (MQTT-3.3.2-9 for the maximum).
    pub(crate) fn resolve(
        &mut self,
        publish: &mut Publish,
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
