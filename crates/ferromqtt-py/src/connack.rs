//! What the latest CONNACK has settled, for Python.

use ferromqtt_proto::ConnectResult;
use pyo3::prelude::*;
use pyo3::types::PyDict;

use crate::access::Access;
use crate::core::Core;
use crate::properties;

/// The fields of `ferromqtt.connection.ConnectResult` by their names, those of its limits in a dictionary of their own. None
/// before a server has accepted the first connection.
pub(crate) fn fields<'py>(slf: &Bound<'py, Core>) -> PyResult<Option<Bound<'py, PyDict>>> {
    let found = slf.read().engine.core().connack().cloned(); // Python code may run below
    found.map(|found| to_dict(slf.py(), &found)).transpose()
}

fn to_dict<'py>(py: Python<'py>, found: &ConnectResult) -> PyResult<Bound<'py, PyDict>> {
    let limits = PyDict::new(py);
    let of_server = &found.limits;
    limits.set_item("receive_maximum", of_server.receive_maximum)?;
    limits.set_item("max_qos", of_server.max_qos.value())?;
    limits.set_item("retain_available", of_server.retain_available)?;
    limits.set_item("max_packet_size", of_server.max_packet_size)?;
    limits.set_item("topic_alias_maximum", of_server.topic_alias_maximum)?;
    limits.set_item(
        "wildcard_subscription_available",
        of_server.wildcard_subscription_available,
    )?;
    limits.set_item(
        "shared_subscription_available",
        of_server.shared_subscription_available,
    )?;
    limits.set_item(
        "subscription_identifiers_available",
        of_server.subscription_identifiers_available,
    )?;
    let fields = PyDict::new(py);
    fields.set_item("limits", limits)?;
    fields.set_item("session_present", found.session_present)?;
    fields.set_item("client_id", found.client_identifier.as_str())?;
    fields.set_item("server_keep_alive", found.server_keep_alive)?;
    fields.set_item("session_expiry_interval", found.session_expiry_interval)?;
    fields.set_item(
        "properties",
        properties::to_dict(py, Some(&found.properties))?,
    )?;
    Ok(fields)
}
