//! Sessions that outlive the program, through the built-in broker: nothing is lost between one run and the next.

use ferromqtt::{
    Acknowledge, CleanStart, Client, Connection, Error, Options, ProtocolVersion, QoS, QueueOptions,
};
use ferromqtt_testing::TestBroker;

use crate::{broker, in_time, options};

/// A stream that leaves it to the application to acknowledge.
const BY_HAND: QueueOptions = QueueOptions {
    acknowledge: Acknowledge::ByApplication,
    ..QueueOptions::DEFAULT
};

/// How one run of the program leaves its stream.
#[derive(Clone, Copy, Debug)]
enum End {
    Scope,
    Detached,
    Aborted,
    /// The connection before the stream.
    Late,
    Unsubscribed,
}

fn worker(broker: &TestBroker, version: ProtocolVersion) -> Options {
    options(broker)
        .protocol(version)
        .client_identifier("worker")
        .clean_start(CleanStart::Never)
}

async fn publish(client: &Client, payloads: &[&'static str]) -> Result<(), Error> {
    for payload in payloads {
        (client.publish("jobs", *payload).qos(QoS::AtLeastOnce)).await?;
    }
    Ok(())
}

/// Takes and acknowledges the first of three jobs.
async fn one_run(options: Options, publisher: &Client, end: End) -> Result<(), Error> {
    let connection = Connection::open(options).await?;
    let client = connection.client();
    let subscribe = client.subscribe("jobs").qos(QoS::AtLeastOnce);
    let mut jobs = subscribe.queue(BY_HAND).await?;
    publish(publisher, &["1", "2", "3"]).await?;
    let first = jobs.next().await.expect("the first job");
    assert_eq!(first.payload, "1");
    client.acknowledge(first.delivery.expect("its delivery"));
    match end {
        End::Scope => drop(jobs),
        End::Detached => jobs.detach(),
        End::Unsubscribed => jobs.unsubscribe().await?,
        End::Late => {
            connection.disconnect().await.expect("the end");
            return Ok(());
        }
        End::Aborted => {
            let consumer = tokio::spawn(async move { while jobs.next().await.is_some() {} });
            consumer.abort();
            assert!(consumer.await.is_err_and(|error| error.is_cancelled()));
        }
    }
    connection.disconnect().await.expect("the end");
    Ok(())
}

/// What comes to the next run, up to what is published last.
async fn next_run(options: Options, publisher: &Client) -> Result<Vec<String>, Error> {
    ferromqtt::scope(options, async |client| {
        let mut left = client.messages();
        client.publish("jobs", "last").qos(QoS::AtLeastOnce).await?;
        client
            .subscribe("end")
            .qos(QoS::AtLeastOnce)
            .await?
            .detach();
        publisher
            .publish("end", "end")
            .qos(QoS::AtLeastOnce)
            .await?;
        let mut payloads = Vec::new();
        while let Some(message) = left.next().await {
            if message.topic == "end" {
                break;
            }
            payloads.push(String::from_utf8_lossy(&message.payload).into_owned());
        }
        Ok(payloads)
    })
    .await
}

#[tokio::test]
async fn what_a_run_leaves_comes_to_the_next() {
    in_time(async {
        for version in [ProtocolVersion::V5, ProtocolVersion::V311] {
            for end in [
                End::Scope,
                End::Detached,
                End::Aborted,
                End::Late,
                End::Unsubscribed,
            ] {
                let broker = broker().await;
                ferromqtt::scope(options(&broker), async |publisher| {
                    one_run(worker(&broker, version), &publisher, end).await?;
                    publish(&publisher, &["meanwhile"]).await?;
                    let left = next_run(worker(&broker, version), &publisher).await?;
                    let expected: &[&str] = match end {
                        End::Unsubscribed => &[],
                        _ => &["2", "3", "meanwhile", "last"],
                    };
                    assert_eq!(left, expected, "{end:?}");
                    Ok::<_, Error>(())
                })
                .await
                .unwrap();
                broker.stop().await;
            }
        }
    })
    .await;
}
