//! TLS by rustls, with the cryptography of ring.

mod loaded;
mod options;
mod peer;
mod pem;
mod verify;

use std::any::Any;
use std::io;
use std::sync::Arc;

use ferromqtt_proto::{TcpProgress, TransportError};
use ferromqtt_transport::{AttemptPhase, Hint, Host};
use tokio::net::TcpStream;
use tokio::sync::Mutex;
use tokio::task::{JoinHandle, spawn_blocking};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_rustls::rustls::pki_types::ServerName;

use loaded::Loaded;
pub use options::TlsOptions;
pub(crate) use peer::cause;

use super::{ByteStream, during};
use crate::log;
use crate::options_error::TlsError;

/// What TLS needs for the attempts of one connection, made from [`TlsOptions`].
pub(crate) struct Tls {
    options: Arc<TlsOptions>,
    server_name: Option<ServerName<'static>>,
    state: Mutex<TlsState>,
}

/// What has been read, and what is being read.
struct TlsState {
    loaded: Arc<Loaded>,
    /// An attempt that is given up leaves this: where files cannot be read at all (a network's file system hangs), no more
    /// than one thread waits for them.
    reading: Option<Reading>,
}

type Reading = JoinHandle<Result<Arc<Loaded>, TlsError>>;

impl Tls {
    /// Reads what is to be read, off the runtime's async threads.
    pub(crate) async fn load(options: TlsOptions) -> Result<Self, TlsError> {
        let server_name = match &options.server_name {
            None => None,
            Some(name) => match Host::parse(name).ok().and_then(|host| server_name(&host)) {
                Some(name) => Some(name),
                None => return Err(TlsError::ServerName(name.clone())),
            },
        };
        let options = Arc::new(options);
        let reader = Arc::clone(&options);
        let loading = spawn_blocking(move || Loaded::first(&reader));
        let loaded = loading.await.unwrap_or(Err(TlsError::Interrupted))?;
        Ok(Self {
            options,
            server_name,
            state: Mutex::new(TlsState {
                loaded: Arc::new(loaded),
                reading: None,
            }),
        })
    }

    /// Prepares the handshake with a server that is reached as `host`: files are read again.
    pub(crate) async fn prepare(&self, host: &Host) -> io::Result<Handshake> {
        let name = match &self.server_name {
            Some(name) => name.clone(),
            None => server_name(host).ok_or_else(|| {
                let problem = "the host is no name that a certificate can hold; give one with TlsOptions::server_name";
                io::Error::new(io::ErrorKind::InvalidInput, problem)
            })?,
        };
        let loaded = self.renewed().await.map_err(io::Error::other)?;
        if let Some(danger) = self.options.danger() {
            log::danger(host.name(), danger);
        }
        Ok(Handshake {
            connector: Arc::clone(&loaded.config).into(),
            name,
        })
    }

    async fn renewed(&self) -> Result<Arc<Loaded>, TlsError> {
        let mut state = self.state.lock().await;
        if !self.options.has_files() {
            return Ok(Arc::clone(&state.loaded));
        }
        // What an attempt before this one has read may be out of date.
        let unfinished = (state.reading.take()).filter(|reading| !reading.is_finished());
        let reading = unfinished.unwrap_or_else(|| {
            let options = Arc::clone(&self.options);
            let former = Arc::clone(&state.loaded);
            spawn_blocking(move || former.renewed(&options))
        });
        let read = state.reading.insert(reading).await;
        state.reading = None;
        state.loaded = read.unwrap_or(Err(TlsError::Interrupted))?;
        Ok(Arc::clone(&state.loaded))
    }
}

/// What a certificate has to name. rustls sends a name to the server (SNI), and no address.
fn server_name(host: &Host) -> Option<ServerName<'static>> {
    match host.address() {
        Some(address) => Some(address.into()),
        None => ServerName::try_from(host.name().to_owned()).ok(),
    }
}

/// A handshake to come.
pub(crate) struct Handshake {
    connector: TlsConnector,
    name: ServerName<'static>,
}

impl Handshake {
    /// Makes the handshake. `websocket` says whether the connection is to carry WebSocket.
    pub(crate) async fn over<S: ByteStream>(
        self,
        stream: S,
        websocket: bool,
    ) -> io::Result<TlsStream<S>> {
        let connecting = self.connector.connect(self.name, stream);
        (connecting.await).map_err(|error| failed(&error, websocket))
    }
}

fn failed(error: &io::Error, websocket: bool) -> io::Error {
    let no_tls = Hint::SpeaksNoTls { websocket };
    match error.kind() {
        // Without a word, mostly by a server that took the handshake for something else.
        kind @ (io::ErrorKind::UnexpectedEof | io::ErrorKind::ConnectionReset) => {
            let ended = "the server ended the connection".to_owned();
            during(
                AttemptPhase::Tls,
                no_tls,
                &io::Error::new(kind, TransportError::Failed(ended.into())),
            )
        }
        _ if peer::answered_something_else(error) => during(AttemptPhase::Tls, no_tls, error),
        _ => during(AttemptPhase::Tls, None, error),
    }
}

/// The most that rustls keeps of what it was given to send, unless it is configured otherwise.
const BUFFER_SIZE: u64 = 64 * 1024;

/// What the TCP connection below `stream` says, if that is TLS over one.
pub(super) fn progress(stream: &dyn Any) -> Option<TcpProgress> {
    let (tcp, session) = stream.downcast_ref::<TlsStream<TcpStream>>()?.get_ref();
    let mut progress = tcp.tcp_progress()?;
    if session.wants_write() {
        progress.unacknowledged += BUFFER_SIZE; // an upper bound: rustls does not say how much it is
    }
    Some(progress)
}
