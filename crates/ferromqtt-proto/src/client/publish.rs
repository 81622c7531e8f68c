//! Checks a publish before it is accepted: what can be refused is refused before anything is sent.

use super::{Client, ClientPhase};
use crate::connection::LARGEST_PACKET;
use crate::error::InvalidPublish;
use crate::options::OutgoingLimits;
use crate::packet::{
    PacketType, Properties, PropertyPlace, ProtocolVersion, PublishRef, TopicAlias,
};
use crate::profile::ServerProfile;
use crate::property_error::PropertyProblem;
use crate::topic::TopicName;

impl Client {
    /// The topic that the application has published to with `alias` on this connection: what a PUBLISH with an empty topic
    /// and this alias goes to.
    ///
    /// # Errors
    /// [`InvalidPublish::NotConnected`], [`InvalidPublish::TopicAliasTooHigh`], or [`InvalidPublish::TopicAliasUnknown`].
    pub fn topic_of_alias(&self, alias: TopicAlias) -> Result<TopicName, InvalidPublish> {
        let (Some(connection), ClientPhase::Connected) = (&self.connection, self.phase) else {
            return Err(InvalidPublish::NotConnected);
        };
        let aliases = &connection.outgoing_aliases;
        aliases.check(alias)?;
        (aliases.topic(alias).cloned()).ok_or_else(|| InvalidPublish::TopicAliasUnknown {
            alias: alias.0.get(),
        })
    }

    /// What is wrong with a message by itself, and by the limits of the server it would go to now.
    pub(super) fn check_publish(&self, publish: PublishRef<'_>) -> Result<(), InvalidPublish> {
        check_properties(publish.properties, self.options.protocol)?;
        let packet_len = publish.packet_len(self.options.protocol);
        if packet_len > LARGEST_PACKET {
            return Err(InvalidPublish::TooLarge {
                bytes: packet_len,
                limit: LARGEST_PACKET,
                whose: "MQTT",
            });
        }
        check_profile(self.options.profile, publish, packet_len)?;
        match (&self.connection, self.phase) {
            (Some(connection), ClientPhase::Connected) => {
                let limits = &connection.limits;
                if let Some(alias) = publish.properties.and_then(|it| it.topic_alias) {
                    connection.outgoing_aliases.check(alias)?;
                    let limit = limits.maximum_packet_size();
                    if packet_len > limit && packet_len - publish.topic.len() <= limit {
                        let bytes = packet_len;
                        return Err(InvalidPublish::TooLargeWithTopic { bytes, limit });
                    }
                }
                limits.check_publish(publish.qos, publish.retain, packet_len)
            }
            _ => Ok(()),
        }
    }

    /// Whether the outgoing queue has room for a message that counts `size`.
    pub(super) fn check_room(&self, size: usize) -> Result<(), InvalidPublish> {
        let outbound = &self.session.outbound;
        (self.options.outgoing).check(outbound.len(), outbound.bytes(), size)
    }
}

impl OutgoingLimits {
    /// Whether a message that counts `size` has capacity beside so many messages and bytes. One larger than the bound passes
    /// alone.
    ///
    /// # Errors
    /// [`InvalidPublish::QueueFull`].
    pub fn check(self, messages: usize, bytes: usize, size: usize) -> Result<(), InvalidPublish> {
        if let Some(limit) = self.messages
            && messages >= limit
        {
            let unit = "messages";
            return Err(InvalidPublish::QueueFull { limit, unit });
        }
        if let Some(limit) = self.bytes
            && messages > 0
            && bytes.saturating_add(size) > limit
        {
            let unit = "bytes";
            return Err(InvalidPublish::QueueFull { limit, unit });
        }
        Ok(())
    }
}

/// Whether servers of the profile, if there is one, take a PUBLISH of so many bytes.
#[inline]
pub(super) fn check_profile(
    profile: Option<ServerProfile>,
    publish: PublishRef<'_>,
    packet_len: usize,
) -> Result<(), InvalidPublish> {
    match profile {
        Some(profile) => profile.check_publish(publish, packet_len),
        None => Ok(()),
    }
}

/// Whether a message can be sent in this version, which may be another one than when it was accepted.
pub(super) fn check_version(
    properties: Option<&Properties>,
    version: ProtocolVersion,
) -> Result<(), InvalidPublish> {
    match properties {
        Some(properties) if !version.is_v5() => {
            Ok(properties.check_absent(PropertyPlace::of(PacketType::Publish))?)
        }
        _ => Ok(()),
    }
}

fn check_properties(
    properties: Option<&Properties>,
    version: ProtocolVersion,
) -> Result<(), InvalidPublish> {
    let Some(properties) = properties else {
        return Ok(());
    };
    let place = PropertyPlace::of(PacketType::Publish);
    if !version.is_v5() {
        return check_version(Some(properties), version);
    }
    if !properties.subscription_identifiers.is_empty() {
        let problem = PropertyProblem::SetByClient;
        return Err(place.refuses("subscription_identifiers", problem).into());
    }
    properties.check(place)?;
    if let Some(response) = &properties.response_topic
        && let Err(error) = TopicName::check(response)
    {
        let problem = PropertyProblem::Topic(error);
        return Err(place.refuses("response_topic", problem).into());
    }
    Ok(())
}
