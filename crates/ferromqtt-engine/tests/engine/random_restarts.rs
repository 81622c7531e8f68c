//! Random worlds of processes that end at any moment, and begin again with what is on record, in two stores that lag, fail and
//! come back. Checked are that
//!
//! - what was accepted, on record, and has not ended is found again, and ends once, and so is all that was told as stored;
//! - a message of QoS 2 never comes twice to the server while its session lives; one that was acknowledged comes at least once, one
//!   that has expired, or was dropped, replaced or not stored, never;
//! - a store that stalls or has failed ends no connection;
//! - messages of one QoS come in the order of their keys;
//! - the core never has more messages of the queue than it may;
//! - and each token comes back once, as long as its process lives.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use ferromqtt_engine::{CallEnd, MessageTerms, OutgoingQueueOptions, QueueSubmission};
use ferromqtt_proto::{
    CleanStart, Delivery, Direction, Outcome, OutgoingLimits, OutgoingPolicy, Publish, QoS,
    ReasonCode, Reconnect,
};
use ferromqtt_testing::BrokerOptions;

use crate::observer::Observer;
use crate::random::{Random, play_all};
use crate::store::DIRECTIONS;
use crate::world::{World, narrow, publish};

const WORLDS: u64 = 300;
const STEPS: u32 = 150;

struct Queued {
    payload: String,
    qos: QoS,
}

struct RestartPlay {
    world: World<true>,
    random: Random,
    observer: Observer,
    ahead: usize,
    restarts: bool,
    /// All that were accepted, by their keys.
    queued: BTreeMap<u64, Queued>,
    /// Those that have ended, and how, as far as this or an earlier process was told.
    ended: BTreeMap<u64, Outcome>,
    /// Those of them that a store which does not lag has had since.
    on_record: BTreeSet<u64>,
    ended_on_record: BTreeSet<u64>,
    /// Messages of QoS 1 that an earlier process had sent, which is not on record: to the next they were never on the wire.
    left_early: BTreeSet<u64>,
    /// Which messages the tokens of this process wait for.
    tokens: BTreeMap<u32, u64>,
    /// Those that wait for capacity, with the tokens that wait for their outcomes, by those that wait for their acceptance.
    waiting: BTreeMap<u32, (Queued, u32)>,
    /// How many messages there were.
    messages: u32,
    /// Payloads in the order in which they came to the server.
    observed: Vec<String>,
    /// How many sessions the server has forgotten, and which messages came in the present one.
    sessions: usize,
    /// A process has ended without a word.
    has_crashed: bool,
    /// The connection is being drained or left.
    has_left: bool,
    of_session: BTreeSet<String>,
    /// Which messages' tokens wait until these are stored, and the messages whose tokens did.
    storing: BTreeMap<u32, u64>,
    stored: BTreeSet<u64>,
}

impl RestartPlay {
    fn new(seed: u64) -> Self {
        let mut random = Random::of_seed(seed);
        let number = |random: &mut Random, end| usize::try_from(1 + random.below(end)).unwrap();
        let mut options = narrow(number(&mut random, 4));
        options.max_in_flight = u16::try_from(number(&mut random, 4))
            .unwrap()
            .try_into()
            .ok();
        options.clean_start = CleanStart::Never;
        options.properties.session_expiry_interval = Some(u32::MAX);
        options.journal = true;
        options.reconnect = (!random.chance(4)).then(|| Reconnect {
            initial: true,
            ..Reconnect::default()
        });
        let restarts = random.chance(2);
        let mut world = World::with_all(options, BrokerOptions::default(), false, restarts);
        let ahead = number(&mut random, 5);
        let limits = |messages| OutgoingLimits {
            messages: Some(messages),
            bytes: None,
        };
        world.store.queue = OutgoingQueueOptions {
            limits: limits(number(&mut random, 20)),
            ahead: limits(ahead),
            window: match random.chance(3) {
                true => OutgoingLimits::NONE,
                false => limits(number(&mut random, 4)),
            },
            policy: [
                OutgoingPolicy::Refuse,
                OutgoingPolicy::Wait,
                OutgoingPolicy::DropOldest,
                OutgoingPolicy::DropNewest,
            ][number(&mut random, 4) - 1],
            ..OutgoingQueueOptions::default()
        };
        let bounds = world.store.queue;
        world.engine.open_outgoing_queue(bounds, []);
        let observer = Observer::new(&mut world.broker, world.now, "queued");
        Self {
            world,
            random,
            observer,
            ahead,
            restarts,
            queued: BTreeMap::new(),
            ended: BTreeMap::new(),
            on_record: BTreeSet::new(),
            ended_on_record: BTreeSet::new(),
            left_early: BTreeSet::new(),
            tokens: BTreeMap::new(),
            waiting: BTreeMap::new(),
            messages: 0,
            observed: Vec::new(),
            sessions: 0,
            has_crashed: false,
            has_left: false,
            of_session: BTreeSet::new(),
            storing: BTreeMap::new(),
            stored: BTreeSet::new(),
        }
    }

    fn step(&mut self) {
        match self.random.below(28) {
            0..=8 => self.queue(),
            9 => self.publish(),
            10 => self.release(),
            11 | 12 => self.world.lose(),
            13 => self.world.unreachable = !self.world.unreachable,
            14 => self.world.silent = self.random.chance(2),
            15 => self.world.stuck = self.random.chance(3),
            16 => {
                let direction = self.direction();
                self.world.store.row_mut(direction).lags = self.random.chance(2);
            }
            21 => self.store_fails_or_comes_back(),
            22 if self.random.chance(3) => self.stall(),
            23 => self.await_stored(),
            24 if self.random.chance(4) => self.server_forgets(),
            17 | 18 => self.begin_again(),
            19 if self.random.chance(6) => self.leave(),
            20 if self.world.engine.has_ended() => match self.restarts {
                true => {
                    self.has_left = false;
                    self.world.engine.start(self.world.now);
                }
                false => self.begin_again(),
            },
            _ => {
                let time = Duration::from_millis(self.random.below(4_000));
                self.world.pass(time);
            }
        }
        self.world.engine.settle(self.world.now); // as every face does, before a store has what came of it
        if self.random.chance(2) {
            self.world.run();
        }
        self.check();
    }

    fn queue(&mut self) {
        let qos = [QoS::AtMostOnce, QoS::AtLeastOnce, QoS::ExactlyOnce]
            [usize::try_from(self.random.below(3)).unwrap()];
        self.messages += 1;
        let payload = format!("{}", self.messages);
        let mut message = Publish::new("queued".try_into().unwrap(), payload.clone());
        message.qos = qos;
        let terms = MessageTerms {
            expires_in: (self.random.chance(4))
                .then(|| Duration::from_millis(self.random.below(5_000))),
            keep_latest: self.random.chance(4),
        };
        let seconds = self.random.below(5);
        let deadline = (self.random.chance(2)).then(|| self.world.after(seconds));
        let queued = Queued { payload, qos };
        match (self.world).queue_or_wait(message, terms, deadline.flatten()) {
            Ok((token, None, QueueSubmission::Accepted(key))) => self.accept(key, queued, token),
            Ok((token, Some(accepted), QueueSubmission::Waits(_))) => {
                self.waiting.insert(accepted, (queued, token));
            }
            Ok(other) => panic!("{other:?}"),
            Err(_) => {}
        }
    }

    fn direction(&mut self) -> Direction {
        match self.random.chance(2) {
            true => Direction::Sent,
            false => Direction::Received,
        }
    }

    fn store_fails_or_comes_back(&mut self) {
        let direction = self.direction();
        if self.world.store.row(direction).has_failed {
            self.world.mend_store(direction);
        } else if self.random.chance(3) {
            let was_connected = self.world.engine.is_connected();
            self.world.fail_store(direction);
            assert_eq!(self.world.engine.is_connected(), was_connected);
        }
    }

    /// Neither store writes for longer than the server waits for a sign of life.
    fn stall(&mut self) {
        if self.world.silent || self.world.stuck || !self.world.engine.is_connected() {
            return;
        }
        self.world.run();
        let lags =
            DIRECTIONS.map(|row| std::mem::replace(&mut self.world.store.row_mut(row).lags, true));
        let was_connected =
            self.world.engine.is_connected() && !self.world.engine.core().is_leaving();
        for _ in 0..30 {
            self.world.pass(Duration::from_secs(10));
        }
        assert!(
            !was_connected || self.has_left || self.world.engine.is_connected(),
            "a stalled store has ended the connection"
        );
        for (row, lags) in DIRECTIONS.into_iter().zip(lags) {
            self.world.store.row_mut(row).lags = lags;
        }
    }

    /// Somebody wants to know when a message is stored.
    fn await_stored(&mut self) {
        let key = self.queued.keys().next_back().copied();
        if let Some(key) = key {
            let token = self.world.token();
            self.storing.insert(token.0, key);
            self.world.engine.await_stored(key, token);
        }
    }

    /// The server loses the session.
    fn server_forgets(&mut self) {
        self.observe();
        let now = self.world.now;
        if self.world.broker.forget_session(now, "engine") {
            self.sessions += 1;
            self.of_session.clear();
        }
    }

    fn accept(&mut self, key: u64, queued: Queued, token: u32) {
        let last = self.queued.last_key_value().map(|(last, _)| *last);
        assert!(Some(key) > last, "{key} does not follow {last:?}");
        self.queued.insert(key, queued);
        self.tokens.insert(token, key);
    }

    /// Others publish past the queue.
    fn publish(&mut self) {
        let _ = self
            .world
            .publish(&publish("other", QoS::ExactlyOnce), None);
    }

    fn release(&mut self) {
        let Some((&token, &key)) = self.tokens.iter().next() else {
            return;
        };
        if let Some(released) = self.world.engine.release_queued(key) {
            assert_eq!(released.0, token);
            self.world.back(&released);
            self.tokens.remove(&token);
        }
    }

    fn leave(&mut self) {
        self.has_left = true;
        let (now, until) = (self.world.now, self.world.after(3));
        match self.random.chance(2) {
            true => self.world.engine.drain(now, until),
            false => {
                let gone = (self.world.engine).leave(now, ReasonCode::Success, until, |_| false);
                assert!(gone.is_empty());
            }
        }
    }

    fn begin_again(&mut self) {
        if self.random.chance(2) {
            self.world.serve(); // and nobody has asked what came of it
        }
        if self.random.chance(4) {
            self.world.restart();
            self.check();
        } else {
            self.observe();
            for (key, message) in &self.queued {
                if self.observed.contains(&message.payload) && !self.world.store.has_sent(*key) {
                    self.left_early.insert(*key);
                }
            }
            self.has_crashed = true;
            self.world.crash();
            // What was not on record yet was never accepted, or may end again.
            let store = &self.world.store;
            let accepted = store.accepted();
            let ended = |key: &u64| self.ended.contains_key(key);
            let found = self
                .stored
                .iter()
                .all(|key| accepted.contains(key) || ended(key));
            assert!(found, "what was told as stored is lost");
            self.queued.retain(|key, _| accepted.contains(key));
            self.ended.retain(|key, _| store.is_finished(*key));
            self.stored.retain(|key| accepted.contains(key));
            let lost: Vec<_> = self.on_record.difference(accepted).collect();
            assert!(lost.is_empty(), "what was on record is lost: {lost:?}");
            let ended = (self.ended_on_record.iter()).all(|key| self.ended.contains_key(key));
            assert!(ended, "what has ended on record comes back");
        }
        self.tokens.clear();
        self.waiting.clear();
        self.storing.clear();
        self.has_left = false;
    }

    fn end(&mut self, key: u64, outcome: Outcome) {
        if !self.queued.contains_key(&key) {
            return; // published past the queue, by an earlier process
        }
        let before = self.ended.insert(key, outcome);
        assert_eq!(before, None, "{key} ends twice");
    }

    fn check(&mut self) {
        self.world.take_woken();
        let ends = std::mem::take(&mut self.world.ends);
        for (token, end) in &ends {
            if let Some((queued, outcome)) = self.waiting.remove(token) {
                match end {
                    CallEnd::Queued { key } => self.accept(*key, queued, outcome),
                    CallEnd::Refused(_) | CallEnd::TimedOut(_) => {}
                    other => panic!("{token} was to be accepted, and ends as {other:?}"),
                }
            }
        }
        let mut ends: Vec<_> = ends.into_iter().collect();
        // What has ended needs no store: so outcomes first.
        ends.sort_by_key(|(token, _)| self.storing.contains_key(token));
        for (token, end) in ends {
            if let Some(key) = self.storing.remove(&token) {
                self.told_stored(key, &end);
                continue;
            }
            let Some(key) = self.tokens.remove(&token) else {
                continue;
            };
            match end {
                CallEnd::Completed(outcome) => self.end(key, outcome),
                // The second when the driver goes before the acceptance is on record, or while it is being recorded again.
                CallEnd::Kept { key: of } | CallEnd::NotStored { key: of } => assert_eq!(of, key),
                other => panic!("{key} ends as {other:?}"),
            }
        }
        for (key, outcome) in self.world.ended() {
            self.end(key, outcome);
        }
        let sent = self.world.store.row(Direction::Sent);
        if !sent.lags && !sent.has_failed {
            // What was accepted while the store had failed, or ended before it was back, need never be there.
            let accepted = self.world.store.accepted();
            let lasts = |key: &&u64| accepted.contains(key) || !self.ended.contains_key(key);
            self.on_record.extend(self.queued.keys().filter(lasts));
            self.ended_on_record.extend(self.ended.keys().filter(lasts));
        }
        self.observe();
        let in_core = self.world.engine.core().recorded();
        let in_core = in_core
            .filter(|(key, _)| self.queued.contains_key(key))
            .count();
        assert!(in_core <= self.ahead, "{in_core} of {}", self.ahead);
        let held = self.world.engine.held_calls();
        let held: BTreeSet<_> = held.map(|token| token.0).collect();
        assert_eq!(held, self.world.held, "the tokens that the engine holds");
    }

    /// Looks at what has come to the server.
    fn observe(&mut self) {
        let now = self.world.now;
        let observed = self.observer.observe(&mut self.world.broker, now);
        for payload in &observed {
            let is_first = self.of_session.insert(payload.clone());
            let mut of_qos_2 = (self.queued.values()).filter(|it| it.qos == QoS::ExactlyOnce);
            let is_qos_2 = of_qos_2.any(|it| it.payload == *payload);
            assert!(
                is_first || !is_qos_2,
                "{payload} comes twice in one session"
            );
        }
        self.observed.extend(observed);
    }

    fn told_stored(&mut self, key: u64, end: &CallEnd) {
        match end {
            CallEnd::Stored { key: stored } => {
                assert_eq!(*stored, key);
                let is_true = self.world.store.accepted().contains(&key)
                    || self.ended.contains_key(&key)
                    || !self.tokens.values().any(|it| *it == key);
                assert!(is_true, "{key} is not stored");
                self.stored.insert(key);
            }
            CallEnd::NotStored { key: not_stored } => assert_eq!(*not_stored, key),
            other => panic!("{key} was to be stored, and ends as {other:?}"),
        }
    }

    fn finish(mut self) -> usize {
        self.world.silent = false;
        self.world.stuck = false;
        self.world.unreachable = false;
        self.world.store.keep_up();
        for direction in DIRECTIONS {
            if self.world.store.row(direction).has_failed {
                self.world.mend_store(direction);
            }
        }
        for _ in 0..20 {
            self.world.pass(Duration::from_secs(120));
            self.check();
            if self.world.engine.queued().0 == 0 {
                break;
            }
            if self.world.engine.has_ended() {
                self.begin_again();
            }
        }
        let count = |payload: &String| self.observed.iter().filter(|it| *it == payload).count();
        for (key, message) in &self.queued {
            let outcome = self.ended.get(key);
            let outcome = outcome.unwrap_or_else(|| panic!("{key} has no end"));
            let times = count(&message.payload);
            let is_right = match (outcome, message.qos) {
                (Outcome::Sent, QoS::AtMostOnce) => times <= 1,
                (Outcome::Acknowledged { .. }, QoS::AtLeastOnce) => times >= 1,
                (Outcome::Acknowledged { .. }, QoS::ExactlyOnce) => {
                    times >= 1 && times <= 1 + self.sessions
                }
                // A process that died behind its CONNECT leaves it open whether the session is the same one.
                (Outcome::Uncertain, QoS::ExactlyOnce) => {
                    times <= 1 + self.sessions && (self.sessions > 0 || self.has_crashed)
                }
                // It was on the wire of a session that was lost.
                (Outcome::SessionLost, QoS::AtLeastOnce) => self.sessions > 0,
                (
                    Outcome::NotStored {
                        delivery: Delivery::NotSent,
                    },
                    qos,
                ) => times == 0 && qos != QoS::AtLeastOnce,
                // It was sent in a session that was lost, and the store failed before it could be sent again.
                (
                    Outcome::NotStored {
                        delivery: Delivery::Unknown,
                    },
                    QoS::ExactlyOnce,
                ) => self.sessions > 0 && times <= self.sessions,
                (Outcome::Expired | Outcome::Dropped | Outcome::Replaced, qos) => {
                    times == 0 || qos == QoS::AtLeastOnce && self.left_early.contains(key)
                }
                _ => false,
            };
            assert!(
                is_right,
                "{key} came {times} times, and ended as {outcome:?}"
            );
        }
        // What was sent in a lost session, or is sent again by a process that does not know it was, comes out of order.
        let in_order = self.sessions == 0 && self.left_early.is_empty();
        for qos in [QoS::AtLeastOnce, QoS::ExactlyOnce]
            .into_iter()
            .filter(|_| in_order)
        {
            let of_qos = self.queued.values().filter(|it| it.qos == qos);
            let in_order: Vec<_> = (of_qos.map(|it| &it.payload))
                .filter(|payload| count(payload) > 0)
                .collect();
            let mut seen = BTreeSet::new();
            let first_times = self.observed.iter().filter(|payload| seen.insert(*payload));
            let came: Vec<_> = first_times.filter(|it| in_order.contains(it)).collect();
            assert_eq!(came, in_order, "the order at {qos:?}");
        }
        let acknowledged = |it: &&Outcome| matches!(it, Outcome::Acknowledged { .. });
        let acknowledged = self.ended.values().filter(acknowledged).count();
        assert!(self.observed.len() >= acknowledged);
        self.world.end();
        acknowledged
    }
}

/// `FERROMQTT_SEED=7` plays that seed alone.
#[test]
fn what_was_accepted_ends_once_however_often_the_process_ends() {
    play_all(WORLDS, |seed| {
        let mut play = RestartPlay::new(seed);
        for _ in 0..STEPS {
            play.step();
        }
        play.finish()
    });
}
