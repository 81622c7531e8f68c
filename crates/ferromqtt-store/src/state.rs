//! The state that the records of a log make, in their order.
//!
//! The owner of a log and its recovery apply records by the same function, so what is found after a crash is what the owner had
//! when the last of them was written.

use std::collections::{BTreeMap, BTreeSet};

use ferromqtt_proto::QuarantineReason;
use ferromqtt_proto::packet::PacketId;

use crate::entries::{PendingMessage, PendingMessages, RecordPlace};
use crate::record::{
    AcceptedMessage, LogRecord, PlacedMessage, SendState, StoreCounters, StoreIdentity,
};

/// What a segment still holds of messages that have not ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct SegmentUse {
    pub(crate) messages: u64,
    pub(crate) bytes: u64,
}

/// Why a message is in quarantine, and since when.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Quarantine {
    /// Why.
    pub why: QuarantineReason,
    /// Since when, in milliseconds since 1970; 0 when the session was lost before that was recorded.
    pub at: u64,
}

#[derive(Debug, Default)]
pub(crate) struct StoreState {
    pub(crate) pending: PendingMessages,
    /// Messages that are on the wire, or were.
    pub(crate) sends: BTreeMap<u64, SendState>,
    pub(crate) quarantined: BTreeMap<u64, Quarantine>,
    /// QoS 2 messages received whose PUBREL has not come.
    pub(crate) received: BTreeSet<PacketId>,
    pub(crate) retired: BTreeSet<PacketId>,
    /// A CONNECT was about to be sent, and nothing says that it was answered.
    pub(crate) connecting: bool,
    pub(crate) identity: Option<StoreIdentity>,
    /// No key this large was ever seen.
    pub(crate) next_key: u64,
    /// The latest wall clock on record, in milliseconds since 1970.
    pub(crate) clock: u64,
    /// The first segment that counts, and its first frame.
    pub(crate) floor: (u32, u64),
    pub(crate) counters: StoreCounters,
    /// Damage that was reported: the first lost frame, and the segment.
    pub(crate) noted: BTreeMap<u64, u32>,
    pub(crate) uses: BTreeMap<u32, SegmentUse>,
    /// The length of all records of messages that have not ended.
    pub(crate) bytes: u64,
}

impl StoreState {
    /// Applies a record that stands at `place` and is `size` bytes long.
    pub(crate) fn apply(&mut self, record: LogRecord<'_>, place: RecordPlace, size: usize) {
        match record {
            LogRecord::Accepted(message) => self.accept(&message, place, size),
            LogRecord::Placed(messages) => {
                for message in messages {
                    self.place(&message, place.segment);
                }
            }
            LogRecord::Sending { key, packet_id } => self.send(key, packet_id, place.order()),
            LogRecord::Releasing { key } => self.release(key, place.order()),
            LogRecord::Ended { from, to, how } => {
                while let Some(key) =
                    (self.pending.first_from(from).map(|it| it.key)).filter(|key| *key <= to)
                {
                    self.end(key);
                    self.counters.count_ended(how, 1);
                }
                self.note_key(to);
            }
            LogRecord::Received { packet_id } => drop(self.received.insert(packet_id)),
            LogRecord::Released { packet_id } => drop(self.received.remove(&packet_id)),
            LogRecord::ReceivedLost => {
                self.connecting = false;
                self.received.clear();
            }
            LogRecord::SessionLost => self.lose_session(),
            LogRecord::Quarantined { key, why, at } => {
                if self.pending.get(key).is_some() {
                    self.sends.remove(&key);
                    let before = self.quarantined.insert(key, Quarantine { why, at });
                    self.counters.quarantined += u64::from(before.is_none());
                }
            }
            LogRecord::Identity(identity) => self.identity = Some(identity),
            // The clock of a board without a battery may be far behind: what it said before a restart holds.
            LogRecord::Clock(clock) => self.clock = self.clock.max(clock),
            // One above its own segment would take itself away.
            LogRecord::Floor { segment, frame } if segment <= place.segment => {
                self.raise_floor(segment, frame);
            }
            LogRecord::Connecting => self.connecting = true,
            LogRecord::Resumed => self.connecting = false,
            LogRecord::Retired { packet_id } => drop(self.retired.insert(packet_id)),
            LogRecord::SendState { key, state } => {
                if self.pending.get(key).is_some() {
                    self.sends.insert(key, state);
                }
            }
            LogRecord::NextKey(key) => self.next_key = self.next_key.max(key),
            LogRecord::Inbound {
                connecting,
                received,
                retired,
            } => {
                self.connecting = connecting;
                self.received = received.into_iter().collect();
                self.retired = retired.into_iter().collect();
            }
            LogRecord::Counters(counters) => self.counters = counters,
            LogRecord::DamageNoted { segment, frame } => drop(self.noted.insert(frame, segment)),
            LogRecord::Passed { count, how } => {
                self.counters.accepted = self.counters.accepted.saturating_add(count);
                self.counters.count_ended(how, count);
            }
            LogRecord::Floor { .. } | LogRecord::Index { .. } | LogRecord::Predecessor { .. } => {}
        }
    }

    /// Damage hides changes from here on. A Packet Identifier that the server has released since would swallow a new message,
    /// and one that is forgotten at worst brings a message twice.
    pub(crate) fn pass_damage(&mut self) {
        self.received.clear();
        self.connecting = false;
    }

    fn accept(&mut self, message: &AcceptedMessage<'_>, place: RecordPlace, size: usize) {
        let topic_hash = match message.keep_latest {
            true => message.topic().map_or(0, topic_hash),
            false => 0,
        };
        self.counters.accepted += 1;
        self.put(PendingMessage {
            key: message.key,
            expires_at: message.expires_at,
            topic_hash,
            place,
            size: u32::try_from(size).unwrap_or(u32::MAX),
        });
    }

    /// A record is written again, at another place. What it says counts already.
    pub(crate) fn move_message(&mut self, record: &LogRecord<'_>, place: RecordPlace) {
        if let LogRecord::Accepted(message) = record
            && let Some(&before) = self.pending.get(message.key)
        {
            self.put(PendingMessage { place, ..before });
        }
    }

    fn place(&mut self, message: &PlacedMessage, segment: u32) {
        self.put(PendingMessage {
            key: message.key,
            expires_at: message.expires_at,
            topic_hash: message.topic_hash,
            place: RecordPlace {
                segment,
                frame_at: message.frame_at,
                record_at: message.record_at,
            },
            size: message.size,
        });
    }

    fn put(&mut self, message: PendingMessage) {
        self.note_key(message.key);
        let uses = self.uses.entry(message.place.segment).or_default();
        uses.messages += 1;
        uses.bytes += u64::from(message.size);
        self.bytes += u64::from(message.size);
        // A message that was copied by a compaction is read twice.
        if let Some(before) = self.pending.insert(message) {
            self.leave(&before);
        }
    }

    /// The message leaves its segment.
    fn leave(&mut self, message: &PendingMessage) {
        let size = u64::from(message.size);
        self.bytes = self.bytes.saturating_sub(size);
        if let Some(uses) = self.uses.get_mut(&message.place.segment) {
            uses.messages = uses.messages.saturating_sub(1);
            uses.bytes = uses.bytes.saturating_sub(size);
        }
    }

    fn end(&mut self, key: u64) {
        if let Some(message) = self.pending.remove(key) {
            self.leave(&message);
        }
        self.sends.remove(&key);
        self.quarantined.remove(&key);
    }

    fn note_key(&mut self, key: u64) {
        self.next_key = self.next_key.max(key.saturating_add(1));
    }

    fn send(&mut self, key: u64, packet_id: PacketId, order: u64) {
        if self.pending.get(key).is_none() {
            return;
        }
        let before = self.sends.get(&key).copied();
        let state = SendState {
            packet_id: Some(packet_id),
            order: before.map_or(order, |it| it.order),
            tries: before.map_or(0, |it| it.tries).saturating_add(1),
            released: None,
        };
        self.sends.insert(key, state);
    }

    fn release(&mut self, key: u64, order: u64) {
        if let Some(state) = self.sends.get_mut(&key) {
            state.released = Some(order);
        }
    }

    /// The messages whose PUBREL is owed may be at the server or not: they are kept, and not sent.
    fn lose_session(&mut self) {
        self.retired.clear();
        let uncertain = Quarantine {
            why: QuarantineReason::Uncertain,
            at: 0,
        };
        let quarantined = &mut self.quarantined;
        let counters = &mut self.counters;
        self.sends.retain(|key, state| {
            state.packet_id = None;
            if state.released.is_some() {
                quarantined.insert(*key, uncertain);
                counters.quarantined += 1;
            }
            state.released.is_none()
        });
    }

    /// What is left in segments that are gone has ended, or was copied.
    fn raise_floor(&mut self, segment: u32, frame: u64) {
        if segment <= self.floor.0 {
            return;
        }
        self.floor = (segment, frame);
        let is_below = |it: &&PendingMessage| it.place.segment < segment;
        let gone: Vec<_> = (self.pending.iter().filter(is_below))
            .map(|it| it.key)
            .collect();
        gone.into_iter().for_each(|key| self.end(key));
        self.uses = self.uses.split_off(&segment);
        self.noted.retain(|_, it| *it >= segment);
    }

    /// All but the messages, for the first frame of a segment and for an index: what stands in older segments may go.
    pub(crate) fn put_small(&self, records: &mut Vec<LogRecord<'static>>) {
        let (segment, frame) = self.floor;
        if let Some(identity) = &self.identity {
            records.push(LogRecord::Identity(identity.clone()));
        }
        records.push(LogRecord::NextKey(self.next_key));
        records.push(LogRecord::Clock(self.clock));
        if segment > 0 {
            records.push(LogRecord::Floor { segment, frame });
        }
        let noted = (self.noted.iter()).map(|(&frame, &segment)| (segment, frame));
        records.extend(noted.map(|(segment, frame)| LogRecord::DamageNoted { segment, frame }));
        records.push(LogRecord::Inbound {
            connecting: self.connecting,
            received: self.received.iter().copied().collect(),
            retired: self.retired.iter().copied().collect(),
        });
        records.push(LogRecord::Counters(self.counters));
    }

    /// What is known of a message beside the message.
    pub(crate) fn put_progress(&self, key: u64, records: &mut Vec<LogRecord<'static>>) {
        if let Some(&state) = self.sends.get(&key) {
            records.push(LogRecord::SendState { key, state });
        }
        if let Some(&Quarantine { why, at }) = self.quarantined.get(&key) {
            records.push(LogRecord::Quarantined { key, why, at });
        }
    }

    /// The wall clock, never behind what is on record: a message does not expire because a clock was set, nor come to life
    /// again.
    pub(crate) fn clock_at(&self, now: u64) -> u64 {
        self.clock.max(now)
    }
}

/// The hash of a Topic Name that the index of a segment holds: FNV-1a of 64 bits, with 1 in place of 0.
pub fn topic_hash(topic: &[u8]) -> u64 {
    let hash = topic.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x100_0000_01b3)
    });
    if hash == 0 { 1 } else { hash }
}
