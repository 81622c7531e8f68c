//! Opening transports. The driver takes any stream of bytes.

mod network;
mod progress;
#[cfg(feature = "proxy")]
mod proxy;
mod settings;
mod tcp;
#[cfg(feature = "tls")]
mod tls;
#[cfg(feature = "websocket")]
mod websocket;

use std::fmt::Display;
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};

use ferromqtt_proto as proto;
use ferromqtt_transport::{AttemptPhase, Failure, Hint};
use proto::shown::peer_text;
use proto::{TcpProgress, TransportError};
use tokio::io::{AsyncRead, AsyncWrite};

use network::Network;
#[cfg(feature = "proxy")]
pub use proxy::Proxy;
pub(crate) use settings::Settings;
use tcp::Tcp;
#[cfg(feature = "tls")]
pub use tls::TlsOptions;
#[cfg(feature = "websocket")]
pub(crate) use websocket::Headers;

use crate::credentials_source::CredentialsSource;
use crate::{Credentials, Server};

/// Opens streams of bytes to servers, for [`Options::transport`](crate::Options::transport).
///
/// A closure will do: one that takes a [`Server`] and returns a future of a stream. The stream is anything that reads and
/// writes bytes. It is read and written at the same time, from one task, and dropped when it is no longer of use; before
/// that, it is shut down if the client disconnects by itself.
///
/// The error becomes [`TransportError::Failed`] with its text, or [`TransportError::EndOfStream`] for
/// [`io::ErrorKind::UnexpectedEof`]. An [`io::Error::other`] over a [`TransportError`] is that one.
///
/// ```
/// use std::io;
/// use ferromqtt::{Options, Server, Transport};
/// use tokio::io::{DuplexStream, duplex};
/// use tokio::sync::mpsc;
///
/// /// Pipes in memory: the other ends go to a server that is a part of this program.
/// struct Pipes(mpsc::Sender<DuplexStream>);
///
/// impl Transport for Pipes {
///     type Stream = DuplexStream;
///
///     async fn connect(&self, _server: Server) -> io::Result<DuplexStream> {
///         let (ours, theirs) = duplex(64 * 1024);
///         match self.0.send(theirs).await {
///             Ok(()) => Ok(ours),
///             Err(_) => Err(io::Error::other("the server has gone")),
///         }
///     }
/// }
///
/// # let (sender, _receiver) = mpsc::channel(1);
/// let options = Options::new("in memory", 1883).transport(Pipes(sender));
/// ```
pub trait Transport: Send + Sync + 'static {
    /// What carries the bytes.
    type Stream: AsyncRead + AsyncWrite + Unpin + Send + 'static;

    /// Opens a stream to `server`: again for each connection.
    ///
    /// # Cancel safety
    /// The future is dropped when [`Options::connect_timeout`](crate::Options::connect_timeout) is over, and when the client
    /// is to disconnect.
    fn connect(&self, server: Server) -> impl Future<Output = io::Result<Self::Stream>> + Send;
}

impl<F, C, S> Transport for F
where
    F: Fn(Server) -> C + Send + Sync + 'static,
    C: Future<Output = io::Result<S>> + Send,
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    type Stream = S;

    fn connect(&self, server: Server) -> impl Future<Output = io::Result<S>> + Send {
        self(server)
    }
}

/// What can carry MQTT.
pub(crate) trait ByteStream: AsyncRead + AsyncWrite + Unpin + Send + 'static {
    /// How far the peer's TCP has confirmed what was written. It takes a few calls of the system.
    fn tcp_progress(&self) -> Option<TcpProgress>;
}

impl<S: AsyncRead + AsyncWrite + Unpin + Send + 'static> ByteStream for S {
    fn tcp_progress(&self) -> Option<TcpProgress> {
        progress::of(self)
    }
}

/// A stream of whatever kind. Two calls through a table for each read and write: nothing beside what the system takes.
pub(crate) type Stream = Box<dyn ByteStream>;

type Opening<'a> = Pin<Box<dyn Future<Output = io::Result<Stream>> + Send + 'a>>;

/// A [`Transport`] of whatever type.
pub(crate) trait AnyTransport: Send + Sync {
    fn open(&self, server: Server) -> Opening<'_>;
}

impl<T: Transport> AnyTransport for T {
    fn open(&self, server: Server) -> Opening<'_> {
        Box::pin(async { Ok(Box::new(self.connect(server).await?) as Stream) })
    }
}

/// Opens the transports that the core asks for.
pub(crate) struct Connector {
    servers: Vec<Server>,
    opener: Opener,
    /// The last one that was opened: a referral is by this one.
    current: Mutex<Option<Server>>,
    /// Who is to be asked for credentials before each attempt.
    pub(crate) credentials: Option<CredentialsSource>,
}

pub(crate) enum Opener {
    Network(Box<Network>),
    Own(Arc<dyn AnyTransport>),
}

impl Connector {
    pub(crate) const fn new(servers: Vec<Server>, opener: Opener) -> Self {
        Self {
            servers,
            opener,
            current: Mutex::new(None),
            credentials: None,
        }
    }

    /// The server that the first attempt leads to.
    pub(crate) fn first(&self) -> Option<Server> {
        self.find(&proto::ServerChoice::Listed(0)).ok()
    }

    /// The time limit is the caller's: it drops the future.
    pub(crate) async fn connect(
        &self,
        server: &Server,
        credentials: &Credentials,
    ) -> io::Result<Stream> {
        match &self.opener {
            Opener::Network(network) => network.connect(server, credentials).await,
            Opener::Own(own) => own.open(server.clone()).await,
        }
    }

    /// Why the transport that was opened last has ended. TLS 1.3 lets a server refuse the client's certificate when the
    /// handshake is over on this side: that is reported as in the handshake.
    pub(crate) fn cause(&self, error: &io::Error) -> TransportError {
        let cause = cause(error);
        #[cfg(feature = "tls")]
        if let (Opener::Network(_), Some(_)) = (&self.opener, tls::cause(error)) {
            let current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
            return match &*current {
                Some(server) => behind(server, cause),
                None => cause,
            };
        }
        cause
    }

    /// Why a transport that was open has ended, with the server that it led to. `accepted` says whether the server had sent CONNACK.
    pub(crate) fn lost(&self, error: &io::Error, accepted: bool) -> TransportError {
        let cause = match unaccepted(error).filter(|_| !accepted) {
            Some(error) => cause(&error),
            None => self.cause(error),
        };
        let (Opener::Network(_), TransportError::Failed(why) | TransportError::Certificate(why)) =
            (&self.opener, &cause)
        else {
            return cause;
        };
        let current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
        match &*current {
            Some(server) if !is_named(server, why) => behind(server, cause),
            _ => cause,
        }
    }

    /// The server that the core names, as it is to be reached.
    pub(crate) fn find(&self, server: &proto::ServerChoice) -> io::Result<Server> {
        let mut current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
        let found = match server {
            proto::ServerChoice::Listed(place) => self.servers.get(*place).cloned(),
            proto::ServerChoice::Referred(reference) => match &*current {
                Some(server) => Some(server.referred(reference).map_err(|error| {
                    let what = format!("the server refers to {:?}", shown(reference));
                    at(what, io::Error::new(io::ErrorKind::InvalidData, error))
                })?),
                None => None,
            },
            _ => None,
        };
        let found = found.ok_or_else(|| io::Error::other("there is no such server"))?;
        let found = match &self.opener {
            Opener::Network(network) => network.secured(found),
            Opener::Own(_) => found,
        };
        Ok(current.insert(found).clone())
    }
}

/// The failure of a connection that no CONNACK has accepted, as that of its phase. `None` where it has words of its own.
fn unaccepted(error: &io::Error) -> Option<io::Error> {
    broken_off(AttemptPhase::Connect, Hint::Unanswered, error)
}

/// The failure of a connection that broke off in `phase`, as TLS or the system says. `None` where it has words of its own.
fn broken_off(phase: AttemptPhase, hint: Hint, error: &io::Error) -> Option<io::Error> {
    #[cfg(feature = "tls")]
    if tls::cause(error).is_some() {
        return Some(during(AttemptPhase::Tls, None, error)); // TLS 1.3 refuses a client certificate when the handshake is over
    }
    error.raw_os_error()?;
    Some(during(phase, hint, error))
}

fn is_named(server: &Server, text: &str) -> bool {
    text.starts_with(&server.to_string())
}

/// A server's reference without credentials and a query, which may hold secrets of others.
fn shown(reference: &str) -> String {
    let place = reference.split(['?', '#']).next().unwrap_or_default();
    peer_text(place.rsplit('@').next().unwrap_or_default(), &[])
}

/// Why a transport ended or did not open.
fn cause(error: &io::Error) -> TransportError {
    let own = error.get_ref().and_then(|inner| inner.downcast_ref());
    if let Some(own) = own {
        return TransportError::clone(own);
    }
    #[cfg(feature = "tls")]
    if let Some(cause) = tls::cause(error) {
        return cause;
    }
    match error.kind() {
        io::ErrorKind::UnexpectedEof => TransportError::EndOfStream,
        _ => TransportError::Failed(error.to_string().into()),
    }
}

/// The same error, behind what was tried.
fn at(what: impl Display, error: io::Error) -> io::Error {
    io::Error::new(error.kind(), behind(what, cause(&error)))
}

/// The same error, as the failure of a phase, with what to do about it.
fn during(phase: AttemptPhase, hint: impl Into<Option<Hint>>, error: &io::Error) -> io::Error {
    let text = |why: &str| {
        let failure = Failure::new("", phase).reason(why).hint(hint);
        failure.to_string().into()
    };
    let failed = match cause(error) {
        TransportError::Certificate(why) => TransportError::Certificate(text(&why)),
        why => TransportError::Failed(text(&why.to_string())),
    };
    io::Error::new(error.kind(), failed)
}

fn behind(what: impl Display, cause: TransportError) -> TransportError {
    match cause {
        TransportError::Certificate(why) => {
            TransportError::Certificate(format!("{what}: {why}").into())
        }
        why => TransportError::Failed(format!("{what}: {why}").into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_keeps_its_kind_behind_what_was_tried() {
        let refused = || io::Error::from(io::ErrorKind::ConnectionRefused);
        let reported = at("mqtt://a:1", refused());
        assert_eq!(reported.kind(), io::ErrorKind::ConnectionRefused);
        let text = format!("mqtt://a:1: {}", refused());
        assert_eq!(cause(&reported), TransportError::Failed(text.into()));
        let certificate = io::Error::other(TransportError::Certificate("no".into()));
        let reported = cause(&at("mqtts://a:1", certificate));
        assert_eq!(
            reported,
            TransportError::Certificate("mqtts://a:1: no".into())
        );
    }

    #[cfg(feature = "tls")]
    #[tokio::test]
    async fn with_tls_options_a_referral_from_a_unix_socket_leads_to_tls_too() {
        let authority = rcgen::generate_simple_self_signed(["a".to_owned()]).unwrap();
        let mut settings = Settings::new(Server::unix("/run/broker"));
        settings.tls = Some(TlsOptions::new().ca_pem(authority.cert.pem()));
        let connector = settings.connector(None).await.unwrap();
        for reference in ["other:8883", "mqtt://other:8883"] {
            let local = connector.find(&proto::ServerChoice::Listed(0)).unwrap();
            assert_eq!(local.to_string(), "mqtt+unix:///run/broker");
            let reference = proto::Utf8String::try_from(reference).unwrap();
            let found = connector
                .find(&proto::ServerChoice::Referred(reference))
                .unwrap();
            assert_eq!(found.to_string(), "mqtts://other:8883");
        }
    }

    #[test]
    fn the_end_of_a_stream_is_told_from_an_error() {
        let end = io::Error::from(io::ErrorKind::UnexpectedEof);
        assert_eq!(cause(&end), TransportError::EndOfStream);
        let own = io::Error::other(TransportError::EndOfStream);
        assert_eq!(cause(&own), TransportError::EndOfStream);
    }
}
