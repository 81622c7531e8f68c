//! The nodes of a tree of paths: Topic Names, or Topic Filters.
//!
//! A node stands for one or more levels, so there are at most twice as many nodes as values, however many levels a path
//! has. The nodes stand in one vector and every walk keeps its own stack, so no path is too deep.

use std::collections::HashMap;
use std::mem;
use std::num::NonZeroUsize;

/// Where a node stands in the vector.
pub(super) type Place = usize;

pub(super) const ROOT: Place = 0;

/// No link leads to the root.
type Link = Option<NonZeroUsize>;

#[derive(Clone, Debug)]
pub(super) struct Node<V> {
    parent: Place,
    /// The levels that lead from the parent to this node. Empty for the root, and for one empty level.
    pub(super) label: Box<str>,
    /// Whether one of those levels is a wildcard.
    pub(super) has_wildcard: bool,
    literals: Literals,
    /// The child whose label begins with the level `+`.
    pub(super) plus: Link,
    /// The child whose label is `#`.
    pub(super) hash: Link,
    pub(super) value: Option<V>,
}

/// The children whose labels do not begin with a wildcard.
#[derive(Clone, Debug, Default)]
#[allow(
    clippy::box_collection,
    reason = "few nodes have a map, and all are smaller for it"
)]
enum Literals {
    #[default]
    None,
    One(Place),
    /// By the first level of their labels.
    Many(Box<HashMap<Box<str>, Place>>),
}

/// All nodes. Each but the root has a value, or at least two children.
#[derive(Clone, Debug)]
pub(super) struct Nodes<V> {
    nodes: Vec<Node<V>>,
    unused: Vec<Place>,
    values: usize,
}

impl<V> Node<V> {
    fn new(parent: Place, label: &str) -> Self {
        Self {
            parent,
            label: label.into(),
            has_wildcard: label.contains(['+', '#']),
            literals: Literals::None,
            plus: None,
            hash: None,
            value: None,
        }
    }

    /// The child to which a path goes on whose next level is the first one of `rest`, if there is one. Its label may differ
    /// from `rest`, even in the first level.
    #[inline]
    pub(super) fn literal(&self, rest: &str) -> Option<Place> {
        match &self.literals {
            Literals::None => None,
            Literals::One(child) => Some(*child),
            Literals::Many(children) => children.get(first_level(rest)).copied(),
        }
    }

    /// Appends the children that do not begin with a wildcard.
    pub(super) fn extend_with_literals(&self, places: &mut Vec<Place>) {
        match &self.literals {
            Literals::None => {}
            Literals::One(child) => places.push(*child),
            Literals::Many(children) => places.extend(children.values()),
        }
    }

    fn children(&self) -> usize {
        let literals = match &self.literals {
            Literals::None => 0,
            Literals::One(_) => 1,
            Literals::Many(children) => children.len(),
        };
        literals + usize::from(self.plus.is_some()) + usize::from(self.hash.is_some())
    }

    /// The child, if there is just one.
    fn only_child(&self) -> Option<Place> {
        match (&self.literals, self.plus, self.hash) {
            (Literals::One(child), None, None) => Some(*child),
            (Literals::None, Some(child), None) | (Literals::None, None, Some(child)) => {
                Some(child.get())
            }
            _ => None,
        }
    }
}

impl<V> Default for Nodes<V> {
    fn default() -> Self {
        Self {
            nodes: vec![Node::new(ROOT, "")],
            unused: Vec::new(),
            values: 0,
        }
    }
}

impl<V> Nodes<V> {
    #[inline]
    pub(super) fn node(&self, at: Place) -> &Node<V> {
        &self.nodes[at]
    }

    pub(super) const fn values(&self) -> usize {
        self.values
    }

    /// How many nodes are in use, the root included.
    #[cfg(test)]
    pub(super) fn used(&self) -> usize {
        self.nodes.len() - self.unused.len()
    }

    pub(super) fn get(&self, path: &str) -> Option<&V> {
        self.nodes[self.find(path)?].value.as_ref()
    }

    pub(super) fn get_mut(&mut self, path: &str) -> Option<&mut V> {
        let at = self.find(path)?;
        self.nodes[at].value.as_mut()
    }

    pub(super) fn get_or_insert_with(&mut self, path: &str, make: impl FnOnce() -> V) -> &mut V {
        let at = self.reach(path);
        let value = &mut self.nodes[at].value;
        if value.is_none() {
            self.values += 1;
        }
        value.get_or_insert_with(make)
    }

    pub(super) fn remove(&mut self, path: &str) -> Option<V> {
        let at = self.find(path)?;
        let value = self.nodes[at].value.take()?;
        self.values -= 1;
        if self.values == 0 {
            *self = Self::default(); // gives the memory back
        } else {
            self.prune(at);
        }
        Some(value)
    }

    fn child(&self, at: Place, level: &str) -> Option<Place> {
        let node = &self.nodes[at];
        match level {
            "+" => node.plus.map(NonZeroUsize::get),
            "#" => node.hash.map(NonZeroUsize::get),
            _ => (node.literal(level))
                .filter(|&child| first_level(&self.nodes[child].label) == level),
        }
    }

    /// The node for exactly this path.
    fn find(&self, path: &str) -> Option<Place> {
        let (mut at, mut rest) = (ROOT, path);
        loop {
            at = self.child(at, first_level(rest))?;
            let after = rest.strip_prefix(&*self.nodes[at].label)?;
            if after.is_empty() {
                return Some(at);
            }
            rest = after.strip_prefix('/')?;
        }
    }

    /// The node for exactly this path, which is made if there is none.
    fn reach(&mut self, path: &str) -> Place {
        let (mut at, mut rest) = (ROOT, path);
        loop {
            let Some(child) = self.child(at, first_level(rest)) else {
                return self.add(at, rest);
            };
            let common = common_levels(&self.nodes[child].label, rest);
            at = match common == self.nodes[child].label.len() {
                true => child,
                false => self.split(child, common),
            };
            if common == rest.len() {
                return at;
            }
            rest = &rest[common + 1..];
        }
    }

    fn add(&mut self, parent: Place, label: &str) -> Place {
        let node = Node::new(parent, label);
        let at = self.put(node);
        self.link(parent, at);
        at
    }

    fn put(&mut self, node: Node<V>) -> Place {
        match self.unused.pop() {
            Some(unused) => {
                self.nodes[unused] = node;
                unused
            }
            None => {
                self.nodes.push(node);
                self.nodes.len() - 1
            }
        }
    }

    /// Makes a node for the first `common` bytes of a node's label, above it.
    fn split(&mut self, lower: Place, common: usize) -> Place {
        let node = &mut self.nodes[lower];
        let label = mem::take(&mut node.label);
        let parent = node.parent;
        let upper = self.put(Node::new(parent, &label[..common]));
        self.relabel(lower, upper, &label[common + 1..]);
        self.replace(parent, lower, upper);
        self.link(upper, lower);
        upper
    }

    fn relabel(&mut self, at: Place, parent: Place, label: &str) {
        let node = &mut self.nodes[at];
        node.parent = parent;
        node.label = label.into();
        node.has_wildcard = label.contains(['+', '#']);
    }

    /// Makes a node that has its parent and its label known to its parent.
    fn link(&mut self, parent: Place, child: Place) {
        let level = |place: Place| first_level(&self.nodes[place].label).into();
        let literals = match first_level(&self.nodes[child].label) {
            "+" => return self.nodes[parent].plus = NonZeroUsize::new(child),
            "#" => return self.nodes[parent].hash = NonZeroUsize::new(child),
            _ => match &self.nodes[parent].literals {
                Literals::None => Literals::One(child),
                Literals::One(other) => {
                    let both = [(level(*other), *other), (level(child), child)];
                    Literals::Many(Box::new(HashMap::from(both)))
                }
                Literals::Many(_) => {
                    let level = level(child);
                    if let Literals::Many(children) = &mut self.nodes[parent].literals {
                        children.insert(level, child);
                    }
                    return;
                }
            },
        };
        self.nodes[parent].literals = literals;
    }

    /// Puts a child in the place of another one with the same first level. The label of the old one may be gone.
    fn replace(&mut self, parent: Place, old: Place, new: Place) {
        let label = mem::take(&mut self.nodes[new].label);
        let node = &mut self.nodes[parent];
        match first_level(&label) {
            "+" => node.plus = NonZeroUsize::new(new),
            "#" => node.hash = NonZeroUsize::new(new),
            level => match &mut node.literals {
                Literals::None => {}
                Literals::One(child) => {
                    debug_assert_eq!(*child, old);
                    *child = new;
                }
                Literals::Many(children) => {
                    if let Some(child) = children.get_mut(level) {
                        debug_assert_eq!(*child, old);
                        *child = new;
                    }
                }
            },
        }
        self.nodes[new].label = label;
    }

    fn unlink(&mut self, parent: Place, child: Place) {
        let label = mem::take(&mut self.nodes[child].label);
        let node = &mut self.nodes[parent];
        match first_level(&label) {
            "+" => node.plus = None,
            "#" => node.hash = None,
            level => match &mut node.literals {
                Literals::None => {}
                Literals::One(_) => node.literals = Literals::None,
                Literals::Many(children) => {
                    children.remove(level);
                    match children.len() {
                        1 => {
                            let last = children.values().next().copied();
                            node.literals = last.map_or(Literals::None, Literals::One);
                        }
                        left if left < children.capacity() / 4 => children.shrink_to(left * 2),
                        _ => {}
                    }
                }
            },
        }
    }

    /// Gives back the nodes that are of no use any more, from `at` upwards.
    fn prune(&mut self, mut at: Place) {
        while at != ROOT && self.nodes[at].value.is_none() {
            let parent = self.nodes[at].parent;
            if self.nodes[at].children() == 0 {
                self.unlink(parent, at);
                self.nodes[at] = Node::new(ROOT, "");
                self.unused.push(at);
                at = parent;
                continue;
            }
            if let Some(child) = self.nodes[at].only_child() {
                let label = format!("{}/{}", self.nodes[at].label, self.nodes[child].label);
                self.relabel(child, parent, &label);
                self.replace(parent, at, child);
                self.nodes[at] = Node::new(ROOT, "");
                self.unused.push(at);
            }
            return;
        }
    }
}

#[inline]
pub(super) fn first_level(path: &str) -> &str {
    split_level(path).0
}

/// The first level of a path, and the levels behind it, if there are any.
#[inline]
pub(super) fn split_level(path: &str) -> (&str, Option<&str>) {
    match path.bytes().position(|byte| byte == b'/') {
        Some(slash) => (&path[..slash], Some(&path[slash + 1..])),
        None => (path, None),
    }
}

/// How many bytes the levels take that two paths have in common at their front. They have the first one in common.
fn common_levels(one: &str, other: &str) -> usize {
    let (one, other) = (one.as_bytes(), other.as_bytes());
    let shorter = one.len().min(other.len());
    let differs = one.iter().zip(other).position(|(one, other)| one != other);
    let common = differs.unwrap_or(shorter);
    let ends_level = |path: &[u8]| path.get(common).is_none_or(|&byte| byte == b'/');
    if ends_level(one) && ends_level(other) {
        return common;
    }
    let slash = one[..common].iter().rposition(|&byte| byte == b'/');
    slash.unwrap_or(common)
}
