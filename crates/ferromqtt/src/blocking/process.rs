//! The process that a connection belongs to. A child that is forked from it has copies of its memory and descriptors, and
//! none of its threads.

use std::process;

use tokio::runtime::Handle;

use crate::ConnectionError;

/// A process, and how to ask which one this is. Asking is a system call, which takes as long as publishing a small message.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Process {
    id: u32,
    current: fn() -> u32,
}

impl Process {
    /// This process.
    pub(super) fn this() -> Self {
        Self::by(process::id)
    }

    pub(super) fn by(current: fn() -> u32) -> Self {
        let id = current();
        Self { id, current }
    }

    /// Whether this process was forked from that one.
    pub(crate) fn has_forked(self) -> bool {
        (self.current)() != self.id
    }
}

/// Refuses to wait inside a runtime. Its threads for blocking work could wait, but tokio does not tell which they are.
pub(super) fn check_runtime() -> Result<(), ConnectionError> {
    Handle::try_current().map_or(Ok(()), |_| Err(ConnectionError::InsideRuntime))
}

/// Refuses a call that waits, in a forked child and inside a runtime.
pub(super) fn check_wait(process: Process) -> Result<(), ConnectionError> {
    match process.has_forked() {
        true => Err(ConnectionError::Forked),
        false => check_runtime(),
    }
}
