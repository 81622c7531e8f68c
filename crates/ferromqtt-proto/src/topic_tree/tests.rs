use std::cell::Cell;
use std::collections::BTreeSet;

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;

use super::*;

thread_local! {
    static STEPS: Cell<usize> = const { Cell::new(0) };
}

thread_local! {
    static HASHES_COLLIDE: Cell<bool> = const { Cell::new(false) };
}

/// Whether all hashes are the same now.
pub(super) fn hashes_collide() -> bool {
    HASHES_COLLIDE.get()
}

/// A walk has come to one more node.
pub(super) fn count_step() {
    STEPS.set(STEPS.get() + 1);
}

/// The nodes that `walk` comes to.
fn steps(walk: impl FnOnce()) -> usize {
    STEPS.set(0);
    walk();
    STEPS.get()
}

fn filter(text: &str) -> TopicFilter {
    TopicFilter::new(text).unwrap()
}

fn name(text: &str) -> TopicName {
    TopicName::new(text).unwrap()
}

fn matching(tree: &FilterTree<String>, topic: &str) -> BTreeSet<String> {
    let (mut found, mut count) = (BTreeSet::new(), 0);
    tree.for_each_match(topic, |filter| {
        found.insert(filter.clone());
        count += 1;
    });
    assert_eq!(found.len(), count, "each once");
    found
}

/// Topic Filters with all that is peculiar: empty levels, `$`, wildcards at both ends, shares.
fn filters() -> impl Strategy<Value = TopicFilter> {
    let levels = vec(select(vec!["", "a", "b", "ab", "$a", "+"]), 0..6);
    let shares = select(vec!["", "", "", "$share/g/"]);
    (shares, levels, any::<bool>()).prop_filter_map("no filter", |(share, mut levels, end)| {
        levels.extend(end.then_some("#"));
        TopicFilter::new(format!("{share}{}", levels.join("/"))).ok()
    })
}

fn names() -> impl Strategy<Value = TopicName> {
    vec(select(vec!["", "a", "b", "ab", "$a"]), 1..6)
        .prop_filter_map("no name", |levels| TopicName::new(levels.join("/")).ok())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(12 * ProptestConfig::default().cases))]

    #[test]
    fn the_tree_finds_what_each_filter_alone_matches_mqtt_4_7(
        steps in vec((any::<bool>(), filters()), 1..40),
        topics in vec(names(), 1..10),
        collide in any::<bool>(),
    ) {
        HASHES_COLLIDE.set(collide);
        let mut tree = FilterTree::default();
        let mut there = BTreeSet::new();
        for (insert, filter) in &steps {
            let inner = filter.inner().to_owned();
            if *insert {
                prop_assert_eq!(tree.get(filter).is_some(), there.contains(&inner));
                tree.get_or_insert_with(filter, || inner.clone());
                there.insert(inner);
            } else {
                prop_assert_eq!(tree.remove(filter).is_some(), there.remove(&inner));
            }
            prop_assert_eq!(tree.len(), there.len());
            prop_assert!(tree.nodes.used() <= 2 * there.len() + 1);
        }
        for topic in &topics {
            let expected: BTreeSet<_> = (there.iter())
                .filter(|inner| filter(inner).matches(topic))
                .cloned()
                .collect();
            prop_assert_eq!(matching(&tree, topic), expected);
        }
        for inner in &there {
            prop_assert_eq!(tree.remove(&filter(inner)), Some(inner.clone()));
        }
        prop_assert_eq!(tree.nodes.used(), 1, "no node is left");
    }

    #[test]
    fn the_tree_finds_the_names_that_a_filter_matches_mqtt_4_7(
        stored in vec((any::<bool>(), names()), 1..40),
        filters in vec(filters(), 1..10),
        collide in any::<bool>(),
    ) {
        HASHES_COLLIDE.set(collide);
        let mut tree = NameTree::default();
        let mut there = BTreeSet::new();
        for (insert, name) in &stored {
            if *insert {
                tree.get_or_insert_with(name, || name.clone());
                there.insert(name.clone());
            } else {
                prop_assert_eq!(tree.remove(name).is_some(), there.remove(name));
            }
        }
        for filter in &filters {
            let mut found = Vec::new();
            tree.for_each_match(filter, |name| found.push(name.clone()));
            found.sort();
            let expected: Vec<_> = there.iter().filter(|it| filter.matches(it)).cloned().collect();
            prop_assert_eq!(found, expected);
        }
    }
}

#[test]
fn filters_that_share_a_beginning_are_told_apart() {
    let filters = [
        "a", "a/b", "a/+", "+/b", "+", "#", "a/#", "a/b/#", "/", "+/+", "/+", "a/", "$SYS/#",
        "$SYS/+", "+/x", "ab", "a/bc", "a//b", "/#",
    ];
    let mut tree = FilterTree::default();
    for text in filters {
        tree.get_or_insert_with(&filter(text), || text.to_owned());
    }
    let topics = [
        "a", "a/b", "a/", "/", "b", "a/b/c", "/b", "$SYS/x", "$SYS", "x/x", "a/bc", "a//b", "//",
    ];
    for topic in topics {
        let expected = filters.iter().filter(|text| filter(text).matches(topic));
        let expected: BTreeSet<_> = expected.map(|text| (*text).to_owned()).collect();
        assert_eq!(matching(&tree, topic), expected, "{topic}");
    }
}

#[test]
fn a_shared_subscription_stands_where_its_inner_filter_does_mqtt_4_8_2() {
    let mut tree = FilterTree::default();
    tree.get_or_insert_with(&filter("$share/g/a/+"), || 1);
    assert_eq!(tree.get(&filter("a/+")), Some(&1));
    assert_eq!(tree.get(&filter("$share/other/a/+")), Some(&1));
    let mut names = NameTree::default();
    names.get_or_insert_with(&name("$share/g/a/b"), || 2);
    assert_eq!(names.get(&name("a/b")), None, "a Topic Name is no share");
}

#[test]
fn a_filter_of_65536_levels_exhausts_neither_the_stack_nor_memory() {
    let deep = "/".repeat(65_535);
    let mut tree = FilterTree::default();
    for text in [&deep, &format!("{}+", "+/".repeat(32_767)), &deep[1..]] {
        tree.get_or_insert_with(&filter(text), || text.to_string());
    }
    assert!(tree.nodes.used() <= 5);
    assert_eq!(matching(&tree, &deep), BTreeSet::from([deep.clone()]));
    assert_eq!(tree.remove(&filter(&deep)), Some(deep.clone()));
    let mut tree = NameTree::default();
    tree.get_or_insert_with(&name(&deep), || ());
    tree.get_or_insert_with(&name(&deep[1..]), || ());
    let mut found = 0;
    tree.for_each_match(&filter("+/#"), |()| found += 1);
    assert_eq!(found, 2);
    let mut comb = FilterTree::default();
    for levels in 1..2_000 {
        comb.get_or_insert_with(&filter(&"/".repeat(levels)), || ());
    }
    comb.for_each_match(&deep, |()| panic!("none is so long"));
}

#[test]
fn a_match_comes_to_no_more_nodes_among_100_000_filters_than_among_10() {
    let walk = |filters: usize| {
        let mut tree = FilterTree::default();
        for number in 0..filters {
            let text = format!("site/{}/device/{number}/state", number % 10);
            tree.get_or_insert_with(&filter(&text), || text.clone());
        }
        let steps = steps(|| assert_eq!(matching(&tree, "site/7/device/7/state").len(), 1));
        assert!(tree.nodes.used() <= 2 * filters + 1);
        steps
    };
    assert!(walk(100_000) <= walk(10) + 2); // where ten subtrees have become one each
}

#[test]
fn a_filter_without_wildcards_comes_to_one_branch_of_100_000_names() {
    let mut tree = NameTree::default();
    for number in 0..100_000 {
        tree.get_or_insert_with(&name(&format!("t/{number}/x")), || number);
    }
    let mut found = Vec::new();
    assert!(steps(|| tree.for_each_match(&filter("t/77/x"), |it| found.push(*it))) <= 4);
    assert!(steps(|| tree.for_each_match(&filter("+/78/#"), |it| found.push(*it))) <= 4);
    assert_eq!(found, [77, 78]);
}

#[test]
fn a_tree_that_is_empty_again_gives_its_memory_back() {
    let mut tree = FilterTree::default();
    for round in 0..3 {
        for text in ["a/b/c", "a/+/#", "a/b", "a/b/d", "a/c"] {
            tree.get_or_insert_with(&filter(text), || round);
        }
        for text in ["a/b", "a/b/c", "a/c", "a/+/#", "a/b/d"] {
            assert_eq!(tree.remove(&filter(text)), Some(round));
            assert_eq!(tree.remove(&filter(text)), None);
        }
        assert!(tree.is_empty());
        assert_eq!(tree.nodes.used(), 1);
    }
}
