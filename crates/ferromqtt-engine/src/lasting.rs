//! Subscriptions that last as long as their queues: each [start](Engine::start) of the engine makes them again.
//!
//! The core keeps subscriptions while it reconnects by itself, and forgets them when the application connects again. A face
//! whose subscriptions outlive a connection that has ended, or begin before the first one, leaves them to this table.

use std::collections::HashSet;
use std::time::Instant;

use ferromqtt_proto::{
    FilterRefusal, InvalidSubscribe, OpId, Outcome, QueueId, ReasonCode, Subscribe, TopicFilter,
};

use crate::calls::CallId;
use crate::{Engine, Fact, SubscribeRefusal, Tokens};

/// One subscription, by its queue in [`Engine::lasting`].
#[derive(Debug)]
pub(crate) struct LastingSubscription {
    pub(crate) terms: Subscribe,
    /// The filters among them that are unsubscribed, or are being: no start asks for them.
    pub(crate) left: HashSet<TopicFilter>,
    progress: LastingProgress,
    /// What became of each filter when the server was asked last: the granted QoS, or the refusal.
    answer: Vec<AnsweredFilter>,
}

#[derive(Debug)]
enum LastingProgress {
    /// The next start asks the server.
    Waiting,
    /// The server is being asked for these filters, but for those that it could not be asked for.
    Asked(OpId, Vec<AskedFilter>),
    /// The server has answered. From here on the core keeps it, until the connection has ended for good.
    Answered,
}

/// A filter, and what forbids to ask the server for it.
type AskedFilter = (TopicFilter, Option<InvalidSubscribe>);

type AnsweredFilter = (TopicFilter, Result<ReasonCode, FilterRefusal>);

impl LastingSubscription {
    /// What a start asks the server for.
    fn due(&self) -> Subscribe {
        let mut due = self.terms.clone();
        if !self.left.is_empty() {
            due.filters
                .retain(|(filter, _)| !self.left.contains(filter));
        }
        due
    }
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
    /// The subscription was refused, or not renewed in a later session.
    Refused {
        /// A filter that was refused.
        filter: TopicFilter,
        /// Who has refused it, and why.
        refusal: FilterRefusal,
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
                LastingProgress::Asked(op, asked_filters(&terms))
            }
            None => LastingProgress::Waiting,
        };
        self.keep(terms, progress);
        Ok(call)
    }

    /// As [`subscribe_lasting`](Self::subscribe_lasting), before there is a connection: nobody waits for the answer. What the
    /// server refuses is reported as [`Fact::NotSubscribed`], and is among [`not_subscribed`](Self::not_subscribed); so is a
    /// filter that a limit forbids to ask for, and the others are asked for without it.
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
            left: HashSet::new(),
            answer: Vec::new(),
            terms,
        };
        self.lasting.insert(lasting.terms.queue, lasting);
    }

    /// What the server has said to each filter of a lasting subscription when it was asked last, or the Reason Code of the limit
    /// that forbade to ask; nothing before that, and nothing of a filter that was unsubscribed before the answer.
    pub fn answer_of(&self, queue: QueueId) -> Vec<(TopicFilter, ReasonCode)> {
        let answer = self
            .lasting
            .get(&queue)
            .map(|lasting| lasting.answer.iter());
        let answer = answer.into_iter().flatten();
        answer
            .map(|(filter, answered)| match answered {
                Ok(reason) => (filter.clone(), *reason),
                Err(refusal) => (filter.clone(), refusal.reason()),
            })
            .collect()
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
            Some((filter, refusal)) => QueueEnd::Refused { filter, refusal },
            None => QueueEnd::Unsubscribed,
        })
    }

    /// Whether the server has yet to answer a lasting subscription.
    pub(crate) fn awaits_subscription(&self, queue: QueueId) -> bool {
        let lasting = self.lasting.get(&queue);
        lasting.is_some_and(|it| !matches!(it.progress, LastingProgress::Answered))
    }

    /// Asks for all lasting subscriptions: the engine is started, and the core has forgotten them.
    pub(crate) fn subscribe_again(&mut self, now: Instant) {
        self.lasting_not_possible.clear();
        self.lasting_unsubscribes.clear();
        for queue in self.lasting.keys().copied().collect::<Vec<_>>() {
            self.ask_for(now, queue);
        }
    }

    /// Asks the server, but for the filters that a limit forbids to ask for.
    fn ask_for(&mut self, now: Instant, queue: QueueId) {
        let Some(lasting) = self.lasting.get(&queue) else {
            return;
        };
        let mut due = lasting.due();
        let mut asked = asked_filters(&due);
        while !due.filters.is_empty() {
            match self.core.subscribe(now, due.clone()) {
                Ok(op) => {
                    self.lasting_ops.insert(op, queue);
                    return self.set_progress(queue, LastingProgress::Asked(op, asked));
                }
                Err(InvalidSubscribe::NotConnected) => {
                    return self.set_progress(queue, LastingProgress::Waiting);
                }
                Err(error) => self.leave_out(&mut due, &mut asked, &error),
            }
        }
        let refused = asked.into_iter();
        let refused = refused
            .filter_map(|(filter, error)| Some((filter, Err(FilterRefusal::NotAsked(error?)))));
        self.note_answers(queue, refused.collect(), true);
    }

    fn set_progress(&mut self, queue: QueueId, progress: LastingProgress) {
        if let Some(lasting) = self.lasting.get_mut(&queue) {
            lasting.progress = progress;
        }
    }

    /// The core refuses `due`: takes out the filters that it refuses alone too, and all of them if there is none.
    fn leave_out(&self, due: &mut Subscribe, asked: &mut [AskedFilter], error: &InvalidSubscribe) {
        let alone = due.filters.iter().map(|filter| {
            let alone = Subscribe {
                filters: vec![filter.clone()],
                properties: due.properties.clone(),
                queue: due.queue,
            };
            self.core.check_subscribe(alone).err()
        });
        let mut errors: Vec<_> = alone.collect();
        if errors.iter().all(Option::is_none) {
            errors.fill(Some(error.clone()));
        }
        let undecided = asked.iter_mut().filter(|(_, error)| error.is_none());
        for ((_, error), of_filter) in undecided.zip(&errors) {
            error.clone_from(of_filter);
        }
        let mut errors = errors.into_iter();
        due.filters
            .retain(|_| errors.next().is_some_and(|error| error.is_none()));
    }

    /// Asks again for what this server does not take as a whole. Returns whether there is any.
    pub(crate) fn ask_for_possible(&mut self, now: Instant) -> bool {
        let queues = std::mem::take(&mut self.lasting_not_possible);
        if self.has_ended() {
            return false; // the next start asks
        }
        for &queue in &queues {
            self.ask_for(now, queue);
        }
        !queues.is_empty()
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

    fn settle_subscription(&mut self, queue: QueueId, outcome: &Outcome, is_unawaited: bool) {
        let Some(lasting) = self.lasting.get_mut(&queue) else {
            return;
        };
        let progress = std::mem::replace(&mut lasting.progress, LastingProgress::Waiting);
        let LastingProgress::Asked(_, asked) = progress else {
            return; // never: it was asked for
        };
        let answer = match outcome {
            Outcome::Subscribed { reasons, .. } => {
                let mut reasons = reasons.iter().copied();
                let answer = asked.into_iter().map_while(|(filter, forbidden)| {
                    let answered = match forbidden {
                        Some(error) => Err(FilterRefusal::NotAsked(error)),
                        None => match reasons.next()? {
                            reason if reason.is_error() => Err(FilterRefusal::ByServer(reason)),
                            reason => Ok(reason),
                        },
                    };
                    Some((filter, answered))
                });
                answer.collect()
            }
            Outcome::RequestNotPossible(_) if is_unawaited => {
                return self.lasting_not_possible.push(queue);
            }
            Outcome::RequestNotPossible(error) => {
                let refusal = FilterRefusal::NotAsked(error.clone());
                let filters = asked.into_iter().map(|(filter, _)| filter);
                filters.map(|it| (it, Err(refusal.clone()))).collect()
            }
            _ => return, // the connection has ended
        };
        self.note_answers(queue, answer, is_unawaited);
    }

    /// The server has answered, or could not be asked. What was unsubscribed meanwhile does not count.
    fn note_answers(&mut self, queue: QueueId, mut answer: Vec<AnsweredFilter>, reports: bool) {
        let Some(lasting) = self.lasting.get_mut(&queue) else {
            return;
        };
        answer.retain(|(filter, _)| !lasting.left.contains(filter));
        lasting.progress = LastingProgress::Answered;
        lasting.answer = answer;
        let answer = lasting.answer.iter();
        let refused = answer.filter_map(|(filter, answered)| {
            let refusal = answered.as_ref().err()?;
            Some((filter.clone(), refusal.clone()))
        });
        let refused: Vec<_> = refused.collect();
        if refused.is_empty() || !reports {
            return;
        }
        let noted = self.not_subscribed.entry(queue).or_default();
        noted.extend_from_slice(&refused);
        self.wake_readers(queue);
        for (filter, refusal) in refused {
            self.report(Fact::NotSubscribed { filter, refusal });
        }
    }

    /// The queue is gone, and its subscription is no start's any more. Its readers are woken.
    pub(crate) fn forget_lasting(&mut self, queue: QueueId) {
        let Some(lasting) = self.lasting.remove(&queue) else {
            return;
        };
        if let LastingProgress::Asked(op, _) = lasting.progress {
            self.lasting_ops.remove(&op);
            if !self.calls.contains(op) {
                self.core.abandon(op); // no call waits for the answer
            }
        }
        self.wake_readers(queue);
    }
}

fn asked_filters(terms: &Subscribe) -> Vec<AskedFilter> {
    let filters = terms.filters.iter();
    filters.map(|(filter, _)| (filter.clone(), None)).collect()
}
