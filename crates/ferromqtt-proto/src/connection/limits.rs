//! What the server allows on this connection (section 3.2.2.3), and what is free of its Receive Maximum (4.9).

use crate::codec::MAX_REMAINING_LENGTH;
use crate::error::{InvalidPublish, InvalidSubscribe};
use crate::options::Options;
use crate::packet::{Properties, QoS, ReasonCode};
use crate::profile::ServerProfile;

/// The largest packet that MQTT can express: a five-byte fixed header and the largest Remaining Length.
pub(crate) const LARGEST_PACKET: usize = 5 + MAX_REMAINING_LENGTH;

/// How many publishes may be unacknowledged where neither the server nor the application says it.
const IN_FLIGHT_BEFORE_V5: u16 = 20;

/// What the server allows on a connection (section 3.2.2.3): what its CONNACK says, and for what it does not say the default of
/// the standard, or of the [profile](crate::Options::profile). Before 5.0 all are defaults.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ServerLimits {
    /// Receive Maximum: how many QoS 1 and 2 publishes may be unacknowledged at once. Default: 65,535.
    pub receive_maximum: u16,
    /// Maximum QoS: the highest QoS to publish at. Default: 2.
    pub max_qos: QoS,
    /// Whether retained messages are supported. Default: they are.
    pub retain_available: bool,
    /// Maximum Packet Size in bytes. Default: 268,435,460, the largest that MQTT can express.
    pub max_packet_size: u32,
    /// Topic Alias Maximum: how many Topic Aliases the client may use. Default: none.
    pub topic_alias_maximum: u16,
    /// Whether filters may have wildcards. Default: they may.
    pub wildcard_subscription_available: bool,
    /// Whether subscriptions may be shared. Default: they may. Before 5.0 nothing tells.
    pub shared_subscription_available: bool,
    /// Whether subscriptions may have identifiers. Default: they may; before 5.0 there are none.
    pub subscription_identifiers_available: bool,
}

impl ServerLimits {
    pub(crate) fn new(connack: &Properties, options: &Options) -> Self {
        let protocol = options.protocol;
        let row = options.profile.map(ServerProfile::row);
        #[expect(clippy::cast_possible_truncation, reason = "it has 29 bits")]
        let largest = LARGEST_PACKET as u32;
        let size = connack.maximum_packet_size.map(u32::from);
        let of_profile = row.and_then(|row| u32::try_from(row.packet_bytes?.value).ok());
        let largest = of_profile.map_or(largest, |size| size.min(largest));
        let identifiers = connack.subscription_identifier_available.unwrap_or(true);
        Self {
            receive_maximum: connack.receive_maximum.map_or(u16::MAX, u16::from),
            max_qos: row
                .and_then(|row| row.maximum_qos)
                .map_or(QoS::ExactlyOnce, |it| it.value)
                .min(connack.maximum_qos.unwrap_or(QoS::ExactlyOnce)),
            retain_available: connack.retain_available.unwrap_or(true)
                && row.is_none_or(|row| row.no_retain.is_none()),
            max_packet_size: size.map_or(largest, |size| size.min(largest)),
            topic_alias_maximum: connack.topic_alias_maximum.unwrap_or(0),
            wildcard_subscription_available: (connack.wildcard_subscription_available)
                .unwrap_or(true),
            shared_subscription_available: connack.shared_subscription_available.unwrap_or(true)
                && row.is_none_or(|row| row.no_shared_subscriptions.is_none()),
            subscription_identifiers_available: protocol.is_v5() && identifiers,
        }
    }
}

#[derive(Debug)]
pub(crate) struct Limits {
    allowed: ServerLimits,
    /// Slots for unacknowledged QoS 1 and 2 publishes, and how many are taken.
    slots: u32,
    taken: u32,
}

impl Limits {
    pub(crate) fn new(connack: &Properties, options: &Options) -> Self {
        let allowed = ServerLimits::new(connack, options);
        let of_profile = options.profile.and_then(|profile| profile.row().in_flight);
        let own = match (options.max_in_flight, of_profile) {
            (Some(limit), _) => limit.get(),
            (None, Some(limit)) => limit.value,
            (None, None) if options.protocol.is_v5() => u16::MAX,
            (None, None) => IN_FLIGHT_BEFORE_V5,
        };
        Self {
            allowed,
            slots: u32::from(allowed.receive_maximum.min(own)),
            taken: 0,
        }
    }

    pub(crate) const fn has_slot(&self) -> bool {
        self.taken < self.slots
    }

    pub(crate) const fn take_slot(&mut self) {
        self.taken += 1;
    }

    pub(crate) const fn free_slot(&mut self) {
        self.taken = self.taken.saturating_sub(1);
    }

    /// Whether the server accepts a PUBLISH like this (MQTT-3.2.2-11, MQTT-3.2.2-14, MQTT-3.2.2-15). A profile is asked first,
    /// whose limits are among these, so what is broken here is the server's.
    pub(crate) fn check_publish(
        &self,
        qos: QoS,
        retain: bool,
        packet_len: usize,
    ) -> Result<(), InvalidPublish> {
        let whose = "the server";
        if packet_len > self.maximum_packet_size() {
            return Err(InvalidPublish::TooLarge {
                bytes: packet_len,
                limit: self.maximum_packet_size(),
                whose,
            });
        }
        if qos > self.allowed.max_qos {
            let maximum = self.allowed.max_qos.value();
            return Err(InvalidPublish::QosNotSupported { maximum, whose });
        }
        if retain && !self.allowed.retain_available {
            return Err(InvalidPublish::RetainNotSupported { whose });
        }
        Ok(())
    }

    /// Whether the server supports a subscription to `filter` (sections 3.2.2.3.11 to 3.2.2.3.13).
    pub(crate) fn check_filter(&self, filter: &str) -> Result<(), InvalidSubscribe> {
        if !self.allowed.shared_subscription_available && filter.starts_with("$share/") {
            return Err(InvalidSubscribe::NotSupported(
                ReasonCode::SharedSubscriptionsNotSupported,
            ));
        }
        if !self.allowed.wildcard_subscription_available && filter.contains(['+', '#']) {
            return Err(InvalidSubscribe::NotSupported(
                ReasonCode::WildcardSubscriptionsNotSupported,
            ));
        }
        Ok(())
    }

    pub(crate) const fn check_identifier(&self, given: bool) -> Result<(), InvalidSubscribe> {
        if given && !self.allowed.subscription_identifiers_available {
            return Err(InvalidSubscribe::NotSupported(
                ReasonCode::SubscriptionIdentifiersNotSupported,
            ));
        }
        Ok(())
    }

    pub(crate) const fn check_size(&self, bytes: usize) -> Result<(), InvalidSubscribe> {
        if bytes > self.maximum_packet_size() {
            return Err(InvalidSubscribe::TooLarge {
                bytes,
                limit: self.maximum_packet_size(),
            });
        }
        Ok(())
    }

    pub(crate) const fn maximum_packet_size(&self) -> usize {
        self.allowed.max_packet_size as usize
    }

    /// Whether a packet of `bytes` may be sent at all.
    pub(crate) const fn fits(&self, bytes: usize) -> bool {
        bytes <= self.maximum_packet_size()
    }
}
