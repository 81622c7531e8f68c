//! Connections that are cut.

use std::collections::HashSet;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use ferromqtt::{Connection, Error, Options, QoS, Reconnect, Server};
use ferromqtt_testing::TestBroker;

use crate::cable::Cable;
use crate::{connect, in_time, listening};

async fn behind_a_cable(broker: &TestBroker) -> (Cable, Connection) {
    let cable = Cable::to((broker.host(), broker.port()).into()).await;
    let reconnect = Reconnect {
        initial_delay: Duration::from_millis(4),
        ..Reconnect::default()
    };
    let options = Options::new("127.0.0.1", cable.port()).reconnect(reconnect);
    let connection = Connection::open(options).await.unwrap();
    (cable, connection)
}

/// MQTT-4.4.0-1: what was unacknowledged is resent, and at QoS 2 nothing comes twice.
async fn nothing_is_lost_when_the_sender_is_cut_off(qos: QoS) {
    const TASKS: u32 = 8;
    const EACH: u32 = 100;
    let broker = listening().await;
    let receiver = connect(&broker).await;
    let mut messages = receiver.client().subscribe("t").qos(qos).await.unwrap();
    let (cable, sender) = behind_a_cable(&broker).await;
    let cable = Arc::new(cable);
    let tasks: Vec<_> = (0..TASKS)
        .map(|task| {
            let client = sender.client();
            let cable = Arc::clone(&cable);
            tokio::spawn(async move {
                for number in 0..EACH {
                    let payload = (task * EACH + number).to_be_bytes().to_vec();
                    client.publish("t", payload).qos(qos).await?;
                    if task == 0 && number % 25 == 10 {
                        cable.cut();
                    }
                }
                Ok::<_, Error>(())
            })
        })
        .collect();
    let mut seen = HashSet::new();
    let mut received = 0;
    while seen.len() < (TASKS * EACH) as usize {
        let message = messages.next().await.unwrap();
        seen.insert(message.payload);
        received += 1;
    }
    for task in tasks {
        task.await.unwrap().unwrap();
    }
    if qos == QoS::ExactlyOnce {
        assert_eq!(received, seen.len());
        assert_eq!(messages.try_next(), None);
    }
    assert!(sender.client().stats().connections > 2);
    sender.disconnect().await.unwrap();
    receiver.disconnect().await.unwrap();
    broker.stop().await;
}

#[tokio::test]
async fn nothing_is_lost_at_qos_1_when_the_sender_is_cut_off() {
    in_time(nothing_is_lost_when_the_sender_is_cut_off(QoS::AtLeastOnce)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_lost_or_doubled_at_qos_2_when_the_sender_is_cut_off() {
    in_time(nothing_is_lost_when_the_sender_is_cut_off(QoS::ExactlyOnce)).await;
}

#[tokio::test]
async fn a_subscription_survives_cuts_with_all_its_messages() {
    in_time(async {
        let broker = listening().await;
        let (cable, receiver) = behind_a_cable(&broker).await;
        let client = receiver.client();
        let mut messages = client.subscribe("t").qos(QoS::ExactlyOnce).await.unwrap();
        let sender = connect(&broker).await;
        for number in 0..200_u32 {
            let payload = number.to_be_bytes().to_vec();
            let publish = sender.client();
            publish
                .publish("t", payload)
                .qos(QoS::ExactlyOnce)
                .await
                .unwrap();
            if number % 40 == 20 {
                cable.cut();
            }
            let message = messages.next().await.unwrap();
            assert_eq!(message.payload[..], number.to_be_bytes());
        }
        assert!(client.stats().connections > 2);
        sender.disconnect().await.unwrap();
        receiver.disconnect().await.unwrap();
        broker.stop().await;
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_subscription_is_renewed_when_the_broker_has_forgotten_it() {
    in_time(async {
        let (first, second) = (TestBroker::new(), TestBroker::new());
        let reached = Arc::new(Mutex::new(first.transport()));
        let reach = Arc::clone(&reached);
        let options = Options::new("test-broker", 1883)
            .transport(move |server: Server| (reach.lock().unwrap())(server));
        let connection = Connection::open(options).await.unwrap();
        let client = connection.client();
        let mut messages = client.subscribe("t").qos(QoS::AtLeastOnce).await.unwrap();
        first.stop().await;
        *reached.lock().unwrap() = second.transport();
        // Accepted at once or when it is back; SUBSCRIBE has gone out before it.
        client
            .publish("t", "again")
            .qos(QoS::AtLeastOnce)
            .await
            .unwrap();
        assert_eq!(messages.next().await.unwrap().payload, "again");
        connection.disconnect().await.unwrap();
        second.stop().await;
    })
    .await;
}
