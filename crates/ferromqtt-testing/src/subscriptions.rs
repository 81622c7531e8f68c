//! Who subscribes to what: a tree with one node for each level of a Topic Filter.

use std::collections::HashMap;

use ferromqtt_proto::packet::SubscriptionOptions;

use crate::session::SessionId;

/// One subscription.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Subscription {
    pub(crate) session: SessionId,
    pub(crate) options: SubscriptionOptions,
    pub(crate) identifier: Option<u32>,
}

type NodeId = usize;

const ROOT: NodeId = 0;

#[derive(Debug, Default)]
struct Node {
    /// The node above, and the level that leads from there to here.
    origin: Option<(NodeId, Box<str>)>,
    children: HashMap<Box<str>, NodeId>,
    plus: Option<NodeId>,
    hash: Option<NodeId>,
    subscriptions: Vec<Subscription>,
}

impl Node {
    fn child(&self, level: &str) -> Option<NodeId> {
        match level {
            "+" => self.plus,
            "#" => self.hash,
            _ => self.children.get(level).copied(),
        }
    }

    fn is_unused(&self) -> bool {
        self.subscriptions.is_empty()
            && self.children.is_empty()
            && self.plus.is_none()
            && self.hash.is_none()
    }
}

/// All subscriptions. The nodes stand in one vector, so that no filter is too deep for the stack.
#[derive(Debug)]
pub(crate) struct Subscriptions {
    nodes: Vec<Node>,
    unused: Vec<NodeId>,
    /// The nodes that fit the levels read so far, and those for the level after it: kept for their memory.
    here: Vec<NodeId>,
    below: Vec<NodeId>,
}

impl Default for Subscriptions {
    fn default() -> Self {
        Self {
            nodes: vec![Node::default()],
            unused: Vec::new(),
            here: Vec::new(),
            below: Vec::new(),
        }
    }
}

impl Subscriptions {
    /// Adds a subscription, or replaces the session's one with the same filter (MQTT-3.8.4-3): then it says `true`.
    pub(crate) fn insert(&mut self, filter: &str, subscription: Subscription) -> bool {
        let mut at = ROOT;
        for level in filter.split('/') {
            at = match self.nodes[at].child(level) {
                Some(child) => child,
                None => self.add_child(at, level),
            };
        }
        let subscriptions = &mut self.nodes[at].subscriptions;
        match subscriptions
            .iter_mut()
            .find(|old| old.session == subscription.session)
        {
            Some(old) => {
                *old = subscription;
                true
            }
            None => {
                subscriptions.push(subscription);
                false
            }
        }
    }

    /// Removes a subscription, if there is one.
    pub(crate) fn remove(&mut self, filter: &str, session: SessionId) -> bool {
        let mut at = ROOT;
        for level in filter.split('/') {
            match self.nodes[at].child(level) {
                Some(child) => at = child,
                None => return false,
            }
        }
        let subscriptions = &mut self.nodes[at].subscriptions;
        let before = subscriptions.len();
        subscriptions.retain(|subscription| subscription.session != session);
        let removed = subscriptions.len() < before;
        self.prune(at);
        removed
    }

    /// Appends every subscription whose filter matches `topic` to `found`; sessions may come more than once.
    pub(crate) fn matching(&mut self, topic: &str, found: &mut Vec<Subscription>) {
        self.here.clear();
        self.here.push(ROOT);
        // Wildcards at the front do not match topics that begin with $ (MQTT-4.7.2-1).
        let mut wildcards = !topic.starts_with('$');
        for level in topic.split('/') {
            for &at in &self.here {
                let node = &self.nodes[at];
                self.below.extend(node.children.get(level));
                if wildcards {
                    self.below.extend(node.plus);
                    if let Some(hash) = node.hash {
                        found.extend_from_slice(&self.nodes[hash].subscriptions);
                    }
                }
            }
            wildcards = true;
            std::mem::swap(&mut self.here, &mut self.below);
            self.below.clear();
        }
        for &at in &self.here {
            let node = &self.nodes[at];
            found.extend_from_slice(&node.subscriptions);
            if let Some(hash) = node.hash {
                found.extend_from_slice(&self.nodes[hash].subscriptions); // `a/#` matches `a`
            }
        }
    }

    fn add_child(&mut self, parent: NodeId, level: &str) -> NodeId {
        let node = Node {
            origin: Some((parent, level.into())),
            ..Node::default()
        };
        let child = match self.unused.pop() {
            Some(unused) => {
                self.nodes[unused] = node;
                unused
            }
            None => {
                self.nodes.push(node);
                self.nodes.len() - 1
            }
        };
        let parent = &mut self.nodes[parent];
        match level {
            "+" => parent.plus = Some(child),
            "#" => parent.hash = Some(child),
            _ => _ = parent.children.insert(level.into(), child),
        }
        child
    }

    /// Gives back nodes that lead nowhere any more, from `at` upwards.
    fn prune(&mut self, mut at: NodeId) {
        while self.nodes[at].is_unused() {
            let Some((parent, level)) = self.nodes[at].origin.take() else {
                return; // the root stays
            };
            self.unused.push(at);
            let node = &mut self.nodes[parent];
            match &*level {
                "+" => node.plus = None,
                "#" => node.hash = None,
                _ => _ = node.children.remove(&level),
            }
            at = parent;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ferromqtt_proto::TopicFilter;

    fn subscription(session: u64) -> Subscription {
        Subscription {
            session: SessionId(session),
            options: SubscriptionOptions::default(),
            identifier: None,
        }
    }

    #[test]
    fn the_tree_matches_as_the_filter_alone_does_mqtt_4_7() {
        let filters = [
            "a", "a/b", "a/+", "+/b", "+", "#", "a/#", "a/b/#", "/", "+/+", "/+", "a/", "$SYS/#",
            "$SYS/+", "+/x",
        ];
        let topics = [
            "a", "a/b", "a/", "/", "b", "a/b/c", "/b", "$SYS/x", "$SYS", "x/x",
        ];
        let mut tree = Subscriptions::default();
        for (index, filter) in filters.iter().enumerate() {
            assert!(!tree.insert(filter, subscription(index as u64)));
        }
        for topic in topics {
            let mut found = Vec::new();
            tree.matching(topic, &mut found);
            let mut found: Vec<u64> = found.iter().map(|found| found.session.0).collect();
            found.sort_unstable();
            let expected: Vec<u64> = (0..filters.len() as u64)
                .filter(|&index| {
                    TopicFilter::new(filters[index as usize])
                        .unwrap()
                        .matches(topic)
                })
                .collect();
            assert_eq!(found, expected, "{topic}");
        }
    }

    #[test]
    fn removed_filters_leave_no_node_behind() {
        let mut tree = Subscriptions::default();
        for round in 0..3 {
            for filter in ["a/b/c", "a/+/#", "a/b"] {
                tree.insert(filter, subscription(round));
            }
            for filter in ["a/b", "a/b/c", "a/+/#"] {
                assert!(tree.remove(filter, SessionId(round)));
                assert!(!tree.remove(filter, SessionId(round)));
            }
        }
        assert!(tree.nodes[ROOT].is_unused());
        assert_eq!(tree.unused.len(), tree.nodes.len() - 1);
    }

    #[test]
    fn a_filter_of_65536_levels_does_not_exhaust_the_stack() {
        let deep = "/".repeat(65_535);
        let mut tree = Subscriptions::default();
        tree.insert(&deep, subscription(1));
        let mut found = Vec::new();
        tree.matching(&deep, &mut found);
        assert_eq!(found, [subscription(1)]);
    }
}
