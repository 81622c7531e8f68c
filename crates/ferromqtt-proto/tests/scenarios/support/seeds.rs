//! Random tests that always run the same way, and one seed of which can be run again.

use std::fmt::Debug;
use std::ops::RangeInclusive;

use proptest::strategy::Strategy;
use proptest::test_runner::{Config, RngAlgorithm, TestError, TestRng, TestRunner};

/// Plays `test` with what `strategy` makes from one seed after the other, until it has reported `at_least` steps in all.
/// A failing case is made as small as possible, and told with its seed.
///
/// `FERROMQTT_SEED=7` plays that seed alone; `FERROMQTT_STEPS=10000000` goes on for longer; seeds begin at
/// `FERROMQTT_FIRST_SEED`, or at 0.
pub(crate) fn play_seeds<S: Strategy>(
    name: &str,
    at_least: u64,
    strategy: &S,
    test: impl Fn(S::Value) -> u64,
) where
    S::Value: Debug,
{
    let steps = setting("FERROMQTT_STEPS").unwrap_or(at_least);
    let mut played = 0;
    for seed in seeds() {
        played += play(name, seed, strategy, &test);
        if played >= steps {
            return;
        }
    }
}

fn seeds() -> RangeInclusive<u64> {
    if let Some(seed) = setting("FERROMQTT_SEED") {
        return seed..=seed;
    }
    setting("FERROMQTT_FIRST_SEED").unwrap_or(0)..=u64::MAX
}

fn setting(name: &str) -> Option<u64> {
    let text = std::env::var(name).ok()?;
    Some(
        text.parse()
            .unwrap_or_else(|_| panic!("{name} is not a number: {text:?}")),
    )
}

fn play<S: Strategy>(name: &str, seed: u64, strategy: &S, test: &impl Fn(S::Value) -> u64) -> u64
where
    S::Value: Debug,
{
    let config = Config {
        cases: 1,
        max_shrink_iters: 5_000,
        failure_persistence: None, // the seed tells it all
        ..Config::default()
    };
    let mut bytes = [0; 32];
    bytes[..8].copy_from_slice(&seed.to_le_bytes());
    let random = TestRng::from_seed(RngAlgorithm::ChaCha, &bytes);
    let played = std::cell::Cell::new(0);
    let result = TestRunner::new_with_rng(config, random).run(strategy, |case| {
        played.set(test(case));
        Ok(())
    });
    match result {
        Ok(()) => played.get(),
        Err(TestError::Fail(reason, smallest)) => panic!(
            "seed {seed}: {reason}\nsmallest case: {smallest:?}\nplay it again:\n  \
             FERROMQTT_SEED={seed} cargo test -p ferromqtt-proto --test scenarios {name}"
        ),
        Err(error) => panic!("seed {seed}: {error}"),
    }
}
