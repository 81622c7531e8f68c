//! Messages that a session brings before the program has asked for them: held until they are claimed, for a time.

use std::collections::VecDeque;
use std::time::Instant;

use super::{Client, Phase};
use crate::event::Event;
use crate::packet::{QoS, SubscriptionOptions};
use crate::reconnect;
use crate::session::{DeliveryId, Held, Message, QueueId};
use crate::topic::TopicFilter;

/// Whose messages are held, and until when.
#[derive(Debug, Default)]
pub(super) struct Claiming {
    /// Somebody reads the default queue: what no other queue asks for is its.
    default_is_claimed: bool,
    /// For all that comes in a session that was resumed.
    resumed: Window,
    /// For what comes for subscriptions whose queue was detached.
    detached: Window,
    /// What the application has unsubscribed from last: a server may go on to send for it what it had stored before
    /// (section 3.10.4), and nobody is going to claim that.
    given_up: VecDeque<TopicFilter>,
    /// The application knows that messages go to the default queue because nobody has claimed them.
    is_reported: bool,
}

/// How many filters are known that were unsubscribed.
const MOST_GIVEN_UP: usize = 100;

/// A time for claiming.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Window {
    /// There is nothing to claim.
    #[default]
    None,
    /// What comes is held; until then, if there is an end.
    Open { until: Option<Instant> },
    /// It has passed.
    Over,
}

impl Window {
    fn close_at(&mut self, now: Instant) {
        if let Self::Open { until: Some(until) } = self
            && *until <= now
        {
            *self = Self::Over;
        }
    }
}

impl Claiming {
    /// Whether it matters that no queue has asked for a message.
    pub(super) fn watches(&self) -> bool {
        !self.default_is_claimed && (self.resumed != Window::None || self.detached != Window::None)
    }
}

impl Client {
    /// Says that the application reads the default queue ([`QueueId::DEFAULT`]): it gets everything that is
    /// [held](crate::Options::claim_within) now, in order of arrival, and from now on nothing is held. Call it before
    /// [`Client::connect`] for an application that reads it from the start. Calling it again changes nothing.
    ///
    /// What the queue does not leave to the application to acknowledge ([`Options::incoming`](crate::Options::incoming)) is
    /// acknowledged.
    pub fn claim_default(&mut self) {
        self.claiming.default_is_claimed = true;
        let held = self.session.inbox.take_unclaimed(|_| true);
        self.give_to_default(held);
    }

    /// A queue has subscribed to `filters`: it gets what is held for them, in order of arrival and under its own rules.
    pub(super) fn claim(&mut self, queue: QueueId, filters: &[(TopicFilter, SubscriptionOptions)]) {
        (self.claiming.given_up).retain(|it| filters.iter().all(|(filter, _)| filter != it));
        let wanted = |held: &Held| {
            (filters.iter()).any(|(filter, _)| filter.matches(held.message.topic.as_str()))
        };
        let claimed = self.session.inbox.take_unclaimed(wanted);
        if claimed.is_empty() {
            return;
        }
        for held in claimed {
            let (mut message, hold) = held.into_claimed();
            self.hide_identifiers(&mut message); // this subscription may have got the same as the one before
            if self.correlation.is_fed_by(queue) {
                self.on_response(message);
                if let Some(hold) = hold {
                    self.session.deliveries.let_go(hold, None);
                }
            } else {
                self.push(queue, message, hold);
            }
        }
        self.send_released_acks();
    }

    /// The application unsubscribes from `filters`: what is held for them, and what still comes, is nobody's.
    pub(super) fn give_up_claims(&mut self, filters: &[TopicFilter]) {
        let given_up = &mut self.claiming.given_up;
        given_up.retain(|it| !filters.contains(it));
        given_up.extend(filters.iter().cloned());
        given_up.drain(..given_up.len().saturating_sub(MOST_GIVEN_UP));
        let unwanted = |held: &Held| {
            (filters.iter()).any(|filter| filter.matches(held.message.topic.as_str()))
        };
        let held = self.session.inbox.take_unclaimed(unwanted);
        self.give_to_default(held);
    }

    /// The server has accepted the connection. In a session that it has resumed there may be messages of which the program
    /// knows nothing yet.
    pub(super) fn open_claims(&mut self, now: Instant, resumes: bool) {
        let until = self.claimed_by(now);
        self.claiming.resumed = match resumes {
            true => Window::Open { until },
            false => Window::None,
        };
        self.claiming.is_reported = false;
        self.session.inbox.resume_claims(until); // of an earlier client, or before `connect()`
    }

    /// A queue is given up: what it holds, and what comes for its subscriptions, waits for the next one that subscribes.
    pub(super) fn leave_to_claim(
        &mut self,
        now: Instant,
        left: impl Iterator<Item = (Message, Option<DeliveryId>)>,
    ) {
        let until = self.claimed_by(now);
        self.claiming.detached = Window::Open { until };
        self.claiming.is_reported = false;
        for (message, hold) in left {
            self.hold_unclaimed(message, hold, until);
        }
    }

    /// When what comes from `now` on goes to the default queue.
    fn claimed_by(&self, now: Instant) -> Option<Instant> {
        let within = self.options.claim_within?;
        Some(reconnect::later(now, within))
    }

    pub(super) const fn default_is_claimed(&self) -> bool {
        self.claiming.default_is_claimed
    }

    /// Keeps a message that no queue has asked for, unless it goes to the default queue: then it is given back.
    pub(super) fn hold_if_unclaimed(
        &mut self,
        message: Message,
        holds: &mut Vec<DeliveryId>,
    ) -> Option<Message> {
        if message.qos == QoS::AtMostOnce || !self.claiming.watches() {
            return Some(message);
        }
        let topic = message.topic.as_str();
        if (self.claiming.given_up.iter()).any(|filter| filter.matches(topic)) {
            return Some(message);
        }
        let is_for_detached = self.session.subscriptions.has_detached(topic);
        let windows = [
            self.claiming.resumed,
            match is_for_detached {
                true => self.claiming.detached,
                false => Window::None,
            },
        ];
        let open = windows.into_iter().filter_map(|window| match window {
            Window::Open { until } => Some(until),
            Window::None | Window::Over => None,
        });
        if let Some(until) = open.max() {
            let hold = self.session.deliveries.next_hold();
            if self.hold_unclaimed(message, Some(hold), until) {
                holds.push(hold);
            }
            return None;
        }
        if windows.contains(&Window::Over) {
            self.report_unclaimed(1, !self.claiming.is_reported);
        }
        Some(message)
    }

    fn hold_unclaimed(
        &mut self,
        message: Message,
        hold: Option<DeliveryId>,
        until: Option<Instant>,
    ) -> bool {
        let held = Held {
            message,
            hold,
            until,
        };
        let pushed = self.session.inbox.hold(held);
        self.settle_push(QueueId::DEFAULT, pushed)
    }

    /// When messages that nobody has claimed go to the default queue.
    pub(super) fn next_claim_end(&self) -> Option<Instant> {
        match self.phase {
            Phase::Idle => None, // the program cannot subscribe
            _ => self.session.inbox.next_claim_end(),
        }
    }

    /// What nobody has claimed in time goes to the default queue: acknowledgements leave in order (MQTT-4.6.0-2), so it
    /// would hold up all that came behind it for ever.
    pub(super) fn end_claims(&mut self, now: Instant) {
        if let Phase::Idle = self.phase {
            return;
        }
        self.claiming.resumed.close_at(now);
        self.claiming.detached.close_at(now);
        let due = self.session.inbox.take_claims_due(now);
        if !due.is_empty() {
            self.report_unclaimed(due.len() as u64, true);
            self.give_to_default(due);
        }
    }

    fn give_to_default(&mut self, held: Vec<Held>) {
        if held.is_empty() {
            return;
        }
        for held in held {
            let pushed = self.session.inbox.push_held(held);
            self.settle_push(QueueId::DEFAULT, pushed);
        }
        self.send_released_acks();
    }

    fn report_unclaimed(&mut self, messages: u64, with_event: bool) {
        self.stats.unclaimed += messages;
        if with_event {
            self.claiming.is_reported = true;
            self.events.push_back(Event::Unclaimed { messages });
        }
    }
}
