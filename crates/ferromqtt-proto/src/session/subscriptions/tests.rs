//! The registry beside one that looks at every subscription, each time.

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::{select, subsequence};

use super::*;
use crate::packet::QoS;

/// The rules, without an index.
#[derive(Default)]
struct Scanned {
    entries: Vec<Subscription>,
    served: u64,
}

impl Scanned {
    fn add(&mut self, subscription: Subscription) {
        let is_there = self.contains(&subscription.filter);
        let same = self.entries.iter_mut().find(|entry| {
            entry.filter == subscription.filter
                && (entry.queue == subscription.queue || entry.detached)
        });
        match same {
            Some(entry) => {
                entry.options = subscription.options;
                entry.own_identifier = subscription.own_identifier;
                entry.queue = subscription.queue;
                entry.detached = subscription.detached;
            }
            None if subscription.detached && is_there => {}
            None => self.entries.push(subscription),
        }
    }

    fn contains(&self, filter: &TopicFilter) -> bool {
        self.entries.iter().any(|entry| entry.filter == *filter)
    }

    fn remove(&mut self, leaves: impl Fn(&Subscription) -> bool) -> Vec<Subscription> {
        let all = std::mem::take(&mut self.entries);
        let (gone, kept) = all.into_iter().partition(leaves);
        self.entries = kept;
        gone
    }

    fn detach(&mut self, queue: QueueId) -> Vec<Subscription> {
        let mut left_to_others = Vec::new();
        for mut entry in self.remove(|entry| entry.queue == queue) {
            if self.contains(&entry.filter) {
                left_to_others.push(entry);
            } else {
                entry.queue = QueueId::DEFAULT;
                entry.detached = true;
                self.entries.push(entry);
            }
        }
        left_to_others
    }

    fn identify(&mut self, filter: &TopicFilter, identifier: Option<u32>) {
        for entry in self
            .entries
            .iter_mut()
            .filter(|entry| entry.filter == *filter)
        {
            let known = entry.identifiers.iter();
            let known: Vec<_> = known.filter(|it| Some(*it) != identifier).collect();
            entry.identifiers = match identifier {
                None => Identifiers::default(),
                Some(identifier) => known.into_iter().chain([identifier]).collect(),
            };
        }
    }

    fn known_identifier(&self, filter: &TopicFilter) -> Option<u32> {
        let entry = self.entries.iter().find(|entry| entry.filter == *filter)?;
        entry.identifiers.iter().last()
    }

    fn shared_options(
        &self,
        filter: &TopicFilter,
        queue: QueueId,
        options: SubscriptionOptions,
    ) -> SubscriptionOptions {
        (self.entries.iter())
            .filter(|entry| entry.filter == *filter && entry.queue != queue && !entry.detached)
            .fold(options, |shared, other| SubscriptionOptions {
                qos: shared.qos.max(other.options.qos),
                no_local: shared.no_local && other.options.no_local,
                retain_as_published: shared.retain_as_published
                    || other.options.retain_as_published,
                retain_handling: shared.retain_handling,
            })
    }

    fn find_queues(
        &mut self,
        topic: &str,
        identifiers: &[u32],
        has_room: impl Fn(QueueId) -> bool,
    ) -> Vec<QueueId> {
        let mut queues = Vec::new();
        let was_sent_for = |entry: &Subscription| {
            identifiers.is_empty()
                || entry.identifiers.is_empty()
                || entry.identifiers.iter().any(|it| identifiers.contains(&it))
        };
        self.find_matching(topic, was_sent_for, &has_room, &mut queues);
        let is_for_detached = self.entries.iter().any(|entry| {
            entry.detached
                && entry.identifiers.iter().any(|it| identifiers.contains(&it))
                && entry.filter.matches(topic)
        });
        if queues.is_empty() && !is_for_detached {
            self.find_matching(topic, |_| true, &has_room, &mut queues);
        }
        queues
    }

    fn find_matching(
        &mut self,
        topic: &str,
        wants: impl Fn(&Subscription) -> bool,
        has_room: impl Fn(QueueId) -> bool,
        queues: &mut Vec<QueueId>,
    ) {
        let mut shared = Vec::new();
        for (at, entry) in self.entries.iter().enumerate() {
            let is_new = !entry.detached && !queues.contains(&entry.queue);
            if is_new && wants(entry) && entry.filter.matches(topic) {
                match entry.filter.is_shared() {
                    true => shared.push(at),
                    false => queues.push(entry.queue),
                }
            }
        }
        for at in shared {
            let filter = self.entries[at].filter.clone();
            let has_it = |it: &Subscription| it.filter == filter && queues.contains(&it.queue);
            if !self.entries.iter().any(has_it) {
                queues.extend(self.next_of(&filter, &has_room));
            }
        }
    }

    fn next_of(
        &mut self,
        filter: &TopicFilter,
        has_room: impl Fn(QueueId) -> bool,
    ) -> Option<QueueId> {
        let next = (self.entries.iter_mut())
            .filter(|entry| entry.filter == *filter && !entry.detached)
            .min_by_key(|entry| (!has_room(entry.queue), entry.last_served))?;
        self.served += 1;
        next.last_served = self.served;
        Some(next.queue)
    }

    fn find_heir(
        &mut self,
        gone: &[Subscription],
        topic: &str,
        has_room: impl Fn(QueueId) -> bool,
    ) -> Option<QueueId> {
        (gone.iter())
            .filter(|it| it.filter.is_shared() && it.filter.matches(topic))
            .find_map(|it| self.next_of(&it.filter, &has_room))
    }
}

#[derive(Clone, Debug)]
enum RegistryStep {
    Subscribe(TopicFilter, QueueId, SubscriptionOptions, Option<u32>),
    /// Registered again after the server refused to unsubscribe it: nothing is identified.
    PutBack(TopicFilter, QueueId),
    Close(QueueId),
    Detach(QueueId),
    Unsubscribe(Vec<TopicFilter>),
    Refuse(TopicFilter, QueueId),
    Message(String, Vec<u32>, Vec<u32>),
}

const FILTERS: [&str; 9] = [
    "a",
    "a/b",
    "a/+",
    "#",
    "+/b",
    "$share/g/a/b",
    "$share/h/a/b",
    "$share/g/#",
    "$share/g/a",
];

fn step() -> impl Strategy<Value = RegistryStep> {
    let filter = || select(&FILTERS[..]).prop_map(|it| TopicFilter::new(it).unwrap());
    let queue = || (0_u32..6).prop_map(QueueId);
    let other = || (1_u32..6).prop_map(QueueId);
    let options = (0_u8..3, any::<bool>(), any::<bool>()).prop_map(|(qos, local, published)| {
        let mut options = SubscriptionOptions::from(match qos {
            0 => QoS::AtMostOnce,
            1 => QoS::AtLeastOnce,
            _ => QoS::ExactlyOnce,
        });
        (options.no_local, options.retain_as_published) = (local, published);
        options
    });
    // A message may have far more than there are subscriptions, the same ones many times, and unknown ones.
    let many = |few: Vec<u32>| (100..140).chain(few.repeat(20)).collect();
    let identifiers = move || {
        prop_oneof![
            2 => Just(vec![]),
            2 => vec(1_u32..5, 1..3),
            1 => vec(1_u32..5, 0..3).prop_map(many),
        ]
    };
    let topic = select(vec!["a", "a/b", "a/c", "b/b", "$SYS"]).prop_map(str::to_owned);
    let full = subsequence((0..6).collect::<Vec<u32>>(), 0..6);
    prop_oneof![
        8 => (filter(), queue(), options, proptest::option::of(1_u32..5))
            .prop_map(|(filter, queue, options, own)| RegistryStep::Subscribe(filter, queue, options, own)),
        1 => (filter(), queue()).prop_map(|(filter, queue)| RegistryStep::PutBack(filter, queue)),
        1 => other().prop_map(RegistryStep::Close),
        1 => other().prop_map(RegistryStep::Detach),
        1 => vec(filter(), 1..3).prop_map(RegistryStep::Unsubscribe),
        1 => (filter(), queue()).prop_map(|(filter, queue)| RegistryStep::Refuse(filter, queue)),
        8 => (topic, identifiers(), full)
            .prop_map(|(topic, identifiers, full)| RegistryStep::Message(topic, identifiers, full)),
    ]
}

fn subscription(
    filter: &TopicFilter,
    queue: QueueId,
    options: SubscriptionOptions,
    own_identifier: Option<u32>,
    identifiers: &[u32],
) -> Subscription {
    Subscription {
        filter: filter.clone(),
        options,
        queue,
        detached: false,
        own_identifier,
        identifiers: identifiers.iter().copied().collect(),
        last_served: 0,
    }
}

/// Compares what can be observed of both.
fn compare(indexed: &Subscriptions, scanned: &Scanned) {
    let all = indexed.all();
    assert_eq!(format!("{all:?}"), format!("{:?}", scanned.entries));
    for queue in (0..6).map(QueueId) {
        let expected = (scanned.entries.iter())
            .filter(|entry| entry.queue == queue && !entry.detached)
            .map(|entry| &entry.filter);
        assert!(indexed.filters(queue).eq(expected));
    }
    for filter in FILTERS.map(|it| TopicFilter::new(it).unwrap()) {
        let entries = || {
            scanned
                .entries
                .iter()
                .filter(|entry| entry.filter == filter)
        };
        assert_eq!(indexed.contains(&filter), entries().next().is_some());
        assert_eq!(
            indexed.is_detached(&filter),
            entries().any(|it| it.detached)
        );
        assert_eq!(
            indexed.known_identifier([&filter]),
            scanned.known_identifier(&filter)
        );
    }
    let mut known = HashMap::default();
    let identifiers = scanned
        .entries
        .iter()
        .flat_map(|entry| entry.identifiers.iter());
    identifiers.for_each(|it| *known.entry(it).or_default() += 1);
    assert_eq!(indexed.known, known);
    let routed = scanned
        .entries
        .iter()
        .any(|entry| entry.queue != QueueId::DEFAULT);
    assert_eq!(indexed.all_to_default(), !routed);
}

/// Each index has what the others have, and nothing is left of what has gone.
fn check_indexes(indexed: &Subscriptions) {
    let mut groups = BTreeSet::new();
    for (&queue, fed) in &indexed.by_queue {
        assert!(!fed.is_empty());
        assert!(fed.iter().is_sorted());
        for (number, at) in fed.iter() {
            let group = &indexed.groups[at];
            assert_eq!(group.get(number).map(|member| member.queue.0), Some(queue));
            assert_eq!(group.number_of(QueueId(queue)), Some(number));
            assert!(group.iter().is_sorted_by_key(|(number, _)| number));
            groups.insert(at);
        }
    }
    assert_eq!(groups.len(), indexed.groups.len() - indexed.unused.len());
    assert!(indexed.tree.len() <= groups.len());
    let only = groups
        .first()
        .filter(|at| groups.len() == 1 && !indexed.groups[**at].filter.is_shared());
    assert_eq!(indexed.only, only.copied());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(8 * ProptestConfig::default().cases))]

    #[test]
    fn the_indexes_find_what_looking_at_every_subscription_finds(
        steps in vec(step(), 1..60),
    ) {
        let (mut indexed, mut scanned) = (Subscriptions::default(), Scanned::default());
        for step in steps {
            match step {
                RegistryStep::Subscribe(filter, queue, options, own) => {
                    let asked = scanned.shared_options(&filter, queue, options);
                    assert_eq!(indexed.shared_options(&filter, queue, options), asked);
                    let it = subscription(&filter, queue, options, own, &[]);
                    indexed.add(it.clone());
                    scanned.add(it);
                    indexed.identify(&filter, own);
                    scanned.identify(&filter, own);
                }
                RegistryStep::PutBack(filter, queue) => {
                    let it = subscription(&filter, queue, QoS::AtLeastOnce.into(), None, &[7, 8]);
                    let held = (scanned.entries.iter()).any(|it| it.filter == filter && it.queue == queue);
                    assert_eq!(indexed.holds(&it), held);
                    if !held {
                        indexed.add(it.clone());
                        scanned.add(it);
                    }
                }
                RegistryStep::Close(queue) => {
                    let gone = indexed.remove_queue(queue);
                    assert_eq!(format!("{gone:?}"), format!("{:?}", scanned.remove(|it| it.queue == queue)));
                    let heirs = indexed.heirs_of(&gone);
                    let has_room = |queue: QueueId| queue.0.is_multiple_of(2);
                    for topic in ["a", "a/b", "a/b"] {
                        let heir = indexed.find_heir(&heirs, topic, has_room);
                        assert_eq!(heir, scanned.find_heir(&gone, topic, has_room));
                    }
                }
                RegistryStep::Detach(queue) => {
                    let (left, expected) = (indexed.detach(queue), scanned.detach(queue));
                    assert_eq!(format!("{left:?}"), format!("{expected:?}"));
                }
                RegistryStep::Unsubscribe(filters) => {
                    let gone = indexed.remove_filters(&filters);
                    let expected = scanned.remove(|it| filters.contains(&it.filter));
                    assert_eq!(format!("{gone:?}"), format!("{expected:?}"));
                }
                RegistryStep::Refuse(filter, queue) => {
                    indexed.remove(&filter, queue);
                    indexed.remove_detached(&filter);
                    scanned.remove(|it| it.filter == filter && (it.queue == queue || it.detached));
                }
                RegistryStep::Message(topic, identifiers, full) => {
                    let has_room = |queue: QueueId| !full.contains(&queue.0);
                    let mut queues = Vec::new();
                    indexed.find_queues(&topic, &identifiers, has_room, &mut queues);
                    assert_eq!(queues, scanned.find_queues(&topic, &identifiers, has_room));
                    let detached = (scanned.entries.iter())
                        .any(|entry| entry.detached && entry.filter.matches(&topic));
                    assert_eq!(indexed.has_detached(&topic), detached);
                }
            }
            compare(&indexed, &scanned);
            check_indexes(&indexed);
        }
        indexed.clear();
        check_indexes(&indexed);
    }
}

#[test]
fn queues_that_share_a_filter_come_and_go_and_leave_nothing() {
    let filter = TopicFilter::new("a").unwrap();
    let mut indexed = Subscriptions::default();
    for round in 0..3_u32 {
        let queues = (1..=1_000).map(|number| QueueId(round * 1_000 + number));
        for queue in queues.clone() {
            indexed.add(subscription(
                &filter,
                queue,
                QoS::AtMostOnce.into(),
                None,
                &[],
            ));
            indexed.identify(&filter, Some(9));
        }
        assert_eq!(indexed.known.get(&9), Some(&1_000));
        let mut found = Vec::new();
        indexed.find_queues("a", &[9], |_| true, &mut found);
        assert!(found.iter().copied().eq(queues.clone()));
        for queue in queues {
            assert_eq!(indexed.remove_queue(queue).len(), 1);
        }
        assert!(indexed.groups.is_empty() && indexed.tree.is_empty());
    }
}
