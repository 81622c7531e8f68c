//! Subscriptions that last as long as their queues, over connections that have ended.

use ferromqtt_engine::{CallEnd, EngineOptions, Fact, QueueEnd};
use ferromqtt_proto::{
    Outcome, Overflow, Properties, QoS, QueueId, QueueOptions, ReasonCode, Session, Subscribe,
};
use ferromqtt_testing::BrokerOptions;

use crate::world::{World, options, unsubscribe};

pub(crate) fn terms(queue: QueueId, filters: &[&str]) -> Subscribe {
    Subscribe {
        filters: (filters.iter())
            .map(|&filter| (filter.try_into().unwrap(), QoS::AtLeastOnce.into()))
            .collect(),
        properties: Properties::default(),
        queue,
    }
}

/// Subscribes, and returns the queue and its call's token.
pub(crate) fn subscribe(world: &mut World<true>, filters: &[&str]) -> (QueueId, u32) {
    subscribe_within(world, QueueOptions::DEFAULT, filters)
}

fn subscribe_within(
    world: &mut World<true>,
    bounds: QueueOptions,
    filters: &[&str],
) -> (QueueId, u32) {
    let queue = world.engine.open_queue(bounds);
    let token = world.token();
    let number = token.0;
    let terms = terms(queue, filters);
    let call = (world.engine).subscribe_lasting(world.now, terms, None, token);
    call.unwrap();
    (queue, number)
}

fn take(world: &mut World<true>, queue: QueueId) -> Option<Vec<u8>> {
    let message = world.engine.take(queue);
    message.map(|message| message.payload.to_vec())
}

/// Ends the connection for good, and starts the engine again.
pub(crate) fn start_again(world: &mut World<true>) {
    world.lose();
    world.run();
    assert!(world.engine.has_ended());
    world.engine.end_queues();
    world.run();
    world.engine.start(world.now);
    world.run();
    assert!(world.engine.is_connected());
}

#[test]
fn each_start_subscribes_again_until_the_queue_is_gone() {
    let mut world = World::<true>::restarting(options());
    let (queue, call) = subscribe(&mut world, &["t"]);
    world.run();
    assert!(matches!(
        world.ends[&call],
        CallEnd::Completed(Outcome::Subscribed { .. })
    ));
    for payload in ["first", "second"] {
        start_again(&mut world);
        assert!(!world.engine.is_over(queue));
        assert_eq!(world.engine.answer_of(queue).len(), 1);
        world.publish_qos1(payload);
        world.run();
        assert_eq!(take(&mut world, queue).unwrap(), payload.as_bytes());
    }
    world.engine.drop_queue(world.now, queue);
    assert_eq!(
        world.engine.end_of(queue),
        Some(QueueEnd::Unsubscribed),
        "its readers end"
    );
    start_again(&mut world);
    assert_eq!(world.engine.core().filters(queue).count(), 0);
    world.end();
}

#[test]
fn what_is_declared_before_the_first_start_survives_other_options_and_is_subscribed() {
    let mut world = World::<true>::restarting(options());
    world.lose();
    world.run();
    let queue = world.engine.open_queue(QueueOptions::DEFAULT);
    let terms = terms(queue, &["t"]);
    world.engine.declare_lasting(world.now, terms);
    let token = world.token();
    let reader = token.0;
    world.engine.wait(queue, |_| token);
    assert_eq!(
        world.engine.end_of(queue),
        None,
        "it is yet to be subscribed"
    );
    let of_engine = EngineOptions {
        disconnect_timeout: std::time::Duration::from_secs(5),
        ends_session: false,
        authenticates: false,
        restarts: true,
    };
    let former = (world.engine).configure(options(), Session::default(), 8, of_engine);
    former.unwrap();
    world.engine.start(world.now);
    world.run();
    world.publish_qos1("x");
    world.run();
    assert_eq!(world.readers, [reader]);
    world.end();
}

#[test]
fn what_the_server_refuses_of_a_declared_one_is_reported_and_ends_its_queue() {
    let mut broker = BrokerOptions::default();
    broker
        .deny_subscribe("t".try_into().unwrap(), ReasonCode::NotAuthorized)
        .unwrap();
    let mut world = World::<true>::with_all(options(), broker, false, true);
    let queue = world.engine.open_queue(QueueOptions::DEFAULT);
    let terms = terms(queue, &["t"]);
    world.engine.declare_lasting(world.now, terms);
    let token = world.token();
    let reader = token.0;
    world.engine.wait(queue, |_| token);
    world.run();
    assert_eq!(world.readers, [reader]);
    let refused =
        |fact: &Fact| matches!(fact, Fact::NotSubscribed { filter, .. } if filter.as_str() == "t");
    assert_eq!(world.facts.iter().filter(|fact| refused(fact)).count(), 1);
    assert!(matches!(
        world.engine.end_of(queue),
        Some(QueueEnd::Refused { filter, .. }) if filter.as_str() == "t"
    ));
    world.end();
}

#[test]
fn a_filter_that_was_unsubscribed_is_not_asked_for_again() {
    let mut world = World::<true>::restarting(options());
    let (queue, _) = subscribe(&mut world, &["t", "u"]);
    world.run();
    let token = world.token();
    let call = (world.engine).unsubscribe(world.now, unsubscribe("t"), None, token);
    call.unwrap();
    world.run();
    start_again(&mut world);
    let filters: Vec<_> = world
        .engine
        .core()
        .filters(queue)
        .map(|it| it.as_str())
        .collect();
    assert_eq!(filters, ["u"]);
    world.end();
}

#[test]
fn a_queue_says_why_it_is_over() {
    let mut world = World::<true>::restarting(options());
    let bounds = QueueOptions {
        limit: Some(1),
        overflow: Overflow::Fail,
        ..QueueOptions::DEFAULT
    };
    let (queue, _) = subscribe_within(&mut world, bounds, &["t"]);
    for _ in 0..3 {
        world.publish_qos1("x");
    }
    world.run();
    assert_eq!(world.engine.end_of(queue), None, "one message is there");
    take(&mut world, queue).unwrap();
    assert_eq!(
        world.engine.end_of(queue),
        Some(QueueEnd::Overflown { lost: 2 })
    );
    assert_eq!(world.engine.take_lost(queue), 2);
    assert_eq!(world.engine.end_of(queue), None);
    world.lose();
    world.run();
    world.engine.end_queues();
    assert_eq!(world.engine.end_of(queue), Some(QueueEnd::Connection));
    world.engine.drop_queue(world.now, queue);
    assert_eq!(world.engine.end_of(queue), Some(QueueEnd::Unsubscribed));
    world.end();
}

#[test]
fn taking_from_a_full_queue_says_that_the_driver_has_something_to_do() {
    let mut world = World::<true>::restarting(options());
    let bounds = QueueOptions {
        limit: Some(1),
        ..QueueOptions::DEFAULT
    };
    let (queue, _) = subscribe_within(&mut world, bounds, &["t"]);
    world.run();
    for _ in 0..2 {
        world.publish_qos1("x");
    }
    world.run();
    let (message, goes_on) = world.engine.take_and_go_on(queue);
    assert!(
        message.is_some() && goes_on,
        "an acknowledgement was withheld"
    );
    world.run();
    let (message, goes_on) = world.engine.take_and_go_on(queue);
    assert!(message.is_some() && !goes_on);
    world.end();
}
