//! Publishing: accepted at once, after waiting for capacity, or not at all; and giving up.

use std::time::Instant;

use ferromqtt_proto::packet::PublishRef;
use ferromqtt_proto::{
    Delivery, InvalidPublish, LARGE_PAYLOAD, OpId, OutgoingPolicy, Publish, QoS,
};

use crate::calls::CallId;
use crate::capacity::{LineEntry, Purpose, Submission, WaitingTerms};
use crate::{CallEnd, Engine, PublishRefusal, Standing, Tokens, Woken};

/// A call that its caller gave up. Drop the tokens without a lock.
#[derive(Debug)]
pub struct GivenUp<C> {
    /// The token that waited for the outcome.
    pub outcome: C,
    /// The token that waited until the message is accepted.
    pub accepted: Option<C>,
    /// Whether anything had reached the wire; what had not is withdrawn. `None` when the operation had ended already.
    pub delivery: Option<Delivery>,
}

/// The packet of a message that may be encoded at once: a small one at QoS 0.
pub fn at_once(publish: &Publish) -> Option<PublishRef<'_>> {
    if publish.qos != QoS::AtMostOnce || publish.payload.len() >= LARGE_PAYLOAD {
        return None;
    }
    Some(PublishRef {
        dup: false,
        qos: publish.qos,
        retain: publish.retain,
        topic: publish.topic.as_utf8().as_bytes(),
        packet_id: None,
        properties: publish.properties.as_deref(),
        payload_len: publish.payload.len(),
    })
}

impl<T: Tokens> Engine<T> {
    /// Encodes a QoS 0 message if nothing is before it, also nothing that waits for capacity. `false`: it is to be
    /// [published](Self::publish), which may refuse it. Costs no token, no event and no allocation, and needs no time.
    ///
    /// # Errors
    /// Why it can be published in no way. Nothing was sent.
    #[inline]
    pub fn publish_now(
        &mut self,
        packet: PublishRef<'_>,
        payload: &[u8],
    ) -> Result<bool, PublishRefusal> {
        match self.line.is_empty() {
            true => self.try_publish_now(packet, payload),
            false => Ok(false),
        }
    }

    /// As [`publish_now`](Self::publish_now), past the messages that wait for capacity.
    ///
    /// # Errors
    /// As [`publish_now`](Self::publish_now).
    #[inline]
    pub fn try_publish_now(
        &mut self,
        packet: PublishRef<'_>,
        payload: &[u8],
    ) -> Result<bool, PublishRefusal> {
        if self.is_closed {
            return Ok(false);
        }
        match self.core.publish_at_once(packet, payload) {
            Ok(sent) => Ok(sent),
            Err(error) => Err(self.refused(error)),
        }
    }

    /// Accepts a message, or has it wait for capacity behind those that do. `outcome` is given back with its [`CallEnd`], at the
    /// latest after `deadline`: what has not been sent by then is withdrawn.
    ///
    /// # Errors
    /// Why it is refused, and the token. Nothing was sent.
    pub fn publish(
        &mut self,
        now: Instant,
        purpose: Purpose,
        publish: &Publish,
        deadline: Option<Instant>,
        outcome: T::Call,
    ) -> Result<Submission, (T::Call, PublishRefusal)> {
        self.submit(
            now,
            purpose,
            publish,
            deadline,
            outcome,
            None::<fn() -> T::Call>,
        )
    }

    /// As [`publish`](Self::publish), for a caller that wants to know when the message is accepted. If it must wait for that,
    /// `accepted` makes one more token, which is given back with [`CallEnd::Accepted`], or with why not; `deadline` is for that
    /// wait.
    ///
    /// # Errors
    /// As [`publish`](Self::publish).
    pub fn enqueue(
        &mut self,
        now: Instant,
        publish: &Publish,
        deadline: Option<Instant>,
        outcome: T::Call,
        accepted: impl FnOnce() -> T::Call,
    ) -> Result<Submission, (T::Call, PublishRefusal)> {
        let purpose = Purpose::Message;
        self.submit(now, purpose, publish, deadline, outcome, Some(accepted))
    }

    fn submit(
        &mut self,
        now: Instant,
        purpose: Purpose,
        publish: &Publish,
        deadline: Option<Instant>,
        outcome: T::Call,
        accepted: Option<impl FnOnce() -> T::Call>,
    ) -> Result<Submission, (T::Call, PublishRefusal)> {
        if let Err(refusal) = self.check_open() {
            return Err((outcome, refusal));
        }
        if self.line.is_empty() {
            match self.accept(now, purpose, publish.clone()) {
                Ok(op) => {
                    let deadline = deadline.filter(|_| accepted.is_none());
                    let call = self.calls.insert(op, outcome, deadline);
                    return Ok(Submission::Accepted(call));
                }
                Err(error) if self.waits_after(&error) => {}
                Err(error) => return Err((outcome, self.refused(error))),
            }
        }
        let place = self.line.enter(LineEntry {
            purpose,
            publish: publish.clone(),
            terms: WaitingTerms::default(),
            outcome,
            accepted: accepted.map(|token| token()),
            deadline,
        });
        let call = CallId::of_place(place);
        self.calls.watch(call, deadline);
        Ok(Submission::Waits(call))
    }

    /// Accepts a message if there is capacity for it now. It passes those that wait for more capacity than there is. The token
    /// is given back with its outcome, at the latest after `deadline`.
    ///
    /// # Errors
    /// Why it is refused, and the token. Nothing was sent.
    pub fn try_publish(
        &mut self,
        now: Instant,
        publish: Publish,
        deadline: Option<Instant>,
        outcome: T::Call,
    ) -> Result<CallId, (T::Call, PublishRefusal)> {
        if let Err(refusal) = self.check_open() {
            return Err((outcome, refusal));
        }
        let accepted = self.accept(now, Purpose::Message, publish);
        self.line.move_up(); // the core has noted how much capacity this one wanted, in place of the first that waits
        match accepted {
            Ok(op) => Ok(self.calls.insert(op, outcome, deadline)),
            Err(error) => Err((outcome, self.refused(error))),
        }
    }

    fn accept(
        &mut self,
        now: Instant,
        purpose: Purpose,
        publish: Publish,
    ) -> Result<OpId, InvalidPublish> {
        match purpose {
            Purpose::Message => self.core.publish(now, publish),
            Purpose::Request => self.core.request(now, publish),
        }
    }

    fn waits_after(&self, error: &InvalidPublish) -> bool {
        matches!(error, InvalidPublish::QueueFull { .. })
            && self.core.options().outgoing_policy == OutgoingPolicy::Wait
    }

    /// Accepts those that wait, as far as there is capacity for them. Tells whether there was for any.
    pub(crate) fn let_in(&mut self, now: Instant) -> bool {
        if !self.line.takes_move() {
            return false;
        }
        let mut any = false;
        while let Some((place, first)) = self.line.pop() {
            match self.accept(now, first.purpose, first.publish.clone()) {
                Ok(op) => self.accept_from_line(place, op, first),
                Err(error) if self.waits_after(&error) => {
                    self.line.push_back_first(place, first);
                    break;
                }
                Err(error) => {
                    let refusal = self.refused(error);
                    self.end_entry(CallId::of_place(place), first, CallEnd::Refused(refusal));
                }
            }
            any = true;
        }
        any
    }

    fn accept_from_line(&mut self, place: u64, op: OpId, entry: LineEntry<T::Call>) {
        self.calls.unwatch(CallId::of_place(place), entry.deadline);
        let deadline = entry.deadline.filter(|_| entry.accepted.is_none());
        self.calls
            .insert_from_line(place, op, entry.outcome, deadline);
        let accepted = entry
            .accepted
            .map(|token| Woken::Call(token, CallEnd::Accepted));
        self.woken.extend(accepted);
    }

    /// Gives back the tokens of a message that leaves the line without being accepted.
    pub(crate) fn end_entry(&mut self, call: CallId, entry: LineEntry<T::Call>, end: CallEnd) {
        self.calls.unwatch(call, entry.deadline);
        if let Some(accepted) = entry.accepted {
            self.woken.push_back(Woken::Call(accepted, end.clone()));
        }
        self.woken.push_back(Woken::Call(entry.outcome, end));
    }

    /// Refuses all messages that wait for capacity.
    pub(crate) fn refuse_line(&mut self, refusal: &PublishRefusal) {
        for (place, entry) in self.line.take_all() {
            let call = CallId::of_place(place);
            self.end_entry(call, entry, CallEnd::Refused(refusal.clone()));
        }
        self.refuse_queue_line(refusal);
    }

    pub(crate) fn refused(&self, error: InvalidPublish) -> PublishRefusal {
        match error {
            InvalidPublish::NotConnected => PublishRefusal::not_sent(self.end_cause()),
            error => error.into(),
        }
    }

    /// The core does not know it when its driver has gone, and would accept what nobody sends.
    fn check_open(&self) -> Result<(), PublishRefusal> {
        if self.draining.is_some() {
            return Err(PublishRefusal::Draining);
        }
        match &self.standing {
            Standing::Ended(cause) => Err(PublishRefusal::not_sent(cause.clone())),
            _ if self.departure.is_some() => Err(PublishRefusal::not_sent(self.end_cause())),
            _ => Ok(()),
        }
    }

    /// The caller of a call gives up: what is not on the wire yet is withdrawn. `None` when the call had ended already.
    pub fn give_up(&mut self, call: CallId) -> Option<GivenUp<T::Call>> {
        if let Some(left) = self.leave_line(call) {
            return Some(left);
        }
        let op = self.calls.op(call)?;
        let delivery = self.abandon(op);
        let outcome = self.calls.remove(op)?;
        Some(GivenUp {
            outcome,
            accepted: None,
            delivery,
        })
    }

    /// No outcome follows, unless it is about to come: then this returns `None`.
    fn abandon(&mut self, op: OpId) -> Option<Delivery> {
        let delivery = self.core.abandon(op);
        if delivery.is_some() && !self.unheeded.is_empty() {
            self.unheeded.remove(&op);
        }
        if let Some(delivery) = delivery
            && !self.lasting_unsubscribes.is_empty()
        {
            self.end_unsubscribe(op, delivery);
        }
        delivery
    }

    /// As [`give_up`](Self::give_up), but only while the message waits for capacity: one that was accepted goes on, and its
    /// deadline is lifted.
    pub fn leave_line(&mut self, call: CallId) -> Option<GivenUp<T::Call>> {
        let Some(entry) = self.leave_any_line(call) else {
            self.calls.lift_deadline(call);
            return None;
        };
        self.calls.unwatch(call, entry.deadline);
        Some(GivenUp {
            outcome: entry.outcome,
            accepted: entry.accepted,
            delivery: Some(Delivery::NotSent),
        })
    }

    fn leave_any_line(&mut self, call: CallId) -> Option<LineEntry<T::Call>> {
        match call.queue_place() {
            Some(place) => self.outgoing.as_mut()?.line.leave(place),
            None => self.line.leave(call.place()?),
        }
    }

    /// Ends the calls whose time is over. One whose outcome is about to come gets that.
    pub(crate) fn expire_calls(&mut self, now: Instant) {
        while let Some(call) = self.calls.pop_overdue(now) {
            if let Some(entry) = self.leave_any_line(call) {
                self.end_entry(call, entry, CallEnd::TimedOut(Delivery::NotSent));
                continue;
            }
            if let Some(op) = self.calls.op(call)
                && let Some(delivery) = self.abandon(op)
                && let Some(token) = self.calls.remove(op)
            {
                let end = CallEnd::TimedOut(delivery);
                self.woken.push_back(Woken::Call(token, end));
            }
        }
    }
}
