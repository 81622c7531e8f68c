//! Crashes at every moment: what was on the disk is found, and nothing that has ended comes back.

use crate::disk::Random;
use crate::world::{Syncs, World};

const ALL: [Syncs; 3] = [Syncs::Always, Syncs::Sometimes, Syncs::Never];

/// The seeds to play. `FERROMQTT_FIRST_SEED=1000 FERROMQTT_SEEDS=5000 cargo test --release -p ferromqtt-store --test store crashes`
/// looks further.
fn seeds(count: u64) -> std::ops::Range<u64> {
    let number = |name: &str| std::env::var(name).ok().and_then(|it| it.parse().ok());
    let first = number("FERROMQTT_FIRST_SEED").unwrap_or(0);
    first..first + number("FERROMQTT_SEEDS").unwrap_or(count)
}

fn play(seed: u64, syncs: Syncs, faults: bool, steps: u64) -> World {
    let mut world = World::new(seed, syncs, faults);
    for _ in 0..steps {
        let ended = world.step();
        if ended || world.random.one_in(25) {
            let power = !world.random.one_in(3);
            world.crash(power);
        }
    }
    world.crash(true);
    world
}

#[test]
fn every_crash_point_of_a_short_run_leaves_a_state_that_was() {
    let (mut points, mut seeds_played) = (0, 0);
    for seed in seeds(6) {
        seeds_played += 1;
        for syncs in ALL {
            let mut whole = World::new(seed, syncs, false);
            for _ in 0..30 {
                whole.step();
            }
            for operation in 1..=whole.disk.operations() {
                for power in [false, true] {
                    let mut world = World::new(seed, syncs, false);
                    world.disk.crash_at(operation);
                    for _ in 0..30 {
                        if world.step() {
                            break;
                        }
                    }
                    // What a power cut leaves is another draw at each point.
                    world.random = Random::new(seed ^ operation << 20);
                    world.crash(power);
                    // The log goes on, and another crash finds that.
                    for _ in 0..5 {
                        world.step();
                    }
                    world.crash(true);
                    points += 1;
                }
            }
        }
    }
    assert!(points > 150 * seeds_played, "{points}");
}

#[test]
fn random_runs_with_crashes_lose_nothing_that_was_synced() {
    let (mut crashes, mut seeds_played) = (0, 0);
    for seed in seeds(60) {
        seeds_played += 1;
        for syncs in ALL {
            crashes += play(seed, syncs, false, 150).crashes;
        }
    }
    assert!(crashes > 9 * seeds_played, "{crashes}");
}

#[test]
fn random_runs_on_a_failing_and_full_disk_lose_nothing_that_was_synced() {
    let (mut crashes, mut refused, mut seeds_played) = (0, 0, 0);
    for seed in seeds(60) {
        seeds_played += 1;
        for syncs in ALL {
            let world = play(seed, syncs, true, 150);
            crashes += world.crashes;
            refused += world.refused;
        }
    }
    assert!(crashes > 9 * seeds_played, "{crashes}");
    assert!(refused > seeds_played, "{refused}");
}
