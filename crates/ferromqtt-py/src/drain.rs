//! Draining, for `Client.drain`: the engine accepts no more messages, and disconnects when what it has is done.

use pyo3::prelude::*;

use crate::access::Access;
use crate::convert;
use crate::core::Core;
use crate::events;

/// Begins to drain. `limit` is in seconds; None is no limit.
pub(crate) fn begin(core: &Bound<'_, Core>, limit: Option<f64>) -> PyResult<()> {
    let now = Core::now(core)?;
    let until = limit.and_then(|seconds| convert::deadline(now, seconds.max(0.0)));
    core.lock().engine.drain(now, until);
    events::pump(core, now)?;
    Core::flush(core)
}
