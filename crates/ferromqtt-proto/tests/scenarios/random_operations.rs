//! Random operations, acknowledgements, losses and time, against a server that checks every packet.
//!
//! It holds in every run: each accepted operation completes exactly once, or never when it was abandoned; nothing that was
//! acknowledged is lost; QoS 2 comes once; and all that [`ModelServer`] checks: no identifier is used while it is in use, what is
//! owed to a session is resent once, in order and first, and Receive Maximum is kept. Pitfalls 1 to 7, 9 and 19.

use std::collections::BTreeMap;
use std::time::Duration;

use ferromqtt_proto::packet::Disconnect;
use ferromqtt_proto::{
    CleanStart, Client, OpId, Outcome, OutgoingLimits, ProtocolVersion, Publish, QoS, QueueId,
    Reconnect, Subscribe, TopicName, Unsubscribe,
};
use proptest::prelude::*;

use crate::support::*;

#[derive(Clone, Debug)]
enum Step {
    Publish(u8, usize),
    Subscribe,
    Unsubscribe,
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
    ServerPublishes(u8),
    Writable(bool),
    Advance(u64),
    DisconnectAndConnect,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        10 => (0_u8..3, prop_oneof![5 => 0_usize..20, 1 => 4_000_usize..9_000])
            .prop_map(|(qos, length)| Step::Publish(qos, length)),
        2 => Just(Step::Subscribe),
        1 => Just(Step::Unsubscribe),
        2 => any::<usize>().prop_map(Step::Abandon),
        12 => (1_usize..6, prop::bool::weighted(0.1))
            .prop_map(|(packets, refuses)| Step::ServerProcesses { packets, refuses }),
        2 => Just(Step::AnswerIsLost),
        2 => Just(Step::Cut),
        1 => Just(Step::ServerForgetsTheSession),
        3 => (0_u8..3).prop_map(Step::ServerPublishes),
        2 => any::<bool>().prop_map(Step::Writable),
        6 => (0_u64..3_000).prop_map(Step::Advance),
        1 => Just(Step::DisconnectAndConnect),
    ]
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Pending,
    Abandoned,
    Completed,
}

struct Operation {
    state: State,
    /// Number of the message and its QoS, for a publish.
    publish: Option<(usize, QoS)>,
}

struct World {
    pair: Pair,
    server: ModelServer,
    operations: BTreeMap<OpId, Operation>,
    messages: usize,
    /// How often each number came from the server, and at which QoS.
    received: BTreeMap<u16, usize>,
    exactly_once: Vec<u16>,
}

impl World {
    fn new(version: ProtocolVersion, clean_start: CleanStart, receive_maximum: u16) -> Self {
        let mut options = resuming(version);
        options.clean_start = clean_start;
        options.outgoing = OutgoingLimits::NONE;
        options.reconnect = Some(Reconnect {
            initial: true,
            ..Reconnect::default()
        });
        // 3.1.1 has no Receive Maximum: the client's own bound is checked instead.
        options.max_in_flight = std::num::NonZeroU16::new(receive_maximum);
        let mut pair = Pair::new(options);
        pair.connect();
        let mut world = Self {
            pair,
            server: ModelServer::new(version, receive_maximum),
            operations: BTreeMap::new(),
            messages: 0,
            received: BTreeMap::new(),
            exactly_once: Vec::new(),
        };
        world.settle();
        world
    }

    /// What every step ends with: the server reads, outcomes and messages are checked.
    fn settle(&mut self) {
        self.pair.pump();
        self.server.read(&mut self.pair);
        for (op, outcome) in self.pair.outcomes() {
            self.check(op, &outcome);
        }
        for payload in self.pair.payloads() {
            let number = payload.parse().unwrap();
            *self.received.entry(number).or_default() += 1;
        }
        for number in &self.exactly_once {
            let times = self.received.get(number).copied().unwrap_or(0);
            assert!(times <= 1, "QoS 2 message {number} came {times} times");
        }
    }

    fn check(&mut self, op: OpId, outcome: &Outcome) {
        let operation = self
            .operations
            .get_mut(&op)
            .expect("an operation that was never accepted");
        assert_eq!(
            operation.state,
            State::Pending,
            "{op:?} ends as {outcome:?}"
        );
        operation.state = State::Completed;
        let Some((number, qos)) = operation.publish else {
            assert!(matches!(
                outcome,
                Outcome::Subscribed { .. }
                    | Outcome::Unsubscribed { .. }
                    | Outcome::Disconnected { .. }
            ));
            return;
        };
        let times = self.server.accepted.get(&number).copied().unwrap_or(0);
        match outcome {
            Outcome::Sent => assert_eq!(qos, AtMostOnce),
            Outcome::Acknowledged { resent_as_new, .. } => {
                assert!(times > 0, "{number} was acknowledged, but is lost");
                assert!(
                    qos != ExactlyOnce || times == 1,
                    "{number} came {times} times"
                );
                assert!(!resent_as_new || self.session_was_lost());
            }
            Outcome::Refused { .. } => assert_ne!(qos, AtMostOnce),
            Outcome::SessionLost => {
                assert_eq!(qos, ExactlyOnce);
                assert!(self.session_was_lost());
            }
            Outcome::Disconnected { .. } => {}
            other => panic!("{other:?}"),
        }
    }

    /// The server forgot it, or the client asked it to.
    fn session_was_lost(&self) -> bool {
        self.server.losses > 0 || self.pair.client.options().clean_start != CleanStart::Never
    }

    fn accept<E: std::fmt::Debug>(
        &mut self,
        publish: Option<(usize, QoS)>,
        call: impl FnOnce(&mut Client, std::time::Instant) -> Result<OpId, E>,
    ) {
        let op = call(&mut self.pair.client, self.pair.now).unwrap();
        let state = State::Pending;
        let before = self.operations.insert(op, Operation { state, publish });
        assert!(before.is_none(), "{op:?} was used before");
    }

    fn play(&mut self, step: &Step) {
        match *step {
            Step::Publish(qos, length) => {
                let qos = QoS::from_value(qos).unwrap();
                let number = self.messages;
                self.messages += 1;
                let topic = TopicName::new("t").unwrap();
                let mut publish = Publish::new(topic, numbered(number, length));
                publish.qos = qos;
                self.accept(Some((number, qos)), |client, now| {
                    client.publish(now, publish)
                });
            }
            Step::Subscribe => {
                let filters = vec![
                    (filter("t"), at(ExactlyOnce)),
                    (filter("u"), at(AtMostOnce)),
                ];
                let (properties, queue) = Default::default();
                let subscribe = Subscribe {
                    filters,
                    properties,
                    queue,
                };
                assert_eq!(queue, QueueId::DEFAULT);
                self.accept(None, |client, now| client.subscribe(now, subscribe));
            }
            Step::Unsubscribe => {
                let filters = vec![filter("t")];
                let properties = Default::default();
                let unsubscribe = Unsubscribe {
                    filters,
                    properties,
                };
                self.accept(None, |client, now| client.unsubscribe(now, unsubscribe));
            }
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
            Step::ServerPublishes(qos) => {
                let qos = QoS::from_value(qos).unwrap();
                let number = self.server.publish(&mut self.pair, qos);
                if let (Some(number), ExactlyOnce) = (number, qos) {
                    self.exactly_once.push(number);
                }
            }
            Step::Writable(writable) => self.pair.writable = writable,
            Step::Advance(milliseconds) => self.pair.advance(Duration::from_millis(milliseconds)),
            Step::DisconnectAndConnect => self.disconnect_and_connect(),
        }
        self.settle();
    }

    fn abandon(&mut self, index: usize) {
        if self.operations.is_empty() {
            return;
        }
        let index = index % self.operations.len();
        let (&op, operation) = self.operations.iter_mut().nth(index).unwrap();
        let abandoned = self.pair.client.abandon(op).is_some();
        assert_eq!(abandoned, operation.state == State::Pending, "{op:?}");
        if abandoned {
            operation.state = State::Abandoned;
        }
    }

    fn disconnect_and_connect(&mut self) {
        self.pair.writable = true;
        self.pair
            .client
            .disconnect(self.pair.now, Disconnect::normal());
        self.settle();
        assert!(self.pair.client.is_idle());
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

    /// From now on nothing fails: everything must come to its end.
    fn finish(&mut self) {
        self.pair.writable = true;
        for _ in 0..10_000 {
            self.settle();
            let pending = self
                .operations
                .values()
                .any(|it| it.state == State::Pending);
            if self.server.has_work() {
                self.server.process(&mut self.pair, true, false);
            } else if let Some(due) = self.pair.client.poll_timeout() {
                self.pair.advance(due - self.pair.now);
            } else if !pending && self.server.is_settled() {
                return;
            } else {
                panic!("it has come to rest, but not to an end");
            }
        }
        panic!("no end");
    }
}

fn every_operation_completes_once(
    version: ProtocolVersion,
    clean_start: CleanStart,
    receive_maximum: u16,
    steps: &[Step],
) {
    let mut world = World::new(version, clean_start, receive_maximum);
    for step in steps {
        world.play(step);
    }
    world.finish();
}

fn clean_start() -> impl Strategy<Value = CleanStart> {
    prop_oneof![
        4 => Just(CleanStart::Never),
        1 => Just(CleanStart::FirstOnly),
        1 => Just(CleanStart::Always),
    ]
}

fn limit() -> impl Strategy<Value = u16> {
    prop::sample::select(vec![1, 2, 3, 20, 65_535])
}

proptest! {
    #[test]
    fn every_operation_completes_once_in_3_1_1(
        clean_start in clean_start(),
        limit in limit(),
        steps in prop::collection::vec(step(), 1..80),
    ) {
        every_operation_completes_once(V311, clean_start, limit, &steps);
    }

    #[test]
    fn every_operation_completes_once_in_5_0(
        clean_start in clean_start(),
        limit in limit(),
        steps in prop::collection::vec(step(), 1..80),
    ) {
        every_operation_completes_once(V5, clean_start, limit, &steps);
    }
}
