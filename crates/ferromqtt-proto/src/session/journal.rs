//! The seam to a store that keeps a session when the process does not live on: changes in their order, and which of them
//! are on record. Packets that depend on a change are held until it is (`docs/design/0008-journal.md`,
//! `docs/design/0063-store-seam.md`).

use std::collections::VecDeque;
use std::time::Duration;

use super::Publish;
use crate::packet::PacketId;
use crate::packet_trace::Direction;

/// A change of a session's state (section 4.1), for a store.
///
/// A message that is [recorded when it is accepted](crate::Client::record_accepted) becomes durable then. Any other publish
/// becomes durable when it is about to be sent: while it waits in the outgoing queue, it is not on record.
///
/// A message has a key, a number that is never reused within a session: each is larger than all that were given before.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum SessionChange {
    /// A message is accepted, and waits in the store until it is [published](crate::Client::publish_recorded).
    Accepted {
        /// Names the message in later changes.
        key: u64,
        /// The message.
        publish: Publish,
        /// How long it may wait; `None` is no limit.
        expires_in: Option<Duration>,
        /// A newer message to the same topic takes its place while it waits.
        keep_latest: bool,
    },
    /// A QoS 1 or 2 message that is not on record goes out.
    Publishing {
        /// Names the message in later changes.
        key: u64,
        /// Packet Identifier.
        packet_id: PacketId,
        /// The message.
        publish: Publish,
    },
    /// A QoS 1 or 2 message that is on record goes out: for the first time; again, when the server has lost its session; or
    /// again, when the connection had ended before the message was handed over.
    Sending {
        /// The message.
        key: u64,
        /// Its Packet Identifier from now on.
        packet_id: PacketId,
    },
    /// PUBREC came, and PUBREL is owed from now on (MQTT-4.3.3-6): the message itself is no longer needed.
    Releasing {
        /// The message.
        key: u64,
    },
    /// The exchange has ended: nothing that was recorded under `key` is needed any more.
    Finished {
        /// The message.
        key: u64,
    },
    /// PUBREC answers a QoS 2 message, which must not be handed out again (MQTT-4.3.3-10).
    Received {
        /// Its Packet Identifier.
        packet_id: PacketId,
    },
    /// PUBCOMP answers its PUBREL: the identifier stands for nothing any more.
    Released {
        /// The Packet Identifier.
        packet_id: PacketId,
    },
    /// The server has lost the session in which this QoS 2 message was on its way: whether it came is unknown, and it is not sent
    /// again. The store keeps it apart ([`Outcome::Uncertain`](crate::Outcome::Uncertain)).
    Uncertain {
        /// The message.
        key: u64,
    },
    /// CONNECT goes out while identifiers of received QoS 2 messages are remembered. The server may answer that it has no
    /// session, and then none of them means anything. Until [`Resumed`](Self::Resumed) or
    /// [`SessionLost`](Self::SessionLost) follows, a PUBLISH without the DUP flag under one of them is a new message.
    Connecting,
    /// The server has resumed the session: what was received before the last [`Connecting`](Self::Connecting) is still
    /// remembered.
    Resumed,
    /// The server has lost the session. Of messages sent: those not finished go out again as new ones. Of messages received:
    /// none is remembered. Each row of the journal has its own.
    SessionLost {
        /// Which row.
        direction: Direction,
    },
    /// The message with this Packet Identifier was given up without an acknowledgement, and the server may still hold it: the
    /// identifier stays unused until the session ends, also when all else of the message is forgotten.
    Retired {
        /// The Packet Identifier.
        packet_id: PacketId,
    },
}

impl SessionChange {
    /// The row of the journal that this change belongs to: of messages that the client sends, or that it receives.
    pub const fn direction(&self) -> Direction {
        match self {
            Self::Received { .. } | Self::Released { .. } | Self::Connecting | Self::Resumed => {
                Direction::Received
            }
            Self::SessionLost { direction } => *direction,
            Self::Accepted { .. }
            | Self::Publishing { .. }
            | Self::Sending { .. }
            | Self::Releasing { .. }
            | Self::Finished { .. }
            | Self::Uncertain { .. }
            | Self::Retired { .. } => Direction::Sent,
        }
    }
}

/// A change and its number.
///
/// There are two rows of entries, one for each [direction](Self::direction), which may be kept by two stores. A packet waits for
/// entries of its own direction. Entries of one row are to be written in their order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JournalEntry {
    /// Numbers are given in order in each row, from 1, without a gap.
    pub sequence: u64,
    /// What changed.
    pub change: SessionChange,
    /// Whether a packet waits until this entry is on record. A store that writes many entries at a time need not hurry with
    /// the others.
    pub holds: bool,
}

impl JournalEntry {
    /// The row that the entry belongs to.
    pub const fn direction(&self) -> Direction {
        self.change.direction()
    }
}

/// What a packet waits for: the number of an entry in one of the rows, or 0 for nothing.
pub(crate) type Needed = u64;

/// No entry that there is: what waits for it waits until the store [begins a new record](Journal::begin).
const NEVER: Needed = u64::MAX;

/// The entries of one direction.
#[derive(Debug, Default)]
struct JournalRow {
    /// The number given last, and the number up to which all is on record.
    last: u64,
    written: u64,
    /// What the last [`SessionChange::Releasing`] or [`SessionChange::Released`] has packets wait for.
    second_halves: Needed,
    /// What the last [`SessionChange::SessionLost`] has packets wait for. The connection may end before it is on record, and the
    /// next one resumes the session that has begun.
    session_end: Needed,
    /// The store has failed: nothing is recorded until it begins a new record.
    has_failed: bool,
}

#[derive(Debug, Default)]
pub(crate) struct Journal {
    enabled: bool,
    sent: JournalRow,
    received: JournalRow,
    /// The number of a [`SessionChange::Connecting`] that no entry answers yet.
    connecting: Option<Needed>,
    /// The key given last.
    last_key: u64,
    /// Not handed to the store yet. As many as there are exchanges under way, since packets are held until they are, and
    /// messages accepted.
    entries: VecDeque<JournalEntry>,
    /// The application keeps the identifiers of received messages, in place of a store: what becomes of them is in this row.
    kept: Option<Box<KeptRow>>,
}

/// The row of received messages, as the application gets it (`docs/design/0065-identifiers-of-the-application.md`).
#[derive(Debug, Default)]
struct KeptRow {
    row: JournalRow,
    /// Not handed to the application yet.
    entries: VecDeque<JournalEntry>,
}

impl Journal {
    /// Begins to record, or stops. Without a store nothing is held.
    pub(crate) fn enable(&mut self, enabled: bool) {
        self.enabled = enabled;
        if !enabled {
            self.entries.clear();
            for row in [&mut self.sent, &mut self.received] {
                row.written = row.last;
                row.has_failed = false;
                row.second_halves = 0;
                row.session_end = 0;
            }
        }
    }

    /// From now on the application keeps the identifiers of received messages, or no longer. A store that had them forgets them:
    /// it will not learn what becomes of them.
    pub(crate) fn keep(&mut self, keep: bool) {
        if keep == self.kept.is_some() {
            return;
        }
        if keep {
            let direction = Direction::Received;
            self.record(false, || SessionChange::SessionLost { direction });
        }
        self.connecting = None;
        self.kept = keep.then(Box::default);
    }

    /// Whether the application keeps the identifiers of received messages.
    pub(crate) const fn keeps(&self) -> bool {
        self.kept.is_some()
    }

    /// The next entry for the application.
    pub(crate) fn poll_kept(&mut self) -> Option<JournalEntry> {
        self.kept.as_mut()?.entries.pop_front()
    }

    /// The application has all changes up to `sequence`.
    pub(crate) fn set_kept(&mut self, sequence: u64) {
        if let Some(kept) = &mut self.kept {
            let row = &mut kept.row;
            row.written = row.written.max(sequence.min(row.last));
        }
    }

    /// The row that packets wait for.
    const fn row(&self, direction: Direction) -> &JournalRow {
        match (direction, &self.kept) {
            (Direction::Sent, _) => &self.sent,
            (Direction::Received, None) => &self.received,
            (Direction::Received, Some(kept)) => &kept.row,
        }
    }

    const fn row_of_store(&self, direction: Direction) -> &JournalRow {
        match direction {
            Direction::Sent => &self.sent,
            Direction::Received => &self.received,
        }
    }

    const fn row_of_store_mut(&mut self, direction: Direction) -> &mut JournalRow {
        match direction {
            Direction::Sent => &mut self.sent,
            Direction::Received => &mut self.received,
        }
    }

    /// The key of the message that is recorded next when it is about to be sent; none without a store.
    pub(crate) fn next_key(&self) -> Option<u64> {
        self.enabled.then(|| self.last_key + 1)
    }

    /// A key that no message has had.
    pub(crate) const fn draw_key(&mut self) -> u64 {
        self.last_key += 1;
        self.last_key
    }

    /// This key is a message's, and those below it may be.
    pub(crate) fn note_key(&mut self, key: u64) {
        self.last_key = self.last_key.max(key);
    }

    /// Records that the message with this key is about to be sent; `change` learns whether it was recorded before. Returns what
    /// its PUBLISH waits for.
    pub(crate) fn record_sending(
        &mut self,
        key: u64,
        holds: bool,
        change: impl FnOnce(bool) -> SessionChange,
    ) -> Needed {
        let is_recorded = key <= self.last_key;
        self.note_key(key);
        let holds = holds && !self.sent.has_failed; // what must not go then does not come here
        self.record(holds, || change(is_recorded))
    }

    /// Records a change. Returns what packets that depend on it wait for.
    #[inline]
    pub(crate) fn record(&mut self, holds: bool, change: impl FnOnce() -> SessionChange) -> Needed {
        match self.enabled || self.keeps() {
            true => self.record_change(holds, change()),
            false => 0,
        }
    }

    #[inline(never)] // most clients have no store, and then it is a look at two fields
    fn record_change(&mut self, holds: bool, change: SessionChange) -> Needed {
        let is_second_half = matches!(
            change,
            SessionChange::Releasing { .. } | SessionChange::Released { .. }
        );
        let (row, entries) = match (change.direction(), &mut self.kept) {
            // It is the application that has acknowledged the message, and so remembers it.
            (Direction::Received, Some(_)) if matches!(change, SessionChange::Received { .. }) => {
                return 0;
            }
            (Direction::Received, Some(kept)) => (&mut kept.row, &mut kept.entries),
            _ if !self.enabled => return 0,
            (Direction::Received, None) => (&mut self.received, &mut self.entries),
            (Direction::Sent, _) => (&mut self.sent, &mut self.entries),
        };
        let sequence = match row.has_failed {
            true => NEVER,
            false => row.last + 1,
        };
        if is_second_half {
            row.second_halves = sequence;
        } else if matches!(change, SessionChange::SessionLost { .. }) {
            row.session_end = sequence;
        }
        if !row.has_failed {
            row.last = sequence;
            entries.push_back(JournalEntry {
                sequence,
                change,
                holds,
            });
        }
        if holds { sequence } else { 0 }
    }

    /// Records that CONNECT goes out while received identifiers are remembered, unless an earlier one is still unanswered.
    /// Returns what it waits for.
    pub(crate) fn record_connecting(&mut self) -> Needed {
        if let Some(needed) = self.connecting
            && needed != NEVER
        {
            return needed;
        }
        let needed = self.record(true, || SessionChange::Connecting);
        self.connecting = (self.enabled || self.keeps()).then_some(needed);
        needed
    }

    /// Records that the server has the session still, if a CONNECT on record asks for that.
    pub(crate) fn record_resumed(&mut self) {
        if self.connecting.take().is_some() {
            self.record(false, || SessionChange::Resumed);
        }
    }

    /// Records in both rows that the server has lost the session.
    pub(crate) fn record_session_lost(&mut self) -> SessionNeeds {
        self.connecting = None;
        let mut lost = |direction| self.record(true, || SessionChange::SessionLost { direction });
        SessionNeeds {
            sent: lost(Direction::Sent),
            received: lost(Direction::Received),
        }
    }

    /// An entry of this number was read from a store.
    pub(super) fn note_read(&mut self, direction: Direction, sequence: u64) {
        let row = self.row_of_store_mut(direction);
        row.last = row.last.max(sequence);
        row.written = row.last;
    }

    /// The entries that were read say that a CONNECT was sent, and not how it was answered.
    pub(super) const fn set_connecting(&mut self, is_unanswered: bool) {
        self.connecting = if is_unanswered { Some(0) } else { None };
    }

    /// Whether a CONNECT is recorded that no entry answers.
    pub(crate) const fn is_connecting(&self) -> bool {
        self.connecting.is_some()
    }

    pub(crate) fn poll(&mut self) -> Option<JournalEntry> {
        self.entries.pop_front()
    }

    /// The store has all changes of a row up to `sequence`.
    pub(crate) fn set_written(&mut self, direction: Direction, sequence: u64) {
        let row = self.row_of_store_mut(direction);
        if !row.has_failed {
            row.written = row.written.max(sequence.min(row.last));
        }
    }

    /// The store can put nothing of this row on record. Returns whether that is new.
    pub(crate) fn fail(&mut self, direction: Direction) -> bool {
        if !self.enabled || self.row_of_store(direction).has_failed {
            return false;
        }
        self.row_of_store_mut(direction).has_failed = true;
        (self.entries).retain(|entry| entry.direction() != direction);
        true
    }

    pub(crate) const fn store_has_failed(&self, direction: Direction) -> bool {
        self.row_of_store(direction).has_failed
    }

    /// Whether no entry of a row that packets wait for can go on record.
    pub(crate) const fn has_failed(&self, direction: Direction) -> bool {
        self.row(direction).has_failed
    }

    /// The store replaces this row by the state as it is now, as the entry whose number is returned.
    pub(crate) fn begin(&mut self, direction: Direction) -> Needed {
        (self.entries).retain(|entry| entry.direction() != direction);
        let row = self.row_of_store_mut(direction);
        row.has_failed = false;
        row.last += 1;
        let sequence = row.last;
        for needed in [&mut row.second_halves, &mut row.session_end] {
            if *needed > row.written {
                *needed = sequence;
            }
        }
        if direction == Direction::Received && self.connecting.is_some() && !self.keeps() {
            self.connecting = Some(sequence);
        }
        sequence
    }

    /// Whether a packet may leave that waits for `needed`.
    pub(crate) const fn is_written(&self, direction: Direction, needed: Needed) -> bool {
        needed == 0 || needed <= self.row(direction).written
    }

    /// The number given last in a row of the store.
    pub(crate) const fn last(&self, direction: Direction) -> u64 {
        self.row_of_store(direction).last
    }

    /// What a PUBREL (of [`Direction::Sent`]) or PUBCOMP waits for that is sent again: its first one may be held.
    pub(crate) const fn second_halves(&self, direction: Direction) -> Needed {
        self.row(direction).second_halves
    }

    /// What packets wait for in a session that follows one that the server has lost.
    pub(crate) const fn session_end(&self) -> SessionNeeds {
        SessionNeeds {
            sent: self.row(Direction::Sent).session_end,
            received: self.row(Direction::Received).session_end,
        }
    }
}

/// What waits until the end of a session is on record, in both rows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct SessionNeeds {
    pub(crate) sent: Needed,
    pub(crate) received: Needed,
}

impl SessionNeeds {
    pub(crate) const fn are_met(self, journal: &Journal) -> bool {
        journal.is_written(Direction::Sent, self.sent)
            && journal.is_written(Direction::Received, self.received)
    }
}
