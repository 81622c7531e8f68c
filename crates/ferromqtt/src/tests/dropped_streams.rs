//! Streams that are dropped before all their messages are taken.

use ferromqtt_proto::packet::{Packet, UnsubAck};

use super::holding::{message, puback, sends_nothing, subscribed};
use super::*;
use crate::{
    Acknowledge, CleanStart, Client, ConnectionEvent, Events, FilterRefusal, Messages,
    QueueOptions, ReasonCode,
};

const BY_HAND: QueueOptions = QueueOptions {
    acknowledge: Acknowledge::ByApplication,
    ..QueueOptions::DEFAULT
};

/// Three messages to be acknowledged have come, and one of them is taken.
async fn with_three(
    clean_start: CleanStart,
) -> (Connection, Server<DuplexStream>, Messages, crate::Message) {
    let options = options().client_identifier("me").clean_start(clean_start);
    let (connection, mut server, _attempts) = connected(options, 4096).await;
    let mut messages = subscribed(&connection.client(), &mut server, BY_HAND).await;
    for number in 1..=3 {
        server.send(&message(number)).await;
    }
    let first = messages.next().await.unwrap();
    while messages.len() < 2 {
        tokio::task::yield_now().await;
    }
    (connection, server, messages, first)
}

async fn losses(events: &mut Events) -> (Vec<String>, u64) {
    loop {
        if let Some(ConnectionEvent::Lagged { filters, lost }) = in_time(events.next()).await {
            return (filters.iter().map(ToString::to_string).collect(), lost);
        }
    }
}

/// Whoever waits on `Client::messages` gets what the stream had not taken, and the server still waits for its PUBACKs.
async fn the_rest_is_there(client: &Client, server: &mut Server<DuplexStream>) {
    let mut rest = client.messages();
    assert!(
        sends_nothing(server).await,
        "neither UNSUBSCRIBE nor PUBACK"
    );
    for number in 2..=3_u16 {
        let message = in_time(rest.next()).await.unwrap();
        assert_eq!(message.payload, number.to_string());
        client.acknowledge(message.delivery.unwrap());
    }
    assert!(sends_nothing(server).await, "the first is still worked on");
}

/// MQTT-4.6.0-2. The session outlives the program, so its subscription does too.
#[tokio::test(start_paused = true)]
async fn a_stream_of_a_lasting_session_leaves_all_to_it() {
    for detached in [false, true] {
        let (connection, mut server, messages, first) = with_three(CleanStart::Never).await;
        let client = connection.client();
        let waiting = tokio::spawn({
            let mut later = client.messages();
            async move { later.next().await.unwrap() }
        });
        tokio::task::yield_now().await; // it waits
        if detached {
            messages.detach();
        } else {
            drop(messages);
        }
        let second = in_time(waiting).await.unwrap();
        assert_eq!(second.payload, "2");
        assert!(
            sends_nothing(&mut server).await,
            "neither UNSUBSCRIBE nor PUBACK"
        );
        let third = client.messages().try_next().unwrap();
        for message in [third, second] {
            client.acknowledge(message.delivery.unwrap());
        }
        assert!(
            sends_nothing(&mut server).await,
            "the first is still worked on"
        );
        client.acknowledge(first.delivery.unwrap());
        for number in 1..=3 {
            assert_eq!(server.next().await, Some(puback(number)));
        }
    }
}

/// Detaching by hand does the same in any session.
#[tokio::test(start_paused = true)]
async fn detaching_leaves_all_to_the_session() {
    let (connection, mut server, messages, first) = with_three(CleanStart::FirstOnly).await;
    messages.detach();
    let client = connection.client();
    the_rest_is_there(&client, &mut server).await;
    client.acknowledge(first.delivery.unwrap());
    for number in 1..=3 {
        assert_eq!(server.next().await, Some(puback(number)));
    }
}

/// Otherwise the messages would hold up those of all other streams: they are lost, and that is told.
#[tokio::test(start_paused = true)]
async fn a_stream_of_a_passing_session_tells_what_is_lost_with_it() {
    let (connection, mut server, messages, first) = with_three(CleanStart::FirstOnly).await;
    let client = connection.client();
    let mut events = client.events();
    drop(messages);
    assert_eq!(losses(&mut events).await, (vec!["t".into()], 2));
    let Some(Packet::Unsubscribe(_)) = server.next().await else {
        panic!("it is not unsubscribed");
    };
    client.acknowledge(first.delivery.unwrap());
    for number in 1..=3 {
        assert_eq!(server.next().await, Some(puback(number)));
    }
    assert!(client.messages().is_empty());
}

/// The end of a subscription is asked for, so it comes in any session; and what is lost is told.
#[tokio::test(start_paused = true)]
async fn unsubscribing_ends_the_subscription_of_a_lasting_session_too() {
    for clean_start in [CleanStart::Never, CleanStart::FirstOnly] {
        let (connection, mut server, messages, _first) = with_three(clean_start).await;
        let client = connection.client();
        let mut events = client.events();
        let confirms = async {
            let Some(Packet::Unsubscribe(unsubscribe)) = server.next().await else {
                panic!("it is not unsubscribed");
            };
            let unsuback = Packet::UnsubAck(Box::new(UnsubAck {
                packet_id: unsubscribe.packet_id,
                reasons: vec![ReasonCode::Success],
                properties: Default::default(),
            }));
            server.send(&unsuback).await;
        };
        let (unsubscribed, ()) = tokio::join!(messages.unsubscribe(), confirms);
        assert_eq!(unsubscribed, Ok(()));
        assert_eq!(losses(&mut events).await, (vec!["t".into()], 2));
        assert!(client.messages().is_empty());
    }
}

/// Section 3.11.3: nobody waits for the answer, so the event says it.
#[tokio::test(start_paused = true)]
async fn a_refusal_to_unsubscribe_a_dropped_stream_is_an_event() {
    let (connection, mut server, _attempts) = connected(options(), 4096).await;
    let client = connection.client();
    let messages = subscribed(&client, &mut server, QueueOptions::DEFAULT).await;
    let mut events = client.events();
    assert!(matches!(
        events.next().await,
        Some(ConnectionEvent::Connected { .. })
    ));
    drop(messages);
    server.unsubscribe_all(&[ReasonCode::NotAuthorized]).await;
    let expected = ConnectionEvent::NotUnsubscribed {
        filter: "t".try_into().unwrap(),
        refusal: FilterRefusal::ByServer(ReasonCode::NotAuthorized),
    };
    assert_eq!(in_time(events.next()).await, Some(expected));
}
