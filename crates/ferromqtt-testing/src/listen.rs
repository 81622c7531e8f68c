//! Sockets that a test broker listens on, beside its connections in memory.

use std::fmt::Write;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
#[cfg(unix)]
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpListener;
#[cfg(unix)]
use tokio::net::UnixListener;

use crate::host::SharedHost;
use crate::link::{self, LinkStream};
#[cfg(feature = "websocket")]
use crate::served_websocket::ServedWebSocket;
#[cfg(feature = "tls")]
use crate::tls::TlsLayer;

/// How long to wait after the system refused to accept, for example because it has no file descriptor left.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// The path in the URL of a listener for WebSocket; any other is accepted too.
#[cfg(feature = "websocket")]
const WEBSOCKET_PATH: &str = "/mqtt";

/// What [`TestBroker::listen`](crate::TestBroker::listen) is to listen on, and what lies between the socket and MQTT.
///
/// ```
/// use ferromqtt_testing::Listen;
///
/// let plain = Listen::tcp();
/// let everywhere = Listen::tcp().address(([0, 0, 0, 0], 1883).into());
/// ```
#[derive(Clone, Debug)]
#[must_use]
pub struct Listen {
    place: ListenPlace,
    #[cfg(feature = "tls")]
    tls: bool,
    #[cfg(feature = "websocket")]
    websocket: bool,
}

#[derive(Clone, Debug)]
enum ListenPlace {
    Tcp(SocketAddr),
    #[cfg(unix)]
    Unix(PathBuf),
}

impl Listen {
    /// TCP, on a free port of 127.0.0.1.
    pub const fn tcp() -> Self {
        Self::on(ListenPlace::Tcp(SocketAddr::new(
            std::net::IpAddr::V4(Ipv4Addr::LOCALHOST),
            0,
        )))
    }

    /// A Unix socket at this path, which must not exist. It is removed when the broker is stopped or dropped.
    #[cfg(unix)]
    pub fn unix(path: impl Into<PathBuf>) -> Self {
        Self::on(ListenPlace::Unix(path.into()))
    }

    /// TLS on a free port of 127.0.0.1: `Listen::tcp().with_tls()`.
    #[cfg(feature = "tls")]
    pub const fn tls() -> Self {
        Self::tcp().with_tls()
    }

    /// WebSocket on a free port of 127.0.0.1: `Listen::tcp().with_websocket()`.
    #[cfg(feature = "websocket")]
    pub const fn websocket() -> Self {
        Self::tcp().with_websocket()
    }

    const fn on(place: ListenPlace) -> Self {
        Self {
            place,
            #[cfg(feature = "tls")]
            tls: false,
            #[cfg(feature = "websocket")]
            websocket: false,
        }
    }

    /// Listens on this TCP address instead; port 0 stands for a free one.
    pub fn address(mut self, address: SocketAddr) -> Self {
        self.place = ListenPlace::Tcp(address);
        self
    }

    /// With TLS. The broker makes a certificate for the address, `localhost`, 127.0.0.1 and ::1; clients verify it with
    /// [`Listening::ca`]. A connection has 10 seconds for the handshake, and at most 100 are in it.
    #[cfg(feature = "tls")]
    pub const fn with_tls(mut self) -> Self {
        self.tls = true;
        self
    }

    /// MQTT over WebSocket, at any path; with TLS below it if that is asked for too.
    #[cfg(feature = "websocket")]
    pub const fn with_websocket(mut self) -> Self {
        self.websocket = true;
        self
    }
}

/// Where a [`TestBroker`](crate::TestBroker) listens, until it is stopped or dropped.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Listening {
    url: String,
    address: Option<SocketAddr>,
    #[cfg(feature = "tls")]
    ca: Option<String>,
}

impl Listening {
    /// What to connect to, such as `mqtts://127.0.0.1:40123`, `ws://127.0.0.1:40124/mqtt` or `mqtt+unix:///tmp/broker`.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// The address of the socket; none for a Unix socket.
    pub const fn address(&self) -> Option<SocketAddr> {
        self.address
    }

    /// The certificate of the broker's authority, in PEM form, for clients to trust; none without TLS.
    #[cfg(feature = "tls")]
    pub fn ca(&self) -> Option<&str> {
        self.ca.as_deref()
    }
}

/// What lies between a socket and MQTT.
#[derive(Clone)]
struct Layers {
    #[cfg(feature = "tls")]
    tls: Option<Arc<TlsLayer>>,
    #[cfg(feature = "websocket")]
    websocket: bool,
}

/// Binds, and accepts from then on.
pub(crate) async fn listen(shared: &Arc<SharedHost>, what: Listen) -> io::Result<Listening> {
    match what.place {
        ListenPlace::Tcp(address) => {
            let listener = TcpListener::bind(address).await?;
            let address = listener.local_addr()?;
            #[cfg(feature = "tls")]
            let (tls, ca) = match what.tls {
                true => {
                    let authority = shared.authority().map_err(io::Error::other)?;
                    let identity = (authority.issue_for(address.ip())).map_err(io::Error::other)?;
                    let layer = TlsLayer::new(&identity)?;
                    (Some(Arc::new(layer)), Some(authority.certificate_pem()))
                }
                false => (None, None),
            };
            let layers = Layers {
                #[cfg(feature = "tls")]
                tls,
                #[cfg(feature = "websocket")]
                websocket: what.websocket,
            };
            let url = layers.url(address);
            let accepting = accept(listener, Arc::clone(shared), layers);
            shared.spawn(accepting).map_err(io::Error::other)?;
            Ok(Listening {
                url,
                address: Some(address),
                #[cfg(feature = "tls")]
                ca,
            })
        }
        #[cfg(unix)]
        ListenPlace::Unix(path) => {
            #[cfg(feature = "tls")]
            refuse(what.tls, "TLS")?;
            #[cfg(feature = "websocket")]
            refuse(what.websocket, "WebSocket")?;
            let socket = UnixSocket::bind(path)?;
            let url = format!("mqtt+unix://{}", percent_encoded(&socket.path));
            let accepting = accept_unix(socket, Arc::clone(shared));
            shared.spawn(accepting).map_err(io::Error::other)?;
            Ok(Listening {
                url,
                address: None,
                #[cfg(feature = "tls")]
                ca: None,
            })
        }
    }
}

#[cfg(all(unix, any(feature = "tls", feature = "websocket")))]
fn refuse(asked: bool, what: &str) -> io::Result<()> {
    if !asked {
        return Ok(());
    }
    let problem = format!("a Unix socket carries MQTT alone: leave {what} out, or listen on TCP");
    Err(io::Error::new(io::ErrorKind::InvalidInput, problem))
}

impl Layers {
    fn url(&self, address: SocketAddr) -> String {
        #[cfg(feature = "tls")]
        let is_tls = self.tls.is_some();
        #[cfg(not(feature = "tls"))]
        let is_tls = false;
        #[cfg(feature = "websocket")]
        if self.websocket {
            let scheme = if is_tls { "wss" } else { "ws" };
            return format!("{scheme}://{address}{WEBSOCKET_PATH}");
        }
        let scheme = if is_tls { "mqtts" } else { "mqtt" };
        format!("{scheme}://{address}")
    }

    async fn serve<S>(self, stream: S, shared: Arc<SharedHost>)
    where
        S: LinkStream,
    {
        #[cfg(feature = "tls")]
        if let Some(tls) = &self.tls {
            if let Some(stream) = tls.accept(stream).await {
                self.serve_above_tls(stream, shared).await;
            }
            return;
        }
        self.serve_above_tls(stream, shared).await;
    }

    #[cfg_attr(
        not(feature = "websocket"),
        allow(clippy::unused_self, reason = "with WebSocket it has more to tell")
    )]
    async fn serve_above_tls<S>(&self, stream: S, shared: Arc<SharedHost>)
    where
        S: LinkStream,
    {
        #[cfg(feature = "websocket")]
        if self.websocket {
            return link::serve(ServedWebSocket::new(stream), shared).await;
        }
        link::serve(stream, shared).await;
    }
}

/// Accepts connections until it is aborted.
async fn accept(listener: TcpListener, shared: Arc<SharedHost>, layers: Layers) {
    loop {
        match listener.accept().await {
            Ok((stream, _)) => {
                let _ = stream.set_nodelay(true); // slower without it, but not wrong
                let serving = layers.clone().serve(stream, Arc::clone(&shared));
                if shared.spawn(serving).is_err() {
                    return;
                }
            }
            Err(_) => tokio::time::sleep(ACCEPT_PAUSE).await,
        }
    }
}

/// As [`accept`].
#[cfg(unix)]
async fn accept_unix(socket: UnixSocket, shared: Arc<SharedHost>) {
    loop {
        match socket.listener.accept().await {
            Ok((stream, _)) => {
                let serving = link::serve(stream, Arc::clone(&shared));
                if shared.spawn(serving).is_err() {
                    return;
                }
            }
            Err(_) => tokio::time::sleep(ACCEPT_PAUSE).await,
        }
    }
}

/// A socket in the file system, until this is dropped.
#[cfg(unix)]
struct UnixSocket {
    listener: UnixListener,
    path: PathBuf,
}

#[cfg(unix)]
impl UnixSocket {
    fn bind(path: PathBuf) -> io::Result<Self> {
        let listener = UnixListener::bind(&path)?;
        Ok(Self { listener, path })
    }
}

#[cfg(unix)]
impl Drop for UnixSocket {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.path); // somebody else may have removed it
    }
}

/// A path as it stands in a URL.
#[cfg(unix)]
fn percent_encoded(path: &Path) -> String {
    use std::os::unix::ffi::OsStrExt;

    let mut encoded = String::new();
    for &byte in path.as_os_str().as_bytes() {
        if byte.is_ascii_alphanumeric() || b"/-._~".contains(&byte) {
            encoded.push(byte.into());
        } else {
            let _ = write!(encoded, "%{byte:02X}");
        }
    }
    encoded
}
