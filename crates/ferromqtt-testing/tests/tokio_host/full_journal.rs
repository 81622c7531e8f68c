//! What a journal proves that is too small for what happened, or is not kept.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use ferromqtt_proto::packet::Packet;
use ferromqtt_testing::{BrokerOptions, PacketFilter, TestBroker, assert_published};
use tokio::time::sleep;

use crate::{Client, connect, publish};

fn broker_with_journal(packets: usize) -> TestBroker {
    let mut options = BrokerOptions::default();
    options.journal_packets = Some(packets);
    TestBroker::with_options(options)
}

/// Publishes from the broker itself, so that it has happened when this returns.
fn accept(broker: &TestBroker, topic: &str, payload: &'static str) {
    let Packet::Publish(message) = publish(topic, Bytes::from_static(payload.as_bytes())) else {
        unreachable!("it makes a PUBLISH");
    };
    broker.publish(message);
}

#[tokio::test(start_paused = true)]
async fn a_journal_is_kept_unless_the_options_turn_it_off() {
    let broker = broker_with_journal(0);
    let mut c = Client::in_memory(&broker, connect("c")).await;
    c.send(&publish("t", Bytes::from_static(b"x"))).await;
    broker.idle().await;
    assert!(broker.packets(PacketFilter::new()).is_empty());
    for times in [0, 1] {
        let error = broker.check_published("t", times).unwrap_err();
        let text = "the broker keeps no journal: its option journal_packets is 0";
        assert_eq!(error.to_string(), text);
    }
}

#[tokio::test(start_paused = true)]
async fn a_journal_that_has_dropped_messages_proves_nothing() {
    let broker = broker_with_journal(2);
    accept(&broker, "first", "1");
    accept(&broker, "other", "2");
    assert_published!(broker, "first", times = 1);
    assert_published!(broker, "other", ["2"]);
    accept(&broker, "other", "3");
    let text = "the journal holds the newest 2 of 3 messages, so that the others cannot be counted: give the broker a larger journal_packets or journal_bytes";
    for error in [
        broker.check_published("first", 0),
        broker.check_published("other", 2),
        broker.check_payloads::<&str>("first", &[]),
        broker.check_payloads("other", &["2", "3"]),
    ] {
        assert_eq!(error.unwrap_err().to_string(), text);
    }
}

#[tokio::test(start_paused = true)]
async fn messages_that_a_test_waits_for_count_also_when_the_journal_has_dropped_them() {
    let broker = Arc::new(broker_with_journal(1));
    let waiting = tokio::spawn({
        let broker = Arc::clone(&broker);
        async move { broker.wait_for("t").count(3).await }
    });
    for payload in ["1", "2", "3"] {
        accept(&broker, "t", payload);
        sleep(Duration::from_secs(1)).await; // the clock is paused: until the task has seen it
    }
    let found = waiting.await.unwrap().unwrap();
    let payloads: Vec<_> = found.iter().map(|it| &it.payload[..]).collect();
    assert_eq!(payloads, [b"1", b"2", b"3"]);
}
