//! TLS by rustls, with the cryptography of ring.

mod options;
mod peer;
mod verify;

use std::io;
use std::sync::Arc;

use ferromqtt_proto::TransportError;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_rustls::rustls::ClientConfig;
use tokio_rustls::rustls::pki_types::ServerName;

pub use options::TlsOptions;
pub(crate) use peer::cause;

use super::ByteStream;
use crate::log;

/// What TLS needs for each connection, made from [`TlsOptions`] once.
#[derive(Clone)]
pub(crate) struct Tls {
    connector: TlsConnector,
    server_name: Option<ServerName<'static>>,
    /// What is not verified, for a warning at each connection.
    danger: Option<&'static str>,
}

impl Tls {
    fn new(
        config: Arc<ClientConfig>,
        server_name: Option<ServerName<'static>>,
        danger: Option<&'static str>,
    ) -> Self {
        Self {
            connector: config.into(),
            server_name,
            danger,
        }
    }

    /// Shakes hands over `stream` with a server that is reached as `host`.
    pub(crate) async fn connect<S: ByteStream>(
        &self,
        host: &str,
        stream: S,
    ) -> io::Result<TlsStream<S>> {
        let name = match &self.server_name {
            Some(name) => name.clone(),
            None => ServerName::try_from(host.to_owned()).map_err(|_| {
                let problem = "the host is no name that a certificate can hold; give one with TlsOptions::server_name";
                io::Error::new(io::ErrorKind::InvalidInput, problem)
            })?,
        };
        if let Some(danger) = self.danger {
            log::danger(host, danger);
        }
        (self.connector.connect(name, stream).await).map_err(end_in_handshake)
    }
}

/// An end without a word is mostly a server that took the handshake for something else.
fn end_in_handshake(error: io::Error) -> io::Error {
    match error.kind() {
        kind @ (io::ErrorKind::UnexpectedEof | io::ErrorKind::ConnectionReset) => {
            let problem = "the server ended the connection during the TLS handshake; does it speak TLS on this port? 8883 is the usual one";
            io::Error::new(kind, TransportError::Failed(problem.into()))
        }
        _ => error,
    }
}
