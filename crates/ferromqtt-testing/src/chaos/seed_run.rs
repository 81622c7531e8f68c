//! What one run of a test knows of its seed.

use std::error::Error;
use std::fmt;
use std::panic::Location;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::draw::Faults;
use super::script::FaultScript;
use crate::host::{SharedHost, TestBroker};

/// The seed of a run, for the test that [`Seeds::run`](crate::Seeds::run) plays.
#[derive(Clone, Debug)]
pub struct Chaos {
    run: Arc<SeedRun>,
}

/// The script of a run, for [`TestBroker::with_faults`]: drawn by [`Chaos::draw`], or made of a [`FaultScript`].
#[derive(Clone, Debug)]
pub struct DrawnFaults {
    script: FaultScript,
    run: Option<Arc<SeedRun>>,
}

/// Why a run fails: any error, or [`Chaos::check`].
///
/// As a program's error type it takes every other one with `?`. It is no [`Error`] itself, which lets it do that.
pub struct ChaosError(String);

/// What a run has drawn, and what it is to draw.
#[derive(Debug)]
pub(super) struct SeedRun {
    seed: u64,
    /// Drawn in place of what the seed says.
    instead: Option<Vec<FaultScript>>,
    state: Mutex<SeedRunState>,
}

#[derive(Debug, Default)]
struct SeedRunState {
    drawn: Vec<FaultScript>,
    hosts: Vec<Arc<SharedHost>>,
}

impl SeedRun {
    pub(super) fn new(seed: u64, instead: Option<Vec<FaultScript>>) -> Arc<Self> {
        Arc::new(Self {
            seed,
            instead,
            state: Mutex::default(),
        })
    }

    pub(super) fn chaos(self: &Arc<Self>) -> Chaos {
        let run = Arc::clone(self);
        Chaos { run }
    }

    /// The scripts that it has drawn, in order.
    pub(super) fn drawn(&self) -> Vec<FaultScript> {
        self.lock().drawn.clone()
    }

    /// What went by at each of its brokers.
    pub(super) fn charts(&self, most: usize) -> Vec<String> {
        let hosts = self.lock().hosts.clone();
        let chart = |host: &Arc<SharedHost>| Some(host.lock().broker.journal()?.chart(most));
        hosts.iter().filter_map(chart).collect()
    }

    fn lock(&self) -> MutexGuard<'_, SeedRunState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Chaos {
    /// The seed: for whatever the test draws itself, and for `Options::seed` of the crate `ferromqtt`.
    pub fn seed(&self) -> u64 {
        self.run.seed
    }

    /// Draws a script of faults for a broker. A test with several brokers draws one for each.
    ///
    /// While a failure is shrunk, this returns what is left of the script in question.
    pub fn draw(&self, faults: Faults) -> DrawnFaults {
        let mut state = self.run.lock();
        let index = state.drawn.len();
        let script = match &self.run.instead {
            Some(scripts) => scripts.get(index).cloned().unwrap_or_default(),
            None => faults.draw(self.run.seed.wrapping_add((index as u64) << 32)),
        };
        state.drawn.push(script.clone());
        drop(state);
        DrawnFaults {
            script,
            run: Some(Arc::clone(&self.run)),
        }
    }

    /// `Ok` when `holds` is true. The error names the place of the call.
    ///
    /// # Errors
    /// When `holds` is false.
    #[track_caller]
    pub fn check(&self, holds: bool) -> Result<(), ChaosError> {
        match holds {
            true => Ok(()),
            false => Err(ChaosError(format!(
                "the check at {} failed",
                Location::caller()
            ))),
        }
    }
}

impl DrawnFaults {
    /// The script.
    pub const fn script(&self) -> &FaultScript {
        &self.script
    }
}

impl From<FaultScript> for DrawnFaults {
    fn from(script: FaultScript) -> Self {
        Self { script, run: None }
    }
}

impl<E: Error> From<E> for ChaosError {
    fn from(error: E) -> Self {
        let mut text = error.to_string();
        let mut source = error.source();
        while let Some(cause) = source {
            let cause_text = cause.to_string();
            if !text.contains(&cause_text) {
                text = format!("{text}: {cause_text}");
            }
            source = cause.source();
        }
        Self(text)
    }
}

impl fmt::Display for ChaosError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The same text as `Display`.
impl fmt::Debug for ChaosError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl TestBroker {
    /// A broker for connections in memory, as [`new`](Self::new), with the faults of a script: one that a seed has drawn, or a
    /// [`FaultScript`].
    ///
    /// ```
    /// use ferromqtt_testing::{FaultScript, TestBroker};
    ///
    /// let script: FaultScript = "sends PUBACK nth 3 lose, cut".parse()?;
    /// let broker = TestBroker::with_faults(script);
    /// # Ok::<_, ferromqtt_testing::FaultScriptError>(())
    /// ```
    ///
    /// # Panics
    /// When a rule of the script makes no sense: see [`FaultScript::check`]. What was drawn always does.
    #[track_caller]
    pub fn with_faults(faults: impl Into<DrawnFaults>) -> Self {
        let broker = Self::new();
        broker.play_faults(faults);
        broker
    }

    /// Puts the faults of a script to work, as [`with_faults`](Self::with_faults) does, in a broker that is there.
    ///
    /// # Panics
    /// As [`with_faults`](Self::with_faults).
    #[track_caller]
    pub fn play_faults(&self, faults: impl Into<DrawnFaults>) {
        let DrawnFaults { script, run } = faults.into();
        let seed = run.as_ref().map(|run| run.seed);
        let played = self.call(|broker, now| {
            if let Some(seed) = seed {
                broker.set_fault_seed(seed);
            }
            broker.play_faults(now, &script)
        });
        if let Err(error) = played {
            panic!("{error}");
        }
        if let Some(run) = run {
            run.lock().hosts.push(Arc::clone(&self.shared));
        }
    }
}
