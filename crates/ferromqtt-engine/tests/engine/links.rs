//! What is reported of a transport belongs to that one.

use bytes::BytesMut;
use ferromqtt_engine::{LinkRequest, Standing};
use ferromqtt_proto::TransportError;

use crate::world::{World, options};

#[test]
fn what_is_reported_of_an_earlier_transport_is_ignored() {
    let mut options = options();
    options.reconnect = Some(Default::default());
    let mut world = World::<false>::connected(options);
    let late = world.wire.as_ref().unwrap().link;
    world.lose();
    world.pass(std::time::Duration::from_secs(60));
    assert!(world.engine.is_connected());
    let present = world.wire.as_ref().unwrap().link;
    assert_ne!(late, present);
    let now = world.now;
    world.engine.closed(now, late, TransportError::EndOfStream);
    world.engine.finished(now, late);
    assert!(!world.engine.opened(now, late));
    let mut garbage = BytesMut::from(&b"\xff\xff\xff\xff\xff"[..]);
    world.engine.receive(now, late, &mut garbage);
    assert_eq!(garbage.len(), 5);
    world.publish_qos1("for the present one");
    assert!(world.engine.transmit(now, late).is_none());
    (world.engine).progress(now, late, 0, || panic!("nobody asks for it"));
    world.run();
    assert!(world.engine.is_connected());
    assert_eq!(world.order.len(), 1);
    world.end();
}

#[test]
fn a_transport_that_is_given_up_before_it_was_opened_has_a_name_to_be_closed_by() {
    let mut world = World::<false>::new(options());
    let now = world.now;
    let reason = ferromqtt_proto::ReasonCode::Success;
    (world.engine).disconnect(now, ferromqtt_engine::Goodbye::Asked, reason, None);
    let request = world.engine.next_request();
    let Some(LinkRequest::Close(link) | LinkRequest::Abort(link) | LinkRequest::Open { link, .. }) =
        request
    else {
        panic!("{request:?}");
    };
    world.engine.closed(now, link, TransportError::EndOfStream);
    world.run();
    assert!(matches!(world.engine.standing(), Standing::Ended(_)));
    world.end();
}

#[test]
fn an_attempt_has_opened_its_transport_until_the_next_one_begins() {
    let mut options = options();
    options.reconnect = Some(Default::default());
    let mut world = World::<false>::new(options);
    world.engine.begin_attempt("a:1883");
    assert!(!world.engine.has_opened());
    world.run();
    assert!(world.engine.has_opened());
    world.lose();
    assert!(world.engine.has_opened(), "the attempt was that far");
    world.engine.begin_attempt("b:1883");
    assert!(!world.engine.has_opened());
    world.end();
}
