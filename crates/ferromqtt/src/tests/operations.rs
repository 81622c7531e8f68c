//! Publishing and subscribing, as the server sees them.

use std::num::NonZeroU16;
use std::time::Duration;

use bytes::BytesMut;
use ferromqtt_proto::packet::{ConnAck, Packet};
use tokio::io::AsyncWriteExt;
use tokio::time::timeout;

use super::server::Server;
use super::{Attempts, connected, in_time, message, options};
use crate::{
    Connection, Delivery, OutgoingLimits, Overflow, Properties, ProtocolVersion, PublishError, QoS,
    QueueOptions, ReasonCode, SubscribeError, TopicAlias,
};

#[tokio::test(start_paused = true)]
async fn a_negative_puback_is_an_error_with_the_servers_reason_mqtt_4_4_0_2() {
    let (connection, mut server, _attempts) = connected(options(), 4096).await;
    let client = connection.client();
    let publishing = client.publish("t", "").qos(QoS::AtLeastOnce);
    let receipt = publishing.enqueue().await.unwrap();
    let publish = server.publish().await;
    server
        .puback(publish.packet_id, ReasonCode::QuotaExceeded)
        .await;
    assert_eq!(
        receipt.await,
        Err(PublishError::Rejected {
            reason: ReasonCode::QuotaExceeded,
            properties: None,
        })
    );
}

#[tokio::test(start_paused = true)]
async fn what_cannot_be_published_or_subscribed_fails_before_anything_is_sent() {
    let (connection, mut server, _attempts) = connected(options(), 4096).await;
    let client = connection.client();
    let error = client.publish("a/#", "").await.unwrap_err();
    assert!(matches!(error, PublishError::Invalid(_)), "{error:?}");
    assert_eq!(error.delivery(), Delivery::NotSent);
    let error = client.subscribe("a/#/b").await.unwrap_err();
    assert!(matches!(error, SubscribeError::Invalid(_)), "{error:?}");
    let (end, _) = tokio::join!(connection.disconnect(), server.disconnected());
    assert_eq!(end, Ok(()));
}

#[tokio::test(start_paused = true)]
async fn dropping_the_future_does_not_take_back_an_accepted_publish() {
    let (connection, mut server, _attempts) = connected(options(), 4096).await;
    let client = connection.client();
    let publishing = client.publish("t", "kept").qos(QoS::AtLeastOnce);
    let limit = Duration::from_secs(1);
    assert!(timeout(limit, publishing.into_future()).await.is_err());
    let publish = server.publish().await;
    assert_eq!(publish.payload, "kept");
    server.puback(publish.packet_id, ReasonCode::Success).await;
    let (end, _) = tokio::join!(connection.disconnect(), server.disconnected());
    assert_eq!(end, Ok(()));
}

#[tokio::test(start_paused = true)]
async fn calls_that_wait_for_room_get_it_in_their_order() {
    let limits = OutgoingLimits {
        messages: Some(1),
        bytes: None,
    };
    let (connection, mut server, _attempts) = connected(options().outgoing(limits), 4096).await;
    let mut calls = Vec::new();
    for number in 0..50_u8 {
        let client = connection.client();
        let qos = if number % 5 == 0 {
            QoS::AtMostOnce
        } else {
            QoS::AtLeastOnce
        };
        calls.push(tokio::spawn(async move {
            client.publish("t", vec![number]).qos(qos).await
        }));
    }
    for number in 0..50_u8 {
        let publish = server.publish().await;
        assert_eq!(publish.payload[..], [number]);
        if publish.packet_id.is_some() {
            server.puback(publish.packet_id, ReasonCode::Success).await;
        }
    }
    for call in calls {
        call.await.unwrap().unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn a_call_does_not_overtake_those_that_wait_for_room() {
    let limits = OutgoingLimits {
        messages: Some(1),
        bytes: None,
    };
    let (connection, mut server, _attempts) = connected(options().outgoing(limits), 4096).await;
    let client = connection.client();
    let first = client.publish("t", "first").qos(QoS::AtLeastOnce);
    let first = first.enqueue().await.unwrap();
    // Told before the other that there is room again, and so the first to run.
    let late = connection.client();
    let late = tokio::spawn(async move {
        first.await?;
        late.publish("t", "third").await
    });
    let waiting = connection.client();
    let waiting = tokio::spawn(async move {
        let publishing = waiting.publish("t", "second").qos(QoS::AtLeastOnce);
        publishing.await
    });
    tokio::task::yield_now().await; // both have called
    let publish = server.publish().await;
    server.puback(publish.packet_id, ReasonCode::Success).await;
    let publish = server.publish().await;
    assert_eq!(publish.payload, "second");
    assert_eq!(server.publish().await.payload, "third");
    server.puback(publish.packet_id, ReasonCode::Success).await;
    late.await.unwrap().unwrap();
    waiting.await.unwrap().unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_call_that_gives_up_waiting_for_room_was_not_accepted_and_blocks_nobody() {
    let limits = OutgoingLimits {
        messages: Some(1),
        bytes: None,
    };
    let (connection, mut server, _attempts) = connected(options().outgoing(limits), 4096).await;
    let client = connection.client();
    let first = client.publish("t", "first").qos(QoS::AtLeastOnce);
    let first = first.enqueue().await.unwrap();
    let impatient = client.publish("t", "impatient").qos(QoS::AtLeastOnce);
    let limit = Duration::from_secs(1);
    assert!(timeout(limit, impatient.into_future()).await.is_err());
    let patient = client.clone();
    let patient =
        tokio::spawn(async move { patient.publish("t", "patient").qos(QoS::AtLeastOnce).await });
    for payload in ["first", "patient"] {
        let publish = server.publish().await;
        assert_eq!(publish.payload, payload);
        server.puback(publish.packet_id, ReasonCode::Success).await;
    }
    first.await.unwrap();
    patient.await.unwrap().unwrap();
}

#[tokio::test(start_paused = true)]
async fn whoever_waits_for_room_learns_that_the_connection_has_ended() {
    let limits = OutgoingLimits {
        messages: Some(1),
        bytes: None,
    };
    let (connection, server, _attempts) = connected(options().outgoing(limits), 4096).await;
    let client = connection.client();
    let mut calls = Vec::new();
    for _ in 0..3 {
        let client = client.clone();
        calls.push(tokio::spawn(async move {
            client.publish("t", "").qos(QoS::AtLeastOnce).await
        }));
    }
    tokio::task::yield_now().await; // each of them has called
    connection.disconnect().await.unwrap();
    for call in calls {
        let error = in_time(call).await.unwrap().unwrap_err();
        assert!(
            matches!(error, PublishError::Disconnected { .. }),
            "{error:?}"
        );
    }
    drop(server);
}

#[tokio::test(start_paused = true)]
async fn a_refused_subscription_is_an_error_and_leaves_nothing_behind() {
    let (connection, mut server, _attempts) = connected(options(), 4096).await;
    let client = connection.client();
    let (refused, ()) = tokio::join!(
        client.subscribe("a/#").into_future(),
        server.subscribe(ReasonCode::NotAuthorized)
    );
    assert_eq!(
        refused.unwrap_err(),
        SubscribeError::Rejected {
            filter: "a/#".parse().unwrap(),
            reason: ReasonCode::NotAuthorized,
            properties: None,
        }
    );
    let (end, _) = tokio::join!(connection.disconnect(), server.disconnected()); // no UNSUBSCRIBE before it
    assert_eq!(end, Ok(()));
}

#[tokio::test(start_paused = true)]
async fn a_stream_that_is_dropped_unsubscribes_and_one_that_shares_its_filter_keeps_it() {
    let (connection, mut server, _attempts) = connected(options(), 4096).await;
    let client = connection.client();
    let (first, ()) = tokio::join!(
        client.subscribe("a/#").qos(QoS::ExactlyOnce).into_future(),
        server.subscribe(ReasonCode::GrantedQos1)
    );
    let first = first.unwrap();
    assert_eq!(first.granted_qos(), QoS::AtLeastOnce);
    let (second, ()) = tokio::join!(
        client.subscribe("a/#").into_future(),
        server.subscribe(ReasonCode::Success)
    );
    drop(first);
    drop(second);
    assert_eq!(server.unsubscribe().await, "a/#");
    let (end, _) = tokio::join!(connection.disconnect(), server.disconnected()); // one UNSUBSCRIBE only
    assert_eq!(end, Ok(()));
}

#[tokio::test(start_paused = true)]
async fn unsubscribing_waits_for_the_servers_word() {
    let (connection, mut server, _attempts) = connected(options(), 4096).await;
    let client = connection.client();
    let (messages, ()) = tokio::join!(
        client.subscribe("a/#").into_future(),
        server.subscribe(ReasonCode::Success)
    );
    let (ended, filter) = tokio::join!(messages.unwrap().unsubscribe(), server.unsubscribe());
    assert_eq!(ended, Ok(()));
    assert_eq!(filter, "a/#");
    let (ended, filter) = tokio::join!(client.unsubscribe("b"), server.unsubscribe());
    assert_eq!(ended, Ok(()));
    assert_eq!(filter, "b");
    let (end, _) = tokio::join!(connection.disconnect(), server.disconnected());
    assert_eq!(end, Ok(()));
}

#[tokio::test(start_paused = true)]
async fn subscribing_that_is_given_up_is_taken_back() {
    let (connection, mut server, _attempts) = connected(options(), 4096).await;
    let client = connection.client();
    let subscribing = client.subscribe("a/#").into_future();
    assert!(timeout(Duration::from_secs(1), subscribing).await.is_err());
    server.subscribe(ReasonCode::Success).await;
    assert_eq!(server.unsubscribe().await, "a/#");
    let (end, _) = tokio::join!(connection.disconnect(), server.disconnected());
    assert_eq!(end, Ok(()));
}

#[tokio::test(start_paused = true)]
async fn subscribing_that_is_given_up_without_a_connection_is_never_sent() {
    let (connection, server, attempts) = connected(options(), 4096).await;
    let client = connection.client();
    drop(server);
    while client.is_connected() {
        tokio::task::yield_now().await;
    }
    let subscribing = client.subscribe("a/#").into_future();
    assert!(timeout(Duration::from_secs(1), subscribing).await.is_err());
    let (mut server, _) = Server::accept(attempts.succeeds(4096), true).await;
    client.publish("t", "after it").await.unwrap();
    assert_eq!(server.publish().await.payload, "after it");
}

#[tokio::test(start_paused = true)]
async fn a_full_queue_keeps_the_latest_messages_and_counts_the_others() {
    let (connection, mut server, _attempts) = connected(options().reconnect(None), 4096).await;
    let client = connection.client();
    let bounds = QueueOptions {
        limit: Some(2),
        overflow: Overflow::DropOldest,
        ..QueueOptions::default()
    };
    let (messages, ()) = tokio::join!(
        client.subscribe("t").queue(bounds).into_future(),
        server.subscribe(ReasonCode::Success)
    );
    let mut messages = messages.unwrap();
    for payload in ["1", "2", "3", "4", "5"] {
        server.send(&message(payload)).await;
    }
    server.send(&Packet::PingReq).await; // only clients send it: ends the connection, behind the messages
    client.closed().await;
    assert_eq!(messages.len(), 2);
    assert_eq!(messages.take_lost(), 3);
    assert_eq!(messages.next().await.unwrap().payload, "4");
    assert_eq!(messages.try_next().unwrap().payload, "5");
    assert_eq!(messages.try_next(), None);
}

#[tokio::test(start_paused = true)]
async fn a_stream_that_only_takes_keeps_up_with_a_flood_on_its_own_thread() {
    const COUNT: usize = 200_000;
    let (connection, mut server, _attempts) = connected(options(), 1 << 20).await;
    let client = connection.client();
    let bounds = QueueOptions {
        limit: Some(20_000), // one read of such small messages is already half of it
        overflow: Overflow::DropOldest,
        ..QueueOptions::default()
    };
    let (messages, ()) = tokio::join!(
        client.subscribe("t").queue(bounds).into_future(),
        server.subscribe(ReasonCode::Success)
    );
    let mut messages = messages.unwrap();
    let flood = tokio::spawn(async move {
        let mut bytes = BytesMut::new();
        for _ in 0..COUNT {
            message("").encode(ProtocolVersion::V5, &mut bytes);
        }
        server.stream.write_all(&bytes).await.unwrap();
        server
    });
    let mut count = 0;
    while count < COUNT && messages.take_lost() == 0 {
        in_time(messages.next()).await.unwrap();
        count += 1;
    }
    assert_eq!(count, COUNT);
    drop(flood.await);
}

/// MQTT-3.2.2-17: the application's Topic Aliases, up to the server's maximum.
#[tokio::test(start_paused = true)]
async fn a_chosen_topic_alias_replaces_the_topic_from_the_second_message_on() {
    let (attempts, script) = Attempts::new();
    let mut server = Server::new(attempts.succeeds(4096));
    let accepts = async {
        server.connect().await;
        let properties = Properties {
            topic_alias_maximum: Some(2),
            ..Properties::default()
        };
        let connack = ConnAck {
            session_present: false,
            reason: ReasonCode::Success,
            properties,
        };
        server.send(&Packet::ConnAck(Box::new(connack))).await;
    };
    let (connection, ()) = tokio::join!(Connection::open_over(options(), script), accepts);
    let connection = connection.unwrap();
    let client = connection.client();
    let aliased = |number: u16| Properties {
        topic_alias: NonZeroU16::new(number).map(TopicAlias),
        ..Properties::default()
    };
    for topic in ["a/b", ""] {
        client
            .publish("a/b", "")
            .properties(aliased(2))
            .await
            .unwrap();
        let publish = server.publish().await;
        assert_eq!(publish.topic, topic);
        assert_eq!(publish.properties.as_deref(), Some(&aliased(2)));
    }
    let error = client.publish("a/b", "").properties(aliased(3)).await;
    let error = error.unwrap_err();
    assert_eq!(error.delivery(), Delivery::NotSent);
    assert!(error.to_string().contains("topic alias 3 is above the 2"));
    let (end, _) = tokio::join!(connection.disconnect(), server.disconnected());
    assert_eq!(end, Ok(()));
}
