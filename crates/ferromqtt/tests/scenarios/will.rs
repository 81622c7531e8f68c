//! The will of a client that ends on purpose (sections 3.1.2.5 and 3.14), on the built-in broker.

use std::future::pending;

use ferromqtt::{Connection, Error, Messages, Options, ProtocolVersion, QoS, Will};
use ferromqtt_testing::TestBroker;
use tokio::sync::oneshot;

use crate::{connect, in_time, options};

const VERSIONS: [ProtocolVersion; 3] = [
    ProtocolVersion::V31,
    ProtocolVersion::V311,
    ProtocolVersion::V5,
];

/// A client that has a will, and somebody who hears of it.
struct Scene {
    broker: TestBroker,
    watcher: Connection,
    heard: Messages,
    options: Options,
}

impl Scene {
    async fn new(version: ProtocolVersion) -> Self {
        let broker = TestBroker::new();
        let watcher = connect(&broker).await;
        let heard = watcher.client().subscribe("state").await.unwrap();
        let will = Will::new("state", "gone").qos(QoS::AtLeastOnce);
        let options = options(&broker)
            .client_identifier("station")
            .protocol(version)
            .will(will);
        Self {
            broker,
            watcher,
            heard,
            options,
        }
    }

    async fn hears(&mut self, payload: &str) {
        let message = self.heard.next().await.unwrap();
        assert_eq!(message.payload, payload);
    }

    /// What was heard until now, and nothing else, is `payloads`.
    async fn heard(mut self, payloads: &[&str]) {
        let last = self.watcher.client();
        last.publish("state", "the end").await.unwrap();
        for payload in payloads {
            self.hears(payload).await;
        }
        self.hears("the end").await;
        self.watcher.disconnect().await.unwrap();
        self.broker.stop().await;
    }
}

#[tokio::test(start_paused = true)]
async fn disconnecting_with_the_will_publishes_it_after_what_was_sent_before() {
    in_time(async {
        for version in VERSIONS {
            let scene = Scene::new(version).await;
            let station = Connection::open(scene.options.clone()).await.unwrap();
            let client = station.client();
            client.publish("state", "last words").await.unwrap();
            assert_eq!(station.disconnect_with_will().await, Ok(()));
            scene.heard(&["last words", "gone"]).await;
        }
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn disconnecting_draining_and_dropping_publish_no_will() {
    in_time(async {
        for version in VERSIONS {
            let scene = Scene::new(version).await;
            // Of `scope` alone.
            let options = scene.options.clone().will_on_error(true);
            let station = Connection::open(options.clone()).await.unwrap();
            station.disconnect().await.unwrap();
            let station = Connection::open(options.clone()).await.unwrap();
            let drained = station.drain(crate::Duration::from_secs(10)).await;
            assert!(drained.is_complete(), "{drained:?}");
            let station = Connection::open(options).await.unwrap();
            let client = station.client();
            drop(station);
            client.closed().await;
            // A client of the same name comes after the one before is gone for the broker.
            let next = Connection::open(scene.options.clone()).await.unwrap();
            next.disconnect().await.unwrap();
            scene.heard(&[]).await;
        }
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_scope_that_fails_publishes_the_will_if_it_is_told_to() {
    in_time(async {
        for version in VERSIONS {
            for (told_to, fails) in [(false, false), (false, true), (true, false), (true, true)] {
                let scene = Scene::new(version).await;
                let options = scene.options.clone().will_on_error(told_to);
                let result = ferromqtt::scope(options, async |client| {
                    let topic = if fails { "no/wildcards/+" } else { "state" };
                    client.publish(topic, "last words").await?;
                    Ok::<_, Error>(())
                })
                .await;
                assert_eq!(result.is_err(), fails, "{result:?}");
                let expected: &[&str] = match (told_to, fails) {
                    (_, false) => &["last words"],
                    (false, true) => &[],
                    (true, true) => &["gone"],
                };
                scene.heard(expected).await;
            }
        }
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_scope_that_is_cancelled_or_panics_has_failed() {
    in_time(async {
        for version in VERSIONS {
            for panics in [false, true] {
                let mut scene = Scene::new(version).await;
                let options = scene.options.clone().will_on_error(true);
                let (entered, inside) = oneshot::channel();
                let task = tokio::spawn(ferromqtt::scope(options, async move |client| {
                    let _ = entered.send(());
                    assert!(
                        !panics || !client.is_connected(),
                        "this panic is the test's"
                    );
                    pending().await
                }));
                inside.await.unwrap();
                task.abort();
                let end: Result<Result<(), Error>, _> = task.await;
                assert!(end.is_err());
                scene.hears("gone").await; // in the background, whenever that is
                scene.heard(&[]).await;
            }
        }
    })
    .await;
}
