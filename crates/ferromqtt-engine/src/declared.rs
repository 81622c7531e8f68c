//! Subscriptions that are declared before there is a connection, and whose queues are taken later.

use std::time::Instant;

use ferromqtt_proto::{
    FilterRefusal, InvalidSubscribe, OpId, Outcome, QueueId, Subscribe, TopicFilter,
};

use crate::calls::CallId;
use crate::{Engine, Tokens};

/// A declared subscription whose queue nobody has taken yet, or that is being taken.
#[derive(Debug)]
pub struct DeclaredQueue {
    /// What was subscribed.
    pub filters: Vec<TopicFilter>,
    /// Where its messages go.
    pub queue: QueueId,
    /// The call that asked for it.
    pub call: CallId,
    op: OpId,
}

impl<T: Tokens> Engine<T> {
    /// Accepts a declared subscription, before the engine is driven. Its token waits for the server's answer.
    ///
    /// # Errors
    /// What the core refuses it for, and the token.
    pub fn declare(
        &mut self,
        now: Instant,
        subscribe: Subscribe,
        token: T::Call,
    ) -> Result<CallId, (T::Call, InvalidSubscribe)> {
        let filters = subscribe.filters.iter().map(|(filter, _)| filter.clone());
        let filters = filters.collect();
        let queue = subscribe.queue;
        match self.core.subscribe(now, subscribe) {
            Ok(op) => {
                let call = self.calls.insert(op, token, None);
                self.declared.push(DeclaredQueue {
                    filters,
                    queue,
                    call,
                    op,
                });
                Ok(call)
            }
            Err(error) => Err((token, error)),
        }
    }

    /// Takes the first declared subscription that has this filter. From now on only the call's token
    /// reports that the server has refused it.
    pub fn take_declared(&mut self, filter: &TopicFilter) -> Option<DeclaredQueue> {
        let index = (self.declared.iter()).position(|it| it.filters.contains(filter))?;
        Some(self.declared.remove(index))
    }

    /// Puts back a declared subscription that was taken in vain.
    pub fn put_back_declared(&mut self, declared: DeclaredQueue) {
        self.declared.push(declared);
    }

    /// The filters of a declared subscription that are refused, when `op` is one whose queue nobody has taken.
    pub(crate) fn refused_of_declared(
        &self,
        op: OpId,
        outcome: &Outcome,
    ) -> Vec<(TopicFilter, FilterRefusal)> {
        // Publishes complete too, and are not looked for.
        if !matches!(
            outcome,
            Outcome::Subscribed { .. } | Outcome::RequestNotPossible(_)
        ) {
            return Vec::new();
        }
        let Some(declared) = self.declared.iter().find(|declared| declared.op == op) else {
            return Vec::new();
        };
        let filters = declared.filters.iter().cloned();
        match outcome {
            Outcome::Subscribed { reasons, .. } => (filters.zip(reasons.iter().copied()))
                .filter(|(_, reason)| reason.is_error())
                .map(|(filter, reason)| (filter, FilterRefusal::ByServer(reason)))
                .collect(),
            Outcome::RequestNotPossible(error) => {
                let refusal = FilterRefusal::NotAsked(error.clone());
                filters.map(|filter| (filter, refusal.clone())).collect()
            }
            _ => Vec::new(), // not reached: see above
        }
    }
}
