//! Where the loop of a client runs: the thread, and the process, which a fork leaves.

use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::{self, ThreadId};

use pyo3::prelude::*;
use pyo3::types::IntoPyDict;

use crate::gate;

/// How many forks lie between the first process and this one.
static FORKS: AtomicU64 = AtomicU64::new(0);

/// A thread of a process.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct Home {
    thread: ThreadId,
    forks: u64,
}

impl Home {
    /// The thread that calls.
    pub(crate) fn here() -> Self {
        Self {
            thread: thread::current().id(),
            forks: FORKS.load(Ordering::Relaxed),
        }
    }

    /// Whether it is in the process that calls, and not in one that a fork has made that of.
    pub(crate) fn is_in_this_process(self) -> bool {
        self.forks == FORKS.load(Ordering::Relaxed)
    }
}

/// Python calls it in the child of a fork, whose connections are the parent's.
#[pyfunction]
pub(crate) fn note_fork() {
    FORKS.fetch_add(1, Ordering::Relaxed);
    gate::note_fork();
}

/// Has Python call [`note_fork`].
pub(crate) fn set_up(module: &Bound<'_, PyModule>) -> PyResult<()> {
    let py = module.py();
    let os = py.import("os")?;
    let Some(register) = os.getattr_opt("register_at_fork")? else {
        return Ok(()); // this system has no fork
    };
    let arguments = [("after_in_child", wrap_pyfunction!(note_fork, module)?)];
    register.call((), Some(&arguments.into_py_dict(py)?))?;
    Ok(())
}
