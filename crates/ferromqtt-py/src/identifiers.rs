//! Packet Identifiers of received QoS 2 messages that exactly-once handlers keep in their database
//! (`docs/design/0065-identifiers-of-the-application.md`).

use ferromqtt_proto::SessionChange;
use pyo3::intern;
use pyo3::prelude::*;

use crate::access::Access;
use crate::core::Core;

/// Reports to Python what has become of identifiers: before anybody can take a message that came later.
pub(crate) fn report(slf: &Bound<'_, Core>) -> PyResult<()> {
    let py = slf.py();
    loop {
        let entry = slf.lock().engine.poll_identifier_change();
        let Some(entry) = entry else {
            return Ok(());
        };
        let (kind, identifier) = match entry.change {
            SessionChange::Connecting => ("connecting", 0),
            SessionChange::Resumed => ("resumed", 0),
            SessionChange::SessionLost { .. } => ("lost", 0),
            SessionChange::Released { packet_id } => ("released", packet_id.get()),
            _ => continue, // of a message that is sent
        };
        let change = (entry.sequence, kind, identifier);
        slf.call_method1(intern!(py, "_on_identifier"), change)?;
    }
}

/// All changes up to this one are on record: what waits for them is sent.
pub(crate) fn written(slf: &Bound<'_, Core>, sequence: u64) -> PyResult<()> {
    slf.lock().engine.identifiers_written(sequence);
    Core::schedule_flush(slf)
}
