//! What lies between the broker and its links: packets go through it one by one, past the rules for faults and the journal,
//! and on as the link lets them.
//!
//! A broker has none before somebody asks for a fault or a journal. What the host hands over then goes into the lane of its
//! link for what the broker receives, and comes out of it for the broker proper; what the broker proper hands out goes through
//! the other lane to the host.

mod aliases;
mod flow;
mod judge;
mod lane;
mod postponed;
mod verbs;

use std::collections::{BTreeMap, VecDeque};
use std::time::Instant;

use bytes::BytesMut;
use ferromqtt_proto::packet::ProtocolVersion;
use ferromqtt_proto::{Utf8String, debug_fields};

use crate::broker::Broker;
use crate::chaos::ScheduledEvents;
use crate::connection::{BrokerConnection, ConnectionId, ConnectionPhase};
use crate::faults::InstalledFaults;
use crate::journal::{
    BrokerJournal, JournalEntryId, JournalEvent, JournalLink, JournalMessage, LinkChange,
};
use crate::message::PublishedMessage;
use crate::random::Random;
use lane::Lane;

pub(crate) use aliases::LaneAliases;
pub use verbs::RestartKeeps;

/// The links of a broker, and what may befall what goes by them.
#[derive(Debug)]
pub(crate) struct Wire {
    /// In order, so that whatever happens to all of them happens in one order.
    pub(crate) links: BTreeMap<ConnectionId, WireLink>,
    pub(crate) faults: InstalledFaults,
    pub(crate) journal: Option<BrokerJournal>,
    /// What scripts have scheduled.
    pub(crate) scheduled: ScheduledEvents,
    pub(crate) seed: u64,
    random: Random,
    reachable: Reachable,
    /// Links on which something has arrived for the host.
    writable: VecDeque<ConnectionId>,
    /// Links that the host is to close.
    to_close: VecDeque<(ConnectionId, bool)>,
    /// The link that the host was told of last to close, if that is to be a reset.
    resets: Option<ConnectionId>,
    /// How many bytes each lane may hold.
    maximum_postponed: usize,
}

/// Whether new connections reach the broker.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Reachable {
    #[default]
    Yes,
    /// It is down until this time.
    Down(Instant),
    /// Nothing passes; a new connection is refused, or hangs.
    Partitioned { hangs: bool },
}

/// One link, which the host and the broker may leave at different times.
pub(crate) struct WireLink {
    /// Empty until it is known.
    client: Utf8String,
    version: ProtocolVersion,
    /// Whether the host has it, and the client may see what comes.
    host_open: bool,
    /// Nothing passes any more.
    half_open: bool,
    /// Cut off until the partition heals: the stalls that the lanes had before.
    frozen: Option<[bool; 2]>,
    /// Whether it stands in the list of links with output.
    listed: bool,
    /// From the client to the broker.
    inbound: Lane,
    /// What has arrived for the broker proper, and is not a whole packet.
    arrived: BytesMut,
    /// From the broker to the client.
    outbound: Lane,
}

debug_fields!(WireLink {
    client,
    version,
    host_open,
    half_open,
    frozen,
    listed,
    inbound,
    arrived: length,
    outbound
});

impl WireLink {
    fn new(maximum: usize) -> Self {
        Self {
            client: Utf8String::default(),
            version: ProtocolVersion::V311, // CONNECT names its own
            host_open: true,
            half_open: false,
            frozen: None,
            listed: false,
            inbound: Lane::new(maximum),
            arrived: BytesMut::new(),
            outbound: Lane::new(maximum),
        }
    }

    /// Whether what the broker sends goes nowhere.
    const fn leads_nowhere(&self) -> bool {
        self.half_open || !self.host_open
    }

    /// Why a packet does not arrive that no rule keeps from it.
    const fn why_lost(&self) -> &'static str {
        match (self.half_open, self.host_open) {
            (true, _) => "the link is half-open",
            (false, false) => "the client has gone",
            (false, true) => "the link was cut",
        }
    }
}

impl Wire {
    fn note_link(&mut self, now: Instant, id: ConnectionId, change: LinkChange) {
        let Some(journal) = &mut self.journal else {
            return;
        };
        let client = (self.links.get(&id)).map_or_else(Utf8String::default, |it| it.client.clone());
        journal.push(JournalEvent::Link(JournalLink {
            at: now,
            link: id,
            client,
            change,
        }));
    }

    /// A packet, or what a fault has made of it, has come out of its lane.
    fn note_arrived(&mut self, entry: Option<JournalEntryId>) {
        if let (Some(journal), Some(entry)) = (&mut self.journal, entry) {
            journal.arrived(entry);
        }
    }

    /// Notes which packets of a link will not arrive after all.
    fn note_lost(&mut self, id: ConnectionId) {
        if let Some(link) = self.links.get(&id) {
            self.note_lost_because(id, link.why_lost());
        }
    }

    fn note_lost_because(&mut self, id: ConnectionId, why: &str) {
        let (Some(journal), Some(link)) = (&mut self.journal, self.links.get_mut(&id)) else {
            return;
        };
        for lane in [&mut link.inbound, &mut link.outbound] {
            for entry in lane.take_lost() {
                journal.lost(entry, why);
            }
        }
    }

    /// Names a link to the host, if it is not named already.
    fn announce(&mut self, id: ConnectionId) {
        if let Some(link) = self.links.get_mut(&id)
            && !link.listed
        {
            link.listed = true;
            self.writable.push_back(id);
        }
    }

    pub(crate) fn accepted(
        &mut self,
        now: Instant,
        client: Utf8String,
        message: &PublishedMessage,
    ) {
        if let Some(journal) = &mut self.journal {
            let size = message.memory_size();
            journal.accept(JournalMessage::of(now, client, message.detached()), size);
        }
    }
}

impl Broker {
    /// The wire, which is made when it is first asked for: links that are open by then go on through it.
    pub(crate) fn wire_mut(&mut self) -> &mut Wire {
        let wire = match self.wire.take() {
            Some(wire) => wire,
            None => Box::new(self.new_wire()),
        };
        self.wire.insert(wire)
    }

    fn new_wire(&self) -> Wire {
        let maximum = self.options.maximum_postponed;
        let links = (self.connections.iter()).map(|(&id, connection)| {
            let mut link = WireLink::new(maximum);
            self.describe(connection, &mut link);
            link.outbound.uncut = connection.output.waiting();
            (id, link)
        });
        let entries = self.options.journal_packets.unwrap_or(0);
        Wire {
            links: links.collect(),
            faults: InstalledFaults::default(),
            journal: (entries > 0).then(|| BrokerJournal::new(entries, self.options.journal_bytes)),
            scheduled: ScheduledEvents::default(),
            seed: 0,
            random: Random::new(0),
            reachable: Reachable::Yes,
            writable: VecDeque::new(),
            to_close: VecDeque::new(),
            resets: None,
            maximum_postponed: maximum,
        }
    }

    /// What the broker knows of a client that had connected before there was a wire.
    fn describe(&self, connection: &BrokerConnection, link: &mut WireLink) {
        match &connection.phase {
            ConnectionPhase::Connecting { connect, .. } => {
                link.version = connect.protocol;
                link.client = connect.client_identifier.detached();
            }
            ConnectionPhase::Connected(connected) => {
                link.version = connected.version;
                if let Some(session) = self.sessions.get(connected.session) {
                    link.client = session.client_identifier.clone();
                }
            }
            ConnectionPhase::AwaitingConnect { .. } | ConnectionPhase::Closing { .. } => {}
        }
    }
}
