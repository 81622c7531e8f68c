//! The seam to a store that keeps a session when the process does not live on (design decision 9): changes in their order,
//! and which of them are on record. Packets that depend on a change are held until it is.

use std::collections::{BTreeMap, HashMap, VecDeque};

use super::outbound::InFlight;
use super::{IdOwner, Session, Waiting};
use crate::client::Publish;
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
        let mut on_the_wire: HashMap<u64, IdOwner> = HashMap::new();
        let mut anew: BTreeMap<u64, Publish> = BTreeMap::new();
        for JournalEntry { sequence, change } in entries {
            session.journal.last = session.journal.last.max(sequence);
            match change {
                SessionChange::Publishing {
                    key,
                    packet_id,
                    publish,
                } => {
                    // One that was never handed over to its connection is recorded anew with the next.
                    session.finished(on_the_wire.remove(&key));
                    anew.remove(&key);
                    let owner = session.publishing(key, packet_id, publish, false);
                    on_the_wire.insert(key, owner);
                }
                SessionChange::PublishingAnew { key, packet_id } => {
                    let again = session.take_back(on_the_wire.remove(&key));
                    if let Some(publish) = anew.remove(&key).or(again) {
                        let owner = session.publishing(key, packet_id, publish, true);
                        on_the_wire.insert(key, owner);
                    }
                }
                SessionChange::Releasing { key } => {
                    if let Some(IdOwner::Publish(number)) = on_the_wire.get(&key).copied()
                        && let Some(it) = session.outbound.release(number)
                    {
                        let owner = session.ids.put(it.id, IdOwner::Release(it.number));
                        on_the_wire.insert(key, owner);
                    }
                }
                SessionChange::Finished { key } => {
                    anew.remove(&key);
                    session.finished(on_the_wire.remove(&key));
                }
                SessionChange::Received { packet_id } => {
                    session.inbound.receive(packet_id);
                }
                SessionChange::Released { packet_id } => {
                    session.inbound.release(packet_id);
                }
                SessionChange::SessionLost => {
                    let (publishing, _) = session.outbound.take_on_the_wire();
                    anew.extend(
                        (publishing.into_iter())
                            .filter_map(|flow| flow.key.map(|key| (key, flow.publish))),
                    );
                    on_the_wire.clear();
                    session.ids.clear();
                    session.inbound.clear();
                }
            }
        }
        session.journal.written = session.journal.last;
        let waiting = anew.into_iter().map(|(key, publish)| Waiting {
            op: None,
            publish,
            resent_as_new: true,
            expiry: None,
            key: Some(key),
        });
        session.outbound.put_first(waiting.collect());
        session
    }

    fn publishing(
        &mut self,
        key: u64,
        id: PacketId,
        publish: Publish,
        resent_as_new: bool,
    ) -> IdOwner {
        let number = self.outbound.put_on_the_wire(InFlight {
            id,
            op: None,
            publish,
            resent_as_new,
            expiry: None,
            connection: 0,
            ends_at: 0,
            key: Some(key),
        });
        self.ids.put(id, IdOwner::Publish(number))
    }

    /// A message that is on the wire no more.
    fn take_back(&mut self, owner: Option<IdOwner>) -> Option<Publish> {
        let Some(IdOwner::Publish(number)) = owner else {
            return None;
        };
        let publish = self.outbound.publish_of(number)?.clone();
        self.finished(owner);
        Some(publish)
    }

    fn finished(&mut self, owner: Option<IdOwner>) {
        let finished = match owner {
            Some(IdOwner::Publish(number)) => self.outbound.finish_publish(number),
            Some(IdOwner::Release(number)) => self.outbound.finish_release(number),
            _ => None,
        };
        if let Some(finished) = finished {
            self.ids.release(finished.id);
        }
    }
}
