//! One Network Connection: built when its transport is open, dropped with it.

mod acknowledge;
mod authentication;
mod echoes;
mod held;
mod keep_alive;
mod limits;
mod topic_alias;
mod transmit;

pub(crate) use authentication::AuthExchange;
use echoes::Echoes;
pub(crate) use held::{HeldMessage, HeldPackets, row_of};
pub(crate) use keep_alive::{KeepAlive, KeepAliveAction};
pub use keep_alive::{Progress, TcpProgress};
pub use limits::ServerLimits;
pub(crate) use limits::{LARGEST_PACKET, Limits};
use topic_alias::Form;
pub(crate) use topic_alias::{IncomingAliases, OutgoingAliases};
pub(crate) use transmit::Transmit;
pub use transmit::{CHUNK, LARGE_PAYLOAD};

use std::time::Instant;

use crate::options::Options;
use crate::packet::{Packet, PacketId, PacketLimits, Properties, ProtocolVersion, PublishRef};
use crate::session::{InFlight, Journal, Needed, Open};

/// What a Topic Alias may add to a packet: the property, and one byte more for each of two lengths.
const LONGEST_GROWTH: usize = 3 + 2;

#[derive(Debug)]
pub(crate) struct NetworkConnection {
    /// Number of this connection within its client: which one took a slot of the Receive Maximum.
    pub(crate) number: u64,
    /// Whether CONNECT asked for a fresh session.
    pub(crate) clean_start: bool,
    /// Largest packets that the server may send.
    pub(crate) packet_limits: PacketLimits,
    /// How many QoS 2 messages the server may have under way: the Receive Maximum announced. Those of QoS 1 are
    /// acknowledged at once.
    pub(crate) receive_maximum: usize,
    pub(crate) keep_alive: KeepAlive,
    pub(crate) aliases: IncomingAliases,
    pub(crate) outgoing_aliases: OutgoingAliases,
    pub(crate) authentication: AuthExchange,
    /// What the server's texts must not repeat.
    pub(crate) echoes: Echoes,
    pub(crate) limits: Limits,
    pub(crate) transmit: Transmit,
    /// What waits for a store before it is encoded.
    pub(crate) held: HeldPackets,
    /// What PUBACKs wait for, in the row of received messages: almost always nothing.
    pub(crate) pubacks_need: Needed,
    pub(crate) accepted_at: Option<Instant>,
    /// The QoS 1 or 2 PUBLISH that was sent last.
    pub(crate) last_publish: Option<PacketId>,
    /// How many QoS 0 publishes the client had sent before.
    pub(crate) sent_qos0_before: u64,
}

impl NetworkConnection {
    pub(crate) fn new(now: Instant, number: u64, clean_start: bool, options: &Options) -> Self {
        let none = Properties::default();
        let own = match options.protocol.is_v5() {
            true => &options.properties,
            false => &none, // they are not announced
        };
        Self {
            number,
            clean_start,
            packet_limits: PacketLimits {
                maximum_packet_size: options
                    .largest_packet()
                    .map_or(LARGEST_PACKET, |limit| limit.get() as usize),
                maximum_non_publish_size: options.maximum_non_publish_size.get() as usize,
            },
            receive_maximum: own
                .receive_maximum
                .map_or(u16::MAX, |limit| limit.get())
                .into(),
            keep_alive: KeepAlive::new(now, options.keep_alive), // counts from CONNECT
            aliases: IncomingAliases::new(own.topic_alias_maximum.unwrap_or(0)),
            outgoing_aliases: OutgoingAliases::default(), // none before CONNACK
            // CONNECT is the first packet of the exchange, if there is one.
            authentication: AuthExchange::ServerAnswers,
            echoes: Echoes::default(),
            limits: Limits::new(&Properties::default(), options),
            transmit: Transmit::default(),
            held: HeldPackets::default(),
            pubacks_need: 0,
            accepted_at: None,
            last_publish: None,
            sent_qos0_before: 0,
        }
    }

    /// Sends SUBSCRIBE or UNSUBSCRIBE, or holds it.
    pub(crate) fn send_request(&mut self, packet: Packet, version: ProtocolVersion) {
        if self.held.lets_requests_through() {
            self.transmit.push(&packet, version);
        } else {
            self.held.hold_request(packet);
        }
    }

    /// Encodes what a store has let go, but for PUBLISHes.
    pub(crate) fn release_held(&mut self, journal: &Journal, version: ProtocolVersion) {
        self.held.release(journal, &mut self.transmit, version);
    }

    /// The messages whose last answer has not been handed over.
    pub(crate) fn unsent_ends(&self) -> Open {
        [self.transmit.unsent_ends(), self.held.ended()]
            .into_iter()
            .sum()
    }

    /// Encodes a PUBLISH that was not sent before, with the Topic Alias that the application has chosen, or with one of the
    /// client's where it helps. `push` appends it.
    pub(crate) fn send_publish(
        &mut self,
        publish: PublishRef<'_>,
        version: ProtocolVersion,
        push: impl FnOnce(&mut Transmit, PublishRef<'_>),
    ) {
        let chosen = publish.properties.and_then(|it| it.topic_alias);
        // The longest form counts, since an alias that has been assigned must be sent.
        let fits = || (self.limits).fits(publish.packet_len(version) + LONGEST_GROWTH);
        let (topic, alias) = match self.outgoing_aliases.form(publish.topic, chosen, fits) {
            Form::Topic => (publish.topic, None),
            Form::TopicAndAlias(alias) => (publish.topic, Some(alias)),
            Form::Alias(alias) => (&b""[..], Some(alias)),
        };
        if alias == chosen {
            let publish = PublishRef { topic, ..publish };
            return push(&mut self.transmit, publish);
        }
        let mut properties = publish.properties.cloned().unwrap_or_default();
        properties.topic_alias = alias;
        let aliased = PublishRef {
            topic,
            properties: Some(&properties),
            ..publish
        };
        push(&mut self.transmit, aliased);
    }

    /// Encodes a QoS 1 or 2 PUBLISH that is in flight from now on.
    pub(crate) fn send_in_flight(
        &mut self,
        now: Instant,
        flow: &mut InFlight,
        version: ProtocolVersion,
    ) {
        self.last_publish = Some(flow.id);
        flow.sent_at = Some(now);
        flow.begins_at = self.transmit.end();
        let packet = flow.publish.packet(Some(flow.id), false);
        self.send_publish(packet, version, |transmit, packet| {
            transmit.push_publish(packet, &flow.publish.payload, version);
        });
        flow.ends_at = self.transmit.end();
    }

    /// Encodes a PUBLISH that an earlier connection has carried: with its topic, and without an alias (MQTT-3.3.2-7).
    pub(crate) fn send_again(
        &mut self,
        publish: PublishRef<'_>,
        push: impl FnOnce(&mut Transmit, PublishRef<'_>),
    ) {
        match publish.properties {
            Some(properties) if properties.topic_alias.is_some() => {
                let mut properties = properties.clone();
                properties.topic_alias = None;
                let properties = Some(&properties);
                push(
                    &mut self.transmit,
                    PublishRef {
                        properties,
                        ..publish
                    },
                );
            }
            _ => push(&mut self.transmit, publish),
        }
    }
}
