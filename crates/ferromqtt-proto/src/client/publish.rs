//! Accepting publishes: all that can be refused is refused here, before anything is sent.

use std::time::Instant;

use bytes::Bytes;

use super::{Client, Phase};
use crate::connection::LARGEST_PACKET;
use crate::debug_fields;
use crate::error::PublishError;
use crate::event::{OpId, Outcome};
use crate::options::{OutgoingLimits, OutgoingPolicy};
use crate::packet::{
    PacketId, PacketType, Place, Properties, ProtocolVersion, PublishRef, QoS, TopicAlias,
};
use crate::property_error::PropertyProblem;
use crate::session::{Expiry, Waiting};
use crate::topic::TopicName;

/// A message to publish. `Debug` shows the length of its payload.
#[derive(Clone, PartialEq, Eq)]
pub struct Publish {
    /// Topic Name.
    pub topic: TopicName,
    /// Application Message.
    pub payload: Bytes,
    /// Quality of Service.
    pub qos: QoS,
    /// RETAIN: the server is to keep it for later subscriptions.
    pub retain: bool,
    /// Properties (5.0), if any. Subscription Identifiers are not the caller's (MQTT-3.3.4-6).
    ///
    /// A Topic Alias stands for the topic until the connection ends, or until another topic is published to with it: the
    /// client leaves the topic out of the packet once the server knows it. A message that waits for another connection goes
    /// there with its topic, and without the alias, so its size counts with the topic.
    pub properties: Option<Box<Properties>>,
}

debug_fields!(Publish {
    topic,
    payload: length,
    qos,
    retain,
    properties
});

impl Publish {
    /// A message at QoS 0 without RETAIN and properties.
    pub fn new(topic: TopicName, payload: impl Into<Bytes>) -> Self {
        Self {
            topic,
            payload: payload.into(),
            qos: QoS::AtMostOnce,
            retain: false,
            properties: None,
        }
    }

    /// How many bytes of memory the message counts in the bounds of the outgoing queue
    /// ([`OutgoingLimits::bytes`](crate::OutgoingLimits::bytes)): its topic, its payload, its properties, and
    /// [`MESSAGE_OVERHEAD`](crate::packet::MESSAGE_OVERHEAD) bytes.
    pub fn memory_size(&self) -> usize {
        self.packet(None, false).memory_size()
    }

    pub(crate) fn packet(&self, packet_id: Option<PacketId>, dup: bool) -> PublishRef<'_> {
        PublishRef {
            dup,
            qos: self.qos,
            retain: self.retain,
            topic: self.topic.as_utf8().as_bytes(),
            packet_id,
            properties: self.properties.as_deref(),
            payload_len: self.payload.len(),
        }
    }
}

impl Client {
    /// Accepts a message. It is encoded when the transport asks for bytes, in the order of the calls, and completes with
    /// exactly one [`Event::Completed`](crate::Event::Completed), unless it is [abandoned](Client::abandon).
    ///
    /// A Message Expiry Interval runs from now: the whole seconds until the message is first sent are subtracted from it,
    /// and when it is over before that, the message ends as [`Outcome::Expired`](crate::Outcome::Expired).
    ///
    /// # Errors
    /// Whatever [`PublishError`] lists; nothing has been sent or kept then.
    pub fn publish(&mut self, now: Instant, publish: Publish) -> Result<OpId, PublishError> {
        let op = self.next_op();
        self.publish_as(now, op, publish).map(|()| op)
    }

    /// Accepts a message as the operation `op`.
    pub(super) fn publish_as(
        &mut self,
        now: Instant,
        op: OpId,
        publish: Publish,
    ) -> Result<(), PublishError> {
        if !self.accepts() {
            return Err(PublishError::NotConnected);
        }
        self.check_publish(publish.packet(None, false))?;
        self.expire(now); // what is over takes no room
        let size = publish.memory_size();
        if let Err(full) = self.check_room(size)
            && !self.make_room(size, full)?
        {
            self.stats.dropped += 1;
            self.complete(op, Outcome::Dropped);
            return Ok(());
        }
        let interval = (publish.properties.as_ref()).and_then(|it| it.message_expiry_interval);
        let waiting = Waiting {
            op: Some(op),
            publish,
            resent_as_new: false,
            expiry: interval.map(|interval| Expiry::new(now, interval)),
            key: None,
        };
        if let Some(alias) = waiting
            .publish
            .properties
            .as_ref()
            .and_then(|it| it.topic_alias)
            && let (Some(connection), Phase::Connected) = (&mut self.connection, self.phase)
        {
            let topic = waiting.publish.topic.as_utf8().as_bytes();
            connection.outgoing_aliases.choose(alias, topic);
        }
        self.session.outbound.push(op, waiting);
        Ok(())
    }

    /// The topic that the application has published to with `alias` on this connection: what a PUBLISH with an empty topic
    /// and this alias goes to.
    ///
    /// # Errors
    /// [`PublishError::NotConnected`], [`PublishError::TopicAliasTooHigh`], or [`PublishError::TopicAliasUnknown`].
    pub fn topic_of_alias(&self, alias: TopicAlias) -> Result<TopicName, PublishError> {
        let (Some(connection), Phase::Connected) = (&self.connection, self.phase) else {
            return Err(PublishError::NotConnected);
        };
        let aliases = &connection.outgoing_aliases;
        aliases.check(alias)?;
        (aliases.topic(alias).cloned()).ok_or_else(|| PublishError::TopicAliasUnknown {
            alias: alias.0.get(),
        })
    }

    /// Encodes a QoS 0 message at once, without keeping anything of it: the fast way. `Ok(false)` when it has to wait
    /// its turn behind others, or for the transport; then use [`Client::publish`].
    ///
    /// `publish.topic` must be UTF-8, and `publish.payload_len` the length of `payload`.
    ///
    /// # Errors
    /// As [`Client::publish`].
    pub fn publish_at_once(
        &mut self,
        publish: PublishRef<'_>,
        payload: &[u8],
    ) -> Result<bool, PublishError> {
        let connected = matches!(self.phase, Phase::Connected) && self.leaving.is_none();
        if !connected || publish.qos != QoS::AtMostOnce {
            return Ok(false);
        }
        TopicName::check_bytes(publish.topic)?;
        self.check_publish(publish)?;
        if self.is_isolating() {
            return Ok(false);
        }
        let Some(connection) = &mut self.connection else {
            return Ok(false);
        };
        if connection.transmit.is_full() || !self.session.outbound.nothing_before() {
            return Ok(false);
        }
        if let Some(alias) = publish.properties.and_then(|it| it.topic_alias) {
            connection.outgoing_aliases.choose(alias, publish.topic);
        }
        let version = self.options.protocol;
        connection.send_publish(publish, version, |transmit, publish| {
            transmit.push_copied(publish, payload, version);
        });
        self.stats.sent_qos0 += 1;
        Ok(true)
    }

    /// What is wrong with a message by itself, and by the limits of the server it would go to now.
    fn check_publish(&self, publish: PublishRef<'_>) -> Result<(), PublishError> {
        check_properties(publish.properties, self.options.protocol)?;
        let packet_len = publish.packet_len(self.options.protocol);
        if packet_len > LARGEST_PACKET {
            return Err(PublishError::TooLarge {
                bytes: packet_len,
                limit: LARGEST_PACKET,
                whose: "MQTT",
            });
        }
        match (&self.connection, self.phase) {
            (Some(connection), Phase::Connected) => {
                let limits = &connection.limits;
                if let Some(alias) = publish.properties.and_then(|it| it.topic_alias) {
                    connection.outgoing_aliases.check(alias)?;
                    let limit = limits.maximum_packet_size();
                    if packet_len > limit && packet_len - publish.topic.len() <= limit {
                        let bytes = packet_len;
                        return Err(PublishError::TooLargeWithTopic { bytes, limit });
                    }
                }
                limits.check_publish(publish.qos, publish.retain, packet_len)
            }
            _ => Ok(()),
        }
    }

    pub(super) fn check_room(&self, size: usize) -> Result<(), PublishError> {
        let outbound = &self.session.outbound;
        (self.options.outgoing).check(outbound.len(), outbound.bytes(), size)
    }

    /// Does what the policy says about a queue that is full; tells whether there is room now.
    fn make_room(&mut self, size: usize, full: PublishError) -> Result<bool, PublishError> {
        let limits = self.options.outgoing;
        let fits = |messages, bytes| limits.check(messages, bytes, size).is_ok();
        let dropped = match self.options.outgoing_policy {
            OutgoingPolicy::Refuse => return Err(full),
            OutgoingPolicy::Wait => {
                self.room_wanted = Some(size);
                return Err(full);
            }
            OutgoingPolicy::DropNewest => None,
            OutgoingPolicy::DropOldest => self.session.outbound.drop_oldest(fits),
        };
        let Some(dropped) = dropped else {
            return Ok(false);
        };
        for waiting in dropped {
            self.end_waiting(waiting, Outcome::Dropped);
        }
        Ok(true)
    }
}

impl OutgoingLimits {
    /// Whether a message that counts `size` has room beside so many messages and bytes. One larger than the bound passes
    /// alone.
    fn check(self, messages: usize, bytes: usize, size: usize) -> Result<(), PublishError> {
        if let Some(limit) = self.messages
            && messages >= limit
        {
            let unit = "messages";
            return Err(PublishError::QueueFull { limit, unit });
        }
        if let Some(limit) = self.bytes
            && messages > 0
            && bytes.saturating_add(size) > limit
        {
            let unit = "bytes";
            return Err(PublishError::QueueFull { limit, unit });
        }
        Ok(())
    }
}

fn check_properties(
    properties: Option<&Properties>,
    version: ProtocolVersion,
) -> Result<(), PublishError> {
    let Some(properties) = properties else {
        return Ok(());
    };
    let place = Place::of(PacketType::Publish);
    if !version.is_v5() {
        return Ok(properties.check_absent(place)?);
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
