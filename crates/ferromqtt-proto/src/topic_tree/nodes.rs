//! The nodes of a tree of paths: Topic Names, or Topic Filters.
//!
//! A node stands for one or more levels, so there are at most twice as many nodes as values, however many levels a path
//! has. The nodes stand in one vector and every walk keeps its own stack, so no path is too deep.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::hash::{BuildHasher, BuildHasherDefault, Hasher, RandomState};
use std::mem;
use std::num::NonZeroUsize;

use super::label::Label;

/// Where a node stands in the vector.
pub(super) type NodeIndex = usize;

pub(super) const ROOT: NodeIndex = 0;

/// No link leads to the root.
type ChildIndex = Option<NonZeroUsize>;

#[derive(Clone, Debug)]
pub(super) struct Node<V> {
    parent: NodeIndex,
    /// The levels that lead from the parent to this node. Empty for the root, and for one empty level.
    pub(super) label: Label,
    /// Whether one of those levels is a wildcard.
    pub(super) has_wildcard: bool,
    literals: Literals,
    /// The child whose label begins with the level `+`.
    pub(super) plus: ChildIndex,
    /// The child whose label is `#`.
    pub(super) hash: ChildIndex,
    pub(super) value: Option<V>,
}

/// The children whose labels do not begin with a wildcard.
#[derive(Clone, Debug, Default)]
enum Literals {
    #[default]
    None,
    One(NodeIndex),
    Many(Box<Children>),
}

/// Children by the hashes of their first levels, which so are not kept twice.
#[derive(Clone, Debug, Default)]
struct Children {
    by_hash: HashMap<u64, NodeIndex, BuildHasherDefault<Hashed>>,
    /// Those whose hash was taken, which never happens: nobody knows the hash function's key.
    others: Vec<NodeIndex>,
}

/// Takes a hash for what it is.
#[derive(Clone, Debug, Default)]
struct Hashed(u64);

impl Hasher for Hashed {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        bytes
            .iter()
            .for_each(|&byte| self.write_u64(u64::from(byte))); // not called
    }

    fn write_u64(&mut self, hash: u64) {
        self.0 = hash;
    }
}

impl Children {
    fn len(&self) -> usize {
        self.by_hash.len() + self.others.len()
    }

    fn iter(&self) -> impl Iterator<Item = NodeIndex> {
        self.by_hash.values().chain(&self.others).copied()
    }

    fn insert(&mut self, hash: u64, child: NodeIndex) {
        match self.by_hash.entry(hash) {
            Entry::Vacant(vacant) => _ = vacant.insert(child),
            Entry::Occupied(_) => self.others.push(child),
        }
    }

    fn replace(&mut self, hash: u64, old: NodeIndex, new: NodeIndex) {
        let same = self.by_hash.get_mut(&hash).filter(|child| **child == old);
        if let Some(child) = same.or_else(|| self.others.iter_mut().find(|child| **child == old)) {
            *child = new;
        }
    }

    fn remove(&mut self, hash: u64, child: NodeIndex) {
        if self.by_hash.get(&hash) == Some(&child) {
            self.by_hash.remove(&hash);
        } else {
            self.others.retain(|other| *other != child);
        }
        if self.by_hash.len() < self.by_hash.capacity() / 4 {
            self.by_hash.shrink_to(self.by_hash.len() * 2);
        }
    }
}

/// All nodes. Each but the root has a value, or at least two children.
#[derive(Clone, Debug)]
pub(super) struct Nodes<V> {
    nodes: Vec<Node<V>>,
    unused: Vec<NodeIndex>,
    values: usize,
    hash: RandomState,
}

impl<V> Node<V> {
    fn new(parent: NodeIndex, label: &[u8]) -> Self {
        let label = Label::new(label);
        Self {
            parent,
            has_wildcard: label.has_wildcard(),
            label,
            literals: Literals::None,
            plus: None,
            hash: None,
            value: None,
        }
    }

    /// Appends the children that do not begin with a wildcard.
    pub(super) fn extend_with_literals(&self, places: &mut Vec<NodeIndex>) {
        match &self.literals {
            Literals::None => {}
            Literals::One(child) => places.push(*child),
            Literals::Many(children) => places.extend(children.iter()),
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
    fn only_child(&self) -> Option<NodeIndex> {
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
            nodes: vec![Node::new(ROOT, b"")],
            unused: Vec::new(),
            values: 0,
            hash: RandomState::new(),
        }
    }
}

impl<V> Nodes<V> {
    #[inline]
    pub(super) fn node(&self, at: NodeIndex) -> &Node<V> {
        &self.nodes[at]
    }

    pub(super) const fn values(&self) -> usize {
        self.values
    }

    /// The value, if there is just one: then one node stands below the root.
    pub(super) fn only(&self) -> Option<&V> {
        let at = self.nodes[ROOT].only_child()?;
        (self.nodes[at].value.as_ref()).filter(|_| self.values == 1)
    }

    /// How many nodes are in use, the root included.
    #[cfg(test)]
    pub(super) fn used(&self) -> usize {
        self.nodes.len() - self.unused.len()
    }

    pub(super) fn get(&self, path: &[u8]) -> Option<&V> {
        self.nodes[self.find(path)?].value.as_ref()
    }

    pub(super) fn get_mut(&mut self, path: &[u8]) -> Option<&mut V> {
        let at = self.find(path)?;
        self.nodes[at].value.as_mut()
    }

    pub(super) fn get_or_insert_with(&mut self, path: &[u8], make: impl FnOnce() -> V) -> &mut V {
        let at = self.reach(path);
        let value = &mut self.nodes[at].value;
        if value.is_none() {
            self.values += 1;
        }
        value.get_or_insert_with(make)
    }

    pub(super) fn remove(&mut self, path: &[u8]) -> Option<V> {
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

    fn hash_of(&self, level: &[u8]) -> u64 {
        #[cfg(test)]
        if super::tests::hashes_collide() {
            return 7;
        }
        self.hash.hash_one(level)
    }

    fn first_level_of(&self, at: NodeIndex) -> &[u8] {
        first_level(self.nodes[at].label.as_bytes())
    }

    /// The child to which a path goes on whose next level is the first one of `rest`, if there is one. Its label may differ
    /// from `rest`, even in the first level.
    #[inline]
    pub(super) fn literal(&self, at: NodeIndex, rest: &[u8]) -> Option<NodeIndex> {
        match &self.nodes[at].literals {
            Literals::None => None,
            Literals::One(child) => Some(*child),
            Literals::Many(children) => {
                let level = first_level(rest);
                let child = children.by_hash.get(&self.hash_of(level)).copied();
                if children.others.is_empty() {
                    return child;
                }
                let mut all = child.into_iter().chain(children.others.iter().copied());
                all.find(|child| self.first_level_of(*child) == level)
            }
        }
    }

    fn child(&self, at: NodeIndex, level: &[u8]) -> Option<NodeIndex> {
        let node = &self.nodes[at];
        match level {
            b"+" => node.plus.map(NonZeroUsize::get),
            b"#" => node.hash.map(NonZeroUsize::get),
            _ => (self.literal(at, level)).filter(|&child| self.first_level_of(child) == level),
        }
    }

    /// The node for exactly this path.
    fn find(&self, path: &[u8]) -> Option<NodeIndex> {
        let (mut at, mut rest) = (ROOT, path);
        loop {
            at = self.child(at, first_level(rest))?;
            let after = rest.strip_prefix(self.nodes[at].label.as_bytes())?;
            if after.is_empty() {
                return Some(at);
            }
            rest = after.strip_prefix(b"/")?;
        }
    }

    /// The node for exactly this path, which is made if there is none.
    fn reach(&mut self, path: &[u8]) -> NodeIndex {
        let (mut at, mut rest) = (ROOT, path);
        loop {
            let Some(child) = self.child(at, first_level(rest)) else {
                return self.add(at, rest);
            };
            let label = self.nodes[child].label.as_bytes();
            let common = common_levels(label, rest);
            at = match common == label.len() {
                true => child,
                false => self.split(child, common),
            };
            if common == rest.len() {
                return at;
            }
            rest = &rest[common + 1..];
        }
    }

    fn add(&mut self, parent: NodeIndex, label: &[u8]) -> NodeIndex {
        let node = Node::new(parent, label);
        let at = self.put(node);
        self.link(parent, at);
        at
    }

    fn put(&mut self, node: Node<V>) -> NodeIndex {
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
    fn split(&mut self, lower: NodeIndex, common: usize) -> NodeIndex {
        let node = &mut self.nodes[lower];
        let label = mem::replace(&mut node.label, Label::EMPTY);
        let label = label.as_bytes();
        let parent = node.parent;
        let upper = self.put(Node::new(parent, &label[..common]));
        self.relabel(lower, upper, &label[common + 1..]);
        self.replace(parent, lower, upper);
        self.link(upper, lower);
        upper
    }

    fn relabel(&mut self, at: NodeIndex, parent: NodeIndex, label: &[u8]) {
        let node = &mut self.nodes[at];
        node.parent = parent;
        node.label = Label::new(label);
        node.has_wildcard = node.label.has_wildcard();
    }

    /// Makes a node that has its parent and its label known to its parent.
    fn link(&mut self, parent: NodeIndex, child: NodeIndex) {
        let level = self.first_level_of(child);
        let hash = self.hash_of(level);
        match (level, &self.nodes[parent].literals) {
            (b"+", _) => self.nodes[parent].plus = NonZeroUsize::new(child),
            (b"#", _) => self.nodes[parent].hash = NonZeroUsize::new(child),
            (_, Literals::None) => self.nodes[parent].literals = Literals::One(child),
            (_, &Literals::One(other)) => {
                let mut children = Box::<Children>::default();
                children.insert(self.hash_of(self.first_level_of(other)), other);
                children.insert(hash, child);
                self.nodes[parent].literals = Literals::Many(children);
            }
            (_, Literals::Many(_)) => {
                if let Literals::Many(children) = &mut self.nodes[parent].literals {
                    children.insert(hash, child);
                }
            }
        }
    }

    /// Puts a child in the place of another one with the same first level.
    fn replace(&mut self, parent: NodeIndex, old: NodeIndex, new: NodeIndex) {
        let level = self.first_level_of(new);
        let hash = self.hash_of(level);
        match level {
            b"+" => self.nodes[parent].plus = NonZeroUsize::new(new),
            b"#" => self.nodes[parent].hash = NonZeroUsize::new(new),
            _ => match &mut self.nodes[parent].literals {
                Literals::None => {}
                Literals::One(child) => *child = new,
                Literals::Many(children) => children.replace(hash, old, new),
            },
        }
    }

    fn unlink(&mut self, parent: NodeIndex, child: NodeIndex) {
        let level = self.first_level_of(child);
        let hash = self.hash_of(level);
        match level {
            b"+" => self.nodes[parent].plus = None,
            b"#" => self.nodes[parent].hash = None,
            _ => {
                let literals = &mut self.nodes[parent].literals;
                let Literals::Many(children) = literals else {
                    *literals = Literals::None;
                    return;
                };
                children.remove(hash, child);
                if children.len() == 1 {
                    let last = children.iter().next();
                    *literals = last.map_or(Literals::None, Literals::One);
                }
            }
        }
    }

    /// Gives back the nodes that are of no use any more, from `at` upwards.
    fn prune(&mut self, mut at: NodeIndex) {
        while at != ROOT && self.nodes[at].value.is_none() {
            let parent = self.nodes[at].parent;
            if self.nodes[at].children() == 0 {
                self.unlink(parent, at);
                self.nodes[at] = Node::new(ROOT, b"");
                self.unused.push(at);
                at = parent;
                continue;
            }
            if let Some(child) = self.nodes[at].only_child() {
                let labels = [at, child].map(|at| self.nodes[at].label.as_bytes());
                let label = labels.join(&b'/');
                self.relabel(child, parent, &label);
                self.replace(parent, at, child);
                self.nodes[at] = Node::new(ROOT, b"");
                self.unused.push(at);
            }
            return;
        }
    }
}

#[inline]
pub(super) fn first_level(path: &[u8]) -> &[u8] {
    split_level(path).0
}

/// The first level of a path, and the levels behind it, if there are any.
#[inline]
pub(super) fn split_level(path: &[u8]) -> (&[u8], Option<&[u8]>) {
    match path.iter().position(|&byte| byte == b'/') {
        Some(slash) => (&path[..slash], Some(&path[slash + 1..])),
        None => (path, None),
    }
}

/// How many bytes the levels take that two paths have in common at their front. They have the first one in common.
fn common_levels(one: &[u8], other: &[u8]) -> usize {
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
