//! Streams of the tokio client that come and go, with the test broker on a loopback socket, on one thread.

use ferromqtt::{Connection, Messages, Options};
use ferromqtt_testing::TestBroker;
use tokio::runtime::Builder;

use crate::measure::{cpu_seconds, growth};
use crate::report::Report;

const SMALL: usize = 8_000;
const LARGE: usize = 64_000;

pub(crate) fn measure(report: &mut Report) {
    let mut row = |what: &str, cost: fn(Costs) -> f64| {
        let ratio = growth(SMALL, LARGE, |streams| cost(come_and_go(streams)));
        report.at_most(&format!("{what}: 64,000 against 8,000"), ratio, 10.0);
    };
    row("tokio client, subscribe", |costs| costs.subscribe);
    row("tokio client, drop", |costs| costs.drop);
}

struct Costs {
    subscribe: f64,
    drop: f64,
}

/// So many streams, one after another, that are all dropped at once.
fn come_and_go(streams: usize) -> Costs {
    let runtime = (Builder::new_current_thread().enable_all().build()).expect("a runtime");
    let (broker, connection) = runtime.block_on(async {
        let broker = TestBroker::start().await.expect("a port");
        let options = Options::new(broker.host(), broker.port());
        let connection = Connection::open(options).await.expect("a connection");
        (broker, connection)
    });
    let client = connection.client();
    let (subscribe, held) = cpu_seconds(|| {
        runtime.block_on(async {
            let mut held: Vec<Messages> = Vec::new();
            for number in 0..streams {
                let filter = format!("site/{}/device/{number}/state", number % 100);
                held.push(client.subscribe(filter).await.expect("it is granted"));
            }
            held
        })
    });
    let (drop, ()) = cpu_seconds(|| {
        runtime.block_on(async {
            drop(held);
            // Its answer comes behind those of all others.
            client.unsubscribe("other").await.expect("it is answered");
        });
    });
    runtime.block_on(async {
        connection.disconnect().await.expect("it ends");
        broker.stop().await;
    });
    Costs { subscribe, drop }
}
