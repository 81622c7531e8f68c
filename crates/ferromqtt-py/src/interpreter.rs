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
    check_gil(py)?;
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

/// What is shared between threads here is guarded by the GIL. Where that is optional, importing a module that declares to need
/// it (`gil_used = true`) enables it, unless the user has forbidden that.
fn check_gil(py: Python<'_>) -> PyResult<()> {
    let sys = py.import("sys")?;
    let Some(is_enabled) = sys.getattr_opt("_is_gil_enabled")? else {
        return Ok(()); // before 3.13 there is no other way
    };
    if is_enabled.call0()?.is_truthy()? {
        return Ok(());
    }
    Err(PyImportError::new_err(
        "ferromqtt needs the global interpreter lock, which is disabled: run Python without `PYTHON_GIL=0` and without \
         `-X gil=0`. A free-threaded interpreter then enables the lock when it imports ferromqtt.",
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
