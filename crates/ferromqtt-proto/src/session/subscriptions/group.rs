//! All subscriptions of this client to one filter.

use std::collections::{BTreeSet, VecDeque};

use super::Subscription;
use crate::packet::SubscriptionOptions;
use crate::session::QueueId;
use crate::topic::TopicFilter;

/// The subscription of one queue, without its filter.
#[derive(Clone, Debug)]
pub(super) struct Member {
    pub(super) options: SubscriptionOptions,
    pub(super) queue: QueueId,
    pub(super) detached: bool,
    pub(super) own_identifier: Option<u32>,
    pub(super) identifiers: Vec<u32>,
    last_served: u64,
}

impl Member {
    /// Whether a message with these identifiers was sent for this subscription, as far as anybody knows.
    pub(super) fn was_sent_for(&self, identifiers: &[u32]) -> bool {
        identifiers.is_empty()
            || self.identifiers.is_empty()
            || self.identifiers.iter().any(|it| identifiers.contains(it))
    }
}

/// The subscriptions to one filter, in order of subscribing. A detached one is the only one.
#[derive(Debug)]
pub(super) struct Group {
    pub(super) filter: TopicFilter,
    /// By their numbers, which rise. What has left stays as a gap until half of them are gaps, but not at the ends.
    slots: VecDeque<(u64, Option<Member>)>,
    count: usize,
    wanted: Wanted,
    /// The identifier that each member, but for those in `unsettled`, knows as its newest; `None` if they know none.
    settled: Option<u32>,
    /// The numbers of members that came after the server's subscription got its identifier.
    unsettled: Vec<u64>,
    /// Of a Shared Subscription: who gets the next message first. A detached member gets none.
    turns: BTreeSet<(u64, u64)>,
}

impl Group {
    pub(super) const fn new(filter: TopicFilter) -> Self {
        Self {
            filter,
            slots: VecDeque::new(),
            count: 0,
            wanted: Wanted::NOTHING,
            settled: None,
            unsettled: Vec::new(),
            turns: BTreeSet::new(),
        }
    }

    pub(super) const fn len(&self) -> usize {
        self.count
    }

    /// The members with their numbers, in order of subscribing.
    pub(super) fn iter(&self) -> impl Iterator<Item = (u64, &Member)> {
        (self.slots.iter()).filter_map(|(number, member)| Some((*number, member.as_ref()?)))
    }

    pub(super) fn first(&self) -> Option<(u64, &Member)> {
        self.iter().next()
    }

    fn find(&self, number: u64) -> Option<usize> {
        self.slots.binary_search_by_key(&number, |slot| slot.0).ok()
    }

    pub(super) fn get(&self, number: u64) -> Option<&Member> {
        self.slots[self.find(number)?].1.as_ref()
    }

    /// The number of the detached member, if it is one.
    pub(super) fn detached(&self) -> Option<u64> {
        let (number, member) = self.first()?;
        member.detached.then_some(number)
    }

    /// Adds a member behind all others.
    pub(super) fn push(&mut self, number: u64, subscription: Subscription) {
        let member = Member {
            options: subscription.options,
            queue: subscription.queue,
            detached: subscription.detached,
            own_identifier: subscription.own_identifier,
            identifiers: subscription.identifiers,
            last_served: subscription.last_served,
        };
        self.begin(number, &member);
        self.unsettled.push(number);
        if self.slots.is_empty() {
            self.slots.reserve_exact(1); // most filters have one subscription
        }
        self.slots.push_back((number, Some(member)));
        self.count += 1;
    }

    /// Replaces what a member asks for, and whom it serves.
    pub(super) fn replace(&mut self, number: u64, subscription: &Subscription) {
        let Some(mut member) = self.find(number).and_then(|at| self.slots[at].1.take()) else {
            return;
        };
        self.end(number, &member);
        member.options = subscription.options;
        member.own_identifier = subscription.own_identifier;
        member.queue = subscription.queue;
        member.detached = subscription.detached;
        self.begin(number, &member);
        if let Some(at) = self.find(number) {
            self.slots[at].1 = Some(member);
        }
    }

    pub(super) fn remove(&mut self, number: u64) -> Option<Subscription> {
        let at = self.find(number)?;
        let member = self.slots[at].1.take()?;
        self.end(number, &member);
        self.count -= 1;
        let is_gap = |slot: Option<&(u64, Option<Member>)>| slot.is_some_and(|it| it.1.is_none());
        while is_gap(self.slots.front()) {
            self.slots.pop_front();
        }
        while is_gap(self.slots.back()) {
            self.slots.pop_back();
        }
        if self.count < self.slots.len() / 2 {
            self.slots.retain(|(_, member)| member.is_some());
            let slots = &self.slots;
            let is_there = |number: &u64| slots.binary_search_by_key(number, |slot| slot.0).is_ok();
            self.unsettled.retain(is_there);
        }
        Some(self.subscription(member))
    }

    /// A member as a subscription.
    pub(super) fn subscription(&self, member: Member) -> Subscription {
        Subscription {
            filter: self.filter.clone(),
            options: member.options,
            queue: member.queue,
            detached: member.detached,
            own_identifier: member.own_identifier,
            identifiers: member.identifiers,
            last_served: member.last_served,
        }
    }

    fn begin(&mut self, number: u64, member: &Member) {
        if !member.detached {
            self.wanted.add(member.options);
            if self.filter.is_shared() {
                self.turns.insert((member.last_served, number));
            }
        }
    }

    fn end(&mut self, number: u64, member: &Member) {
        if !member.detached {
            self.wanted.subtract(member.options);
            self.turns.remove(&(member.last_served, number));
        }
    }

    /// What the server's one subscription must be like to serve a queue with `options`, and all members but `except`.
    pub(super) fn shared_options(
        &self,
        except: Option<u64>,
        options: SubscriptionOptions,
    ) -> SubscriptionOptions {
        let mut wanted = self.wanted;
        if let Some(member) = except.and_then(|number| self.get(number))
            && !member.detached
        {
            wanted.subtract(member.options);
        }
        wanted.with(options)
    }

    /// The server's subscription has this identifier from now on, or none. Tells `known` of each identifier that a member
    /// knows from now on, or knows no more.
    pub(super) fn identify(&mut self, identifier: Option<u32>, mut known: impl FnMut(u32, Change)) {
        let mut settle = |member: &mut Member| match identifier {
            None => (member.identifiers.drain(..)).for_each(|it| known(it, Change::Less)),
            Some(identifier) => {
                let before = member.identifiers.len();
                member.identifiers.retain(|it| *it != identifier);
                if member.identifiers.len() == before {
                    known(identifier, Change::More);
                }
                member.identifiers.push(identifier);
            }
        };
        let unsettled = std::mem::take(&mut self.unsettled);
        if self.settled == identifier {
            for number in unsettled {
                if let Some(at) = self.find(number) {
                    self.slots[at].1.iter_mut().for_each(&mut settle);
                }
            }
        } else {
            let members = self.slots.iter_mut().filter_map(|slot| slot.1.as_mut());
            members.for_each(settle);
        }
        self.settled = identifier;
    }

    /// The queue that gets the next message of this Shared Subscription, which is message number `served`: the one served
    /// least recently among those that have room, or among all if none has.
    pub(super) fn next(
        &mut self,
        served: u64,
        has_room: impl Fn(QueueId) -> bool,
    ) -> Option<QueueId> {
        let is_free = |&&(_, number): &&(u64, u64)| {
            (self.get(number)).is_some_and(|member| has_room(member.queue))
        };
        let next = self.turns.iter().find(is_free).or_else(|| self.turns.first())?;
        let (last_served, number) = *next;
        let at = self.find(number)?;
        let member = self.slots[at].1.as_mut()?;
        member.last_served = served;
        self.turns.remove(&(last_served, number));
        self.turns.insert((served, number));
        Some(member.queue)
    }
}

/// Whether one more member knows an identifier, or one less.
#[derive(Clone, Copy)]
pub(super) enum Change {
    More,
    Less,
}

/// How many members want what.
#[derive(Clone, Copy, Debug)]
struct Wanted {
    qos: [usize; 3],
    local: usize,
    retain_as_published: usize,
}

impl Wanted {
    const NOTHING: Self = Self {
        qos: [0; 3],
        local: 0,
        retain_as_published: 0,
    };

    const fn add(&mut self, options: SubscriptionOptions) {
        self.qos[options.qos as usize] += 1;
        self.local += !options.no_local as usize;
        self.retain_as_published += options.retain_as_published as usize;
    }

    const fn subtract(&mut self, options: SubscriptionOptions) {
        self.qos[options.qos as usize] -= 1;
        self.local -= !options.no_local as usize;
        self.retain_as_published -= options.retain_as_published as usize;
    }

    /// `options`, and nothing left out that one of the members wants.
    fn with(&self, mut options: SubscriptionOptions) -> SubscriptionOptions {
        use crate::packet::QoS::{AtLeastOnce, ExactlyOnce};
        for qos in [AtLeastOnce, ExactlyOnce] {
            if self.qos[qos as usize] > 0 {
                options.qos = options.qos.max(qos);
            }
        }
        options.no_local &= self.local == 0;
        options.retain_as_published |= self.retain_as_published > 0;
        options
    }
}
