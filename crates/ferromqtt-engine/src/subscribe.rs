//! Subscribing and unsubscribing, and the queues that messages come to.

use std::time::Instant;

use ferromqtt_proto::{
    CleanStart, FilterRefusal, InvalidSubscribe, OpId, Properties, QueueId, QueueOptions,
    Subscribe, TopicFilter, Unsubscribe,
};

use crate::calls::CallId;
use crate::{Engine, Fact, SubscribeRefusal, Tokens};

impl<T: Tokens> Engine<T> {
    /// Opens a queue for the messages of a subscription.
    pub fn open_queue(&mut self, options: QueueOptions) -> QueueId {
        self.core.open_queue(options)
    }

    /// As [`open_queue`](Self::open_queue), for a responder: on a connection before 5.0 its subscriptions are refused, by
    /// [`InvalidSubscribe::NoRequests`].
    pub fn open_request_queue(&mut self, options: QueueOptions) -> QueueId {
        self.core.open_request_queue(options)
    }

    /// Subscribes. The token is given back with SUBACK, at the latest after `deadline`.
    ///
    /// # Errors
    /// Why it is refused, and the token. Nothing was sent.
    pub fn subscribe(
        &mut self,
        now: Instant,
        subscribe: Subscribe,
        deadline: Option<Instant>,
        token: T::Call,
    ) -> Result<CallId, (T::Call, SubscribeRefusal)> {
        let accepted = match self.ended_unknown_to_core() {
            true => Err(InvalidSubscribe::NotConnected),
            false => self.core.subscribe(now, subscribe),
        };
        self.accepted_request(accepted, deadline, token)
    }

    /// Unsubscribes from all filters of `unsubscribe`, for every queue. The token is given back with UNSUBACK, at the latest
    /// after `deadline`.
    ///
    /// # Errors
    /// Why it is refused, and the token. Nothing was sent.
    pub fn unsubscribe(
        &mut self,
        now: Instant,
        unsubscribe: Unsubscribe,
        deadline: Option<Instant>,
        token: T::Call,
    ) -> Result<CallId, (T::Call, SubscribeRefusal)> {
        let accepted = match self.ended_unknown_to_core() {
            true => Err(InvalidSubscribe::NotConnected),
            false if self.lasting.is_empty() => self.core.unsubscribe(now, unsubscribe),
            false => {
                let filters = unsubscribe.filters.clone();
                let accepted = self.core.unsubscribe(now, unsubscribe);
                accepted.inspect(|&op| self.leave_lasting(op, &filters))
            }
        };
        self.accepted_request(accepted, deadline, token)
    }

    /// As [`unsubscribe`](Self::unsubscribe), for a call that does not return what the server refuses: that is reported as
    /// [`Fact::NotUnsubscribed`](crate::Fact::NotUnsubscribed).
    ///
    /// # Errors
    /// Why it is refused, and the token. Nothing was sent.
    pub fn unsubscribe_unheeded(
        &mut self,
        now: Instant,
        unsubscribe: Unsubscribe,
        deadline: Option<Instant>,
        token: T::Call,
    ) -> Result<CallId, (T::Call, SubscribeRefusal)> {
        let call = self.unsubscribe(now, unsubscribe, deadline, token)?;
        self.unheeded.extend(self.calls.op(call));
        Ok(call)
    }

    /// Whether the connection has ended, and the core may not know it: it is idle once it does.
    const fn ended_unknown_to_core(&self) -> bool {
        self.has_ended() && !self.core.is_idle()
    }

    fn accepted_request(
        &mut self,
        accepted: Result<OpId, InvalidSubscribe>,
        deadline: Option<Instant>,
        token: T::Call,
    ) -> Result<CallId, (T::Call, SubscribeRefusal)> {
        match accepted {
            Ok(op) => Ok(self.calls.insert(op, token, deadline)),
            Err(InvalidSubscribe::NotConnected) => {
                Err((token, SubscribeRefusal::not_sent(self.end_cause())))
            }
            Err(error) => Err((token, error.into())),
        }
    }

    /// Closes a queue with all that is in it. Returns the filters that no other queue needs, to
    /// [unsubscribe](Self::unsubscribe) from. Does nothing to the default queue.
    pub fn close_queue(&mut self, queue: QueueId) -> Vec<TopicFilter> {
        let filters = self.core.close_queue(queue);
        self.not_subscribed.remove(&queue);
        self.forget_lasting(queue);
        filters
    }

    /// The reader of a queue is gone: the subscription goes with it, unless the session is to outlive the program
    /// ([`CleanStart::Never`]). UNSUBSCRIBE is sent in the background.
    pub fn drop_queue(&mut self, now: Instant, queue: QueueId) {
        if self.core.options().clean_start == CleanStart::Never {
            return self.detach_queue(now, queue);
        }
        let filters = self.close_queue(queue);
        if filters.is_empty() || self.try_unsubscribe(now, filters.clone()).is_ok() {
            return;
        }
        // One that this server cannot be asked about keeps no others subscribed.
        for filter in filters {
            if let Err(error) = self.try_unsubscribe(now, vec![filter.clone()]) {
                let refusal = FilterRefusal::NotAsked(error);
                self.report(Fact::NotUnsubscribed { filter, refusal });
            }
        }
    }

    /// Unsubscribes with nobody who waits for the answer. Without a connection the subscription has gone with that.
    fn try_unsubscribe(
        &mut self,
        now: Instant,
        filters: Vec<TopicFilter>,
    ) -> Result<(), InvalidSubscribe> {
        let unsubscribe = Unsubscribe {
            filters,
            properties: Properties::default(),
        };
        match self.core.unsubscribe(now, unsubscribe) {
            Ok(op) => self.unheeded.extend([op]),
            Err(InvalidSubscribe::NotConnected) => {}
            Err(error) => return Err(error),
        }
        Ok(())
    }

    /// The reader of a queue is gone, and all else stays.
    pub fn detach_queue(&mut self, now: Instant, queue: QueueId) {
        self.core.detach_queue(now, queue);
        self.not_subscribed.remove(&queue);
        self.forget_lasting(queue);
    }

    /// Claims for the default queue what is held for a subscription: see
    /// [`Client::claim_default`](ferromqtt_proto::Client::claim_default).
    pub fn claim_default(&mut self) {
        self.core.claim_default();
    }

    /// How many messages a full queue has lost since the last call.
    pub fn take_lost(&mut self, queue: QueueId) -> u64 {
        self.core.take_lost(queue)
    }

    /// The filters of a queue that no message comes for any more, and why: the server has lost their subscriptions and they
    /// could not be made again, or [lasting](Self::declare_lasting) ones were refused.
    pub fn not_subscribed(&self, queue: QueueId) -> &[(TopicFilter, FilterRefusal)] {
        self.not_subscribed.get(&queue).map_or(&[], Vec::as_slice)
    }

    /// What is subscribed for a queue; nothing for the default one.
    pub(crate) fn filters_of(&self, queue: QueueId) -> Vec<TopicFilter> {
        match queue {
            QueueId::DEFAULT => Vec::new(),
            _ => self.core.filters(queue).cloned().collect(),
        }
    }
}
