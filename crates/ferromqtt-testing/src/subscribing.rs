//! SUBSCRIBE and UNSUBSCRIBE.

use std::time::Instant;

use ferromqtt_proto::packet::{
    Packet, Properties, QoS, ReasonCode, RetainHandling, SubAck, Subscribe, SubscriptionOptions,
    UnsubAck, Unsubscribe,
};
use ferromqtt_proto::{DecodeError, TopicFilter, Utf8String};

use crate::broker::Broker;
use crate::connection::ConnectionId;
use crate::message::{Message, Terms};
use crate::session::SessionId;
use crate::subscriptions::Subscription;

impl Broker {
    pub(crate) fn handle_subscribe(
        &mut self,
        now: Instant,
        id: ConnectionId,
        session: SessionId,
        subscribe: Subscribe,
    ) -> Result<(), DecodeError> {
        check(&subscribe)?;
        self.options.check_subscribe(&subscribe)?;
        let identifier = subscribe
            .properties
            .subscription_identifiers
            .first()
            .copied();
        let mut reasons = Vec::with_capacity(subscribe.filters.len());
        let mut with_retained = Vec::new();
        for (filter, mut options) in subscribe.filters {
            options.qos = options.qos.min(self.options.maximum_qos);
            let subscription = Subscription {
                session,
                options,
                identifier,
            };
            match self.subscribe(&filter, subscription) {
                Ok((filter, replaced)) => {
                    reasons.push(granted(options.qos));
                    if wants_retained(&filter, options, replaced) {
                        with_retained.push((filter, subscription));
                    }
                }
                Err(reason) => reasons.push(reason),
            }
        }
        let suback = SubAck {
            packet_id: subscribe.packet_id,
            properties: Properties::default(),
            reasons,
        };
        self.send(id, &Packet::SubAck(Box::new(suback)));
        for (filter, subscription) in with_retained {
            self.send_retained(now, &filter, subscription);
        }
        Ok(())
    }

    /// Adds one subscription; tells whether it replaced one.
    fn subscribe(
        &mut self,
        filter: &Utf8String,
        subscription: Subscription,
    ) -> Result<(TopicFilter, bool), ReasonCode> {
        let filter =
            TopicFilter::new(filter.as_str()).map_err(|_| ReasonCode::TopicFilterInvalid)?;
        if self.options.denies_subscribe(&filter) {
            return Err(ReasonCode::NotAuthorized);
        }
        let session = self
            .sessions
            .get_mut(subscription.session)
            .ok_or(ReasonCode::UnspecifiedError)?;
        session.filters.insert(filter.clone());
        let replaced = if filter.is_shared() {
            self.shared.insert(&filter, subscription)
        } else {
            self.subscriptions.insert(&filter, subscription)
        };
        Ok((filter, replaced))
    }

    /// Sends the retained messages that a new subscription asks for, with RETAIN set (MQTT-3.3.1-8).
    fn send_retained(&mut self, now: Instant, filter: &TopicFilter, subscription: Subscription) {
        let messages: Vec<Message> = self
            .retained
            .matching(filter)
            .filter(|message| !message.expired(now))
            .cloned()
            .collect();
        for message in messages {
            let terms = Terms {
                qos: message.qos.min(subscription.options.qos),
                retain: true,
                subscription_identifiers: subscription.identifier.into_iter().collect(),
            };
            self.deliver(now, subscription.session, &message, terms);
        }
    }

    /// Messages that were accepted for a subscription before it ended still go out (MQTT-3.10.4-3 demands it of those in flight).
    pub(crate) fn handle_unsubscribe(
        &mut self,
        id: ConnectionId,
        session: SessionId,
        unsubscribe: Unsubscribe,
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
        self.send(id, &Packet::UnsubAck(Box::new(unsuback)));
    }

    fn unsubscribe(&mut self, filter: &Utf8String, session: SessionId) -> ReasonCode {
        let Ok(filter) = TopicFilter::new(filter.as_str()) else {
            return ReasonCode::TopicFilterInvalid;
        };
        if let Some(session) = self.sessions.get_mut(session) {
            session.filters.remove(&filter);
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

/// What no SUBSCRIBE may ask for, whatever the broker can do.
fn check(subscribe: &Subscribe) -> Result<(), DecodeError> {
    let mut filters = subscribe.filters.iter();
    if filters.any(|(filter, options)| options.no_local && filter.starts_with("$share/")) {
        return Err(DecodeError::protocol(
            "client asks for No Local on a Shared Subscription",
        ));
    }
    Ok(())
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
