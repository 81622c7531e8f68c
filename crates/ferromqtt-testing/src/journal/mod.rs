//! What happened at the broker: packets, links, and the messages that it accepted, in a ring of bounded size.

mod chart;
mod filter;
mod misses;
mod records;
mod summary;

use std::collections::VecDeque;
use std::time::Instant;

use bytes::Bytes;
use ferromqtt_proto::packet::{Packet, Properties};

pub(crate) use chart::shown_client;
pub use filter::PacketFilter;
pub use misses::MessageFilter;
pub(crate) use records::JournalEntryId;
pub use records::{
    BrokerSide, JournalEvent, JournalLink, JournalMessage, JournalPacket, LinkChange,
};
#[cfg(feature = "tokio")]
pub(crate) use summary::shown_payload;

/// What an entry takes beside its bytes.
const ENTRY: usize = 256;

/// The packets, link changes and accepted messages of a [`Broker`](crate::Broker), oldest first.
///
/// Its size is bounded by [`BrokerOptions::journal_packets`](crate::BrokerOptions::journal_packets) and
/// [`BrokerOptions::journal_bytes`](crate::BrokerOptions::journal_bytes): beyond them the oldest entries are dropped, which
/// [`BrokerJournal::dropped`] counts. It never holds a Password or Authentication Data: those read as `***`.
#[derive(Debug)]
pub struct BrokerJournal {
    maximum_entries: usize,
    maximum_bytes: usize,
    began: Option<Instant>,
    events: Ring<JournalEvent>,
    messages: Ring<JournalMessage>,
}

impl BrokerJournal {
    pub(crate) fn new(maximum_entries: usize, maximum_bytes: usize) -> Self {
        Self {
            maximum_entries,
            maximum_bytes,
            began: None,
            events: Ring::default(),
            messages: Ring::default(),
        }
    }

    pub(crate) fn push(&mut self, mut event: JournalEvent) -> JournalEntryId {
        let id = JournalEntryId(self.events.dropped + self.events.entries.len() as u64);
        self.began.get_or_insert_with(|| event.at());
        let size = match &mut event {
            JournalEvent::Packet(packet) => {
                if let Some(packet) = &mut packet.packet {
                    mask(packet);
                }
                packet.bytes
            }
            JournalEvent::Link(_) => 0,
        };
        (self.events).push(event, size, self.maximum_entries, self.maximum_bytes);
        id
    }

    /// A packet has come to its receiver.
    pub(crate) fn arrived(&mut self, id: JournalEntryId) {
        if let Some(packet) = self.packet_mut(id) {
            packet.arrived = true;
        }
    }

    /// A packet that was to go on will not arrive. A fault that befell it before stays its fault.
    pub(crate) fn lost(&mut self, id: JournalEntryId, why: &str) {
        if let Some(packet) = self.packet_mut(id) {
            packet.passed = false;
            packet.fault.get_or_insert_with(|| why.into());
        }
    }

    /// A packet that the journal still has.
    fn packet_mut(&mut self, id: JournalEntryId) -> Option<&mut JournalPacket> {
        let index = id.0.checked_sub(self.events.dropped)?;
        match self.events.entries.get_mut(usize::try_from(index).ok()?)? {
            (_, JournalEvent::Packet(packet)) => Some(packet),
            (_, JournalEvent::Link(_)) => None,
        }
    }

    pub(crate) fn accept(&mut self, message: JournalMessage, size: usize) {
        self.began.get_or_insert(message.at);
        (self.messages).push(message, size, self.maximum_entries, self.maximum_bytes);
    }

    /// Packets and changes of links, in the order in which the broker saw them.
    pub fn events(&self) -> impl DoubleEndedIterator<Item = &JournalEvent> + Clone {
        self.events.entries.iter().map(|(_, event)| event)
    }

    /// The packets that `filter` selects.
    pub fn packets<'a>(
        &'a self,
        filter: &'a PacketFilter,
    ) -> impl DoubleEndedIterator<Item = &'a JournalPacket> + Clone {
        self.events().filter_map(|event| match event {
            JournalEvent::Packet(packet) if filter.selects(packet) => Some(packet),
            _ => None,
        })
    }

    /// The messages that the broker accepted, wills among them: behind the detection of QoS 2 duplicates, and without those
    /// that it refused.
    pub fn messages(&self) -> impl DoubleEndedIterator<Item = &JournalMessage> + Clone {
        self.messages.entries.iter().map(|(_, message)| message)
    }

    /// How many messages the broker has accepted, those that were dropped from the journal included.
    pub fn accepted(&self) -> u64 {
        self.messages.dropped + self.messages.entries.len() as u64
    }

    /// The messages that the broker accepted and `filter` selects.
    pub fn published<'a>(
        &'a self,
        filter: &'a MessageFilter,
    ) -> impl DoubleEndedIterator<Item = &'a JournalMessage> + Clone {
        self.messages().filter(|message| filter.selects(message))
    }

    /// How many of the [accepted](Self::accepted) messages the journal has dropped, the oldest, because it was full.
    pub const fn dropped_messages(&self) -> u64 {
        self.messages.dropped
    }

    /// As [`published`](Self::published), of the messages that were [accepted](Self::accepted) after the first `count`: what
    /// is new to one who has seen so many.
    pub fn published_after<'a>(
        &'a self,
        count: u64,
        filter: &'a MessageFilter,
    ) -> impl Iterator<Item = &'a JournalMessage> + Clone {
        let seen = count.saturating_sub(self.messages.dropped);
        let new = (self.messages()).skip(usize::try_from(seen).unwrap_or(usize::MAX));
        new.filter(|message| filter.selects(message))
    }

    /// How many entries were dropped because the journal was full.
    pub const fn dropped(&self) -> u64 {
        self.events.dropped + self.messages.dropped
    }

    /// The newest `most` packets and changes of links as a sequence chart: a line each, times relative to the first. A client's
    /// packets point to the right, the broker's to the left, and one that did not come to its receiver ends in an `x`, because
    /// of a fault or because its link ended. One that is still on its way, held back or behind a partition, is dotted. Pings of a
    /// link that come again and again are one line.
    /// Payloads are shortened.
    pub fn chart(&self, most: usize) -> String {
        chart::draw(self, most)
    }

    /// When the first entry was made, also when that was dropped since; `None` while nothing has happened. Times of charts
    /// and failures are relative to it.
    pub const fn began(&self) -> Option<Instant> {
        self.began
    }
}

/// Entries with the bytes that each counts.
#[derive(Debug)]
struct Ring<T> {
    entries: VecDeque<(usize, T)>,
    bytes: usize,
    dropped: u64,
}

impl<T> Default for Ring<T> {
    fn default() -> Self {
        Self {
            entries: VecDeque::new(),
            bytes: 0,
            dropped: 0,
        }
    }
}

impl<T> Ring<T> {
    fn push(&mut self, entry: T, size: usize, maximum_entries: usize, maximum_bytes: usize) {
        let size = size.saturating_add(ENTRY);
        self.bytes = self.bytes.saturating_add(size);
        self.entries.push_back((size, entry));
        while (self.entries.len() > maximum_entries || self.bytes > maximum_bytes)
            && let Some((size, _)) = self.entries.pop_front()
        {
            self.bytes -= size;
            self.dropped += 1;
        }
    }
}

/// Takes out what authenticates somebody, and leaves a mark where it was.
fn mask(packet: &mut Packet) {
    const MASK: Bytes = Bytes::from_static(b"***");
    let mask_data = |properties: &mut Properties| {
        if let Some(data) = &mut properties.authentication_data {
            *data = MASK;
        }
    };
    match packet {
        Packet::Connect(connect) => {
            if let Some(password) = &mut connect.password {
                *password = MASK;
            }
            mask_data(&mut connect.properties);
        }
        Packet::ConnAck(connack) => mask_data(&mut connack.properties),
        Packet::Auth(auth) => mask_data(&mut auth.properties),
        _ => {}
    }
}
