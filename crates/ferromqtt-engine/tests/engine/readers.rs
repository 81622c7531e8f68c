//! Readers of queues: first come, first served.

use ferromqtt_engine::{ReaderId, Standing};
use ferromqtt_proto::{QoS, QueueId, QueueOptions};

use crate::world::{Token, World, options, publish, unsubscribe};

impl<const RESERVES: bool> World<RESERVES> {
    fn wait(&mut self, queue: QueueId) -> (u32, ReaderId) {
        let token = self.token();
        (token.0, self.engine.wait(queue, |_| token))
    }

    fn messages(&mut self, count: usize) {
        for _ in 0..count {
            self.publish(&publish("m", QoS::AtMostOnce), None).unwrap();
        }
        self.run();
    }
}

fn subscribed<const RESERVES: bool>() -> (World<RESERVES>, QueueId) {
    let mut world = World::connected(options());
    let (queue, _) = world.subscribe("t", QueueOptions::DEFAULT);
    world.run();
    (world, queue)
}

#[test]
fn readers_get_messages_in_the_order_in_which_they_came() {
    let (mut world, queue) = subscribed::<true>();
    let (first, first_id) = world.wait(queue);
    let (second, second_id) = world.wait(queue);
    let (third, _) = world.wait(queue);
    world.messages(1);
    assert_eq!(world.readers, [first]);
    assert!(world.engine.take(queue).is_none(), "it is the first's");
    world.messages(1); // to a queue that was not empty
    assert_eq!(world.readers, [first, second]);
    assert!(world.take_reserved(second_id).0.is_some());
    assert!(world.engine.take(queue).is_none());
    assert!(world.take_reserved(first_id).0.is_some());
    assert!(world.take_reserved(first_id).0.is_none(), "it was one");
    world.messages(2);
    assert_eq!(world.readers, [first, second, third]);
    assert!(
        world.engine.take(queue).is_some(),
        "the other is for whoever asks"
    );
    world.end();
}

#[test]
fn the_message_of_a_reader_that_was_cancelled_is_for_the_next_one() {
    let (mut world, queue) = subscribed::<true>();
    let (first, first_id) = world.wait(queue);
    let (second, second_id) = world.wait(queue);
    let (third, third_id) = world.wait(queue);
    let token = world.engine.stop_waiting(second_id).expect("it waits");
    world.back(&token);
    assert_eq!(token.0, second);
    world.messages(1);
    assert_eq!(world.readers, [first]);
    assert!(
        world.engine.stop_waiting(first_id).is_none(),
        "it was woken"
    );
    world.run();
    assert_eq!(world.readers, [first, third]);
    assert!(world.take_reserved(third_id).0.is_some());
    assert!(world.engine.stop_waiting(third_id).is_none());
    world.end();
}

#[test]
fn a_reservation_ends_with_the_last_reader_that_might_take_it() {
    let (mut world, queue) = subscribed::<true>();
    let (_, only) = world.wait(queue);
    world.messages(1);
    assert!(!world.engine.has_message(queue));
    assert!(world.engine.stop_waiting(only).is_none());
    assert!(world.engine.take(queue).is_some());
    world.end();
}

#[test]
fn at_the_end_of_the_connection_all_readers_are_woken_and_reservations_last() {
    let (mut world, queue) = subscribed::<true>();
    let (_, first) = world.wait(queue);
    let (second, _) = world.wait(queue);
    world.messages(1);
    world.lose();
    world.run();
    assert!(matches!(world.engine.standing(), Standing::Ended(_)));
    assert_eq!(world.readers.last(), Some(&second));
    assert!(world.engine.is_over(queue));
    assert!(world.engine.take(queue).is_none());
    assert!(world.take_reserved(first).0.is_some());
    world.end();
}

#[test]
fn without_reservations_all_readers_are_woken_and_the_first_to_ask_gets_the_message() {
    let (mut world, queue) = subscribed::<false>();
    let (first, _) = world.wait(queue);
    let (second, second_id) = world.wait(queue);
    assert_eq!(
        world.engine.reader_mut(second_id).map(|it| it.0),
        Some(second)
    );
    world.messages(1);
    assert_eq!(world.readers, [first, second]);
    assert!(world.engine.reader_mut(second_id).is_none());
    assert!(world.engine.take(queue).is_some());
    assert!(world.engine.take(queue).is_none());
    world.end();
}

#[test]
fn a_queue_whose_subscription_was_ended_wakes_its_reader() {
    let (mut world, queue) = subscribed::<true>();
    let (reader, _) = world.wait(queue);
    let token = world.token();
    let call = (world.engine).unsubscribe(world.now, unsubscribe("t"), None, token);
    assert!(call.is_ok());
    world.run();
    assert_eq!(world.readers, [reader]);
    assert!(world.engine.is_over(queue));
    world.end();
}

#[test]
fn a_token_that_was_brought_back_stays_as_long_as_the_reservation() {
    let (mut world, queue) = subscribed::<true>();
    let (first, first_id) = world.wait(queue);
    let (second, second_id) = world.wait(queue);
    let (third, third_id) = world.wait(queue);
    world.messages(2);
    assert_eq!(world.readers, [first, second]);
    for (number, id) in [(first, first_id), (second, second_id)] {
        assert!(world.engine.bring_back(id, Token(number)).is_none());
        world.held.insert(number);
    }
    let readers = world.engine.readers(queue);
    let readers: Vec<_> = readers.map(|(id, token)| (id, token.0)).collect();
    let expected = [(third_id, third), (first_id, first), (second_id, second)];
    assert_eq!(readers, expected);
    let (message, token) = world.take_reserved(first_id);
    assert!(message.is_some());
    world.back(&token.expect("it was brought back"));
    let returned = world.engine.bring_back(first_id, Token(first));
    assert_eq!(returned, Some(Token(first)), "it has nothing reserved");
    let token = world.engine.stop_waiting(second_id);
    world.back(&token.expect("it was brought back"));
    world.run();
    assert_eq!(
        world.readers,
        [first, second, third],
        "the message is for the next"
    );
    world.end();
}
