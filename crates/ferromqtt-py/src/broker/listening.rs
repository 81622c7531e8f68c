//! What lies between a socket of the test broker's host and MQTT: WebSocket, and certificates for TLS.

use std::sync::{Mutex, MutexGuard};

use bytes::BytesMut;
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::PyBytes;

// Wraps `ferromqtt_transport::WebSocketServer`.
/// The server's side of a WebSocket without a socket; its host moves the bytes.
#[pyclass(frozen, module = "ferromqtt._native")]
pub(crate) struct WebSocketServer(Mutex<ferromqtt_transport::WebSocketServer>);

#[pymethods]
impl WebSocketServer {
    #[new]
    fn new() -> Self {
        Self(Mutex::new(ferromqtt_transport::WebSocketServer::new()))
    }

    /// The socket delivered bytes; returns what they carry.
    fn receive<'py>(&self, py: Python<'py>, data: &[u8]) -> Bound<'py, PyBytes> {
        let mut received = BytesMut::new();
        self.state().receive_into(data, &mut received);
        PyBytes::new(py, &received)
    }

    /// Sends bytes, in one frame.
    fn send(&self, data: &[u8]) {
        self.state().send_slice(data);
    }

    /// What is to be written now.
    fn take_output<'py>(&self, py: Python<'py>) -> Bound<'py, PyBytes> {
        let output = self.state().poll_transmit();
        PyBytes::new(py, output.as_deref().unwrap_or_default())
    }

    /// Closes it, behind what was sent.
    fn close(&self) {
        self.state().close();
    }

    /// Whether it is over.
    #[getter]
    fn is_closed(&self) -> bool {
        self.state().is_closed()
    }
}

impl WebSocketServer {
    fn state(&self) -> MutexGuard<'_, ferromqtt_transport::WebSocketServer> {
        self.0.lock().unwrap_or_else(|error| error.into_inner())
    }
}

// Wraps `ferromqtt_testing::TestAuthority`.
/// A certificate authority for one test broker. Its private key is in memory alone.
#[pyclass(frozen, module = "ferromqtt._native")]
pub(crate) struct TestAuthority(ferromqtt_testing::TestAuthority);

#[pymethods]
impl TestAuthority {
    #[new]
    fn new() -> PyResult<Self> {
        let made = ferromqtt_testing::TestAuthority::new();
        made.map(Self).map_err(failed)
    }

    /// Its own certificate, in PEM form.
    #[getter]
    fn certificate(&self) -> String {
        self.0.certificate_pem()
    }

    /// A certificate for a host, and the private key, in PEM form.
    fn issue(&self, host: &str) -> PyResult<(String, String)> {
        let identity = self.0.issue(host).map_err(failed)?;
        Ok((identity.certificate_pem(), identity.key_pem()))
    }
}

#[expect(clippy::needless_pass_by_value, reason = "for `map_err`")]
fn failed(error: ferromqtt_testing::CertificateError) -> PyErr {
    PyValueError::new_err(error.to_string())
}
