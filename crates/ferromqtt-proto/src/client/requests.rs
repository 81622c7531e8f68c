//! SUBSCRIBE and UNSUBSCRIBE that are not completed, with what is asked about them: a program may have as many under way as
//! it has filters.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use super::request::{Kind, Request};
use crate::event::{Delivery, OpId};
use crate::packet::PacketId;
use crate::session::QueueId;
use crate::topic::TopicFilter;

#[derive(Debug, Default)]
pub(super) struct Requests {
    /// In order of their acceptance.
    by_op: BTreeMap<OpId, Request>,
    /// How many of them somebody waits for.
    owned: usize,
    /// Those that are not on the wire of this connection.
    unsent: BTreeSet<OpId>,
    /// The SUBSCRIBEs among those, by the numbers of their queues.
    unsent_for: BTreeSet<(u32, OpId)>,
    /// How many of those ask for a filter.
    unsent_filters: HashMap<TopicFilter, usize>,
}

impl Requests {
    /// Files a request that is not on the wire.
    pub(super) fn insert(&mut self, op: OpId, request: Request) {
        self.owned += usize::from(!request.is_abandoned());
        self.note_unsent(op, &request);
        self.by_op.insert(op, request);
    }

    pub(super) fn get(&self, op: OpId) -> Option<&Request> {
        self.by_op.get(&op)
    }

    pub(super) fn get_mut(&mut self, op: OpId) -> Option<&mut Request> {
        self.by_op.get_mut(&op)
    }

    /// The request is on the wire with this identifier.
    pub(super) fn sent(&mut self, op: OpId, id: PacketId) {
        if let Some(mut request) = self.by_op.remove(&op) {
            self.forget_unsent(op, &request);
            request.sent_as(id);
            self.by_op.insert(op, request);
        }
    }

    pub(super) fn remove(&mut self, op: OpId) -> Option<Request> {
        let request = self.by_op.remove(&op)?;
        self.owned -= usize::from(!request.is_abandoned());
        if !request.is_sent() {
            self.forget_unsent(op, &request);
        }
        Some(request)
    }

    /// Nobody waits for a request any more: one that was not sent leaves. `None` if nobody did.
    pub(super) fn abandon(&mut self, op: OpId) -> Option<Delivery> {
        let request = self.by_op.get_mut(&op)?;
        if request.is_abandoned() {
            return None;
        }
        let delivery = request.delivery();
        if !request.is_sent() {
            self.remove(op);
        } else {
            self.owned -= 1;
            request.abandon(); // its identifier stays in use until the answer
        }
        Some(delivery)
    }

    /// Takes out all.
    pub(super) fn take(&mut self) -> BTreeMap<OpId, Request> {
        std::mem::take(self).by_op
    }

    pub(super) fn is_empty(&self) -> bool {
        self.by_op.is_empty()
    }

    pub(super) fn values(&self) -> impl Iterator<Item = &Request> {
        self.by_op.values()
    }

    /// Those that are not on the wire, in order of acceptance.
    pub(super) fn unsent(&self) -> Vec<OpId> {
        self.unsent.iter().copied().collect()
    }

    /// The SUBSCRIBEs among those that feed a queue.
    pub(super) fn unsent_for(&self, queue: QueueId) -> Vec<OpId> {
        let of_queue = (queue.0, OpId(0))..=(queue.0, OpId(u64::MAX));
        (self.unsent_for.range(of_queue))
            .map(|&(_, op)| op)
            .collect()
    }

    /// Whether a SUBSCRIBE that is not on the wire asks for `filter`.
    pub(super) fn unsent_asks_for(&self, filter: &TopicFilter) -> bool {
        self.unsent_filters.contains_key(filter)
    }

    /// Whether anybody waits for the answer to one of them.
    pub(super) const fn has_owners(&self) -> bool {
        self.owned > 0
    }

    /// Whether one of them is on the wire.
    pub(super) fn has_sent(&self) -> bool {
        self.by_op.len() > self.unsent.len()
    }

    fn note_unsent(&mut self, op: OpId, request: &Request) {
        self.unsent.insert(op);
        if let Kind::Subscribe(subscribe) = &request.kind {
            self.unsent_for.insert((subscribe.queue.0, op));
            for (filter, _) in &subscribe.filters {
                *self.unsent_filters.entry(filter.clone()).or_default() += 1;
            }
        }
    }

    fn forget_unsent(&mut self, op: OpId, request: &Request) {
        self.unsent.remove(&op);
        if let Kind::Subscribe(subscribe) = &request.kind {
            self.unsent_for.remove(&(subscribe.queue.0, op));
            for (filter, _) in &subscribe.filters {
                if let Some(count) = self.unsent_filters.get_mut(filter) {
                    *count -= 1;
                    if *count == 0 {
                        self.unsent_filters.remove(filter);
                    }
                }
            }
        }
    }
}
