//! All subscriptions of this client to one filter.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use super::Subscription;
use super::identifiers::Identifiers;
use crate::packet::{QoS, SubscriptionOptions};
use crate::session::QueueId;
use crate::topic::TopicFilter;

/// The subscription of one queue, without its filter.
#[derive(Clone, Debug)]
pub(super) struct Member {
    pub(super) options: SubscriptionOptions,
    pub(super) queue: QueueId,
    pub(super) detached: bool,
    own_identifier: Option<u32>,
    pub(super) identifiers: Identifiers,
    last_served: u64,
}

impl Member {
    /// Whether a message with these identifiers was sent for this subscription, as far as anybody knows.
    #[inline]
    pub(super) fn was_sent_for(&self, identifiers: &[u32]) -> bool {
        identifiers.is_empty()
            || self.identifiers.is_empty()
            || self.identifiers.any_of(identifiers)
    }
}

/// The subscriptions to one filter, in order of subscribing. A detached one is the only one.
///
/// Most filters have one, so that is found without another look at memory.
#[derive(Debug)]
pub(super) struct Group {
    pub(super) filter: TopicFilter,
    /// The first one, with its number.
    first: Option<(u64, Member)>,
    /// Those that only a few filters have need of.
    others: Option<Box<OtherMembers>>,
    wanted: Wanted,
    /// What is known of all members, but for the unsettled ones.
    settled: Settled,
}

/// Whether members know one identifier as their newest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Settled {
    Unknown,
    /// `None` if they know none at all.
    Newest(Option<u32>),
}

#[derive(Debug, Default)]
struct OtherMembers {
    /// By their numbers, which rise. What has left stays as a gap until half of them are gaps, but not at the ends.
    slots: VecDeque<(u64, Option<Member>)>,
    count: usize,
    /// The numbers of all members, by their queues.
    numbers: BTreeMap<u32, u64>,
    /// The numbers of members that came since the server's subscription got its identifier.
    unsettled: Vec<u64>,
    /// Of a Shared Subscription: who gets the next message first, by the last message and the number. A detached member gets
    /// none.
    turns: BTreeSet<(u64, u64)>,
}

impl OtherMembers {
    fn find(&self, number: u64) -> Option<usize> {
        self.slots.binary_search_by_key(&number, |slot| slot.0).ok()
    }

    fn remove(&mut self, number: u64) -> Option<Member> {
        let at = self.find(number)?;
        let member = self.slots[at].1.take()?;
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
        }
        Some(member)
    }
}

impl Group {
    pub(super) const fn new(filter: TopicFilter) -> Self {
        Self {
            filter,
            first: None,
            others: None,
            wanted: Wanted::NOTHING,
            settled: Settled::Unknown,
        }
    }

    pub(super) const fn is_empty(&self) -> bool {
        self.first.is_none()
    }

    /// The members with their numbers, in order of subscribing.
    #[inline]
    pub(super) fn iter(&self) -> impl Iterator<Item = (u64, &Member)> {
        let first = (self.first.iter()).map(|(number, member)| (*number, member));
        let others = (self.others.iter()).flat_map(|others| &others.slots);
        first.chain(others.filter_map(|(number, member)| Some((*number, member.as_ref()?))))
    }

    pub(super) fn first(&self) -> Option<(u64, &Member)> {
        (self.first.as_ref()).map(|(number, member)| (*number, member))
    }

    pub(super) fn get(&self, number: u64) -> Option<&Member> {
        match &self.first {
            Some((first, member)) if *first == number => Some(member),
            _ => {
                let others = self.others.as_ref()?;
                others.slots[others.find(number)?].1.as_ref()
            }
        }
    }

    fn get_mut(&mut self, number: u64) -> Option<&mut Member> {
        match &mut self.first {
            Some((first, member)) if *first == number => Some(member),
            _ => {
                let others = self.others.as_mut()?;
                let at = others.find(number)?;
                others.slots[at].1.as_mut()
            }
        }
    }

    /// The number of the member that serves a queue.
    pub(super) fn number_of(&self, queue: QueueId) -> Option<u64> {
        match (&self.others, &self.first) {
            (Some(others), _) => others.numbers.get(&queue.0).copied(),
            (None, Some((number, member))) => (member.queue == queue).then_some(*number),
            (None, None) => None,
        }
    }

    /// The number of the detached member, if it is one.
    pub(super) fn detached(&self) -> Option<u64> {
        let (number, member) = self.first()?;
        member.detached.then_some(number)
    }

    /// Appends the queues of those members that want a message.
    #[inline]
    pub(super) fn push_queues(&self, wants: impl Fn(&Member) -> bool, queues: &mut Vec<QueueId>) {
        let mut push = |member: &Member| {
            if !member.detached && wants(member) {
                queues.push(member.queue);
            }
        };
        if let Some((_, first)) = &self.first {
            push(first);
        }
        if let Some(others) = &self.others {
            (others.slots.iter()).for_each(|(_, member)| member.iter().for_each(&mut push));
        }
    }

    /// Whether the server has sent a message with these identifiers for the detached member.
    pub(super) fn is_detached_for(&self, identifiers: &[u32]) -> bool {
        (self.first()).is_some_and(|(_, it)| it.detached && it.identifiers.any_of(identifiers))
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
        if self.others.is_none() && (self.first.is_some() || self.filter.is_shared()) {
            let mut others = Box::new(OtherMembers::default());
            let first = self
                .first
                .iter()
                .map(|(number, first)| (first.queue.0, *number));
            others.numbers.extend(first);
            self.others = Some(others);
        }
        self.begin(number, &member);
        match (&self.first, &mut self.others) {
            (Some(_), Some(others)) => {
                others.unsettled.push(number);
                others.slots.push_back((number, Some(member)));
                others.count += 1;
            }
            _ => {
                self.settled = Settled::Unknown;
                self.first = Some((number, member));
            }
        }
    }

    /// Replaces what a member asks for, and whom it serves.
    pub(super) fn replace(&mut self, number: u64, subscription: &Subscription) {
        let Some(mut member) = self.get(number).cloned() else {
            return;
        };
        self.end(number, &member);
        member.options = subscription.options;
        member.own_identifier = subscription.own_identifier;
        member.queue = subscription.queue;
        member.detached = subscription.detached;
        self.begin(number, &member);
        if let Some(place) = self.get_mut(number) {
            *place = member;
        }
    }

    pub(super) fn remove(&mut self, number: u64) -> Option<Subscription> {
        let member = match self.first.take_if(|(first, _)| *first == number) {
            Some((_, member)) => {
                let next = self.others.as_mut().and_then(|others| {
                    let next = others.slots.front()?.0;
                    Some((next, others.remove(next)?))
                });
                self.first = next;
                member
            }
            None => self.others.as_mut()?.remove(number)?,
        };
        self.end(number, &member);
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
        }
        if let Some(others) = &mut self.others {
            others.numbers.insert(member.queue.0, number);
            if !member.detached && self.filter.is_shared() {
                others.turns.insert((member.last_served, number));
            }
        }
    }

    fn end(&mut self, number: u64, member: &Member) {
        if !member.detached {
            self.wanted.subtract(member.options);
        }
        if let Some(others) = &mut self.others {
            others.numbers.remove(&member.queue.0);
            others.turns.remove(&(member.last_served, number));
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

    /// The server's subscription has this identifier from now on, or none. Reports to `known` each identifier that a member
    /// knows from now on, or knows no more.
    pub(super) fn identify(&mut self, identifier: Option<u32>, mut known: impl FnMut(u32, Change)) {
        let unsettled = match &mut self.others {
            Some(others) => std::mem::take(&mut others.unsettled),
            None => Vec::new(),
        };
        if self.settled == Settled::Newest(identifier) {
            for number in unsettled {
                if let Some(member) = self.get_mut(number) {
                    member.identifiers.learn(identifier, &mut known);
                }
            }
            return;
        }
        let first = self.first.iter_mut().map(|(_, member)| member);
        let others = self.others.iter_mut().flat_map(|others| &mut others.slots);
        for member in first.chain(others.filter_map(|(_, member)| member.as_mut())) {
            member.identifiers.learn(identifier, &mut known);
        }
        self.settled = Settled::Newest(identifier);
    }

    /// The queue that gets the next message of this Shared Subscription, which is message number `served`: the one served
    /// least recently among those that are not full, or among all if all are.
    pub(super) fn next(
        &mut self,
        served: u64,
        has_room: impl Fn(QueueId) -> bool,
    ) -> Option<QueueId> {
        let turns = &self.others.as_ref()?.turns;
        let is_free = |&&(_, number): &&(u64, u64)| {
            (self.get(number)).is_some_and(|member| has_room(member.queue))
        };
        let next = turns.iter().find(is_free).or_else(|| turns.first())?;
        let (last_served, number) = *next;
        let member = self.get_mut(number)?;
        member.last_served = served;
        let queue = member.queue;
        let turns = &mut self.others.as_mut()?.turns;
        turns.remove(&(last_served, number));
        turns.insert((served, number));
        Some(queue)
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
    qos: [u32; 3],
    local: u32,
    retain_as_published: u32,
}

impl Wanted {
    const NOTHING: Self = Self {
        qos: [0; 3],
        local: 0,
        retain_as_published: 0,
    };

    const fn add(&mut self, options: SubscriptionOptions) {
        self.qos[options.qos as usize] += 1;
        self.local += !options.no_local as u32;
        self.retain_as_published += options.retain_as_published as u32;
    }

    const fn subtract(&mut self, options: SubscriptionOptions) {
        self.qos[options.qos as usize] -= 1;
        self.local -= !options.no_local as u32;
        self.retain_as_published -= options.retain_as_published as u32;
    }

    /// `options`, and nothing left out that one of the members wants.
    fn with(&self, mut options: SubscriptionOptions) -> SubscriptionOptions {
        for qos in [QoS::AtLeastOnce, QoS::ExactlyOnce] {
            if self.qos[qos as usize] > 0 {
                options.qos = options.qos.max(qos);
            }
        }
        options.no_local &= self.local == 0;
        options.retain_as_published |= self.retain_as_published > 0;
        options
    }
}
