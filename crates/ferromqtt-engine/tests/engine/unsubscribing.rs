//! What the server refuses to unsubscribe: a caller learns it, or a fact reports it.

use std::time::Duration;

use ferromqtt_engine::{Awaited, CallEnd, Fact, FilterAnswer};
use ferromqtt_proto::{QueueOptions, ReasonCode};

use crate::world::{World, options, unsubscribe};

/// Plays `ask`, which sends an UNSUBSCRIBE for "t" as the packet 2, and refuses it. Returns what is reported.
fn refused(world: &mut World, ask: impl FnOnce(&mut World)) -> Vec<(String, ReasonCode)> {
    world.silent = true;
    ask(world);
    world.run();
    let wire = world.wire.as_mut().expect("there is a connection");
    wire.input.extend_from_slice(b"\xb0\x04\x00\x02\x00\x87");
    world.run();
    let facts = world.facts.iter().filter_map(|fact| match fact {
        Fact::NotUnsubscribed { filter, reason } => Some((filter.to_string(), *reason)),
        _ => None,
    });
    facts.collect()
}

fn subscribed() -> (World, ferromqtt_proto::QueueId) {
    let mut world = World::connected(options());
    let (queue, _) = world.subscribe("t", QueueOptions::DEFAULT);
    world.run();
    (world, queue)
}

fn one() -> Vec<(String, ReasonCode)> {
    vec![("t".into(), ReasonCode::NotAuthorized)]
}

/// Section 3.11.3. Nobody waits for the UNSUBACK of a queue that was dropped.
#[test]
fn a_refusal_to_unsubscribe_a_dropped_queue_is_reported() {
    let (mut world, queue) = subscribed();
    let reported = refused(&mut world, |world| {
        world.engine.drop_queue(world.now, queue)
    });
    assert_eq!(reported, one());
    world.end();
}

/// Section 3.11.3.
#[test]
fn a_refusal_to_unsubscribe_is_returned_to_its_caller_and_not_reported() {
    let (mut world, _) = subscribed();
    let token = world.token();
    let name = token.0;
    let reported = refused(&mut world, |world| {
        let call = (world.engine).unsubscribe(world.now, unsubscribe("t"), None, token);
        call.unwrap();
    });
    assert_eq!(reported, []);
    let answer = answer_of(&mut world, name);
    assert_eq!(answer.results[0].reason(), ReasonCode::NotAuthorized);
    world.end();
}

/// Section 3.11.3. aiomqtt's call does not raise for it.
#[test]
fn a_refusal_to_unsubscribe_is_reported_for_a_call_that_does_not_say_so() {
    let (mut world, _) = subscribed();
    let token = world.token();
    let name = token.0;
    let reported = refused(&mut world, |world| {
        let call = (world.engine).unsubscribe_unheeded(world.now, unsubscribe("t"), None, token);
        call.unwrap();
    });
    assert_eq!(reported, one());
    assert_eq!(answer_of(&mut world, name).results.len(), 1);
    world.end();
}

/// Section 3.11.3. The call has ended before the answer.
#[test]
fn a_refusal_to_unsubscribe_is_reported_when_its_caller_waits_no_longer() {
    for (unheeded, gives_up) in [(false, false), (false, true), (true, false), (true, true)] {
        let (mut world, _) = subscribed();
        let token = world.token();
        let reported = refused(&mut world, |world| {
            let deadline = world.after(1);
            let (now, engine) = (world.now, &mut world.engine);
            let call = match unheeded {
                true => engine.unsubscribe_unheeded(now, unsubscribe("t"), deadline, token),
                false => engine.unsubscribe(now, unsubscribe("t"), deadline, token),
            };
            let call = call.unwrap();
            world.run();
            match gives_up {
                true => assert!(world.give_up(call)),
                false => world.pass(Duration::from_secs(2)),
            }
        });
        assert_eq!(
            reported,
            one(),
            "unheeded: {unheeded}, gives up: {gives_up}"
        );
        world.end();
    }
}

fn answer_of(world: &mut World, token: u32) -> FilterAnswer {
    let end: CallEnd = world.ends.remove(&token).expect("the call has ended");
    end.answered(Awaited::UnsubAck, Duration::ZERO).unwrap()
}
