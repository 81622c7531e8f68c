//! What is told to `tracing`. A program of its own: `tracing` remembers for all threads who listened first.
#![cfg(all(feature = "tls", feature = "tracing"))]

#[path = "scenarios/certificates.rs"]
#[allow(dead_code, reason = "of the other test program")]
mod certificates;
#[path = "scenarios/tls_front.rs"]
#[allow(dead_code, reason = "of the other test program")]
mod tls_front;

use std::fmt::Debug;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use ferromqtt::{Connection, Options, Overflow, QueueOptions, TlsOptions};
use ferromqtt_testing::TestBroker;
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Level, Metadata, Subscriber};

use certificates::Authority;
use tls_front::TlsFront;

/// Notes the warnings that are told to `tracing`.
#[derive(Clone, Default)]
struct Warnings(Arc<Mutex<Vec<String>>>);

impl Subscriber for Warnings {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        *metadata.level() == Level::WARN
    }

    fn event(&self, event: &Event<'_>) {
        let mut text = Text::default();
        event.record(&mut text);
        self.0.lock().unwrap().push(text.0);
    }

    fn new_span(&self, _span: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }

    fn record(&self, _span: &Id, _values: &Record<'_>) {}
    fn record_follows_from(&self, _span: &Id, _follows: &Id) {}
    fn enter(&self, _span: &Id) {}
    fn exit(&self, _span: &Id) {}
}

#[derive(Default)]
struct Text(String);

impl Visit for Text {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        self.0 += &format!("{field}={value:?} ");
    }
}

async fn open_and_close(options: Options) {
    let connection = Connection::open(options).await.unwrap();
    connection.disconnect().await.unwrap();
}

async fn danger_is_told() {
    let broker = TestBroker::start().await.unwrap();
    let authority = Authority::new("ours");
    let address = (broker.host(), broker.port()).into();
    let front = TlsFront::to(address, &authority.issue("127.0.0.1")).await;
    let noted = Warnings::default();
    let _noting = tracing::subscriber::set_default(noted.clone());
    let options = Options::new("127.0.0.1", front.port());
    let secure = TlsOptions::new().ca_pem(authority.pem());
    open_and_close(options.clone().tls(secure)).await;
    assert!(noted.0.lock().unwrap().is_empty());
    let anyone = TlsOptions::new().danger_accept_any_certificate_from_anyone();
    for count in 1..=2 {
        open_and_close(options.clone().tls(anyone.clone())).await;
        let told = noted.0.lock().unwrap().clone();
        assert_eq!(told.len(), count, "{told:?}");
        for part in ["DANGER", "certificate is not verified", "127.0.0.1"] {
            assert!(told[count - 1].contains(part), "{told:?}");
        }
    }
    broker.stop().await;
}

#[tokio::test]
async fn danger_is_told_at_each_connection() {
    let limit = Duration::from_secs(60);
    let told = tokio::time::timeout(limit, danger_is_told()).await;
    told.expect("the test ends in time");
}

/// What a stream loses is told once, with its filter, however much it is.
async fn losses_are_told(overflow: Overflow) -> Vec<String> {
    let broker = TestBroker::start().await.unwrap();
    let noted = Warnings::default();
    let _noting = tracing::subscriber::set_default(noted.clone());
    let options = Options::new(broker.host(), broker.port());
    let connection = Connection::open(options).await.unwrap();
    let client = connection.client();
    let bounds = QueueOptions {
        limit: Some(2),
        overflow,
        ..QueueOptions::default()
    };
    let mut messages = client.subscribe("readings").queue(bounds).await.unwrap();
    for _ in 0..10 {
        client.publish("readings", "x").await.unwrap();
    }
    // Its answer comes behind them, and nothing is held back before an answer.
    let _other = client.subscribe("other").await.unwrap();
    assert!(messages.take_lost() >= 6);
    connection.disconnect().await.unwrap();
    broker.stop().await;
    noted.0.lock().unwrap().clone()
}

#[tokio::test]
async fn the_first_loss_of_a_stream_is_told() {
    let limit = Duration::from_secs(60);
    for overflow in [Overflow::DropOldest, Overflow::Wait] {
        let told = tokio::time::timeout(limit, losses_are_told(overflow)).await;
        let told = told.expect("the test ends in time");
        assert_eq!(told.len(), 1, "{told:?}");
        for part in ["readings", "lost"] {
            assert!(told[0].contains(part), "{told:?}");
        }
    }
}
