//! Sessions that outlive the program, through the built-in broker: nothing is lost between one run and the next.

use std::time::Duration;

use ferromqtt::{
    Acknowledge, CleanStart, Client, Connection, ConnectionEvent, DeclaredSubscription, Error,
    Messages, Options, ProtocolVersion, QoS, QueueOptions, ReasonCode, SubscribeError, TopicFilter,
};
use ferromqtt_testing::{BrokerOptions, TestBroker};

use crate::{in_time, options};

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

#[tokio::test(start_paused = true)]
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
                let broker = TestBroker::new();
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

/// How a program comes to the stream of its jobs.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Stream {
    /// It subscribes a while after it has connected: longer than the server takes to send.
    Late,
    Declared,
}

/// A worker that is away while jobs are published, and then takes and acknowledges them, with one stream. The numbers that
/// it gets. At `options` there is a server.
pub(crate) async fn jobs_published_meanwhile(options: Options, stream: Stream) -> Vec<u16> {
    const JOBS: u16 = 100;
    let mut worker = options
        .clone()
        .client_identifier("worker")
        .clean_start(CleanStart::Never);
    if let Stream::Declared = stream {
        let jobs = DeclaredSubscription::new("jobs").qos(QoS::AtLeastOnce);
        worker = worker.subscription(jobs.queue(BY_HAND));
    }
    let connection = Connection::open(worker.clone()).await.unwrap();
    drop(open_stream(&connection.client(), stream).await); // it stays subscribed
    connection.disconnect().await.unwrap();
    ferromqtt::scope(options, async |publisher| {
        for job in 1..=JOBS {
            let payload = job.to_string();
            (publisher.publish("jobs", payload).qos(QoS::AtLeastOnce)).await?;
        }
        Ok::<_, Error>(())
    })
    .await
    .unwrap();
    let connection = Connection::open(worker).await.unwrap();
    let client = connection.client();
    if let Stream::Late = stream {
        while client.stats().awaiting_claim == 0 {
            tokio::task::yield_now().await;
        }
        tokio::time::sleep(Duration::from_millis(20)).await; // as in the program that lost all of them
    }
    let mut jobs = open_stream(&client, stream).await;
    let mut taken = Vec::new();
    while taken.len() < usize::from(JOBS) {
        let job = jobs.next().await.expect("a job");
        taken.push(std::str::from_utf8(&job.payload).unwrap().parse().unwrap());
        client.acknowledge(job.delivery.expect("its delivery"));
    }
    assert_eq!(client.stats().unclaimed, 0);
    connection.disconnect().await.unwrap();
    taken
}

async fn open_stream(client: &Client, stream: Stream) -> Messages {
    match stream {
        Stream::Declared => client.declared("jobs").await.unwrap(),
        Stream::Late => {
            let jobs = client.subscribe("jobs").qos(QoS::AtLeastOnce);
            jobs.queue(BY_HAND).await.unwrap()
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_program_with_one_stream_gets_all_that_was_published_meanwhile() {
    in_time(async {
        for version in [ProtocolVersion::V5, ProtocolVersion::V311] {
            for stream in [Stream::Late, Stream::Declared] {
                let broker = TestBroker::new();
                let options = options(&broker).protocol(version);
                let jobs = jobs_published_meanwhile(options, stream).await;
                assert_eq!(jobs, Vec::from_iter(1..=100), "{version:?}, {stream:?}");
                let left = broker.session_stats("worker").expect("the session");
                assert_eq!(left.queued + left.in_flight, 0, "{version:?}, {stream:?}");
                broker.stop().await;
            }
        }
    })
    .await;
}

/// A program that drops its stream and opens another one loses nothing between the two, nor the order.
#[tokio::test(start_paused = true)]
async fn a_stream_goes_on_where_the_one_before_was_dropped() {
    in_time(async {
        let broker = TestBroker::new();
        ferromqtt::scope(options(&broker), async |publisher| {
            let connection = Connection::open(worker(&broker, ProtocolVersion::V5)).await?;
            let client = connection.client();
            let subscribe = || client.subscribe("jobs").qos(QoS::AtLeastOnce);
            let mut jobs = subscribe().await?;
            publish(&publisher, &["1", "2", "3"]).await?;
            assert_eq!(jobs.next().await.expect("a job").payload, "1");
            while jobs.len() < 2 {
                tokio::task::yield_now().await;
            }
            drop(jobs);
            publish(&publisher, &["4"]).await?;
            while client.stats().awaiting_claim < 3 {
                tokio::task::yield_now().await;
            }
            let mut jobs = subscribe().await?;
            publish(&publisher, &["5"]).await?;
            for expected in ["2", "3", "4", "5"] {
                assert_eq!(jobs.next().await.expect("a job").payload, expected);
            }
            connection.disconnect().await?;
            Ok::<_, Error>(())
        })
        .await
        .unwrap();
        broker.stop().await;
    })
    .await;
}

/// A subscription that an earlier version of the program has left in the session holds up the others for a time, not for
/// ever.
#[tokio::test(start_paused = true)]
async fn a_subscription_that_was_forgotten_is_told() {
    in_time(async {
        let broker = TestBroker::new();
        let options = worker(&broker, ProtocolVersion::V5);
        ferromqtt::scope(options.clone(), async |client| {
            let forgotten = client.subscribe("forgotten").qos(QoS::AtLeastOnce).await?;
            forgotten.detach();
            Ok::<_, Error>(())
        })
        .await
        .unwrap();
        let options = options.claim_within(Duration::from_secs(2));
        ferromqtt::scope(options, async |client| {
            let mut events = client.events();
            let mut jobs = client.subscribe("jobs").qos(QoS::AtLeastOnce).await?;
            (client.publish("forgotten", "x").qos(QoS::AtLeastOnce)).await?;
            publish(&client, &["1"]).await?;
            assert_eq!(jobs.next().await.expect("a job").payload, "1");
            loop {
                let event = events.next().await.expect("an event");
                if let ConnectionEvent::Unclaimed { messages } = event {
                    assert_eq!(messages, 1);
                    break;
                }
            }
            assert_eq!(client.stats().unclaimed, 1);
            let mut left = client.messages();
            assert_eq!(left.next().await.expect("the message").payload, "x");
            client.unsubscribe("forgotten").await?;
            Ok::<_, Error>(())
        })
        .await
        .unwrap();
        broker.stop().await;
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_declared_subscription_that_the_broker_refuses_is_told_to_who_takes_it() {
    in_time(async {
        let mut denying = BrokerOptions::default();
        let filter = TopicFilter::new("jobs").unwrap();
        let denied = denying.deny_subscribe(filter, ReasonCode::NotAuthorized);
        denied.unwrap();
        let broker = TestBroker::with_options(denying);
        let declared = DeclaredSubscription::new("jobs").qos(QoS::AtLeastOnce);
        let options = worker(&broker, ProtocolVersion::V5).subscription(declared);
        let ended = ferromqtt::scope(options, async |client| {
            let _jobs = client.declared("jobs").await?;
            Ok::<_, Error>(())
        });
        let error = ended.await.unwrap_err();
        assert!(
            matches!(&error, Error::Subscribe(SubscribeError::Rejected { reason, .. })
                if *reason == ReasonCode::NotAuthorized),
            "{error:?}"
        );
        broker.stop().await;
    })
    .await;
}
