//! The seam to a store: what is to be recorded, who waits until it is, and a store that fails and comes back
//! (`docs/design/0063-store-seam.md`).

use std::collections::BTreeMap;
use std::iter;
use std::mem;
use std::time::Instant;

use ferromqtt_proto::{Direction, JournalEntry, SessionChange};

use crate::{CallEnd, Engine, Fact, Tokens, Woken};

/// Tokens that wait until the acceptance of a message is on record: by the number of that entry, the key of the message, and a
/// number of their own.
#[derive(Debug)]
pub(crate) struct StoredWaits<C> {
    waits: BTreeMap<(u64, u64, u64), C>,
    last: u64,
    /// All acceptances up to this number are on record. The core may know more to be: see [`Engine::journal_written_ahead`].
    on_record: u64,
    /// The store is closed, and says nothing more.
    pub(crate) is_closed: bool,
}

impl<C> Default for StoredWaits<C> {
    fn default() -> Self {
        Self {
            waits: BTreeMap::new(),
            last: 0,
            on_record: 0,
            is_closed: false,
        }
    }
}

impl<C> StoredWaits<C> {
    fn insert(&mut self, sequence: u64, key: u64, token: C) {
        self.last += 1;
        self.waits.insert((sequence, key, self.last), token);
    }

    /// All acceptances up to this number are on record.
    pub(crate) const fn on_record(&self) -> u64 {
        self.on_record
    }

    /// Whether the acceptance with this number is on record.
    pub(crate) const fn is_on_record(&self, sequence: u64) -> bool {
        sequence <= self.on_record
    }

    /// Takes out the first that waits, with its key, if the entry that it waits for is on record.
    fn take_first(&mut self) -> Option<(u64, C)> {
        let first = self.waits.first_entry()?;
        let &(sequence, key, _) = first.key();
        (sequence <= self.on_record).then(|| (key, first.remove()))
    }

    /// Takes out those that wait for a message, whose acceptance has this number.
    fn take(&mut self, sequence: u64, key: u64) -> impl Iterator<Item = C> + use<'_, C> {
        iter::from_fn(move || {
            let all = (sequence, key, 0)..=(sequence, key, u64::MAX);
            let (&first, _) = self.waits.range(all).next()?;
            self.waits.remove(&first)
        })
    }

    /// All of them wait for the entry with this number from now on.
    fn move_to(&mut self, sequence: u64) {
        let waits = mem::take(&mut self.waits).into_iter();
        self.waits = waits
            .map(|((_, key, number), token)| ((sequence, key, number), token))
            .collect();
    }

    /// Takes out those that `is_gone` names.
    pub(crate) fn take_gone(&mut self, mut is_gone: impl FnMut(&C) -> bool) -> Vec<C> {
        let all = mem::take(&mut self.waits).into_iter();
        let (gone, wait): (Vec<_>, _) = all.partition(|(_, token)| is_gone(token));
        self.waits = wait.into_iter().collect();
        gone.into_iter().map(|(_, token)| token).collect()
    }

    pub(crate) fn tokens(&self) -> impl Iterator<Item = &C> {
        self.waits.values()
    }

    pub(crate) fn take_all(&mut self) -> impl Iterator<Item = (u64, C)> + use<C> {
        let taken = mem::take(&mut self.waits);
        taken.into_iter().map(|((_, key, _), token)| (key, token))
    }
}

impl<T: Tokens> Engine<T> {
    /// The next change to put on record, with [`Options::journal`](ferromqtt_proto::Options::journal): see
    /// [`Client::poll_journal`](ferromqtt_proto::Client::poll_journal). A store that takes all of them before it asks for
    /// [`next_woken`](Self::next_woken) has on record what callers have learnt.
    pub fn poll_journal(&mut self) -> Option<JournalEntry> {
        self.core.poll_journal()
    }

    /// All entries of one direction up to the one numbered `sequence` are on record: the packets that depend on them may leave, and
    /// those who [wait for that](Self::await_stored) learn it.
    pub fn journal_written(&mut self, direction: Direction, sequence: u64) {
        self.core.journal_written(direction, sequence);
        if direction == Direction::Sent {
            self.stored.on_record = self.stored.on_record.max(sequence);
        }
        while let Some((key, token)) = self.stored.take_first() {
            let end = CallEnd::Stored { key };
            self.woken.push_back(Woken::Call(token, end));
        }
        self.set_aside();
        if self.has_ended() {
            self.release_kept();
        }
    }

    /// As [`journal_written`](Self::journal_written) of [`Direction::Sent`], but the [acceptances](SessionChange::Accepted) among these
    /// entries need not be on record: they wait for space. Packets may leave, and those who wait until a message is stored wait on.
    pub fn journal_written_ahead(&mut self, sequence: u64) {
        self.core.journal_written(Direction::Sent, sequence);
    }

    /// The store cannot put entries of one direction on record any more: see
    /// [`Client::journal_failed`](ferromqtt_proto::Client::journal_failed). It is reported by
    /// [`Fact::StoreFailed`](crate::Fact::StoreFailed), and each token that [waits for its message](Self::await_stored) to be stored
    /// comes back with [`CallEnd::NotStored`]. The outgoing queue accepts nothing until [`begin_record`](Self::begin_record). Messages whose
    /// contents the store alone has wait until then; where the failure [is final](crate::OutgoingQueueOptions::failure_is_final) they
    /// leave the queue, and who waits for one gets [`CallEnd::Kept`].
    pub fn journal_failed(&mut self, direction: Direction) {
        self.core.journal_failed(direction);
        if direction == Direction::Sent {
            self.end_all_stored_waits();
            self.give_up_distant();
        }
    }

    /// Begins the record of one direction again: see
    /// [`Client::begin_record`](ferromqtt_proto::Client::begin_record). The messages that wait in the outgoing queue are among the
    /// changes, as [accepted](SessionChange::Accepted), but for [those](Self::distant_messages) whose contents the store alone has:
    /// it has to keep these.
    pub fn begin_record(
        &mut self,
        now: Instant,
        direction: Direction,
    ) -> (u64, Vec<SessionChange>) {
        let (sequence, mut changes) = self.core.begin_record(now, direction);
        if direction == Direction::Sent
            && let Some(queue) = &mut self.outgoing
        {
            for change in &mut changes {
                if let SessionChange::Accepted {
                    key, keep_latest, ..
                } = change
                {
                    *keep_latest = queue.keeps_latest(*key);
                }
            }
            changes.extend(queue.accepted(now));
            queue.note_recorded(sequence);
            self.stored.move_to(sequence);
        }
        (sequence, changes)
    }

    /// The store is closed: what is not on record by now never will be, as far as this engine hears. All tokens of the outgoing
    /// queue come back. Until another one
    /// [opens the outgoing queue](Self::open_outgoing_queue).
    pub fn store_closed(&mut self) {
        self.stored.is_closed = true;
        self.end_all_stored_waits();
        self.release_all_queued();
    }

    /// The store that was [closed](Self::store_closed) is open again, and has what it had.
    pub const fn store_opened(&mut self) {
        self.stored.is_closed = false;
    }

    /// Reports what a store says of itself: [`Fact::StoreFull`](crate::Fact::StoreFull) and
    /// [`Fact::StoreDamaged`](crate::Fact::StoreDamaged).
    pub fn report_store(&mut self, fact: Fact) {
        self.report(fact);
    }

    /// Has `token` wait until a message of the [outgoing queue](Self::queue_publish) is on record. It comes back with
    /// [`CallEnd::Stored`] then, also if the message has ended before, so that there is nothing left to store; and with
    /// [`CallEnd::NotStored`] when the store fails, when there is none, or when the engine ends first.
    pub fn await_stored(&mut self, key: u64, token: T::Call) {
        let queue = self.outgoing.as_ref();
        let sequence = queue.and_then(|queue| queue.recorded_at(key));
        let end = match sequence {
            _ if !self.core.options().journal => CallEnd::NotStored { key },
            None => CallEnd::Stored { key },
            Some(it) if self.stored.is_on_record(it) => CallEnd::Stored { key },
            _ if self.stored.is_closed || self.core.store_has_failed(Direction::Sent) => {
                CallEnd::NotStored { key }
            }
            Some(sequence) => return self.stored.insert(sequence, key, token),
        };
        self.woken.push_back(Woken::Call(token, end));
    }

    /// A message has ended whose acceptance has this number: those who wait until it is stored have nothing to wait for.
    pub(crate) fn end_stored_wait(&mut self, key: u64, sequence: u64) {
        let woken = self.stored.take(sequence, key);
        let woken = woken.map(|token| Woken::Call(token, CallEnd::Stored { key }));
        self.woken.extend(woken);
    }

    /// Nobody says any more what is on record.
    pub(crate) fn end_all_stored_waits(&mut self) {
        let woken = self.stored.take_all();
        let woken = woken.map(|(key, token)| Woken::Call(token, CallEnd::NotStored { key }));
        self.woken.extend(woken);
    }
}
