//! A client in a world of random events, and what must hold whatever happens:
//!
//! - each accepted operation completes exactly once, or never when it was abandoned or the process crashed;
//! - nothing that was acknowledged is lost, in either direction, and QoS 2 comes once;
//! - a message that the server answers by ending the connection is given up, and no other one is;
//! - a message that the application acknowledges itself is not acknowledged before;
//! - nor is one that nobody has claimed, which comes to some queue in the end;
//! - with a store, a crash is no more than a lost connection for all that is on record;
//! - and all that [`ModelServer`] checks: no identifier is used while it is in use, what is owed to a session is resent
//!   once, in order and first, Receive Maximum is kept, acknowledgements leave in order.

use std::collections::{BTreeMap, BTreeSet};
use std::num::NonZeroU16;
use std::time::Duration;

use ferromqtt_proto::packet::Disconnect;
use ferromqtt_proto::{
    Acknowledge, CleanStart, Client, Delivery, DeliveryId, Direction, Event, JournalEntry, Message,
    OpId, Options, Outcome, OutgoingLimits, Overflow, Properties, ProtocolVersion, Publish, QoS,
    QueueId, QueueOptions, Reconnect, Session, SessionChange, Subscribe, TopicName, Unsubscribe,
};

use super::store::DIRECTIONS;
use super::*;

mod checks;
mod stores;

use stores::WorldStores;

/// Messages with this topic go to a queue whose messages the application acknowledges, once it has subscribed.
const BY_HAND: &str = "by/hand";

#[derive(Clone, Copy, Debug)]
pub(crate) struct Setting {
    pub(crate) version: ProtocolVersion,
    pub(crate) clean_start: CleanStart,
    /// The server's. 3.1.1 has none: there the client's own bound is checked instead.
    pub(crate) receive_maximum: u16,
    pub(crate) own_receive_maximum: u16,
    /// A store keeps the session.
    pub(crate) journal: bool,
    /// The server keeps to the letter, and the client insists on it.
    pub(crate) strict: bool,
    /// Seconds.
    pub(crate) claim_within: Option<u64>,
    /// The application reads the default queue from the start, of each process.
    pub(crate) claims_default: bool,
    /// The default queue takes two messages, and makes the server wait beyond that.
    pub(crate) narrow: bool,
}

#[derive(Clone, Debug)]
pub(crate) enum Step {
    Publish {
        qos: u8,
        length: usize,
        expiry: Option<u32>,
    },
    /// A publish that the server answers by ending the connection, in 5.0.
    PublishPoison(u8),
    /// A publish that wants a response, in 5.0.
    Request(u8),
    /// Which of the requests that the server has accepted.
    Respond(usize),
    Subscribe {
        own_queue: bool,
    },
    Unsubscribe,
    /// The queue with messages that the application acknowledges is given up, just when one more has come with this QoS, and
    /// replaced by another.
    DetachQueue(u8),
    /// The application begins to read the default queue.
    ClaimDefault,
    /// Which of the operations so far.
    Abandon(usize),
    ServerProcesses {
        packets: usize,
        refuses: bool,
    },
    /// The server has processed a packet, but its answer is lost with the connection.
    AnswerIsLost,
    Cut,
    ServerForgetsTheSession,
    ServerPublishes {
        acknowledged_by_hand: bool,
        qos: u8,
    },
    /// Which of the messages that the application holds.
    Acknowledge(usize),
    /// The application reads its queues all the time, or not at all.
    Reads(bool),
    Writable(bool),
    /// The stores write all that they were given; with `false`, only the first half. There is one for each direction.
    StoreWrites {
        all: bool,
        stores: Stores,
    },
    /// The store of a direction fails, unless it has.
    StoreFails(Direction),
    /// It works again.
    StoreComesBack(Direction),
    /// Milliseconds.
    Advance(u64),
    DisconnectAndConnect,
    /// The process ends without a word, and begins again.
    Crash,
}

/// Which of the two stores write.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Stores {
    Both,
    One(Direction),
}

impl Stores {
    fn are_of(self, direction: Direction) -> bool {
        match self {
            Self::Both => true,
            Self::One(one) => one == direction,
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Pending,
    Abandoned,
    Completed,
    Crashed,
}

struct Operation {
    state: State,
    /// Number of the message and its QoS, for a publish.
    publish: Option<(usize, QoS)>,
    /// The publish is a request.
    is_request: bool,
}

pub(crate) struct World {
    setting: Setting,
    pair: Pair,
    server: ModelServer,
    /// Those of all processes so far.
    operations: BTreeMap<(usize, OpId), Operation>,
    crashes: usize,
    /// The keys of messages of earlier processes that have ended, by the process.
    ended: BTreeSet<(usize, u64)>,
    messages: usize,
    own_queue: QueueId,
    /// How often each number came from the server, and at which QoS it was sent.
    received: BTreeMap<u16, usize>,
    sent: BTreeMap<u16, QoS>,
    /// What the application holds, and what it never let go.
    held: Vec<(DeliveryId, u16)>,
    not_let_go: BTreeSet<u16>,
    reads: bool,
    /// What was acknowledged, and must be among what is read next.
    answered: Vec<u16>,
    stores: WorldStores,
    /// A process has ended before it was on record that the server had lost the session, so the next ones take what was received
    /// in that for the present one's. A message of the server that is sent again they may take for an earlier one.
    is_doubtful: bool,
    /// The process before has died with a session whose beginning was not on record: what this one records is not that.
    was_quiet_before: bool,
    /// The highest key that was ever on record.
    last_key: u64,
}

impl World {
    pub(crate) fn new(setting: Setting) -> Self {
        let mut pair = new_pair(setting, Session::default());
        let own_queue = open_queue(&mut pair);
        pair.connect();
        let mut server = ModelServer::new(setting.version, setting.receive_maximum);
        server.window = setting.own_receive_maximum.into();
        if !setting.strict {
            server.slips = true;
            server.window += 20;
        }
        let mut world = Self {
            setting,
            pair,
            server,
            operations: BTreeMap::new(),
            crashes: 0,
            ended: BTreeSet::new(),
            messages: 0,
            own_queue,
            received: BTreeMap::new(),
            sent: BTreeMap::new(),
            held: Vec::new(),
            not_let_go: BTreeSet::new(),
            reads: true,
            answered: Vec::new(),
            stores: WorldStores::default(),
            is_doubtful: false,
            was_quiet_before: false,
            last_key: 0,
        };
        world.settle();
        world
    }

    /// What every step ends with: the server reads, outcomes and messages are checked.
    fn settle(&mut self) {
        self.pair.pump();
        self.server.read(&mut self.pair);
        for event in self.pair.events() {
            match event {
                Event::Completed { op, outcome } => self.check(op, &outcome),
                Event::Ended { key, .. } => {
                    let is_first = self.ended.insert((self.crashes, key));
                    assert!(is_first && self.crashes > 0, "{key} has ended before");
                }
                _ => {}
            }
        }
        self.check_answered();
        if self.reads {
            self.read();
        }
        while let Some(entry) = self.pair.client.poll_journal() {
            // Also what reading has brought about.
            let number = match entry.change {
                SessionChange::Received { packet_id } => self.server.number_of(packet_id),
                _ => None,
            };
            self.stores.take(entry, number);
        }
        if !self.setting.journal {
            self.server.is_quiet = false;
        }
    }

    /// Takes all messages, and checks what has become of them.
    fn read(&mut self) {
        for message in self.pair.messages_of(self.own_queue) {
            self.take(&message);
        }
        while let Some(message) = self.pair.client.next_message(QueueId::DEFAULT) {
            self.take(&message);
            self.pair.pump(); // more may have been waiting for room
            self.server.read(&mut self.pair);
            self.check_answered();
        }
        self.check_received();
    }

    fn take(&mut self, message: &Message) {
        let number = self.receive(&message.payload);
        if let Some(delivery) = message.delivery {
            self.held.push((delivery, number));
            self.not_let_go.insert(number);
        }
    }

    fn accept<E: std::fmt::Debug>(
        &mut self,
        publish: Option<(usize, QoS)>,
        call: impl FnOnce(&mut Client, std::time::Instant) -> Result<OpId, E>,
    ) {
        let op = call(&mut self.pair.client, self.pair.now).unwrap();
        let state = State::Pending;
        let operation = Operation {
            state,
            publish,
            is_request: false,
        };
        let before = self.operations.insert((self.crashes, op), operation);
        assert!(before.is_none(), "{op:?} was used before");
    }

    pub(crate) fn play(&mut self, step: &Step) {
        match *step {
            Step::Publish {
                qos,
                length,
                expiry,
            } => self.publish(qos, length, expiry),
            Step::PublishPoison(qos) => {
                if self.setting.version == V5 {
                    self.server.poison.insert(self.messages);
                    self.publish(qos, 0, None);
                }
            }
            Step::Request(qos) => self.request(qos),
            Step::Respond(index) => self.server.respond(&mut self.pair, index),
            Step::Subscribe { own_queue } => self.subscribe(own_queue),
            Step::Unsubscribe => {
                let filters = vec![filter("t")];
                let properties = Properties::default();
                let unsubscribe = Unsubscribe {
                    filters,
                    properties,
                };
                self.accept(None, |client, now| client.unsubscribe(now, unsubscribe));
            }
            Step::ClaimDefault => self.pair.client.claim_default(),
            Step::Abandon(index) => self.abandon(index),
            Step::ServerProcesses { packets, refuses } => {
                for _ in 0..packets {
                    self.server.process(&mut self.pair, true, refuses);
                }
            }
            Step::AnswerIsLost => {
                if self.pair.link_is_up() {
                    self.server.process(&mut self.pair, false, false);
                }
            }
            Step::Cut => {
                if self.pair.link_is_up() {
                    self.pair.cut();
                    self.server.connection_lost();
                }
            }
            Step::ServerForgetsTheSession => self.server.forgets = true,
            Step::ServerPublishes {
                acknowledged_by_hand,
                qos,
            } => self.server_publishes(if acknowledged_by_hand { BY_HAND } else { "t" }, qos),
            Step::DetachQueue(qos) => {
                self.server_publishes(BY_HAND, qos);
                self.pair.client.detach_queue(self.pair.now, self.own_queue);
                self.own_queue = open_queue(&mut self.pair);
            }
            Step::Acknowledge(index) => self.acknowledge(index),
            Step::Reads(reads) => self.reads = reads,
            Step::Writable(writable) => self.pair.writable = writable,
            Step::StoreWrites { all, stores } => self.store_writes(all, stores),
            Step::StoreFails(direction) => self.store_fails(direction),
            Step::StoreComesBack(direction) => self.store_comes_back(direction),
            Step::Advance(milliseconds) => self.pair.advance(Duration::from_millis(milliseconds)),
            Step::DisconnectAndConnect => self.disconnect_and_connect(),
            Step::Crash => self.crash(),
        }
        self.settle();
    }

    fn server_publishes(&mut self, topic: &str, qos: u8) {
        let qos = QoS::from_value(qos).unwrap();
        if let Some(number) = self.server.publish(&mut self.pair, topic, qos) {
            self.sent.insert(number, qos);
        }
    }

    fn publish(&mut self, qos: u8, length: usize, expiry: Option<u32>) {
        let qos = QoS::from_value(qos).unwrap();
        let number = self.messages;
        self.messages += 1;
        let topic = TopicName::new("t").unwrap();
        let mut publish = Publish::new(topic, numbered(number, length));
        publish.qos = qos;
        if let (Some(seconds), V5) = (expiry, self.setting.version) {
            publish.properties = Some(Box::new(Properties {
                message_expiry_interval: Some(seconds),
                ..Properties::default()
            }));
        }
        self.accept(Some((number, qos)), |client, now| {
            client.publish(now, publish)
        });
    }

    fn request(&mut self, qos: u8) {
        if self.setting.version != V5 {
            return;
        }
        let qos = QoS::from_value(qos).unwrap();
        let number = self.messages;
        self.messages += 1;
        let topic = TopicName::new("service").unwrap();
        let mut request = Publish::new(topic, numbered(number, 0));
        request.qos = qos;
        self.accept(Some((number, qos)), |client, now| {
            client.request(now, request)
        });
        let newest = self.operations.values_mut().next_back();
        newest.expect("the request").is_request = true;
    }

    fn subscribe(&mut self, own_queue: bool) {
        let (filters, queue) = if own_queue {
            (vec![(filter(BY_HAND), at(ExactlyOnce))], self.own_queue)
        } else {
            let filters = vec![
                (filter("t"), at(ExactlyOnce)),
                (filter("u"), at(AtMostOnce)),
            ];
            (filters, QueueId::DEFAULT)
        };
        let subscribe = Subscribe {
            filters,
            properties: Properties::default(),
            queue,
        };
        self.accept(None, |client, now| client.subscribe(now, subscribe));
    }

    fn abandon(&mut self, index: usize) {
        let of_this_process = self.operations.range((self.crashes, OpId::from_value(0))..);
        let ops: Vec<_> = of_this_process.map(|(&(_, op), _)| op).collect();
        if ops.is_empty() {
            return;
        }
        let op = ops[index % ops.len()];
        let abandoned = self.pair.client.abandon(op).is_some();
        let operation = self.operations.get_mut(&(self.crashes, op)).unwrap();
        assert_eq!(abandoned, operation.state == State::Pending, "{op:?}");
        if abandoned {
            operation.state = State::Abandoned;
        }
    }

    fn acknowledge(&mut self, index: usize) {
        if self.held.is_empty() {
            return;
        }
        let (delivery, number) = self.held.remove(index % self.held.len());
        if self.held.iter().all(|(_, other)| *other != number) {
            self.not_let_go.remove(&number);
        }
        self.pair.client.acknowledge(delivery);
        self.pair.client.acknowledge(delivery); // a second time is harmless
    }

    fn store_writes(&mut self, all: bool, stores: Stores) {
        for direction in DIRECTIONS.into_iter().filter(|it| stores.are_of(*it)) {
            (self.stores).write(direction, all, &mut self.pair.client);
        }
        if self.stores.is_up_to_date(Direction::Received) && self.pair.client.is_connected() {
            // The end of the session before is on record.
            self.is_doubtful &= self.was_quiet_before || !self.server.is_quiet;
            self.was_quiet_before = false;
            self.server.is_quiet = false;
        }
    }

    fn store_fails(&mut self, direction: Direction) {
        if self.setting.journal {
            self.stores.fail(direction, &mut self.pair.client);
            self.server.releases_may_wait |= direction == Direction::Sent;
        }
    }

    fn store_comes_back(&mut self, direction: Direction) {
        let Pair { client, now, .. } = &mut self.pair;
        let begin = || client.begin_record(*now, direction);
        let number = |id| self.server.number_of(id);
        self.stores.begin(direction, begin, number);
    }

    fn disconnect_and_connect(&mut self) {
        self.pair.writable = true;
        self.pair
            .client
            .disconnect(self.pair.now, Disconnect::normal());
        self.settle();
        assert!(self.pair.client.is_idle(), "no store stops closing");
        let pending = self
            .operations
            .values()
            .filter(|it| it.state == State::Pending)
            .count();
        assert_eq!(
            pending, 0,
            "every operation ends with the client's connection"
        );
        self.server.connection_lost();
        self.pair.connect();
    }

    fn crash(&mut self) {
        if !self.setting.journal {
            return;
        }
        self.read();
        self.crashes += 1;
        for operation in self.operations.values_mut() {
            if operation.state == State::Pending {
                operation.state = State::Crashed;
            }
        }
        self.held.clear();
        self.not_let_go.clear();
        self.is_doubtful |= self.server.is_quiet;
        self.was_quiet_before = self.server.is_quiet;
        let mut record = self.stores.after_crash();
        self.forget_what_was_not_answered();
        self.server.client_crashed(&record);
        let next_key = record.iter().filter_map(|it| store::key(&it.change)).max();
        self.last_key = self.last_key.max(next_key.unwrap_or(0));
        let restore = |record: &[JournalEntry], last_key| {
            let identifier = resuming(V5).client_identifier;
            Session::restore(identifier, last_key + 1, record.to_vec())
        };
        let mut session = restore(&record, self.last_key);
        if self.crashes.is_multiple_of(2) {
            // The store has begun a new record.
            record = self.stores.replace(session.record());
            session = restore(&record, self.last_key);
        }
        self.pair.restart(options(self.setting), session);
        if self.setting.claims_default {
            self.pair.client.claim_default();
        }
        self.own_queue = open_queue(&mut self.pair);
        self.pair.connect();
    }

    /// A QoS 2 message whose PUBREC was not on record comes again: nobody has promised anything yet.
    fn forget_what_was_not_answered(&mut self) {
        let (sent, answered) = (&self.sent, &self.stores.received_on_record);
        self.received.retain(|number, _| {
            sent.get(number) != Some(&ExactlyOnce) || answered.contains(number)
        });
    }

    /// A request whose response was lost: nobody but its caller can end it.
    fn unanswered(&self) -> Option<OpId> {
        let waits = |it: &Operation| it.is_request && it.state == State::Pending;
        let mut operations = self.operations.iter();
        operations.find_map(|(&(_, op), it)| waits(it).then_some(op))
    }

    /// From now on nothing fails: everything must come to its end.
    pub(crate) fn finish(&mut self) {
        self.pair.writable = true;
        self.reads = true;
        for direction in DIRECTIONS {
            self.store_comes_back(direction);
        }
        for _ in 0..10_000 {
            self.settle();
            let pending = self
                .operations
                .values()
                .any(|it| it.state == State::Pending);
            if !self.stores.is_idle() {
                self.store_writes(true, Stores::Both);
            } else if !self.held.is_empty() {
                self.acknowledge(0);
            } else if self.server.has_work() {
                self.server.process(&mut self.pair, true, false);
            } else if let Some(due) = self.pair.client.poll_timeout() {
                self.pair.advance(due - self.pair.now);
            } else if !pending && self.server.is_settled() {
                return;
            } else if !self.server.asked.is_empty() && self.pair.client.is_connected() {
                self.server.respond(&mut self.pair, 0);
            } else if self.pair.client.stats().awaiting_claim > 0 {
                self.pair.client.claim_default(); // there is no limit, and nobody else will
            } else if let Some(op) = self.unanswered() {
                self.pair.client.abandon(op).expect("it still waits");
                let operation = self.operations.get_mut(&(self.crashes, op)).unwrap();
                operation.state = State::Abandoned;
            } else {
                panic!("it has come to rest, but not to an end");
            }
        }
        panic!("no end");
    }
}

fn options(setting: Setting) -> Options {
    let mut options = resuming(setting.version);
    options.clean_start = setting.clean_start;
    options.outgoing = OutgoingLimits::NONE;
    options.reconnect = Some(Reconnect {
        initial: true,
        ..Reconnect::default()
    });
    options.max_in_flight = NonZeroU16::new(setting.receive_maximum);
    if setting.version == V5 {
        options.properties.receive_maximum = NonZeroU16::new(setting.own_receive_maximum);
    }
    options.journal = setting.journal;
    options.strict = setting.strict;
    options.claim_within = setting.claim_within.map(Duration::from_secs);
    if setting.narrow {
        options.incoming = limited(2, Overflow::Wait);
    }
    options
}

fn new_pair(setting: Setting, session: Session) -> Pair {
    match setting.claims_default {
        true => Pair::with_session(options(setting), session),
        false => Pair::unclaimed(options(setting), session),
    }
}

fn open_queue(pair: &mut Pair) -> QueueId {
    pair.client.open_queue(QueueOptions {
        acknowledge: Acknowledge::ByApplication,
        ..QueueOptions::default()
    })
}
