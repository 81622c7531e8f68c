//! Accepting messages into the outgoing queue: at once, after waiting for capacity, or in place of others.

use std::time::{Duration, Instant};

use ferromqtt_proto::{
    CleanStart, Client, Direction, InvalidPublish, Outcome, OutgoingPolicy, Publish, QoS,
};

use crate::calls::CallId;
use crate::capacity::{LineEntry, Purpose, WaitingTerms};
use crate::{CallEnd, Engine, PublishRefusal, Tokens, Woken};

/// How long a message may wait in the [outgoing queue](Engine::queue_publish), and for what.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MessageTerms {
    /// How long it may wait to be sent, on any version: then it ends as [`Outcome::Expired`]. On 5.0 what is left of that time is
    /// sent as its Message Expiry Interval, in whole seconds, rounded up. Default: `None`, the Message Expiry Interval of the
    /// message, or no limit.
    pub expires_in: Option<Duration>,
    /// Whether a newer message to the same topic that is to be kept like this takes its place, as long as it never was on the
    /// wire: this one then ends as [`Outcome::Replaced`], and the newer one waits behind all others. Default: `false`.
    pub keep_latest: bool,
}

/// What became of a message that was submitted to the outgoing queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum QueueSubmission {
    /// It was accepted under this key: its token waits for the outcome.
    Accepted(u64),
    /// It waits for capacity.
    Waits(CallId),
}

/// Which messages leave for a new one.
enum Admission {
    Leave {
        replaced: Option<u64>,
        dropped: Vec<u64>,
    },
    /// The new one is dropped.
    DropNew,
}

impl<T: Tokens> Engine<T> {
    /// Accepts a message into the outgoing queue, in any phase: also before the first connection, between two of them, and
    /// after the last if the engine [may be started again](crate::EngineOptions::restarts) and the queue
    /// [outlives the connection](crate::OutgoingQueueOptions::outlives_connection). Returns its key, a number larger than
    /// those of all messages before. It is published in the order of the keys, when there is a connection, and ends once: with
    /// its token, or when no token waits (any more), as [`Fact::MessageEnded`](crate::Fact::MessageEnded).
    ///
    /// It never waits for capacity, and passes those that do.
    ///
    /// # Errors
    /// Why it is refused, and the token. It has no key then. [`InvalidPublish::QueueFull`] is for the bounds of this queue,
    /// with a [policy](crate::OutgoingQueueOptions::policy) that drops nothing.
    pub fn queue_publish(
        &mut self,
        now: Instant,
        publish: Publish,
        terms: MessageTerms,
        token: Option<T::Call>,
    ) -> Result<u64, (Option<T::Call>, PublishRefusal)> {
        if let Err(refusal) = self.check_queue_open() {
            return Err((token, refusal));
        }
        let (mut publish, terms) = self.on_terms(now, publish, terms);
        match self.admit(now, &mut publish, terms) {
            Ok(admitted) => Ok(self.enter_queue(admitted, publish, terms, token)),
            Err(error) => Err((token, self.refused(error))),
        }
    }

    /// As [`queue_publish`](Self::queue_publish), but where that is refused for lack of capacity under
    /// [`OutgoingPolicy::Wait`], the message waits for some behind those that do. Then `accepted` is given back with
    /// [`CallEnd::Queued`], or with why not, at the latest after `deadline`; otherwise it is returned. The time of
    /// [`MessageTerms::expires_in`] runs meanwhile.
    ///
    /// # Errors
    /// As [`queue_publish`](Self::queue_publish), with both tokens.
    #[expect(
        clippy::type_complexity,
        reason = "a name would hide which tokens come back"
    )]
    pub fn queue_or_wait(
        &mut self,
        now: Instant,
        publish: Publish,
        terms: MessageTerms,
        deadline: Option<Instant>,
        outcome: T::Call,
        accepted: T::Call,
    ) -> Result<(QueueSubmission, Option<T::Call>), ([T::Call; 2], PublishRefusal)> {
        if let Err(refusal) = self.check_queue_open() {
            return Err(([outcome, accepted], refusal));
        }
        let (mut publish, terms) = self.on_terms(now, publish, terms);
        let queue = self.outgoing.get_or_insert_default();
        let waits = queue.options().policy == OutgoingPolicy::Wait;
        if !waits || queue.line.is_empty() {
            match self.admit(now, &mut publish, terms) {
                Ok(admitted) => {
                    let key = self.enter_queue(admitted, publish, terms, Some(outcome));
                    return Ok((QueueSubmission::Accepted(key), Some(accepted)));
                }
                Err(InvalidPublish::QueueFull { .. } | InvalidPublish::StoreBusy) if waits => {}
                Err(error) => return Err(([outcome, accepted], self.refused(error))),
            }
        }
        let queue = self.outgoing.get_or_insert_default();
        let place = queue.line.enter(LineEntry {
            purpose: Purpose::Message,
            publish,
            terms,
            outcome,
            accepted: Some(accepted),
            deadline,
        });
        let call = CallId::of_queue_place(place);
        self.calls.watch(call, deadline);
        Ok((QueueSubmission::Waits(call), None))
    }

    /// The message with its expiry as a property, where there are any.
    fn on_terms(
        &self,
        now: Instant,
        mut publish: Publish,
        terms: MessageTerms,
    ) -> (Publish, WaitingTerms) {
        let is_v5 = self.core.options().protocol.is_v5();
        if let Some(limit) = terms.expires_in
            && is_v5
        {
            let seconds = limit.as_secs() + u64::from(limit.subsec_nanos() > 0);
            let interval = u32::try_from(seconds).unwrap_or(u32::MAX);
            let properties = publish.properties.get_or_insert_default();
            properties.message_expiry_interval = Some(interval);
        }
        let interval = publish.properties.as_ref();
        let interval = interval.and_then(|it| it.message_expiry_interval);
        let interval = interval.map(|seconds| Duration::from_secs(seconds.into()));
        let limit = terms.expires_in.or(interval);
        let max_age = (self.outgoing.as_ref()).and_then(|queue| queue.options().max_age);
        let limit = [limit, max_age].into_iter().flatten().min();
        let terms = WaitingTerms {
            expires_at: limit.and_then(|limit| now.checked_add(limit)),
            keep_latest: terms.keep_latest,
        };
        (publish, terms)
    }

    /// Gives a message its key, and finds out which others leave for it. The caller has it [enter](Self::enter_queue).
    fn admit(
        &mut self,
        now: Instant,
        publish: &mut Publish,
        terms: WaitingTerms,
    ) -> Result<(u64, Admission), InvalidPublish> {
        self.expire_queued(now); // what is over takes no capacity
        let admission = self.admission(publish, terms)?;
        let expires_in = (terms.expires_at).map(|end| end.saturating_duration_since(now));
        let key = (self.core).record_accepted(publish, expires_in, terms.keep_latest)?;
        Ok((key, admission))
    }

    /// Puts a message into the queue, in place of others where its terms or the policy say so. Returns its key.
    fn enter_queue(
        &mut self,
        (key, admission): (u64, Admission),
        publish: Publish,
        terms: WaitingTerms,
        token: Option<T::Call>,
    ) -> u64 {
        let recorded_at = self.core.journal_end(Direction::Sent);
        let queue = self.outgoing.get_or_insert_default();
        match admission {
            Admission::Leave { replaced, dropped } => {
                queue.push(key, recorded_at, terms, publish, token);
                if let Some(replaced) = replaced {
                    self.end_unsent(replaced, Outcome::Replaced);
                }
                for dropped in dropped {
                    self.end_unsent(dropped, Outcome::Dropped);
                }
            }
            Admission::DropNew => {
                let terms = WaitingTerms::default(); // it takes nobody's place
                queue.push(key, recorded_at, terms, publish, token);
                self.end_unsent(key, Outcome::Dropped);
            }
        }
        key
    }

    fn admission(
        &mut self,
        publish: &Publish,
        terms: WaitingTerms,
    ) -> Result<Admission, InvalidPublish> {
        let core = &self.core;
        let queue = self.outgoing.get_or_insert_default();
        if queue.options().needs_session
            && publish.qos == QoS::ExactlyOnce
            && session_ends_with_process(core)
        {
            return Err(InvalidPublish::SessionTooShort);
        }
        queue.check_held()?;
        let can_withdraw = |op| core.can_withdraw(op);
        let size = publish.memory_size();
        let replaced = match terms.keep_latest {
            true => queue.replaced_by(&publish.topic, can_withdraw),
            false => None,
        };
        let Err(full) = queue.check(size, replaced) else {
            let dropped = Vec::new();
            return Ok(Admission::Leave { replaced, dropped });
        };
        let dropped = match queue.options().policy {
            OutgoingPolicy::DropOldest => queue.oldest(size, replaced, can_withdraw),
            OutgoingPolicy::DropNewest => None,
            _ => return Err(full),
        };
        Ok(match dropped {
            Some(dropped) => Admission::Leave { replaced, dropped },
            None => Admission::DropNew,
        })
    }

    /// Ends a message of the outgoing queue as [`Outcome::Dropped`], if it never was on the wire. Returns whether it was there.
    pub fn drop_queued(&mut self, key: u64) -> bool {
        let core = &self.core;
        let queue = self.outgoing.as_ref();
        let may_leave = queue.is_some_and(|it| it.may_leave(key, |op| core.can_withdraw(op)));
        if may_leave {
            self.end_unsent(key, Outcome::Dropped);
        }
        may_leave
    }

    /// Ends a message that never was on the wire, whether the core has it or not.
    fn end_unsent(&mut self, key: u64, outcome: Outcome) {
        if let Some(op) = (self.outgoing.as_ref()).and_then(|queue| queue.op(key)) {
            self.core.withdraw(op);
        }
        self.end_queued(key, outcome);
    }

    /// Ends the messages whose place newer ones have taken, as far as the record tells.
    pub(crate) fn end_outdated(&mut self) {
        let outdated = self.outgoing.as_ref().map(|queue| queue.outdated());
        for key in outdated.unwrap_or_default() {
            self.end_queued(key, Outcome::Replaced);
        }
    }

    /// Accepts those that wait for capacity in the outgoing queue, as far as there is some. Tells whether there was for any.
    pub(crate) fn let_into_queue(&mut self, now: Instant) -> bool {
        let Some(queue) = &mut self.outgoing else {
            return false;
        };
        if !queue.line.takes_move() {
            return false;
        }
        let mut any = false;
        while let Some((place, mut first)) =
            (self.outgoing.as_mut()).and_then(|queue| queue.line.pop())
        {
            let call = CallId::of_queue_place(place);
            match self.admit(now, &mut first.publish, first.terms) {
                Ok(admitted) => self.enter_from_line(call, admitted, first),
                Err(InvalidPublish::QueueFull { .. } | InvalidPublish::StoreBusy) => {
                    let queue = self.outgoing.get_or_insert_default();
                    queue.line.push_back_first(place, first);
                    break;
                }
                Err(error) => {
                    let refusal = self.refused(error);
                    self.end_entry(call, first, CallEnd::Refused(refusal));
                }
            }
            any = true;
        }
        any
    }

    fn enter_from_line(
        &mut self,
        call: CallId,
        admitted: (u64, Admission),
        entry: LineEntry<T::Call>,
    ) {
        self.calls.unwatch(call, entry.deadline);
        let key = self.enter_queue(admitted, entry.publish, entry.terms, Some(entry.outcome));
        let accepted = (entry.accepted).map(|token| Woken::Call(token, CallEnd::Queued { key }));
        self.woken.extend(accepted);
    }

    /// Refuses all messages that wait for capacity in the outgoing queue.
    pub(crate) fn refuse_queue_line(&mut self, refusal: &PublishRefusal) {
        let Some(queue) = &mut self.outgoing else {
            return;
        };
        for (place, entry) in queue.line.take_all() {
            let call = CallId::of_queue_place(place);
            self.end_entry(call, entry, CallEnd::Refused(refusal.clone()));
        }
    }
}

/// Whether the next process cannot resume the session (section 3.1.2.11.2): it would begin clean, this client asks for nothing
/// better, or the server grants nothing better.
fn session_ends_with_process(core: &Client) -> bool {
    let options = core.options();
    let asked = options.properties.session_expiry_interval.unwrap_or(0);
    let granted = core.connack().map(|it| it.session_expiry_interval);
    options.clean_start != CleanStart::Never
        || options.protocol.is_v5() && asked == 0
        || granted == Some(0)
}
