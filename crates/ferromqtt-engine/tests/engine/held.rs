//! Tokens that are taken out of the engine at once.

use ferromqtt_proto::{QoS, QueueId};

use crate::world::{Token, World, narrow, publish};

#[test]
fn all_tokens_can_be_taken_out_wherever_they_are() {
    let mut world = World::<true>::connected(narrow(1));
    let mut readers = Vec::new();
    for _ in 0..2 {
        let token = world.token();
        let number = token.0;
        let reader = (world.engine).wait(QueueId::DEFAULT, |_| token);
        readers.push((number, reader));
    }
    let (queue, _) = world.subscribe("t", Default::default());
    world.run();
    let token = world.token();
    let number = token.0;
    let reserved = (world.engine).wait(queue, |_| token);
    world
        .publish(&publish("for it", QoS::AtMostOnce), None)
        .unwrap();
    world.run();
    assert!(world.engine.bring_back(reserved, Token(number)).is_none());
    world.held.insert(number);
    world.silent = true;
    world.publish_qos1("accepted");
    world.publish_qos1("waits for capacity");
    let (events, _, _) = world.engine.read_events();
    let token = world.token();
    assert!(world.engine.wait_for_event(events, token).is_none());
    world.lose();
    world.engine.settle(world.now); // what has ended is not handed out yet

    let (calls, readers) = world.engine.take_held();
    assert_eq!(calls.len(), 2);
    assert_eq!(readers.len(), 4);
    for token in calls.iter().chain(&readers) {
        world.back(token);
    }
    assert_eq!(world.engine.held_calls().count(), 0);
    assert_eq!(world.engine.held_readers().count(), 0);
    assert_eq!(world.engine.open_calls(), 0);
    world.run();
    assert!(!world.facts.is_empty(), "facts stay");
    world.end();
}
