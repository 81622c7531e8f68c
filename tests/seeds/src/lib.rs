//! A program with the tokio client, played under the faults of a seed, and what must hold whatever those are.
//!
//! One client publishes with every QoS, another one subscribes with a session that lasts. The seed draws the script of faults,
//! the version of MQTT, how many messages may be in flight, and whether the publisher waits for each message.

use std::collections::BTreeMap;
use std::num::NonZeroU16;
use std::time::Duration;

use ferromqtt::testing::{
    BrokerOptions, BrokerSide, BrokerVerb, Chaos, ChaosError, Faults, JournalPacket, PacketFilter,
    ScriptEntry, TestBroker,
};
use ferromqtt::{
    CleanStart, Client, Connection, Delivery, Messages, Options, ProtocolVersion, PublishError,
    QoS, Reconnect,
};
use ferromqtt_proto::packet::PacketType;
use tokio::runtime::Handle;
use tokio::task::yield_now;
use tokio::time::timeout;

/// So many messages are published.
const MESSAGES: usize = 15;

/// A subscriber to whom nothing comes for so long in virtual time has got what it gets.
const SILENCE: Duration = Duration::from_secs(120);

/// What became of each message, by its number.
type Outcomes = BTreeMap<usize, Result<(), PublishError>>;

/// What varies from seed to seed beside the faults.
struct Variant {
    version: ProtocolVersion,
    receive_maximum: NonZeroU16,
    one_by_one: bool,
}

impl Variant {
    fn of(seed: u64) -> Self {
        let few = NonZeroU16::MIN.saturating_add(1);
        Self {
            version: match seed % 2 {
                0 => ProtocolVersion::V5,
                _ => ProtocolVersion::V311,
            },
            receive_maximum: match seed / 2 % 2 {
                0 => few,
                _ => NonZeroU16::MAX,
            },
            one_by_one: (seed / 4).is_multiple_of(2),
        }
    }
}

/// The faults that seeds draw.
pub fn faults() -> Faults {
    Faults::cuts(0.02)
        .lost_acks(0.02)
        .duplicates(0.02)
        .delays(0.01)
        .restarts(1)
}

/// Plays the program under the faults of a seed, and checks what must hold.
///
/// # Errors
/// When a client could not connect. What does not hold panics with its text.
pub async fn play(chaos: Chaos) -> Result<(), ChaosError> {
    let variant = Variant::of(chaos.seed());
    let mut of_broker = BrokerOptions::default();
    of_broker.receive_maximum = variant.receive_maximum;
    of_broker.inflight_window = variant.receive_maximum;
    let broker = TestBroker::with_options(of_broker);
    let script = chaos.draw(faults());
    let forgets = (script.script().entries.iter()).any(loses_sessions);
    broker.play_faults(script);

    let options = |name: &str| {
        let reconnect = Reconnect {
            initial: true,
            ..Reconnect::default()
        };
        Options::test(&broker)
            .client_identifier(name)
            .clean_start(CleanStart::Never)
            .protocol(variant.version)
            .seed(chaos.seed())
            .reconnect(reconnect)
    };
    let reader = Connection::open(options("reader")).await?;
    let messages = reader.client().subscribe("n").qos(QoS::ExactlyOnce).await?;
    let writer = Connection::open(options("writer")).await?;
    let outcomes = publish_all(&writer.client(), variant.one_by_one).await;
    nothing_is_in_flight(&writer.client());
    let _ = writer.disconnect().await; // an error when it is cut off at that moment
    let received = receive_all(messages).await;
    nothing_is_in_flight(&reader.client());
    let _ = reader.disconnect().await;

    let unaware = forgets && missed_a_new_session(&broker);
    check_published(&broker, &outcomes, unaware);
    check_received(&received, &outcomes, forgets, unaware);
    broker.stop().await;
    no_task_is_left().await;
    Ok(())
}

const fn loses_sessions(entry: &ScriptEntry) -> bool {
    matches!(entry, ScriptEntry::Event(event)
        if matches!(event.verb, BrokerVerb::Restart { keeps, .. } if !keeps.sessions))
}

/// Whether the publisher may not know of a session that the server made for it: nothing came from it behind a CONNECT.
///
/// Then MQTT itself has a hole. The CONNACK without Session Present was lost, or never sent; the next one says Session Present, the
/// publisher takes that for the session that the server has lost, and sends a QoS 2 message again that the server had got in
/// that one.
fn missed_a_new_session(broker: &TestBroker) -> bool {
    let packets = broker.packets(
        PacketFilter::new()
            .client("writer")
            .side(BrokerSide::Receives),
    );
    let is_connect = |packet: &&JournalPacket| packet.kind == Some(PacketType::Connect);
    let came_on = |link| packets.iter().filter(|it| it.link == link).count();
    packets
        .iter()
        .filter(is_connect)
        .any(|connect| came_on(connect.link) == 1)
}

const fn qos_of(number: usize) -> QoS {
    match number % 3 {
        0 => QoS::AtMostOnce,
        1 => QoS::AtLeastOnce,
        _ => QoS::ExactlyOnce,
    }
}

async fn publish_all(client: &Client, one_by_one: bool) -> Outcomes {
    let mut outcomes = Outcomes::new();
    let mut receipts = Vec::new();
    for number in 0..MESSAGES {
        let publish = client.publish("n", number.to_string()).qos(qos_of(number));
        match one_by_one {
            true => {
                outcomes.insert(number, publish.await.map(drop));
            }
            false => match publish.enqueue().await {
                Ok(receipt) => receipts.push((number, receipt)),
                Err(error) => {
                    outcomes.insert(number, Err(error));
                }
            },
        }
    }
    for (number, receipt) in receipts {
        let earlier = outcomes.insert(number, receipt.await.map(drop));
        assert!(earlier.is_none(), "message {number} has two outcomes");
    }
    outcomes
}

/// The numbers of the messages that came, each with how often.
async fn receive_all(mut messages: Messages) -> BTreeMap<usize, usize> {
    let mut received = BTreeMap::new();
    while let Ok(Some(message)) = timeout(SILENCE, messages.next()).await {
        *received.entry(number_of(&message.payload)).or_default() += 1;
    }
    received
}

fn number_of(payload: &[u8]) -> usize {
    let text = std::str::from_utf8(payload).ok();
    let number = text.and_then(|text| text.parse().ok());
    number.unwrap_or_else(|| panic!("a payload that nobody sent: {payload:?}"))
}

fn nothing_is_in_flight(client: &Client) {
    let stats = client.stats();
    assert_eq!(
        (stats.outgoing, stats.in_flight, stats.unacknowledged),
        (0, 0, 0),
        "messages in the outgoing queue, in flight, or received and not acknowledged"
    );
}

/// What the server must have, and what it must not have.
fn check_published(broker: &TestBroker, outcomes: &Outcomes, unaware: bool) {
    let mut published = BTreeMap::<usize, usize>::new();
    for message in broker.published("n") {
        *published.entry(number_of(&message.payload)).or_default() += 1;
    }
    for (&number, outcome) in outcomes {
        let times = published.get(&number).copied().unwrap_or(0);
        let qos = qos_of(number);
        match outcome {
            Ok(()) if qos != QoS::AtMostOnce => {
                assert!(times > 0, "message {number} was acknowledged, and is lost");
            }
            Err(error) if error.delivery() == Delivery::NotSent => {
                assert_eq!(
                    times, 0,
                    "message {number} was not sent ({error}), and came"
                );
            }
            _ => {}
        }
        if qos != QoS::AtLeastOnce && !unaware {
            assert!(
                times <= 1,
                "message {number} came {times} times to the server"
            );
        }
    }
    assert!(published.keys().all(|number| outcomes.contains_key(number)));
}

/// What the subscriber must have got. A server that lost its sessions may lose what it had for it.
fn check_received(
    received: &BTreeMap<usize, usize>,
    outcomes: &Outcomes,
    forgets: bool,
    unaware: bool,
) {
    for (&number, outcome) in outcomes {
        let times = received.get(&number).copied().unwrap_or(0);
        let qos = qos_of(number);
        if outcome.is_ok() && qos != QoS::AtMostOnce && !forgets {
            assert!(times > 0, "message {number} did not come to the subscriber");
        }
        if qos != QoS::AtLeastOnce && !unaware {
            assert!(
                times <= 1,
                "message {number} came {times} times to the subscriber"
            );
        }
    }
}

/// Tasks end when they are next polled, and then those that they waited for.
async fn no_task_is_left() {
    let alive = || Handle::current().metrics().num_alive_tasks();
    for _ in 0..100 {
        if alive() == 0 {
            return;
        }
        yield_now().await;
    }
    panic!("{} tasks are left", alive());
}
