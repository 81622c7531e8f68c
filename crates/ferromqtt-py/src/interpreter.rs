//! Which interpreters may load the module (docs/design/0027-binding-and-interpreter.md).

use pyo3::exceptions::PyImportError;
use pyo3::ffi;
use pyo3::prelude::*;

use crate::gate;

/// Refuses an interpreter in which the module would be unsound, or would stand still.
///
/// # Errors
/// `ImportError`, which says why and what to do.
pub(crate) fn check(py: Python<'_>) -> PyResult<()> {
    check_main(py)?;
    check_first()
}

/// The module keeps Python objects for the whole process, and PyO3 attaches threads to the main interpreter.
fn check_main(_py: Python<'_>) -> PyResult<()> {
    #[allow(unsafe_code, reason = "PyO3 has no safe name for it")]
    // SAFETY: both may be called by a thread that is attached, as `_py` proves. The pointers are compared, never followed.
    let is_main = unsafe { ffi::PyInterpreterState_Get() == ffi::PyInterpreterState_Main() };
    if is_main {
        return Ok(());
    }
    Err(PyImportError::new_err(
        "ferromqtt cannot be used in a subinterpreter: its native module belongs to the main interpreter of a process. \
         Import it there (under mod_wsgi set `WSGIApplicationGroup %{GLOBAL}`), or use one process for each interpreter.",
    ))
}

/// An interpreter that was ended and begun again in the same process would get objects of the one before.
fn check_first() -> PyResult<()> {
    if !gate::is_closed() {
        return Ok(());
    }
    Err(PyImportError::new_err(
        "ferromqtt cannot be imported again once the interpreter exits, nor in one that is started after it in the same \
         process",
    ))
}
