//! What is behind the lock: the core, who waits for what, and what becomes of the core's events.

use std::collections::{HashMap, HashSet};
use std::mem;
use std::task::Waker;
use std::time::Instant;

use ferromqtt_proto as proto;
use proto::packet::PublishRef;
use proto::{Event, InOrder, OpId, Outcome, QueueId};
use tokio::sync::oneshot;

use crate::authenticate::Said;
use crate::declared::{self, Declared};
use crate::events::{ConnectionEvent, Recent};
use crate::log::{Log, LogLine};
use crate::publish::Receipt;
use crate::room::{Accepted, Line, Place, Purpose};
use crate::shared::{Status, now};
use crate::{
    CleanStart, ConnectionError, Delivery, OutgoingPolicy, Properties, PublishError, QoS,
    ReasonCode, Server, TopicFilter,
};

#[derive(Debug)]
pub(crate) struct State {
    pub(crate) core: proto::Client,
    calls: HashMap<OpId, oneshot::Sender<Outcome>>,
    /// Who waits for messages: for each queue the streams that do, by the numbers of their places.
    readers: HashMap<QueueId, InOrder<Waker>>,
    last_reader: u64,
    /// For each queue the subscriptions that the server has lost and not renewed, and why.
    not_restored: HashMap<QueueId, Vec<(TopicFilter, ReasonCode)>>,
    pub(crate) events: Recent,
    /// Who waits for the end of an authentication that this client has begun.
    pub(crate) re_authenticating: Option<oneshot::Sender<ReAuthenticated>>,
    /// Those who wait for room in the outgoing queue.
    pub(crate) line: Line,
    /// The driver has been called, and has had no turn since: it need not be called again.
    pub(crate) driver_called: bool,
    /// Set once no more messages are accepted: what had to be left since.
    draining: Option<Left>,
    /// Who wanted the end of the connection, once somebody has.
    goodbye: Option<Goodbye>,
    /// UNSUBSCRIBE packets for streams that were dropped, and that no call asked for.
    unasked: HashSet<OpId>,
    /// How many calls the end of a connection has failed.
    pub(crate) cut_short: usize,
    /// The last attempt to connect, and what has come of it.
    pub(crate) attempt: Option<Attempt>,
    /// Why the last connection or attempt has ended.
    pub(crate) last_end: Option<ConnectionError>,
    /// Set once nothing will come any more.
    end: Option<ConnectionError>,
    /// The subscriptions of the options whose streams nobody has taken yet.
    pub(crate) declared: Vec<Declared>,
    /// That messages went to the default queue unclaimed has been logged, for this connection.
    warned_of_unclaimed: bool,
    log: Log,
}

/// An attempt to connect.
#[derive(Debug)]
pub(crate) struct Attempt {
    pub(crate) server: Server,
    /// Its transport is open, or was.
    pub(crate) opened: bool,
}

/// Operations that were accepted, and whose outcome is that the connection ended.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Left {
    pub(crate) not_sent: usize,
    pub(crate) unknown: usize,
}

/// Why this client ends the connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Goodbye {
    /// The application has asked for it.
    Asked,
    /// The application has let go of the connection.
    Dropped,
}

/// What has become of a message that is to be published.
pub(crate) enum Submitted {
    /// Handed to the transport already.
    Sent,
    Accepted(OpId, oneshot::Receiver<Outcome>),
    /// It waits for room.
    Waits(Place),
}

/// How an authentication on a connection that was accepted has ended: well, or with the connection.
pub(crate) type ReAuthenticated = Result<(), ConnectionError>;

/// What happened, told after the lock is released: whoever is woken may call at once.
#[derive(Default)]
pub(crate) struct News {
    /// What is to be logged, in order.
    pub(crate) lines: Vec<LogLine>,
    pub(crate) readers: Vec<Waker>,
    pub(crate) completed: Vec<(oneshot::Sender<Outcome>, Outcome)>,
    pub(crate) status: Option<Status>,
    pub(crate) re_authenticated: Vec<(oneshot::Sender<ReAuthenticated>, ReAuthenticated)>,
    /// What the application's authenticator is to hear.
    pub(crate) said: Vec<Said>,
    /// Every operation has its outcome.
    pub(crate) idle: bool,
    /// Those who waited for room, and what has become of their messages.
    pub(crate) accepted: Vec<(oneshot::Sender<Accepted>, Accepted)>,
}

/// Those who wait for what will never come.
type Orphans = (
    HashMap<OpId, oneshot::Sender<Outcome>>,
    Option<oneshot::Sender<ReAuthenticated>>,
);

impl State {
    pub(crate) fn new(core: proto::Client) -> Self {
        Self {
            core,
            calls: HashMap::new(),
            readers: HashMap::new(),
            last_reader: 0,
            not_restored: HashMap::new(),
            events: Recent::default(),
            re_authenticating: None,
            line: Line::default(),
            driver_called: false,
            draining: None,
            goodbye: None,
            unasked: HashSet::new(),
            cut_short: 0,
            attempt: None,
            last_end: None,
            end: None,
            declared: Vec::new(),
            warned_of_unclaimed: false,
            log: Log::default(),
        }
    }

    /// Accepts a message, or has it wait for room behind those that do. The clock is read only for one that is kept: reading
    /// it costs as much as encoding a small one.
    pub(crate) fn submit(
        &mut self,
        purpose: Purpose,
        publish: &proto::Publish,
    ) -> Result<Submitted, PublishError> {
        self.check_open()?;
        if !self.line.is_empty() {
            return Ok(Submitted::Waits(self.line.enter(purpose, publish.clone())));
        }
        if purpose == Purpose::Message && self.publish_at_once(publish)? {
            return Ok(Submitted::Sent);
        }
        match self.accept(purpose, publish.clone()) {
            Err(error) if self.waits_after(&error) => {
                Ok(Submitted::Waits(self.line.enter(purpose, publish.clone())))
            }
            accepted => accepted.map(|(op, outcome)| Submitted::Accepted(op, outcome)),
        }
    }

    /// Accepts a message if there is room now. It passes those that wait for more room than there is.
    pub(crate) fn try_publish(
        &mut self,
        publish: &proto::Publish,
    ) -> Result<Receipt, PublishError> {
        self.check_open()?;
        if self.publish_at_once(publish)? {
            return Ok(Receipt::sent());
        }
        let accepted = self.accept(Purpose::Message, publish.clone());
        self.line.move_up(); // the core has noted how much room this one wanted, in place of the first who waits
        accepted.map(|(_, outcome)| Receipt::waiting(outcome))
    }

    /// Encodes a small QoS 0 message if nothing is before it.
    fn publish_at_once(&mut self, publish: &proto::Publish) -> Result<bool, PublishError> {
        if publish.qos != QoS::AtMostOnce || publish.payload.len() >= proto::LARGE_PAYLOAD {
            return Ok(false);
        }
        let packet = PublishRef {
            dup: false,
            qos: publish.qos,
            retain: publish.retain,
            topic: publish.topic.as_utf8().as_bytes(),
            packet_id: None,
            properties: publish.properties.as_deref(),
            payload_len: publish.payload.len(),
        };
        Ok(self.core.publish_at_once(packet, &publish.payload)?)
    }

    fn accept(&mut self, purpose: Purpose, publish: proto::Publish) -> Accepted {
        let accepted = match purpose {
            Purpose::Message => self.core.publish(now(), publish),
            Purpose::Request => self.core.request(now(), publish),
        };
        match accepted {
            Ok(op) => Ok((op, self.register(op))),
            Err(error) => Err(self.refused(error)),
        }
    }

    fn waits_after(&self, error: &PublishError) -> bool {
        matches!(error, PublishError::QueueFull { .. })
            && self.core.options().outgoing_policy == OutgoingPolicy::Wait
    }

    /// Accepts those who wait, as far as there is room for them. Tells whether there was for any.
    pub(crate) fn let_in(&mut self, news: &mut News) -> bool {
        let before = news.accepted.len();
        if self.line.takes_move() {
            while let Some((number, first)) = self.line.pop() {
                let accepted = self.accept(first.purpose, first.publish.clone());
                if let Err(error) = &accepted
                    && self.waits_after(error)
                {
                    self.line.push_back_first(number, first);
                    break;
                }
                news.accepted.push((first.told, accepted));
            }
        }
        news.accepted.len() > before
    }

    fn refused(&self, error: proto::PublishError) -> PublishError {
        match error {
            proto::PublishError::NotConnected => PublishError::Disconnected {
                cause: self.end_cause(),
                delivery: Delivery::NotSent,
            },
            error => error.into(),
        }
    }

    /// The core does not know it when its driver has gone without a word, and would accept what nobody sends.
    fn check_open(&self) -> Result<(), PublishError> {
        if self.draining.is_some() {
            return Err(PublishError::Draining);
        }
        match &self.end {
            Some(_) => Err(self.refused(proto::PublishError::NotConnected)),
            None => Ok(()),
        }
    }

    pub(crate) fn is_connected(&self) -> bool {
        self.end.is_none() && self.core.is_connected()
    }

    /// Accepts no more messages.
    pub(crate) fn drain(&mut self, news: &mut News) {
        self.draining.get_or_insert_default();
        let waiting = self.line.take_all();
        news.accepted
            .extend(waiting.map(|it| (it.told, Err(PublishError::Draining))));
    }

    /// Accepts none of the messages that wait for room: the connection ends.
    pub(crate) fn refuse_waiting(&mut self, news: &mut News) {
        let refused = PublishError::Disconnected {
            cause: self.end_cause(),
            delivery: Delivery::NotSent,
        };
        let waiting = self.line.take_all();
        news.accepted
            .extend(waiting.map(|it| (it.told, Err(refused.clone()))));
    }

    /// Lets the core know which publishes nobody waits for: their receipts were dropped. Drop what this returns without the
    /// lock: it holds the wakers of those who waited.
    pub(crate) fn release_callers(&mut self) -> Vec<oneshot::Sender<Outcome>> {
        let gone = self.calls.extract_if(|_, call| call.is_closed());
        let gone = gone.map(|(_, call)| call).collect();
        let calls = &self.calls;
        self.core.retain_callers(|op| calls.contains_key(&op));
        gone
    }

    /// What was left when a connection that is drained ended.
    pub(crate) fn left(&self) -> Left {
        self.draining.unwrap_or_default()
    }

    /// Whether any operation has no outcome yet.
    pub(crate) fn has_calls(&self) -> bool {
        !self.calls.is_empty()
    }

    /// Who is told how `op` ends.
    pub(crate) fn register(&mut self, op: OpId) -> oneshot::Receiver<Outcome> {
        let (call, receiver) = oneshot::channel();
        self.calls.insert(op, call);
        receiver
    }

    /// Nobody waits for `op` any more. Drop what this returns without the lock: it may hold a waker.
    pub(crate) fn forget(&mut self, op: OpId) -> Option<oneshot::Sender<Outcome>> {
        self.core.abandon(op);
        self.calls.remove(&op)
    }

    /// Withdraws a publish whose time is over, and tells whether anything of it has reached the wire. `None` when it has its
    /// outcome, which its caller learns soon. Drop what else this returns without the lock: it may hold a waker.
    pub(crate) fn withdraw(
        &mut self,
        op: OpId,
    ) -> Option<(Delivery, Option<oneshot::Sender<Outcome>>)> {
        let delivery = self.core.abandon(op)?;
        Some((delivery, self.calls.remove(&op)))
    }

    /// The driver has something to do. Tells whether it has to be woken: not again before its next turn.
    pub(crate) const fn call_driver(&mut self) -> bool {
        !mem::replace(&mut self.driver_called, true)
    }

    /// Notes who ends the connection: the first counts.
    pub(crate) fn say_goodbye(&mut self, goodbye: Goodbye) {
        self.goodbye.get_or_insert(goodbye);
    }

    /// Why there is no connection.
    pub(crate) fn end_cause(&self) -> ConnectionError {
        let cause = self.end.clone();
        cause.unwrap_or_else(|| self.told(ConnectionError::Closed))
    }

    /// A cause as the application is told: the core does not know why it was to disconnect.
    fn told(&self, cause: ConnectionError) -> ConnectionError {
        match (cause, self.goodbye) {
            (ConnectionError::Closed, Some(Goodbye::Dropped)) => ConnectionError::Dropped,
            (cause, _) => cause,
        }
    }

    pub(crate) const fn has_ended(&self) -> bool {
        self.end.is_some()
    }

    /// The number of a new stream.
    pub(crate) const fn new_reader(&mut self) -> u64 {
        self.last_reader += 1;
        self.last_reader
    }

    /// `waker` is to be woken when `queue` is no longer empty, or will stay empty. `place` is the stream's place among those
    /// who wait for the same; a new one, if it has none any more. Drop the waker that this returns, the one before, without
    /// the lock: that may run code of anybody's.
    pub(crate) fn wait_for_message(
        &mut self,
        queue: QueueId,
        place: &mut u64,
        waker: &Waker,
    ) -> Option<Waker> {
        let waiting = self.readers.entry(queue).or_default();
        if let Some(current) = waiting.get_mut(*place) {
            let changed = !current.will_wake(waker);
            return changed.then(|| mem::replace(current, waker.clone()));
        }
        self.last_reader += 1;
        *place = self.last_reader;
        waiting.push(*place, waker.clone());
        None
    }

    /// The stream with this place does not wait any more. Drop the waker without the lock.
    pub(crate) fn stop_waiting(&mut self, queue: QueueId, place: u64) -> Option<Waker> {
        let waiting = self.readers.get_mut(&queue)?;
        let waker = waiting.remove(place);
        if waiting.is_empty() {
            self.readers.remove(&queue);
        }
        waker
    }

    /// The stream of a queue is gone: the subscription goes with it, unless the session is to outlive the program.
    pub(crate) fn drop_queue(&mut self, now: Instant, queue: QueueId) {
        if self.core.options().clean_start == CleanStart::Never {
            return self.detach_queue(now, queue);
        }
        let filters = self.core.close_queue(queue);
        self.not_restored.remove(&queue);
        if !filters.is_empty() {
            // Refused only without a connection, and then the subscription has gone with it.
            let unsubscribed = self.unsubscribe(now, filters);
            self.unasked.extend(unsubscribed.ok());
        }
    }

    /// The stream of a queue is gone, and all else stays.
    pub(crate) fn detach_queue(&mut self, now: Instant, queue: QueueId) {
        self.core.detach_queue(now, queue);
        self.not_restored.remove(&queue);
    }

    pub(crate) fn unsubscribe(
        &mut self,
        now: Instant,
        filters: Vec<TopicFilter>,
    ) -> Result<OpId, proto::SubscribeError> {
        let unsubscribe = proto::Unsubscribe {
            filters,
            properties: Properties::default(),
        };
        self.core.unsubscribe(now, unsubscribe)
    }

    /// Takes the records of packets, if the core keeps any.
    pub(crate) fn take_packets(&mut self, news: &mut News) {
        while let Some(record) = self.core.poll_packet() {
            news.lines.extend(Log::packet(record));
        }
        if !news.lines.is_empty() {
            (news.lines).extend(Log::untraced(self.core.take_untraced()));
        }
    }

    /// Takes what the core has to tell.
    pub(crate) fn take_events(&mut self, news: &mut News) {
        while let Some(event) = self.core.poll_event() {
            self.on_event(event, news);
        }
    }

    fn on_event(&mut self, event: Event, news: &mut News) {
        match event {
            Event::Connected(connected) => self.on_connected(*connected, news),
            Event::Disconnected {
                cause,
                retry_at,
                unflushed,
            } => self.on_disconnected(cause, retry_at, unflushed, news),
            Event::Auth(auth) => {
                let data = auth.properties.authentication_data;
                news.said.push(match auth.reason {
                    ReasonCode::ContinueAuthentication => Said::Continue(data),
                    _ => Said::Accepted(data),
                });
            }
            Event::MessageReady(queue) | Event::Unsubscribed(queue) => {
                self.wake_readers(queue, news);
            }
            Event::Lagged(queue) => {
                if self.core.has_failed(queue) {
                    self.wake_readers(queue, news);
                }
                let filters = self.filters(queue);
                if !self.core.is_forgotten(queue) {
                    news.lines.extend(self.log.lost(&filters)); // that it is forgotten was logged
                }
                let lost = self.core.queue_lost(queue);
                self.report(ConnectionEvent::Lagged { filters, lost }, news);
            }
            Event::Discarded {
                filters, messages, ..
            } => {
                let lost = messages;
                news.lines.extend(self.log.lost(&filters));
                self.report(ConnectionEvent::Lagged { filters, lost }, news);
            }
            Event::NotRestored {
                queue,
                filter,
                reason,
            } => {
                news.lines.extend(self.log.not_restored(&filter, reason));
                let lost = self.not_restored.entry(queue).or_default();
                lost.push((filter.clone(), reason));
                self.wake_readers(queue, news);
                self.report(ConnectionEvent::NotRestored { filter, reason }, news);
            }
            Event::Unclaimed { messages } => {
                if !mem::replace(&mut self.warned_of_unclaimed, true) {
                    news.lines.extend(self.log.unclaimed(messages));
                }
                self.report(ConnectionEvent::Unclaimed { messages }, news);
            }
            Event::MessageSuspected {
                topic,
                messages,
                ends,
                reason,
            } => {
                let line = (self.log).message_suspected(&topic, messages, ends, reason);
                news.lines.extend(line);
                let suspected = ConnectionEvent::MessageSuspected {
                    topic,
                    messages,
                    ends,
                    reason,
                };
                self.report(suspected, news);
            }
            Event::MessageRefused { topic, reason, .. } => {
                news.lines.extend(self.log.message_refused(&topic, reason));
                self.report(ConnectionEvent::MessageRefused { topic, reason }, news);
            }
            Event::IdentifierContested(contest) => {
                news.lines.extend(self.log.identifier_contested(&contest));
                self.report(ConnectionEvent::IdentifierContested(contest), news);
            }
            Event::Stalled(queue) => {
                let filters = self.filters(queue);
                news.lines.extend(self.log.stalled(&filters));
                self.report(ConnectionEvent::Stalled { filters }, news);
            }
            Event::Forgotten(queue) => {
                let filters = self.filters(queue);
                news.lines.extend(self.log.forgotten(&filters));
            }
            Event::Unacknowledged { messages } => {
                news.lines.extend(self.log.unacknowledged(messages));
            }
            Event::OutgoingRoom => self.line.move_up(),
            Event::Unflushed { messages } => {
                news.lines.extend(self.log.unflushed(messages));
                self.report(ConnectionEvent::Unflushed { messages }, news);
            }
            Event::Tolerated { slip } => {
                news.lines.extend(self.log.tolerated(slip));
                self.report(ConnectionEvent::Tolerated { slip }, news);
            }
            Event::Completed { op, outcome } => self.on_completed(op, outcome, news),
            _ => {}
        }
    }

    /// What is subscribed for the stream of a queue; nothing for the default one.
    fn filters(&self, queue: QueueId) -> Vec<TopicFilter> {
        match queue {
            QueueId::DEFAULT => Vec::new(),
            _ => self.core.filters(queue).cloned().collect(),
        }
    }

    fn on_connected(&mut self, connected: proto::Connected, news: &mut News) {
        let proto::Connected {
            session_present,
            mut properties,
        } = connected;
        let is_nameless = self.core.options().client_identifier.is_empty();
        let assigned = is_nameless.then(|| self.core.client_identifier().clone());
        let assigned = assigned.filter(|assigned| !assigned.is_empty());
        news.lines
            .extend(self.log.connected(session_present, assigned));
        self.warned_of_unclaimed = false;
        news.status = Some(Status::Connected);
        news.said
            .push(Said::Accepted(properties.authentication_data.take()));
        let properties = Box::new(properties);
        self.report(
            ConnectionEvent::Connected {
                session_present,
                properties,
            },
            news,
        );
    }

    fn on_disconnected(
        &mut self,
        cause: ConnectionError,
        retry_at: Option<Instant>,
        unflushed: u64,
        news: &mut News,
    ) {
        news.lines
            .extend(self.log.disconnected(&cause, retry_at.is_some(), unflushed));
        let cause = self.told(cause);
        self.last_end = Some(cause.clone());
        news.said.clear();
        let waiting = self.re_authenticating.take();
        (news.re_authenticated).extend(waiting.map(|waiting| (waiting, Err(cause.clone()))));
        match retry_at {
            None => self.finish(cause.clone(), news),
            Some(_) if self.core.stats().connections > 0 => {
                news.status = Some(Status::Reconnecting);
            }
            Some(_) => {}
        }
        self.report(
            ConnectionEvent::Disconnected {
                cause,
                retry_at,
                unflushed,
            },
            news,
        );
    }

    fn on_completed(&mut self, op: OpId, mut outcome: Outcome, news: &mut News) {
        if !self.unasked.is_empty() && self.unasked.remove(&op) {
            return; // the subscription has ended with the connection, if not by its answer
        }
        if let Outcome::Disconnected { cause, .. } = &mut outcome {
            *cause = self.told(mem::replace(cause, ConnectionError::Closed));
            self.cut_short += 1;
        }
        if let (Some(left), Outcome::Disconnected { delivery, .. }) = (&mut self.draining, &outcome)
        {
            match delivery {
                Delivery::NotSent => left.not_sent += 1,
                Delivery::Unknown => left.unknown += 1,
            }
        }
        for (filter, reason) in declared::refused(&self.declared, op, &outcome) {
            news.lines.extend(self.log.not_subscribed(&filter, reason));
            self.report(ConnectionEvent::NotSubscribed { filter, reason }, news);
        }
        if let Some(call) = self.calls.remove(&op) {
            news.completed.push((call, outcome));
            news.idle = self.draining.is_some() && self.calls.is_empty();
        }
    }

    fn report(&mut self, event: ConnectionEvent, news: &mut News) {
        self.events.push(event);
        news.readers.extend(self.events.take_readers());
    }

    /// The subscriptions of a stream that the server has lost and not renewed.
    pub(crate) fn not_restored(&self, queue: QueueId) -> Vec<(TopicFilter, ReasonCode)> {
        self.not_restored.get(&queue).cloned().unwrap_or_default()
    }

    /// Whether messages may still come to the queue of a stream.
    pub(crate) fn is_subscribed(&self, queue: QueueId) -> bool {
        self.core.filters(queue).next().is_some()
    }

    fn wake_readers(&mut self, queue: QueueId, news: &mut News) {
        let mut waiting = self.readers.remove(&queue).unwrap_or_default();
        (news.readers).extend(waiting.drain().map(|(_, waker)| waker));
    }

    /// Nothing will come any more, if only because the runtime is shutting down. Returns those who wait for an outcome:
    /// dropping them, without the lock, tells that there will be none.
    pub(crate) fn driver_gone(&mut self, news: &mut News) -> Orphans {
        if self.end.is_none() {
            self.finish(ConnectionError::DriverGone, news);
        }
        self.cut_short += self.calls.len();
        if let Some(left) = &mut self.draining {
            left.unknown += self.calls.len();
        }
        (mem::take(&mut self.calls), self.re_authenticating.take())
    }

    fn finish(&mut self, cause: ConnectionError, news: &mut News) {
        self.end = Some(cause.clone());
        news.lines.extend(self.log.end(self.core.stats().lost));
        self.refuse_waiting(news);
        news.status = Some(Status::Ended(cause));
        news.readers.extend(self.events.take_readers());
        for (_, mut waiting) in self.readers.drain() {
            (news.readers).extend(waiting.drain().map(|(_, waker)| waker));
        }
    }
}
