//! Any rules and verbs over any traffic: no panic, bounded memory, and everything comes to its end.

use std::collections::BTreeMap;
use std::num::NonZeroU32;
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use ferromqtt_proto::packet::{
    Ack, Packet, PacketType, Properties, ProtocolVersion, QoS, ReasonCode, SubscribePacket,
};
use ferromqtt_testing::{
    Broker, BrokerOptions, BrokerSide, ConnectionId, CutPoint, FaultAction, FaultRule, FaultTimes,
    RestartKeeps,
};
use proptest::prelude::*;

use crate::scene::{VERSIONS, connect, connect_persistent, packet_id, publish, text};

/// Bytes that a lane may keep back.
const POSTPONED: usize = 2_000;

const NAMES: [&str; 3] = ["a", "b", "c"];

fn kinds() -> impl Strategy<Value = Option<PacketType>> {
    prop::sample::select(vec![
        None,
        Some(PacketType::Connect),
        Some(PacketType::ConnAck),
        Some(PacketType::Publish),
        Some(PacketType::PubAck),
        Some(PacketType::PubRec),
        Some(PacketType::PubRel),
        Some(PacketType::Subscribe),
        Some(PacketType::SubAck),
        Some(PacketType::PingReq),
        Some(PacketType::PingResp),
        Some(PacketType::Disconnect),
    ])
}

fn durations() -> impl Strategy<Value = Duration> {
    (0_u64..5_000).prop_map(Duration::from_millis)
}

fn actions() -> impl Strategy<Value = FaultAction> {
    let cut_points = prop_oneof![
        Just(CutPoint::After),
        Just(CutPoint::Before),
        (1_usize..20).prop_map(CutPoint::AfterBytes),
    ];
    let reasons = prop::sample::select(vec![
        ReasonCode::NotAuthorized,
        ReasonCode::QuotaExceeded,
        ReasonCode::ServerBusy,
        ReasonCode::UnspecifiedError,
    ]);
    prop_oneof![
        Just(FaultAction::Lose),
        (any::<bool>(), durations()).prop_map(|(dup, after)| FaultAction::Duplicate { dup, after }),
        durations().prop_map(FaultAction::Delay),
        Just(FaultAction::Hold),
        (1_u32..4).prop_map(|with_next| FaultAction::Reorder { with_next }),
        (cut_points, any::<bool>()).prop_map(|(at, reset)| FaultAction::Cut { at, reset }),
        (reasons.clone(), prop::option::of("[ -~äß\u{2028}]{0,9}"))
            .prop_map(|(reason, text)| FaultAction::Refuse { reason, text }),
        prop::collection::vec(any::<u8>(), 0..9)
            .prop_map(|bytes| FaultAction::Replace(bytes.into())),
        (1_usize..9).prop_map(FaultAction::Garbage),
        (0_usize..9).prop_map(FaultAction::Truncate),
        reasons.prop_map(FaultAction::Disconnect),
    ]
}

prop_compose! {
    /// Rules of every kind, of which some make no sense.
    fn rules()(
        sends in any::<bool>(),
        kind in kinds(),
        client in prop::option::of("[abc\"\\\\\n é]{1,3}"),
        topic in prop::option::of(prop::sample::select(vec!["t/#", "t/1", "+/+", "\"#"])),
        qos in prop::option::of(0_u8..3),
        packet_id in prop::option::of(0_u16..3),
        nth in 1_u32..4,
        times in prop::option::of(prop_oneof![Just(FaultTimes::Always), (1_u32..3).prop_map(FaultTimes::Exactly)]),
        after in prop_oneof![Just(Duration::ZERO), durations()],
        probability in prop_oneof![Just(1.0), 0.0..1.0],
        optional in any::<bool>(),
        actions in prop::collection::vec(actions(), 1..3),
    ) -> FaultRule {
        let mut rule = match sends {
            true => FaultRule::sends(kind),
            false => FaultRule::receives(kind),
        };
        rule.place.client = client;
        rule.place.topic = topic.map(str::to_owned);
        rule.place.qos = qos.and_then(QoS::from_value);
        rule.place.packet_id = packet_id;
        rule.timing.nth = nth;
        rule.timing.times = times;
        rule.timing.after = after;
        rule.timing.probability = probability;
        rule.timing.optional = optional;
        rule.actions = actions;
        rule
    }
}

#[derive(Clone, Debug)]
enum Step {
    Rule(FaultRule),
    Release(u64),
    Connect(usize, u8),
    Subscribe(usize),
    Publish(usize, u8, u16),
    Acknowledge(usize, u8, u16),
    Ping(usize),
    Bytes(usize, Vec<u8>),
    Leave(usize),
    Pass(u16),
    Verb(u8, usize, u16),
}

fn steps() -> impl Strategy<Value = Step> {
    let who = 0..NAMES.len();
    prop_oneof![
        3 => rules().prop_map(Step::Rule),
        1 => (0_u64..9).prop_map(Step::Release),
        4 => (who.clone(), 0_u8..6).prop_map(|(who, how)| Step::Connect(who, how)),
        2 => who.clone().prop_map(Step::Subscribe),
        8 => (who.clone(), 0_u8..3, 0_u16..600).prop_map(|(who, qos, size)| Step::Publish(who, qos, size)),
        4 => (who.clone(), 0_u8..4, 1_u16..5).prop_map(|(who, what, id)| Step::Acknowledge(who, what, id)),
        2 => who.clone().prop_map(Step::Ping),
        1 => (who.clone(), prop::collection::vec(any::<u8>(), 1..9)).prop_map(|(who, bytes)| Step::Bytes(who, bytes)),
        2 => who.clone().prop_map(Step::Leave),
        4 => (0_u16..4_000).prop_map(Step::Pass),
        3 => (0_u8..14, who, 0_u16..3_000).prop_map(|(verb, who, number)| Step::Verb(verb, who, number)),
    ]
}

struct World {
    broker: Broker,
    now: Instant,
    /// The open connection of each client, its version, and what of its input the broker has left.
    open: BTreeMap<usize, (ConnectionId, ProtocolVersion, BytesMut)>,
}

impl World {
    fn new(journal: bool) -> Self {
        let mut options = BrokerOptions::default();
        options.maximum_postponed = POSTPONED;
        options.journal_packets = Some(if journal { 20 } else { 0 });
        options.maximum_output = 100_000;
        Self {
            broker: Broker::new(options),
            now: Instant::now(),
            open: BTreeMap::new(),
        }
    }

    fn take(&mut self, step: Step) {
        let now = self.now;
        match step {
            Step::Rule(rule) => {
                let sense = rule.check().is_ok();
                assert_eq!(self.broker.add_fault(now, rule).is_ok(), sense);
            }
            Step::Release(id) => {
                self.broker
                    .release_fault(now, ferromqtt_testing::FaultId(id));
            }
            Step::Connect(who, how) => {
                self.leave(who);
                let version = VERSIONS[usize::from(how % 3)];
                let id = self.broker.open(now);
                self.open.insert(who, (id, version, BytesMut::new()));
                let mut packet = match how < 3 {
                    true => connect(version, NAMES[who]),
                    false => connect_persistent(version, NAMES[who]),
                };
                packet.keep_alive = 5;
                self.send(who, &Packet::Connect(Box::new(packet)));
            }
            Step::Subscribe(who) => {
                let subscribe = SubscribePacket {
                    packet_id: packet_id(9),
                    properties: Properties::default(),
                    filters: [(text("t/#"), QoS::ExactlyOnce.into())].into(),
                };
                self.send(who, &Packet::Subscribe(Box::new(subscribe)));
            }
            Step::Publish(who, qos, size) => {
                let payload = "x".repeat(size.into());
                let qos = QoS::from_value(qos).unwrap_or_default();
                self.send(who, &Packet::Publish(publish("t/1", &payload, qos)));
            }
            Step::Acknowledge(who, what, id) => {
                let ack = Ack::success(packet_id(id));
                let packets = [
                    Packet::PubAck,
                    Packet::PubRec,
                    Packet::PubComp,
                    Packet::PubRel,
                ];
                self.send(who, &packets[usize::from(what)](ack));
            }
            Step::Ping(who) => self.send(who, &Packet::PingReq),
            Step::Bytes(who, bytes) => self.feed(who, &bytes),
            Step::Leave(who) => self.leave(who),
            Step::Pass(milliseconds) => self.pass(Duration::from_millis(milliseconds.into())),
            Step::Verb(verb, who, number) => self.verb(verb, NAMES[who], number),
        }
    }

    fn verb(&mut self, verb: u8, client: &str, number: u16) {
        let (broker, now) = (&mut self.broker, self.now);
        let time = Duration::from_millis(number.into());
        let side = match number % 2 {
            0 => BrokerSide::Sends,
            _ => BrokerSide::Receives,
        };
        match verb {
            0 => drop(broker.cut_link(now, client, number.is_multiple_of(2))),
            1 => drop(broker.half_open_link(now, client)),
            2 => drop(broker.stall_link(now, client, side, number % 4 < 2)),
            3 => drop(broker.limit_link(now, client, NonZeroU32::new(number.into()))),
            4 => drop(broker.slow_link(now, client, time, time / 2)),
            5 => drop(broker.cut_link_after(now, client, side, number.into())),
            6 => broker.partition(now, number.is_multiple_of(2)),
            7 => broker.heal(now),
            8 => broker.restart(
                now,
                time,
                RestartKeeps {
                    sessions: number.is_multiple_of(2),
                    retained: number % 4 < 2,
                },
            ),
            9 => drop(broker.forget_session(now, client)),
            10 => drop(broker.take_over(now, client)),
            11 => drop(broker.kill_client(now, client)),
            12 => drop(broker.send_packet(now, client, &Packet::PingResp)),
            _ => drop(broker.send_raw(now, client, Bytes::from_static(b"\x00\x01"))),
        }
    }

    fn send(&mut self, who: usize, packet: &Packet) {
        if let Some((_, version, _)) = self.open.get(&who) {
            let mut bytes = BytesMut::new();
            packet.encode(*version, &mut bytes);
            self.feed(who, &bytes);
        }
    }

    fn feed(&mut self, who: usize, bytes: &[u8]) {
        if let Some((id, _, input)) = self.open.get_mut(&who) {
            input.extend_from_slice(bytes);
            self.broker.handle_input(self.now, *id, input);
        }
    }

    fn leave(&mut self, who: usize) {
        if let Some((id, ..)) = self.open.remove(&who) {
            self.broker.closed(self.now, id);
        }
    }

    fn pass(&mut self, time: Duration) {
        let end = self.now + time;
        let mut polls = 0;
        while let Some(at) = self.broker.poll_timeout()
            && at <= end
        {
            self.now = self.now.max(at);
            self.broker.handle_timeout(self.now);
            self.settle();
            polls += 1;
            assert!(polls < 10_000, "the broker does not come to rest");
        }
        self.now = end;
    }

    /// Takes what the broker has, as a host does that writes at once.
    fn settle(&mut self) {
        let mut polls = 0;
        while let Some(id) = self.broker.poll_writable() {
            while self.broker.poll_transmit(id).is_some() {
                polls += 1;
                assert!(polls < 10_000, "the broker does not come to rest");
            }
        }
        while let Some(id) = self.broker.poll_close() {
            self.open.retain(|_, (open, ..)| *open != id);
        }
    }

    fn check(&self) {
        // A lane holds its bound, a packet that is over it, and what is on its way; links whose client has gone count too.
        let links = self.broker.stats().connections + self.open.len();
        let most = links * 2 * (2 * POSTPONED + 2 * 70_000);
        assert!(self.broker.postponed_bytes() <= most);
        if let Some(journal) = self.broker.journal() {
            assert!(journal.events().count() <= 20 && journal.messages().count() <= 20);
            let _ = journal.chart(10);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_faults_over_any_traffic_leave_the_broker_in_order(
        journal in any::<bool>(),
        seed in any::<u64>(),
        steps in prop::collection::vec(steps(), 1..60),
    ) {
        let mut world = World::new(journal);
        world.broker.set_fault_seed(seed);
        for step in steps {
            world.take(step);
            world.settle();
            world.check();
        }
        world.broker.heal(world.now);
        for who in 0..NAMES.len() {
            world.leave(who);
        }
        world.settle();
        world.pass(Duration::from_secs(100_000));
        prop_assert_eq!(world.broker.stats().connections, 0, "every connection comes to its end");
        prop_assert_eq!(world.broker.postponed_bytes(), 0);
    }

    #[test]
    fn a_rule_reads_back_as_it_was_written(rule in rules()) {
        prop_assert_eq!(rule.to_string().parse(), Ok(rule));
    }

    #[test]
    fn no_text_that_is_read_as_a_rule_panics(text in "(sends|receives) [A-Za-z0-9 \"\\\\{},.é]{0,40}") {
        if let Ok(rule) = text.parse::<FaultRule>() {
            let again: Result<FaultRule, _> = rule.to_string().parse();
            prop_assert_eq!(again, Ok(rule));
        }
    }
}
