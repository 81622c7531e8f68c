//! Faults, and what happened, at a running broker.

use std::io::ErrorKind;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use ferromqtt_proto::ReasonCode;
use ferromqtt_proto::packet::{Packet, PacketId, PacketType, PublishPacket, QoS};
use ferromqtt_testing::{
    BrokerSide, BrokerUnreachable, FaultRule, MemoryStream, MessageFilter, RestartKeeps,
    TestBroker, assert_faults_fired, assert_published,
};
use tokio::io::AsyncReadExt;
use tokio::time::{Instant, sleep, timeout};

use crate::{Client, connect, publish};

const SECOND: Duration = Duration::from_secs(1);

async fn client(broker: &TestBroker, name: &str) -> Client<MemoryStream> {
    Client::in_memory(broker, connect(name)).await
}

fn qos1(topic: &str, payload: &str) -> Packet {
    let Packet::Publish(message) = publish(topic, Bytes::copy_from_slice(payload.as_bytes()))
    else {
        unreachable!("it makes a PUBLISH");
    };
    Packet::Publish(PublishPacket {
        qos: QoS::AtLeastOnce,
        packet_id: Some(PacketId::MIN),
        ..message
    })
}

async fn failure<F: Future<Output = ()> + Send + 'static>(test: F) -> String {
    let error = tokio::spawn(test).await.expect_err("it is to fail");
    let payload = error.into_panic();
    let text = payload.downcast_ref::<String>().cloned();
    text.or_else(|| payload.downcast_ref::<&str>().map(|it| (*it).to_owned()))
        .expect("a text")
}

#[tokio::test(start_paused = true)]
async fn a_rule_is_added_with_its_first_action_and_changed_by_each_further_word() {
    let broker = TestBroker::new();
    let mut client = client(&broker, "c").await;
    let rule = broker.sends(PacketType::PubAck).client("c").lose().times(2);
    assert_eq!(
        rule.rule().to_string(),
        r#"sends PUBACK client "c" times 2 lose"#
    );
    let _ = broker.sends(PacketType::PingResp).nth(7); // no action: no rule
    for _ in 0..3 {
        client.send(&qos1("t", "x")).await;
    }
    assert!(matches!(client.next().await, Some(Packet::PubAck(_))));
    broker.idle().await;
    assert_eq!(rule.fired(), 2);
    assert!(broker.unused_faults().is_empty());
    rule.remove();
    broker.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_held_packet_is_released_by_its_handle() {
    let broker = TestBroker::new();
    let mut client = client(&broker, "c").await;
    let held = broker.sends(PacketType::PubAck).hold();
    client.send(&qos1("t", "x")).await;
    broker.wait_for("t").await.unwrap();
    assert!(timeout(80 * SECOND, broker.idle()).await.is_err());
    assert_eq!(held.release(), 1);
    assert!(matches!(client.next().await, Some(Packet::PubAck(_))));
    broker.idle().await;
}

#[tokio::test(start_paused = true)]
async fn a_delay_takes_the_time_of_the_runtime() {
    let broker = TestBroker::new();
    let mut client = client(&broker, "c").await;
    broker.receives(PacketType::PingReq).delay(50 * SECOND);
    broker.link("c").latency(SECOND, Duration::ZERO);
    let start = Instant::now();
    client.send(&Packet::PingReq).await;
    assert_eq!(client.next().await, Some(Packet::PingResp));
    let took = start.elapsed();
    assert_eq!(took, 52 * SECOND);
}

#[tokio::test(start_paused = true)]
async fn a_rule_that_makes_no_sense_fails_the_test_in_words() {
    let text = failure(async {
        let broker = TestBroker::new();
        broker
            .receives(PacketType::PingReq)
            .refuse(ReasonCode::NotAuthorized);
    })
    .await;
    assert!(
        text.starts_with("a fault rule cannot refuse PINGREQ"),
        "{text}"
    );
    let text = failure(async {
        let broker = TestBroker::new();
        let _client = client(&broker, "somebody").await;
        broker.link("c").cut();
    })
    .await;
    let expected = r#"no client "c" is connected to the test broker; those that are: ["somebody"]"#;
    assert_eq!(text, expected);
    let broker = TestBroker::new();
    assert!(broker.add_fault(FaultRule::sends(None)).is_err());
}

#[tokio::test(start_paused = true)]
async fn a_cut_and_a_reset_look_as_they_do_on_a_socket() {
    for resets in [false, true] {
        let broker = TestBroker::new();
        let mut client = client(&broker, "c").await;
        match resets {
            false => broker.link("c").cut(),
            true => broker.link("c").reset(),
        }
        let read = client.stream.read(&mut [0]).await;
        match resets {
            false => assert_eq!(read.unwrap(), 0),
            true => assert_eq!(read.unwrap_err().kind(), ErrorKind::ConnectionReset),
        }
    }
}

#[tokio::test]
async fn a_reset_of_a_socket_is_one() {
    let broker = TestBroker::start().await.unwrap();
    let mut client = Client::connect(&broker, connect("c")).await;
    broker.receives(PacketType::PingReq).cut().reset();
    client.send(&Packet::PingReq).await;
    let read = client.stream.read(&mut [0]).await;
    assert_eq!(read.unwrap_err().kind(), ErrorKind::ConnectionReset);
    broker.stop().await;
}

/// The client has to wait with its writes, as it does for a peer that does not read; on a socket too.
#[tokio::test]
async fn a_stalled_link_is_not_read() {
    let broker = TestBroker::start().await.unwrap();
    let mut in_memory = client(&broker, "memory").await;
    let mut on_socket = Client::connect(&broker, connect("socket")).await;
    for name in ["memory", "socket"] {
        broker.link(name).stall(BrokerSide::Receives);
    }
    // Far more than any buffer on the way holds.
    let large = publish("t", vec![0; 50_000_000].into());
    tokio::join!(
        async {
            let sent = timeout(SECOND / 5, in_memory.send(&large)).await;
            assert!(sent.is_err(), "memory");
        },
        async {
            let sent = timeout(SECOND / 5, on_socket.send(&large)).await;
            assert!(sent.is_err(), "socket");
        },
    );
    broker.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_stalled_link_goes_on_when_it_is_resumed() {
    let broker = TestBroker::new();
    let mut client = client(&broker, "c").await;
    for side in [BrokerSide::Receives, BrokerSide::Sends] {
        broker.link("c").stall(side);
        client.send(&Packet::PingReq).await;
        assert!(timeout(SECOND, client.next()).await.is_err());
        broker.link("c").resume(side);
        assert_eq!(client.next().await, Some(Packet::PingResp));
    }
    broker.link("c").rate(NonZeroU32::new(1));
    let start = Instant::now();
    client.send(&Packet::PingReq).await;
    assert_eq!(client.next().await, Some(Packet::PingResp));
    assert_eq!(start.elapsed(), 4 * SECOND, "two bytes each way");
    broker.link("c").rate(None);
    broker.link("c").cut_after(BrokerSide::Sends, 1);
    client.send(&Packet::PingReq).await;
    assert_eq!(client.stream.read_u8().await.unwrap(), 0xD0);
    assert_eq!(client.stream.read(&mut [0]).await.unwrap(), 0);
}

/// The link takes in no more than it can pass on, and its client is read again once it has passed that on.
#[tokio::test(start_paused = true)]
async fn large_messages_pass_a_slow_link() {
    let broker = TestBroker::new();
    let mut reader = client(&broker, "reader").await;
    reader.subscribe("t", QoS::AtMostOnce).await;
    let mut writer = client(&broker, "writer").await;
    for name in ["reader", "writer"] {
        broker.link(name).rate(NonZeroU32::new(100_000));
    }
    let start = Instant::now();
    let sending = async {
        for _ in 0..10 {
            writer.send(&publish("t", vec![0; 100_000].into())).await;
        }
    };
    let reading = async {
        for _ in 0..10 {
            assert!(matches!(reader.next().await, Some(Packet::Publish(_))));
        }
    };
    tokio::join!(sending, reading);
    let took = start.elapsed();
    assert!((10 * SECOND..13 * SECOND).contains(&took), "{took:?}");
}

#[tokio::test(start_paused = true)]
async fn half_open_is_noticed_by_keep_alive_alone() {
    let broker = TestBroker::new();
    let mut client = client(&broker, "c").await; // Keep Alive 60
    broker.link("c").half_open();
    client.send(&Packet::PingReq).await;
    assert!(timeout(89 * SECOND, client.next()).await.is_err());
    assert_eq!(broker.stats().connections, 1);
    sleep(2 * SECOND).await;
    assert_eq!(broker.stats().connections, 0);
    assert!(
        timeout(100 * SECOND, client.next()).await.is_err(),
        "no end"
    );
}

#[tokio::test(start_paused = true)]
async fn connections_are_refused_while_the_broker_is_down() {
    let broker = TestBroker::new();
    let mut first = client(&broker, "c").await;
    let start = Instant::now();
    let open = broker.transport();
    let restart = broker.restart(5 * SECOND, RestartKeeps::ALL);
    let during = async {
        assert_eq!(first.next().await, None);
        assert_eq!(broker.connect().unwrap_err(), BrokerUnreachable::Down);
        let error = open("server").await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::ConnectionRefused);
        assert!(
            error
                .to_string()
                .contains("the test broker refuses connections"),
            "{error}"
        );
    };
    tokio::join!(restart, during);
    assert_eq!(start.elapsed(), 5 * SECOND);
    client(&broker, "c").await;
    broker.partition(false);
    assert_eq!(broker.connect().unwrap_err(), BrokerUnreachable::Down);
    broker.partition(true);
    let hanging = Client::in_memory(&broker, connect("d"));
    assert!(timeout(SECOND, hanging).await.is_err());
    broker.heal();
    client(&broker, "d").await;
    assert!(broker.chart().contains("-- connection refused --"));
}

#[tokio::test]
async fn a_socket_of_a_broker_that_is_down_is_closed_at_once() {
    let broker = TestBroker::start().await.unwrap();
    broker.partition(false);
    let address = (broker.host(), broker.port());
    let mut stream = tokio::net::TcpStream::connect(address).await.unwrap();
    assert_eq!(stream.read(&mut [0]).await.unwrap(), 0);
    broker.heal();
    Client::connect(&broker, connect("c")).await;
    broker.stop().await;
}

#[tokio::test(start_paused = true)]
async fn refused_connections_are_told_why_and_counted() {
    let broker = TestBroker::new();
    broker.refuse_connections(ReasonCode::ServerBusy).times(2);
    for _ in 0..2 {
        let mut stream = broker.connect().unwrap();
        let mut bytes = bytes::BytesMut::new();
        Packet::Connect(Box::new(connect("c"))).encode(crate::VERSION, &mut bytes);
        tokio::io::AsyncWriteExt::write_all(&mut stream, &bytes)
            .await
            .unwrap();
        let mut connack = [0; 4];
        stream.read_exact(&mut connack).await.unwrap();
        assert_eq!(connack, *b"\x20\x02\x00\x03"); // Server unavailable
        assert_eq!(stream.read(&mut [0]).await.unwrap(), 0);
    }
    client(&broker, "c").await;
    assert_eq!(broker.connects().len(), 3);
}

#[tokio::test(start_paused = true)]
async fn verbs_of_the_broker_reach_its_clients() {
    let broker = TestBroker::new();
    let mut c = client(&broker, "c").await;
    c.subscribe("t", QoS::AtMostOnce).await;
    assert!(broker.send("c", &Packet::PingResp));
    assert_eq!(c.next().await, Some(Packet::PingResp));
    assert!(broker.send_raw("c", &b"\xd0\x00"[..]));
    assert_eq!(c.next().await, Some(Packet::PingResp));
    let Packet::Publish(message) = publish("t", Bytes::from_static(b"from the broker")) else {
        unreachable!("it makes a PUBLISH");
    };
    broker.publish(message);
    assert!(matches!(c.next().await, Some(Packet::Publish(_))));
    assert!(broker.take_over("c"));
    assert_eq!(c.next().await, None);
    let mut c = client(&broker, "c").await;
    assert!(broker.kill("c"));
    assert!(c.stream.read(&mut [0]).await.is_err());
    let mut c = client(&broker, "c").await;
    assert!(broker.forget_session("c"));
    assert_eq!(c.next().await, None);
    assert!(!broker.kill("c") && !broker.take_over("c") && !broker.forget_session("c"));
}

#[tokio::test(start_paused = true)]
async fn a_test_waits_for_messages_and_is_told_what_came_instead() {
    let broker = TestBroker::new();
    broker.sends(PacketType::PubAck).nth(2).lose();
    let mut c = client(&broker, "c").await;
    let later = async {
        sleep(3 * SECOND).await;
        c.send(&publish("site/7/level", Bytes::from_static(b"28.5")))
            .await;
        c.send(&publish("site/8/level", Bytes::from_static(b"28.4")))
            .await;
    };
    let waiting = broker.wait_for("site/+/level").count(2);
    let (messages, ()) = tokio::join!(waiting, later);
    assert_eq!(messages.unwrap().len(), 2);
    assert_eq!(broker.published("site/7/#").len(), 1);
    let error = broker
        .wait_for("site/7/level")
        .payload("28.4")
        .within(SECOND)
        .await
        .unwrap_err();
    let text = format!("{error:?}");
    let expected = "\
no message matched within 1 s   topic \"site/7/level\"  payload \"28.4\"
  near:  site/7/level  \"28.5\"   payload: \"28.5\" is not \"28.4\"   +3.000 s
  near:  site/8/level  \"28.4\"   topic   +3.000 s
  rule never fired: sends PUBACK nth 2 lose
";
    assert!(text.starts_with(expected), "{text}");
    assert!(
        text.contains("PUBLISH (QoS 0, topic \"site/7/level\""),
        "{text}"
    );
    let error = broker
        .wait_for("site/#")
        .count(3)
        .within(SECOND)
        .await
        .unwrap_err();
    assert!(
        error
            .to_string()
            .starts_with("no message matched 3 times, but 2 times, within 1 s"),
        "{error}"
    );
}

#[tokio::test(start_paused = true)]
async fn an_assertion_names_what_came_instead() {
    let broker = TestBroker::new();
    let mut c = client(&broker, "c").await;
    for payload in ["0", "1"] {
        c.send(&publish("n", Bytes::copy_from_slice(payload.as_bytes())))
            .await;
    }
    broker.idle().await;
    assert_published!(broker, "n", ["0", "1"]);
    assert_published!(broker, "n", [b"0", "1".as_bytes().to_vec()]);
    assert_published!(
        broker,
        "n",
        payload = "1",
        qos = QoS::AtMostOnce,
        retain = false,
        times = 1
    );
    assert_published!(broker, "n", times = 2);
    assert_published!(broker, "m", times = 0);
    let filter = MessageFilter::new("n").payload("1");
    assert_eq!(broker.published(filter).len(), 1);
    let text = failure(async move {
        assert_published!(broker, "n", ["0", "2"]);
    })
    .await;
    let expected = "\
other payloads were published
  wanted: [\"0\", \"2\"]
  found:  [\"0\", \"1\"]
    topic \"n\"
";
    assert!(text.starts_with(expected), "{text}");
    let broker = TestBroker::new();
    let text = failure(async move {
        assert_published!(broker, "n", payload = "1");
    })
    .await;
    assert_eq!(
        text,
        "no message matched   topic \"n\"  payload \"1\"\n(no packets)\n"
    );
}

/// Messages have come, and are on their way to a client that has not read them.
#[tokio::test(start_paused = true)]
async fn idle_sees_what_a_client_has_not_read() {
    let broker = TestBroker::new();
    let mut reader = client(&broker, "reader").await;
    reader.subscribe("t", QoS::AtMostOnce).await;
    let mut writer = client(&broker, "writer").await;
    assert!(broker.is_idle());
    writer.send(&publish("t", vec![0; 200_000].into())).await;
    assert!(timeout(10 * SECOND, broker.idle()).await.is_err());
    assert!(matches!(reader.next().await, Some(Packet::Publish(_))));
    broker.idle().await;
    writer.send(&publish("t", vec![0; 200_000].into())).await;
    drop(reader); // what it will not read does not count
    timeout(30 * SECOND, broker.idle()).await.expect("idle");
}

/// A message that a fault holds back could be the one that must not come.
#[tokio::test(start_paused = true)]
async fn that_nothing_came_is_not_said_of_a_broker_that_is_not_idle() {
    let broker = TestBroker::new();
    let rule = broker.receives(PacketType::Publish).hold();
    let mut c = client(&broker, "c").await;
    c.send(&publish("a", Bytes::from_static(b"1"))).await;
    sleep(SECOND).await;
    for error in [
        broker.check_published("a", 0).unwrap_err(),
        broker.check_payloads::<&[u8]>("a", &[]).unwrap_err(),
    ] {
        let text = error.to_string();
        let headline = "that nothing came proves nothing for topic \"a\" while";
        assert!(text.starts_with(headline), "{text}");
        assert!(text.contains("PUBLISH (QoS 0"), "the chart: {text}");
    }
    assert!(broker.published("a").is_empty());
    rule.release();
    broker.idle().await;
    assert_published!(broker, "b", times = 0);
    assert_published!(broker, "b", []);
    assert_published!(broker, "a");
}

#[tokio::test(start_paused = true)]
async fn idle_waits_for_what_clients_have_to_send() {
    let broker = TestBroker::new();
    let outgoing = Arc::new(AtomicUsize::new(2));
    let count = Arc::downgrade(&outgoing);
    (broker.client_watch()).watch(move || Some(count.upgrade()?.load(Ordering::Relaxed)));
    assert!(timeout(10 * SECOND, broker.idle()).await.is_err());
    outgoing.store(0, Ordering::Relaxed);
    broker.idle().await;
    outgoing.store(1, Ordering::Relaxed);
    let idle = tokio::spawn(async move { broker.idle().await });
    sleep(SECOND).await;
    assert!(!idle.is_finished());
    drop(outgoing); // the client is gone
    timeout(SECOND, idle).await.expect("idle").unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_test_whose_fault_never_happened_fails_when_it_asks() {
    let broker = TestBroker::new();
    let mut client = client(&broker, "c").await;
    broker.sends(PacketType::PubAck).client("c").lose();
    broker.sends(PacketType::PubAck).nth(9).optional().lose();
    let error = broker.check_faults_fired().unwrap_err().to_string();
    assert!(error.starts_with("rules for faults never fired"), "{error}");
    assert!(
        error.contains("\n  sends PUBACK client \"c\" lose\n"),
        "{error}"
    );
    client.send(&qos1("t", "x")).await;
    broker.wait_for("t").await.unwrap();
    broker.idle().await;
    assert_faults_fired!(broker);
    broker.sends(PacketType::Publish).topic("t").lose();
    let text = failure(async move {
        client.send(&qos1("t", "y")).await;
        broker.wait_for("t").payload("y").await.unwrap();
        assert_faults_fired!(broker);
    })
    .await;
    assert!(text.contains("the broker received such a packet"), "{text}");
}

#[tokio::test(start_paused = true)]
async fn a_broker_that_is_not_idle_says_what_is_pending_where_nothing_must_come() {
    let broker = TestBroker::new();
    let mut client = client(&broker, "c").await;
    broker.sends(PacketType::PubAck).hold();
    client.send(&qos1("t", "x")).await;
    broker.wait_for("t").await.unwrap();
    let error = broker.check_published("other", 0).unwrap_err().to_string();
    assert!(
        error.contains("not idle: to c: PUBACK held until it is released"),
        "{error}"
    );
    let nothing = broker.check_payloads("other", &["x"]).unwrap_err();
    assert!(
        nothing.to_string().starts_with("nothing was published"),
        "{nothing}"
    );
}
