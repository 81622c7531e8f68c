//! What becomes of the Packet Identifiers that exactly-once handlers keep in a database of the application: who has
//! committed which change, and which rows are in doubt (`docs/design/0065-identifiers-of-the-application.md`).

use std::collections::VecDeque;

use ferromqtt_proto::{JournalEntry, SessionChange};

/// The changes of identifiers that each of several handlers has not committed yet.
///
/// The client holds back what depends on a change until every handler has committed it. A face
/// [adds](Self::add) what [`Engine::poll_identifier_change`](crate::Engine::poll_identifier_change) returns, and passes on to
/// [`Engine::identifiers_written`](crate::Engine::identifiers_written) what [`confirm`](Self::confirm) returns.
#[derive(Debug)]
pub struct IdentifierLedgers {
    ledgers: Vec<IdentifierLedger>,
    /// What `confirm` has returned last.
    written: u64,
}

/// The changes of one handler.
#[derive(Clone, Debug, Default)]
struct IdentifierLedger {
    pending: VecDeque<JournalEntry>,
    /// All changes up to the one with this number are committed.
    written: u64,
}

/// What a handler has to commit, in order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PendingChanges {
    /// Changes before the end of a session: they belong at the head of a transaction, before its messages.
    pub before: Vec<JournalEntry>,
    /// The end of a session and what follows it: they belong behind every message that came before it.
    pub behind: Vec<JournalEntry>,
}

impl IdentifierLedgers {
    /// So many handlers, numbered from 0. Make it before the engine is started.
    pub fn new(handlers: usize) -> Self {
        Self {
            ledgers: vec![IdentifierLedger::default(); handlers],
            written: 0,
        }
    }

    /// A change has happened.
    pub fn add(&mut self, entry: &JournalEntry) {
        for ledger in &mut self.ledgers {
            ledger.pending.push_back(entry.clone());
        }
    }

    /// What this handler has not committed. A number that no handler has is answered with nothing.
    ///
    /// Messages of a lost session may still wait in the handler's queue, and only the rows say which of them were handled before.
    /// So a handler commits `behind` only when its queue is empty; no other message can come until it has.
    pub fn pending(&self, handler: usize) -> PendingChanges {
        let pending = (self.ledgers.get(handler)).map(|ledger| &ledger.pending);
        let entries = pending.into_iter().flatten().cloned();
        let (mut before, mut behind) = (Vec::new(), Vec::new());
        for entry in entries {
            match (&entry.change, behind.is_empty()) {
                (SessionChange::SessionLost { .. }, _) | (_, false) => behind.push(entry),
                (_, true) => before.push(entry),
            }
        }
        PendingChanges { before, behind }
    }

    /// This handler has committed all changes up to the one numbered `sequence`. Returns the number up to which every handler
    /// has, if that is more than before.
    pub fn confirm(&mut self, handler: usize, sequence: u64) -> Option<u64> {
        let ledger = self.ledgers.get_mut(handler)?;
        while (ledger.pending.front()).is_some_and(|entry| entry.sequence <= sequence) {
            ledger.pending.pop_front();
        }
        ledger.written = ledger.written.max(sequence);
        let written = self.ledgers.iter().map(|ledger| ledger.written).min()?;
        let is_more = written > self.written;
        self.written = self.written.max(written);
        is_more.then_some(written)
    }
}

/// Whether the identifiers that a handler has on record may be those of a session that the server has lost. It is a value: a
/// transaction that is rolled back takes its changes back with it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct IdentifierDoubt {
    /// A CONNECT is on record, and no answer to it.
    is_open: bool,
    /// Another one was, when the program began: which session it met is lost with its program.
    stays: bool,
}

impl IdentifierDoubt {
    /// [`SessionChange::Connecting`] goes on record: `is_new` if no row says so already.
    #[must_use]
    pub const fn connecting(self, is_new: bool) -> Self {
        Self {
            is_open: true,
            stays: self.stays || !is_new,
        }
    }

    /// [`SessionChange::Resumed`]: the row of the CONNECT goes, and with it the doubt. `None` if both stay.
    pub const fn resumed(self) -> Option<Self> {
        match self.stays {
            true => None,
            false => Some(Self {
                is_open: false,
                stays: false,
            }),
        }
    }

    /// Whether a message is new although its identifier is on record: the server would have set DUP on the one that the
    /// identifier is of (MQTT-3.3.1-1).
    pub const fn covers(self, dup: bool) -> bool {
        self.is_open && !dup
    }
}

#[cfg(test)]
mod tests {
    use ferromqtt_proto::{Direction, PacketId};

    use super::*;

    fn entry(sequence: u64, change: SessionChange) -> JournalEntry {
        JournalEntry {
            sequence,
            change,
            holds: true,
        }
    }

    fn released(sequence: u64) -> JournalEntry {
        let packet_id = PacketId::new(9).unwrap();
        entry(sequence, SessionChange::Released { packet_id })
    }

    fn lost(sequence: u64) -> JournalEntry {
        let direction = Direction::Received;
        entry(sequence, SessionChange::SessionLost { direction })
    }

    #[test]
    fn a_change_is_written_when_the_last_handler_has_committed_it() {
        let mut ledgers = IdentifierLedgers::new(2);
        for sequence in 1..=3 {
            ledgers.add(&released(sequence));
        }
        assert_eq!(ledgers.confirm(0, 2), None);
        assert_eq!(ledgers.pending(0).before, [released(3)]);
        assert_eq!(ledgers.pending(1).before.len(), 3);
        assert_eq!(ledgers.confirm(1, 3), Some(2));
        assert_eq!(ledgers.confirm(1, 3), None);
        assert_eq!(ledgers.confirm(0, 3), Some(3));
        assert_eq!(ledgers.confirm(7, 9), None);
        assert_eq!(ledgers.pending(7), PendingChanges::default());
    }

    #[test]
    fn the_end_of_a_session_and_what_follows_it_are_apart_from_what_came_before() {
        let mut ledgers = IdentifierLedgers::new(1);
        let changes = [released(1), lost(2), released(3), lost(4)];
        changes.iter().for_each(|change| ledgers.add(change));
        let pending = ledgers.pending(0);
        assert_eq!(pending.before, changes[..1]);
        assert_eq!(pending.behind, changes[1..]);
        assert_eq!(ledgers.confirm(0, 1), Some(1));
        assert_eq!(ledgers.pending(0).behind, changes[1..]);
    }

    #[test]
    fn a_doubt_that_an_earlier_process_has_left_outlasts_a_resumed_session() {
        let own = IdentifierDoubt::default().connecting(true);
        assert!(own.covers(false) && !own.covers(true));
        assert_eq!(own.resumed(), Some(IdentifierDoubt::default()));
        assert!(!IdentifierDoubt::default().covers(false));
        let found = IdentifierDoubt::default().connecting(false);
        assert_eq!(found.resumed(), None);
        assert_eq!(found.connecting(true).resumed(), None);
    }
}
