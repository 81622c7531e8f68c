//! What lies below MQTT, for `ferromqtt._transport`: hosts, proxies and the order of addresses, with Python's
//! types around them. The work is done in the crate `ferromqtt-transport`.

use std::time::Duration;

use bytes::BytesMut;
use ferromqtt_transport as transport;
use ferromqtt_transport::{
    Destination, Endpoint, Next, ProxyCredentials, ProxyError, ProxyKind, ProxyProgress,
    QueryProtocol,
};
use pyo3::exceptions::{PyConnectionError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict};

use crate::gate;

// Wraps `ferromqtt_transport::Host`.
/// A host in the form that each layer needs.
#[pyclass(module = "ferromqtt._native", frozen)]
pub(crate) struct Host(pub(crate) transport::Host);

#[pymethods]
impl Host {
    #[new]
    fn new(text: &str) -> PyResult<Self> {
        let _inside = gate::enter()?;
        transport::Host::parse(text)
            .map(Self)
            .map_err(|error| PyValueError::new_err(error.to_string()))
    }

    /// What the system's resolver is asked for.
    #[getter]
    fn resolver_name(&self) -> &str {
        self.0.resolver_name()
    }

    /// What TLS and HTTP name.
    #[getter]
    fn name(&self) -> &str {
        self.0.name()
    }
}

// Wraps `ferromqtt_transport::ProxyHandshake`.
/// The exchange with a proxy, without a socket.
#[pyclass(module = "ferromqtt._native")]
pub(crate) struct ProxyHandshake {
    handshake: transport::ProxyHandshake,
    /// An answer that is not complete yet.
    input: BytesMut,
}

#[pymethods]
impl ProxyHandshake {
    #[new]
    #[pyo3(signature = (kind, host, port, *, remote_names, username, password))]
    fn new(
        kind: u8,
        host: &Host,
        port: u16,
        remote_names: bool,
        username: Option<String>,
        password: Option<Password>,
    ) -> PyResult<Self> {
        let _inside = gate::enter()?;
        let destination = (host.0.destination())
            .map_err(|error| PyConnectionError::new_err(error.to_string()))?;
        let is_name = matches!(destination, Destination::Name(_));
        if is_name && !remote_names {
            let text = "without remote_names, the host must be an address";
            return Err(PyValueError::new_err(text));
        }
        let kind = match kind {
            1 if is_name => ProxyKind::Socks4a,
            1 => ProxyKind::Socks4,
            2 => ProxyKind::Socks5,
            3 => ProxyKind::Http,
            _ => {
                return Err(PyValueError::new_err(
                    "no kind of proxy: 1 is SOCKS4, 2 SOCKS5, 3 HTTP",
                ));
            }
        };
        let credentials = ProxyCredentials {
            user_name: username.filter(|name| !name.is_empty()), // as PySocks
            password: password.map(|password| match password {
                Password::Text(text) => text.into(),
                Password::Bytes(bytes) => bytes.into(),
            }),
        };
        let handshake = transport::ProxyHandshake::new(kind, &credentials, &destination, port)
            .map_err(|error| proxy_error(&error))?;
        Ok(Self {
            handshake,
            input: BytesMut::new(),
        })
    }

    /// All that is to be written now.
    #[pyo3(name = "to_transmit")]
    fn transmit<'py>(&mut self, py: Python<'py>) -> Bound<'py, PyBytes> {
        PyBytes::new(py, &self.handshake.poll_transmit().unwrap_or_default())
    }

    /// Takes the proxy's answer; `True` when the connection is made. No bytes mean that it ended.
    fn receive(&mut self, data: &[u8]) -> PyResult<bool> {
        if data.is_empty() {
            return Err(proxy_error(&self.handshake.ended()));
        }
        self.input.extend_from_slice(data);
        let progress = self.handshake.receive(&mut self.input);
        Ok(progress.map_err(|error| proxy_error(&error))? == ProxyProgress::Done)
    }
}

/// What a proxy's URL says, as (kind, host, port, whether the proxy resolves names, user name, password). The numbers are
/// those that `ProxyHandshake` takes.
#[pyfunction]
#[expect(clippy::type_complexity, reason = "a tuple is what Python unpacks")]
pub(crate) fn proxy_of_url<'py>(
    py: Python<'py>,
    url: &str,
) -> PyResult<(
    u8,
    String,
    u16,
    bool,
    Option<String>,
    Option<Bound<'py, PyBytes>>,
)> {
    let _inside = gate::enter()?;
    let url = transport::ProxyUrl::parse(url)
        .map_err(|error| PyValueError::new_err(error.to_string()))?;
    let kind = match url.kind {
        ProxyKind::Socks4 | ProxyKind::Socks4a => 1,
        ProxyKind::Socks5 => 2,
        ProxyKind::Http => 3,
    };
    let password = url.password.as_deref();
    let password = password.map(|password| PyBytes::new(py, password));
    Ok((
        kind,
        url.host,
        url.port,
        url.remote_names,
        url.user_name,
        password,
    ))
}

/// What a server's URL says: the arguments of `ferromqtt.Client` that stand in it, by their names, and whether the scheme is
/// one with TLS. `alone`: the URL of one of several servers, which says nothing of the client.
#[pyfunction]
#[pyo3(signature = (url, *, alone = false))]
pub(crate) fn server_of_url<'py>(
    py: Python<'py>,
    url: &str,
    alone: bool,
) -> PyResult<(Bound<'py, PyDict>, bool)> {
    let _inside = gate::enter()?;
    let url = transport::ServerUrl::parse(url)
        .map_err(|error| PyValueError::new_err(error.to_string()))?;
    if alone && !url.is_place_alone() {
        let text = "the URL of one of several servers holds credentials or a query; give those to the client";
        return Err(PyValueError::new_err(text));
    }
    let arguments = PyDict::new(py);
    let is_tls = match url.place {
        Endpoint::Tcp { host, port, tls } => {
            arguments.set_item("hostname", host)?;
            arguments.set_item("port", port)?;
            tls
        }
        Endpoint::WebSocket {
            host,
            port,
            tls,
            path,
        } => {
            arguments.set_item("hostname", host)?;
            arguments.set_item("port", port)?;
            arguments.set_item("transport", "websockets")?;
            arguments.set_item("websocket_path", path)?;
            tls
        }
        Endpoint::Unix { path } => {
            arguments.set_item("hostname", path)?;
            arguments.set_item("transport", "unix")?;
            false
        }
    };
    if let Some(name) = url.user_name {
        arguments.set_item("username", name)?;
    }
    if let Some(password) = url.password {
        arguments.set_item("password", PyBytes::new(py, &password))?;
    }
    if let Some(identifier) = url.query.client_identifier {
        arguments.set_item("identifier", identifier)?;
    }
    if let Some(seconds) = url.query.keep_alive {
        arguments.set_item("keepalive", seconds)?;
    }
    match url.query.protocol {
        None => {}
        Some(QueryProtocol::V31) => arguments.set_item("protocol", 3)?,
        Some(QueryProtocol::V311) => arguments.set_item("protocol", 4)?,
        Some(QueryProtocol::V5) => arguments.set_item("protocol", 5)?,
        Some(QueryProtocol::Auto) => arguments.set_item("protocol", "auto")?,
    }
    Ok((arguments, is_tls))
}

/// A proxy's password, which may be any bytes.
#[derive(FromPyObject)]
enum Password {
    Text(String),
    Bytes(Vec<u8>),
}

fn proxy_error(error: &ProxyError) -> PyErr {
    PyConnectionError::new_err(error.to_string())
}

// Wraps `ferromqtt_transport::Race`.
/// Which of several addresses to connect to, and when. Times are seconds since its start.
#[pyclass(module = "ferromqtt._native")]
pub(crate) struct Race(transport::Race);

#[pymethods]
impl Race {
    #[new]
    #[expect(clippy::needless_pass_by_value, reason = "what PyO3 makes of a list")]
    fn new(families: Vec<i32>) -> Self {
        Self(transport::Race::of_families(&families))
    }

    /// The attempts to be started now, by their place in the list.
    fn start(&mut self, elapsed: f64) -> PyResult<Vec<usize>> {
        let now = time(elapsed)?;
        let mut indexes = Vec::new();
        while let Next::Start(index) = self.0.poll(now) {
            indexes.push(index);
        }
        Ok(indexes)
    }

    /// Seconds until `start` has another one; infinity when only an attempt's end brings more, `None` when all failed.
    fn wait(&self, elapsed: f64) -> PyResult<Option<f64>> {
        let now = time(elapsed)?;
        Ok(match self.0.peek(now) {
            Next::Start(_) => Some(0.0),
            Next::WaitUntil(then) => Some(then.saturating_sub(now).as_secs_f64()),
            Next::Wait => Some(f64::INFINITY),
            Next::Failed => None,
        })
    }

    /// An attempt has failed.
    fn failed(&mut self, index: usize, elapsed: f64) -> PyResult<()> {
        self.0.failed(index, time(elapsed)?);
        Ok(())
    }
}

fn time(elapsed: f64) -> PyResult<Duration> {
    Duration::try_from_secs_f64(elapsed)
        .map_err(|_| PyValueError::new_err("the time since the start must not be negative"))
}
