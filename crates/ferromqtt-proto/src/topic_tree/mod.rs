//! Topic Filters and Topic Names in a tree: the filters that match a topic, or the topics that match a filter, are found
//! without looking at the others. See `docs/design/0021-topic-tree.md`.

mod label;
mod nodes;
#[cfg(test)]
mod tests;

use crate::topic::{TopicFilter, TopicName};
use nodes::{NodeIndex, Nodes, ROOT, split_level};

/// A map from Topic Filters to values that finds the values of all filters that match a topic.
///
/// A Shared Subscription (`$share/name/filter`) stands where its inner filter does: both have one value in common.
///
/// Inserting, finding and removing a filter takes time in proportion to its length, and matching a topic takes time in
/// proportion to the length of the topic for each branch that matches its beginning. Memory is in proportion to the bytes
/// of the filters, not to their levels.
///
/// ```
/// use ferromqtt_proto::{FilterTree, TopicFilter};
///
/// let mut tree = FilterTree::default();
/// for filter in ["sensors/+/temperature", "sensors/#", "doors/front"] {
///     *tree.get_or_insert_with(&TopicFilter::new(filter)?, String::new) += filter;
/// }
/// let mut found = Vec::new();
/// tree.for_each_match("sensors/7/temperature", |filter| found.push(filter.as_str()));
/// found.sort();
/// assert_eq!(found, ["sensors/#", "sensors/+/temperature"]);
/// # Ok::<(), ferromqtt_proto::TopicError>(())
/// ```
#[derive(Clone, Debug)]
pub struct FilterTree<V> {
    nodes: Nodes<V>,
}

impl<V> Default for FilterTree<V> {
    fn default() -> Self {
        Self {
            nodes: Nodes::default(),
        }
    }
}

impl<V> FilterTree<V> {
    /// How many filters have a value.
    pub const fn len(&self) -> usize {
        self.nodes.values()
    }

    /// Whether no filter has a value.
    pub const fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The value of exactly this filter.
    pub fn get(&self, filter: &TopicFilter) -> Option<&V> {
        self.nodes.get(filter.inner().as_bytes())
    }

    /// The value of exactly this filter, to be changed.
    pub fn get_mut(&mut self, filter: &TopicFilter) -> Option<&mut V> {
        self.nodes.get_mut(filter.inner().as_bytes())
    }

    /// The value of exactly this filter; `make` makes it if there is none.
    pub fn get_or_insert_with(&mut self, filter: &TopicFilter, make: impl FnOnce() -> V) -> &mut V {
        self.nodes
            .get_or_insert_with(filter.inner().as_bytes(), make)
    }

    /// Removes the value of exactly this filter.
    pub fn remove(&mut self, filter: &TopicFilter) -> Option<V> {
        self.nodes.remove(filter.inner().as_bytes())
    }

    /// The value, if there is just one.
    pub(crate) fn only(&self) -> Option<&V> {
        self.nodes.only()
    }

    /// Calls `found` with the value of each filter that [matches](TopicFilter::matches) the Topic Name `topic`, in an order
    /// that depends on the filters alone.
    pub fn for_each_match<'a>(&'a self, topic: &str, mut found: impl FnMut(&'a V)) {
        let topic = topic.as_bytes();
        let mut pending = Pending::default();
        let mut next = Some((ROOT, Some(0)));
        while let Some((at, from)) = next.take().or_else(|| pending.pop()) {
            let node = self.visit(at);
            let Some(from) = from else {
                node.value.iter().for_each(&mut found);
                if let Some(hash) = node.hash {
                    self.visit(hash.get()).value.iter().for_each(&mut found); // `a/#` matches `a`
                }
                continue;
            };
            let rest = &topic[from..];
            // Wildcards at the front do not match topics that begin with $ (MQTT-4.7.2-1).
            if at != ROOT || !topic.starts_with(b"$") {
                if let Some(hash) = node.hash {
                    self.visit(hash.get()).value.iter().for_each(&mut found);
                }
                next = (node.plus).and_then(|plus| self.descend(plus.get(), rest, from));
            }
            if let Some(child) = self.nodes.literal(at, rest)
                && let Some(child) = self.descend(child, rest, from)
                && let Some(plus) = next.replace(child)
            {
                pending.push(plus);
            }
        }
    }

    fn visit(&self, at: NodeIndex) -> &nodes::Node<V> {
        #[cfg(test)]
        tests::count_step();
        self.nodes.node(at)
    }

    /// Where a walk goes on that has come to a child, if the child's label matches the beginning of `rest`, the part of the
    /// topic behind `from`.
    #[inline]
    fn descend(&self, child: NodeIndex, rest: &[u8], from: usize) -> Option<WalkPosition> {
        let node = self.nodes.node(child);
        let label = node.label.as_bytes();
        let matched = match node.has_wildcard {
            false => rest.starts_with(label).then_some(label.len())?,
            true => match match_wildcards(label, rest)? {
                Matched::Bytes(bytes) => bytes,
                Matched::All => return Some((child, None)),
            },
        };
        match rest.get(matched) {
            None => Some((child, None)),
            Some(b'/') => Some((child, Some(from + matched + 1))),
            Some(_) => None,
        }
    }
}

/// A node that a walk has come to, and where in the topic the next level begins, unless the topic is over.
type WalkPosition = (NodeIndex, Option<usize>);

/// What a walk has still to look at. The first few need no allocation.
#[derive(Default)]
struct Pending {
    first: [WalkPosition; 4],
    count: usize,
    others: Vec<WalkPosition>,
}

impl Pending {
    fn push(&mut self, reached: WalkPosition) {
        match self.first.get_mut(self.count) {
            Some(place) => {
                *place = reached;
                self.count += 1;
            }
            None => self.others.push(reached),
        }
    }

    #[inline]
    fn pop(&mut self) -> Option<WalkPosition> {
        if let Some(last) = self.others.pop() {
            return Some(last);
        }
        self.count = self.count.checked_sub(1)?;
        Some(self.first[self.count])
    }
}

/// How much of a topic the levels of a label match.
enum Matched {
    Bytes(usize),
    /// All that is left of it.
    All,
}

/// Matches the levels of a label, wildcards among them, with the beginning of a topic. Wildcards stand alone in their levels,
/// and `#` at the end: no filter is made otherwise.
fn match_wildcards(label: &[u8], topic: &[u8]) -> Option<Matched> {
    let mut matched = 0;
    for (at, &byte) in label.iter().enumerate() {
        match byte {
            b'#' => return Some(Matched::All),
            b'+' => {
                let rest = &topic[matched..];
                matched += (rest.iter().position(|&byte| byte == b'/')).unwrap_or(rest.len());
            }
            _ => match topic.get(matched) {
                Some(&other) if other == byte => matched += 1,
                Some(_) => return None,
                None => return (&label[at..] == b"/#").then_some(Matched::All), // matches its parent too
            },
        }
    }
    Some(Matched::Bytes(matched))
}

/// A map from Topic Names to values that finds the values of all names that match a filter.
///
/// Costs are those of [`FilterTree`]; a wildcard costs what it matches at its place.
#[derive(Clone, Debug)]
pub struct NameTree<V> {
    nodes: Nodes<V>,
}

impl<V> Default for NameTree<V> {
    fn default() -> Self {
        Self {
            nodes: Nodes::default(),
        }
    }
}

impl<V> NameTree<V> {
    /// How many names have a value.
    pub const fn len(&self) -> usize {
        self.nodes.values()
    }

    /// Whether no name has a value.
    pub const fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The value of this name.
    pub fn get(&self, name: &TopicName) -> Option<&V> {
        self.nodes.get(name.as_bytes())
    }

    /// The value of this name, to be changed.
    pub fn get_mut(&mut self, name: &TopicName) -> Option<&mut V> {
        self.nodes.get_mut(name.as_bytes())
    }

    /// The value of this name; `make` makes it if there is none.
    pub fn get_or_insert_with(&mut self, name: &TopicName, make: impl FnOnce() -> V) -> &mut V {
        self.nodes.get_or_insert_with(name.as_bytes(), make)
    }

    /// Removes the value of this name.
    pub fn remove(&mut self, name: &TopicName) -> Option<V> {
        self.nodes.remove(name.as_bytes())
    }

    /// Calls `found` with the value of each name that `filter` [matches](TopicFilter::matches), in no particular order. A
    /// Shared Subscription matches by its inner filter.
    pub fn for_each_match<'a>(&'a self, filter: &TopicFilter, mut found: impl FnMut(&'a V)) {
        let filter = filter.inner();
        let mut pending = vec![(ROOT, Some(filter.as_bytes()))];
        let mut children = Vec::new();
        while let Some((at, rest)) = pending.pop() {
            let node = self.visit(at);
            let Some(rest) = rest else {
                node.value.iter().for_each(&mut found);
                continue;
            };
            match split_level(rest).0 {
                b"#" => {
                    self.for_each_below(at, &mut children, &mut found);
                    continue;
                }
                b"+" => self.extend_with_children(at, &mut children),
                _ => children.extend(self.nodes.literal(at, rest)),
            }
            for child in children.drain(..) {
                let label = self.nodes.node(child).label.as_bytes();
                pending.extend(after_label(label, rest).map(|rest| (child, rest)));
            }
        }
    }

    fn visit(&self, at: NodeIndex) -> &nodes::Node<V> {
        #[cfg(test)]
        tests::count_step();
        self.nodes.node(at)
    }

    /// The value of a node and all those below it. `below` is empty.
    fn for_each_below<'a>(
        &'a self,
        at: NodeIndex,
        below: &mut Vec<NodeIndex>,
        found: &mut impl FnMut(&'a V),
    ) {
        self.nodes.node(at).value.iter().for_each(&mut *found);
        self.extend_with_children(at, below);
        while let Some(at) = below.pop() {
            let node = self.visit(at);
            node.value.iter().for_each(&mut *found);
            self.extend_with_children(at, below);
        }
    }

    /// Appends the children that a wildcard stands for: at the front not those that begin with `$` (MQTT-4.7.2-1).
    fn extend_with_children(&self, at: NodeIndex, places: &mut Vec<NodeIndex>) {
        self.nodes.node(at).extend_with_literals(places);
        if at == ROOT {
            places.retain(|&child| !self.nodes.node(child).label.as_bytes().starts_with(b"$"));
        }
    }
}

/// What is left of the levels of a filter behind a label that they match, if anything is. `#` is left where it stands, or
/// reached within the label.
fn after_label<'a>(label: &[u8], filter: &'a [u8]) -> Option<Option<&'a [u8]>> {
    let (mut label, mut filter) = (label, filter);
    loop {
        let (wanted, wanted_after) = split_level(filter);
        if wanted == b"#" {
            return Some(Some(filter));
        }
        let (level, level_after) = split_level(label);
        if wanted != b"+" && wanted != level {
            return None;
        }
        match (level_after, wanted_after) {
            (None, after) => return Some(after),
            (Some(_), None) => return None,
            (Some(level), Some(wanted)) => (label, filter) = (level, wanted),
        }
    }
}
