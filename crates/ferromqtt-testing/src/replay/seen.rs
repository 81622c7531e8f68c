//! What goes by in a replay, for the journal.

use std::collections::{HashMap, HashSet};
use std::time::Instant;

use bytes::Bytes;
use ferromqtt_proto::packet::{self, Packet, PacketId, ProtocolVersion, PublishPacket, QoS};
use ferromqtt_proto::{Utf8String, debug_fields};

use crate::connection::ConnectionId;
use crate::journal::{
    BrokerJournal, BrokerSide, JournalEvent, JournalLink, JournalMessage, JournalPacket, LinkChange,
};
use crate::message::PublishedMessage;
use crate::options::BrokerOptions;
use crate::session::SessionId;
use crate::wire::LaneAliases;

/// How many packets the journal of a replay holds.
const JOURNAL_PACKETS: usize = 10_000;

/// The journal of a replay, and what is to be known of each connection for it. What it knows of clients is bounded by the
/// recording: others get nowhere.
#[derive(Debug)]
pub(super) struct SeenTraffic {
    pub(super) journal: BrokerJournal,
    links: HashMap<ConnectionId, SeenLink>,
    /// QoS 2 messages that came and are not released, by client: they come again on its next connection.
    unreleased: HashMap<Utf8String, HashSet<PacketId>>,
}

struct SeenLink {
    /// Empty until it is known.
    client: Utf8String,
    version: ProtocolVersion,
    /// By [`BrokerSide`].
    aliases: [LaneAliases; 2],
}

debug_fields!(SeenLink {
    client,
    version,
    aliases: hidden
});

impl SeenTraffic {
    pub(super) fn new() -> Self {
        let bytes = BrokerOptions::default().journal_bytes;
        Self {
            journal: BrokerJournal::new(JOURNAL_PACKETS, bytes),
            links: HashMap::new(),
            unreleased: HashMap::new(),
        }
    }

    pub(super) fn opened(&mut self, now: Instant, id: ConnectionId) {
        let link = SeenLink {
            client: Utf8String::default(),
            version: ProtocolVersion::V311, // CONNECT names its own
            aliases: Default::default(),
        };
        self.links.insert(id, link);
        self.changed(now, id, LinkChange::Opened);
    }

    /// A side has closed the connection.
    pub(super) fn closed(&mut self, now: Instant, id: ConnectionId, change: LinkChange) {
        self.changed(now, id, change);
        self.links.remove(&id);
    }

    fn changed(&mut self, at: Instant, link: ConnectionId, change: LinkChange) {
        if let Some(seen) = self.links.get(&link) {
            let client = seen.client.clone();
            self.journal.push(JournalEvent::Link(JournalLink {
                at,
                link,
                client,
                change,
            }));
        }
    }

    /// The client sent a packet.
    pub(super) fn received(
        &mut self,
        now: Instant,
        id: ConnectionId,
        packet: &Packet,
        length: usize,
    ) {
        if let (Packet::Connect(connect), Some(link)) = (packet, self.links.get_mut(&id)) {
            link.version = connect.protocol;
            link.client = connect.client_identifier.detached();
        }
        self.went_by(now, id, BrokerSide::Receives, Some(packet.clone()), length);
    }

    /// The server sent a packet, or what is none.
    pub(super) fn sent(&mut self, now: Instant, id: ConnectionId, bytes: &Bytes) {
        let mut at = 0;
        let packet = packet::decode(bytes, &mut at, self.version(id)).ok();
        if let (Some(Packet::ConnAck(connack)), Some(link)) = (&packet, self.links.get_mut(&id))
            && let Some(assigned) = &connack.properties.assigned_client_identifier
        {
            link.client = assigned.detached();
        }
        self.went_by(now, id, BrokerSide::Sends, packet, bytes.len());
    }

    fn version(&self, id: ConnectionId) -> ProtocolVersion {
        (self.links.get(&id)).map_or(ProtocolVersion::V311, |link| link.version)
    }

    fn went_by(
        &mut self,
        at: Instant,
        id: ConnectionId,
        side: BrokerSide,
        packet: Option<Packet>,
        bytes: usize,
    ) {
        let Some(link) = self.links.get_mut(&id) else {
            return;
        };
        let topic = match &packet {
            Some(Packet::Publish(publish)) => {
                let [inbound, outbound] = &mut link.aliases;
                let aliases = match side {
                    BrokerSide::Receives => inbound,
                    BrokerSide::Sends => outbound,
                };
                let topic = aliases.topic_of(publish);
                aliases.note(publish, u16::MAX, true);
                topic
            }
            _ => None,
        };
        let kind = packet.as_ref().map(Packet::packet_type);
        self.journal.push(JournalEvent::Packet(JournalPacket {
            at,
            side,
            link: id,
            client: link.client.clone(),
            version: link.version,
            kind,
            packet,
            topic,
            bytes,
            fault: None,
            passed: true,
            arrived: true,
        }));
    }

    /// A packet of the client is the one that was recorded: a message counts as accepted, once.
    pub(super) fn fitted(&mut self, now: Instant, id: ConnectionId, packet: &Packet) {
        let Some(link) = self.links.get(&id) else {
            return;
        };
        match packet {
            Packet::PubRel(ack) => {
                if let Some(unreleased) = self.unreleased.get_mut(&link.client) {
                    unreleased.remove(&ack.packet_id);
                }
            }
            Packet::Publish(publish) => {
                let is_new = match (publish.qos, publish.packet_id) {
                    (QoS::ExactlyOnce, Some(packet_id)) => {
                        let unreleased = self.unreleased.entry(link.client.clone());
                        unreleased.or_default().insert(packet_id)
                    }
                    _ => true,
                };
                let topic = link.aliases[0].topic_of(publish);
                if let (true, Some(topic)) = (is_new, topic) {
                    self.accept(now, id, publish, topic);
                }
            }
            _ => {}
        }
    }

    fn accept(
        &mut self,
        now: Instant,
        id: ConnectionId,
        publish: &PublishPacket,
        topic: Utf8String,
    ) {
        let client = (self.links.get(&id)).map_or_else(Utf8String::default, |it| it.client.clone());
        let publish = PublishPacket {
            topic,
            ..publish.clone()
        };
        let message = PublishedMessage::from_publish(now, publish, SessionId(0)); // no session has this number
        let size = message.memory_size();
        (self.journal).accept(JournalMessage::of(now, client, message.detached()), size);
    }
}
