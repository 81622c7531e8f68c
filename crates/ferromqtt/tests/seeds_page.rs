//! The Rust of docs/seeds.md, as the page has it; python/tests/test_docs_testing.py compares the two.
#![cfg(feature = "testing")]

use ferromqtt::testing::{Faults, TestBroker, seeds};
use ferromqtt::{Error, Options, QoS};

#[test]
fn every_seed_keeps_the_promise() {
    seeds(0..200).run(|chaos| async move {
        let faults = Faults::cuts(0.02).lost_acks(0.02).restarts(1);
        let broker = TestBroker::with_faults(chaos.draw(faults));
        let options = Options::test(&broker).seed(chaos.seed());
        ferromqtt::scope(options, async |client| {
            for n in 0..20 {
                let publish = client.publish("n", n.to_string());
                publish.qos(QoS::AtLeastOnce).await?;
            }
            Ok::<_, Error>(())
        })
        .await?;
        chaos.check(broker.published("n").len() >= 20)
    });
}
