//! Random operations, acknowledgements, losses, crashes and time, against a server that checks every packet.
//!
//! What holds in every run is written where it is checked, in `support/world.rs` and `support/model.rs`. Pitfalls 1 to 9 and
//! 19.

use ferromqtt_proto::{CleanStart, Direction, ProtocolVersion};
use proptest::prelude::*;

use crate::support::store::DIRECTIONS;
use crate::support::world::{Setting, Step, Stores, World};
use crate::support::*;

/// Steps that each test plays at least.
const STEPS: u64 = 100_000;

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        10 => (0_u8..3, prop_oneof![5 => 0_usize..20, 1 => 4_000_usize..9_000], lifetime())
            .prop_map(|(qos, length, expiry)| Step::Publish { qos, length, expiry }),
        1 => (0_u8..3).prop_map(Step::PublishPoison),
        3 => (0_u8..3).prop_map(Step::Request),
        3 => any::<usize>().prop_map(Step::Respond),
        2 => any::<bool>().prop_map(|own_queue| Step::Subscribe { own_queue }),
        1 => Just(Step::Unsubscribe),
        1 => (0_u8..3).prop_map(Step::DetachQueue),
        1 => prop::bool::weighted(0.2).prop_map(|claims| match claims {
            true => Step::ClaimDefault,
            false => Step::Subscribe { own_queue: true },
        }),
        2 => any::<usize>().prop_map(Step::Abandon),
        12 => (1_usize..6, prop::bool::weighted(0.1))
            .prop_map(|(packets, refuses)| Step::ServerProcesses { packets, refuses }),
        2 => Just(Step::AnswerIsLost),
        2 => Just(Step::Cut),
        1 => Just(Step::ServerForgetsTheSession),
        4 => (any::<bool>(), 0_u8..3)
            .prop_map(|(acknowledged_by_hand, qos)| Step::ServerPublishes { acknowledged_by_hand, qos }),
        3 => any::<usize>().prop_map(Step::Acknowledge),
        2 => any::<bool>().prop_map(Step::Reads),
        2 => any::<bool>().prop_map(Step::Writable),
        4 => (any::<bool>(), stores()).prop_map(|(all, stores)| Step::StoreWrites { all, stores }),
        1 => direction().prop_map(Step::StoreFails),
        3 => direction().prop_map(Step::StoreComesBack),
        6 => (0_u64..3_000).prop_map(Step::Advance),
        1 => (0_u64..10_000_000).prop_map(Step::Advance),
        1 => Just(Step::DisconnectAndConnect),
        1 => Just(Step::Crash),
    ]
}

fn direction() -> impl Strategy<Value = Direction> {
    prop::sample::select(DIRECTIONS.to_vec())
}

fn stores() -> impl Strategy<Value = Stores> {
    prop_oneof![
        2 => Just(Stores::Both),
        1 => Just(Stores::One(Direction::Sent)),
        1 => Just(Stores::One(Direction::Received)),
    ]
}

/// Seconds of a Message Expiry Interval.
fn lifetime() -> impl Strategy<Value = Option<u32>> {
    prop_oneof![5 => Just(None), 1 => (0_u32..5).prop_map(Some)]
}

fn setting(version: ProtocolVersion) -> impl Strategy<Value = Setting> {
    let clean_start = prop_oneof![
        4 => Just(CleanStart::Never),
        1 => Just(CleanStart::FirstOnly),
        1 => Just(CleanStart::Always),
    ];
    let receive_maximum = prop::sample::select(vec![1_u16, 2, 3, 20, 65_535]);
    let own_receive_maximum = prop::sample::select(vec![1_u16, 3, 20]);
    (
        clean_start,
        receive_maximum,
        own_receive_maximum,
        any::<bool>(),
        any::<bool>(),
        prop::sample::select(vec![None, Some(0), Some(2), Some(30)]),
        any::<bool>(),
        any::<bool>(),
    )
        .prop_map(
            move |(
                clean_start,
                receive_maximum,
                own_receive_maximum,
                journal,
                strict,
                within,
                claims,
                narrow,
            )| {
                Setting {
                    version,
                    clean_start,
                    receive_maximum,
                    own_receive_maximum,
                    journal,
                    strict,
                    claim_within: within,
                    claims_default: claims,
                    narrow,
                }
            },
        )
}

fn every_operation_completes_once(version: ProtocolVersion, name: &str) {
    let case = (setting(version), prop::collection::vec(step(), 1..300));
    play_seeds(name, STEPS, &case, |(setting, steps)| {
        let mut world = World::new(setting);
        for step in &steps {
            world.play(step);
        }
        world.finish();
        steps.len() as u64
    });
}

#[test]
fn every_operation_completes_once_in_3_1_1() {
    every_operation_completes_once(V311, "every_operation_completes_once_in_3_1_1");
}

#[test]
fn every_operation_completes_once_in_5_0() {
    every_operation_completes_once(V5, "every_operation_completes_once_in_5_0");
}
