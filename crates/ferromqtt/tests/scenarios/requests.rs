//! Requests and responses through the built-in broker.

use std::time::Duration;

use ferromqtt::{Client, Error, QoS, RequestError};
use ferromqtt_testing::TestBroker;
use tokio::task::JoinSet;

use crate::cable::Cable;
use crate::{connect, in_time, listening, options};

/// Answers `count` questions with their payload doubled.
async fn double(client: &Client, count: usize) -> Result<(), Error> {
    let mut questions = client.subscribe("double").qos(QoS::AtLeastOnce).await?;
    client.publish("ready", "").qos(QoS::AtLeastOnce).await?;
    for _ in 0..count {
        let question = questions.next().await.expect("a question");
        let number: u32 = std::str::from_utf8(&question.payload)
            .unwrap()
            .parse()
            .unwrap();
        client.respond(&question, (2 * number).to_string()).await?;
    }
    Ok(())
}

async fn each_task_gets_its_own_answer() {
    const TASKS: u32 = 50;
    let broker = TestBroker::new();
    let asking = connect(&broker).await;
    let client = asking.client();
    let mut ready = client
        .subscribe("ready")
        .qos(QoS::AtLeastOnce)
        .await
        .unwrap();
    let answering = tokio::spawn(ferromqtt::scope(options(&broker), async |client| {
        double(&client, 10 * TASKS as usize).await
    }));
    ready.next().await.unwrap();
    let mut tasks = JoinSet::new();
    for task in 0..TASKS {
        let client = client.clone();
        tasks.spawn(async move {
            for number in 10 * task..10 * (task + 1) {
                let answer = client.request("double", number.to_string()).await?;
                assert_eq!(answer.payload, (2 * number).to_string());
            }
            Ok::<_, Error>(())
        });
    }
    while let Some(task) = tasks.join_next().await {
        task.unwrap().unwrap();
    }
    answering.await.unwrap().unwrap();
    asking.disconnect().await.unwrap();
    broker.stop().await;
}

#[tokio::test(start_paused = true)]
async fn each_task_gets_its_own_answer_on_one_thread() {
    in_time(each_task_gets_its_own_answer()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_task_gets_its_own_answer_on_two_threads() {
    in_time(each_task_gets_its_own_answer()).await;
}

/// The loop that asks is the one that answers: neither waits for the other.
#[tokio::test(start_paused = true)]
async fn a_client_answers_itself() {
    in_time(async {
        let broker = TestBroker::new();
        ferromqtt::scope(options(&broker), async |client| {
            let answering = client.clone();
            let answering = tokio::spawn(async move { double(&answering, 1).await });
            let answer = loop {
                match client.request("double", "21").await {
                    Err(RequestError::NoResponder) => tokio::task::yield_now().await,
                    answer => break answer?,
                }
            };
            assert_eq!(answer.payload, "42");
            answering.await.expect("it answers")?;
            Ok::<_, Error>(())
        })
        .await
        .unwrap();
        broker.stop().await;
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn the_broker_tells_that_nobody_is_there() {
    in_time(async {
        let broker = TestBroker::new();
        let connection = connect(&broker).await;
        let error = connection.client().request("nobody", "").await;
        assert_eq!(error, Err(RequestError::NoResponder));
        connection.disconnect().await.unwrap();
        broker.stop().await;
    })
    .await;
}

/// The answer finds its way over a connection that was made after the question.
#[tokio::test]
async fn a_request_survives_a_cut() {
    in_time(async {
        let broker = listening().await;
        let cable = Cable::to((broker.host(), broker.port()).into()).await;
        let reconnect = ferromqtt::Reconnect {
            initial_delay: Duration::from_millis(4),
            ..ferromqtt::Reconnect::default()
        };
        let options = ferromqtt::Options::new("127.0.0.1", cable.port()).reconnect(reconnect);
        let asking = ferromqtt::Connection::open(options).await.unwrap();
        let answering = connect(&broker).await;
        let mut questions = (answering.client().subscribe("q"))
            .qos(QoS::AtLeastOnce)
            .await
            .unwrap();
        let client = asking.client();
        let asked = tokio::spawn(async move { client.request("q", "still there?").await });
        let question = questions.next().await.unwrap();
        cable.cut();
        let answer = answering.client();
        answer.respond(&question, "yes").await.unwrap();
        assert_eq!(asked.await.unwrap().unwrap().payload, "yes");
        asking.disconnect().await.unwrap();
        answering.disconnect().await.unwrap();
        broker.stop().await;
    })
    .await;
}
