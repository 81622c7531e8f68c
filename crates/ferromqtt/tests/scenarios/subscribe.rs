//! Subscriptions as streams, through the built-in broker.

use std::pin::Pin;

use ferromqtt::{
    CleanStart, Connection, ConnectionError, Error, Messages, ProtocolVersion, QoS, ReasonCode,
    Stream,
};
use ferromqtt_testing::TestBroker;

use crate::{connect, in_time, options};

#[tokio::test(start_paused = true)]
async fn each_stream_gets_what_its_filter_matches() {
    in_time(async {
        let broker = TestBroker::new();
        ferromqtt::scope(options(&broker), async |client| {
            let mut all = client.subscribe("house/#").await?;
            let mut kitchen = client.subscribe("house/kitchen/+").await?;
            client
                .publish("house/kitchen/light", "on")
                .qos(QoS::AtLeastOnce)
                .await?;
            client
                .publish("house/cellar/light", "off")
                .qos(QoS::AtLeastOnce)
                .await?;
            assert_eq!(all.next().await.unwrap().payload, "on");
            assert_eq!(kitchen.next().await.unwrap().payload, "on");
            // The broker sends a copy for each subscription that overlaps, or one for both: never does one stream get less.
            loop {
                if all.next().await.unwrap().payload == "off" {
                    break;
                }
            }
            while let Some(message) = kitchen.try_next() {
                assert_eq!(message.payload, "on");
            }
            Ok::<_, Error>(())
        })
        .await
        .unwrap();
        broker.stop().await;
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_subscription_is_a_stream_that_ends_with_the_connection() {
    in_time(async {
        let broker = TestBroker::new();
        let connection = connect(&broker).await;
        let client = connection.client();
        let mut messages = client.subscribe("t").await.unwrap();
        client
            .publish("t", "last")
            .qos(QoS::AtLeastOnce)
            .await
            .unwrap();
        assert_eq!(from_stream(&mut messages).await.unwrap().payload, "last");
        let waiting = tokio::spawn(async move { from_stream(&mut messages).await });
        connection.disconnect().await.unwrap();
        assert_eq!(waiting.await.unwrap(), None);
        broker.stop().await;
    })
    .await;
}

async fn from_stream(messages: &mut Messages) -> Option<ferromqtt::Message> {
    std::future::poll_fn(|cx| Pin::new(&mut *messages).poll_next(cx)).await
}

#[tokio::test(start_paused = true)]
async fn the_messages_of_a_session_that_was_away_come_to_messages() {
    in_time(async {
        let broker = TestBroker::new();
        let station = options(&broker)
            .client_identifier("station")
            .clean_start(CleanStart::Never);
        ferromqtt::scope(station.clone(), async |client| {
            client
                .subscribe("alarms")
                .qos(QoS::AtLeastOnce)
                .await?
                .detach();
            Ok::<_, Error>(())
        })
        .await
        .unwrap();
        ferromqtt::scope(options(&broker), async |client| {
            for number in 1..=3 {
                let payload = format!("alarm {number}");
                client
                    .publish("alarms", payload)
                    .qos(QoS::AtLeastOnce)
                    .await?;
            }
            Ok::<_, Error>(())
        })
        .await
        .unwrap();
        ferromqtt::scope(station, async |client| {
            let mut missed = client.messages();
            for number in 1..=3 {
                let message = missed.next().await.unwrap();
                assert_eq!(message.payload, format!("alarm {number}"));
            }
            client.unsubscribe("alarms").await?;
            Ok::<_, Error>(())
        })
        .await
        .unwrap();
        broker.stop().await;
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_session_that_another_client_takes_over_is_not_taken_back() {
    in_time(async {
        let broker = TestBroker::new();
        let same = options(&broker).client_identifier("same");
        let old = Connection::open(same.clone()).await.unwrap();
        let mut messages = old.client().subscribe("t").await.unwrap();
        let new = Connection::open(same).await.unwrap();
        assert_eq!(messages.next().await, None);
        let Err(ConnectionError::Disconnected { reason, .. }) = old.disconnect().await else {
            panic!("the server has said why");
        };
        assert_eq!(reason, ReasonCode::SessionTakenOver);
        new.disconnect().await.unwrap();
        broker.stop().await;
    })
    .await;
}

/// On 5.0 the server knows the limit, and drops the message (MQTT-3.1.2-25). Before, it cannot know.
#[tokio::test(start_paused = true)]
async fn a_message_above_the_limit_is_not_received_in_any_version() {
    in_time(async {
        let broker = TestBroker::new();
        for version in [ProtocolVersion::V5, ProtocolVersion::V311] {
            let limited = options(&broker)
                .protocol(version)
                .reconnect(None)
                .maximum_packet_size(100);
            let connection = Connection::open(limited).await.unwrap();
            let mut messages = connection.client().subscribe("t").await.unwrap();
            ferromqtt::scope(options(&broker), async |client| {
                for payload in [vec![b'x'; 200], b"small".to_vec()] {
                    client.publish("t", payload).qos(QoS::AtLeastOnce).await?;
                }
                Ok::<_, Error>(())
            })
            .await
            .unwrap();
            let next = messages.next().await;
            if version == ProtocolVersion::V5 {
                assert_eq!(next.unwrap().payload, "small");
                connection.disconnect().await.unwrap();
            } else {
                assert_eq!(next, None);
                let Err(ConnectionError::PacketTooLarge { bytes, limit: 100 }) =
                    connection.disconnect().await
                else {
                    panic!("the client has not said why");
                };
                assert_eq!(bytes, 2 + 3 + 200 + 1);
            }
        }
        broker.stop().await;
    })
    .await;
}

/// Section 4.8.2: for the broker one subscription, whose messages are dealt out to the streams; one that is dropped leaves
/// its own to the other.
#[tokio::test(start_paused = true)]
async fn streams_of_one_shared_subscription_get_each_message_once() {
    const JOBS: usize = 20;
    in_time(async {
        let broker = TestBroker::new();
        for version in [ProtocolVersion::V5, ProtocolVersion::V311] {
            let connection = Connection::open(options(&broker).protocol(version)).await;
            let connection = connection.unwrap();
            let client = connection.client();
            let share = || {
                client
                    .subscribe("$share/workers/jobs")
                    .qos(QoS::AtLeastOnce)
            };
            let (mut first, mut second) = (share().await.unwrap(), share().await.unwrap());
            for number in 0..JOBS {
                let publish = client.publish("jobs", number.to_string());
                publish.qos(QoS::AtLeastOnce).await.unwrap();
            }
            // What the broker sends before PUBACK has come by now.
            assert_eq!((first.len(), second.len()), (JOBS / 2, JOBS / 2));
            let mut done = Vec::new();
            for messages in [&mut first, &mut second] {
                done.push(messages.next().await.unwrap().payload);
            }
            drop(first);
            while done.len() < JOBS {
                done.push(second.next().await.unwrap().payload);
            }
            assert_eq!(second.try_next(), None);
            done.sort_unstable_by_key(|payload| (payload.len(), payload.clone()));
            let all: Vec<_> = (0..JOBS).map(|number| number.to_string()).collect();
            assert_eq!(done, all);
            connection.disconnect().await.unwrap();
        }
        broker.stop().await;
    })
    .await;
}
