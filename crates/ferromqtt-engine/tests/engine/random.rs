//! Random worlds by seed: any operation, cut, refusal and cancellation in any order. Checked are that each token comes back
//! exactly once, that each call that was accepted and not given up has one end, that messages which wait are accepted in
//! order, and that no reader that was woken for a message finds none.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use ferromqtt_engine::{CallEnd, CallId, Goodbye, ReaderId, Submission};
use ferromqtt_proto::{
    CleanStart, Outcome, ProtocolVersion, QoS, QueueId, QueueOptions, ReasonCode, Reconnect,
    ServerProfile,
};
use ferromqtt_testing::BrokerOptions;

use crate::world::{Token, World, call, narrow, publish, unsubscribe};

const WORLDS: u64 = 300;
const STEPS: u32 = 200;

/// xorshift64*, which is random enough for this.
pub(crate) struct Random(u64);

impl Random {
    pub(crate) const fn of_seed(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1)
    }

    pub(crate) fn below(&mut self, end: u64) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 33) % end
    }

    pub(crate) fn chance(&mut self, one_in: u64) -> bool {
        self.below(one_in) == 0
    }
}

struct Play<const RESERVES: bool> {
    world: World<RESERVES>,
    random: Random,
    /// The engine is started again when it has ended.
    restarts: bool,
    /// Calls that have not been given up, by their tokens.
    calls: BTreeMap<u32, CallId>,
    /// Tokens that came back from a method.
    returned: BTreeSet<u32>,
    queues: Vec<QueueId>,
    /// Readers that have not taken a message yet, by their tokens.
    readers: BTreeMap<u32, ReaderId>,
    event_reader: Option<ferromqtt_engine::EventReaderId>,
    /// The tokens that wait to be accepted, in order.
    line: Vec<u32>,
}

impl<const RESERVES: bool> Play<RESERVES> {
    fn new(seed: u64) -> Self {
        let mut random = Random::of_seed(seed);
        let mut options = narrow(1 + usize::try_from(random.below(4)).unwrap());
        options.reconnect = (!random.chance(4)).then(|| Reconnect {
            initial: true,
            ..Reconnect::default()
        });
        if random.chance(3) {
            options.clean_start = CleanStart::Never;
        }
        let restarts = random.chance(2);
        options.profile = random.chance(2).then_some(ServerProfile::Mosquitto20);
        let mut broker = BrokerOptions::default();
        options.fall_back = random.chance(3);
        if options.fall_back && random.chance(2) {
            broker.refused_versions = vec![ProtocolVersion::V5]; // responders end there
        }
        let mut world = World::with_all(options, broker, false, restarts);
        world.run();
        let (queue, token) = world.subscribe("t", QueueOptions::DEFAULT);
        let mut play = Self {
            world,
            random,
            restarts,
            calls: BTreeMap::new(),
            returned: BTreeSet::new(),
            queues: vec![QueueId::DEFAULT, queue],
            readers: BTreeMap::new(),
            event_reader: None,
            line: Vec::new(),
        };
        assert!(token > 0);
        play.world.run();
        play
    }

    fn step(&mut self) {
        match self.random.below(24) {
            0..=5 => self.publish(),
            6 => self.enqueue(),
            7 => self.try_publish(),
            8 | 9 => self.give_up(),
            10 => self.subscribe(),
            11 => self.unsubscribe(),
            12..=14 => self.read(),
            15 => self.stop_reading(),
            16 => self.world.lose(),
            17 => self.world.unreachable = !self.world.unreachable,
            18 => self.world.silent = self.random.chance(2),
            19 => self.world.stuck = self.random.chance(3),
            20 => self.release(),
            21 => self.events(),
            22 if self.random.chance(8) => self.leave(),
            23 if self.restarts && self.world.engine.has_ended() => {
                self.world.engine.start(self.world.now);
            }
            _ => {
                let time = Duration::from_millis(self.random.below(4_000));
                self.world.pass(time);
            }
        }
        if self.random.chance(2) {
            self.world.run();
            self.check();
        }
    }

    fn deadline(&mut self) -> Option<std::time::Instant> {
        let seconds = self.random.below(6);
        (seconds > 2).then(|| self.world.after(seconds)).flatten()
    }

    fn publish(&mut self) {
        let qos = [QoS::AtMostOnce, QoS::AtLeastOnce, QoS::ExactlyOnce]
            [usize::try_from(self.random.below(3)).unwrap()];
        let deadline = self.deadline();
        if let Ok((token, Some(submission))) = self.world.publish(&publish("m", qos), deadline) {
            self.calls.insert(token, call(submission));
        }
    }

    fn enqueue(&mut self) {
        let deadline = self.deadline();
        let outcome = self.world.token();
        let accepted = self.world.token();
        let (number, accepted_number) = (outcome.0, accepted.0);
        let message = publish("m", QoS::AtLeastOnce);
        let mut accepted = Some(accepted);
        let now = self.world.now;
        let enqueued = (self.world.engine).enqueue(now, &message, deadline, outcome, || {
            accepted.take().unwrap()
        });
        if let Some(unused) = accepted {
            self.back(&unused);
        }
        match enqueued {
            Ok(submission) => {
                if matches!(submission, Submission::Waits(_)) {
                    self.line.push(accepted_number);
                }
                self.calls.insert(number, call(submission));
            }
            Err((token, _)) => self.back(&token),
        }
    }

    fn try_publish(&mut self) {
        let token = self.world.token();
        let number = token.0;
        let message = publish("m", QoS::AtLeastOnce);
        let deadline = self.deadline();
        let now = self.world.now;
        match (self.world.engine).try_publish(now, message, deadline, token) {
            Ok(call) => _ = self.calls.insert(number, call),
            Err((token, _)) => self.back(&token),
        }
    }

    fn back(&mut self, token: &Token) {
        self.world.back(token);
        self.returned.insert(token.0);
    }

    /// One of the calls, whether it has ended or not.
    fn any_call(&mut self) -> Option<(u32, CallId)> {
        let count = u64::try_from(self.calls.len()).unwrap();
        let index = self.random.below(count.max(1));
        let index = usize::try_from(index).unwrap();
        self.calls
            .iter()
            .nth(index)
            .map(|(token, call)| (*token, *call))
    }

    fn give_up(&mut self) {
        let Some((number, call)) = self.any_call() else {
            return;
        };
        let given_up = match self.random.chance(2) {
            true => self.world.engine.give_up(call),
            false => self.world.engine.leave_line(call),
        };
        if let Some(given_up) = given_up {
            assert_eq!(given_up.outcome.0, number);
            self.back(&given_up.outcome);
            if let Some(accepted) = given_up.accepted {
                self.line.retain(|it| *it != accepted.0);
                self.back(&accepted);
            }
            self.calls.remove(&number);
        }
    }

    fn subscribe(&mut self) {
        let options = QueueOptions::DEFAULT;
        let queue = match self.random.chance(3) {
            true => self.world.engine.open_request_queue(options),
            false => self.world.engine.open_queue(options),
        };
        self.world.subscribe_for(queue, "t");
        self.queues.push(queue);
        if self.queues.len() > 4 {
            let queue = self.queues.remove(1);
            for (_, reader) in self.readers.clone() {
                if let Some(token) = self.world.engine.stop_waiting(reader) {
                    self.back(&token);
                }
            }
            self.readers.clear();
            let now = self.world.now;
            match self.random.below(3) {
                0 => self.world.engine.detach_queue(now, queue),
                1 => self.world.engine.drop_queue(now, queue),
                _ => _ = self.world.engine.close_queue(queue),
            }
        }
    }

    fn unsubscribe(&mut self) {
        if !self.random.chance(3) {
            return;
        }
        let token = self.world.token();
        let number = token.0;
        let deadline = self.deadline();
        let now = self.world.now;
        match (self.world.engine).unsubscribe(now, unsubscribe("t"), deadline, token) {
            Ok(call) => _ = self.calls.insert(number, call),
            Err((token, _)) => self.back(&token),
        }
    }

    fn read(&mut self) {
        let index = self.random.below(u64::try_from(self.queues.len()).unwrap());
        let queue = self.queues[usize::try_from(index).unwrap()];
        if self.world.engine.take(queue).is_none() && !self.world.engine.is_over(queue) {
            let token = self.world.token();
            let number = token.0;
            let reader = self.world.engine.wait(queue, |_| token);
            self.readers.insert(number, reader);
        }
    }

    fn stop_reading(&mut self) {
        let Some((&number, &reader)) = self.readers.iter().next() else {
            return;
        };
        self.readers.remove(&number);
        if let Some(token) = self.world.engine.stop_waiting(reader) {
            assert_eq!(token.0, number);
            self.back(&token);
        }
    }

    fn release(&mut self) {
        let mut picks = Random(self.random.0);
        let released = (self.world.engine).release_callers(|_| picks.chance(8));
        for token in released {
            self.calls.remove(&token.0);
            self.back(&token);
        }
    }

    fn events(&mut self) {
        let (reader, _, _) = self.world.engine.read_events();
        if let Some(former) = self.event_reader.replace(reader)
            && let Some(token) = self.world.engine.stop_waiting_for_events(former)
        {
            self.back(&token);
        }
        let token = self.world.token();
        assert!(self.world.engine.wait_for_event(reader, token).is_none());
    }

    fn leave(&mut self) {
        let now = self.world.now;
        let until = self.world.after(10);
        match self.random.below(4) {
            0 => self.world.engine.drain(now, until),
            1 => {
                let gone = self
                    .world
                    .engine
                    .leave(now, ReasonCode::Success, until, |_| false);
                assert!(gone.is_empty());
            }
            2 => {
                let reason = ReasonCode::DisconnectWithWill;
                (self.world.engine).disconnect(now, Goodbye::Dropped, reason, until);
            }
            _ => self.world.engine.abandon_driver(),
        }
    }

    fn check(&mut self) {
        let engine = &self.world.engine;
        let held = engine.held_calls().chain(engine.held_readers());
        let held: BTreeSet<_> = held.map(|token| token.0).collect();
        assert_eq!(
            held, self.world.held,
            "the engine holds what it has not given back"
        );
        // Those that were accepted from the line were in its order; those that were not have left it.
        let ended = |token: &u32| self.world.ends.contains_key(token);
        let accepted = |token: &u32| self.world.ends.get(token) == Some(&CallEnd::Accepted);
        let order: Vec<_> = self.world.order.iter().filter(|it| accepted(it)).collect();
        assert!(order.is_sorted(), "accepted out of order: {order:?}");
        self.line.retain(|token| !ended(token));
        // A reader that was woken for a message finds it, until the queue is over.
        for woken in std::mem::take(&mut self.world.readers) {
            let Some(reader) = self.readers.remove(&woken) else {
                continue; // of events
            };
            if self.world.engine.bring_back(reader, Token(woken)).is_none() {
                self.world.held.insert(woken);
            }
            let (message, token) = self.world.take_reserved(reader);
            if let Some(token) = token {
                self.world.back(&token);
            }
            let may_be_none = !RESERVES || self.world.engine.has_ended();
            let queues_end = self
                .queues
                .iter()
                .any(|queue| self.world.engine.is_over(*queue));
            assert!(message.is_some() || may_be_none || queues_end);
        }
    }

    fn end(mut self) {
        self.world.silent = false;
        self.world.stuck = false;
        self.world.unreachable = false;
        self.world.run();
        self.check();
        if self.random.chance(2) {
            let now = self.world.now;
            self.world.engine.drain(now, self.world.after(60));
            self.world.pass(Duration::from_secs(120));
            self.check();
            assert!(self.world.engine.has_ended());
            assert!(!self.world.engine.has_calls());
        }
        self.world.engine.abandon_driver();
        self.world.take_woken();
        for token in self.calls.keys() {
            let end = self.world.ends.get(token);
            let end = end.unwrap_or_else(|| panic!("the call of {token} has no end"));
            let lasting = !matches!(end, CallEnd::Accepted | CallEnd::ReAuthenticated(_));
            assert!(lasting, "{end:?}");
        }
        for token in &self.returned {
            assert!(!self.world.ends.contains_key(token), "{token} has two ends");
        }
        self.world.end();
    }
}

fn play<const RESERVES: bool>(seed: u64) -> usize {
    let mut play = Play::<RESERVES>::new(seed);
    for _ in 0..STEPS {
        play.step();
    }
    play.world.run();
    let acknowledged =
        |end: &&CallEnd| matches!(end, CallEnd::Completed(Outcome::Acknowledged { .. }));
    let count = play.world.ends.values().filter(acknowledged).count();
    play.end();
    count
}

/// `FERROMQTT_SEED=7` plays that seed alone.
#[test]
fn each_token_comes_back_exactly_once_and_each_call_has_one_end() {
    play_all(WORLDS, |seed| play::<false>(seed) + play::<true>(seed));
}

/// Plays the worlds of so many seeds (`FERROMQTT_WORLDS=5000` plays more), or one alone. Each returns how many messages were
/// acknowledged.
pub(crate) fn play_all(worlds: u64, play: impl Fn(u64) -> usize) {
    let alone = std::env::var("FERROMQTT_SEED").ok();
    let alone = alone.map(|seed| seed.parse::<u64>().expect("FERROMQTT_SEED is a number"));
    let more = std::env::var("FERROMQTT_WORLDS").ok();
    let worlds = more.map_or(worlds, |more| {
        more.parse().expect("FERROMQTT_WORLDS is a number")
    });
    let seeds = alone.map_or(0..worlds, |seed| seed..seed + 1);
    let mut acknowledged = 0;
    for seed in seeds {
        let played = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| play(seed)));
        match played {
            Ok(count) => acknowledged += count,
            Err(_) => panic!(
                "seed {seed}: play it again by FERROMQTT_SEED={seed} cargo test -p ferromqtt-engine --test engine random"
            ),
        }
    }
    assert!(
        acknowledged > 100 || alone.is_some(),
        "{acknowledged}: the worlds are too harsh"
    );
}
