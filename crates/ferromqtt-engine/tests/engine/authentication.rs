//! Questions to the application's authenticator.

use bytes::Bytes;
use ferromqtt_engine::{Ask, CallEnd, Reply, Standing};
use ferromqtt_proto::{AuthError, ConnectionError, Options, ReasonCode};
use ferromqtt_testing::{Authentication, BrokerOptions};

use crate::world::{World, options};

fn world() -> World {
    let mut of_client: Options = options();
    of_client.properties.authentication_method = Some("STEPS".try_into().unwrap());
    let mut broker = BrokerOptions::default();
    let steps = [(&b"who?"[..], &b"me"[..])];
    broker.authentication = Some(Authentication::new("STEPS", steps).unwrap());
    World::with(of_client, broker, true)
}

/// Asks for another exchange, which is refused.
fn refused_exchange(world: &mut World) -> AuthError {
    let token = world.token();
    let Err((token, error)) = world.engine.re_authenticate(world.now, None, token) else {
        panic!("it is to be refused");
    };
    world.back(&token);
    error
}

/// A world whose server has accepted, which the application has not heard to its end.
fn accepted_world() -> World {
    let mut world = world();
    world.run();
    world.engine.reply(world.now, data(b"me")).unwrap();
    world.run();
    assert!(matches!(world.asked[1], Ask::Accepted(_)));
    assert!(world.engine.is_connected());
    world
}

fn data(data: &'static [u8]) -> Reply {
    Reply::Data(Some(Bytes::from_static(data)))
}

#[test]
fn nothing_is_sent_while_a_question_waits_for_its_reply() {
    let mut world = world();
    world.run();
    let challenge = Ask::Continue(Some(Bytes::from_static(b"who?")));
    assert_eq!(world.asked, [challenge]);
    world.engine.reply(world.now, data(b"me")).unwrap();
    world.run();
    assert!(matches!(world.asked[1], Ask::Accepted(_)));
    assert!(world.engine.is_connected());
    let (token, _) = world.publish_qos1("waits for the right server");
    let link = world.wire.as_ref().unwrap().link;
    assert!(world.engine.transmit(world.now, link).is_none());
    world.engine.reply(world.now, Reply::Accepted).unwrap();
    world.run();
    assert!(matches!(world.ends[&token], CallEnd::Completed(_)));
    world.end();
}

#[test]
fn a_server_that_is_not_the_right_one_ends_the_connection() {
    let mut world = world();
    world.run();
    world.engine.reply(world.now, data(b"me")).unwrap();
    world.run();
    world
        .engine
        .reply(world.now, Reply::Failed("not my server".into()))
        .unwrap();
    world.run();
    let failed = ConnectionError::AuthenticationFailed("not my server".into());
    assert_eq!(*world.engine.standing(), Standing::Ended(failed));
    world.end();
}

#[test]
fn who_authenticates_again_learns_how_it_ends() {
    let mut world = accepted_world();
    world.engine.reply(world.now, Reply::Accepted).unwrap();
    world.run();
    let token = world.token();
    let number = token.0;
    assert!(world.engine.re_authenticate(world.now, None, token).is_ok());
    refused_exchange(&mut world); // one at a time
    world.run();
    world.engine.reply(world.now, data(b"me")).unwrap();
    world.run();
    world.engine.reply(world.now, Reply::Accepted).unwrap();
    world.run();
    assert_eq!(world.ends[&number], CallEnd::ReAuthenticated(Ok(())));
    world.end();
}

#[test]
fn data_that_cannot_be_sent_end_the_connection() {
    let mut world = world();
    world.run();
    let too_much = Reply::Data(Some(vec![0; 1 << 17].into()));
    let error = world.engine.reply(world.now, too_much).unwrap_err();
    world.run();
    let failed = ConnectionError::AuthenticationFailed(error.to_string().into());
    assert_eq!(*world.engine.standing(), Standing::Ended(failed));
    world.end();
}

#[test]
fn neither_question_nor_reply_shows_its_data() {
    let secret = Some(Bytes::from_static(b"s3cret"));
    let shown = format!(
        "{:?} {:?} {:?}",
        Ask::Continue(secret.clone()),
        Ask::Accepted(None),
        Reply::Data(secret)
    );
    assert_eq!(shown, "Continue(Some(***)) Accepted(None) Data(Some(***))");
}

#[test]
fn an_exchange_begins_only_when_the_one_before_has_been_heard_to_its_end() {
    let mut world = accepted_world();
    let not_now = AuthError::NotNow(ReasonCode::ReAuthenticate);
    assert_eq!(refused_exchange(&mut world), not_now);
    world.engine.reply(world.now, Reply::Accepted).unwrap();
    world.run();
    let token = world.token();
    assert!(world.engine.re_authenticate(world.now, None, token).is_ok());
    world.end();
}

#[test]
fn nobody_waits_for_an_exchange_when_the_driver_has_gone() {
    let mut world = accepted_world();
    world.engine.reply(world.now, Reply::Accepted).unwrap();
    world.run();
    world.engine.abandon_driver();
    assert_eq!(refused_exchange(&mut world), AuthError::NotConnected);
    world.end();
}
