//! Routers through the built-in broker, in virtual time.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use ferromqtt::{
    Acknowledge, Client, Connection, ConnectionError, Error, HandlerError, InvalidSubscribe,
    ProtocolVersion, QoS, QueueOptions, ReasonCode, RequestError, Route, RoutedMessage, Router,
    RouterError, SubscribeError, TopicTemplate,
};
use ferromqtt_testing::{BrokerOptions, TestBroker};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};

use crate::{connect, in_time, options};

/// What handlers were called with, and how many were at work at once.
#[derive(Clone, Default)]
struct Log(Arc<Entries>);

#[derive(Default)]
struct Entries {
    done: Mutex<Vec<String>>,
    active: AtomicUsize,
    most: AtomicUsize,
}

impl Log {
    async fn work(self, message: RoutedMessage) -> Result<(), HandlerError> {
        struct Active(Log);
        impl Drop for Active {
            fn drop(&mut self) {
                self.0.0.active.fetch_sub(1, Ordering::Relaxed);
            }
        }
        let active = self.0.active.fetch_add(1, Ordering::Relaxed) + 1;
        self.0.most.fetch_max(active, Ordering::Relaxed);
        let _active = Active(self.clone());
        sleep(Duration::from_secs(if message.payload == "0" {
            2
        } else {
            1
        }))
        .await;
        let text = message.text()?.to_owned();
        if text == "bad" {
            return Err("a bad message".into());
        }
        self.0.done.lock().unwrap().push(text);
        Ok(())
    }

    fn router(&self, route: impl Into<Route>) -> Router {
        Router::new().on_with(route, self.clone(), |message, log| log.work(message))
    }

    fn done(&self) -> Vec<String> {
        self.0.done.lock().unwrap().clone()
    }

    fn active(&self) -> usize {
        self.0.active.load(Ordering::Relaxed)
    }

    fn most(&self) -> usize {
        self.0.most.load(Ordering::Relaxed)
    }
}

/// Spawns the router when it has subscribed.
async fn start(router: &Router, client: &Client) -> JoinHandle<Result<(), RouterError>> {
    tokio::spawn(router.start(client).await.unwrap())
}

async fn publish(client: &Client, topic: &str, payload: &'static str) {
    let publish = client.publish(topic, payload).qos(QoS::AtLeastOnce);
    publish.await.unwrap();
}

/// Whether nobody is subscribed to the topic, by what the broker says.
async fn nobody_gets(client: &Client, topic: &str) -> bool {
    client.request(topic, "").await == Err(RequestError::NoResponder)
}

fn by_hand() -> QueueOptions {
    QueueOptions {
        acknowledge: Acknowledge::ByApplication,
        ..QueueOptions::DEFAULT
    }
}

#[tokio::test(start_paused = true)]
async fn each_handler_gets_the_messages_of_its_filters() {
    in_time(async {
        let broker = TestBroker::new();
        let connection = connect(&broker).await;
        let client = connection.client();
        let (alarms, temperatures) = (Log::default(), Log::default());
        let route = Route::new("room/+/temp").and("garden/temp", QoS::AtLeastOnce);
        let router = alarms.router("alarms/#");
        let router = router.on_with(route, temperatures.clone(), |message, log| {
            log.work(message)
        });
        let task = start(&router, &client).await;
        for (topic, payload) in [
            ("alarms/fire", "fire"),
            ("room/1/temp", "21"),
            ("garden/temp", "7"),
            ("alarms/water", "water"),
        ] {
            publish(&client, topic, payload).await;
        }
        sleep(Duration::from_secs(5)).await;
        assert_eq!(alarms.done(), ["fire", "water"]);
        assert_eq!(temperatures.done(), ["21", "7"]);
        connection.disconnect().await.unwrap();
        assert_eq!(task.await.unwrap(), Ok(()));
        broker.stop().await;
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_handler_reads_the_names_of_its_template() {
    in_time(async {
        let broker = TestBroker::new();
        let connection = connect(&broker).await;
        let client = connection.client();
        let template = |text: &str| text.parse::<TopicTemplate>().unwrap();
        let (seen, mut has_seen) = mpsc::channel(4);
        let rooms = Route::new(template("room/{room}/temp"))
            .and(template("hall/{rest#}"), QoS::AtLeastOnce)
            .and("cellar", QoS::AtLeastOnce);
        let router = Router::new()
            .on_with(rooms.concurrency(2), seen, |message, seen| async move {
                let params = message.params();
                let names: Vec<_> = params.iter().map(|(k, v)| format!("{k}={v}")).collect();
                seen.send(names.join(",")).await?;
                Ok(())
            })
            .respond(template("sum/{a}/{b}"), |request| async move {
                let params = request.params();
                let number = |name| params.get(name).unwrap_or_default().parse::<i64>();
                Ok((number("a")? + number("b")?).to_string())
            });
        let task = start(&router, &client).await;
        for (topic, names) in [
            ("room/7/temp", "room=7"),
            ("hall/a/b", "rest=a/b"),
            ("cellar", ""),
        ] {
            publish(&client, topic, "x").await;
            assert_eq!(has_seen.recv().await.as_deref(), Some(names));
        }
        let sum = client.request("sum/2/40", "").await.unwrap();
        assert_eq!(sum.payload, "42");
        task.abort();
        connection.disconnect().await.unwrap();
        broker.stop().await;
    })
    .await;
}

async fn so_many_at_once(concurrency: usize) -> (usize, Vec<String>) {
    in_time(async {
        let broker = TestBroker::new();
        let options = options(&broker).receive_maximum(2);
        let connection = Connection::open(options).await.unwrap();
        let client = connection.client();
        let log = Log::default();
        let route = Route::new("jobs")
            .qos(QoS::AtLeastOnce)
            .concurrency(concurrency);
        let bounds = QueueOptions {
            limit: Some(2),
            ..QueueOptions::DEFAULT
        };
        let task = start(&log.router(route.queue(bounds)), &client).await;
        for payload in ["0", "1", "2", "3", "4", "5", "6", "7", "8"] {
            publish(&client, "jobs", payload).await;
        }
        let waits = broker.stats().session_bytes; // what the handler has not got waits at the server
        sleep(Duration::from_secs(20)).await;
        assert!(broker.stats().session_bytes < waits);
        task.abort();
        connection.disconnect().await.unwrap();
        broker.stop().await;
        (log.most(), log.done())
    })
    .await
}

#[tokio::test(start_paused = true)]
async fn messages_are_handled_one_after_the_other_in_order() {
    let (most, done) = so_many_at_once(1).await;
    assert_eq!(most, 1);
    assert_eq!(done, ["0", "1", "2", "3", "4", "5", "6", "7", "8"]);
}

#[tokio::test(start_paused = true)]
async fn as_many_messages_are_handled_at_once_as_the_route_says() {
    let (most, mut done) = so_many_at_once(3).await;
    assert_eq!(most, 3);
    assert_ne!(done[0], "0"); // which takes longer
    done.sort();
    assert_eq!(done, ["0", "1", "2", "3", "4", "5", "6", "7", "8"]);
}

#[tokio::test(start_paused = true)]
async fn errors_go_to_one_place_and_the_router_goes_on() {
    in_time(async {
        let broker = TestBroker::new();
        let connection = connect(&broker).await;
        let client = connection.client();
        let log = Log::default();
        let failed: Arc<Mutex<Vec<_>>> = Arc::default();
        let noting = Arc::clone(&failed);
        let router = log
            .router("a")
            .on("b", async |_| Err("never".into()))
            .on_error(move |error, message| {
                let failed = Arc::clone(&noting);
                async move {
                    let text = format!("{} to {}", error, message.topic);
                    failed.lock().unwrap().push(text);
                }
            });
        let task = start(&router, &client).await;
        publish(&client, "a", "bad").await;
        publish(&client, "a", "good").await;
        publish(&client, "b", "").await;
        sleep(Duration::from_secs(5)).await;
        assert_eq!(log.done(), ["good"]);
        assert_eq!(
            *failed.lock().unwrap(),
            ["never to b", "a bad message to a"]
        );
        task.abort();
        connection.disconnect().await.unwrap();
        broker.stop().await;
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn what_a_handler_returns_is_the_response() {
    in_time(async {
        let broker = TestBroker::new();
        let connection = connect(&broker).await;
        let client = connection.client();
        let router = Router::new().respond("square", |request| async move {
            let number: i64 = request.text()?.parse()?;
            Ok((number * number).to_string())
        });
        let task = start(&router, &client).await;
        publish(&client, "square", "asks for nothing").await;
        assert_eq!(client.request("square", "7").await.unwrap().payload, "49");
        let failing = client
            .request("square", "seven")
            .timeout(Duration::from_secs(2));
        let failed = failing.await;
        assert!(
            matches!(failed, Err(RequestError::TimedOut { .. })),
            "{failed:?}"
        );
        task.abort();
        connection.disconnect().await.unwrap();
        broker.stop().await;
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn what_cannot_be_subscribed_comes_out_of_run_before_anything_is_handled() {
    in_time(async {
        let mut rules = BrokerOptions::default();
        let secret = "secret/#".parse().unwrap();
        rules
            .deny_subscribe(secret, ReasonCode::NotAuthorized)
            .unwrap();
        let broker = TestBroker::with_options(rules);
        let connection = connect(&broker).await;
        let client = connection.client();
        let log = Log::default();
        let retained = client.publish("a", "1").retain(true);
        retained.await.unwrap();
        let secret = log.router("a").on("secret/#", |_| async { Ok(()) });
        match secret.run(&client).await {
            Err(RouterError::Subscribe(SubscribeError::Rejected { filter, reason, .. })) => {
                assert_eq!(
                    (filter.as_str(), reason),
                    ("secret/#", ReasonCode::NotAuthorized)
                );
            }
            other => panic!("{other:?}"),
        }
        let wrong = log.router("a").on("a#", |_| async { Ok(()) });
        let error = wrong.run(&client).await.unwrap_err();
        assert!(error.to_string().contains("a#"), "{error}");
        let empty = Router::new().run(&client).await;
        let no_filter = SubscribeError::Invalid(InvalidSubscribe::NoFilter);
        assert_eq!(empty, Err(RouterError::Subscribe(no_filter)));
        sleep(Duration::from_secs(5)).await;
        assert_eq!(log.most(), 0);
        assert!(nobody_gets(&client, "a").await);
        connection.disconnect().await.unwrap();
        broker.stop().await;
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn before_mqtt_5_a_router_that_responds_does_not_run() {
    in_time(async {
        let broker = TestBroker::new();
        let options = options(&broker).protocol(ProtocolVersion::V311);
        ferromqtt::scope(options, async |client| {
            let router = Router::new().respond("square", |_| async { Ok("") });
            let refused = SubscribeError::Invalid(InvalidSubscribe::NoRequests);
            let ended = router.run(&client).await;
            assert_eq!(ended, Err(RouterError::Subscribe(refused)));
            Ok::<_, Error>(())
        })
        .await
        .unwrap();
        broker.stop().await;
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_connection_that_is_lost_and_made_again_does_not_end_it() {
    in_time(async {
        let broker = TestBroker::new();
        let options = options(&broker).client_identifier("c");
        let connection = Connection::open(options).await.unwrap();
        let client = connection.client();
        let log = Log::default();
        let task = start(&log.router(Route::new("a").qos(QoS::AtLeastOnce)), &client).await;
        for payload in ["0", "1", "2"] {
            publish(&client, "a", payload).await;
            let sent = broker.disconnect_client("c", ReasonCode::ServerShuttingDown, None);
            assert!(sent.unwrap());
            client.connected().await.unwrap();
        }
        sleep(Duration::from_secs(10)).await;
        assert_eq!(log.done(), ["0", "1", "2"]);
        connection.disconnect().await.unwrap();
        assert_eq!(task.await.unwrap(), Ok(()));
        broker.stop().await;
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn at_the_end_of_the_connection_what_has_come_is_handled() {
    in_time(async {
        let broker = TestBroker::new();
        let options = options(&broker).reconnect(None);
        let connection = Connection::open(options).await.unwrap();
        let client = connection.client();
        let log = Log::default();
        let router = log.router("a").on("idle", |_| async { Ok(()) });
        let task = start(&router, &client).await;
        for payload in ["0", "1", "2"] {
            publish(&client, "a", payload).await;
        }
        broker.stop().await;
        let ended = task.await.unwrap();
        let lost = matches!(&ended, Err(RouterError::Connection(cause)) if *cause != ConnectionError::Closed);
        assert!(lost, "{ended:?}");
        assert_eq!(log.done(), ["0", "1", "2"]);
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn dropped_it_stops_its_handlers_and_unsubscribes() {
    in_time(async {
        let broker = TestBroker::new();
        let connection = connect(&broker).await;
        let client = connection.client();
        let log = Log::default();
        let router = log.router(Route::new("a").qos(QoS::AtLeastOnce).concurrency(2));
        let running = timeout(Duration::from_secs(2), async {
            tokio::join!(router.run(&client), async {
                sleep(Duration::from_millis(1500)).await;
                publish(&client, "a", "1").await;
                publish(&client, "a", "2").await;
            })
        });
        assert!(running.await.is_err());
        sleep(Duration::from_secs(5)).await;
        assert_eq!((log.most(), log.active(), log.done().len()), (2, 0, 0));
        assert!(nobody_gets(&client, "a").await);
        connection.disconnect().await.unwrap();
        broker.stop().await;
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn stopped_it_lets_handlers_finish() {
    in_time(async {
        let broker = TestBroker::new();
        let connection = connect(&broker).await;
        let client = connection.client();
        let log = Log::default();
        for concurrency in [1, 2] {
            let route = Route::new("a")
                .qos(QoS::AtLeastOnce)
                .concurrency(concurrency);
            let stop = sleep(Duration::from_millis(1500));
            let running = log.router(route).run_until(&client, stop);
            let (ended, ()) = tokio::join!(running, async {
                sleep(Duration::from_secs(1)).await;
                for payload in ["1", "2", "3"] {
                    publish(&client, "a", payload).await;
                }
            });
            assert_eq!(ended, Ok(()));
            assert_eq!(log.done().len(), concurrency);
            log.0.done.lock().unwrap().clear();
            assert!(nobody_gets(&client, "a").await);
        }
        connection.disconnect().await.unwrap();
        broker.stop().await;
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn the_router_acknowledges_what_its_handler_has_returned_from() {
    in_time(async {
        let broker = TestBroker::new();
        let connection = connect(&broker).await;
        let client = connection.client();
        let log = Log::default();
        let route = Route::new("a").qos(QoS::AtLeastOnce).queue(by_hand());
        let task = start(&log.router(route), &client).await;
        for payload in ["good", "bad", "good"] {
            publish(&client, "a", payload).await;
        }
        sleep(Duration::from_secs(10)).await;
        assert_eq!(client.unacknowledged().messages, 1);
        task.abort();
        connection.disconnect().await.unwrap();
        broker.stop().await;
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_handler_that_panics_ends_the_router_with_it() {
    in_time(async {
        let broker = TestBroker::new();
        let connection = connect(&broker).await;
        let client = connection.client();
        for concurrency in [1, 2] {
            let route = Route::new("a").concurrency(concurrency);
            let router = Router::new().on(route, |_| async { panic!("of the handler") });
            let task = start(&router, &client).await;
            publish(&client, "a", "1").await;
            let panic = task.await.unwrap_err();
            assert!(panic.is_panic());
        }
        connection.disconnect().await.unwrap();
        broker.stop().await;
    })
    .await;
}
