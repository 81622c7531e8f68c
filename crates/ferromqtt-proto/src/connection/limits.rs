//! What the server allows on this connection (section 3.2.2.3), and what is free of its Receive Maximum (4.9).

use crate::codec::MAX_REMAINING_LENGTH;
use crate::error::{InvalidPublish, InvalidSubscribe};
use crate::options::Options;
use crate::packet::{Properties, QoS, ReasonCode};

/// The largest packet that MQTT can express: a five-byte fixed header and the largest Remaining Length.
pub(crate) const LARGEST_PACKET: usize = 5 + MAX_REMAINING_LENGTH;

/// How many publishes may be unacknowledged where neither the server nor the application says it.
const IN_FLIGHT_BEFORE_V5: u16 = 20;

#[derive(Debug)]
pub(crate) struct Limits {
    maximum_packet_size: usize,
    maximum_qos: QoS,
    retain_available: bool,
    wildcards: bool,
    shared: bool,
    subscription_identifiers: bool,
    /// Slots for unacknowledged QoS 1 and 2 publishes, and how many are taken.
    slots: u32,
    taken: u32,
}

impl Limits {
    pub(crate) fn new(connack: &Properties, options: &Options) -> Self {
        let receive_maximum = connack
            .receive_maximum
            .map_or(u16::MAX, |limit| limit.get());
        let own = match options.max_in_flight {
            Some(limit) => limit.get(),
            None if options.protocol.is_v5() => u16::MAX,
            None => IN_FLIGHT_BEFORE_V5,
        };
        Self {
            maximum_packet_size: connack
                .maximum_packet_size
                .map_or(LARGEST_PACKET, |limit| limit.get() as usize),
            maximum_qos: connack.maximum_qos.unwrap_or(QoS::ExactlyOnce),
            retain_available: connack.retain_available.unwrap_or(true),
            wildcards: connack.wildcard_subscription_available.unwrap_or(true),
            shared: connack.shared_subscription_available.unwrap_or(true),
            subscription_identifiers: connack.subscription_identifier_available.unwrap_or(true),
            slots: u32::from(receive_maximum.min(own)),
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

    /// Whether the server accepts a PUBLISH like this (MQTT-3.2.2-11, MQTT-3.2.2-14, MQTT-3.2.2-15).
    pub(crate) fn check_publish(
        &self,
        qos: QoS,
        retain: bool,
        packet_len: usize,
    ) -> Result<(), InvalidPublish> {
        if packet_len > self.maximum_packet_size {
            return Err(InvalidPublish::TooLarge {
                bytes: packet_len,
                limit: self.maximum_packet_size,
                whose: "the server",
            });
        }
        if qos > self.maximum_qos {
            return Err(InvalidPublish::QosNotSupported {
                maximum: self.maximum_qos.value(),
            });
        }
        if retain && !self.retain_available {
            return Err(InvalidPublish::RetainNotSupported);
        }
        Ok(())
    }

    /// Whether the server supports a subscription to `filter` (sections 3.2.2.3.11 to 3.2.2.3.13).
    pub(crate) fn check_filter(&self, filter: &str) -> Result<(), InvalidSubscribe> {
        if !self.shared && filter.starts_with("$share/") {
            return Err(InvalidSubscribe::NotSupported(
                ReasonCode::SharedSubscriptionsNotSupported,
            ));
        }
        if !self.wildcards && filter.contains(['+', '#']) {
            return Err(InvalidSubscribe::NotSupported(
                ReasonCode::WildcardSubscriptionsNotSupported,
            ));
        }
        Ok(())
    }

    pub(crate) const fn check_identifier(&self, given: bool) -> Result<(), InvalidSubscribe> {
        if given && !self.subscription_identifiers {
            return Err(InvalidSubscribe::NotSupported(
                ReasonCode::SubscriptionIdentifiersNotSupported,
            ));
        }
        Ok(())
    }

    pub(crate) const fn check_size(&self, bytes: usize) -> Result<(), InvalidSubscribe> {
        if bytes > self.maximum_packet_size {
            return Err(InvalidSubscribe::TooLarge {
                bytes,
                limit: self.maximum_packet_size,
            });
        }
        Ok(())
    }

    pub(crate) const fn maximum_packet_size(&self) -> usize {
        self.maximum_packet_size
    }

    /// Whether a packet of `bytes` may be sent at all.
    pub(crate) const fn fits(&self, bytes: usize) -> bool {
        bytes <= self.maximum_packet_size
    }
}
