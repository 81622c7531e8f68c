//! The seam to a store that keeps a session when the process does not live on: changes in their order, and which of them
//! are on record. Packets that depend on a change are held until it is (`docs/design/0008-journal.md`).

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};

use super::in_flight::InFlight;
use super::{IdOwner, Publish, Session, WaitingPublish};
use crate::packet::PacketId;

/// A change of a session's state (section 4.1), for a store.
///
/// A publish becomes durable when it is about to be sent. What still waits in the outgoing queue is not on record.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum SessionChange {
    /// A QoS 1 or 2 PUBLISH goes out for the first time; a second time under the same key when its connection had ended
    /// before it was handed over.
    Publishing {
        /// Names this message in later changes. Never reused within a session.
        key: u64,
        /// Packet Identifier.
        packet_id: PacketId,
        /// The message.
        publish: Publish,
    },
    /// A message of a session that the server lost goes out anew.
    PublishingAnew {
        /// The message.
        key: u64,
        /// Its new Packet Identifier.
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
    /// The server has lost the session: messages not finished go out anew, and nothing received is remembered.
    SessionLost,
    /// The message with this Packet Identifier was given up without an acknowledgement, and the server may still hold it: the
    /// identifier stays unused until the session ends, also when all else of the message is forgotten.
    Retired {
        /// The Packet Identifier.
        packet_id: PacketId,
    },
}

/// A change and its number.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JournalEntry {
    /// Numbers are given in order, from 1, without a gap.
    pub sequence: u64,
    /// What changed.
    pub change: SessionChange,
}

#[derive(Debug, Default)]
pub(crate) struct Journal {
    enabled: bool,
    /// The number given last, and the number up to which all is on record.
    last: u64,
    written: u64,
    /// Not handed to the store yet. As many as there are exchanges under way, since packets are held until they are.
    entries: VecDeque<JournalEntry>,
}

impl Journal {
    /// Begins to record, or stops. Without a store nothing is held.
    pub(crate) fn enable(&mut self, enabled: bool) {
        self.enabled = enabled;
        if !enabled {
            self.entries.clear();
            self.written = self.last;
        }
    }

    /// The key of the message whose first change is recorded next; none without a store.
    pub(crate) fn next_key(&self) -> Option<u64> {
        self.enabled.then(|| self.last + 1)
    }

    /// Records a change, and tells what packets depend on from now on.
    pub(crate) fn record(&mut self, change: impl FnOnce() -> SessionChange) -> u64 {
        if self.enabled {
            self.last += 1;
            self.entries.push_back(JournalEntry {
                sequence: self.last,
                change: change(),
            });
        }
        self.last
    }

    pub(crate) fn poll(&mut self) -> Option<JournalEntry> {
        self.entries.pop_front()
    }

    /// The store has all changes up to `sequence`.
    pub(crate) fn set_written(&mut self, sequence: u64) {
        self.written = self.written.max(sequence.min(self.last));
    }

    pub(crate) const fn written(&self) -> u64 {
        self.written
    }

    pub(crate) const fn last(&self) -> u64 {
        self.last
    }
}

impl Session {
    /// The session that a store has recorded: all its entries in their order, or the first ones up to any point. Entries of
    /// a message that is [finished](SessionChange::Finished) may have been forgotten.
    ///
    /// Give it to [`Client::new`](crate::Client::new) with [`CleanStart::Never`](crate::CleanStart::Never). What was on its
    /// way is sent again when the server resumes the session, and nobody is told how it ends; a QoS 2 message that was
    /// answered is not handed out again.
    pub fn restore(entries: impl IntoIterator<Item = JournalEntry>) -> Self {
        let mut session = Self::default();
        let mut record = Record::default();
        for JournalEntry { sequence, change } in entries {
            session.journal.last = session.journal.last.max(sequence);
            match change {
                SessionChange::Received { packet_id } => {
                    session.inbound.receive(packet_id, 0, true);
                }
                SessionChange::Released { packet_id } => {
                    session.inbound.release(packet_id);
                }
                SessionChange::SessionLost => {
                    session.inbound.clear();
                    record.session_lost();
                }
                SessionChange::Retired { packet_id } => {
                    record.retired.insert(packet_id);
                }
                change => record.outgoing(change),
            }
        }
        session.journal.written = session.journal.last;
        for (key, sent) in record.publishing {
            session.publishing(key, sent);
        }
        for (_, (key, sent)) in record.releasing {
            let number = session.publishing(key, sent);
            if let Some(it) = session.outbound.release(number) {
                session.ids.put(it.id, IdOwner::Release(it.number));
            }
        }
        for id in record.retired {
            if session.ids.owner(id).is_none() {
                session.ids.put(id, IdOwner::GivenUp);
            }
        }
        if let Some(id) = record.last_id {
            session.ids.continue_after(id);
        }
        let waiting = record.anew.into_iter().map(|(key, publish)| {
            let waiting = WaitingPublish {
                owner: None,
                publish,
                resent_as_new: true,
                expiry: None,
                key: Some(key),
            };
            (session.outbound.next_number(), waiting)
        });
        let waiting = waiting.collect();
        session.outbound.put_first(waiting);
        session
    }

    fn publishing(&mut self, key: u64, sent: SentPublish) -> u64 {
        let flow = InFlight {
            id: sent.id,
            owner: None,
            publish: sent.publish,
            resent_as_new: sent.anew,
            expiry: None,
            connection: 0,
            begins_at: 0,
            ends_at: 0,
            key: Some(key),
        };
        let number = self.outbound.next_number();
        self.outbound.put_on_the_wire(number, flow);
        self.ids.put(sent.id, IdOwner::Publish(number));
        number
    }
}

/// What a store knows of the messages on their way out. Keys are given in the order of sending, which lasts.
#[derive(Debug, Default)]
struct Record {
    publishing: BTreeMap<u64, SentPublish>,
    /// In the order of the PUBRECs (MQTT-4.6.0-4), by a number for each of them.
    releasing: BTreeMap<u64, (u64, SentPublish)>,
    /// The numbers of those, by their keys.
    pubrecs: HashMap<u64, u64>,
    last_pubrec: u64,
    /// To be sent in another session than before.
    anew: BTreeMap<u64, Publish>,
    last_id: Option<PacketId>,
    /// Identifiers that stay unused.
    retired: BTreeSet<PacketId>,
}

#[derive(Debug)]
struct SentPublish {
    id: PacketId,
    publish: Publish,
    anew: bool,
}

impl Record {
    fn outgoing(&mut self, change: SessionChange) {
        match change {
            SessionChange::Publishing {
                key,
                packet_id,
                publish,
            } => {
                self.anew.remove(&key);
                self.publish(key, packet_id, publish, false);
            }
            SessionChange::PublishingAnew { key, packet_id } => {
                let before = self.publishing.remove(&key).map(|sent| sent.publish);
                if let Some(publish) = self.anew.remove(&key).or(before) {
                    self.publish(key, packet_id, publish, true);
                }
            }
            SessionChange::Releasing { key } => {
                if let Some(sent) = self.publishing.remove(&key) {
                    self.last_pubrec += 1;
                    self.pubrecs.insert(key, self.last_pubrec);
                    self.releasing.insert(self.last_pubrec, (key, sent));
                }
            }
            SessionChange::Finished { key } => {
                self.publishing.remove(&key);
                if let Some(pubrec) = self.pubrecs.remove(&key) {
                    self.releasing.remove(&pubrec);
                }
                self.anew.remove(&key);
            }
            _ => {} // not of an outgoing message
        }
    }

    fn publish(&mut self, key: u64, id: PacketId, publish: Publish, anew: bool) {
        self.last_id = Some(id);
        self.publishing
            .insert(key, SentPublish { id, publish, anew });
    }

    fn session_lost(&mut self) {
        let lost = std::mem::take(&mut self.publishing);
        self.anew
            .extend(lost.into_iter().map(|(key, sent)| (key, sent.publish)));
        self.releasing.clear();
        self.pubrecs.clear();
        self.retired.clear();
    }
}
