//! Runs a test under the scripts of many seeds.

use std::fmt;
use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Duration;

use tokio::runtime::{Builder, Handle};
use tokio::time::timeout;

use super::panics::PanicCapture;
use super::report::{SeedReport, ShrunkRun};
use super::script::FaultScript;
use super::script_shrinker::ScriptShrinker;
use super::seed_run::{Chaos, SeedRun};

/// The seed to play, in place of all.
const ONE_SEED: &str = "FERROMQTT_SEED";

/// How many runs shrinking takes at most.
const MOST_TRIES: u32 = 200;

/// How far the clock of a run goes.
const END: Duration = Duration::from_secs(24 * 3600);

/// How many lines of a chart a report shows.
const CHART_LINES: usize = 60;

/// Begins with the seeds to play: `seeds(0..1_000).run(...)`. See [`Seeds::run`].
pub fn seeds<I>(seeds: I) -> Seeds<I::IntoIter>
where
    I: IntoIterator<Item = u64>,
{
    Seeds {
        seeds: seeds.into_iter(),
        most_tries: MOST_TRIES,
        end: END,
    }
}

/// Seeds to play: see [`seeds`].
#[derive(Clone, Debug)]
#[must_use = "seeds play nothing before `run`"]
pub struct Seeds<I> {
    seeds: I,
    most_tries: u32,
    end: Duration,
}

/// What the test of a seed may return: nothing, or a `Result` whose error fails the seed.
pub trait SeedOutcome {
    /// The text of the failure, if it is one.
    fn into_failure(self) -> Option<String>;
}

impl SeedOutcome for () {
    fn into_failure(self) -> Option<String> {
        None
    }
}

impl<T, E: fmt::Debug> SeedOutcome for Result<T, E> {
    fn into_failure(self) -> Option<String> {
        self.err().map(|error| format!("{error:?}"))
    }
}

impl<I: Iterator<Item = u64>> Seeds<I> {
    /// Lets shrinking take so many runs at most. Default: 200.
    pub const fn most_tries(mut self, tries: u32) -> Self {
        self.most_tries = tries;
        self
    }

    /// Lets a run take so much virtual time; then it fails. Default: a day, which a program that waits forever reaches soon.
    pub const fn end_at(mut self, time: Duration) -> Self {
        self.end = time;
        self
    }

    /// Plays the test once for each seed, on a runtime of its own in this thread, whose clock is paused: waiting takes no time.
    /// Nothing of the test needs to be `Send`.
    ///
    /// A seed fails when the test returns an error, when it or one of its tasks panics, or when it does not end. Then the
    /// script that it has drawn is shrunk: the test is played again with fewer and simpler faults, as long as it fails. The
    /// panic of this function says the seed, the shortest script as text and as code, and what went by under it.
    ///
    /// The same seed takes the same course if everything in the test comes from the seed and the runtime: give clients the seed
    /// (`Options::seed` of the crate `ferromqtt`), write `biased` in `tokio::select!`, start no threads. There are no sockets.
    ///
    /// With FERROMQTT_SEED in the environment, that seed alone is played.
    ///
    /// ```
    /// use ferromqtt_testing::{Faults, TestBroker, seeds};
    /// use tokio::io::AsyncReadExt;
    ///
    /// seeds(0..20).run(|chaos| async move {
    ///     let broker = TestBroker::with_faults(chaos.draw(Faults::cuts(0.1)));
    ///     let mut stream = broker.connect()?; // a client of the crate `ferromqtt`: `Options::test(&broker)`
    ///     let read = stream.read(&mut [0]).await?;
    ///     chaos.check(read == 0) // the broker waits for CONNECT, and gives up
    /// });
    /// ```
    ///
    /// # Panics
    /// When a seed fails; when there is none; when this is called in a runtime, as `#[tokio::test]` has one; when FERROMQTT_SEED is no number.
    #[track_caller]
    pub fn run<F, P>(mut self, test: F)
    where
        F: Fn(Chaos) -> P,
        P: Future,
        P::Output: SeedOutcome,
    {
        assert!(
            Handle::try_current().is_err(),
            "seeds have runtimes of their own: call them in a #[test] function, not in one of #[tokio::test]"
        );
        let play = |seed, instead| play(&test, self.end, seed, instead);
        let mut played = 0_u64;
        let mut failing = |seed| {
            played += 1;
            fail(seed, self.most_tries, play)
        };
        let failed = match one_seed() {
            Some(seed) => failing(seed),
            None => self.seeds.find_map(failing),
        };
        assert!(
            played > 0,
            "there was no seed to play, and the test proves nothing: give some, such as seeds(0..500)"
        );
        if let Some(report) = failed {
            panic!("{report}");
        }
    }
}

#[track_caller]
fn one_seed() -> Option<u64> {
    let text = std::env::var(ONE_SEED).ok()?;
    let Ok(seed) = text.trim().parse() else {
        panic!("{ONE_SEED} must be a number, not {text:?}");
    };
    Some(seed)
}

/// Plays a seed. When it fails, returns how, and with how little.
fn fail(
    seed: u64,
    most_tries: u32,
    play: impl Fn(u64, Option<Vec<FaultScript>>) -> Played,
) -> Option<SeedReport> {
    let first = play(seed, None);
    let failure = first.failure?;
    let scripts = first.run.drawn();
    let entries = scripts.iter().map(|script| script.entries.len()).sum();
    let again = play(seed, Some(scripts.clone()));
    let shrunk = match again.failure {
        None => ShrunkRun::PassedAgain,
        Some(same) => {
            let mut shrinker = ScriptShrinker::new(scripts, most_tries);
            let (mut failure, mut run) = (same, again.run);
            while let Some(candidate) = shrinker.candidate() {
                let played = play(seed, Some(candidate));
                shrinker.report(played.failure.is_some());
                if let Some(text) = played.failure {
                    (failure, run) = (text, played.run);
                }
            }
            ShrunkRun::Shortest {
                scripts: shrinker.shortest(),
                tries: shrinker.tries(),
                failure,
                charts: run.charts(CHART_LINES),
            }
        }
    };
    Some(SeedReport {
        seed,
        failure,
        entries,
        shrunk,
    })
}

/// A run that has ended.
struct Played {
    run: Arc<SeedRun>,
    failure: Option<String>,
}

fn play<F, P>(test: &F, end: Duration, seed: u64, instead: Option<Vec<FaultScript>>) -> Played
where
    F: Fn(Chaos) -> P,
    P: Future,
    P::Output: SeedOutcome,
{
    let run = SeedRun::new(seed, instead);
    let panics = PanicCapture::begin();
    let ended = catch_unwind(AssertUnwindSafe(|| {
        // Without `enable_io`: what a socket does depends on the system, and so a seed could not be played again.
        let runtime = Builder::new_current_thread()
            .enable_time()
            .start_paused(true)
            .build();
        let runtime =
            runtime.expect("a runtime without sockets and threads needs nothing of the system");
        runtime.block_on(async { timeout(end, test(run.chaos())).await })
    }));
    let panics = panics.take();
    let failure = match ended {
        Ok(Ok(outcome)) => outcome.into_failure(),
        Ok(Err(_)) => Some(format!(
            "the test has not ended after {} s of virtual time (Seeds::end_at): something waits for what never comes",
            end.as_secs()
        )),
        Err(_) => None, // among the panics
    };
    let texts: Vec<_> = panics.into_iter().map(explained).chain(failure).collect();
    let failure = (!texts.is_empty()).then(|| texts.join("\n"));
    Played { run, failure }
}

/// A panic, with what to do about it where that is known.
fn explained(panic: String) -> String {
    match panic.contains("IO is disabled") {
        true => format!(
            "seeds play without sockets, since what those do depends on the system: connect in memory, by Options::test(&broker) or \
             broker.transport() ({panic})"
        ),
        false => panic,
    }
}
