//! Publishing through the built-in broker.

use std::collections::HashMap;

use ferromqtt::{Error, Properties, ProtocolVersion, QoS, TopicName, Utf8String};
use ferromqtt_testing::TestBroker;

use crate::{connect, in_time, options};

#[tokio::test(start_paused = true)]
async fn a_message_arrives_at_each_qos_on_each_version() {
    in_time(async {
        let broker = TestBroker::new();
        for version in [
            ProtocolVersion::V311,
            ProtocolVersion::V5,
            ProtocolVersion::V31,
        ] {
            let options = options(&broker).protocol(version).client_identifier("c");
            ferromqtt::scope(options, async |client| {
                let mut messages = client.subscribe("t/#").qos(QoS::ExactlyOnce).await?;
                for qos in [QoS::AtMostOnce, QoS::AtLeastOnce, QoS::ExactlyOnce] {
                    client.publish("t/x", vec![qos.value()]).qos(qos).await?;
                    let message = messages.next().await.expect("the message");
                    assert_eq!(message.topic, "t/x");
                    assert_eq!(message.qos, qos);
                    assert_eq!(message.payload[..], [qos.value()]);
                }
                Ok::<_, Error>(())
            })
            .await
            .unwrap();
        }
        broker.stop().await;
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn properties_and_large_payloads_arrive_whole() {
    in_time(async {
        let broker = TestBroker::new();
        let connection = connect(&broker).await;
        let client = connection.client();
        let mut messages = client.subscribe("t").qos(QoS::AtLeastOnce).await.unwrap();
        let topic = TopicName::new("t").unwrap();
        for size in [0, 1, 4_095, 4_096, 65_536, 5_000_000] {
            let properties = Properties {
                content_type: Some(Utf8String::from_static("text/plain").unwrap()),
                ..Properties::default()
            };
            let payload: Vec<u8> = (0..size).map(|at| (at % 251) as u8).collect();
            client
                .publish(topic.clone(), payload.clone())
                .qos(QoS::AtLeastOnce)
                .properties(properties.clone())
                .await
                .unwrap();
            let message = messages.next().await.unwrap();
            assert_eq!(message.payload, payload);
            assert_eq!(message.properties.as_deref(), Some(&properties));
        }
        connection.disconnect().await.unwrap();
        broker.stop().await;
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn qos_0_messages_whose_publish_has_completed_are_written_before_disconnect() {
    in_time(async {
        let broker = TestBroker::new();
        let receiver = connect(&broker).await;
        let mut messages = receiver.client().subscribe("t").await.unwrap();
        ferromqtt::scope(options(&broker), async |client| {
            for number in 0..20_000_u32 {
                client.publish("t", number.to_be_bytes().to_vec()).await?;
            }
            Ok::<_, Error>(())
        })
        .await
        .unwrap();
        for number in 0..20_000_u32 {
            let message = messages.next().await.unwrap();
            assert_eq!(message.payload[..], number.to_be_bytes());
        }
        receiver.disconnect().await.unwrap();
        broker.stop().await;
    })
    .await;
}

/// MQTT-4.6.0-1 and 4.6.0-6: each task's messages keep their order.
async fn a_hundred_tasks_share_a_client() {
    const TASKS: u32 = 100;
    const EACH: u32 = 100;
    let broker = TestBroker::new();
    let receiver = connect(&broker).await;
    let client = receiver.client();
    let mut messages = client.subscribe("t/+").qos(QoS::AtLeastOnce).await.unwrap();
    let sender = connect(&broker).await;
    let tasks: Vec<_> = (0..TASKS)
        .map(|task| {
            let client = sender.client();
            tokio::spawn(async move {
                for number in 0..EACH {
                    client
                        .publish(format!("t/{task}"), number.to_be_bytes().to_vec())
                        .qos(QoS::AtLeastOnce)
                        .await?;
                }
                Ok::<_, Error>(())
            })
        })
        .collect();
    let mut next: HashMap<String, u32> = HashMap::new();
    for _ in 0..TASKS * EACH {
        let message = messages.next().await.unwrap();
        let number = next.entry(message.topic.to_string()).or_default();
        assert_eq!(
            message.payload[..],
            number.to_be_bytes(),
            "{}",
            message.topic
        );
        *number += 1;
    }
    assert_eq!(next.len(), 100);
    for task in tasks {
        task.await.unwrap().unwrap();
    }
    assert_eq!(sender.client().stats().acknowledged, 10_000);
    assert_eq!(messages.take_lost(), 0);
    sender.disconnect().await.unwrap();
    receiver.disconnect().await.unwrap();
    broker.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hundred_tasks_share_a_client_on_two_threads() {
    in_time(a_hundred_tasks_share_a_client()).await;
}

#[tokio::test(start_paused = true)]
async fn a_hundred_tasks_share_a_client_on_one_thread() {
    in_time(a_hundred_tasks_share_a_client()).await;
}
