//! What an UNSUBSCRIBE takes out of lasting subscriptions, and puts back when it comes to nothing.

use ferromqtt_proto::{Delivery, OpId, Outcome, QueueId, TopicFilter};

use crate::{Engine, Tokens};

impl<T: Tokens> Engine<T> {
    /// An UNSUBSCRIBE from these filters was accepted, for every queue: no start asks for them again.
    pub(crate) fn leave_lasting(&mut self, op: OpId, filters: &[TopicFilter]) {
        let mut left = Vec::new();
        for (&queue, lasting) in &mut self.lasting {
            for (filter, _) in &lasting.terms.filters {
                if filters.contains(filter) && lasting.left.insert(filter.clone()) {
                    left.push((queue, filter.clone()));
                }
            }
        }
        if !left.is_empty() {
            self.lasting_unsubscribes.insert(op, left);
        }
    }

    /// The server has refused to unsubscribe `filter`, and the core keeps it where it was subscribed: so does each start.
    pub(crate) fn keep_lasting(&mut self, filter: &TopicFilter) {
        for (&queue, lasting) in &mut self.lasting {
            if lasting.left.contains(filter) && self.core.filters(queue).any(|it| it == filter) {
                lasting.left.remove(filter);
            }
        }
    }

    /// An UNSUBSCRIBE has this outcome, if `op` is one.
    pub(crate) fn note_unsubscribed(&mut self, op: OpId, outcome: &Outcome) {
        let delivery = match outcome {
            Outcome::RequestNotPossible(_) | Outcome::Dropped => Delivery::NotSent,
            Outcome::Disconnected { delivery, .. } => *delivery,
            _ => Delivery::Unknown, // the server has answered
        };
        self.end_unsubscribe(op, delivery);
    }

    /// Nobody waits for an UNSUBSCRIBE any more, if `op` is one. If it was not sent, it has ended nothing.
    pub(crate) fn end_unsubscribe(&mut self, op: OpId, delivery: Delivery) {
        let Some(left) = self.lasting_unsubscribes.remove(&op) else {
            return;
        };
        if delivery != Delivery::NotSent {
            return;
        }
        for (queue, filter) in left {
            if let Some(lasting) = self.lasting.get_mut(&queue) {
                lasting.left.remove(&filter);
            }
        }
    }
}

/// The filters that an UNSUBSCRIBE takes out, with their queues.
pub(crate) type LeftFilters = Vec<(QueueId, TopicFilter)>;
