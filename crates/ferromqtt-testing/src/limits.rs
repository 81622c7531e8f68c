//! What this broker does not do, by its options: told in CONNACK, and held up against what clients send (section 3.2.2.3).

use std::num::NonZeroU32;

use ferromqtt_proto::DecodeError;
use ferromqtt_proto::packet::{Connect, Properties, QoS, ReasonCode, Subscribe};

use crate::options::BrokerOptions;

impl BrokerOptions {
    /// The limits that differ from what the standard assumes, for the answer to `connect`.
    pub(crate) fn announced(&self, connect: &Connect) -> Properties {
        let unavailable = |available: bool| (!available).then_some(false);
        let asked = connect.properties.session_expiry_interval.unwrap_or(0);
        Properties {
            receive_maximum: (self.receive_maximum.get() < u16::MAX)
                .then_some(self.receive_maximum),
            maximum_packet_size: NonZeroU32::new(self.maximum_packet_size)
                .filter(|_| self.limits_packet_size()),
            maximum_qos: (self.maximum_qos < QoS::ExactlyOnce).then_some(self.maximum_qos),
            retain_available: unavailable(self.retain_available),
            topic_alias_maximum: (self.topic_alias_maximum > 0).then_some(self.topic_alias_maximum),
            server_keep_alive: self.server_keep_alive,
            session_expiry_interval: (asked > self.maximum_session_expiry_interval)
                .then_some(self.maximum_session_expiry_interval),
            wildcard_subscription_available: unavailable(self.wildcard_subscription_available),
            shared_subscription_available: unavailable(self.shared_subscription_available),
            subscription_identifier_available: unavailable(self.subscription_identifier_available),
            ..Properties::default()
        }
    }

    /// Why a message, or a will, goes beyond what was announced (MQTT-3.2.2-12, MQTT-3.2.2-13).
    pub(crate) fn message_refusal(&self, qos: QoS, retain: bool) -> Option<DecodeError> {
        let (reason, what) = if qos > self.maximum_qos {
            let what = "client publishes above the Maximum QoS";
            (ReasonCode::QosNotSupported, what)
        } else if retain && !self.retain_available {
            let what = "client publishes with RETAIN, and Retain Available is 0";
            (ReasonCode::RetainNotSupported, what)
        } else {
            return None;
        };
        Some(DecodeError { reason, what })
    }

    /// Refuses what CONNACK said is not available.
    pub(crate) fn check_subscribe(&self, subscribe: &Subscribe) -> Result<(), DecodeError> {
        let any = |test: fn(&str) -> bool| subscribe.filters.iter().any(|(filter, _)| test(filter));
        let identified = !subscribe.properties.subscription_identifiers.is_empty();
        let (reason, what) =
            if !self.shared_subscription_available && any(|it| it.starts_with("$share/")) {
                let what = "client asks for a Shared Subscription, which is not available";
                (ReasonCode::SharedSubscriptionsNotSupported, what)
            } else if !self.wildcard_subscription_available && any(|it| it.contains(['+', '#'])) {
                let what = "client subscribes with a wildcard, which is not available";
                (ReasonCode::WildcardSubscriptionsNotSupported, what)
            } else if !self.subscription_identifier_available && identified {
                let what = "client sets a Subscription Identifier, which is not available";
                (ReasonCode::SubscriptionIdentifiersNotSupported, what)
            } else {
                return Ok(());
            };
        Err(DecodeError { reason, what })
    }
}
