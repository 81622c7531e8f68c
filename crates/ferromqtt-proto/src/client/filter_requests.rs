//! The SUBSCRIBE and UNSUBSCRIBE that are not completed, and indexes of those that are not sent.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::ops::Range;

use super::filter_request::Kind;
use super::sent_packets::SentPackets;
use super::subscribe::Subscribe;
use crate::event::{Delivery, OpId};
use crate::packet::{PacketId, Properties, ReasonCode};
use crate::session::{QueueId, Subscription};
use crate::topic::TopicFilter;

#[derive(Debug)]
pub(super) struct FilterRequest {
    pub(super) kind: Kind,
    /// What it is on the wire of this connection as.
    sent_as: SentPackets,
    /// It was on the wire, of whatever connection.
    was_sent: bool,
    /// No caller waits for it (any more).
    abandoned: bool,
    /// Restores subscriptions that a lost session held.
    pub(super) restores: bool,
    /// What an UNSUBSCRIBE took out of the registry, to be put back when the server refuses it, until that answers.
    removed: HashMap<TopicFilter, Vec<Subscription>>,
}

impl FilterRequest {
    pub(super) fn new(kind: Kind) -> Self {
        Self {
            kind,
            sent_as: SentPackets::None,
            was_sent: false,
            abandoned: false,
            restores: false,
            removed: HashMap::new(),
        }
    }

    /// One that no caller waits for, and that outlives connections all the same.
    pub(super) fn restoring(subscribe: Subscribe) -> Self {
        let mut request = Self::new(Kind::Subscribe(subscribe));
        request.abandoned = true;
        request.restores = true;
        request
    }

    pub(super) const fn sent_as(&self) -> &SentPackets {
        &self.sent_as
    }

    /// The packet at this place of those that it is sent as, and which of the filters it has.
    pub(super) fn packet(&self, at: usize) -> Option<(PacketId, Range<usize>)> {
        self.sent_as.packet(at, self.kind.filters())
    }

    /// The queues of what it took out of the registry, and the server has not answered.
    pub(super) fn queues_removed_from(&self) -> BTreeSet<u32> {
        let removed = self.removed.values().flatten();
        removed.map(|it| it.queue.0).collect()
    }

    pub(super) const fn abandoned(&self) -> bool {
        self.abandoned
    }

    /// Its connection is gone, and with it the Packet Identifiers.
    pub(super) fn take_back(&mut self) -> SentPackets {
        std::mem::take(&mut self.sent_as)
    }

    pub(super) const fn delivery(&self) -> Delivery {
        if self.was_sent {
            Delivery::Unknown
        } else {
            Delivery::NotSent
        }
    }
}

/// All of them, in order of their acceptance. No call looks at more of them than it is about.
#[derive(Debug, Default)]
pub(super) struct FilterRequests {
    /// Boxed: a request is large, and the map would hold room for twice as many.
    all: BTreeMap<OpId, Box<FilterRequest>>,
    unsent: Unsent,
    /// How many a caller waits for.
    awaited: usize,
    restoring: usize,
    /// How many subscriptions of each queue UNSUBSCRIBEs took out of the registry that the server has not answered.
    removed: BTreeMap<u32, usize>,
}

/// Those that wait for a connection, or for a Packet Identifier.
#[derive(Debug, Default)]
struct Unsent {
    ops: BTreeSet<OpId>,
    /// The SUBSCRIBEs among them, by their queues.
    by_queue: BTreeSet<(u32, OpId)>,
    /// How often those ask for each filter.
    filters: HashMap<TopicFilter, usize>,
}

impl Unsent {
    fn enter(&mut self, op: OpId, kind: &Kind) {
        self.ops.insert(op);
        if let Kind::Subscribe(subscribe) = kind {
            self.by_queue.insert((subscribe.queue.0, op));
            for (filter, _) in &subscribe.filters {
                *self.filters.entry(filter.clone()).or_default() += 1;
            }
        }
    }

    fn leave(&mut self, op: OpId, kind: &Kind) {
        self.ops.remove(&op);
        if let Kind::Subscribe(subscribe) = kind {
            self.by_queue.remove(&(subscribe.queue.0, op));
            for (filter, _) in &subscribe.filters {
                if let Some(count) = self.filters.get_mut(filter) {
                    *count -= 1;
                    if *count == 0 {
                        self.filters.remove(filter);
                    }
                }
            }
        }
    }
}

/// One less for this queue.
fn leave(counts: &mut BTreeMap<u32, usize>, queue: QueueId) {
    if let Some(count) = counts.get_mut(&queue.0) {
        *count -= 1;
        if *count == 0 {
            counts.remove(&queue.0);
        }
    }
}

impl FilterRequests {
    pub(super) fn insert(&mut self, op: OpId, request: FilterRequest) {
        self.awaited += usize::from(!request.abandoned);
        self.restoring += usize::from(request.restores);
        for subscription in request.removed.values().flatten() {
            *self.removed.entry(subscription.queue.0).or_default() += 1;
        }
        if request.sent_as.is_none() {
            self.unsent.enter(op, &request.kind);
        }
        self.all.insert(op, Box::new(request));
    }

    pub(super) fn remove(&mut self, op: OpId) -> Option<FilterRequest> {
        let request = self.all.remove(&op)?;
        self.awaited -= usize::from(!request.abandoned);
        self.restoring -= usize::from(request.restores);
        for subscription in request.removed.values().flatten() {
            leave(&mut self.removed, subscription.queue);
        }
        if request.sent_as.is_none() {
            self.unsent.leave(op, &request.kind);
        }
        Some(*request)
    }

    pub(super) fn get(&self, op: OpId) -> Option<&FilterRequest> {
        self.all.get(&op).map(|request| &**request)
    }

    /// All of them, in order.
    pub(super) fn values(&self) -> impl Iterator<Item = &FilterRequest> {
        self.all.values().map(|request| &**request)
    }

    pub(super) fn into_all(self) -> impl Iterator<Item = (OpId, FilterRequest)> {
        (self.all.into_iter()).map(|(op, request)| (op, *request))
    }

    pub(super) fn is_empty(&self) -> bool {
        self.all.is_empty()
    }

    /// Notes that a request is on the wire, as these packets.
    pub(super) fn set_sent(&mut self, op: OpId, packets: SentPackets) -> Option<&FilterRequest> {
        let request = self.all.get_mut(&op)?;
        if std::mem::replace(&mut request.sent_as, packets).is_none() {
            self.unsent.leave(op, &request.kind);
        }
        request.was_sent = true;
        Some(request)
    }

    /// The server has answered a packet of a request: see [`SentPackets::answer`].
    pub(super) fn answer(
        &mut self,
        op: OpId,
        id: PacketId,
        reasons: Vec<ReasonCode>,
        properties: Properties,
    ) -> Option<(Vec<ReasonCode>, Properties)> {
        let request = self.all.get_mut(&op)?;
        request.sent_as.answer(id, reasons, properties)
    }

    /// No caller waits for it any more.
    pub(super) fn abandon(&mut self, op: OpId) {
        if let Some(request) = self.all.get_mut(&op)
            && !std::mem::replace(&mut request.abandoned, true)
        {
            self.awaited -= 1;
        }
    }

    pub(super) fn put_removed(&mut self, op: OpId, removed: Vec<Subscription>) {
        if let Some(request) = self.all.get_mut(&op) {
            for subscription in removed {
                *self.removed.entry(subscription.queue.0).or_default() += 1;
                let of_filter = request.removed.entry(subscription.filter.clone());
                of_filter.or_default().push(subscription);
            }
        }
    }

    /// What an UNSUBSCRIBE took out of the registry for some of its filters, which the server has answered.
    pub(super) fn take_removed(&mut self, op: OpId, filters: Range<usize>) -> Vec<Subscription> {
        let Some(request) = self.all.get_mut(&op) else {
            return Vec::new();
        };
        let Kind::Unsubscribe(unsubscribe) = &request.kind else {
            return Vec::new();
        };
        let mut removed = Vec::new();
        for filter in &unsubscribe.filters[filters] {
            removed.extend(request.removed.remove(filter).into_iter().flatten());
        }
        for subscription in &removed {
            leave(&mut self.removed, subscription.queue);
        }
        removed
    }

    /// Whether an UNSUBSCRIBE took a subscription of this queue out of the registry, and the server has not answered it.
    pub(super) fn is_removed_from(&self, queue: QueueId) -> bool {
        self.removed.contains_key(&queue.0)
    }

    /// Drops those that restore subscriptions.
    pub(super) fn remove_restoring(&mut self) {
        if self.restoring > 0 {
            let restoring = self.all.iter().filter(|(_, request)| request.restores);
            let restoring: Vec<_> = restoring.map(|(&op, _)| op).collect();
            for op in restoring {
                self.remove(op);
            }
        }
    }

    pub(super) fn first_unsent(&self) -> Option<OpId> {
        self.unsent.ops.first().copied()
    }

    /// The first SUBSCRIBE that is not sent and would feed a queue.
    pub(super) fn first_unsent_for(&self, queue: QueueId) -> Option<OpId> {
        let (first, last) = (OpId(0), OpId(u64::MAX));
        let mut of_queue = (self.unsent.by_queue).range((queue.0, first)..=(queue.0, last));
        of_queue.next().map(|(_, op)| *op)
    }

    /// Whether a SUBSCRIBE that is not sent asks for `filter`.
    pub(super) fn unsent_ask_for(&self, filter: &TopicFilter) -> bool {
        self.unsent.filters.contains_key(filter)
    }

    /// Whether a caller waits for the answer to one of them.
    pub(super) const fn any_awaited(&self) -> bool {
        self.awaited > 0
    }

    /// Whether one of them awaits its answer on this connection.
    pub(super) fn any_unanswered(&self) -> bool {
        self.unsent.ops.len() < self.all.len()
    }

    /// Whether one of them restores subscriptions.
    pub(super) const fn any_restores(&self) -> bool {
        self.restoring > 0
    }
}
