//! Random floods, slow readers, operations and time, with queues that make the server wait: every message is accounted for,
//! in order, and none is lost unless something waits for an answer or a queue is forgotten.

use std::collections::VecDeque;
use std::time::Duration;

use ferromqtt_proto::packet::{Ack, Packet};
use ferromqtt_proto::{Options, Overflow, PacketId, QoS, QueueId};
use proptest::prelude::*;

use crate::support::*;

/// Steps that each test plays at least.
const STEPS: u64 = 100_000;

/// Messages for either queue, for both, and for none.
const TOPICS: [&str; 4] = ["one", "two", "both", "stray"];

#[derive(Clone, Debug)]
enum Step {
    /// The server sends so many messages: in one piece, or each in one of its own.
    Send {
        topic: usize,
        qos: u8,
        count: usize,
        at_once: bool,
    },
    /// A reader takes so many messages, if there are as many.
    Take { queue: usize, count: usize },
    /// An operation that waits for its answer.
    Publish,
    /// The server answers the oldest one.
    Answer,
    /// Milliseconds.
    Advance(u64),
}

fn send() -> impl Strategy<Value = Step> {
    (0_usize..4, 0_u8..3, 1_usize..12, any::<bool>()).prop_map(|(topic, qos, count, at_once)| {
        Step::Send {
            topic,
            qos,
            count,
            at_once,
        }
    })
}

fn take() -> impl Strategy<Value = Step> {
    (0_usize..2, 1_usize..12).prop_map(|(queue, count)| Step::Take { queue, count })
}

/// Any, or only those that lose nothing: each reader asks at least every 4 s, and no operation waits.
fn steps(all: bool) -> BoxedStrategy<Vec<Step>> {
    let step = match all {
        true => prop_oneof![
            6 => send(),
            6 => take(),
            1 => Just(Step::Publish),
            1 => Just(Step::Answer),
            2 => (0_u64..9_000).prop_map(Step::Advance),
        ]
        .boxed(),
        false => prop_oneof![
            6 => send(),
            6 => take(),
            2 => (0_u64..4_000).prop_map(Step::Advance),
        ]
        .boxed(),
    };
    prop::collection::vec(step, 1..120).boxed()
}

struct World {
    pair: Pair,
    queues: [QueueId; 2],
    limits: [usize; 2],
    /// Each reader asks whenever time passes.
    readers_are_there: bool,
    /// What each queue is to get, in order, and at which QoS.
    owed: [VecDeque<(usize, QoS)>; 2],
    /// How many of those have not come, since later ones have.
    missing: [usize; 2],
    last: usize,
    unanswered: VecDeque<PacketId>,
    next_id: u16,
    /// Operations that wait for their answer.
    pending: usize,
}

impl World {
    fn new(options: Options, limits: [usize; 2], readers_are_there: bool) -> Self {
        let mut pair = Pair::connected(options);
        let one = pair.queue(&["one", "both"], limited(limits[0], Overflow::Wait));
        let two = pair.queue(&["two", "both"], limited(limits[1], Overflow::Wait));
        Self {
            pair,
            queues: [one, two],
            limits,
            readers_are_there,
            owed: [VecDeque::new(), VecDeque::new()],
            missing: [0; 2],
            last: 0,
            unanswered: VecDeque::new(),
            next_id: 0,
            pending: 0,
        }
    }

    fn play(&mut self, step: &Step) {
        match *step {
            Step::Send {
                topic,
                qos,
                count,
                at_once,
            } => self.send(topic, QoS::from_value(qos).unwrap(), count, at_once),
            Step::Take { queue, count } => self.take(queue, count),
            Step::Publish => {
                self.pair.publish("t", "x", AtLeastOnce);
                self.pending += 1;
            }
            Step::Answer => {
                if let Some(id) = self.unanswered.pop_front() {
                    self.pair.server_sends(Packet::PubAck(Ack::success(id)));
                }
            }
            Step::Advance(milliseconds) => self.advance(milliseconds),
        }
        self.settle();
    }

    fn send(&mut self, topic: usize, qos: QoS, count: usize, at_once: bool) {
        let mut packets = Vec::new();
        for _ in 0..count {
            self.last += 1;
            for queue in 0..2 {
                if topic == queue || topic == 2 {
                    self.owed[queue].push_back((self.last, qos));
                }
            }
            let mut id = 0;
            if qos != AtMostOnce {
                self.next_id = self.next_id % 60_000 + 1;
                id = self.next_id;
            }
            packets.push(Packet::Publish(message(
                TOPICS[topic],
                &self.last.to_string(),
                qos,
                id,
            )));
        }
        if at_once {
            let bytes = in_one_read(self.pair.client.options().protocol, packets);
            self.pair.server_sends_bytes(&bytes);
        } else {
            for packet in packets {
                self.pair.server_sends(packet);
            }
        }
    }

    /// Takes messages: each is the next that is owed, or a later one when those in between are lost.
    fn take(&mut self, queue: usize, count: usize) {
        for _ in 0..count {
            let message = self.pair.client.next_message(self.queues[queue]);
            self.pair.pump();
            let Some(message) = message else {
                return;
            };
            let text = std::str::from_utf8(&message.payload).unwrap();
            let number: usize = text.parse().unwrap();
            loop {
                match self.owed[queue].pop_front() {
                    Some((owed, _)) if owed == number => break,
                    Some((_, AtMostOnce)) => self.missing[queue] += 1,
                    other => panic!("{number} comes, and {other:?} is owed"),
                }
            }
        }
    }

    fn advance(&mut self, milliseconds: u64) {
        let mut left = milliseconds;
        while left > 0 {
            let step = left.min(400); // the server answers within half a Keep Alive of 1 s
            left -= step;
            self.pair.advance(Duration::from_millis(step));
            self.settle();
        }
        if self.readers_are_there {
            self.take(0, 1);
            self.take(1, 1);
        }
    }

    /// The server reads and answers PINGREQ; nothing grows beyond its bounds.
    fn settle(&mut self) {
        self.pair.pump();
        for packet in self.pair.packets() {
            match packet {
                Packet::PingReq => self.pair.server_sends_bytes(b"\xd0\x00"),
                Packet::Publish(publish) => self.unanswered.extend(publish.packet_id),
                Packet::PubRec(ack) => self.pair.server_sends(pubrel(ack.packet_id.get())),
                Packet::PubAck(_) | Packet::PubComp(_) => {}
                other => panic!("{other:?}"),
            }
        }
        assert!(self.pair.client.is_connected());
        for queue in 0..2 {
            let withheld = self.owed[queue]
                .iter()
                .filter(|(_, qos)| *qos != AtMostOnce);
            let most = 2 * self.limits[queue].max(1) + withheld.count();
            assert!(self.pair.client.queue_len(self.queues[queue]) <= most);
        }
        self.pending -= self.pair.outcomes().len();
        if self.pending > 0 {
            let (unread, paused) = (self.pair.unread(), self.pair.client.input_paused());
            assert_eq!((unread, paused), (0, false), "its answer may be there");
        }
        self.pair.messages(); // the strays
    }

    fn finish(&mut self) -> [u64; 2] {
        for _ in 0..self.last + 10 {
            while !self.unanswered.is_empty() {
                self.play(&Step::Answer);
            }
            self.take(0, 1);
            self.take(1, 1);
            self.settle();
        }
        assert_eq!(
            (self.pair.unread(), self.pair.client.input_paused()),
            (0, false)
        );
        let lost = [0, 1].map(|queue| {
            let left = std::mem::take(&mut self.owed[queue]);
            let all_at_qos_0 = left.iter().all(|(_, qos)| *qos == AtMostOnce);
            assert!(all_at_qos_0, "{left:?} is owed");
            let lost = self.pair.client.take_lost(self.queues[queue]);
            assert_eq!(lost, (self.missing[queue] + left.len()) as u64);
            lost
        });
        assert_eq!(self.pair.client.stats().lost, lost[0] + lost[1]);
        lost
    }
}

fn play(all: bool, name: &str) {
    let settings = (any::<bool>(), 0_usize..4, 1_usize..9, 0_u16..15);
    play_seeds(name, STEPS, &(settings, steps(all)), |(setting, steps)| {
        let (newer, one, two, keep_alive) = setting;
        let mut options = options(if newer { V5 } else { V311 });
        options.keep_alive = keep_alive;
        options.outgoing = ferromqtt_proto::OutgoingLimits::NONE;
        let mut world = World::new(options, [one, two], !all);
        for step in &steps {
            world.play(step);
        }
        let lost = world.finish();
        assert!(all || lost == [0; 2], "{lost:?} are lost");
        steps.len() as u64
    });
}

#[test]
fn every_message_comes_in_order_or_is_counted_as_lost() {
    play(true, "every_message_comes_in_order_or_is_counted_as_lost");
}

#[test]
fn readers_that_are_there_and_wait_for_no_answer_lose_nothing() {
    play(
        false,
        "readers_that_are_there_and_wait_for_no_answer_lose_nothing",
    );
}
