//! Servers that do not speak the version of MQTT that was tried.

use std::time::Duration;

use ferromqtt_engine::{CallEnd, ConnectionEvent, Fact, Standing};
use ferromqtt_proto::{ConnectionError, Outcome, ProtocolVersion, ReasonCode};
use ferromqtt_testing::BrokerOptions;

use crate::world::{World, options};

/// A client that falls back, and a broker that refuses these versions.
fn refusing(versions: &[ProtocolVersion]) -> World<true> {
    let mut options = options();
    options.fall_back = true;
    let mut broker = BrokerOptions::default();
    broker.refused_versions = versions.to_vec();
    World::with(options, broker, false)
}

fn refusals(world: &World<true>) -> Vec<ProtocolVersion> {
    let next = |fact: &Fact| match fact {
        Fact::VersionRefused { next, .. } => Some(*next),
        _ => None,
    };
    world.facts.iter().filter_map(next).collect()
}

/// Calls wait, time does not pass, and the events know of no failure.
#[test]
fn calls_wait_while_the_server_is_tried_in_the_other_version() {
    let mut world = refusing(&[ProtocolVersion::V5]);
    let (token, _) = world.publish_qos1("early");
    let (_, _, mut next) = world.engine.read_events();
    world.run();
    world.pass(Duration::ZERO);
    assert!(world.engine.is_connected());
    let end = &world.ends[&token];
    assert!(
        matches!(end, CallEnd::Completed(Outcome::Acknowledged { .. })),
        "{end:?}"
    );
    assert_eq!(refusals(&world), [ProtocolVersion::V311]);
    let event = world.engine.take_event(&mut next);
    assert!(
        matches!(event, Some(ConnectionEvent::Connected { .. })),
        "{event:?}"
    );
    assert_eq!(world.engine.take_event(&mut next), None);
    world.end();
}

#[test]
fn calls_end_when_the_server_speaks_neither() {
    let mut world = refusing(&[ProtocolVersion::V5, ProtocolVersion::V311]);
    let (token, _) = world.publish_qos1("early");
    world.run();
    world.pass(Duration::ZERO);
    let refused = ReasonCode::UnsupportedProtocolVersion;
    let Standing::Ended(ConnectionError::Refused { reason, .. }) = world.engine.standing() else {
        panic!("{:?}", world.engine.standing());
    };
    assert_eq!(*reason, refused);
    let end = &world.ends[&token];
    assert!(
        matches!(end, CallEnd::Completed(Outcome::Disconnected { .. })),
        "{end:?}"
    );
    assert_eq!(refusals(&world), [ProtocolVersion::V311]);
    world.end();
}
