//! Subscribing and unsubscribing: what the application asks for, and what the server answers.

use std::collections::HashSet;
use std::time::Instant;

use super::filter_request::Kind;
use super::filter_requests::FilterRequest;
use super::{Client, ClientPhase};
use crate::error::{DecodeError, InvalidSubscribe};
use crate::event::{Event, OpId, Outcome};
use crate::filter_refusal::FilterRefusal;
use crate::packet::{
    self, PacketType, Properties, PropertyPlace, RetainHandling, SubscriptionOptions,
};
use crate::property_error::{PropertyError, PropertyProblem};
use crate::session::{LeftMessage, QueueId, Subscription};
use crate::topic::TopicFilter;

/// A subscription to one or more filters.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Subscribe {
    /// The filters with their options: at least one.
    pub filters: Vec<(TopicFilter, SubscriptionOptions)>,
    /// SUBSCRIBE properties (5.0).
    pub properties: Properties,
    /// Where the messages go.
    pub queue: QueueId,
}

/// The end of one or more subscriptions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unsubscribe {
    /// The filters: at least one.
    pub filters: Vec<TopicFilter>,
    /// UNSUBSCRIBE properties (5.0).
    pub properties: Properties,
}

impl Client {
    /// Accepts a SUBSCRIBE. It is sent at once when connected, also past publishes that wait for the server's window
    /// (MQTT-3.3.4-8). Completes as [`Outcome::Subscribed`], with failures of single filters among its Reason Codes. Where the
    /// server takes fewer filters in a packet ([`Options::profile`](crate::Options::profile), Maximum Packet Size), it is sent
    /// as several, and completes when all are answered.
    ///
    /// Queues may share a filter, for which the server has one subscription: with the highest QoS that one of them asked
    /// for, with No Local only if all want it, and with Retain As Published if one does. Each of them gets every message. Of a
    /// Shared Subscription (`$share/name/filter`, section 4.8.2) each message goes to one of them: the one served least
    /// recently among those that are not full, or among all if all are. A queue that gets the same message by another filter
    /// counts as that one. On 5.0 a subscription for a queue
    /// of its own gets a Subscription Identifier where it has none and the server supports them, so that overlapping
    /// subscriptions do not bring a queue the same message twice.
    ///
    /// The queue gets at once what is [held](crate::Options::claim_within) for one of the filters, before SUBACK: it is the
    /// session that brought those messages, not this subscription.
    ///
    /// # Errors
    /// Whatever [`InvalidSubscribe`] lists; nothing has been sent then.
    pub fn subscribe(
        &mut self,
        _now: Instant,
        subscribe: Subscribe,
    ) -> Result<OpId, InvalidSubscribe> {
        self.check_terms(&subscribe)?;
        let (queue, filters) = (subscribe.queue, subscribe.filters.clone());
        let op = self.accept(Kind::Subscribe(subscribe))?;
        self.claim(queue, &filters);
        Ok(op)
    }

    /// Whether [`subscribe`](Self::subscribe) takes this now, if there are Packet Identifiers for it.
    ///
    /// # Errors
    /// What `subscribe` would refuse it for.
    pub fn check_subscribe(&self, subscribe: Subscribe) -> Result<(), InvalidSubscribe> {
        self.check_terms(&subscribe)?;
        self.check_limits(&Kind::Subscribe(subscribe))
    }

    /// Whether a SUBSCRIBE is one that any server may get now.
    fn check_terms(&self, subscribe: &Subscribe) -> Result<(), InvalidSubscribe> {
        let place = PropertyPlace::of(PacketType::Subscribe);
        self.check_version(place, &subscribe.properties, &subscribe.filters)?;
        let mut filters = subscribe.filters.iter();
        if filters.any(|(filter, options)| options.no_local && filter.is_shared()) {
            return Err(InvalidSubscribe::NoLocalShared);
        }
        self.check_request(subscribe.filters.len(), &subscribe.properties, place)?;
        if !self.session.inbox.is_open(subscribe.queue) {
            return Err(InvalidSubscribe::NoQueue);
        }
        Ok(())
    }

    /// Accepts an UNSUBSCRIBE, as [`Client::subscribe`] does, and sends it as several packets where that would.
    /// Completes as [`Outcome::Unsubscribed`]. While all Packet Identifiers are in use it waits for some. It ends the
    /// subscription to a filter for all queues that share it, and goes on for those when the server refuses. What is [held](crate::Options::claim_within) for the filter, and
    /// what a server still sends for it, is for the default queue at once.
    ///
    /// # Errors
    /// Whatever [`InvalidSubscribe`] lists; nothing has been sent then.
    pub fn unsubscribe(
        &mut self,
        _now: Instant,
        unsubscribe: Unsubscribe,
    ) -> Result<OpId, InvalidSubscribe> {
        let place = PropertyPlace::of(PacketType::Unsubscribe);
        self.check_version(place, &unsubscribe.properties, &[])?;
        self.check_request(unsubscribe.filters.len(), &unsubscribe.properties, place)?;
        let filters = unsubscribe.filters.clone();
        let op = self.accept(Kind::Unsubscribe(unsubscribe))?;
        self.give_up_claims(&filters);
        Ok(op)
    }

    /// Closes a queue: its messages are dropped, and those that nobody has acknowledged yet are acknowledged; but those of a
    /// Shared Subscription that other queues have too go to one of these. How many of
    /// those the application was to acknowledge ([`Acknowledge::ByApplication`](crate::Acknowledge::ByApplication)), and
    /// never took, is reported as [`Event::Discarded`]. A SUBSCRIBE for it that has not been sent ends as [`Outcome::Dropped`].
    /// Returns the filters that no other queue needs, which the caller should unsubscribe.
    pub fn close_queue(&mut self, queue: QueueId) -> Vec<TopicFilter> {
        if queue == QueueId::DEFAULT {
            return Vec::new();
        }
        let gone = self.session.subscriptions.remove_queue(queue);
        let heirs = self.session.subscriptions.heirs_of(&gone);
        let mut discarded = 0;
        for left in self.session.inbox.close(queue) {
            let Err(LeftMessage { message, hold, .. }) = self.pass_on(&heirs, left) else {
                continue;
            };
            discarded += u64::from(message.delivery.is_some());
            for let_go in message.delivery.into_iter().chain(hold) {
                self.session.deliveries.let_go(let_go, None);
            }
        }
        self.send_released_acks();
        self.drop_unsent_for(queue);
        let filters = gone.into_iter().map(|subscription| subscription.filter);
        let filters: Vec<_> = filters.collect();
        if discarded > 0 {
            self.events.push_back(Event::Discarded {
                queue,
                filters: filters.clone(),
                messages: discarded,
            });
        }
        (filters.into_iter())
            .filter(|filter| !self.is_wanted(filter))
            .collect()
    }

    /// Closes a queue and keeps all else: its subscriptions stay at the server. What it holds, and the QoS 1 and 2 messages
    /// that come for its filters from now on and that no other queue wants, are [held](crate::Options::claim_within): the
    /// next queue that subscribes to such a filter gets them, in order and under its own rules. What nobody claims in time
    /// joins the default queue; all of it does at once when [that has a reader](Client::claim_default). But the messages of a
    /// Shared Subscription that other queues have too go to one of these, as if they had come for that one. A SUBSCRIBE for the
    /// queue that has not been sent ends as [`Outcome::Dropped`].
    ///
    /// In the default queue a message that the application was to acknowledge is still to be, by the same
    /// [`DeliveryId`](crate::DeliveryId), and holds up acknowledgements behind it for as long (MQTT-4.6.0-2). One that
    /// waited for capacity under [`Overflow::Wait`](crate::Overflow::Wait) is acknowledged as if it had come for the default queue.
    /// What that cannot take is lost as [its own bounds](crate::Options::incoming) say.
    ///
    /// Subscribing to such a filter again, or unsubscribing from it, is as for any other; a lost session is restored with it.
    pub fn detach_queue(&mut self, now: Instant, queue: QueueId) {
        if queue == QueueId::DEFAULT || !self.session.inbox.is_open(queue) {
            return;
        }
        self.drop_unsent_for(queue);
        let left_to_others = self.session.subscriptions.detach(queue);
        let heirs = self.session.subscriptions.heirs_of(&left_to_others);
        let mut left = Vec::new();
        for message in self.session.inbox.close(queue) {
            left.extend(self.pass_on(&heirs, message).err());
        }
        let left = left.into_iter().map(LeftMessage::into_kept);
        if self.default_is_claimed() {
            for (message, hold) in left {
                self.push(QueueId::DEFAULT, message, hold);
            }
        } else {
            self.leave_to_claim(now, left);
        }
        self.send_released_acks();
    }

    /// Whether a queue needs the server's subscription to `filter`, or will when a SUBSCRIBE that waits is sent.
    fn is_wanted(&self, filter: &TopicFilter) -> bool {
        self.session.subscriptions.contains(filter) || self.requests.unsent_ask_for(filter)
    }

    /// Before 5.0 SUBSCRIBE holds the QoS alone, and no packet has properties. Anything else is refused, since the caller
    /// relies on it, unless the options say that [it does not](crate::Options::reduce_subscriptions).
    fn check_version(
        &self,
        place: PropertyPlace,
        properties: &Properties,
        filters: &[(TopicFilter, SubscriptionOptions)],
    ) -> Result<(), PropertyError> {
        let reduces = self.options.reduce_subscriptions && !filters.is_empty();
        if self.options.protocol.is_v5() || reduces {
            return Ok(());
        }
        for (_, options) in filters {
            let property = match options {
                it if it.no_local => "no_local",
                it if it.retain_as_published => "retain_as_published",
                it if it.retain_handling != RetainHandling::default() => "retain_handling",
                _ => continue,
            };
            return Err(place.refuses(property, PropertyProblem::NotInThisVersion));
        }
        properties.check_absent(place)
    }

    /// Whether the version that is spoken can express a request, which was perhaps accepted when it was another one.
    pub(super) fn is_expressible(&self, kind: &Kind) -> Result<(), PropertyError> {
        let place = PropertyPlace::of;
        match kind {
            Kind::Subscribe(it) => {
                self.check_version(place(PacketType::Subscribe), &it.properties, &it.filters)
            }
            Kind::Unsubscribe(it) => {
                self.check_version(place(PacketType::Unsubscribe), &it.properties, &[])
            }
        }
    }

    fn check_request(
        &self,
        filters: usize,
        properties: &Properties,
        place: PropertyPlace,
    ) -> Result<(), InvalidSubscribe> {
        if filters == 0 {
            return Err(InvalidSubscribe::NoFilter);
        }
        properties.check(place)?;
        if !self.accepts() {
            return Err(InvalidSubscribe::NotConnected);
        }
        Ok(())
    }

    fn accept(&mut self, kind: Kind) -> Result<OpId, InvalidSubscribe> {
        self.check_limits(&kind)?;
        // An UNSUBSCRIBE waits for an identifier: it may be for a queue that is closed, and nobody would ask again.
        let packets = self.packets_of(&kind).len();
        let free = match self.phase {
            ClientPhase::Connected => self.session.ids.free(),
            _ => usize::from(u16::MAX), // there may be some later
        };
        if matches!(kind, Kind::Subscribe(_)) && free < packets {
            return Err(InvalidSubscribe::NoPacketIdentifier);
        }
        Ok(self.send_or_keep(kind))
    }

    pub(super) fn on_suback(&mut self, suback: packet::SubAck) -> Result<(), DecodeError> {
        let Some(op) = self.request_of(suback.packet_id) else {
            return Ok(()); // unknown identifiers complete nothing (MQTT-2.2.1-6)
        };
        let Some(request) = self.requests.get(op) else {
            return Ok(());
        };
        let FilterRequest {
            kind: Kind::Subscribe(subscribe),
            restores,
            ..
        } = request
        else {
            return Err(DecodeError::protocol("SUBACK answers an UNSUBSCRIBE"));
        };
        let answered = (request.sent_as()).filters_of(suback.packet_id, subscribe.filters.len());
        let filters = &subscribe.filters[answered];
        if suback.reasons.len() != filters.len() {
            return Err(DecodeError::protocol(
                "SUBACK has not one Reason Code for each filter",
            ));
        }
        let (queue, restores) = (subscribe.queue, *restores);
        let refused: Vec<_> = (filters.iter().zip(&suback.reasons))
            .filter(|(_, reason)| reason.is_error())
            .map(|((filter, _), &reason)| (filter.clone(), reason))
            .collect();
        for (filter, reason) in refused {
            if restores {
                self.not_resubscribed(queue, filter, FilterRefusal::ByServer(reason));
            } else {
                self.session.subscriptions.remove(&filter, queue);
                self.session.subscriptions.remove_detached(&filter);
            }
        }
        let id = suback.packet_id;
        let answer = (self.requests).answer(op, id, suback.reasons, suback.properties);
        let Some((reasons, properties)) = answer else {
            self.free(id); // the server has not answered all packets of the request
            return Ok(());
        };
        let outcome = Outcome::Subscribed {
            reasons,
            properties: properties.boxed(),
        };
        self.finish_request(op, outcome);
        Ok(())
    }

    pub(super) fn on_unsuback(&mut self, unsuback: packet::UnsubAck) -> Result<(), DecodeError> {
        let Some(op) = self.request_of(unsuback.packet_id) else {
            return Ok(());
        };
        let Some(request) = self.requests.get(op) else {
            return Ok(());
        };
        let Kind::Unsubscribe(unsubscribe) = &request.kind else {
            return Err(DecodeError::protocol("UNSUBACK answers a SUBSCRIBE"));
        };
        let id = unsuback.packet_id;
        let answered = (request.sent_as()).filters_of(id, unsubscribe.filters.len());
        let filters = &unsubscribe.filters[answered.clone()];
        let expected = if self.options.protocol.is_v5() {
            filters.len()
        } else {
            0
        };
        if unsuback.reasons.len() != expected {
            return Err(DecodeError::protocol(
                "UNSUBACK has not one Reason Code for each filter",
            ));
        }
        let refused: Vec<_> = (filters.iter().zip(&unsuback.reasons))
            .filter(|(_, reason)| reason.is_error())
            .map(|(filter, &reason)| (filter.clone(), FilterRefusal::ByServer(reason)))
            .collect();
        let removed = self.requests.take_removed(op, answered);
        let queues = removed.iter().map(|it| it.queue.0).collect();
        if !refused.is_empty() {
            self.keep_subscribed(op, removed, refused);
        }
        self.report_ended(queues);
        let answer = (self.requests).answer(op, id, unsuback.reasons, unsuback.properties);
        let Some((reasons, properties)) = answer else {
            self.free(id); // the server has not answered all packets of the request
            return Ok(());
        };
        let outcome = Outcome::Unsubscribed {
            reasons,
            properties: properties.boxed(),
        };
        self.finish_request(op, outcome);
        Ok(())
    }

    /// A request that is not possible on this connection: if it is an UNSUBSCRIBE, its filters stay subscribed, which is
    /// reported also when nobody waits for the outcome.
    #[cold]
    pub(super) fn not_asked_to_unsubscribe(&mut self, op: OpId, error: &InvalidSubscribe) {
        let Some(Kind::Unsubscribe(unsubscribe)) = self.requests.get(op).map(|it| &it.kind) else {
            return;
        };
        let count = unsubscribe.filters.len();
        let refusal = FilterRefusal::NotAsked(error.clone());
        let filters = (unsubscribe.filters.iter()).map(|it| (it.clone(), refusal.clone()));
        let filters = filters.collect();
        let removed = self.requests.take_removed(op, 0..count);
        self.keep_subscribed(op, removed, filters);
    }

    /// The server refused to unsubscribe `filters`: messages go on to come, so they are registered again. A queue that was
    /// closed, or a filter that was subscribed again, meanwhile stays as it is.
    #[cold]
    fn keep_subscribed(
        &mut self,
        op: OpId,
        removed: Vec<Subscription>,
        filters: Vec<(TopicFilter, FilterRefusal)>,
    ) {
        let awaited = (self.requests.get(op)).is_some_and(|request| !request.abandoned());
        let session = &mut self.session;
        let refused: HashSet<_> = filters.iter().map(|(filter, _)| filter).collect();
        for subscription in removed {
            if refused.contains(&subscription.filter)
                && session.inbox.is_open(subscription.queue)
                && !session.subscriptions.holds(&subscription)
            {
                session.subscriptions.add(subscription);
            }
        }
        let op = awaited.then_some(op);
        (self.events).extend((filters.into_iter()).map(|(filter, refusal)| {
            Event::NotUnsubscribed {
                filter,
                refusal,
                op,
            }
        }));
    }
}
