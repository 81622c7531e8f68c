//! A session as changes on record: made of them again, and told in as few as possible.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use super::in_flight::InFlight;
use super::{IdOwner, JournalEntry, Owner, Publish, Session, SessionChange, WaitingPublish};
use crate::error::InvalidOptions;
use crate::packet::PacketId;
use crate::packet_trace::Direction;
use crate::text::Utf8String;

impl Session {
    /// The session that a store has recorded: of each [direction](JournalEntry::direction) all its entries in their order, or the
    /// first ones up to any point, which may be another one for each. How the two rows are mixed does not matter. Entries of
    /// a message that is [finished](SessionChange::Finished) or [uncertain](SessionChange::Uncertain) may have been forgotten.
    ///
    /// `client_identifier` is the one under which it was recorded: a client with another one refuses the session. `next_key`
    /// is larger than every key that the store has seen, also those in entries that it has forgotten.
    ///
    /// Give it to [`Client::new`](crate::Client::new) with [`CleanStart::Never`](crate::CleanStart::Never). What was on its
    /// way is sent again when the server resumes the session, and [`Event::Ended`](crate::Event::Ended) reports how it ends;
    /// a QoS 2 message that was answered is not handed out again. What was [accepted](SessionChange::Accepted) and not sent
    /// is no part of the session: the store [publishes](crate::Client::publish_recorded) it.
    pub fn restore(
        client_identifier: Utf8String,
        next_key: u64,
        entries: impl IntoIterator<Item = JournalEntry>,
    ) -> Self {
        let mut session = Self {
            identity: Some(client_identifier),
            ..Self::default()
        };
        session.journal.note_key(next_key.saturating_sub(1));
        let mut record = Record::default();
        let mut is_connecting = false;
        for entry in entries {
            (session.journal).note_read(entry.direction(), entry.sequence);
            match entry.change {
                SessionChange::Received { packet_id } => {
                    session.inbound.receive(packet_id, 0, true);
                }
                SessionChange::Released { packet_id } => {
                    session.inbound.release(packet_id);
                }
                SessionChange::Connecting => is_connecting = true,
                SessionChange::Resumed => is_connecting = false,
                SessionChange::SessionLost {
                    direction: Direction::Received,
                } => {
                    session.inbound.clear();
                    is_connecting = false;
                }
                SessionChange::SessionLost {
                    direction: Direction::Sent,
                } => record.session_lost(),
                SessionChange::Retired { packet_id } => {
                    record.retired.insert(packet_id);
                }
                change => record.outgoing(change),
            }
        }
        session.journal.set_connecting(is_connecting);
        session.journal.note_key(record.last_key);
        session.take_up(record);
        session
    }

    fn take_up(&mut self, record: Record) {
        for (_, sent) in record.publishing {
            self.take_up_sent(sent);
        }
        for (_, RecordedSend { key, id, anew, .. }) in record.releasing {
            let at = (self.outbound).put_releasing(id, Owner::Recorded(key), anew, key);
            self.ids.put(id, IdOwner::Release(at));
        }
        for id in record.retired {
            if self.ids.owner(id).is_none() {
                self.ids.put(id, IdOwner::GivenUp);
            }
        }
        if let Some(id) = record.last_id {
            self.ids.continue_after(id);
        }
        let waiting = record.anew.into_values().map(|(key, publish)| {
            let waiting = WaitingPublish {
                owner: Some(Owner::Recorded(key)),
                publish,
                resent_as_new: true,
                expiry: None,
                key: Some(key),
            };
            (self.outbound.next_number(), waiting)
        });
        let waiting = waiting.collect();
        self.outbound.put_first(waiting);
    }

    fn take_up_sent(&mut self, sent: RecordedSend) {
        let RecordedSend {
            key,
            id,
            publish,
            anew,
        } = sent;
        let Some(publish) = publish else {
            // The store has lost the message, of which the server may have got the identifier.
            self.ids.put(id, IdOwner::GivenUp);
            return;
        };
        let flow = InFlight {
            id,
            owner: Some(Owner::Recorded(key)),
            publish,
            resent_as_new: anew,
            expiry: None,
            connection: 0,
            sent_at: None,
            begins_at: 0,
            ends_at: 0,
            key: Some(key),
        };
        let number = self.outbound.next_number();
        self.outbound.put_on_the_wire(number, flow);
        self.ids.put(id, IdOwner::Publish(number));
    }

    /// Whether a client with this identifier has this session.
    pub(crate) fn check_identity(
        &self,
        client_identifier: &Utf8String,
    ) -> Result<(), InvalidOptions> {
        match &self.identity {
            Some(identity) if identity != client_identifier => Err(InvalidOptions::OtherSession),
            _ => Ok(()),
        }
    }

    /// The fewest changes of which [`restore`](Self::restore) makes the session as it is now, of both
    /// [directions](SessionChange::direction). What was accepted and not sent is not among them: the store knows it. A store
    /// that begins a new record while there is a client asks for
    /// [`Client::begin_record`](crate::Client::begin_record).
    pub fn record(&self) -> impl Iterator<Item = SessionChange> + use<> {
        let mut changes = Vec::new();
        let waiting = || self.outbound.iter_waiting();
        let in_flight = || self.outbound.iter_in_flight();
        // What is to be sent in another session was sent in one before, under an identifier that means nothing now. Behind what of
        // that has been sent again: messages keep the order in which they are first on record (MQTT-4.6.0-1).
        let is_resending = waiting().any(|it| it.resent_as_new && it.key.is_some());
        if is_resending {
            for flow in in_flight() {
                changes.extend(publishing(flow.key, flow.id, &flow.publish));
            }
            for waiting in waiting().filter(|waiting| waiting.resent_as_new) {
                changes.extend(publishing(waiting.key, self.ids.last(), &waiting.publish));
            }
            let direction = Direction::Sent;
            changes.push(SessionChange::SessionLost { direction });
        }
        if self.journal.is_connecting() {
            changes.push(SessionChange::Connecting);
        }
        // What no PUBREC has answered is not on record: it is to be handed out again.
        let unanswered: BTreeSet<_> = self.deliveries.never_answered().collect();
        let received = self.inbound.identifiers();
        let received = received.filter(|id| !unanswered.contains(id));
        changes.extend(received.map(|packet_id| SessionChange::Received { packet_id }));
        let retired = self
            .ids
            .iter()
            .filter(|(_, owner)| **owner == IdOwner::GivenUp);
        changes.extend(retired.map(|(packet_id, _)| SessionChange::Retired { packet_id }));
        for release in self.outbound.iter_releasing() {
            changes.extend(release.key.into_iter().flat_map(|key| {
                let packet_id = release.id;
                [
                    SessionChange::Sending { key, packet_id },
                    SessionChange::Releasing { key },
                ]
            }));
        }
        for flow in in_flight() {
            let packet_id = flow.id;
            changes.extend(match is_resending {
                true => flow
                    .key
                    .map(|key| SessionChange::Sending { key, packet_id }),
                false => publishing(flow.key, packet_id, &flow.publish),
            });
        }
        // What a connection has not handed over is on record all the same, under an identifier that was freed since.
        let free = (1..=u16::MAX).filter_map(PacketId::new);
        let free = free.filter(|id| self.ids.owner(*id).is_none());
        let taken_back = waiting().filter(|it| !it.resent_as_new && !it.is_recorded());
        for (waiting, id) in taken_back.filter(|it| it.key.is_some()).zip(free) {
            changes.extend(publishing(waiting.key, id, &waiting.publish));
        }
        changes.into_iter()
    }
}

fn publishing(key: Option<u64>, packet_id: PacketId, publish: &Publish) -> Option<SessionChange> {
    Some(SessionChange::Publishing {
        key: key?,
        packet_id,
        publish: publish.clone(),
    })
}

/// What a store knows of the messages on their way out.
#[derive(Debug, Default)]
struct Record {
    /// Not sent yet, by their keys.
    accepted: HashMap<u64, Publish>,
    /// In the order in which they were sent first, by a number for each of them.
    publishing: BTreeMap<u64, RecordedSend>,
    /// To be sent in another session than before, in the same order.
    anew: BTreeMap<u64, (u64, Publish)>,
    /// Those numbers, by the keys.
    places: HashMap<u64, u64>,
    last_place: u64,
    /// In the order of the PUBRECs (MQTT-4.6.0-4), by a number for each of them.
    releasing: BTreeMap<u64, RecordedSend>,
    /// The numbers of those, by their keys.
    pubrecs: HashMap<u64, u64>,
    last_pubrec: u64,
    last_id: Option<PacketId>,
    last_key: u64,
    /// Identifiers that stay unused.
    retired: BTreeSet<PacketId>,
}

#[derive(Debug)]
struct RecordedSend {
    key: u64,
    id: PacketId,
    /// None when the store no longer needs it, since PUBREC came.
    publish: Option<Publish>,
    anew: bool,
}

impl Record {
    fn outgoing(&mut self, change: SessionChange) {
        match change {
            SessionChange::Accepted { key, publish, .. } => {
                self.last_key = self.last_key.max(key);
                self.accepted.insert(key, publish);
            }
            SessionChange::Publishing {
                key,
                packet_id,
                publish,
            } => {
                self.accepted.insert(key, publish);
                self.send(key, packet_id);
            }
            SessionChange::Sending { key, packet_id } => self.send(key, packet_id),
            SessionChange::Releasing { key } => self.release(key),
            SessionChange::Finished { key } | SessionChange::Uncertain { key } => self.finish(key),
            _ => {} // not of an outgoing message
        }
    }

    fn send(&mut self, key: u64, id: PacketId) {
        self.last_id = Some(id);
        self.last_key = self.last_key.max(key);
        let place = *self.places.entry(key).or_insert_with(|| {
            self.last_place += 1;
            self.last_place
        });
        let before = self.publishing.remove(&place);
        let (before, mut anew) = before.map_or((None, false), |sent| (sent.publish, sent.anew));
        let lost = self.anew.remove(&place).map(|(_, publish)| publish);
        anew |= lost.is_some();
        let sent = RecordedSend {
            key,
            id,
            publish: self.accepted.remove(&key).or(lost).or(before),
            anew,
        };
        self.publishing.insert(place, sent);
    }

    fn release(&mut self, key: u64) {
        let place = self.places.get(&key);
        if let Some(mut sent) = place.and_then(|place| self.publishing.remove(place)) {
            sent.publish = None;
            self.last_pubrec += 1;
            self.pubrecs.insert(key, self.last_pubrec);
            self.releasing.insert(self.last_pubrec, sent);
        }
    }

    fn finish(&mut self, key: u64) {
        self.last_key = self.last_key.max(key);
        self.accepted.remove(&key);
        if let Some(place) = self.places.remove(&key) {
            self.publishing.remove(&place);
            self.anew.remove(&place);
        }
        if let Some(pubrec) = self.pubrecs.remove(&key) {
            self.releasing.remove(&pubrec);
        }
    }

    fn session_lost(&mut self) {
        for (place, sent) in std::mem::take(&mut self.publishing) {
            if let Some(publish) = sent.publish {
                self.anew.insert(place, (sent.key, publish));
            }
        }
        self.releasing.clear();
        self.pubrecs.clear();
        self.retired.clear();
    }
}
