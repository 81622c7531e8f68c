//! An engine, the test broker as its server, a link between them, and a clock that only tests move.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use bytes::BytesMut;
use ferromqtt_engine::{
    Ask, CallEnd, CallId, DistantMessage, Engine, EngineOptions, Fact, LinkId, LinkRequest,
    MessageTerms, PublishRefusal, Purpose, QueueSubmission, ReaderId, Reply, StoredMessage,
    Submission, Tokens, Woken, at_once,
};
use ferromqtt_proto::{
    Direction, Message, Options, Outcome, OutgoingLimits, Properties, Publish, QoS, QueueId,
    QueueOptions, Session, Subscribe, TopicName, TransportError, Unsubscribe,
};
use ferromqtt_testing::{Broker, BrokerOptions, ConnectionId};

use crate::store::{DIRECTIONS, Store};

/// A token that cannot be copied: the engine holds it or has given it back.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Token(pub(crate) u32);

pub(crate) struct Numbers<const RESERVES: bool>;

impl<const RESERVES: bool> Tokens for Numbers<RESERVES> {
    const RESERVES: bool = RESERVES;
    type Call = Token;
    type Reader = Token;
}

/// The transport, as the connector of a face sees it.
pub(crate) struct Wire {
    pub(crate) link: LinkId,
    connection: ConnectionId,
    /// What the broker has written and the engine has not read whole.
    pub(crate) input: BytesMut,
    /// What the engine has written and the broker has not read whole.
    output: BytesMut,
}

pub(crate) struct World<const RESERVES: bool = false> {
    pub(crate) engine: Engine<Numbers<RESERVES>>,
    pub(crate) broker: Broker,
    pub(crate) now: Instant,
    pub(crate) wire: Option<Wire>,
    /// Attempts to connect fail.
    pub(crate) unreachable: bool,
    /// What the broker writes does not arrive.
    pub(crate) silent: bool,
    /// What the engine writes is not taken.
    pub(crate) stuck: bool,
    /// What the engine's questions are answered; they wait without one.
    pub(crate) reply: Option<Reply>,
    pub(crate) asked: Vec<Ask>,
    last_token: u32,
    /// Tokens that the engine holds.
    pub(crate) held: BTreeSet<u32>,
    /// How calls ended, by their tokens.
    pub(crate) ends: BTreeMap<u32, CallEnd>,
    /// The tokens of calls, in the order in which they ended.
    pub(crate) order: Vec<u32>,
    /// Readers that were woken, in order, and not taken out by a test.
    pub(crate) readers: Vec<u32>,
    pub(crate) facts: Vec<Fact>,
    of_core: Options,
    of_engine: EngineOptions,
    /// What keeps the session and the outgoing queue, with a journal.
    pub(crate) store: Store,
    /// The messages that it is reading, which it does not while it [lags](crate::store::StoreRow::lags).
    reads: Option<Vec<u64>>,
    /// Messages whose bytes it has lost.
    pub(crate) damaged: BTreeSet<u64>,
}

pub(crate) fn options() -> Options {
    let mut options = Options::default();
    options.client_identifier = "engine".try_into().unwrap();
    options.closing_timeout = Duration::from_secs(5);
    options
}

/// One message in the outgoing queue, and no capacity for another.
pub(crate) fn narrow(messages: usize) -> Options {
    let mut options = options();
    options.outgoing = OutgoingLimits {
        messages: Some(messages),
        bytes: None,
    };
    options.max_in_flight = Some(1.try_into().unwrap());
    options
}

pub(crate) fn publish(payload: &'static str, qos: QoS) -> Publish {
    let mut publish = Publish::new(TopicName::new("t").unwrap(), payload);
    publish.qos = qos;
    publish
}

impl<const RESERVES: bool> World<RESERVES> {
    pub(crate) fn new(options: Options) -> Self {
        Self::with(options, BrokerOptions::default(), false)
    }

    pub(crate) fn with(options: Options, broker: BrokerOptions, authenticates: bool) -> Self {
        Self::with_all(options, broker, authenticates, false)
    }

    /// One whose engine may be started again.
    pub(crate) fn restarting(options: Options) -> Self {
        let mut world = Self::with_all(options, BrokerOptions::default(), false, true);
        world.run();
        assert!(world.engine.is_connected());
        world
    }

    pub(crate) fn with_all(
        options: Options,
        broker: BrokerOptions,
        authenticates: bool,
        restarts: bool,
    ) -> Self {
        let of_engine = EngineOptions {
            disconnect_timeout: Duration::from_secs(5),
            ends_session: false,
            authenticates,
            restarts,
        };
        let now = Instant::now(); // the only time that is read
        let (of_core, engine_options) = (options.clone(), of_engine.clone());
        let mut engine = Engine::new(options, Session::default(), 7, of_engine).unwrap();
        engine.start(now);
        Self {
            of_core,
            of_engine: engine_options,
            store: Store::default(),
            reads: None,
            damaged: BTreeSet::new(),
            engine,
            broker: Broker::new(broker),
            now,
            wire: None,
            unreachable: false,
            silent: false,
            stuck: false,
            reply: None,
            asked: Vec::new(),
            last_token: 0,
            held: BTreeSet::new(),
            ends: BTreeMap::new(),
            order: Vec::new(),
            readers: Vec::new(),
            facts: Vec::new(),
        }
    }

    /// One that is connected.
    pub(crate) fn connected(options: Options) -> Self {
        let mut world = Self::new(options);
        world.run();
        assert!(world.engine.is_connected());
        world
    }

    pub(crate) fn token(&mut self) -> Token {
        self.last_token += 1;
        self.held.insert(self.last_token);
        Token(self.last_token)
    }

    /// The engine has given a token back.
    pub(crate) fn back(&mut self, token: &Token) {
        assert!(self.held.remove(&token.0), "{token:?} came back twice");
    }

    /// Lets everything happen but that the engine reads.
    pub(crate) fn run_while_silent(&mut self) {
        let before = std::mem::replace(&mut self.silent, true);
        self.run();
        self.silent = before;
    }

    /// Lets everything happen that happens without time.
    pub(crate) fn run(&mut self) {
        for _ in 0..1_000 {
            if !self.step() {
                return;
            }
        }
        panic!("the world never rests");
    }

    fn step(&mut self) -> bool {
        while let Some(ask) = self.engine.next_ask() {
            self.asked.push(ask);
            match self.reply.clone() {
                Some(reply) => self.engine.reply(self.now, reply).unwrap(),
                None => break,
            }
        }
        let mut busy = self.write();
        busy |= self.record();
        busy |= self.fetch();
        busy |= self.engine.settle(self.now);
        busy |= self.take_woken();
        busy |= self.connector();
        busy |= self.serve();
        busy
    }

    fn write(&mut self) -> bool {
        self.record();
        let Some(wire) = &mut self.wire else {
            return false;
        };
        let mut any = false;
        while !self.stuck
            && let Some(chunk) = self.engine.transmit(self.now, wire.link)
        {
            wire.output.extend_from_slice(&chunk);
            any = true;
        }
        if any {
            (self.broker).handle_input(self.now, wire.connection, &mut wire.output);
        }
        any
    }

    /// The store takes what is to be recorded.
    fn take_entries(&mut self) -> bool {
        let mut any = false;
        while let Some(entry) = self.engine.poll_journal() {
            self.store.take(entry);
            any = true;
        }
        any
    }

    /// It takes that, and writes it.
    fn record(&mut self) -> bool {
        let any = self.take_entries();
        for direction in DIRECTIONS {
            if let Some(last) = self.store.write(direction) {
                self.engine.journal_written(direction, last);
            }
        }
        any
    }

    /// The store reads the messages whose turn comes.
    fn fetch(&mut self) -> bool {
        let row = self.store.row(Direction::Sent);
        if row.has_failed {
            self.reads = None;
            return false;
        }
        if self.reads.is_none() {
            let next = self.engine.next_fetch();
            self.reads = (!next.is_empty()).then_some(next);
        }
        if row.lags {
            return false;
        }
        let Some(keys) = self.reads.take() else {
            return false;
        };
        let (store, damaged) = (&self.store, &self.damaged);
        let read = |key| store.publish(key).filter(|_| !damaged.contains(&key));
        (self.engine).put_fetched(keys.into_iter().map(|key| (key, read(key))));
        true
    }

    /// How many messages of the outgoing queue have their contents in the store alone.
    pub(crate) fn distant(&self) -> usize {
        self.engine.distant_messages().count()
    }

    /// The store of a direction fails.
    pub(crate) fn fail_store(&mut self, direction: Direction) {
        self.take_entries();
        self.store.fail(direction);
        self.engine.journal_failed(direction);
    }

    /// It works again.
    pub(crate) fn mend_store(&mut self, direction: Direction) {
        self.take_entries();
        let (sequence, changes) = self.engine.begin_record(self.now, direction);
        let kept = self.engine.distant_messages().collect();
        self.store.begin(direction, sequence, changes, &kept);
    }

    /// The process ends at this moment, and begins again with what is on record. Its tokens are gone with it.
    pub(crate) fn crash(&mut self) {
        self.store.lose_unwritten();
        let session = self.store.session(self.of_core.client_identifier.clone());
        let messages = self.store.messages(self.now);
        self.begin_again(session, Vec::new());
        let distant = messages.into_iter().map(|it| DistantMessage {
            key: it.key,
            size: 100, // the store knows that of its record
            expires_at: it.expires_at,
            latest_of: it.keep_latest.then_some(it.publish.topic),
        });
        (self.engine).open_distant_queue(self.store.queue, distant);
    }

    /// The program ends as it should, and begins again. Its tokens have come back.
    pub(crate) fn restart(&mut self) {
        while self.engine.settle(self.now) {}
        self.engine.abandon_driver();
        self.take_woken();
        let successor = self.engine_with(Session::default());
        let former = std::mem::replace(&mut self.engine, successor);
        let distant: BTreeSet<_> = former.distant_messages().collect();
        let (session, mut messages) = former.into_session();
        let of_store = self.store.messages(self.now).into_iter();
        messages.extend(of_store.filter(|it| distant.contains(&it.key)));
        self.begin_again(session, messages);
    }

    fn engine_with(&self, session: Session) -> Engine<Numbers<RESERVES>> {
        Engine::new(self.of_core.clone(), session, 8, self.of_engine.clone()).unwrap()
    }

    fn begin_again(&mut self, session: Session, messages: Vec<StoredMessage>) {
        self.engine = self.engine_with(session);
        self.reads = None;
        (self.engine).open_outgoing_queue(self.store.queue, messages);
        if let Some(wire) = self.wire.take() {
            self.broker.closed(self.now, wire.connection);
        }
        self.held.clear();
        self.engine.start(self.now);
    }

    /// Has the outgoing queue accept a message. Returns its token and its key.
    pub(crate) fn queue(
        &mut self,
        publish: Publish,
        terms: MessageTerms,
    ) -> Result<(u32, u64), PublishRefusal> {
        let token = self.token();
        let number = token.0;
        match (self.engine).queue_publish(self.now, publish, terms, Some(token)) {
            Ok(key) => Ok((number, key)),
            Err((token, refusal)) => {
                self.back(&token.unwrap());
                Err(refusal)
            }
        }
    }

    /// As [`queue`](Self::queue), and waits for capacity. Returns the two tokens, and what became of the message.
    pub(crate) fn queue_or_wait(
        &mut self,
        publish: Publish,
        terms: MessageTerms,
        deadline: Option<Instant>,
    ) -> Result<(u32, Option<u32>, QueueSubmission), PublishRefusal> {
        let (outcome, accepted) = (self.token(), self.token());
        let (now, numbers) = (self.now, (outcome.0, accepted.0));
        match (self.engine).queue_or_wait(now, publish, terms, deadline, outcome, accepted) {
            Ok((submission, Some(unused))) => {
                self.back(&unused);
                Ok((numbers.0, None, submission))
            }
            Ok((submission, None)) => Ok((numbers.0, Some(numbers.1), submission)),
            Err((tokens, refusal)) => {
                for token in &tokens {
                    self.back(token);
                }
                Err(refusal)
            }
        }
    }

    /// How messages ended that no token waited for, since the last look.
    pub(crate) fn ended(&mut self) -> Vec<(u64, Outcome)> {
        let facts = std::mem::take(&mut self.facts);
        let ended = facts.into_iter().filter_map(|fact| match fact {
            Fact::MessageEnded { key, outcome } => Some((key, outcome)),
            _ => None,
        });
        ended.collect()
    }

    pub(crate) fn serve(&mut self) -> bool {
        while self.broker.poll_writable().is_some() {}
        let Some(wire) = &mut self.wire else {
            return false;
        };
        let mut any = false;
        while !self.silent
            && let Some(chunk) = self.broker.poll_transmit(wire.connection)
        {
            wire.input.extend_from_slice(&chunk);
            any = true;
        }
        if any || !wire.input.is_empty() && !self.engine.core().input_paused() {
            let before = wire.input.len();
            self.engine.receive(self.now, wire.link, &mut wire.input);
            any |= wire.input.len() != before;
        }
        if let Some(closed) = self.broker.poll_close()
            && closed == wire.connection
        {
            self.lose();
            return true;
        }
        any
    }

    fn connector(&mut self) -> bool {
        let Some(request) = self.engine.next_request() else {
            return false;
        };
        match request {
            LinkRequest::Open { link, .. } if self.unreachable => {
                let refused = TransportError::Failed("refused".into());
                self.engine.closed(self.now, link, refused);
            }
            LinkRequest::Open { link, .. } => {
                if self.engine.opened(self.now, link) {
                    self.wire = Some(Wire {
                        link,
                        connection: self.broker.open(self.now),
                        input: BytesMut::new(),
                        output: BytesMut::new(),
                    });
                }
            }
            LinkRequest::HalfClose(link) => {
                self.engine.finished(self.now, link);
                if !self.silent {
                    self.lose();
                }
            }
            LinkRequest::Close(link) | LinkRequest::Abort(link) => match self.wire {
                Some(_) => self.lose(),
                None => (self.engine).closed(self.now, link, TransportError::EndOfStream),
            },
        }
        true
    }

    /// The transport ends.
    pub(crate) fn lose(&mut self) {
        if let Some(wire) = self.wire.take() {
            self.broker.closed(self.now, wire.connection);
            (self.engine).closed(self.now, wire.link, TransportError::EndOfStream);
        }
    }

    pub(crate) fn take_woken(&mut self) -> bool {
        let mut any = self.record();
        while let Some(woken) = self.engine.next_woken() {
            any = true;
            match woken {
                Woken::Call(token, end) => {
                    self.back(&token);
                    self.order.push(token.0);
                    self.ends.insert(token.0, end);
                }
                Woken::Reader(token) => {
                    self.back(&token);
                    self.readers.push(token.0);
                }
                Woken::Fact(fact) => self.facts.push(fact),
            }
        }
        any
    }

    /// Lets time go by, from one deadline to the next.
    pub(crate) fn pass(&mut self, time: Duration) {
        let end = self.now + time;
        loop {
            self.run();
            let deadlines = [self.engine.deadline(), self.broker.poll_timeout()];
            match deadlines.into_iter().flatten().min() {
                Some(next) if next <= end => self.now = self.now.max(next),
                _ => break,
            }
            self.engine.on_time(self.now);
            self.broker.handle_timeout(self.now);
        }
        self.now = end;
        self.engine.on_time(self.now);
        self.run();
    }

    pub(crate) fn after(&self, seconds: u64) -> Option<Instant> {
        Some(self.now + Duration::from_secs(seconds))
    }

    /// Publishes as a face does. The token is 0 when that took none.
    pub(crate) fn publish(
        &mut self,
        publish: &Publish,
        deadline: Option<Instant>,
    ) -> Result<(u32, Option<Submission>), PublishRefusal> {
        if let Some(packet) = at_once(publish)
            && self.engine.publish_now(packet, &publish.payload)?
        {
            return Ok((0, None));
        }
        let token = self.token();
        let number = token.0;
        let purpose = Purpose::Message;
        match (self.engine).publish(self.now, purpose, publish, deadline, token) {
            Ok(submission) => Ok((number, Some(submission))),
            Err((token, refusal)) => {
                self.back(&token);
                Err(refusal)
            }
        }
    }

    /// Publishes at QoS 1, and returns its token and its call.
    pub(crate) fn publish_qos1(&mut self, payload: &'static str) -> (u32, Submission) {
        let (token, submission) = self
            .publish(&publish(payload, QoS::AtLeastOnce), None)
            .unwrap();
        (token, submission.unwrap())
    }

    /// Gives up a call, and takes back its tokens.
    pub(crate) fn give_up(&mut self, call: CallId) -> bool {
        let Some(given_up) = self.engine.give_up(call) else {
            return false;
        };
        self.back(&given_up.outcome);
        if let Some(accepted) = given_up.accepted {
            self.back(&accepted);
        }
        true
    }

    /// Opens a queue and subscribes for it.
    pub(crate) fn subscribe(&mut self, filter: &str, options: QueueOptions) -> (QueueId, u32) {
        let queue = self.engine.open_queue(options);
        (queue, self.subscribe_for(queue, filter))
    }

    /// Subscribes for a queue. Returns the number of the token.
    pub(crate) fn subscribe_for(&mut self, queue: QueueId, filter: &str) -> u32 {
        let subscribe = Subscribe {
            filters: vec![(filter.try_into().unwrap(), QoS::ExactlyOnce.into())],
            properties: Properties::default(),
            queue,
        };
        let token = self.token();
        let number = token.0;
        if let Err((token, _)) = self.engine.subscribe(self.now, subscribe, None, token) {
            self.back(&token);
        }
        number
    }

    /// Takes the message that is reserved for a reader, and the token that was brought back.
    pub(crate) fn take_reserved(&mut self, reader: ReaderId) -> (Option<Message>, Option<Token>) {
        let token = self.engine.end_reservation(reader);
        (self.engine.take(reader.queue()), token)
    }

    /// Nothing is held any more once the driver has gone.
    pub(crate) fn end(mut self) {
        self.engine.abandon_driver();
        self.take_woken();
        assert!(self.held.is_empty(), "never given back: {:?}", self.held);
    }
}

pub(crate) const fn call(submission: Submission) -> CallId {
    match submission {
        Submission::Accepted(call) | Submission::Waits(call) => call,
    }
}

pub(crate) fn unsubscribe(filter: &str) -> Unsubscribe {
    Unsubscribe {
        filters: vec![filter.try_into().unwrap()],
        properties: Properties::default(),
    }
}
