//! The programs that die. Each begins when it reads a line, and says on stdout what has happened to it, a line with `!` each.

use std::fmt::Debug;
use std::io::{Write, stdin, stdout};
use std::time::Duration;

use ferromqtt::{
    Acknowledge, CleanStart, Connection, DeclaredSubscription, Options, Outbox, QoS, QueueOptions,
    Reconnect,
};
use tokio::time::sleep;
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Level, Metadata, Subscriber};

const HOUR: Duration = Duration::from_secs(3_600);

fn say(text: &str) {
    stdout().write_all(format!("!{text}\n").as_bytes()).unwrap();
    stdout().flush().unwrap();
}

/// Says that the log has told that a message may have come twice.
struct Reports;

impl Subscriber for Reports {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        *metadata.level() == Level::WARN
    }

    fn event(&self, event: &Event<'_>) {
        event.record(&mut Fields);
    }

    fn new_span(&self, _span: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }

    fn record(&self, _span: &Id, _values: &Record<'_>) {}
    fn record_follows_from(&self, _span: &Id, _follows: &Id) {}
    fn enter(&self, _span: &Id) {}
    fn exit(&self, _span: &Id) {}
}

struct Fields;

impl Visit for Fields {
    fn record_debug(&mut self, _field: &Field, value: &dyn Debug) {
        if format!("{value:?}").contains("may have come twice") {
            say("reported");
        }
    }
}

/// Plays what the environment says: `listen PORT FOLDER ACK STORE` or `publish PORT FOLDER QOS LIFE`.
pub(crate) async fn play(orders: &str) {
    let mut line = String::new();
    stdin().read_line(&mut line).unwrap();
    let orders: Vec<_> = orders.split(' ').collect();
    match orders[..] {
        ["listen", port, folder, ack, store] => {
            tracing::subscriber::set_global_default(Reports).unwrap();
            let outbox = (store == "outbox").then(|| Outbox::new(folder));
            listen(port.parse().unwrap(), outbox, ack == "manual").await;
        }
        ["publish", port, folder, qos, life] => {
            let qos = match qos {
                "1" => QoS::AtLeastOnce,
                _ => QoS::ExactlyOnce,
            };
            publish(port.parse().unwrap(), Outbox::new(folder), qos, life).await;
        }
        _ => panic!("{orders:?}"),
    }
}

async fn listen(port: u16, outbox: Option<Outbox>, by_hand: bool) {
    let queue = QueueOptions {
        acknowledge: match by_hand {
            true => Acknowledge::ByApplication,
            false => Acknowledge::OnReceipt,
        },
        ..QueueOptions::UNBOUNDED
    };
    let numbers = DeclaredSubscription::new("numbers/#").qos(QoS::ExactlyOnce);
    let mut options = Options::new("127.0.0.1", port)
        .client_identifier("listener")
        .clean_start(CleanStart::Never)
        .session_expiry_interval(HOUR)
        .subscription(numbers.queue(queue));
    if let Some(outbox) = outbox {
        options = options.outbox(outbox);
    }
    let connection = Connection::open(options).await.unwrap();
    let client = connection.client();
    let mut messages = client.declared("numbers/#").await.unwrap();
    say("subscribed");
    while let Some(message) = messages.next().await {
        say(&format!(
            "{} {}",
            message.text().unwrap(),
            u8::from(message.dup)
        ));
        if let Some(delivery) = message.delivery {
            client.acknowledge(delivery);
        }
    }
}

/// Enqueues numbers, and says which of them are stored. In life 0 it sends what is left, and ends.
async fn publish(port: u16, outbox: Outbox, qos: QoS, life: &str) {
    let at_once = Reconnect {
        initial: true,
        initial_delay: Duration::from_millis(50),
        max_delay: Duration::from_millis(200),
        ..Reconnect::default()
    };
    let options = Options::new("127.0.0.1", port)
        .client_identifier("publisher")
        .reconnect(at_once)
        .outbox(outbox);
    let connection = Connection::start(options).await.unwrap();
    let client = connection.client();
    if life == "0" {
        loop {
            let stats = client.outbox_stats().unwrap();
            if stats.messages == stats.quarantined {
                return connection.disconnect().await.unwrap();
            }
            sleep(Duration::from_millis(10)).await;
        }
    }
    for number in 0.. {
        let text = format!("{life}:{number}");
        let publish = client.publish("numbers", text.clone()).qos(qos);
        let receipt = publish.enqueue().await.unwrap();
        receipt.stored().await.unwrap();
        say(&text);
    }
}
