//! From a received message to the queues that want it, and from a queue to its reader.

use std::mem;

use super::Client;
use crate::event::Event;
use crate::packet::QoS;
use crate::session::{DeliveryId, Heirs, LeftMessage, Message, Pushed, QueueId};

impl Client {
    /// Puts a message into the queues that want it. When none does, the message is held until a queue claims it, or goes to the
    /// default queue. A QoS 0 message is held back if it has to wait for capacity. Returns who holds the acknowledgement.
    pub(super) fn deliver(&mut self, mut message: Message) -> Vec<DeliveryId> {
        if self.session.subscriptions.all_to_default() && !self.claiming.watches() {
            self.hide_identifiers(&mut message);
            return self.deliver_to(&[QueueId::DEFAULT], message);
        }
        let mut queues = mem::take(&mut self.wanted_by);
        self.route(&mut message, &mut queues);
        let holds = match queues.is_empty() {
            true => self.deliver_unasked(message),
            false => self.deliver_to(&queues, message),
        };
        queues.clear();
        self.wanted_by = queues;
        holds
    }

    /// Puts a message into these queues, unless it has to wait for capacity in one of them.
    #[inline(always)] // a message is large, and each call moves it
    pub(super) fn deliver_to(&mut self, queues: &[QueueId], message: Message) -> Vec<DeliveryId> {
        let mut holds = Vec::new();
        if let Some(full) = self.full_queue(&message, queues) {
            self.hold_back(message, queues, full);
            return holds;
        }
        self.stats.received += 1;
        if let Some((&last, others)) = queues.split_last() {
            for &queue in others {
                self.offer(queue, message.clone(), &mut holds);
            }
            self.offer(last, message, &mut holds);
        }
        holds
    }

    /// Holds a message that no queue wants to be claimed, or puts it into the default queue.
    #[inline(never)]
    fn deliver_unasked(&mut self, message: Message) -> Vec<DeliveryId> {
        let mut holds = Vec::new();
        match self.hold_if_unclaimed(message, &mut holds) {
            Some(message) => self.deliver_to(&[QueueId::DEFAULT], message),
            None => {
                self.stats.received += 1;
                holds
            }
        }
    }

    /// Finds the queues that want a message.
    fn route(&mut self, message: &mut Message, queues: &mut Vec<QueueId>) {
        let identifiers = (message.properties.as_ref())
            .map_or(&[][..], |properties| &*properties.subscription_identifiers);
        let size = message.memory_size();
        let session = &mut self.session;
        let has_room = |queue| session.inbox.has_room(queue, size);
        (session.subscriptions).find_queues(&message.topic, identifiers, has_room, queues);
        self.hide_identifiers(message);
    }

    /// Removes the Subscription Identifiers that the client has chosen to find queues, and that no caller has asked for.
    pub(super) fn hide_identifiers(&self, message: &mut Message) {
        let Some(properties) = &mut message.properties else {
            return;
        };
        let identifiers = &mut properties.subscription_identifiers;
        if !identifiers.is_empty() {
            identifiers.retain(|it| !self.session.subscriptions.has_assigned(it));
            if properties.is_empty() {
                message.properties = None;
            }
        }
    }

    /// Offers a message to one queue. A holder of its acknowledgement joins `holds`.
    fn offer(&mut self, queue: QueueId, message: Message, holds: &mut Vec<DeliveryId>) {
        if self.correlation.is_fed_by(queue) {
            return self.on_response(message);
        }
        let session = &mut self.session;
        let hold = message.qos != QoS::AtMostOnce
            && (session.inbox).holds(queue, message.qos, message.memory_size());
        let hold = hold.then(|| session.deliveries.next_hold());
        if self.push(queue, message, hold) {
            holds.extend(hold);
        }
    }

    /// Puts a message into a queue. Returns whether the queue took it. The caller sends the acknowledgements that are due
    /// afterwards: other messages may have been released.
    pub(super) fn push(
        &mut self,
        queue: QueueId,
        message: Message,
        hold: Option<DeliveryId>,
    ) -> bool {
        let pushed = self.session.inbox.push(queue, message, hold);
        self.settle_push(queue, pushed)
    }

    /// Releases acknowledgements that a queue need not hold any more after a message was offered to it, and reports the
    /// change. Returns whether the queue took the message.
    pub(super) fn settle_push(&mut self, queue: QueueId, pushed: Pushed) -> bool {
        if pushed.has_consequences {
            self.follow_up(queue, pushed);
        }
        if pushed.first {
            self.events.push_back(Event::MessageReady(queue));
        }
        pushed.taken
    }

    #[cold]
    fn follow_up(&mut self, queue: QueueId, pushed: Pushed) {
        while let Some(let_go) = self.session.inbox.let_go() {
            self.session.deliveries.let_go(let_go, None);
        }
        if pushed.forgotten {
            self.events.push_back(Event::Forgotten(queue));
        }
        if pushed.first_loss {
            self.events.push_back(Event::Lagged(queue));
        }
    }

    /// Moves a message of a queue that was closed to a queue of `heirs`, to which it left its Shared Subscriptions, as if the
    /// message had come for that one. Returns the message when no queue shares its subscription.
    pub(super) fn pass_on(&mut self, heirs: &Heirs, left: LeftMessage) -> Result<(), LeftMessage> {
        let size = left.message.memory_size();
        let session = &mut self.session;
        let has_room = |queue| session.inbox.has_room(queue, size);
        let heir = (session.subscriptions).find_heir(heirs, &left.message.topic, has_room);
        let Some(heir) = heir else {
            return Err(left);
        };
        let (mut message, hold) = left.into_kept();
        let hold = message.delivery.take().or(hold);
        self.push(heir, message, hold);
        Ok(())
    }

    /// Takes the next message out of a queue. A call counts as reading the queue, also when it is empty.
    ///
    /// Under [`Overflow::Wait`](crate::Overflow::Wait) this may release acknowledgements, so there may be bytes to write
    /// afterwards, and it may end a [pause of input](Client::input_paused).
    pub fn next_message(&mut self, queue: QueueId) -> Option<Message> {
        let message = self.session.inbox.pop(queue);
        if let Some(delivery) = message.as_ref().and_then(|message| message.delivery) {
            self.session.deliveries.take(delivery);
        }
        if self.session.inbox.pop_has_consequences() {
            self.follow_up_pop(queue);
        }
        message
    }

    #[cold]
    #[inline(never)]
    fn follow_up_pop(&mut self, queue: QueueId) {
        while let Some(let_go) = self.session.inbox.release(queue) {
            self.session.deliveries.let_go(let_go, None);
        }
        self.send_released_acks();
        self.session.inbox.free_chunks(); // what is left may be little of its chunks
    }
}
