//! The promises of MQTT hold for the tokio client, whatever befalls its connections.

use std::cell::RefCell;

use ferromqtt::testing::{Faults, ScriptEntry, TestBroker, seeds};
use ferromqtt::{Error, Options, QoS};
use ferromqtt_test_seeds::{faults, play};

#[test]
fn every_seed_keeps_the_promises() {
    let open = open_descriptors();
    seeds(0..1_000).run(play);
    assert_eq!(open_descriptors(), open);
}

/// 0 where the system does not say.
fn open_descriptors() -> usize {
    std::fs::read_dir("/proc/self/fd").map_or(0, Iterator::count)
}

/// As docs/seeds.md shows it.
#[test]
fn every_seed_keeps_the_promise() {
    seeds(0..100).run(|chaos| async move {
        let broker =
            TestBroker::with_faults(chaos.draw(Faults::cuts(0.02).lost_acks(0.02).restarts(1)));
        let options = Options::test(&broker).seed(chaos.seed());
        ferromqtt::scope(options, async |client| {
            for n in 0..20 {
                client
                    .publish("n", n.to_string())
                    .qos(QoS::AtLeastOnce)
                    .await?;
            }
            Ok::<_, Error>(())
        })
        .await?;
        chaos.check(broker.published("n").len() >= 20)
    });
}

/// The seed of the client, the script of the broker and the clock leave nothing to chance.
#[test]
fn the_same_seed_takes_the_same_course() {
    let charts = RefCell::new(Vec::new());
    for _ in 0..2 {
        seeds([5, 6, 7, 8]).run(|chaos| {
            let charts = &charts;
            async move {
                let broker = TestBroker::with_faults(chaos.draw(faults()));
                let options = Options::test(&broker).seed(chaos.seed());
                let played = ferromqtt::scope(options, async |client| {
                    for n in 0..20 {
                        client
                            .publish("n", n.to_string())
                            .qos(QoS::AtLeastOnce)
                            .await?;
                    }
                    Ok(())
                });
                played.await?;
                charts.borrow_mut().push(broker.chart());
                chaos.check(true)
            }
        });
    }
    let charts = charts.into_inner();
    assert_eq!(charts[..4], charts[4..]);
    assert_ne!(charts[0], charts[2]);
}

/// Else the seeds would prove little.
#[test]
fn the_scripts_of_the_seeds_know_every_fault() {
    let mut missing = vec![
        "cut",
        "lose, cut",
        "duplicate",
        "delay",
        "restart",
        "keeps sessions",
    ];
    for seed in 0..1_000 {
        for entry in faults().draw(seed).entries {
            let text = entry.to_string();
            assert!(matches!(entry, ScriptEntry::Event(_)) || text.contains("optional"));
            missing.retain(|word| !text.contains(word));
        }
    }
    assert!(missing.is_empty(), "{missing:?}");
}
