//! Draining, for `Client.drain`: the engine accepts no more messages, and disconnects when what it has is done.

use std::time::Duration;

use pyo3::prelude::*;

use crate::access::Access;
use crate::core::Core;
use crate::events;

/// Begins to drain. `limit` is in seconds; None is no limit.
pub(crate) fn begin(core: &Bound<'_, Core>, limit: Option<f64>) -> PyResult<()> {
    let now = Core::now(core)?;
    let limit = limit.and_then(|seconds| Duration::try_from_secs_f64(seconds.max(0.0)).ok());
    let until = limit.and_then(|limit| now.checked_add(limit));
    core.lock().engine.drain(now, until);
    events::pump(core, now)?;
    Core::flush(core)
}
