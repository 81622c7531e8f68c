//! Recordings for `ferromqtt.testing` and the client.

use std::path::PathBuf;

use ferromqtt_recording::{ComparedTimes, RecordedPayloads, Recording, RecordingError};
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;

use crate::gate;

// Wraps `ferromqtt_recording::Recorder`.
/// Writes what goes by links to a file, which is made or emptied.
#[pyclass(module = "ferromqtt._native", frozen)]
pub(crate) struct Recorder(ferromqtt_recording::Recorder);

#[pymethods]
impl Recorder {
    #[new]
    fn new(path: PathBuf, payloads: bool) -> PyResult<Self> {
        let _inside = gate::enter()?;
        let payloads = match payloads {
            true => RecordedPayloads::Whole,
            false => RecordedPayloads::Hashed,
        };
        let recorder = ferromqtt_recording::Recorder::to_file(&path, payloads);
        recorder.map(Self).map_err(|error| of_file(error, path))
    }

    /// Raises the error that has ended the recording, once.
    fn finish(&self) -> PyResult<()> {
        let _inside = gate::enter()?;
        Ok(self.0.finish()?)
    }
}

impl Recorder {
    pub(crate) fn shared(&self) -> ferromqtt_recording::Recorder {
        self.0.clone()
    }
}

/// Reads a recording: OSError when it cannot be read, ValueError when it is none.
pub(crate) fn read(path: PathBuf) -> PyResult<Recording> {
    Recording::read(path).map_err(|error| match error {
        RecordingError::Unreadable { path, error }
            if error.kind() != std::io::ErrorKind::InvalidData =>
        {
            of_file(error, path)
        }
        error => PyValueError::new_err(error.to_string()),
    })
}

/// An error of the system, with the file that it is about.
fn of_file(error: std::io::Error, path: PathBuf) -> PyErr {
    let text = match error.raw_os_error() {
        Some(number) => {
            return pyo3::exceptions::PyOSError::new_err((number, describe(&error), path));
        }
        None => error.to_string(),
    };
    pyo3::exceptions::PyOSError::new_err(text)
}

/// The system's words, without the number that `OSError` shows itself.
fn describe(error: &std::io::Error) -> String {
    let text = error.to_string();
    match text.find(" (os error") {
        Some(at) => text[..at].to_owned(),
        None => text,
    }
}

/// A recording for people, a line each.
#[pyfunction]
pub(crate) fn recording_text(path: PathBuf) -> PyResult<String> {
    let _inside = gate::enter()?;
    Ok(read(path)?.show())
}

/// What is different in two recordings.
#[pyfunction]
pub(crate) fn recording_diff(first: PathBuf, second: PathBuf, times: bool) -> PyResult<String> {
    let _inside = gate::enter()?;
    let times = match times {
        true => ComparedTimes::Milliseconds,
        false => ComparedTimes::Ignored,
    };
    Ok(ferromqtt_recording::diff(
        &read(first)?,
        &read(second)?,
        times,
    ))
}
