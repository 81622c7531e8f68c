//! The broker under tokio's paused clock: every deadline passes in virtual time, to the millisecond, and costs a wake-up or
//! two.

use std::time::Duration;

use bytes::Bytes;
use ferromqtt_proto::packet::{Connect, Packet, PacketId, Properties, ProtocolVersion, QoS, Will};
use ferromqtt_testing::{BrokerOptions, MemoryStream, TestBroker};
use tokio::io::AsyncReadExt;
use tokio::runtime::Handle;
use tokio::time::{Instant, sleep, sleep_until};

use crate::{Client, connect, publish, text};

const HOUR: Duration = Duration::from_secs(3_600);

/// How often the runtime may wait in an hour with 60 PINGREQs and a handful of deadlines. It waits 430 times: tokio's timer
/// wheel wakes up once at each of its levels. A clock that spins waits millions of times.
const MOST_WAITS: u64 = 1_000;

fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn connect_v5(name: &str, expiry: u32) -> Connect {
    let mut connect = connect(name);
    connect.protocol = ProtocolVersion::V5;
    connect.clean_start = false;
    connect.properties.session_expiry_interval = Some(expiry);
    connect
}

async fn v5(broker: &TestBroker, name: &str, expiry: u32) -> Client<MemoryStream> {
    Client::in_memory(broker, connect_v5(name, expiry)).await
}

/// Publishes to `jobs` with this Message Expiry Interval.
async fn publish_job(broker: &TestBroker, payload: &'static str, expiry: u32) {
    let mut publisher = v5(broker, "publisher", 0).await;
    let Packet::Publish(mut message) = publish("jobs", Bytes::from_static(payload.as_bytes()))
    else {
        unreachable!("it makes a PUBLISH");
    };
    message.qos = QoS::AtLeastOnce;
    message.packet_id = Some(PacketId::MIN);
    message.properties = Some(Box::new(Properties {
        message_expiry_interval: Some(expiry),
        ..Properties::default()
    }));
    publisher.send(&Packet::Publish(message)).await;
    assert!(matches!(publisher.next().await, Some(Packet::PubAck(_))));
}

/// Keep Alive: a client that pings stays.
async fn a_quiet_connection_lasts(broker: &TestBroker, start: Instant) {
    let mut client = Client::in_memory(broker, connect("quiet")).await;
    for minute in 1..=60 {
        sleep_until(start + seconds(60 * minute)).await;
        client.send(&Packet::PingReq).await;
        assert_eq!(client.next().await, Some(Packet::PingResp));
    }
    assert_eq!(start.elapsed(), HOUR);
}

/// The handshake's time limit.
async fn a_connection_without_a_client_is_closed(broker: &TestBroker, start: Instant) {
    let mut silent = broker.connect().unwrap();
    assert_eq!(silent.read(&mut [0]).await.unwrap(), 0);
    assert_eq!(start.elapsed(), seconds(7));
}

/// Keep Alive of a client that is silent, its will's delay, and the end of its session.
async fn a_silent_client_is_buried(broker: &TestBroker, start: Instant) {
    let mut watcher = Client::in_memory(broker, connect("watcher")).await;
    watcher.subscribe("will", QoS::AtMostOnce).await;
    let mut mortal = connect_v5("mortal", 100);
    mortal.will = Some(Will {
        topic: text("will"),
        payload: Bytes::from_static(b"gone"),
        qos: QoS::AtMostOnce,
        retain: false,
        properties: Properties {
            will_delay_interval: Some(30),
            ..Properties::default()
        },
    });
    let mut mortal = Client::in_memory(broker, mortal).await;
    assert!(matches!(mortal.next().await, Some(Packet::Disconnect(_))));
    assert_eq!(start.elapsed(), seconds(90));
    assert_eq!(mortal.next().await, None);
    // Its own Keep Alive passes at 90 s too.
    assert_eq!(watcher.next().await, None);
    let mut watcher = Client::in_memory(broker, connect("watcher")).await;
    watcher.subscribe("will", QoS::AtMostOnce).await;
    assert!(matches!(watcher.next().await, Some(Packet::Publish(_))));
    assert_eq!(start.elapsed(), seconds(90 + 30));
    sleep_until(start + seconds(90 + 100) - Duration::from_millis(1)).await;
    assert!(broker.session_stats("mortal").is_some());
    sleep(Duration::from_millis(2)).await;
    assert!(broker.session_stats("mortal").is_none());
}

/// Message Expiry: of two messages for a client that is away one is dropped, and the other says how long it still lives.
async fn messages_expire(broker: &TestBroker, start: Instant) {
    let mut worker = v5(broker, "worker", 10_000).await;
    worker.subscribe("jobs", QoS::AtLeastOnce).await;
    drop(worker);
    publish_job(broker, "lives", 2_000).await;
    publish_job(broker, "expires", 50).await;
    sleep_until(start + seconds(1_500)).await;
    let mut worker = v5(broker, "worker", 10_000).await;
    let Some(Packet::Publish(message)) = worker.next().await else {
        panic!("PUBLISH expected");
    };
    assert_eq!(message.payload, "lives");
    let properties = message.properties.unwrap_or_default();
    assert_eq!(properties.message_expiry_interval, Some(500));
    worker.send(&Packet::PingReq).await;
    assert_eq!(worker.next().await, Some(Packet::PingResp), "nothing more");
    assert_eq!(start.elapsed(), seconds(1_500));
}

#[tokio::test(start_paused = true)]
async fn the_deadlines_of_an_hour_pass_to_the_millisecond_with_few_wake_ups() {
    let mut options = BrokerOptions::default();
    options.handshake_timeout = seconds(7);
    let broker = TestBroker::with_options(options);
    let start = Instant::now();
    let metrics = Handle::current().metrics();
    let before = metrics.worker_park_count(0);
    tokio::join!(
        a_quiet_connection_lasts(&broker, start),
        a_connection_without_a_client_is_closed(&broker, start),
        a_silent_client_is_buried(&broker, start),
        messages_expire(&broker, start),
    );
    let waits = metrics.worker_park_count(0) - before;
    assert!(waits < MOST_WAITS, "{waits} waits");
    broker.stop().await;
}

/// A call from outside of the runtime takes the time from it too: otherwise the will's delay would begin in real time.
#[test]
fn a_call_from_outside_of_the_runtime_takes_its_time() {
    let mut builder = tokio::runtime::Builder::new_current_thread();
    let runtime = builder.enable_time().start_paused(true).build().unwrap();
    let broker = TestBroker::new();
    let (start, client) = runtime.block_on(async {
        let start = Instant::now();
        let client = v5(&broker, "c", 10).await;
        sleep(seconds(50)).await;
        (start, client)
    });
    let reason = ferromqtt_proto::ReasonCode::AdministrativeAction;
    assert_eq!(broker.disconnect_client("c", reason, None), Ok(true));
    runtime.block_on(async {
        drop(client);
        sleep_until(start + seconds(50 + 10) - Duration::from_millis(1)).await;
        assert!(broker.session_stats("c").is_some());
        sleep(Duration::from_millis(2)).await;
        assert!(broker.session_stats("c").is_none());
    });
}
