//! The transports that come with the client, one over the other.

use std::io;

use ferromqtt_transport::{Endpoint, Host};

use super::{Stream, Tcp, at};
use crate::options_error::OptionsError;
use crate::{Credentials, Server};

/// Opens what a server's URL names.
pub(crate) struct Network {
    pub(crate) tcp: Tcp,
    #[cfg(feature = "proxy")]
    pub(crate) proxy: Option<super::Proxy>,
    /// Whatever a URL says.
    #[cfg(feature = "tls")]
    pub(crate) always_tls: bool,
    #[cfg(feature = "tls")]
    pub(crate) tls: Option<super::tls::Tls>,
    #[cfg(feature = "websocket")]
    pub(crate) headers: super::websocket::Headers,
}

impl Network {
    /// Whether this build can reach `server` at all.
    pub(crate) fn check(server: &Server) -> Result<(), OptionsError> {
        if server.is_tls() && !cfg!(feature = "tls") {
            return Err(OptionsError::Feature("tls"));
        }
        if let Some(Err(error)) = server.host().map(Host::parse) {
            let server = server.clone();
            return Err(OptionsError::Host { server, error });
        }
        match server.place {
            Endpoint::Tcp { port: 0, .. } | Endpoint::WebSocket { port: 0, .. } => {
                Err(OptionsError::Port(server.clone()))
            }
            Endpoint::WebSocket { .. } if !cfg!(feature = "websocket") => {
                Err(OptionsError::Feature("websocket"))
            }
            Endpoint::Unix { .. } if !cfg!(unix) => Err(OptionsError::NoUnixSockets),
            _ => Ok(()),
        }
    }

    /// The server as it is to be reached.
    #[cfg(feature = "tls")]
    pub(crate) fn secured(&self, server: Server) -> Server {
        match self.always_tls {
            true => server.secured(),
            false => server,
        }
    }

    /// The server as it is to be reached.
    #[cfg(not(feature = "tls"))]
    #[allow(clippy::unused_self, reason = "as with TLS")]
    pub(crate) const fn secured(&self, server: Server) -> Server {
        server
    }

    pub(crate) async fn connect(
        &self,
        server: &Server,
        credentials: &Credentials,
    ) -> io::Result<Stream> {
        let connected = match &server.place {
            Endpoint::Unix { path } => unix(path).await,
            Endpoint::Tcp { host, port, tls } => match read(host) {
                Ok(host) => self.bytes(&host, *port, *tls, false).await,
                Err(error) => Err(error),
            },
            #[cfg(feature = "websocket")]
            Endpoint::WebSocket {
                host,
                port,
                tls,
                path,
            } => self.websocket(host, *port, *tls, path, credentials).await,
            #[cfg(not(feature = "websocket"))]
            Endpoint::WebSocket { .. } => {
                let _ = credentials; // they matter to WebSocket alone here
                Err(io::ErrorKind::Unsupported.into())
            }
        };
        connected.map_err(|error| at(server, error))
    }

    #[cfg(feature = "websocket")]
    async fn websocket(
        &self,
        host: &str,
        port: u16,
        tls: bool,
        path: &String,
        credentials: &Credentials,
    ) -> io::Result<Stream> {
        let host = read(host)?;
        let bytes = self.bytes(&host, port, tls, true).await?;
        let headers = self.headers.with(&credentials.websocket_headers);
        let path = credentials.websocket_path.as_ref().unwrap_or(path);
        super::websocket::connect(bytes, (&host, port, tls), path, &headers).await
    }

    /// A way to the host for bytes: through a proxy or not, in TLS or not.
    #[cfg_attr(not(feature = "tls"), allow(unused_variables))]
    async fn bytes(
        &self,
        host: &Host,
        port: u16,
        tls: bool,
        websocket: bool,
    ) -> io::Result<Stream> {
        if !tls {
            return Ok(Box::new(self.tcp(host, port).await?));
        }
        #[cfg(feature = "tls")]
        if let Some(tls) = &self.tls {
            let handshake = tls.prepare(host).await?; // if that fails, the server need not know
            let tcp = self.tcp(host, port).await?;
            return Ok(Box::new(handshake.over(tcp, websocket).await?));
        }
        let problem = "it is to be reached over TLS, which Options::tls did not set up";
        Err(io::Error::new(io::ErrorKind::Unsupported, problem))
    }

    async fn tcp(&self, host: &Host, port: u16) -> io::Result<tokio::net::TcpStream> {
        #[cfg(feature = "proxy")]
        if let Some(proxy) = &self.proxy {
            return proxy.connect(&self.tcp, host, port).await;
        }
        self.tcp.connect(host, port).await
    }
}

/// The host of a server or of a proxy.
pub(super) fn read(host: &str) -> io::Result<Host> {
    Host::parse(host).map_err(|error| io::Error::new(io::ErrorKind::InvalidInput, error))
}

#[cfg(unix)]
async fn unix(path: &str) -> io::Result<Stream> {
    use super::during;
    use ferromqtt_transport::{AttemptPhase, Hint};

    match tokio::net::UnixStream::connect(path).await {
        Ok(stream) => Ok(Box::new(stream)),
        Err(error) => {
            let hint = match error.kind() {
                io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused => Some(Hint::NoSocket),
                io::ErrorKind::PermissionDenied => Some(Hint::SocketPermission),
                _ => None,
            };
            Err(during(AttemptPhase::Unix, hint, &error))
        }
    }
}

#[cfg(not(unix))]
async fn unix(_path: &str) -> io::Result<Stream> {
    Err(io::ErrorKind::Unsupported.into())
}
