//! Messages of a resumed session, which come before the program has asked for them; and subscriptions that are declared in
//! the options.

use super::holding::{message, puback, sends_nothing, subscribed};
use super::*;
use crate::{
    Acknowledge, CleanStart, ConnectError, ConnectionEvent, DeclaredSubscription, OptionsError,
    QueueOptions, ReasonCode, SubscribeError,
};

const BY_HAND: QueueOptions = QueueOptions {
    acknowledge: Acknowledge::ByApplication,
    ..QueueOptions::DEFAULT
};

fn lasting() -> Options {
    options()
        .client_identifier("me")
        .clean_start(CleanStart::Never)
}

fn declared() -> DeclaredSubscription {
    DeclaredSubscription::new("t").qos(QoS::AtLeastOnce)
}

/// A connection whose session the server has resumed, and sends what it had stored at once.
async fn resumed(options: Options, stored: u16) -> (Connection, Server<DuplexStream>, Attempts) {
    let (attempts, script) = Attempts::new();
    let stream = attempts.succeeds(65_536);
    let server = async {
        let (mut server, _) = Server::accept(stream, true).await;
        for number in 1..=stored {
            server.send(&message(number)).await;
        }
        server
    };
    let (connection, server) = tokio::join!(Connection::open_over(options, script), server);
    (connection.unwrap(), server, attempts)
}

/// MQTT-4.6.0-2. The program of a user who subscribes 20 ms after it has connected.
#[tokio::test(start_paused = true)]
async fn a_stream_gets_what_the_session_has_brought_before_it() {
    let (connection, mut server, _attempts) = resumed(lasting(), 100).await;
    let client = connection.client();
    assert!(sends_nothing(&mut server).await, "nobody has it yet");
    assert_eq!(client.stats().awaiting_claim, 100);
    let mut messages = subscribed(&client, &mut server, BY_HAND).await;
    assert!(
        sends_nothing(&mut server).await,
        "the application acknowledges"
    );
    for number in 1..=100 {
        let message = in_time(messages.next()).await.unwrap();
        client.acknowledge(message.delivery.unwrap());
        assert_eq!(server.next().await, Some(puback(number)));
    }
}

#[tokio::test(start_paused = true)]
async fn taking_messages_claims_everything() {
    let (connection, mut server, _attempts) = resumed(lasting(), 2).await;
    let client = connection.client();
    assert!(sends_nothing(&mut server).await);
    let mut messages = client.messages();
    for number in 1..=2_u16 {
        let message = in_time(messages.next()).await.unwrap();
        assert_eq!(message.payload, number.to_string());
        assert_eq!(server.next().await, Some(puback(number)));
    }
    server.send(&message(3)).await;
    assert_eq!(server.next().await, Some(puback(3)), "at once");
}

/// MQTT-4.6.0-2: one that is never claimed would hold up all the others.
#[tokio::test(start_paused = true)]
async fn what_nobody_claims_is_acknowledged_after_30_s_and_told() {
    for (options, seconds) in [
        (lasting(), 30),
        (lasting().claim_within(Duration::from_secs(7)), 7),
    ] {
        let (connection, mut server, _attempts) = resumed(options, 2).await;
        let client = connection.client();
        let mut events = client.events();
        let began = tokio::time::Instant::now();
        for number in 1..=2 {
            assert_eq!(server.next().await, Some(puback(number)));
        }
        assert_eq!(began.elapsed().as_secs(), seconds);
        let reported = async {
            loop {
                if let Some(ConnectionEvent::Unclaimed { messages }) = events.next().await {
                    return messages;
                }
            }
        };
        assert_eq!(in_time(reported).await, 2);
        assert_eq!(client.stats().unclaimed, 2);
        assert_eq!(client.messages().len(), 2);
    }
    let options = lasting().keep_alive(Duration::ZERO).claim_within(None);
    let (_connection, mut server, _attempts) = resumed(options, 1).await;
    let waits = timeout(Duration::from_secs(500), server.next()).await;
    assert!(waits.is_err(), "forever");
}

/// The stream has what comes with CONNACK, and each message is the application's to acknowledge.
#[tokio::test(start_paused = true)]
async fn a_declared_stream_begins_with_the_first_message() {
    let options = lasting().subscription(declared().queue(BY_HAND));
    let (connection, mut server, _attempts) = resumed(options, 3).await;
    let client = connection.client();
    let subscribe = server.subscribe_all(&[ReasonCode::GrantedQos1]).await;
    assert!(subscribe.filters.iter().all(|(filter, _)| filter == "t"));
    let mut messages = in_time(client.declared("t")).await.unwrap();
    assert_eq!(messages.granted_qos(), QoS::AtLeastOnce);
    for number in 1..=3 {
        let message = in_time(messages.next()).await.unwrap();
        client.acknowledge(message.delivery.unwrap());
        assert_eq!(server.next().await, Some(puback(number)));
    }
    assert_eq!(client.stats().unclaimed, 0);
}

/// Like every other one.
#[tokio::test(start_paused = true)]
async fn a_declared_subscription_is_made_anew_in_the_next_session() {
    let options = lasting().subscription(declared());
    let (connection, mut server, attempts) = resumed(options, 0).await;
    server.subscribe(ReasonCode::GrantedQos1).await;
    let mut messages = in_time(connection.client().declared("t")).await.unwrap();
    let stream = attempts.succeeds(4096);
    drop(server);
    let (mut server, _) = Server::accept(stream, false).await;
    server.subscribe(ReasonCode::GrantedQos1).await;
    server.send(&message(1)).await;
    assert_eq!(in_time(messages.next()).await.unwrap().payload, "1");
}

/// A connection that is lost before SUBACK is no end of it.
#[tokio::test(start_paused = true)]
async fn a_declared_subscription_outlives_a_connection_that_is_lost_at_once() {
    let options = lasting().subscription(declared());
    let (connection, server, attempts) = resumed(options, 0).await;
    let client = connection.client();
    let stream = attempts.succeeds(4096);
    drop(server);
    let (mut server, _) = Server::accept(stream, true).await;
    let (messages, ()) = tokio::join!(
        client.declared("t"),
        server.subscribe(ReasonCode::GrantedQos1)
    );
    assert!(messages.is_ok(), "{messages:?}");
}

#[tokio::test(start_paused = true)]
async fn a_declared_subscription_that_the_server_refuses_is_an_error_and_an_event() {
    let options = lasting().subscription(declared());
    let (connection, mut server, _attempts) = resumed(options, 0).await;
    let client = connection.client();
    let mut events = client.events();
    server.subscribe(ReasonCode::NotAuthorized).await;
    let reported = async {
        loop {
            if let Some(ConnectionEvent::NotSubscribed { filter, refusal }) = events.next().await {
                return (filter.to_string(), refusal.reason());
            }
        }
    };
    let expected = ("t".to_owned(), ReasonCode::NotAuthorized);
    assert_eq!(in_time(reported).await, expected);
    let error = in_time(client.declared("t")).await.unwrap_err();
    assert!(
        matches!(&error, SubscribeError::Rejected { reason, .. } if *reason == ReasonCode::NotAuthorized),
        "{error:?}"
    );
    let again = in_time(client.declared("t")).await.unwrap_err();
    assert!(matches!(again, SubscribeError::NotDeclared(_)), "{again:?}");
}

/// As with [`Client::subscribe_all`](crate::Client::subscribe_all).
#[tokio::test(start_paused = true)]
async fn a_declared_subscription_of_several_filters_may_be_granted_in_part() {
    for partial in [false, true] {
        let several = declared().and("u", QoS::AtMostOnce).partial(partial);
        let (connection, mut server, _attempts) = resumed(lasting().subscription(several), 0).await;
        let client = connection.client();
        let reasons = [ReasonCode::NotAuthorized, ReasonCode::Success];
        server.subscribe_all(&reasons).await;
        match in_time(client.declared("u")).await {
            Ok(messages) => assert!(partial && messages.results()[0].1.is_error()),
            Err(SubscribeError::SomeRejected { results, .. }) => {
                assert!(!partial && results.len() == 2);
            }
            Err(other) => panic!("{other:?}"),
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_declared_stream_is_taken_once_and_only_when_that_completes() {
    let options = lasting().subscription(declared());
    let (connection, mut server, _attempts) = resumed(options, 1).await;
    let client = connection.client();
    let other = in_time(client.declared("other")).await.unwrap_err();
    assert!(matches!(other, SubscribeError::NotDeclared(_)), "{other:?}");
    let given_up = timeout(Duration::from_secs(1), client.declared("t")).await;
    assert!(given_up.is_err(), "there is no SUBACK yet");
    server.subscribe(ReasonCode::GrantedQos1).await;
    let mut messages = in_time(client.declared("t")).await.unwrap();
    assert_eq!(in_time(messages.next()).await.unwrap().payload, "1");
    let again = in_time(client.declared("t")).await.unwrap_err();
    assert!(
        again.to_string().contains("Options::subscription"),
        "{again}"
    );
}

/// Before anything is tried.
#[tokio::test(start_paused = true)]
async fn a_declared_subscription_that_cannot_be_is_an_error_of_connecting() {
    let no_local = DeclaredSubscription::new("$share/group/t").no_local(true);
    for wrong in [DeclaredSubscription::new("t/#/u"), no_local] {
        let (_attempts, script) = Attempts::new();
        let opened = Connection::open_over(lasting().subscription(wrong), script).await;
        let error = opened.unwrap_err();
        assert!(
            matches!(error, ConnectError::Options(OptionsError::Subscription(_))),
            "{error:?}"
        );
    }
}
