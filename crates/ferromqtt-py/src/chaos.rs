//! Scripts of faults, for `ferromqtt.testing`: drawn from seeds, played, shrunk and printed.

use ferromqtt_testing::{FaultScript, Faults};
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;

use crate::access::Access;
use crate::broker::Broker;
use crate::gate;

/// The text of the script that a seed draws.
#[pyfunction]
#[pyo3(signature = (seed, *, cuts, lost_acks, duplicates, delays, restarts, partitions, packets))]
#[allow(
    clippy::too_many_arguments,
    reason = "each is a keyword of Chaos.faults"
)]
pub(crate) fn draw_faults(
    seed: u64,
    cuts: f64,
    lost_acks: f64,
    duplicates: f64,
    delays: f64,
    restarts: u32,
    partitions: u32,
    packets: u32,
) -> PyResult<String> {
    let _inside = gate::enter()?;
    let probabilities = [
        ("cuts", cuts),
        ("lost_acks", lost_acks),
        ("duplicates", duplicates),
        ("delays", delays),
    ];
    for (name, probability) in probabilities {
        if !(0.0..=1.0).contains(&probability) {
            let problem = format!("{name} must be a probability from 0 to 1, not {probability}");
            return Err(PyValueError::new_err(problem));
        }
    }
    let faults = Faults::cuts(cuts)
        .lost_acks(lost_acks)
        .duplicates(duplicates)
        .delays(delays)
        .restarts(restarts)
        .partitions(partitions)
        .packets(packets);
    Ok(faults.draw(seed).to_string())
}

/// Adds the rules of a script to a broker, and schedules its events.
#[pyfunction]
pub(crate) fn play_faults(broker: &Bound<'_, Broker>, script: &str) -> PyResult<()> {
    let script = parsed(script)?;
    let played = Broker::with_time(broker, |core, now| core.play_faults(now, &script))?;
    played.map_err(|error| PyValueError::new_err(error.to_string()))
}

/// A script as lines of Python.
#[pyfunction]
pub(crate) fn python_code(script: &str) -> PyResult<String> {
    let _inside = gate::enter()?;
    Ok(parsed(script)?.python_code())
}

fn parsed(script: &str) -> PyResult<FaultScript> {
    (script.parse()).map_err(|error| PyValueError::new_err(format!("{error}")))
}

// Wraps `ferromqtt_testing::ScriptShrinker`.
/// Shortens the scripts of a run that fails: try each candidate, and report whether it failed.
#[pyclass(module = "ferromqtt._native")]
pub(crate) struct ScriptShrinker {
    shrinker: ferromqtt_testing::ScriptShrinker,
}

#[pymethods]
impl ScriptShrinker {
    #[new]
    fn new(scripts: Vec<String>, most_tries: u32) -> PyResult<Self> {
        let _inside = gate::enter()?;
        let scripts = scripts.iter().map(|script| parsed(script));
        let scripts = scripts.collect::<PyResult<Vec<_>>>()?;
        let shrinker = ferromqtt_testing::ScriptShrinker::new(scripts, most_tries);
        Ok(Self { shrinker })
    }

    /// The next scripts to try, or `None`.
    fn candidate(slf: &Bound<'_, Self>) -> Option<Vec<String>> {
        let candidate = slf.lock().shrinker.candidate()?;
        Some(candidate.iter().map(ToString::to_string).collect())
    }

    /// Whether the run failed with the latest candidate.
    fn report(slf: &Bound<'_, Self>, failed: bool) {
        slf.lock().shrinker.report(failed);
    }

    /// The shortest scripts so far with which the run fails.
    fn shortest(slf: &Bound<'_, Self>) -> Vec<String> {
        let shortest = slf.read().shrinker.shortest();
        shortest.iter().map(ToString::to_string).collect()
    }

    /// How many candidates were reported.
    #[getter]
    fn tries(slf: &Bound<'_, Self>) -> u32 {
        slf.read().shrinker.tries()
    }
}
