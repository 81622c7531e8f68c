//! From what the engine reports to the lines of Python's log.

use ferromqtt_engine::{Fact, Line, LineLevel};
use pyo3::intern;
use pyo3::prelude::*;

use crate::access::Access;
use crate::core::Core;

/// Writes the lines of a fact.
pub(crate) fn note(slf: &Bound<'_, Core>, fact: &Fact) -> PyResult<()> {
    let mut made = Vec::new();
    let clock = slf.read().clock.clone();
    let (now, _) = clock.now_or_last(slf.py()); // a clock that fails must not keep a line back
    let mut core = slf.lock();
    core.lines.note(now, fact, &mut made);
    let server = match fact {
        Fact::Disconnected { address, .. } => address.to_string(),
        _ => core.engine.address().to_owned(),
    };
    drop(core);
    write(slf, &made, &server)
}

/// Writes what was left out, once a transport has closed.
pub(crate) fn closed(slf: &Bound<'_, Core>) -> PyResult<()> {
    let mut lines = Vec::new();
    let mut core = slf.lock();
    let is_over = core.engine.core().is_idle();
    core.lines.closed(is_over, &mut lines);
    let server = core.engine.last_end_address().to_owned();
    drop(core);
    write(slf, &lines, &server)
}

/// Writes lines about the connection to this server.
fn write(slf: &Bound<'_, Core>, lines: &[Line], server: &str) -> PyResult<()> {
    for line in lines {
        let core = slf.read();
        // The lines at DEBUG name their client themselves.
        let (level, text) = match line.level {
            LineLevel::Debug if core.engine.core().packet_trace() => (10, line.render("")),
            LineLevel::Debug => continue,
            LineLevel::Info => (20, line.render(server)),
            LineLevel::Warn => (30, line.render(server)),
        };
        drop(core);
        slf.call_method1(intern!(slf.py(), "_write_line"), (level, text))?;
    }
    Ok(())
}
