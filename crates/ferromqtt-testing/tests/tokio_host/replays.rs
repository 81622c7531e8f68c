//! What a test can ask a broker that replays a recording, and what it cannot.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use bytes::Bytes;
use ferromqtt_proto::packet::{Packet, PacketType, PublishPacket, QoS};
use ferromqtt_proto::{ReasonCode, packet::PacketId};
use ferromqtt_testing::recording::{RecordedPayloads, Recorder, Recording};
use ferromqtt_testing::{
    BrokerSide, FaultError, FaultRule, PacketFilter, RestartKeeps, TestBroker, assert_published,
};

use crate::{Client, connect, publish};

fn message(topic: &str, payload: &str, qos: QoS) -> PublishPacket {
    let Packet::Publish(message) = publish(topic, Bytes::copy_from_slice(payload.as_bytes()))
    else {
        unreachable!("it makes a PUBLISH");
    };
    PublishPacket {
        qos,
        packet_id: (qos != QoS::AtMostOnce).then_some(PacketId::MIN),
        ..message
    }
}

async fn program(broker: &TestBroker) {
    let mut client = Client::in_memory(broker, connect("c")).await;
    client
        .send(&Packet::Publish(message("x/1", "on", QoS::AtLeastOnce)))
        .await;
    assert!(matches!(client.next().await, Some(Packet::PubAck(_))));
}

async fn replaying(name: &str) -> TestBroker {
    let name = format!("{}-{name}.mqttlog", std::process::id());
    let path = std::path::PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(name);
    let recorder = Recorder::to_file(&path, RecordedPayloads::Whole).unwrap();
    let broker = TestBroker::new();
    broker.record(recorder.clone());
    program(&broker).await;
    broker.stop().await;
    recorder.finish().unwrap();
    let recording = Recording::read(&path).unwrap();
    std::fs::remove_file(path).unwrap();
    TestBroker::from_recording(&recording).unwrap()
}

#[tokio::test(start_paused = true)]
async fn what_happened_in_a_replay_can_be_asked() {
    let broker = replaying("asked").await;
    program(&broker).await;
    broker.idle().await;
    assert_published!(broker, "x/1", ["on"]);
    assert_published!(broker, "x/2", times = 0);
    let error = broker.check_published("x/1", 0).unwrap_err().to_string();
    assert!(error.contains("1 messages matched"), "{error}");
    broker.wait_for("x/#").payload("on").await.unwrap();
    let pubacks = broker.packets(PacketFilter::from(PacketType::PubAck).side(BrokerSide::Sends));
    assert_eq!(pubacks.len(), 1);
    assert_eq!(&*pubacks[0].client, "c");
    let chart = broker.chart();
    for part in ["connection opened", "PUBLISH (id 1", "<-"] {
        assert!(chart.contains(part), "{part} in {chart}");
    }
    broker.check_replay().unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_replay_is_refused_what_it_cannot_do() {
    let broker = replaying("refused").await;
    let rule = FaultRule::sends(PacketType::PubAck).lose();
    assert_eq!(broker.add_fault(rule), Err(FaultError::Replaying));
    type Verb = fn(&TestBroker);
    let verbs: [(&str, Verb); 15] = [
        ("rule", |it| {
            let _ = it.sends(PacketType::PubAck).lose();
        }),
        ("refuse_connections", |it| {
            let _ = it.refuse_connections(ReasonCode::ServerBusy);
        }),
        ("set_fault_seed", |it| it.set_fault_seed(1)),
        ("link", |it| it.link("c").cut()),
        ("partition", |it| it.partition(false)),
        ("heal", TestBroker::heal),
        ("forget_session", |it| {
            let _ = it.forget_session("c");
        }),
        ("take_over", |it| {
            let _ = it.take_over("c");
        }),
        ("kill", |it| {
            let _ = it.kill("c");
        }),
        ("send", |it| {
            let _ = it.send("c", &Packet::PingResp);
        }),
        ("send_raw", |it| {
            let _ = it.send_raw("c", Bytes::new());
        }),
        ("publish", |it| {
            it.publish(message("t", "x", QoS::AtMostOnce));
        }),
        ("session_stats", |it| {
            let _ = it.session_stats("c");
        }),
        ("disconnect_client", |it| {
            let _ = it.disconnect_client("c", ReasonCode::ServerBusy, None);
        }),
        ("restart", |it| {
            let restart = it.restart(Duration::ZERO, RestartKeeps::ALL);
            let mut restart = std::pin::pin!(restart);
            let mut cx = std::task::Context::from_waker(std::task::Waker::noop());
            let _ = restart.as_mut().poll(&mut cx);
        }),
    ];
    for (name, verb) in verbs {
        let panic = catch_unwind(AssertUnwindSafe(|| verb(&broker))).expect_err(name);
        let text = (panic.downcast_ref::<String>().map(String::as_str))
            .or_else(|| panic.downcast_ref::<&str>().copied())
            .expect("a text");
        assert!(
            text.contains("that replays a recording makes no faults"),
            "{name}: {text}"
        );
    }
    assert_eq!(broker.stats().connections, 0);
    program(&broker).await;
    broker.check_replay().unwrap();
}
