//! Messages and session outlive the connection, and the program: what an outbox holds, refuses, keeps apart and sends.

use std::path::PathBuf;
use std::time::Duration;

use ferromqtt::testing::{BrokerOptions, TestBroker};
use ferromqtt::{
    CleanStart, Client, ConnectError, Connection, InvalidPublish, Messages, Options, Outbox,
    OutgoingLimits, OutgoingPolicy, ProtocolVersion, PublishError, QoS, QuarantineReason, Receipt,
    Reconnect, StoreError,
};
use ferromqtt_proto::packet::{Packet, PacketType};
use tokio::time::sleep;

use crate::in_time;

const AT_LEAST_ONCE: QoS = QoS::AtLeastOnce;

/// A folder that is there for one test.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let name = format!("ferromqtt-outbox-{}-{name}", std::process::id());
        Self(std::env::temp_dir().join(name))
    }

    fn outbox(&self) -> Outbox {
        Outbox::new(&self.0)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn options(broker: &TestBroker, outbox: Outbox) -> Options {
    let at_once = Reconnect {
        initial: true,
        initial_delay: Duration::from_millis(10),
        max_delay: Duration::from_millis(10),
        ..Reconnect::default()
    };
    Options::test(broker).reconnect(at_once).outbox(outbox)
}

/// A connection that never comes about, with this outbox.
async fn offline(outbox: Outbox) -> Connection {
    let broker = TestBroker::new();
    let options = options(&broker, outbox);
    drop(broker);
    Connection::start(options).await.unwrap()
}

async fn enqueue(client: &Client, payload: &'static str, qos: QoS) -> Receipt {
    let publish = client.publish("t", payload).qos(qos);
    publish.enqueue().await.unwrap()
}

async fn listen(broker: &TestBroker) -> (Connection, Messages) {
    let listening = Connection::open(Options::test(broker)).await.unwrap();
    let messages = (listening.client().subscribe("t/#").qos(QoS::ExactlyOnce)).await;
    (listening, messages.unwrap())
}

async fn texts(messages: &mut Messages, count: usize) -> Vec<String> {
    let mut texts = Vec::new();
    for _ in 0..count {
        let message = messages.next().await.unwrap();
        texts.push(message.text().unwrap().to_owned());
    }
    texts
}

#[tokio::test]
async fn what_was_stored_without_a_server_is_sent_by_the_next_connection() {
    in_time(async {
        for protocol in [ProtocolVersion::V311, ProtocolVersion::V5] {
            let folder = Folder::new("offline");
            let connection = offline(folder.outbox()).await;
            let client = connection.client();
            let mut receipts = Vec::new();
            for (payload, qos) in [
                ("1", AT_LEAST_ONCE),
                ("2", QoS::ExactlyOnce),
                ("3", QoS::AtMostOnce),
            ] {
                receipts.push(enqueue(&client, payload, qos).await);
            }
            for receipt in &receipts {
                receipt.stored().await.unwrap();
            }
            connection.disconnect().await.unwrap();
            for receipt in receipts {
                let kept = receipt.await.unwrap_err();
                assert!(matches!(kept, PublishError::Kept { .. }), "{kept}");
            }

            let broker = TestBroker::new();
            let (_listening, mut messages) = listen(&broker).await;
            let options = options(&broker, folder.outbox()).protocol(protocol);
            let connection = Connection::open(options).await.unwrap();
            assert_eq!(texts(&mut messages, 3).await, ["1", "2", "3"]);
            let client = connection.client();
            while client.outbox_stats().unwrap().messages > 0 {
                sleep(Duration::from_millis(1)).await;
            }
            connection.disconnect().await.unwrap();
        }
    })
    .await;
}

#[tokio::test]
async fn a_client_without_a_name_gets_one_and_keeps_it() {
    in_time(async {
        let broker = TestBroker::new();
        let folder = Folder::new("name");
        let mut names = Vec::new();
        for _ in 0..2 {
            let connection = Connection::open(options(&broker, folder.outbox())).await;
            let connection = connection.unwrap();
            names.push(connection.client().client_identifier().to_string());
            connection.disconnect().await.unwrap();
        }
        assert_eq!(names[0].len(), 22);
        assert_eq!(names[0], names[1]);
        let other = options(&broker, folder.outbox()).client_identifier("other");
        let error = Connection::open(other).await.unwrap_err();
        let ConnectError::Outbox(StoreError::OtherClient { recorded, .. }) = &error else {
            panic!("{error}");
        };
        assert_eq!(*recorded, names[0]);
    })
    .await;
}

#[tokio::test]
async fn a_folder_has_one_connection_at_a_time() {
    in_time(async {
        let broker = TestBroker::new();
        let folder = Folder::new("one");
        let connection = Connection::open(options(&broker, folder.outbox())).await;
        let connection = connection.unwrap();
        let error = Connection::open(options(&broker, folder.outbox())).await;
        let error = error.unwrap_err();
        assert!(
            matches!(error, ConnectError::Outbox(StoreError::InUse { .. })),
            "{error}"
        );
        connection.disconnect().await.unwrap();
        let next = Connection::open(options(&broker, folder.outbox())).await;
        next.unwrap().disconnect().await.unwrap();
    })
    .await;
}

#[tokio::test]
async fn a_folder_is_free_when_no_connection_came_about() {
    in_time(async {
        let broker = TestBroker::new();
        let folder = Folder::new("free");
        let options = options(&broker, folder.outbox()).reconnect(None);
        (broker.refuse_connections(ferromqtt::ReasonCode::NotAuthorized)).times(3);
        for _ in 0..3 {
            let error = Connection::open(options.clone()).await.unwrap_err();
            assert!(matches!(error, ConnectError::Connection { .. }), "{error}");
        }
        let connection = Connection::open(options).await.unwrap();
        connection.disconnect().await.unwrap();
    })
    .await;
}

#[tokio::test]
async fn the_session_is_resumed_and_kept_as_long_as_messages_may_wait() {
    in_time(async {
        let broker = TestBroker::new();
        let folder = Folder::new("session");
        let outbox = folder.outbox().max_age(Duration::from_secs(1_000));
        let options = options(&broker, outbox).client_identifier("pump-7");
        for resumed in [false, true] {
            let connection = Connection::open(options.clone()).await.unwrap();
            let answers = broker.packets(PacketType::ConnAck);
            let Some(Packet::ConnAck(answer)) = &answers.last().unwrap().packet else {
                panic!("{}", broker.chart());
            };
            assert_eq!(answer.session_present, resumed);
            let connects = broker.packets(PacketType::Connect);
            let Some(Packet::Connect(connect)) = &connects.last().unwrap().packet else {
                panic!("{}", broker.chart());
            };
            assert_eq!(connect.properties.session_expiry_interval, Some(1_000));
            connection.disconnect().await.unwrap();
        }
    })
    .await;
}

#[tokio::test]
async fn qos_2_needs_a_session_that_outlives_the_program() {
    in_time(async {
        let broker = TestBroker::new();
        let mut grants_none = BrokerOptions::default();
        grants_none.maximum_session_expiry_interval = 0;
        let grants_none = TestBroker::with_options(grants_none);
        for name in ["clean", "session-expiry", "granted"] {
            let folder = Folder::new(name);
            let options = match name {
                "granted" => options(&grants_none, folder.outbox()),
                _ => options(&broker, folder.outbox()),
            };
            let options = match name {
                "clean" => options.clean_start(CleanStart::Always),
                "session-expiry" => options.session_expiry_interval(Duration::ZERO),
                _ => options,
            };
            let connection = Connection::open(options).await.unwrap();
            let client = connection.client();
            let publish = client.publish("t", "x").qos(QoS::ExactlyOnce);
            let error = publish.enqueue().await.unwrap_err();
            assert_eq!(
                error,
                PublishError::Invalid(InvalidPublish::SessionTooShort)
            );
            enqueue(&client, "x", AT_LEAST_ONCE).await.await.unwrap();
            connection.disconnect().await.unwrap();
        }
    })
    .await;
}

#[tokio::test]
async fn what_was_on_its_way_is_sent_again_by_the_next_connection() {
    in_time(async {
        let broker = TestBroker::new();
        let (_listening, mut messages) = listen(&broker).await;
        let folder = Folder::new("in-flight");
        let options = options(&broker, folder.outbox());
        broker.sends(PacketType::PubAck).lose();
        broker.sends(PacketType::PubComp).lose();
        let connection = Connection::open(options.clone()).await.unwrap();
        let client = connection.client();
        let receipts = [
            enqueue(&client, "1", AT_LEAST_ONCE).await,
            enqueue(&client, "2", QoS::ExactlyOnce).await,
        ];
        assert_eq!(texts(&mut messages, 2).await, ["1", "2"]);
        while broker.packets(PacketType::PubRel).is_empty() {
            sleep(Duration::from_millis(1)).await;
        }
        drop(receipts);
        connection.disconnect().await.unwrap();

        let connection = Connection::open(options).await.unwrap();
        assert_eq!(texts(&mut messages, 1).await, ["1"], "DUP, at least once");
        let client = connection.client();
        while client.outbox_stats().unwrap().messages > 0 {
            sleep(Duration::from_millis(1)).await;
        }
        let publishes = broker.packets(PacketType::Publish);
        let publishes = (publishes.iter()).filter_map(|it| match &it.packet {
            Some(Packet::Publish(publish))
                if it.client.as_str() == client.client_identifier().as_str() =>
            {
                Some((publish.payload.to_vec(), publish.dup))
            }
            _ => None,
        });
        let sent: Vec<_> = publishes.collect();
        let expected = [("1", false), ("2", false), ("1", true)];
        let expected = expected.map(|(text, dup)| (text.as_bytes().to_vec(), dup));
        assert_eq!(sent, expected, "{}", broker.chart());
        connection.disconnect().await.unwrap();
    })
    .await;
}

#[tokio::test]
async fn what_the_server_will_not_take_is_kept_apart_and_not_sent_again() {
    in_time(async {
        let broker = TestBroker::new();
        let folder = Folder::new("refused");
        let not_authorized = ferromqtt::ReasonCode::NotAuthorized;
        let quota = ferromqtt::ReasonCode::QuotaExceeded;
        (broker.receives(PacketType::Publish).topic("t/refused")).refuse(not_authorized);
        (broker.receives(PacketType::Publish).topic("t/quota")).refuse(quota);
        let options = options(&broker, folder.outbox());
        let connection = Connection::open(options.clone()).await.unwrap();
        let client = connection.client();
        let publish = |topic| client.publish(topic, "x").qos(AT_LEAST_ONCE).enqueue();
        let refused = publish("t/refused").await.unwrap().await.unwrap_err();
        let why = QuarantineReason::Refused(not_authorized.value());
        assert_eq!(refused, PublishError::Quarantined { why });
        assert!(refused.to_string().contains("Not authorized"), "{refused}");
        let passes = publish("t/quota").await.unwrap().await.unwrap_err();
        assert!(matches!(passes, PublishError::Rejected { .. }), "{passes}");
        publish("t/fine").await.unwrap().await.unwrap();
        connection.disconnect().await.unwrap();

        let connection = Connection::open(options).await.unwrap();
        let client = connection.client();
        (client
            .publish("t/fine", "x")
            .qos(AT_LEAST_ONCE)
            .enqueue()
            .await
            .unwrap())
        .await
        .unwrap();
        let stats = client.outbox_stats().unwrap();
        assert_eq!((stats.messages, stats.quarantined), (1, 1));
        assert_eq!(stats.counters.refused, 1);
        assert_eq!(
            broker.packets(PacketType::PubAck).len(),
            4,
            "{}",
            broker.chart()
        );
        connection.disconnect().await.unwrap();
    })
    .await;
}

/// Before 5.0 a server that cannot take a message closes the connection and says nothing.
#[tokio::test]
async fn a_message_that_a_server_closes_each_connection_for_is_kept_apart() {
    in_time(async {
        let broker = TestBroker::new();
        let folder = Folder::new("closes");
        (broker.receives(PacketType::Publish).topic("t/bad").always()).cut_before();
        let options = options(&broker, folder.outbox()).protocol(ProtocolVersion::V311);
        let connection = Connection::open(options).await.unwrap();
        let client = connection.client();
        let publish = |topic| client.publish(topic, "x").qos(AT_LEAST_ONCE).enqueue();
        let bad = publish("t/bad").await.unwrap();
        let behind = publish("t/behind").await.unwrap();
        let why = QuarantineReason::EndsConnections;
        assert_eq!(bad.await.unwrap_err(), PublishError::Quarantined { why });
        behind.await.unwrap();
        connection.disconnect().await.unwrap();
    })
    .await;
}

/// Also while the program that has accepted it still runs.
#[tokio::test]
async fn a_message_expires_while_nobody_has_the_outbox() {
    for limit in [1, 500] {
        in_time(async {
            let folder = Folder::new("expiry");
            let connection = offline(folder.outbox()).await;
            let client = connection.client();
            let brief = client.publish("t", "brief").qos(AT_LEAST_ONCE);
            let brief = brief
                .expires_in(Duration::from_millis(limit))
                .enqueue()
                .await
                .unwrap();
            brief.stored().await.unwrap();
            let lasting = client.publish("t", "lasting").qos(AT_LEAST_ONCE);
            let lasting = lasting
                .expires_in(Duration::from_millis(100_300))
                .enqueue()
                .await
                .unwrap();
            lasting.stored().await.unwrap();
            connection.disconnect().await.unwrap();
            drop((brief, lasting));
            sleep(Duration::from_millis(600)).await; // by the wall clock

            let broker = TestBroker::new();
            let (_listening, mut messages) = listen(&broker).await;
            let connection = Connection::open(options(&broker, folder.outbox()))
                .await
                .unwrap();
            let message = messages.next().await.unwrap();
            assert_eq!(message.text().unwrap(), "lasting");
            let left = message.properties.as_ref().unwrap().message_expiry_interval;
            assert!((90..=100).contains(&left.unwrap()), "{left:?}");
            let client = connection.client();
            while client.outbox_stats().unwrap().counters.expired < 1 {
                sleep(Duration::from_millis(1)).await;
            }
            connection.disconnect().await.unwrap();
        })
        .await;
    }
}

#[tokio::test]
async fn bounds_and_latest_values_hold_and_are_on_record() {
    in_time(async {
        let folder = Folder::new("bounds");
        let outbox = folder
            .outbox()
            .max_messages(2)
            .when_full(OutgoingPolicy::DropOldest);
        let connection = offline(outbox.clone()).await;
        let client = connection.client();
        let latest = |payload| {
            let publish = client.publish("t/level", payload).qos(AT_LEAST_ONCE);
            publish.keep_latest().try_enqueue().unwrap()
        };
        let (replaced, level) = (latest("1"), latest("2"));
        assert_eq!(replaced.await.unwrap_err(), PublishError::Replaced);
        let third = enqueue(&client, "3", AT_LEAST_ONCE).await;
        let fourth = enqueue(&client, "4", AT_LEAST_ONCE).await;
        assert_eq!(level.await.unwrap_err(), PublishError::Dropped);
        fourth.stored().await.unwrap();
        drop((third, fourth));
        connection.disconnect().await.unwrap();

        let broker = TestBroker::new();
        let (_listening, mut messages) = listen(&broker).await;
        let connection = Connection::open(options(&broker, outbox)).await.unwrap();
        assert_eq!(texts(&mut messages, 2).await, ["3", "4"]);
        let counters = connection.client().outbox_stats().unwrap().counters;
        assert_eq!(
            (counters.accepted, counters.dropped, counters.replaced),
            (4, 1, 1)
        );
        connection.disconnect().await.unwrap();
    })
    .await;
}

#[tokio::test]
async fn without_an_outbox_nothing_is_stored_and_that_is_said() {
    in_time(async {
        let broker = TestBroker::new();
        let connection = Connection::open(Options::test(&broker)).await.unwrap();
        let client = connection.client();
        let receipt = enqueue(&client, "x", AT_LEAST_ONCE).await;
        assert_eq!(receipt.stored().await.unwrap_err(), PublishError::NoOutbox);
        assert_eq!(client.outbox_stats(), None);
        receipt.await.unwrap();
        connection.disconnect().await.unwrap();
    })
    .await;
}

fn narrow(outbox: Outbox) -> Outbox {
    outbox.window(OutgoingLimits {
        messages: Some(4),
        bytes: None,
    })
}

#[tokio::test]
async fn messages_that_are_only_on_the_disk_are_sent_in_their_order_with_those_that_come_later() {
    in_time(async {
        let folder = Folder::new("window");
        let numbers: Vec<String> = (0..300).map(|number| number.to_string()).collect();
        let (before, later) = numbers.split_at(200);
        let connection = offline(narrow(folder.outbox())).await;
        let mut last = None;
        let client = connection.client();
        for number in before {
            let publish = client.publish("t", number.clone());
            last = Some(publish.qos(AT_LEAST_ONCE).enqueue().await.unwrap());
        }
        last.unwrap().stored().await.unwrap();
        connection.disconnect().await.unwrap();

        let broker = TestBroker::new();
        let (_listening, mut messages) = listen(&broker).await;
        let options = options(&broker, narrow(folder.outbox()));
        let connection = Connection::start(options).await.unwrap();
        let client = connection.client();
        let mut receipts = Vec::new();
        for number in later {
            let publish = client.publish("t", number.clone());
            receipts.push(publish.qos(AT_LEAST_ONCE).enqueue().await.unwrap());
        }
        assert_eq!(texts(&mut messages, numbers.len()).await, numbers);
        for receipt in receipts {
            receipt.await.unwrap();
        }
        connection.disconnect().await.unwrap();
    })
    .await;
}

#[tokio::test]
async fn a_message_that_is_damaged_on_the_disk_is_left_out_when_its_turn_comes() {
    in_time(async {
        let folder = Folder::new("damage");
        let connection = offline(folder.outbox()).await;
        let client = connection.client();
        for number in 0..20 {
            let payload = format!("message {number};");
            let publish = client.publish("t", payload);
            let receipt = publish.qos(AT_LEAST_ONCE).enqueue().await.unwrap();
            receipt.stored().await.unwrap(); // so it has a frame of its own
        }
        connection.disconnect().await.unwrap();
        let file = folder.0.join("00000001.log");
        let mut bytes = std::fs::read(&file).unwrap();
        let text = b"message 7;";
        let at = bytes.windows(text.len()).position(|it| it == text).unwrap();
        bytes[at] ^= 1;
        std::fs::write(&file, bytes).unwrap();

        let broker = TestBroker::new();
        let (_listening, mut messages) = listen(&broker).await;
        let options = options(&broker, narrow(folder.outbox()));
        let connection = Connection::open(options).await.unwrap();
        let expected = (0..20).filter(|number| *number != 7);
        let expected: Vec<_> = expected
            .map(|number| format!("message {number};"))
            .collect();
        assert_eq!(texts(&mut messages, 19).await, expected);
        let client = connection.client();
        while client.outbox_stats().unwrap().messages > 0 {
            sleep(Duration::from_millis(1)).await;
        }
        assert_eq!(client.outbox_stats().unwrap().counters.damaged, 1);
        connection.disconnect().await.unwrap();
    })
    .await;
}
