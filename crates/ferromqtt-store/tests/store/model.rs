//! What must be in a store: plain maps, and nothing of the store's code.

use std::collections::{BTreeMap, BTreeSet};

use ferromqtt_proto::{Direction, PacketId, Publish, SessionChange};
use ferromqtt_store::{Disk, QuarantineReason, StoreChange, StoreLog};

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct ModelSend {
    pub(crate) id: Option<PacketId>,
    pub(crate) released: bool,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Model {
    /// Payload first, for short messages of assertions.
    pub(crate) messages: BTreeMap<u64, (Publish, bool)>,
    pub(crate) sends: BTreeMap<u64, ModelSend>,
    /// The order of the first sendings, and of the PUBRECs.
    pub(crate) order: Vec<u64>,
    pub(crate) releases: Vec<u64>,
    pub(crate) quarantined: BTreeMap<u64, QuarantineReason>,
    pub(crate) received: BTreeSet<PacketId>,
    pub(crate) retired: BTreeSet<PacketId>,
    pub(crate) connecting: bool,
    pub(crate) next_key: u64,
    pub(crate) identity: Option<String>,
    pub(crate) accepted: u64,
}

impl Model {
    pub(crate) fn apply(&mut self, changes: &[StoreChange]) {
        changes.iter().for_each(|change| self.apply_one(change));
    }

    fn apply_one(&mut self, change: &StoreChange) {
        match change {
            StoreChange::Session(change) => self.apply_session(change),
            StoreChange::Ended { key, .. } => self.end(*key),
            StoreChange::Quarantined { key, why } => self.quarantine(*key, *why),
            StoreChange::Identity(name) => self.identity = Some(name.clone()),
            _ => unreachable!("no other change is made"),
        }
    }

    fn apply_session(&mut self, change: &SessionChange) {
        match change {
            SessionChange::Accepted {
                key,
                publish,
                keep_latest,
                ..
            } => self.accept(*key, publish, *keep_latest),
            SessionChange::Publishing {
                key,
                packet_id,
                publish,
            } => {
                self.accept(*key, publish, false);
                self.send(*key, *packet_id);
            }
            SessionChange::Sending { key, packet_id } => self.send(*key, *packet_id),
            SessionChange::Releasing { key } => {
                if let Some(send) = self.sends.get_mut(key) {
                    send.released = true;
                    self.releases.push(*key);
                }
            }
            SessionChange::Finished { key } => self.end(*key),
            SessionChange::Received { packet_id } => drop(self.received.insert(*packet_id)),
            SessionChange::Released { packet_id } => drop(self.received.remove(packet_id)),
            SessionChange::Retired { packet_id } => drop(self.retired.insert(*packet_id)),
            SessionChange::Connecting => self.connecting = true,
            SessionChange::Resumed => self.connecting = false,
            SessionChange::Uncertain { key } => self.quarantine(*key, QuarantineReason::Uncertain),
            SessionChange::SessionLost {
                direction: Direction::Received,
            } => {
                self.connecting = false;
                self.received.clear();
            }
            SessionChange::SessionLost {
                direction: Direction::Sent,
            } => {
                self.retired.clear();
                for key in std::mem::take(&mut self.releases) {
                    self.unsend(key);
                    self.quarantined.insert(key, QuarantineReason::Uncertain);
                }
                self.sends.values_mut().for_each(|send| send.id = None);
            }
            _ => unreachable!("no other change is made"),
        }
    }

    fn quarantine(&mut self, key: u64, why: QuarantineReason) {
        if self.messages.contains_key(&key) {
            self.quarantined.insert(key, why);
            self.unsend(key);
        }
    }

    fn accept(&mut self, key: u64, publish: &Publish, keep_latest: bool) {
        self.messages.insert(key, (publish.clone(), keep_latest));
        self.next_key = self.next_key.max(key + 1);
        self.accepted += 1;
    }

    fn send(&mut self, key: u64, id: PacketId) {
        if !self.sends.contains_key(&key) {
            self.order.push(key);
        }
        let id = Some(id);
        let released = false;
        self.sends.insert(key, ModelSend { id, released });
    }

    fn unsend(&mut self, key: u64) {
        self.sends.remove(&key);
        self.order.retain(|it| *it != key);
        self.releases.retain(|it| *it != key);
    }

    fn end(&mut self, key: u64) {
        self.messages.remove(&key);
        self.quarantined.remove(&key);
        self.unsend(key);
    }

    /// Which parts are others than in what was found.
    pub(crate) fn difference(&self, found: &Self) -> Vec<String> {
        let mut parts = Vec::new();
        let mut compare = |name, expected: String, found: String| {
            if expected != found {
                parts.push(format!("{name}: {expected} -> {found}"));
            }
        };
        let keys = |model: &Self| model.messages.keys().copied().collect::<BTreeSet<_>>();
        let (here, there) = (keys(self), keys(found));
        let text = |keys: Vec<&u64>| format!("{keys:?}");
        compare(
            "missing",
            text(here.difference(&there).collect()),
            text(vec![]),
        );
        compare(
            "added",
            text(vec![]),
            text(there.difference(&here).collect()),
        );
        macro_rules! fields {
            ($($field:ident)+) => {
                $(compare(stringify!($field), format!("{:?}", self.$field), format!("{:?}", found.$field));)+
            };
        }
        fields!(sends order releases quarantined received retired connecting next_key identity accepted);
        parts
    }

    /// What a log says that there is.
    pub(crate) fn of<D: Disk>(log: &mut StoreLog<D>) -> Self {
        let infos: Vec<_> = log.messages().collect();
        let mut model = Self::default();
        let mut order = Vec::new();
        let mut releases = Vec::new();
        for info in &infos {
            let message = log.read(info.key).unwrap().expect("readable");
            assert_eq!(message.key, info.key);
            let entry = (message.publish, message.keep_latest);
            model.messages.insert(info.key, entry);
            if let Some(sent) = info.sent {
                order.push((sent.order, info.key));
                releases.extend(sent.released.map(|at| (at, info.key)));
                let send = ModelSend {
                    id: sent.packet_id,
                    released: sent.released.is_some(),
                };
                model.sends.insert(info.key, send);
            }
            (model.quarantined).extend(info.quarantine.map(|it| (info.key, it.why)));
        }
        order.sort_unstable();
        releases.sort_unstable();
        model.order = order.into_iter().map(|(_, key)| key).collect();
        model.releases = releases.into_iter().map(|(_, key)| key).collect();
        for change in log.session_changes().unwrap() {
            match change {
                SessionChange::Received { packet_id } => drop(model.received.insert(packet_id)),
                SessionChange::Retired { packet_id } => drop(model.retired.insert(packet_id)),
                _ => {}
            }
        }
        model.connecting = log.is_connecting();
        model.next_key = match log.next_key() {
            1 if model.messages.is_empty() => 0,
            key => key,
        };
        model.identity = log.identity().map(|it| it.client_identifier.clone());
        model.accepted = log.stats().counters.accepted;
        model
    }
}
