//! Messages that a session brings before the program has subscribed: they are held until a queue claims them, or the time
//! for that is over.

use std::collections::VecDeque;
use std::time::Instant;

use super::{Client, ClientPhase};
use crate::event::Event;
use crate::packet::{QoS, SubscriptionOptions};
use crate::reconnect;
use crate::session::{DeliveryId, Message, QueueId, Subscriptions, UnclaimedMessage};
use crate::topic::TopicFilter;

/// Which messages are held, and until when.
#[derive(Debug, Default)]
pub(super) struct Claiming {
    /// The application reads the default queue: it gets what no other queue asks for, and nothing is held.
    default_is_claimed: bool,
    /// For all that comes in a session that was resumed.
    resumed: Window,
    /// For what comes for subscriptions whose queue was detached.
    detached: Window,
    /// The filters without wildcards that the application has unsubscribed from last. The server may go on to send what it had
    /// stored for them (section 3.10.4), and no queue is going to claim that. What matches a wildcard may have been stored for
    /// another subscription of the session, which a queue may still claim.
    given_up: VecDeque<TopicFilter>,
    /// [`Event::Unclaimed`] has been reported since the last window was opened.
    is_reported: bool,
}

/// How many unsubscribed filters are remembered.
const MOST_GIVEN_UP: usize = 100;

/// The time in which messages of one kind are held.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Window {
    /// Has not been opened: such messages are not held.
    #[default]
    None,
    /// What comes is held until then; `None` is forever.
    Open { until: Option<Instant> },
    /// The time has passed.
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
    /// Whether a message that no queue has asked for is held or counted. Otherwise none needs matching.
    pub(super) fn watches(&self) -> bool {
        !self.default_is_claimed && (self.resumed != Window::None || self.detached != Window::None)
    }
}

impl Client {
    /// Declares that the application reads the default queue ([`QueueId::DEFAULT`]). Everything that is
    /// [held](crate::Options::claim_within) moves to it, in order of arrival, and from now on nothing is held. Call it before
    /// [`Client::connect`] when the application reads that queue from the start. Calling it again changes nothing.
    ///
    /// The messages are acknowledged as [`Options::incoming`](crate::Options::incoming) says, so there may be bytes to write
    /// afterwards.
    pub fn claim_default(&mut self) {
        self.claiming.default_is_claimed = true;
        let held = self.session.inbox.take_unclaimed();
        self.give_to_default(held);
    }

    /// Moves what is held for `filters` to the queue that has subscribed to them, in order of arrival. The rules of that queue
    /// apply.
    pub(super) fn claim(&mut self, queue: QueueId, filters: &[(TopicFilter, SubscriptionOptions)]) {
        (self.claiming.given_up).retain(|it| filters.iter().all(|(filter, _)| filter != it));
        let filters = filters.iter().map(|(filter, _)| filter);
        let claimed = self.session.inbox.take_claimed(filters, |_| true);
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

    /// The application unsubscribes from `filters`. What is held for them goes to the default queue, and so does what comes
    /// later.
    pub(super) fn give_up_claims(&mut self, filters: &[TopicFilter]) {
        let given_up = &mut self.claiming.given_up;
        given_up.retain(|it| !filters.contains(it));
        let exact = filters.iter().filter(|filter| !filter.has_wildcards());
        given_up.extend(exact.cloned());
        given_up.drain(..given_up.len().saturating_sub(MOST_GIVEN_UP));
        let (given_up, session) = (&self.claiming.given_up, &mut self.session);
        let subscriptions = &session.subscriptions;
        let unwanted = |topic: &str| !subscriptions.has_detached(topic);
        let held = session.inbox.take_claimed(given_up, unwanted);
        self.give_to_default(held);
    }

    /// Begins the time for claiming with a connection that the server has accepted.
    pub(super) fn open_claims(&mut self, now: Instant, resumes: bool) {
        let until = self.claimed_by(now);
        self.claiming.resumed = match resumes {
            true => Window::Open { until },
            false => Window::None,
        };
        self.claiming.is_reported = false;
        self.session.inbox.resume_claims(until); // of an earlier client, or before `connect()`
    }

    /// Holds what a detached queue has left for the next queue that subscribes, and from now on what comes for its
    /// subscriptions.
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

    /// The end of a time for claiming that begins `now`.
    fn claimed_by(&self, now: Instant) -> Option<Instant> {
        let within = self.options.claim_within?;
        Some(reconnect::later(now, within))
    }

    pub(super) const fn default_is_claimed(&self) -> bool {
        self.claiming.default_is_claimed
    }

    /// Holds a message that no queue has asked for. Gives it back when it is for the default queue.
    pub(super) fn hold_if_unclaimed(
        &mut self,
        message: Message,
        holds: &mut Vec<DeliveryId>,
    ) -> Option<Message> {
        if message.qos == QoS::AtMostOnce || !self.claiming.watches() {
            return Some(message);
        }
        let topic = message.topic.as_str();
        if is_given_up(&self.claiming.given_up, &self.session.subscriptions, topic) {
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
        let held = UnclaimedMessage {
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
            ClientPhase::Idle => None, // the program cannot subscribe
            _ => self.session.inbox.next_claim_end(),
        }
    }

    /// Moves what nobody has claimed in time to the default queue. Acknowledgements leave in order (MQTT-4.6.0-2), so it
    /// would hold up all that came behind it forever.
    pub(super) fn end_claims(&mut self, now: Instant) {
        if let ClientPhase::Idle = self.phase {
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

    fn give_to_default(&mut self, held: Vec<UnclaimedMessage>) {
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

/// Whether the application has unsubscribed from what a message with this topic was stored for, as far as anybody knows.
fn is_given_up(
    given_up: &VecDeque<TopicFilter>,
    subscriptions: &Subscriptions,
    topic: &str,
) -> bool {
    given_up.iter().any(|filter| filter.matches(topic)) && !subscriptions.has_detached(topic)
}
