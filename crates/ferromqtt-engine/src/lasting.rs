//! Subscriptions that last as long as their queues: each [start](Engine::start) of the engine makes them again.
//!
//! The core keeps subscriptions while it reconnects by itself, and forgets them when the application connects again. A face
//! whose subscriptions outlive a connection that has ended, or begin before the first one, leaves them to this table.

use std::time::Instant;

use ferromqtt_proto::{OpId, Outcome, QueueId, ReasonCode, Subscribe, TopicFilter, Unsubscribe};

use crate::calls::CallId;
use crate::{Engine, Fact, SubscribeRefusal, Tokens};

/// One subscription, by its queue in [`Engine::lasting`].
#[derive(Debug)]
pub(crate) struct LastingSubscription {
    terms: Subscribe,
    progress: LastingProgress,
    /// What the server has said to each filter when it was asked last.
    answer: Vec<(TopicFilter, ReasonCode)>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum LastingProgress {
    /// The next start asks the server.
    Waiting,
    /// The server is being asked.
    Asked(OpId),
    /// The server has answered. From here on the core keeps it, until the connection has ended for good.
    Answered,
}

/// Why no message comes to a queue any more.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum QueueEnd {
    /// The connection has ended, and the queues with it.
    Connection,
    /// The queue has overflown under [`Overflow::Fail`](ferromqtt_proto::Overflow::Fail).
    /// [`Engine::take_lost`] lets it go on behind the gap.
    Overflown {
        /// How many messages are lost so far.
        lost: u64,
    },
    /// The server has refused the subscription, or refused to renew it in a later session.
    Refused {
        /// A filter that it has refused.
        filter: TopicFilter,
        /// The server's Reason Code, or the one that stands for its limit that forbids to ask.
        reason: ReasonCode,
    },
    /// Every filter was unsubscribed, or the queue was closed.
    Unsubscribed,
}

impl<T: Tokens> Engine<T> {
    /// Subscribes for a queue of its own, for as long as that is open: see [`subscribe`](Self::subscribe). Close, drop or
    /// detach the queue when the call fails.
    ///
    /// # Errors
    /// As of [`subscribe`](Self::subscribe). Nothing is kept then.
    pub fn subscribe_lasting(
        &mut self,
        now: Instant,
        terms: Subscribe,
        deadline: Option<Instant>,
        token: T::Call,
    ) -> Result<CallId, (T::Call, SubscribeRefusal)> {
        let call = self.subscribe(now, terms.clone(), deadline, token)?;
        let progress = match self.calls.op(call) {
            Some(op) => {
                self.lasting_ops.insert(op, terms.queue);
                LastingProgress::Asked(op)
            }
            None => LastingProgress::Waiting,
        };
        self.keep(terms, progress);
        Ok(call)
    }

    /// As [`subscribe_lasting`](Self::subscribe_lasting), before there is a connection: nobody waits for the answer. What the
    /// server refuses is reported as [`Fact::NotSubscribed`], and is among [`not_subscribed`](Self::not_subscribed).
    pub fn declare_lasting(&mut self, now: Instant, terms: Subscribe) {
        let queue = terms.queue;
        self.keep(terms, LastingProgress::Waiting);
        if !self.core.is_idle() && !self.has_ended() {
            self.ask_for(now, queue);
        }
    }

    fn keep(&mut self, terms: Subscribe, progress: LastingProgress) {
        let lasting = LastingSubscription {
            progress,
            answer: Vec::new(),
            terms,
        };
        self.lasting.insert(lasting.terms.queue, lasting);
    }

    /// What the server has said to each filter of a lasting subscription when it was asked last; nothing before that.
    pub fn answer_of(&self, queue: QueueId) -> &[(TopicFilter, ReasonCode)] {
        (self.lasting.get(&queue)).map_or(&[], |lasting| &lasting.answer)
    }

    /// Whether a queue has a lasting subscription: until it is closed, dropped or detached.
    pub fn is_lasting(&self, queue: QueueId) -> bool {
        self.lasting.contains_key(&queue)
    }

    /// Why [no message](Self::is_over) comes to a queue beside those that are in it; `None` as long as some may.
    pub fn end_of(&self, queue: QueueId) -> Option<QueueEnd> {
        if !self.is_over(queue) {
            return None;
        }
        if self.core.has_failed(queue) {
            let lost = self.core.queue_lost(queue);
            return Some(QueueEnd::Overflown { lost });
        }
        if queue != QueueId::DEFAULT && !self.lasting.contains_key(&queue) {
            return Some(QueueEnd::Unsubscribed);
        }
        if self.queues_ended {
            return Some(QueueEnd::Connection);
        }
        let refused = self.not_subscribed(queue).last();
        Some(match refused.cloned() {
            Some((filter, reason)) => QueueEnd::Refused { filter, reason },
            None => QueueEnd::Unsubscribed,
        })
    }

    /// Whether the server has yet to answer a lasting subscription.
    pub(crate) fn awaits_subscription(&self, queue: QueueId) -> bool {
        let lasting = self.lasting.get(&queue);
        lasting.is_some_and(|it| it.progress != LastingProgress::Answered)
    }

    /// Asks for all lasting subscriptions: the engine is started, and the core has forgotten them.
    pub(crate) fn subscribe_again(&mut self, now: Instant) {
        for queue in self.lasting.keys().copied().collect::<Vec<_>>() {
            self.ask_for(now, queue);
        }
    }

    fn ask_for(&mut self, now: Instant, queue: QueueId) {
        let Some(lasting) = self.lasting.get_mut(&queue) else {
            return;
        };
        if lasting.terms.filters.is_empty() {
            return; // each was unsubscribed
        }
        match self.core.subscribe(now, lasting.terms.clone()) {
            Ok(op) => {
                lasting.progress = LastingProgress::Asked(op);
                self.lasting_ops.insert(op, queue);
            }
            Err(error) => {
                self.settle_subscription(queue, &Outcome::RequestNotPossible(error), true)
            }
        }
    }

    /// Notes the server's answer, if `op` is about a lasting subscription. Returns whether it is, and no call waits for it.
    pub(crate) fn note_answer(&mut self, op: OpId, outcome: &Outcome) -> bool {
        let Some(queue) = self.lasting_ops.remove(&op) else {
            return false;
        };
        let is_unawaited = !self.calls.contains(op); // else its caller learns what is refused
        self.settle_subscription(queue, outcome, is_unawaited);
        is_unawaited
    }

    fn settle_subscription(&mut self, queue: QueueId, outcome: &Outcome, reports: bool) {
        let Some(lasting) = self.lasting.get_mut(&queue) else {
            return;
        };
        let filters = lasting
            .terms
            .filters
            .iter()
            .map(|(filter, _)| filter.clone());
        lasting.answer = match outcome {
            Outcome::Subscribed { reasons, .. } => filters.zip(reasons.iter().copied()).collect(),
            Outcome::RequestNotPossible(error) => {
                filters.map(|filter| (filter, error.as_reason())).collect()
            }
            _ => {
                lasting.progress = LastingProgress::Waiting; // the connection has ended
                return;
            }
        };
        lasting.progress = LastingProgress::Answered;
        let refused = lasting
            .answer
            .iter()
            .filter(|(_, reason)| reason.is_error());
        let refused: Vec<_> = refused.cloned().collect();
        if refused.is_empty() || !reports {
            return;
        }
        let noted = self.not_subscribed.entry(queue).or_default();
        noted.extend_from_slice(&refused);
        self.wake_readers(queue);
        for (filter, reason) in refused {
            self.report(Fact::NotSubscribed { filter, reason });
        }
    }

    /// These filters are being unsubscribed from, for every queue: no start asks for them again.
    pub(crate) fn unsubscribe_lasting(&mut self, unsubscribe: &Unsubscribe) {
        for lasting in self.lasting.values_mut() {
            let filters = &mut lasting.terms.filters;
            filters.retain(|(filter, _)| !unsubscribe.filters.contains(filter));
        }
    }

    /// The queue is gone, and its subscription is no start's any more. Its readers are woken.
    pub(crate) fn forget_lasting(&mut self, queue: QueueId) {
        let Some(lasting) = self.lasting.remove(&queue) else {
            return;
        };
        if let LastingProgress::Asked(op) = lasting.progress {
            self.lasting_ops.remove(&op);
            if !self.calls.contains(op) {
                self.core.abandon(op); // no call waits for the answer
            }
        }
        self.wake_readers(queue);
    }
}
