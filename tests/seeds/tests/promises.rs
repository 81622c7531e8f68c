//! The promises of MQTT hold for the tokio client, whatever befalls its connections.

use ferromqtt::testing::{ScriptEntry, seeds};
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
