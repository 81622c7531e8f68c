//! The client under faults that the test broker makes: in memory and in virtual time.

use std::time::Duration;

use ferromqtt::testing::{PacketFilter, TestBroker, assert_published};
use ferromqtt::{CleanStart, Connection, Error, Options, QoS, ReasonCode, Reconnect, scope};
use ferromqtt_proto::packet::{Packet, PacketType};
use tokio::time::Instant;

use crate::in_time;

/// A client whose session outlives its connections, which it makes again.
fn lasting(broker: &TestBroker) -> Options {
    Options::test(broker)
        .client_identifier("c")
        .clean_start(CleanStart::Never)
        .reconnect(Reconnect::default())
}

#[tokio::test(start_paused = true)]
async fn each_attempt_waits_longer_than_the_one_before() {
    let broker = TestBroker::new();
    broker.refuse_connections(ReasonCode::ServerBusy).times(3);
    let patient = Reconnect {
        initial: true,
        jitter_percent: 0,
        ..Reconnect::default()
    };
    in_time(async {
        let options = Options::test(&broker).reconnect(patient);
        scope(options, async |_client| Ok(())).await.unwrap();
    })
    .await;
    let connects = broker.connects();
    assert_eq!(connects.len(), 4);
    let waits: Vec<_> = (connects.windows(2))
        .map(|two| two[1].at - two[0].at)
        .collect();
    assert!(waits.is_sorted() && waits[0] > Duration::ZERO, "{waits:?}");
    assert!(broker.unused_faults().is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_torn_publish_is_sent_again() {
    let broker = TestBroker::new();
    broker
        .receives(PacketType::Publish)
        .nth(2)
        .cut_after_bytes(5);
    in_time(scope(lasting(&broker), async |client| {
        for number in 0..3 {
            client
                .publish("n", number.to_string())
                .qos(QoS::ExactlyOnce)
                .await?;
        }
        Ok::<_, Error>(())
    }))
    .await
    .unwrap();
    assert_published!(broker, "n", ["0", "1", "2"]);
}

#[tokio::test(start_paused = true)]
async fn a_message_whose_puback_was_lost_is_sent_again_with_dup() {
    let broker = TestBroker::new();
    broker.sends(PacketType::PubAck).lose().cut();
    in_time(scope(lasting(&broker), async |client| {
        client.publish("a", "1").qos(QoS::AtLeastOnce).await?;
        Ok::<_, Error>(())
    }))
    .await
    .unwrap();
    let dups: Vec<_> = (broker.packets(PacketType::Publish).into_iter())
        .filter_map(|packet| match packet.packet {
            Some(Packet::Publish(publish)) => Some(publish.dup),
            _ => None,
        })
        .collect();
    assert_eq!(dups, [false, true], "{}", broker.chart());
}

#[tokio::test(start_paused = true)]
async fn a_half_open_link_is_noticed_by_keep_alive() {
    let broker = TestBroker::new();
    let options = lasting(&broker).keep_alive(Duration::from_secs(60));
    let program = scope(options, async |client| {
        broker.link("c").half_open();
        let start = Instant::now();
        client.publish("a", "1").qos(QoS::AtLeastOnce).await?;
        let noticed = start.elapsed();
        assert!(noticed <= Duration::from_secs(60 + 60), "{noticed:?}");
        Ok::<_, Error>(())
    });
    let limit = Duration::from_secs(600); // of virtual time
    let ended = tokio::time::timeout(limit, program).await;
    ended.expect("the program ends").unwrap();
    assert_published!(broker, "a", payload = "1", qos = QoS::AtLeastOnce);
    let filter = PacketFilter::from(PacketType::Connect);
    assert_eq!(broker.packets(filter).len(), 2);
}

#[tokio::test(start_paused = true)]
async fn messages_get_through_a_restart_of_the_broker() {
    let broker = TestBroker::new();
    in_time(scope(lasting(&broker), async |client| {
        let restart = broker.restart(
            Duration::from_secs(5),
            ferromqtt::testing::RestartKeeps::ALL,
        );
        let publishing = async { client.publish("a", "1").qos(QoS::ExactlyOnce).await };
        let ((), published) = tokio::join!(restart, publishing);
        published?;
        broker.idle().await;
        Ok::<_, Error>(())
    }))
    .await
    .unwrap();
    assert_published!(broker, "a", ["1"]);
}

#[tokio::test(start_paused = true)]
async fn a_client_that_waits_to_connect_again_is_not_idle_while_it_has_messages() {
    let broker = TestBroker::new();
    in_time(scope(lasting(&broker), async |client| {
        assert!(broker.is_idle());
        broker.partition(false);
        broker.kill("c");
        let publish = client.publish("a", "1").qos(QoS::AtLeastOnce);
        let receipt = publish.enqueue().await?;
        tokio::time::sleep(Duration::from_secs(7)).await;
        assert!(!broker.is_idle());
        assert!(broker.check_published("a", 0).is_err());
        broker.heal();
        broker.idle().await;
        assert_published!(broker, "a", ["1"]);
        receipt.await?;
        Ok::<_, Error>(())
    }))
    .await
    .unwrap();
}

/// What a client could not send when it ended is not on its way any more, also while somebody has a handle to it.
#[tokio::test(start_paused = true)]
async fn a_client_that_has_ended_leaves_the_broker_idle() {
    let broker = TestBroker::new();
    let connection = Connection::open(lasting(&broker)).await.unwrap();
    let client = connection.client();
    broker.partition(false);
    broker.kill("c");
    let publish = client.publish("a", "1").qos(QoS::AtLeastOnce);
    let _receipt = publish.enqueue().await.unwrap();
    assert!(!broker.is_idle());
    let idle = in_time(broker.idle());
    let (_, ()) = tokio::join!(connection.disconnect(), idle);
    assert!(broker.published("a").is_empty());
    drop(client);
}

#[tokio::test(start_paused = true)]
async fn idle_waits_for_what_was_just_published() {
    for qos in [QoS::AtMostOnce, QoS::AtLeastOnce, QoS::ExactlyOnce] {
        let broker = TestBroker::new();
        in_time(scope(Options::test(&broker), async |client| {
            client.publish("a", "1").qos(qos).await?;
            broker.idle().await;
            assert_published!(broker, "a", ["1"]);
            Ok::<_, Error>(())
        }))
        .await
        .unwrap();
    }
}
