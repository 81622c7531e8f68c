//! What this broker does not do, by its options: told in CONNACK, and held up against what clients send (section 3.2.2.3).

use ferromqtt_proto::packet::{Connect, PacketLimits, Properties, QoS, ReasonCode, Will};
use ferromqtt_proto::{DecodeError, Utf8String};

use crate::options::BrokerOptions;

impl BrokerOptions {
    /// How large packets of a connected client may be.
    pub(crate) const fn packet_limits(&self) -> PacketLimits {
        PacketLimits {
            maximum_packet_size: self.maximum_packet_size.get() as usize,
            maximum_non_publish_size: self.maximum_non_publish_size.get() as usize,
        }
    }

    /// The limits that differ from what the standard assumes, for the answer to `connect`.
    pub(crate) fn announced(&self, connect: &Connect) -> Properties {
        let unavailable = |available: bool| (!available).then_some(false);
        let asked = connect.properties.session_expiry_interval.unwrap_or(0);
        let wants_information = connect.properties.request_response_information == Some(true);
        Properties {
            receive_maximum: (self.receive_maximum.get() < u16::MAX)
                .then_some(self.receive_maximum),
            maximum_packet_size: self.restricted_packet_size(),
            maximum_qos: (self.maximum_qos < QoS::ExactlyOnce).then_some(self.maximum_qos),
            retain_available: unavailable(self.retain_available),
            topic_alias_maximum: (self.topic_alias_maximum > 0).then_some(self.topic_alias_maximum),
            server_keep_alive: self.server_keep_alive,
            response_information: (self.response_information.clone()).filter(|_| wants_information), // MQTT-3.1.2-28
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

    /// Why a will cannot be accepted, if so.
    pub(crate) fn will_refusal(&self, will: &Will) -> Option<ReasonCode> {
        if self.publish_denial(&will.topic).is_some() {
            return Some(ReasonCode::NotAuthorized);
        }
        (self.message_refusal(will.qos, will.retain)).map(|error| error.reason)
    }

    /// Why a Topic Filter, as it came, goes beyond what is available.
    pub(crate) fn filter_refusal(&self, filter: &str) -> Option<DecodeError> {
        let shared = filter.starts_with("$share/");
        let (reason, what) = if shared && !self.shared_subscription_available {
            let what = "client asks for a Shared Subscription, which is not available";
            (ReasonCode::SharedSubscriptionsNotSupported, what)
        } else if filter.contains(['+', '#']) && !self.wildcard_subscription_available {
            let what = "client subscribes with a wildcard, which is not available";
            (ReasonCode::WildcardSubscriptionsNotSupported, what)
        } else {
            return None;
        };
        Some(DecodeError { reason, what })
    }

    /// How a client is told to go to [`BrokerOptions::server_reference`].
    pub(crate) const fn redirection(&self) -> ReasonCode {
        if self.server_moved {
            ReasonCode::ServerMoved
        } else {
            ReasonCode::UseAnotherServer
        }
    }

    /// The Server Reference, beside a Reason Code that speaks of it.
    pub(crate) fn server_reference_with(&self, reason: ReasonCode) -> Option<Utf8String> {
        let elsewhere = [ReasonCode::UseAnotherServer, ReasonCode::ServerMoved];
        (self.server_reference.clone()).filter(|_| elsewhere.contains(&reason))
    }
}
