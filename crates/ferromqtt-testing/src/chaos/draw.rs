//! From a seed to a script.

use std::time::Duration;

use ferromqtt_proto::packet::{PacketType, QoS};

use super::script::{BrokerVerb, EventTime, FaultScript, ScriptEntry};
use crate::faults::FaultRule;
use crate::journal::BrokerSide;
use crate::random::Random;
use crate::wire::RestartKeeps;

/// How many packets are looked at, unless [`Faults::packets`] says something else.
const PACKETS: u32 = 200;

/// How many entries a script has at most. Those that come first are kept.
const MOST_ENTRIES: usize = 100;

/// CONNECT and CONNACK.
pub(super) const HANDSHAKE: u32 = 2;

/// The packets in each direction that are spared by faults of packets of any type.
pub(super) const SPARED: u32 = HANDSHAKE / 2;

/// The longest delay, and the longest time without the broker.
const LONGEST: Duration = Duration::from_secs(5);

/// Which faults a seed draws, and how often.
///
/// A probability is that of a fault at each packet of its kind, among the first [`packets`](Self::packets). A script holds at
/// most 100 entries; those for later packets are left out.
///
/// The first connection comes about: the first packet in each direction is spared by cuts, and restarts and partitions come
/// behind both. Further clients of the test may be cut off before they are connected; let them try again
/// (`Reconnect::initial` of the crate `ferromqtt`).
///
/// Every fault is one that a network or a right broker can come to, so that MQTT's promises hold under all of them: the
/// answer is lost together with its connection, never alone, and a repeated packet follows the first at once.
///
/// ```
/// use ferromqtt_testing::Faults;
///
/// let faults = Faults::cuts(0.02).lost_acks(0.02).restarts(1);
/// assert_eq!(faults.draw(7), faults.draw(7));
/// assert_ne!(faults.draw(7), faults.draw(8));
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct Faults {
    cuts: f64,
    lost_acks: f64,
    duplicates: f64,
    delays: f64,
    restarts: u32,
    partitions: u32,
    packets: u32,
}

impl Default for Faults {
    fn default() -> Self {
        Self {
            cuts: 0.0,
            lost_acks: 0.0,
            duplicates: 0.0,
            delays: 0.0,
            restarts: 0,
            partitions: 0,
            packets: PACKETS,
        }
    }
}

impl Faults {
    /// No faults, to begin with one that is not a cut.
    pub fn none() -> Self {
        Self::default()
    }

    /// Cuts: a link ends before, behind or inside of a packet of any type, in order or with a reset.
    ///
    /// # Panics
    /// When `probability` is not from 0 to 1. So do the words below.
    #[track_caller]
    pub fn cuts(probability: f64) -> Self {
        Self {
            cuts: checked(probability),
            ..Self::default()
        }
    }

    /// Lost acknowledgements: PUBACK, PUBREC, PUBREL, PUBCOMP, SUBACK or UNSUBACK is lost, and its link ends.
    #[must_use]
    #[track_caller]
    pub fn lost_acks(mut self, probability: f64) -> Self {
        self.lost_acks = checked(probability);
        self
    }

    /// Duplicates: PUBACK, PUBREC, PUBREL or PUBCOMP comes twice, or PUBLISH of QoS 1 or 2, with DUP then.
    #[must_use]
    #[track_caller]
    pub fn duplicates(mut self, probability: f64) -> Self {
        self.duplicates = checked(probability);
        self
    }

    /// Delays: a packet of any type arrives up to 5 s later, and those of its type behind it.
    #[must_use]
    #[track_caller]
    pub fn delays(mut self, probability: f64) -> Self {
        self.delays = checked(probability);
        self
    }

    /// So many restarts of the broker, each for up to 5 s. One half keep the sessions and retained messages, the other half
    /// keep nothing. Each comes at one of the first [`packets`](Self::packets), rather soon than late.
    #[must_use]
    pub const fn restarts(mut self, count: u32) -> Self {
        self.restarts = count;
        self
    }

    /// So many times in which nothing reaches the broker, each for up to 5 s. New connections hang or are refused.
    #[must_use]
    pub const fn partitions(mut self, count: u32) -> Self {
        self.partitions = count;
        self
    }

    /// Looks at the first `count` packets of each kind. Default: 200. A program that exchanges more is left in peace after
    /// that, so that it comes to its end.
    #[must_use]
    pub const fn packets(mut self, count: u32) -> Self {
        self.packets = count;
        self
    }

    /// The script of a seed: always the same one. Its rules are optional, since the program may end before their turn.
    pub fn draw(&self, seed: u64) -> FaultScript {
        // One stream of numbers for each kind of fault: what another kind draws does not change it.
        let stream = |kind: u64| Random::new(Random::new(seed).next() ^ Random::new(kind).next());
        let mut drawn = Drawn::default();
        drawn.cuts(self.cuts, self.packets, stream(0));
        drawn.acks(self.lost_acks, self.packets, stream(1), &LOST, |rule, _| {
            rule.lose().cut()
        });
        let twice = |rule: FaultRule, from: &mut Random| match rule.place.kind {
            Some(PacketType::Publish) => rule.qos(from.lasting_qos()).duplicate(),
            _ => rule.duplicate(),
        };
        drawn.acks(self.duplicates, self.packets, stream(2), &REPEATED, twice);
        drawn.acks(
            self.delays,
            self.packets,
            stream(3),
            &DELAYED,
            |it, from| it.delay(from.pause()),
        );
        drawn.restarts(self.restarts, self.packets, stream(4));
        drawn.partitions(self.partitions, self.packets, stream(5));
        drawn.into_script()
    }
}

#[track_caller]
fn checked(probability: f64) -> f64 {
    assert!(
        (0.0..=1.0).contains(&probability),
        "a probability of faults must be from 0 to 1, not {probability}"
    );
    probability
}

const LOST: [(BrokerSide, PacketType); 10] = {
    use BrokerSide::{Receives, Sends};
    use PacketType::{PubAck, PubComp, PubRec, PubRel, SubAck, UnsubAck};
    [
        (Sends, PubAck),
        (Sends, PubRec),
        (Sends, PubRel),
        (Sends, PubComp),
        (Sends, SubAck),
        (Sends, UnsubAck),
        (Receives, PubAck),
        (Receives, PubRec),
        (Receives, PubRel),
        (Receives, PubComp),
    ]
};

/// PUBLISH is one of QoS 1, or one of QoS 2.
const REPEATED: [(BrokerSide, PacketType); 10] = {
    use BrokerSide::{Receives, Sends};
    use PacketType::{PubAck, PubComp, PubRec, PubRel, Publish};
    [
        (Sends, Publish),
        (Sends, PubAck),
        (Sends, PubRec),
        (Sends, PubRel),
        (Sends, PubComp),
        (Receives, Publish),
        (Receives, PubAck),
        (Receives, PubRec),
        (Receives, PubRel),
        (Receives, PubComp),
    ]
};

const DELAYED: [(BrokerSide, PacketType); 15] = {
    use BrokerSide::{Receives, Sends};
    use PacketType::{
        ConnAck, Connect, PubAck, PubComp, PubRec, PubRel, Publish, SubAck, Subscribe,
    };
    [
        (Sends, ConnAck),
        (Sends, Publish),
        (Sends, PubAck),
        (Sends, PubRec),
        (Sends, PubRel),
        (Sends, PubComp),
        (Sends, SubAck),
        (Receives, Connect),
        (Receives, Publish),
        (Receives, PubAck),
        (Receives, PubRec),
        (Receives, PubRel),
        (Receives, PubComp),
        (Receives, Subscribe),
        (Sends, PacketType::PingResp),
    ]
};

/// What is drawn so far, each with the packet that it is for.
#[derive(Default)]
struct Drawn(Vec<(u32, ScriptEntry)>);

impl Drawn {
    fn cuts(&mut self, probability: f64, packets: u32, mut from: Random) {
        for side in [BrokerSide::Receives, BrokerSide::Sends] {
            for nth in from
                .places(probability, packets)
                .into_iter()
                .filter(|&it| it > SPARED)
            {
                let rule = FaultRule::at(side, None).nth(nth);
                let rule = match from.below(4) {
                    0 => rule.cut_before(),
                    1 => rule.cut_after_bytes(1 + from.below(16) as usize),
                    _ => rule.cut(),
                };
                let rule = match from.below(3) {
                    0 => rule.reset(),
                    _ => rule,
                };
                self.add(nth, rule);
            }
        }
    }

    fn acks(
        &mut self,
        probability: f64,
        packets: u32,
        mut from: Random,
        kinds: &[(BrokerSide, PacketType)],
        act: fn(FaultRule, &mut Random) -> FaultRule,
    ) {
        for &(side, kind) in kinds {
            for nth in from.places(probability, packets) {
                let rule = FaultRule::at(side, Some(kind)).nth(nth);
                self.add(nth, act(rule, &mut from));
            }
        }
    }

    fn restarts(&mut self, count: u32, packets: u32, mut from: Random) {
        for _ in 0..most(count) {
            let at = from.place(packets);
            let down_for = match from.below(2) {
                0 => Duration::ZERO,
                _ => from.pause(),
            };
            let keeps = match from.below(2) {
                0 => RestartKeeps::default(),
                _ => RestartKeeps::ALL,
            };
            self.add_event(at, BrokerVerb::restart(down_for, keeps));
        }
    }

    fn partitions(&mut self, count: u32, packets: u32, mut from: Random) {
        for _ in 0..most(count) {
            let at = from.place(packets);
            let hangs = from.below(2) == 0;
            self.add_event(at, BrokerVerb::partition(from.pause(), hangs));
        }
    }

    fn add(&mut self, nth: u32, rule: FaultRule) {
        self.0.push((nth, ScriptEntry::Rule(rule)));
    }

    fn add_event(&mut self, at: u32, verb: BrokerVerb) {
        let script = FaultScript::new().event(EventTime::Packet(at), verb);
        self.0.extend(script.entries.into_iter().map(|it| (at, it)));
    }

    fn into_script(mut self) -> FaultScript {
        self.0.sort_by_key(|&(nth, _)| nth); // stable
        self.0.truncate(MOST_ENTRIES);
        let mut script = FaultScript::new();
        script.entries = self.0.into_iter().map(|(_, entry)| entry).collect();
        script.set_optional(true);
        script
    }
}

fn most(count: u32) -> u32 {
    count.min(MOST_ENTRIES as u32)
}

impl Random {
    /// From 0 to `bound`, without it; the error of its distribution is far below what faults need.
    const fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }

    /// The packets among the first `packets` that a fault with this probability befalls.
    fn places(&mut self, probability: f64, packets: u32) -> Vec<u32> {
        let mut befallen = |_: &u32| self.fraction() < probability;
        (1..=packets.min(MOST_PACKETS))
            .filter(&mut befallen)
            .collect()
    }

    /// One of the first `packets`, behind the handshake: as often one of the first ten as one of those from 10 to 100.
    fn place(&mut self, packets: u32) -> u32 {
        let packets = f64::from(packets.saturating_sub(HANDSHAKE).max(1));
        HANDSHAKE + packets.powf(self.fraction()) as u32
    }

    const fn lasting_qos(&mut self) -> QoS {
        match self.below(2) {
            0 => QoS::AtLeastOnce,
            _ => QoS::ExactlyOnce,
        }
    }

    /// A time from 1 ms to the longest, as often one below 70 ms as one above.
    fn pause(&mut self) -> Duration {
        let longest = LONGEST.as_millis() as f64;
        Duration::from_millis(longest.powf(self.fraction()) as u64)
    }
}

/// No more packets are drawn for: a script holds no more entries than these bring by far.
const MOST_PACKETS: u32 = 1_000_000;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::chaos::BrokerEvent;

    fn everything() -> Faults {
        Faults::cuts(0.01)
            .lost_acks(0.01)
            .duplicates(0.01)
            .delays(0.01)
            .restarts(2)
            .partitions(1)
    }

    #[test]
    fn every_rule_that_is_drawn_can_be_added_and_read_again() {
        for seed in 0..100 {
            let script = everything().draw(seed);
            script.check().unwrap();
            assert_eq!(script.to_string().parse(), Ok(script));
        }
    }

    #[test]
    fn the_same_seed_draws_the_same_script_and_another_one_another() {
        let scripts: Vec<_> = (0..50).map(|seed| everything().draw(seed)).collect();
        assert_eq!(scripts[7], everything().draw(7));
        assert!(scripts.windows(2).all(|two| two[0] != two[1]));
    }

    #[test]
    fn one_kind_of_fault_does_not_change_what_another_draws() {
        let cuts = Faults::cuts(0.02).draw(3).entries;
        let more = Faults::cuts(0.02).restarts(1).duplicates(0.001).draw(3);
        assert!(cuts.len() > 1);
        assert!(cuts.iter().all(|cut| more.entries.contains(cut)));
    }

    #[test]
    fn faults_are_as_frequent_as_asked_for() {
        let count = |faults: Faults| -> usize {
            (0..200).map(|seed| faults.draw(seed).entries.len()).sum()
        };
        // Two directions of 200 packets each, 200 seeds.
        assert!((1_400..1_800).contains(&count(Faults::cuts(0.02))));
        assert!((3_600..4_400).contains(&count(Faults::none().lost_acks(0.01))));
        assert_eq!(count(Faults::none().restarts(3)), 600);
        assert_eq!(count(Faults::none()), 0);
        assert_eq!(count(Faults::cuts(0.02).packets(0)), 0);
        assert_eq!(Faults::cuts(1.0).draw(0).entries.len(), MOST_ENTRIES);
    }

    #[test]
    fn restarts_keep_the_sessions_or_not() {
        let mut kept = [0; 2];
        for seed in 0..100 {
            for entry in Faults::none().restarts(1).draw(seed).entries {
                if let ScriptEntry::Event(BrokerEvent { at, verb }) = entry
                    && let BrokerVerb::Restart { down_for, keeps } = verb
                {
                    assert!(down_for <= LONGEST);
                    assert!(matches!(at, EventTime::Packet(3..=PACKETS)));
                    kept[usize::from(keeps.sessions)] += 1;
                }
            }
        }
        assert!(kept.iter().all(|&count| count > 30), "{kept:?}");
    }

    #[test]
    #[should_panic(expected = "a probability of faults must be from 0 to 1, not 2")]
    fn a_probability_is_from_0_to_1() {
        let _ = Faults::none().delays(2.0);
    }
}
