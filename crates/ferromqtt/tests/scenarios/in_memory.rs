//! `Options::test`: the test broker in memory, in virtual time.

use std::time::Duration;

use ferromqtt::testing::{BrokerOptions, TestBroker, User};
use ferromqtt::{
    CleanStart, ConnectError, Connection, ConnectionError, ConnectionEvent, Credentials,
    DeclaredSubscription, Error, Options, OptionsError, Properties, ProtocolVersion, QoS,
    ReasonCode, Reconnect, Server, TransportError, Will,
};
use tokio::runtime::Handle;
use tokio::time::{Instant, sleep};

use crate::in_time;

const HOUR: Duration = Duration::from_secs(3_600);

fn refused(error: ConnectError) -> &'static str {
    match error {
        ConnectError::Options(OptionsError::InMemory(option)) => option,
        other => panic!("{other:?}"),
    }
}

#[tokio::test(start_paused = true)]
async fn options_of_a_network_are_refused_in_memory() {
    let broker = TestBroker::new();
    let options = || Options::test(&broker);
    let bound = options().bind_address([127, 0, 0, 1].into());
    let given = [
        ("bind_address", bound.clone()),
        #[cfg(feature = "tls")]
        ("tls", options().tls(ferromqtt::TlsOptions::new())),
        #[cfg(feature = "proxy")]
        (
            "proxy",
            options().proxy(ferromqtt::Proxy::from_url("http://127.0.0.1:1").unwrap()),
        ),
        #[cfg(feature = "websocket")]
        ("websocket_header", options().websocket_header("a", "b")),
        #[cfg(feature = "websocket")]
        (
            "websocket_header",
            options().without_websocket_header("Origin"),
        ),
    ];
    for (option, options) in given {
        assert_eq!(
            refused(Connection::open(options).await.unwrap_err()),
            option
        );
    }
    // A program's own options keep what they have when their connection is replaced.
    let connection = Connection::open(bound.transport(broker.transport())).await;
    connection.unwrap().disconnect().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn all_other_options_apply_in_memory() {
    let mut of_broker = BrokerOptions::default();
    of_broker.users = vec![User::new("station", "hush")];
    let broker = TestBroker::with_options(of_broker);
    let login = || Options::test(&broker).user_name("station");
    in_time(async {
        for version in [
            ProtocolVersion::V31,
            ProtocolVersion::V311,
            ProtocolVersion::V5,
        ] {
            let options = login()
                .password("hush")
                .protocol(version)
                .client_identifier("worker")
                .clean_start(CleanStart::Never)
                .keep_alive(Duration::from_secs(5))
                .servers(["one", "two"].map(|host| Server::new(host, 1883)))
                .will(Will::new("gone", "x"))
                .reconnect(None)
                .subscription(DeclaredSubscription::new("t").qos(QoS::ExactlyOnce));
            ferromqtt::scope(options, async |client| {
                let mut messages = client.declared("t").await?;
                client.publish("t", "x").qos(QoS::ExactlyOnce).await?;
                assert_eq!(messages.next().await.expect("a message").payload, "x");
                Ok::<_, Error>(())
            })
            .await
            .unwrap();
        }
        let asked = login().credentials(async |_| Ok(Credentials::new().password("hush")));
        let connection = Connection::open(asked).await.unwrap();
        connection.disconnect().await.unwrap();
        let error = Connection::open(login().password("wrong"))
            .await
            .unwrap_err();
        let ConnectError::Connection {
            cause: ConnectionError::Refused { reason, .. },
            ..
        } = error
        else {
            panic!("{error:?}");
        };
        assert_eq!(reason, ReasonCode::BadUserNameOrPassword);
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_broker_that_has_stopped_is_named() {
    let broker = TestBroker::new();
    let options = Options::test(&broker);
    broker.stop().await;
    let error = Connection::open(options).await.unwrap_err();
    let text = error.to_string();
    let expected = "cannot connect: mqtt://test-broker:1883: the test broker has stopped";
    assert!(text.starts_with(expected), "{text}");
    let ConnectError::Connection {
        cause: ConnectionError::Transport(TransportError::Failed(_)),
        ..
    } = error
    else {
        panic!("{error:?}");
    };
}

#[tokio::test(start_paused = true)]
async fn a_client_that_is_connected_learns_that_its_broker_was_dropped() {
    let broker = TestBroker::new();
    let options = Options::test(&broker).reconnect(None);
    let connection = Connection::open(options).await.unwrap();
    drop(broker);
    let cause = connection.client().closed().await;
    assert_eq!(
        cause,
        ConnectionError::Transport(TransportError::EndOfStream)
    );
}

/// Neither side reads another clock: the connection would be closed, or the test would take an hour.
#[tokio::test(start_paused = true)]
async fn a_quiet_hour_passes_in_virtual_time_with_few_wake_ups() {
    let broker = TestBroker::new();
    let options = Options::test(&broker).keep_alive(Duration::from_secs(60));
    let connection = Connection::open(options).await.unwrap();
    let client = connection.client();
    let metrics = Handle::current().metrics();
    let (start, waits) = (Instant::now(), metrics.worker_park_count(0));
    sleep(HOUR).await;
    assert_eq!(start.elapsed(), HOUR);
    // tokio's timer wheel wakes up at each of its levels: some for each PINGREQ.
    let waits = metrics.worker_park_count(0) - waits;
    assert!(waits < 2_000, "{waits} waits");
    assert_eq!(client.stats().connections, 1);
    assert!(client.is_connected());
    connection.disconnect().await.unwrap();
    broker.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_client_waits_before_it_reconnects_in_virtual_time() {
    in_time(async {
        let broker = TestBroker::new();
        let reconnect = Reconnect {
            initial_delay: Duration::from_secs(30),
            ..Reconnect::default()
        };
        let options = Options::test(&broker)
            .client_identifier("station")
            .reconnect(reconnect);
        let connection = Connection::open(options).await.unwrap();
        let client = connection.client();
        let mut events = client.events();
        let mut messages = client.subscribe("t").qos(QoS::AtLeastOnce).await.unwrap();
        let busy = ReasonCode::ServerBusy;
        assert_eq!(broker.disconnect_client("station", busy, None), Ok(true));
        let retry_at = loop {
            match events.next().await.unwrap() {
                ConnectionEvent::Disconnected { retry_at, .. } => break retry_at.unwrap(),
                _ => continue,
            }
        };
        client
            .publish("t", "x")
            .qos(QoS::AtLeastOnce)
            .await
            .unwrap();
        let late = Instant::now().into_std() - retry_at;
        assert!(late < Duration::from_millis(2), "{late:?} late");
        assert_eq!(messages.next().await.unwrap().payload, "x");
        connection.disconnect().await.unwrap();
        broker.stop().await;
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_message_for_a_client_that_is_away_expires_in_virtual_time() {
    let broker = TestBroker::new();
    let worker = Options::test(&broker)
        .client_identifier("worker")
        .clean_start(CleanStart::Never)
        .subscription(DeclaredSubscription::new("jobs").qos(QoS::AtLeastOnce));
    let away = Connection::open(worker.clone()).await.unwrap();
    away.client().declared("jobs").await.unwrap().detach();
    away.disconnect().await.unwrap();
    ferromqtt::scope(Options::test(&broker), async |client| {
        for (payload, seconds) in [("expires", 50), ("lives", 60)] {
            let properties = Properties {
                message_expiry_interval: Some(seconds),
                ..Properties::default()
            };
            let publish = client.publish("jobs", payload).qos(QoS::AtLeastOnce);
            publish.properties(properties).await?;
        }
        Ok::<_, Error>(())
    })
    .await
    .unwrap();
    sleep(Duration::from_secs(55)).await;
    ferromqtt::scope(worker, async |client| {
        let mut jobs = client.declared("jobs").await?;
        assert_eq!(jobs.next().await.expect("a job").payload, "lives");
        Ok::<_, Error>(())
    })
    .await
    .unwrap();
    broker.stop().await;
}

#[tokio::test(start_paused = true)]
async fn two_hundred_brokers_with_clients_leave_no_task() {
    let metrics = Handle::current().metrics();
    let before = metrics.num_alive_tasks();
    for _ in 0..200 {
        let broker = TestBroker::new();
        let program = ferromqtt::scope(Options::test(&broker), async |client| {
            client.publish("t", "x").qos(QoS::AtLeastOnce).await?;
            Ok::<_, Error>(())
        });
        program.await.unwrap();
        broker.stop().await;
    }
    assert_eq!(metrics.num_alive_tasks(), before);
}

/// It connects with reconnecting off too: the refusal of 5.0 is no failed attempt.
#[tokio::test(start_paused = true)]
async fn a_client_with_an_automatic_version_connects_to_servers_of_either() {
    for (refused, unanswered, version) in [
        (vec![], vec![], ProtocolVersion::V5),
        (vec![ProtocolVersion::V5], vec![], ProtocolVersion::V311),
        (vec![], vec![ProtocolVersion::V5], ProtocolVersion::V311),
    ] {
        let mut of_broker = BrokerOptions::default();
        of_broker.refused_versions = refused;
        of_broker.unanswered_versions = unanswered;
        let broker = TestBroker::with_options(of_broker);
        let options = Options::test(&broker).protocol_auto().reconnect(None);
        let connection = in_time(Connection::open(options)).await.unwrap();
        let client = connection.client();
        assert_eq!(client.protocol(), version);
        client
            .publish("t", "x")
            .qos(QoS::ExactlyOnce)
            .await
            .unwrap();
        connection.disconnect().await.unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn a_server_without_any_known_version_ends_the_attempt() {
    let mut of_broker = BrokerOptions::default();
    of_broker.refused_versions = vec![ProtocolVersion::V5, ProtocolVersion::V311];
    let broker = TestBroker::with_options(of_broker);
    let opened = in_time(Connection::open(Options::test(&broker).protocol_auto())).await;
    let ConnectError::Connection { cause, .. } = opened.unwrap_err() else {
        panic!("not an error of the connection");
    };
    assert!(
        matches!(
            cause,
            ConnectionError::Refused {
                reason: ReasonCode::UnsupportedProtocolVersion,
                ..
            }
        ),
        "{cause:?}"
    );
}
