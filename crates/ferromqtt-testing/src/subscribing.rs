//! SUBSCRIBE and UNSUBSCRIBE.

use std::collections::HashMap;
use std::time::Instant;

use ferromqtt_proto::packet::{
    Packet, Properties, ProtocolVersion, QoS, ReasonCode, RetainHandling, SubAck, SubscribePacket,
    SubscriptionOptions, UnsubAck, UnsubscribePacket,
};
use ferromqtt_proto::{DecodeError, TopicFilter};

use crate::broker::Broker;
use crate::connection::ConnectionId;
use crate::memory;
use crate::message::{DeliveryTerms, Routed};
use crate::session::SessionId;
use crate::subscriptions::SessionSubscription;

/// How many retained messages one SUBSCRIBE may ask for in vain: there is no room for them, or they are too large for the client.
/// Beyond it the Topic Filters that are left get none, since each may find all that are retained once more, only to drop them.
/// Those that are sent or kept have bounds of their own.
const MOST_IN_VAIN: usize = 10_000;

impl Broker {
    pub(crate) fn handle_subscribe(
        &mut self,
        now: Instant,
        id: ConnectionId,
        session: SessionId,
        subscribe: SubscribePacket,
    ) -> Result<(), DecodeError> {
        self.check_subscribe(id, &subscribe)?;
        let identifier = (subscribe.properties.subscription_identifiers.first()).copied();
        let maximum_qos = self.options.maximum_qos;
        let subscriptions = (subscribe.filters.iter()).map(|(filter, mut options)| {
            options.qos = options.qos.min(maximum_qos);
            let subscription = SessionSubscription {
                session,
                options,
                identifier,
            };
            (filter, subscription)
        });
        // A byte for each filter, which may have three. Nothing else is held of them together but what each new subscription
        // takes a multiple of anyway.
        let mut reasons = Vec::with_capacity(subscribe.filters.len());
        // Where the filters that are to get retained messages come last: one that comes again gets them once.
        let mut want_retained = HashMap::new();
        for (at, (filter, subscription)) in subscriptions.clone().enumerate() {
            let options = subscription.options;
            let granted_filter = self.granted_filter(filter);
            let wants = match granted_filter.and_then(|it| self.with_room(session, it)) {
                Ok(filter) => {
                    let replaced = self.add_subscription(&filter, subscription);
                    reasons.push(granted(options.qos));
                    wants_retained(&filter, options, replaced)
                }
                Err(ReasonCode::QuotaExceeded) if self.speaks_v31(id) => {
                    return Err(DecodeError {
                        reason: ReasonCode::QuotaExceeded,
                        what: "client of 3.1 asks for more subscriptions than it can have",
                    });
                }
                Err(reason) => {
                    reasons.push(reason);
                    false
                }
            };
            if wants && self.retained.len() > 0 {
                want_retained.insert(filter, at);
            }
        }
        let suback = SubAck {
            packet_id: subscribe.packet_id,
            properties: Properties::default(),
            reasons,
        };
        self.send(now, id, &Packet::SubAck(Box::new(suback)));
        if want_retained.is_empty() {
            return Ok(());
        }
        let mut in_vain = 0;
        for (at, (filter, subscription)) in subscriptions.enumerate() {
            if subscription.options.qos == QoS::AtMostOnce && !self.takes_output(id) {
                continue; // they would only be dropped, and the connection ends for it
            }
            if in_vain <= MOST_IN_VAIN
                && want_retained.get(filter) == Some(&at)
                && let Ok(filter) = TopicFilter::new(filter)
            {
                in_vain += self.send_retained(now, &filter, subscription);
            }
        }
        Ok(())
    }

    /// Whether SUBACK cannot refuse.
    fn speaks_v31(&self, id: ConnectionId) -> bool {
        let connected = (self.connections.get(&id)).and_then(|it| it.connected());
        connected.is_some_and(|it| it.version == ProtocolVersion::V31)
    }

    /// What SUBACK has no answer for: the connection is to be closed.
    fn check_subscribe(
        &self,
        id: ConnectionId,
        subscribe: &SubscribePacket,
    ) -> Result<(), DecodeError> {
        let filters = || subscribe.filters.iter();
        if filters().any(|(filter, options)| options.no_local && filter.starts_with("$share/")) {
            return Err(DecodeError::protocol(
                "client asks for No Local on a Shared Subscription",
            ));
        }
        if !subscribe.properties.subscription_identifiers.is_empty()
            && !self.options.subscription_identifier_available
        {
            return Err(DecodeError {
                reason: ReasonCode::SubscriptionIdentifiersNotSupported,
                what: "client sets a Subscription Identifier, which is not available",
            });
        }
        let connected = (self.connections.get(&id)).and_then(|it| it.connected());
        match connected.map(|it| it.version) {
            // It was told what is not available.
            Some(ProtocolVersion::V5) => {
                let mut refused = filters().filter_map(|(it, _)| self.options.filter_refusal(it));
                refused.next().map_or(Ok(()), Err)
            }
            // Its SUBACK cannot refuse.
            Some(ProtocolVersion::V31) => {
                let mut refused = filters().filter_map(|(it, _)| self.granted_filter(it).err());
                let what = "client of 3.1 asks for a Topic Filter that it cannot have";
                (refused.next()).map_or(Ok(()), |reason| Err(DecodeError { reason, what }))
            }
            _ => Ok(()),
        }
    }

    /// The filter, or why it is not granted.
    fn granted_filter(&self, filter: &str) -> Result<TopicFilter, ReasonCode> {
        if let Some(error) = self.options.filter_refusal(filter) {
            return Err(error.reason);
        }
        let filter = TopicFilter::new(filter).map_err(|_| ReasonCode::TopicFilterInvalid)?;
        match self.options.subscribe_denial(&filter) {
            Some(reason) => Err(reason),
            None => Ok(filter),
        }
    }

    /// The filter, unless the session has as many subscriptions as it may.
    fn with_room(
        &mut self,
        session: SessionId,
        filter: TopicFilter,
    ) -> Result<TopicFilter, ReasonCode> {
        let Some(session) = self.sessions.get(session) else {
            return Ok(filter);
        };
        let more = memory::subscription_size(&filter);
        let has_room = session.filters().len() < self.options.maximum_subscriptions
            && (self.session_memory).has_room(more, self.options.maximum_session_bytes);
        let needs_room = || !session.filters().contains(&filter); // otherwise it replaces another
        if !has_room && needs_room() {
            self.refused += 1;
            return Err(ReasonCode::QuotaExceeded);
        }
        Ok(filter)
    }

    /// Adds one subscription; tells whether it replaced one.
    fn add_subscription(
        &mut self,
        filter: &TopicFilter,
        subscription: SessionSubscription,
    ) -> bool {
        if let Some(session) = self.sessions.get_mut(subscription.session) {
            session.add_filter(filter);
        }
        if filter.is_shared() {
            self.shared.insert(filter, subscription)
        } else {
            self.subscriptions.insert(filter, subscription)
        }
    }

    /// Sends the retained messages that a new subscription asks for, with RETAIN set (MQTT-3.3.1-8). Returns how many were given
    /// up.
    fn send_retained(
        &mut self,
        now: Instant,
        filter: &TopicFilter,
        subscription: SessionSubscription,
    ) -> usize {
        let mut given_up = 0;
        for message in self.retained.matching(now, filter) {
            let terms = DeliveryTerms {
                qos: message.qos.min(subscription.options.qos),
                retain: true,
                subscription_identifiers: subscription.identifier.into_iter().collect(),
                shared: None,
            };
            let mut routed = Routed::kept(&message);
            if !self.deliver(now, subscription.session, &mut routed, terms) {
                given_up += 1;
            }
        }
        given_up
    }

    /// Messages that were accepted for a subscription before it ended still go out (MQTT-3.10.4-3 demands it of those in flight).
    pub(crate) fn handle_unsubscribe(
        &mut self,
        now: Instant,
        id: ConnectionId,
        session: SessionId,
        unsubscribe: UnsubscribePacket,
    ) {
        let reasons = unsubscribe
            .filters
            .iter()
            .map(|filter| self.unsubscribe(filter, session))
            .collect();
        let unsuback = UnsubAck {
            packet_id: unsubscribe.packet_id,
            properties: Properties::default(),
            reasons,
        };
        self.send(now, id, &Packet::UnsubAck(Box::new(unsuback)));
    }

    fn unsubscribe(&mut self, filter: &str, session: SessionId) -> ReasonCode {
        let Ok(filter) = TopicFilter::new(filter) else {
            return ReasonCode::TopicFilterInvalid;
        };
        if let Some(session) = self.sessions.get_mut(session) {
            session.remove_filter(&filter);
        }
        if self.remove_subscription(&filter, session) {
            ReasonCode::Success
        } else {
            ReasonCode::NoSubscriptionExisted
        }
    }

    /// Removes one subscription, shared or not, if there is one.
    pub(crate) fn remove_subscription(&mut self, filter: &TopicFilter, session: SessionId) -> bool {
        if filter.is_shared() {
            self.shared.remove(filter, session)
        } else {
            self.subscriptions.remove(filter, session)
        }
    }
}

const fn granted(qos: QoS) -> ReasonCode {
    match qos {
        QoS::AtMostOnce => ReasonCode::Success,
        QoS::AtLeastOnce => ReasonCode::GrantedQos1,
        QoS::ExactlyOnce => ReasonCode::GrantedQos2,
    }
}

/// Whether retained messages are to be sent. A Shared Subscription never gets them (section 3.8.3.1).
fn wants_retained(filter: &TopicFilter, options: SubscriptionOptions, replaced: bool) -> bool {
    match options.retain_handling {
        _ if filter.is_shared() => false,
        RetainHandling::OnSubscribe => true,
        RetainHandling::IfNew => !replaced,
        RetainHandling::Never => false,
    }
}
