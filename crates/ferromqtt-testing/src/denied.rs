//! What is refused, and with which Reason Code: connections, topics to publish to, filters to subscribe to.

use ferromqtt_proto::packet::{PacketType, ReasonCode};
use ferromqtt_proto::{TopicFilter, Utf8String};

use crate::options::{BrokerOptions, BrokerOptionsError};
use crate::refusal::{check_reason, refusal};

/// The lists behind [`BrokerOptions::deny_publish`] and its sisters. In each the first that fits decides.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Denied {
    connect: Vec<(String, ReasonCode)>,
    publish: Vec<(TopicFilter, ReasonCode)>,
    subscribe: Vec<(TopicFilter, ReasonCode)>,
}

impl BrokerOptions {
    /// Refuses the connections of a Client Identifier; a `*` at its end stands for any rest, so that `*` is everybody.
    /// 3.x is answered with the Return Code that comes nearest.
    ///
    /// # Errors
    /// When a CONNACK that refuses cannot hold `reason`.
    pub fn deny_connect(
        &mut self,
        client_identifier: impl Into<String>,
        reason: ReasonCode,
    ) -> Result<(), BrokerOptionsError> {
        check(PacketType::Connect, reason)?;
        self.denied.connect.push((client_identifier.into(), reason));
        Ok(())
    }

    /// Refuses messages to topics that match `filter`. 5.0 is answered `reason` at QoS 1 and 2; 3.x and QoS 0 have no such
    /// answer, and the message is dropped. A will there is refused with CONNECT, as Not authorized.
    ///
    /// # Errors
    /// When PUBACK cannot hold `reason`.
    pub fn deny_publish(
        &mut self,
        filter: TopicFilter,
        reason: ReasonCode,
    ) -> Result<(), BrokerOptionsError> {
        check(PacketType::Publish, reason)?;
        self.denied.publish.push((filter, reason));
        Ok(())
    }

    /// Refuses subscriptions to `filter`, and to a part of what it matches. A wider filter is granted, and gets all it
    /// matches. 3.1.1 is answered Failure; the connection of 3.1 is closed, as its SUBACK cannot refuse.
    ///
    /// # Errors
    /// When SUBACK cannot hold `reason`.
    pub fn deny_subscribe(
        &mut self,
        filter: TopicFilter,
        reason: ReasonCode,
    ) -> Result<(), BrokerOptionsError> {
        check(PacketType::Subscribe, reason)?;
        self.denied.subscribe.push((filter, reason));
        Ok(())
    }

    pub(crate) fn connect_denial(&self, client_identifier: &Utf8String) -> Option<ReasonCode> {
        let fits = |pattern: &str| match pattern.strip_suffix('*') {
            Some(start) => client_identifier.starts_with(start),
            None => *client_identifier == *pattern,
        };
        let denied = self.denied.connect.iter().find(|(it, _)| fits(it));
        denied.map(|&(_, reason)| reason)
    }

    pub(crate) fn publish_denial(&self, topic: &str) -> Option<ReasonCode> {
        let denied = self.denied.publish.iter().find(|(it, _)| it.matches(topic));
        denied.map(|&(_, reason)| reason)
    }

    pub(crate) fn subscribe_denial(&self, filter: &TopicFilter) -> Option<ReasonCode> {
        let inner = match filter.strip_prefix("$share/") {
            Some(shared) => shared.split_once('/').map_or("", |(_, inner)| inner),
            None => filter,
        };
        let denied = (self.denied.subscribe.iter()).find(|(it, _)| covers(it, inner));
        denied.map(|&(_, reason)| reason)
    }
}

/// Whether a packet of this type can be refused with a Reason Code.
fn check(request: PacketType, reason: ReasonCode) -> Result<(), BrokerOptionsError> {
    let section = match refusal(request, reason) {
        Some(answer) => check_reason(&answer, reason).err(),
        None => None,
    };
    match section {
        None => Ok(()),
        Some(section) => Err(BrokerOptionsError::ReasonCode {
            request: request.name(),
            reason,
            section,
        }),
    }
}

/// Whether `wide` matches every topic that `narrow` does.
fn covers(wide: &str, narrow: &str) -> bool {
    let mut narrow = narrow.split('/');
    for level in wide.split('/') {
        match narrow.next() {
            _ if level == "#" => return true,
            Some(it) if it == level || level == "+" && it != "#" => {}
            _ => return false,
        }
    }
    narrow.next().is_none()
}
