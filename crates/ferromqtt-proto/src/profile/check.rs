//! Messages, subscriptions and options that are compared with a profile: before anything is sent.

use super::{ProfileConflict, ProfileRow, ServerProfile, TopicLimit};
use crate::error::{InvalidOptions, InvalidPublish, InvalidSubscribe};
use crate::options::Options;
use crate::packet::{PublishRef, ReasonCode, SubscriptionOptions, Will};
use crate::topic::TopicFilter;

impl ServerProfile {
    /// Whether the server takes a PUBLISH like this, of so many bytes.
    #[cold] // most clients have no profile, and need not have the packet in memory for this
    #[inline(never)]
    pub(crate) fn check_publish(
        self,
        publish: PublishRef<'_>,
        packet_len: usize,
    ) -> Result<(), InvalidPublish> {
        let row = self.row();
        let whose = row.shown;
        if let Some(limit) = row.packet_bytes.map(|it| it.value)
            && packet_len > limit
        {
            let bytes = packet_len;
            return Err(InvalidPublish::TooLarge {
                bytes,
                limit,
                whose,
            });
        }
        if let Some(limit) = row.payload_bytes.map(|it| it.value)
            && publish.payload_len > limit
        {
            let bytes = publish.payload_len;
            return Err(InvalidPublish::PayloadTooLarge {
                bytes,
                limit,
                whose,
            });
        }
        if let Some(maximum) = row.maximum_qos.map(|it| it.value)
            && publish.qos > maximum
        {
            let maximum = maximum.value();
            return Err(InvalidPublish::QosNotSupported { maximum, whose });
        }
        if publish.retain && row.no_retain.is_some() {
            return Err(InvalidPublish::RetainNotSupported { whose });
        }
        Ok(row.check_topic(publish.topic)?)
    }

    /// Whether the server takes a subscription to a filter with these options.
    pub(crate) fn check_subscription(
        self,
        filter: &TopicFilter,
        options: SubscriptionOptions,
    ) -> Result<(), InvalidSubscribe> {
        let row = self.row();
        let whose = row.shown;
        if row.no_shared_subscriptions.is_some() && filter.is_shared() {
            let reason = ReasonCode::SharedSubscriptionsNotSupported;
            return Err(InvalidSubscribe::NotOffered { reason, whose });
        }
        if let Some(maximum) = row.maximum_subscribe_qos.map(|it| it.value)
            && options.qos > maximum
        {
            let maximum = maximum.value();
            return Err(InvalidSubscribe::QosNotSupported { maximum, whose });
        }
        Ok(row.check_topic(filter.as_bytes())?)
    }

    /// How many filters one SUBSCRIBE may have.
    pub(crate) fn filters_per_subscribe(self) -> Option<usize> {
        self.row().filters_per_subscribe.map(|it| it.value)
    }

    /// Whether the options go with the server.
    pub(crate) fn check_options(self, options: &Options) -> Result<(), ProfileConflict> {
        let row = self.row();
        let whose = row.shown;
        let version = options.protocol;
        if !self.speaks(version) {
            return Err(ProfileConflict::Version {
                profile: self,
                version,
                whose,
            });
        }
        let identifier = &options.client_identifier;
        if row.needs_identifier.is_some() && identifier.is_empty() {
            return Err(ProfileConflict::IdentifierNeeded { whose });
        }
        if let Some(limit) = row.identifier_bytes.map(|it| it.value)
            && identifier.len() > limit
        {
            let bytes = identifier.len();
            return Err(ProfileConflict::IdentifierTooLong {
                bytes,
                limit,
                whose,
            });
        }
        if let Some(bounds) = row.keep_alive.map(|it| it.value)
            && !(1..=bounds.most).contains(&options.keep_alive)
        {
            let most = bounds.most;
            return Err(ProfileConflict::KeepAlive { most, whose });
        }
        match &options.will {
            Some(will) => self.check_will(will, options),
            None => Ok(()),
        }
    }

    /// The will is a message like any other.
    fn check_will(self, will: &Will, options: &Options) -> Result<(), ProfileConflict> {
        let publish = PublishRef {
            dup: false,
            qos: will.qos,
            retain: will.retain,
            topic: will.topic.as_bytes(),
            packet_id: None,
            properties: None,
            payload_len: will.payload.len(),
        };
        let packet_len = publish.packet_len(options.protocol);
        self.check_publish(publish, packet_len)
            .map_err(|error| ProfileConflict::Will(Box::new(error)))
    }
}

impl ProfileRow {
    /// Whether the server takes a topic or filter.
    fn check_topic(&self, topic: &[u8]) -> Result<(), TopicLimit> {
        let whose = self.shown;
        if self.topic_bytes.is_some() || self.topic_levels.is_some() {
            let counted = self.counted(topic);
            if let Some(limit) = self.topic_bytes.map(|it| it.value)
                && counted.len() > limit
            {
                let bytes = counted.len();
                return Err(TopicLimit::TooLong {
                    bytes,
                    limit,
                    whose,
                });
            }
            if let Some(limit) = self.topic_levels.map(|it| it.value) {
                let levels = 1 + counted.iter().filter(|&&byte| byte == b'/').count();
                if levels > limit {
                    return Err(TopicLimit::TooManyLevels {
                        levels,
                        limit,
                        whose,
                    });
                }
            }
        }
        if let Some(refused) = self.refused_characters.map(|it| it.value)
            && let Some(&byte) = topic.iter().find(|byte| refused.as_bytes().contains(byte))
        {
            let character = char::from(byte); // all of them are ASCII
            return Err(TopicLimit::Character { character, whose });
        }
        Ok(())
    }

    /// The topic without the levels that do not count.
    fn counted<'a>(&self, topic: &'a [u8]) -> &'a [u8] {
        let uncounted = self.uncounted.iter().map(|it| it.value);
        let Some(uncounted) = uncounted
            .into_iter()
            .find(|it| topic.starts_with(it.prefix.as_bytes()))
        else {
            return topic;
        };
        let mut slashes = topic.iter().enumerate().filter(|&(_, &byte)| byte == b'/');
        match slashes.nth(uncounted.levels - 1) {
            Some((at, _)) => &topic[at + 1..],
            None => topic,
        }
    }
}

impl From<TopicLimit> for InvalidPublish {
    fn from(limit: TopicLimit) -> Self {
        Self::TopicLimit(limit)
    }
}

impl From<TopicLimit> for InvalidSubscribe {
    fn from(limit: TopicLimit) -> Self {
        Self::FilterLimit(limit)
    }
}

impl From<ProfileConflict> for InvalidOptions {
    fn from(conflict: ProfileConflict) -> Self {
        Self::Profile(Box::new(conflict))
    }
}
