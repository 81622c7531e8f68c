//! The seam to a store: what is recorded, what waits for that, and a store that fails and comes back
//! (`docs/design/0063-store-seam.md`).

use std::time::Instant;

use super::Client;
use crate::connection::HeldMessage;
use crate::error::DecodeError;
use crate::event::{Delivery, Event, Outcome};
use crate::packet::{Ack, PacketId, QoS};
use crate::packet_trace::Direction;
use crate::session::{
    IdOwner, JournalEntry, Needed, Owner, Released, Session, SessionChange, SessionNeeds,
};

impl Client {
    /// The next change of the session to put on record, with [`Options::journal`](crate::Options::journal). Drain it after every
    /// call, before [`Client::poll_transmit`]; entries may be written many at a time.
    pub fn poll_journal(&mut self) -> Option<JournalEntry> {
        self.session.journal.poll()
    }

    /// All entries of one direction up to the one numbered `sequence` are on record: the packets that depend on them may leave.
    pub fn journal_written(&mut self, direction: Direction, sequence: u64) {
        self.session.journal.set_written(direction, sequence);
        self.release_held();
    }

    /// The number of the entry of one direction that was recorded last; 0 before the first.
    pub const fn journal_end(&self, direction: Direction) -> u64 {
        self.session.journal.last(direction)
    }

    /// Whether the entry of one direction with this number is on record.
    pub const fn is_on_record(&self, direction: Direction, sequence: u64) -> bool {
        self.session.journal.is_written(direction, sequence)
    }

    /// Whether the store of one direction [has failed](Self::journal_failed), and has not begun again.
    pub const fn store_has_failed(&self, direction: Direction) -> bool {
        self.session.journal.store_has_failed(direction)
    }

    /// The store cannot put entries of one direction on record any more. Reported by [`Event::StoreFailed`], and from now on
    /// [`poll_journal`](Self::poll_journal) has none of that direction, until [`begin_record`](Self::begin_record). The connection
    /// stays, and what is on record stays as it is. What depends on an entry that is not is not sent:
    ///
    /// - [`Direction::Sent`]: QoS 2 messages that were not sent yet end as [`Outcome::NotStored`], also those that are accepted
    ///   from now on, and so do QoS 0 messages that a store has accepted: none must come twice. One whose PUBREC cannot go on record keeps its Packet Identifier, and its exchange goes on after
    ///   `begin_record`, or in another process; a caller that waits for it gets [`Outcome::NotStored`]. QoS 1 messages are sent as
    ///   before, and a process that dies may lose them or send them again.
    /// - [`Direction::Received`]: PUBREC and PUBCOMP wait, and so does CONNECT while QoS 2 messages are received and not released.
    ///   After a session that was lost, SUBSCRIBE and UNSUBSCRIBE wait too.
    pub fn journal_failed(&mut self, direction: Direction) {
        if !self.session.journal.fail(direction) {
            return;
        }
        self.events.push_back(Event::StoreFailed { direction });
        if direction == Direction::Received && self.session.journal.keeps() {
            return; // nothing waits for it
        }
        if let Some(connection) = &mut self.connection {
            connection.held.store_failed(direction);
        }
        if direction == Direction::Sent {
            self.end_what_is_not_stored();
        }
        self.release_held();
    }

    /// Begins the record of one direction again: for a store that has failed and works again, or that has forgotten
    /// what it had. Returns the changes of which [`Session::restore`] makes the session as it is now, with the
    /// [accepted](SessionChange::Accepted) messages among them that were handed over and not sent, and the number of the entry
    /// that they all are together. They take the place of everything of that direction that was recorded before, and
    /// entries that are polled from now on follow them.
    ///
    /// Once they are on record, report the number by [`journal_written`](Self::journal_written).
    pub fn begin_record(
        &mut self,
        now: Instant,
        direction: Direction,
    ) -> (u64, Vec<SessionChange>) {
        let sequence = self.session.journal.begin(direction);
        if direction == Direction::Received && self.session.journal.keeps() {
            return (sequence, Vec::new()); // the application has them
        }
        if let Some(connection) = &mut self.connection {
            let journal = &self.session.journal;
            connection.held.begin_record(direction, sequence, journal);
            let needed = &mut connection.pubacks_need;
            if direction == Direction::Received && !journal.is_written(direction, *needed) {
                *needed = sequence;
            }
        }
        let state = self.session.record();
        let state = state.filter(|change| change.direction() == direction);
        let waiting = self.session.outbound.iter_waiting();
        let accepted = waiting.filter_map(|waiting| waiting.as_accepted(now));
        let accepted = accepted.filter(|_| direction == Direction::Sent);
        (sequence, state.chain(accepted).collect())
    }

    /// How many packets wait until a store has put on record what they depend on.
    pub fn held_packets(&self) -> usize {
        (self.connection.as_ref()).map_or(0, |connection| connection.held.len())
    }

    /// Records a change of the session. Returns what packets that depend on it wait for.
    pub(super) fn record(&mut self, holds: bool, change: impl FnOnce() -> SessionChange) -> Needed {
        self.session.journal.record(holds, change)
    }

    /// The exchange of the message with this key has ended, if it has one.
    pub(super) fn record_finished(&mut self, key: Option<u64>) {
        if let Some(key) = key {
            self.record(false, || SessionChange::Finished { key });
        }
    }

    /// The session of the QoS 2 message with this key is lost. A store keeps its own.
    pub(super) fn record_lost(&mut self, owner: Option<Owner>, key: Option<u64>) {
        match owner {
            Some(Owner::Recorded(key)) => {
                self.record(false, || SessionChange::Uncertain { key });
            }
            _ => self.record_finished(key),
        }
    }

    /// Records that CONNECT goes out, if the answer can make identifiers meaningless that are on record: of received messages,
    /// or of sent ones of QoS 2. Returns what it waits for.
    pub(super) fn record_connecting(&mut self) -> SessionNeeds {
        let Session {
            inbound,
            outbound,
            journal,
            ..
        } = &self.session;
        // A store that has failed must not keep the client from sending QoS 1.
        let notes_sent = outbound.has_qos2() && !journal.has_failed(Direction::Received);
        if inbound.is_empty() && !notes_sent && !journal.keeps() {
            return SessionNeeds::default();
        }
        SessionNeeds {
            sent: 0,
            received: self.session.journal.record_connecting(),
        }
    }

    /// The server resumes the session, and no other one than that which is on record, unless that is in doubt.
    pub(super) fn record_resumed(&mut self) {
        let Session {
            inbound,
            outbound,
            journal,
            ..
        } = &mut self.session;
        if !inbound.is_in_doubt(journal.keeps()) && !outbound.is_in_doubt() {
            journal.record_resumed();
        }
    }

    /// PUBREC has turned a message into a PUBREL, which is sent once that is on record.
    pub(super) fn on_released(
        &mut self,
        id: PacketId,
        released: Released,
    ) -> Result<(), DecodeError> {
        let Some(key) = released.key else {
            return self.send_pubrel(Ack::success(id), 0);
        };
        let needed = self.record(true, || SessionChange::Releasing { key });
        if self.session.journal.has_failed(Direction::Sent) {
            self.detach_release(released.number);
        }
        self.send_pubrel(Ack::success(id), needed)
    }

    /// A session that was on the server is gone, since this connection or an earlier one of this process: nothing but PINGREQ,
    /// AUTH and DISCONNECT leaves until that is on record.
    pub(super) fn hold_until_session_end_is_recorded(&mut self) {
        let journal = &self.session.journal;
        if let Some(connection) = &mut self.connection {
            connection.held.hold_all(journal.session_end(), journal);
        }
        self.release_held(); // as far as a store has failed, it waits for nothing
    }

    /// Whether CONNECT is held.
    pub(super) fn holds_connect(&self) -> bool {
        (self.connection.as_ref()).is_some_and(|connection| connection.held.has_connect())
    }

    /// Whether a PUBLISH is held.
    pub(super) fn holds_publishes(&self) -> bool {
        (self.connection.as_ref()).is_some_and(|connection| connection.held.has_publishes())
    }

    pub(super) fn release_held(&mut self) {
        let version = self.options.protocol;
        if let Some(connection) = &mut self.connection {
            connection.release_held(&self.session.journal, version);
        }
    }

    /// The connection ends for us: what it holds is not sent, and PUBLISHes of QoS 1 and 2 wait as before. Returns how many of QoS
    /// 0 are dropped, which were reported as sent.
    pub(super) fn drop_held(&mut self) -> u64 {
        let Some(connection) = &mut self.connection else {
            return 0;
        };
        if !connection.held.is_busy() {
            return 0;
        }
        let mut held = std::mem::take(&mut connection.held);
        let Session {
            outbound,
            ids,
            journal,
            ..
        } = &mut self.session;
        outbound.take_back_held(ids, connection.number);
        let held = held.take_publishes(journal);
        let qos0 = held.filter(|(message, _)| matches!(message, HeldMessage::AtMostOnce(_)));
        qos0.count() as u64
    }

    /// QoS 0 messages that were reported as sent are not.
    pub(super) fn report_unflushed(&mut self, messages: u64) {
        if messages > 0 {
            self.stats.unflushed += messages;
            self.events.push_back(Event::Unflushed { messages });
        }
    }

    /// Ends what depends on entries that no store has: messages that are held and must not come twice, and the wait of callers
    /// for those whose PUBREL is held.
    fn end_what_is_not_stored(&mut self) {
        let Session {
            outbound, journal, ..
        } = &mut self.session;
        let Some(connection) = &mut self.connection else {
            return;
        };
        let mut qos2 = Vec::new();
        let mut qos0 = 0;
        for (message, is_written) in connection.held.take_publishes(journal) {
            match message {
                HeldMessage::InFlight(number)
                    if !is_written && outbound.qos_of(number) == Some(QoS::ExactlyOnce) =>
                {
                    qos2.push(number);
                }
                HeldMessage::AtMostOnce(_) if !is_written => qos0 += 1,
                goes_on => connection.held.hold_publish(goes_on, 0),
            }
        }
        let pubrels: Vec<_> = connection.held.held_pubrels(journal).collect();
        let not_stored = Outcome::NotStored {
            delivery: Delivery::NotSent,
        };
        for number in qos2 {
            self.end_held(number, not_stored.clone());
        }
        self.report_unflushed(qos0);
        for id in pubrels {
            if let Some(&IdOwner::Release(number)) = self.session.ids.owner(id) {
                self.detach_release(number);
            }
        }
    }

    /// Ends a message that was held and never encoded.
    pub(super) fn end_held(&mut self, number: u64, outcome: Outcome) {
        let Some(flow) = self.session.outbound.take_in_flight(number) else {
            return;
        };
        if let Some(connection) = &mut self.connection {
            connection.limits.free_slot();
        }
        self.free(flow.id);
        self.record_finished(flow.key);
        if outcome == Outcome::Expired {
            self.stats.expired += 1;
        }
        if let Some(owner) = flow.owner {
            self.complete_publish(owner, outcome);
        }
    }

    /// The PUBREL with this number cannot be sent for now. A caller does not wait for that; a store does.
    fn detach_release(&mut self, number: u64) {
        if let Some(owner) = self.session.outbound.detach_release(number) {
            let delivery = Delivery::Unknown;
            self.complete_publish(owner, Outcome::NotStored { delivery });
        }
    }
}
