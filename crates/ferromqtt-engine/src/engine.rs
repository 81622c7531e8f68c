//! The engine: the core, who waits for what, and what becomes of the core's events.

use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};
use std::fmt;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use ferromqtt_proto as proto;
use proto::{
    Client, ConnectionError, Event, FilterRefusal, InvalidOptions, OpId, Outcome, QueueId, Session,
    TopicFilter, Utf8String,
};

use crate::attempts::Attempts;
use crate::authenticate::Ask;
use crate::calls::{CallId, OpenCalls};
use crate::capacity::CapacityLine;
use crate::declared::DeclaredQueue;
use crate::drain::{Draining, Undone};
use crate::events::RecentEvents;
use crate::lasting::LastingSubscription;
use crate::lasting_end::LeftFilters;
use crate::outgoing_queue::OutgoingMessages;
use crate::queued::{Departure, QueueCounts};
use crate::readers::Readers;
use crate::recording::LinkRecording;
use crate::stored::StoredWaits;
use crate::wire::LinkId;
use crate::{CallEnd, Fact, Goodbye, Tokens, Woken};

/// What the engine needs to know beside the core's [`Options`](proto::Options).
#[derive(Clone, Debug)]
pub struct EngineOptions {
    /// How long leaving may take, and disconnecting.
    pub disconnect_timeout: Duration,
    /// DISCONNECT ends the session: it asks for a Session Expiry Interval of 0.
    pub ends_session: bool,
    /// There is an authenticator, which [`Engine::next_ask`] asks.
    pub authenticates: bool,
    /// The face may [start](Engine::start) the engine again after the connection has ended, and says itself when readers
    /// have nothing more to wait for ([`Engine::end_queues`]). Otherwise the end of the connection is the end of all queues.
    pub restarts: bool,
}

/// Where the connection stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Standing {
    /// No connection has come about yet.
    Connecting,
    /// There is one.
    Connected,
    /// A connection was lost, and another one follows.
    Reconnecting,
    /// There is none, and none will follow.
    Ended(ConnectionError),
}

/// The operations of one client. See the [crate's documentation](crate) for the loop around it.
pub struct Engine<T: Tokens> {
    pub(crate) core: Client,
    pub(crate) options: EngineOptions,
    pub(crate) calls: OpenCalls<T::Call>,
    /// Those that wait for capacity in the outgoing queue.
    pub(crate) line: CapacityLine<T::Call>,
    /// Messages that are accepted whether there is a connection or not; none was, as long as there is no queue.
    pub(crate) outgoing: Option<Box<OutgoingMessages<T::Call>>>,
    pub(crate) queue_counts: QueueCounts,
    /// Who waits until messages of that queue are on record.
    pub(crate) stored: StoredWaits<T::Call>,
    /// How its messages have ended, for a store.
    pub(crate) ended: VecDeque<(u64, Outcome)>,
    /// Leaving waits until the core has what is in that queue.
    pub(crate) departure: Option<Box<Departure>>,
    pub(crate) readers: Readers<T::Reader>,
    /// No message will come to any queue any more.
    pub(crate) queues_ended: bool,
    pub(crate) events: RecentEvents<T::Reader>,
    /// For each queue the filters that the server has lost or refused, while no call waited for its answer, and why.
    pub(crate) not_subscribed: HashMap<QueueId, Vec<(TopicFilter, FilterRefusal)>>,
    /// UNSUBSCRIBE packets whose refusal no caller learns: for queues that were dropped, and of calls that do not return it.
    pub(crate) unheeded: HashSet<OpId>,
    /// Subscriptions that each start makes again, by their queues.
    pub(crate) lasting: BTreeMap<QueueId, LastingSubscription>,
    /// The SUBSCRIBE packets of those that the server has not answered.
    pub(crate) lasting_ops: HashMap<OpId, QueueId>,
    /// Those that the connected server does not take as a whole: to be asked for what it does take.
    pub(crate) lasting_not_possible: Vec<QueueId>,
    /// The UNSUBSCRIBE packets that are to end some of them, and what: as long as a caller waits.
    pub(crate) lasting_unsubscribes: HashMap<OpId, LeftFilters>,
    /// Declared subscriptions whose queues nobody has taken yet.
    pub(crate) declared: Vec<DeclaredQueue>,
    /// What the application's authenticator is to hear.
    pub(crate) asks: VecDeque<Ask>,
    /// The authenticator has been asked, and has not answered.
    pub(crate) awaits_reply: bool,
    /// Who waits for the end of an authentication that this client has begun.
    pub(crate) re_authenticating: VecDeque<T::Call>,
    /// Set once no more messages are accepted.
    pub(crate) draining: Option<Draining>,
    /// The core would accept messages that are to be refused: the connection is being drained or left, or its driver has gone.
    pub(crate) is_closed: bool,
    /// Who wanted the end of the connection, once somebody has.
    pub(crate) goodbye: Option<Goodbye>,
    /// How many calls the end of a connection has failed.
    pub(crate) cut_short: usize,
    /// Messages without an outcome and without a caller, to be reported.
    pub(crate) unawaited: Undone,
    pub(crate) standing: Standing,
    /// Why the last connection or attempt has ended.
    last_end: Option<ConnectionError>,
    pub(crate) attempts: Attempts,
    /// The present transport, or the one that is being opened.
    pub(crate) link: Option<LinkId>,
    pub(crate) last_link: NonZeroU32,
    /// What records the transports, if anything does.
    pub(crate) recording: Option<Box<LinkRecording>>,
    pub(crate) woken: VecDeque<Woken<T>>,
}

impl<T: Tokens> Engine<T> {
    /// An engine that has not begun to connect. `seed` is for the core: see [`Client::new`].
    ///
    /// # Errors
    /// What is wrong with the core's options.
    pub fn new(
        core: proto::Options,
        session: Session,
        seed: u64,
        options: EngineOptions,
    ) -> Result<Self, InvalidOptions> {
        Ok(Self {
            core: Client::new(core, session, seed)?,
            options,
            calls: OpenCalls::default(),
            line: CapacityLine::default(),
            outgoing: None,
            queue_counts: QueueCounts::default(),
            stored: StoredWaits::default(),
            ended: VecDeque::new(),
            departure: None,
            readers: Readers::default(),
            queues_ended: false,
            events: RecentEvents::default(),
            not_subscribed: HashMap::new(),
            unheeded: HashSet::new(),
            lasting: BTreeMap::new(),
            lasting_ops: HashMap::new(),
            lasting_not_possible: Vec::new(),
            lasting_unsubscribes: HashMap::new(),
            declared: Vec::new(),
            asks: VecDeque::new(),
            awaits_reply: false,
            re_authenticating: VecDeque::new(),
            draining: None,
            is_closed: false,
            goodbye: None,
            cut_short: 0,
            unawaited: Undone::default(),
            standing: Standing::Connecting,
            last_end: None,
            attempts: Attempts::default(),
            link: None,
            recording: None,
            last_link: NonZeroU32::MIN,
            woken: VecDeque::new(),
        })
    }

    /// Replaces the core and its options, before the engine is started for the first time. Readers that wait stay, and so do
    /// queues that were opened. Returns the former core, to be dropped without a lock.
    ///
    /// # Errors
    /// What is wrong with the core's options. Nothing has changed then.
    pub fn configure(
        &mut self,
        core: proto::Options,
        session: Session,
        seed: u64,
        options: EngineOptions,
    ) -> Result<Client, InvalidOptions> {
        let mut core = Client::new(core, session, seed)?;
        if let Some(queue) = &self.outgoing {
            core.reserve_keys(queue.end_of_keys());
        }
        core.adopt_queues(&mut self.core);
        self.options = options;
        Ok(std::mem::replace(&mut self.core, core))
    }

    /// Begins to connect. After the [end](Self::has_ended) of a connection, and of its transport, it begins again in the same
    /// session: for a face with [`EngineOptions::restarts`].
    pub fn start(&mut self, now: Instant) {
        self.take_events();
        if self.has_ended() && self.core.is_idle() {
            self.standing = Standing::Connecting;
            self.draining = None;
            self.is_closed = false;
            self.goodbye = None;
            self.departure = None;
            self.not_subscribed.clear(); // the core forgets the subscriptions too
            self.events.begin();
        }
        if !self.has_ended() {
            self.queues_ended = false;
            self.attempts.accepted.clear();
            let begins = self.core.is_idle();
            self.core.connect(now);
            if begins {
                self.subscribe_again(now);
            }
            self.wake_all_readers(); // of subscriptions that the core has forgotten
        }
    }

    /// The core, to look at.
    pub const fn core(&self) -> &Client {
        &self.core
    }

    /// When to call [`on_time`](Self::on_time).
    pub fn deadline(&self) -> Option<Instant> {
        let draining = self.draining.as_ref().and_then(Draining::deadline);
        let queue = (self.outgoing.as_ref()).and_then(|queue| queue.next_expiry());
        let departure = (self.departure.as_ref()).and_then(|departure| departure.until);
        let deadlines = [
            self.core.poll_timeout(),
            self.calls.first_deadline(),
            draining,
            queue,
            departure,
        ];
        deadlines.into_iter().flatten().min()
    }

    /// Does what is due.
    pub fn on_time(&mut self, now: Instant) {
        self.core.handle_timeout(now);
        self.expire_calls(now);
        self.expire_queued(now);
        self.leave_when_handed_over(now);
        self.disconnect_when_drained(now);
    }

    /// Does what follows from calls so far: takes the core's events, and accepts messages that wait for capacity. Returns
    /// whether there may be more to [transmit](Self::transmit) since.
    pub fn settle(&mut self, now: Instant) -> bool {
        let mut more = false;
        loop {
            self.take_packets();
            self.take_events();
            let asked = !self.lasting_not_possible.is_empty() && self.ask_for_possible(now);
            let let_in = self.let_in(now);
            if !self.feed_core(now) && !let_in && !asked {
                break;
            }
            more = true;
        }
        self.wake_contenders();
        self.report_unawaited();
        more |= self.leave_when_handed_over(now);
        self.disconnect_when_drained(now) || more
    }

    /// What to do next without the lock.
    pub fn next_woken(&mut self) -> Option<Woken<T>> {
        self.woken.pop_front()
    }

    /// Everything that [`next_woken`](Self::next_woken) would give, in its order.
    pub fn take_woken(&mut self) -> VecDeque<Woken<T>> {
        std::mem::take(&mut self.woken)
    }

    /// Where the connection stands.
    pub const fn standing(&self) -> &Standing {
        &self.standing
    }

    /// Whether there is a connection now.
    pub const fn is_connected(&self) -> bool {
        self.core.is_connected() && !self.has_ended()
    }

    /// Whether nothing will come any more.
    pub const fn has_ended(&self) -> bool {
        matches!(self.standing, Standing::Ended(_))
    }

    /// Why there is no connection.
    pub fn end_cause(&self) -> ConnectionError {
        match &self.standing {
            Standing::Ended(cause) => cause.clone(),
            _ => self.reported_cause(ConnectionError::Closed),
        }
    }

    /// Why the last connection or attempt has ended.
    pub const fn last_end(&self) -> Option<&ConnectionError> {
        self.last_end.as_ref()
    }

    /// How many calls ends of connections have failed.
    pub const fn cut_short(&self) -> usize {
        self.cut_short
    }

    /// Whether any call has no outcome yet.
    pub const fn has_calls(&self) -> bool {
        !self.calls.is_empty()
    }

    /// How many calls have no outcome yet, beside those that wait for capacity.
    pub const fn open_calls(&self) -> usize {
        self.calls.len()
    }

    /// Whether a call was accepted and has no outcome yet.
    pub fn is_open(&self, call: CallId) -> bool {
        self.calls
            .op(call)
            .is_some_and(|op| self.calls.contains(op))
    }

    /// Whether the core keeps records of packets, for [`Fact::Packet`].
    pub fn set_packet_trace(&mut self, on: bool) {
        self.core.set_packet_trace(on);
    }

    /// Credentials for the attempt that was requested: see [`Client::set_credentials`].
    ///
    /// # Errors
    /// What is wrong with them.
    pub fn set_credentials(
        &mut self,
        user_name: Option<Utf8String>,
        password: Option<Bytes>,
    ) -> Result<(), InvalidOptions> {
        self.core.set_credentials(user_name, password)
    }

    /// There are no credentials for the attempt that was requested.
    pub fn fail_credentials(&mut self, now: Instant, why: Arc<str>) {
        self.core.fail_credentials(now, why);
    }

    /// Takes the records of packets, if the core keeps any.
    fn take_packets(&mut self) {
        if !self.core.packet_trace() {
            return;
        }
        let mut any = false;
        while let Some(record) = self.core.poll_packet() {
            self.woken.push_back(Woken::Fact(Fact::Packet(record)));
            any = true;
        }
        if any {
            let packets = self.core.take_untraced();
            let untraced = (packets > 0).then_some(Woken::Fact(Fact::Untraced { packets }));
            self.woken.extend(untraced);
        }
    }

    /// Takes the events of the core.
    pub(crate) fn take_events(&mut self) {
        while let Some(event) = self.core.poll_event() {
            self.on_event(event);
        }
    }

    fn on_event(&mut self, event: Event) {
        match event {
            Event::Completed { op, outcome } => self.on_completed(op, outcome),
            Event::MessageReady(queue) | Event::Unsubscribed(queue) => self.wake_readers(queue),
            Event::OutgoingRoom => self.line.move_up(),
            Event::Ended { key, outcome } => self.on_ended(key, outcome),
            // The end is final, also when a driver that has gone still calls.
            Event::Connected(_) | Event::Disconnected { .. } if self.has_ended() => {}
            Event::Connected(connected) => self.on_connected(*connected),
            Event::Disconnected {
                cause,
                retry_at,
                unflushed,
            } => self.on_disconnected(cause, retry_at, unflushed),
            Event::VersionRefused { cause, next } => {
                self.last_end = Some(cause.clone());
                let (address, _) = self.attempts.end();
                self.report(Fact::VersionRefused {
                    cause,
                    address,
                    next,
                });
            }
            Event::Auth(auth) => self.on_auth(*auth),
            Event::Lagged(queue) => {
                if self.core.has_failed(queue) {
                    self.wake_readers(queue);
                }
                self.report(Fact::Lost {
                    filters: self.filters_of(queue),
                    lost: self.core.queue_lost(queue),
                    forgotten: self.core.is_forgotten(queue),
                });
            }
            Event::Discarded {
                queue: _,
                filters,
                messages,
            } => self.report(Fact::LeftBehind { filters, messages }),
            Event::NotResubscribed {
                queue,
                filter,
                refusal,
            } => {
                let lost = self.not_subscribed.entry(queue).or_default();
                lost.push((filter.clone(), refusal.clone()));
                self.wake_readers(queue);
                self.report(Fact::NotResubscribed { filter, refusal });
            }
            Event::Unclaimed { messages } => self.report(Fact::Unclaimed { messages }),
            Event::PublishRefused {
                topic,
                reason,
                op,
                key,
            } => {
                if !self.is_awaited(op, key) {
                    self.report(Fact::PublishRefused { topic, reason });
                }
            }
            Event::NotUnsubscribed {
                filter,
                refusal,
                op,
            } => {
                self.keep_lasting(&filter);
                // A call that does not heed what the server refuses fails all the same when the server cannot be asked.
                let heeded = refusal.forbidden_by().is_some()
                    || op.is_none_or(|op| !self.unheeded.contains(&op));
                if !(heeded && self.is_awaited(op, None)) {
                    self.report(Fact::NotUnsubscribed { filter, refusal });
                }
            }
            Event::MessageSuspected {
                topic,
                messages,
                ends,
                reason,
            } => self.report(Fact::MessageSuspected {
                topic,
                messages,
                ends,
                reason,
            }),
            Event::MessageRefused {
                topic,
                packet_id: _,
                reason,
            } => self.report(Fact::MessageRefused { topic, reason }),
            Event::IdentifierContested(contest) => {
                self.report(Fact::IdentifierContested(contest));
            }
            Event::Stalled(queue) => {
                let filters = self.filters_of(queue);
                self.report(Fact::Stalled { filters });
            }
            Event::Forgotten(queue) => {
                let filters = self.filters_of(queue);
                self.report(Fact::Forgotten { filters });
            }
            Event::Unacknowledged { messages } => self.report(Fact::Unacknowledged { messages }),
            Event::Unawaited { not_sent, unknown } => {
                self.unawaited.not_sent += not_sent;
                self.unawaited.unknown += unknown;
            }
            Event::Unflushed { messages } => self.report(Fact::Unflushed { messages }),
            Event::Tolerated { slip } => self.report(Fact::Tolerated { slip }),
            Event::PossibleDuplicate { topic, packet_id } => {
                self.report(Fact::PossibleDuplicate { topic, packet_id });
            }
            Event::StoreFailed { direction } => self.report(Fact::StoreFailed { direction }),
        }
    }

    /// Whether a caller waits for the outcome of an operation, or of a message of the outgoing queue.
    fn is_awaited(&self, op: Option<OpId>, key: Option<u64>) -> bool {
        let call = op.and_then(|op| self.calls.get(op));
        let queued = (self.outgoing.as_ref()).and_then(|queue| queue.token(key?));
        (call.or(queued)).is_some_and(|token| !T::is_gone(token))
    }

    fn on_connected(&mut self, connected: proto::Connected) {
        let proto::Connected {
            session_present,
            mut properties,
        } = connected;
        let is_nameless = self.core.options().client_identifier.is_empty();
        let assigned = is_nameless.then(|| self.core.client_identifier().clone());
        let assigned = assigned.filter(|assigned| !assigned.is_empty());
        self.standing = Standing::Connected;
        self.attempts.accept();
        self.ask(Ask::Accepted(properties.authentication_data.take()));
        self.report(Fact::Connected {
            session_present,
            assigned,
            properties: Box::new(properties),
        });
    }

    fn on_disconnected(
        &mut self,
        cause: ConnectionError,
        retry_at: Option<Instant>,
        unflushed: u64,
    ) {
        let cause = self.reported_cause(cause);
        self.last_end = Some(cause.clone());
        let end = CallEnd::ReAuthenticated(Err(cause.clone()));
        self.end_authentication(&end);
        let established = self.standing == Standing::Connected;
        let (address, has_accepted) = self.attempts.end();
        self.report(Fact::Disconnected {
            cause: cause.clone(),
            address,
            has_accepted,
            retry_at,
            unflushed,
            established,
        });
        match retry_at {
            None => self.finish(cause),
            Some(_) if self.core.stats().connections > 0 => {
                self.standing = Standing::Reconnecting;
            }
            Some(_) => {}
        }
    }

    fn on_completed(&mut self, op: OpId, mut outcome: Outcome) {
        if !self.lasting_unsubscribes.is_empty() {
            self.note_unsubscribed(op, &outcome);
        }
        if !self.unheeded.is_empty() && self.unheeded.remove(&op) && !self.calls.contains(op) {
            return; // of a queue that was dropped: the subscription has ended with the connection, if not by its answer
        }
        if !self.lasting_ops.is_empty() && self.note_answer(op, &outcome) {
            return;
        }
        if let Outcome::Disconnected { cause, delivery } = &mut outcome {
            *cause = self.reported_cause(std::mem::replace(cause, ConnectionError::Closed));
            self.cut_short += 1;
            let delivery = *delivery;
            self.count_cut_short(op, delivery);
        }
        if !self.declared.is_empty() {
            for (filter, refusal) in self.refused_of_declared(op, &outcome) {
                self.report(Fact::NotSubscribed { filter, refusal });
            }
        }
        if let Some(token) = self.calls.remove(op) {
            self.woken
                .push_back(Woken::Call(token, CallEnd::Completed(outcome)));
        }
    }
}

impl<T: Tokens> fmt::Debug for Engine<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Engine")
            .field("standing", &self.standing)
            .field("calls", &self.calls.len())
            .finish_non_exhaustive()
    }
}
