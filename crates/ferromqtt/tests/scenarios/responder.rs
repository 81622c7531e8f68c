//! Responders through the built-in broker, in virtual time.

use std::future::IntoFuture;
use std::time::Duration;

use ferromqtt::{
    Acknowledge, Client, Connection, Error, InvalidSubscribe, Properties, ProtocolVersion, QoS,
    QueueOptions, ReasonCode, RequestError, Requests, SubscribeError,
};
use ferromqtt_testing::{BrokerOptions, TestBroker};
use tokio::time::timeout;

use crate::{connect, in_time, options};

async fn square(mut requests: Requests) -> Result<u64, Error> {
    while let Some(request) = requests.next().await {
        let number: i64 = request.text()?.parse().expect("a number");
        request.respond((number * number).to_string()).await?;
    }
    Ok(requests.passed_over())
}

async fn ask(client: &Client, number: i64) -> Result<String, RequestError> {
    let answer = client.request("square", number.to_string()).await?;
    Ok(answer.text().expect("text").to_owned())
}

#[tokio::test(start_paused = true)]
async fn each_request_is_answered_and_what_asks_for_nothing_is_passed_over() {
    in_time(async {
        let broker = TestBroker::new();
        let (responding, asking) = (connect(&broker).await, connect(&broker).await);
        let client = asking.client();
        let requests = responding
            .client()
            .responder("square")
            .qos(QoS::AtLeastOnce);
        let requests = requests.await.unwrap();
        assert_eq!(requests.granted_qos(), QoS::AtLeastOnce);
        let answering = tokio::spawn(square(requests));
        client.publish("square", "no number").await.unwrap();
        for number in 0..20 {
            assert_eq!(
                ask(&client, number).await.unwrap(),
                (number * number).to_string()
            );
        }
        responding.disconnect().await.unwrap();
        assert_eq!(answering.await.unwrap(), Ok(1));
        broker.stop().await;
    })
    .await;
}

/// Nothing of a stream that is dropped is left, whatever waits in its queue.
#[tokio::test(start_paused = true)]
async fn dropped_it_unsubscribes_and_holds_up_nothing() {
    in_time(async {
        let broker = TestBroker::new();
        let responding = connect(&broker).await;
        let client = responding.client();
        let by_hand = QueueOptions {
            limit: Some(1),
            acknowledge: Acknowledge::ByApplication,
            ..QueueOptions::DEFAULT
        };
        let responder = client.responder("square").qos(QoS::AtLeastOnce);
        let mut requests = responder.queue(by_hand).await.unwrap();
        let asked = [1, 2, 3].map(|number| {
            let client = client.clone();
            tokio::spawn(async move { ask(&client, number).await })
        });
        let request = requests.next().await.expect("a request");
        request.respond("late").qos(QoS::AtLeastOnce).await.unwrap();
        client.acknowledge(request.delivery.expect("at QoS 1"));
        drop(requests);
        for task in asked {
            match task.await.unwrap() {
                Ok(answer) => assert_eq!(answer, "late"),
                Err(error) => assert!(matches!(error, RequestError::TimedOut { .. }), "{error}"),
            }
        }
        assert_eq!(client.unacknowledged().messages, 0);
        let answer = timeout(Duration::from_secs(5), ask(&client, 4)).await;
        assert_eq!(answer.unwrap(), Err(RequestError::NoResponder));
        responding.disconnect().await.unwrap();
        broker.stop().await;
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn what_is_passed_over_is_acknowledged() {
    in_time(async {
        let broker = TestBroker::new();
        let connection = connect(&broker).await;
        let client = connection.client();
        let by_hand = QueueOptions {
            acknowledge: Acknowledge::ByApplication,
            ..QueueOptions::DEFAULT
        };
        let responder = client.responder("square").qos(QoS::AtLeastOnce);
        let mut requests = responder.queue(by_hand).await.unwrap();
        let plain = client.publish("square", "2").qos(QoS::AtLeastOnce);
        plain.await.unwrap();
        assert_eq!(requests.len(), 1);
        assert!(requests.try_next().is_none());
        assert_eq!(requests.passed_over(), 1);
        assert_eq!(client.unacknowledged().messages, 0);
        // Whoever asks may be another library, without Correlation Data.
        let mut answers = client.subscribe("answers").await.unwrap();
        let properties = Properties {
            response_topic: Some("answers".try_into().unwrap()),
            ..Properties::default()
        };
        client
            .publish("square", "3")
            .properties(properties)
            .await
            .unwrap();
        let request = requests.next().await.expect("a request");
        request.respond("9").await.unwrap();
        request.respond("nine").await.unwrap();
        assert_eq!(answers.next().await.unwrap().payload, "9");
        assert_eq!(answers.next().await.unwrap().payload, "nine");
        assert_eq!(request.into_message().payload, "3");
        connection.disconnect().await.unwrap();
        broker.stop().await;
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn before_mqtt_5_it_is_refused_before_anything_is_sent() {
    in_time(async {
        let broker = TestBroker::new();
        let options = options(&broker)
            .client_identifier("c")
            .protocol(ProtocolVersion::V311);
        ferromqtt::scope(options, async |client| {
            let refused = client.responder("square").await.unwrap_err();
            assert_eq!(
                refused,
                SubscribeError::Invalid(InvalidSubscribe::NoRequests)
            );
            assert_eq!(broker.session_stats("c").unwrap().subscriptions, 0);
            Ok::<_, Error>(())
        })
        .await
        .unwrap();
        broker.stop().await;
    })
    .await;
}

/// What the client speaks is known only when the server has answered, and the call waits for that.
#[tokio::test(start_paused = true)]
async fn with_a_server_of_3_1_1_it_is_refused_also_before_the_version_is_known() {
    in_time(async {
        let mut rules = BrokerOptions::default();
        rules.refused_versions = vec![ProtocolVersion::V5];
        let broker = TestBroker::with_options(rules);
        let options = options(&broker).client_identifier("c").protocol_auto();
        let connection = Connection::start(options).await.unwrap();
        let client = connection.client();
        assert_eq!(client.protocol(), ProtocolVersion::V5, "so far");
        let refused = client.responder("square").await.unwrap_err();
        assert_eq!(
            refused,
            SubscribeError::Invalid(InvalidSubscribe::NoRequests)
        );
        assert_eq!(client.protocol(), ProtocolVersion::V311);
        assert_eq!(broker.session_stats("c").unwrap().subscriptions, 0);
        connection.disconnect().await.unwrap();
        broker.stop().await;
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_refused_filter_is_an_error_with_code_and_filter() {
    in_time(async {
        let mut rules = BrokerOptions::default();
        let square = "square".parse().unwrap();
        rules
            .deny_subscribe(square, ReasonCode::NotAuthorized)
            .unwrap();
        let broker = TestBroker::with_options(rules);
        let connection = connect(&broker).await;
        match connection.client().responder("square").await {
            Err(SubscribeError::Rejected { filter, reason, .. }) => {
                assert_eq!(
                    (filter.as_str(), reason),
                    ("square", ReasonCode::NotAuthorized)
                );
            }
            other => panic!("{other:?}"),
        }
        connection.disconnect().await.unwrap();
        broker.stop().await;
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_shared_subscription_shares_the_work() {
    in_time(async {
        let broker = TestBroker::new();
        let workers = [connect(&broker).await, connect(&broker).await];
        let mut answering = Vec::new();
        for worker in &workers {
            let responder = worker.client().responder("$share/workers/square");
            let mut requests = responder.qos(QoS::AtLeastOnce).await.unwrap();
            answering.push(tokio::spawn(async move {
                let mut count = 0;
                while let Some(request) = requests.next().await {
                    request.respond("done").await.unwrap();
                    count += 1;
                }
                count
            }));
        }
        let asking = connect(&broker).await;
        let client = asking.client();
        for number in 0..10 {
            ask(&client, number).into_future().await.unwrap();
        }
        for worker in workers {
            worker.disconnect().await.unwrap();
        }
        for task in answering {
            assert_eq!(task.await.unwrap(), 5);
        }
        asking.disconnect().await.unwrap();
        broker.stop().await;
    })
    .await;
}
