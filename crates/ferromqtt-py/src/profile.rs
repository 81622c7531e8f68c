//! Server profiles: what a client needs of one before it connects, and the table to look at.

use ferromqtt_proto::{
    ProfileEvidence, ProfileFigure, ProfileRow, ProfileSource, ServerProfile, ServerReach,
};
use ferromqtt_transport::Host;
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyTuple};

use crate::gate;

/// The profile of this name.
pub(crate) fn named(name: &str) -> PyResult<ServerProfile> {
    name.parse()
        .map_err(|error| PyValueError::new_err(format!("profile: {error}.")))
}

/// What a profile settles: whether TLS is to be spoken, the port, the protocol that TLS is to offer, whether the server speaks
/// 5.0, and how many messages may be in flight.
type SettledProfile = (bool, Option<u16>, Option<&'static str>, bool, Option<u16>);

/// What a profile settles for a client that connects to this host: see [`SettledProfile`]. `port` is the one that was given, if any;
/// `over` is "tcp", "websockets" or "unix"; `names_server` is whether TLS asks for another name than that of the host.
#[pyfunction]
#[pyo3(signature = (name, host, port, over, *, tls, names_server))]
pub(crate) fn settle_profile(
    name: &str,
    host: &str,
    port: Option<u16>,
    over: &str,
    tls: bool,
    names_server: bool,
) -> PyResult<SettledProfile> {
    let _inside = gate::enter()?;
    let profile = named(name)?;
    // A socket of the file system has TLS only where it is asked for.
    let tls = tls || (profile.needs_tls() && over != "unix");
    let host = Host::parse(host).ok(); // what is wrong with it is reported elsewhere
    let reach = ServerReach {
        tls,
        websocket: over == "websockets",
        without_name: !names_server && host.is_some_and(|host| host.address().is_some()),
    };
    profile
        .check_reach(reach)
        .map_err(|error| PyValueError::new_err(format!("{error}.")))?;
    let port = port.or_else(|| profile.port(reach));
    let alpn = port.and_then(|port| profile.alpn(reach, port));
    let in_flight = profile.row().in_flight.map(|it| it.value);
    let has_v5 = profile.speaks(ferromqtt_proto::ProtocolVersion::V5);
    Ok((tls, port, alpn, has_v5, in_flight))
}

/// All profiles: of each a dictionary of its figures, where what has no limit is missing, and one of where they come from.
#[pyfunction]
pub(crate) fn profile_table(
    py: Python<'_>,
) -> PyResult<Vec<(Bound<'_, PyDict>, Bound<'_, PyDict>)>> {
    let _inside = gate::enter()?;
    let rows = ServerProfile::ALL.iter().map(|profile| profile.row());
    rows.map(|row| Shown::new(py).row(row)).collect()
}

/// A row as Python shows it.
struct Shown<'py> {
    figures: Bound<'py, PyDict>,
    sources: Bound<'py, PyDict>,
}

impl<'py> Shown<'py> {
    fn new(py: Python<'py>) -> Self {
        Self {
            figures: PyDict::new(py),
            sources: PyDict::new(py),
        }
    }

    fn row(self, row: &ProfileRow) -> PyResult<(Bound<'py, PyDict>, Bound<'py, PyDict>)> {
        let py = self.figures.py();
        let ports = &row.ports;
        self.figures.set_item("name", row.name)?;
        let tested = match row.evidence {
            ProfileEvidence::Tested(server) => Some(server),
            ProfileEvidence::Documents => None,
        };
        self.figures.set_item("tested_with", tested)?;
        self.figures
            .set_item("needs_tls", row.profile.needs_tls())?;
        self.figure("port", ports.plain)?;
        self.figure("tls_port", ports.tls)?;
        self.figure("secure_websocket_port", ports.secure_websocket)?;
        let levels = row.versions.value.iter().map(|version| version.level());
        let versions = PyTuple::new(py, levels)?;
        self.figure("versions", Some(of(row.versions, versions)))?;
        self.figure(
            "alpn",
            row.alpn
                .map(|it| of(it, (it.value.port, it.value.protocol))),
        )?;
        self.flag("needs_server_name", row.needs_server_name)?;
        self.flag("needs_identifier", row.needs_identifier)?;
        self.figure("identifier_bytes", row.identifier_bytes)?;
        let qos = |it: ProfileFigure<ferromqtt_proto::QoS>| of(it, it.value.value());
        self.figure("maximum_qos", row.maximum_qos.map(qos))?;
        self.figure("maximum_subscribe_qos", row.maximum_subscribe_qos.map(qos))?;
        self.flag("no_retain", row.no_retain)?;
        self.flag("no_shared_subscriptions", row.no_shared_subscriptions)?;
        self.figure("payload_bytes", row.payload_bytes)?;
        self.figure("packet_bytes", row.packet_bytes)?;
        self.figure("topic_bytes", row.topic_bytes)?;
        self.figure("topic_levels", row.topic_levels)?;
        self.figure("refused_characters", row.refused_characters)?;
        self.figure("filters_per_subscribe", row.filters_per_subscribe)?;
        let bounds = row
            .keep_alive
            .map(|it| of(it, (it.value.least, it.value.most)));
        self.figure("keep_alive", bounds)?;
        self.figure("in_flight", row.in_flight)?;
        Ok((self.figures, self.sources))
    }

    fn figure<T: IntoPyObject<'py>>(
        &self,
        name: &str,
        figure: Option<ProfileFigure<T>>,
    ) -> PyResult<()> {
        let Some(figure) = figure else {
            return Ok(());
        };
        self.figures.set_item(name, figure.value)?;
        self.sources.set_item(name, shown(figure.source))
    }

    fn flag(&self, name: &str, source: Option<ProfileSource>) -> PyResult<()> {
        self.figure(
            name,
            source.map(|source| ProfileFigure {
                value: true,
                source,
            }),
        )
    }
}

/// Another value with the source of a figure.
fn of<T, U>(figure: ProfileFigure<T>, value: U) -> ProfileFigure<U> {
    ProfileFigure {
        value,
        source: figure.source,
    }
}

fn shown(source: ProfileSource) -> String {
    match source {
        ProfileSource::Documents { url, read } => format!("{url} (read {read})"),
        ProfileSource::Observed { server } => format!("seen with {server}"),
    }
}
