//! Credentials that are asked for at each attempt to connect: tokens that expire.

use std::error::Error as StdError;
use std::fmt;
use std::future::Future;

use bytes::Bytes;
use ferromqtt_proto::shown::Masked;

#[cfg(feature = "websocket")]
use crate::transport::Headers;
use crate::{ConnectionError, Server};

/// Why a [`CredentialsProvider`] has none. Its text becomes that of [`ConnectionError::NoCredentials`]: it should hold no
/// secret.
pub type CredentialsError = Box<dyn StdError + Send + Sync>;

/// An attempt to connect that is about to be made.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct ConnectAttempt {
    /// Where to: one of [`Options::servers`](crate::Options::servers), or one that a server has referred to. What is given
    /// for it goes there.
    pub server: Server,
    /// 0 for the first attempt of all, 1 for the first after a connection that was stable; grows with each that fails.
    pub number: u32,
    /// Why the last connection or attempt has ended, `None` before any has: with a refusal for bad credentials, those that
    /// were kept from before are not to be used again.
    pub last_end: Option<ConnectionError>,
}

/// Who a client is, for one attempt to connect. What is absent is as [`Options`](crate::Options) say.
///
/// `Debug` shows none of it.
#[derive(Clone, Default)]
pub struct Credentials {
    pub(crate) user_name: Option<String>,
    pub(crate) password: Option<Bytes>,
    #[cfg(feature = "websocket")]
    pub(crate) websocket_headers: Headers,
    #[cfg(feature = "websocket")]
    pub(crate) websocket_path: Option<String>,
}

impl Credentials {
    /// None yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// User Name. Default: that of the options.
    #[must_use]
    pub fn user_name(mut self, user_name: impl Into<String>) -> Self {
        self.user_name = Some(user_name.into());
        self
    }

    /// Password. Default: that of the options. Without TLS it crosses the network as it is.
    #[must_use]
    pub fn password(mut self, password: impl Into<Bytes>) -> Self {
        self.password = Some(password.into());
        self
    }

    /// Sets a header of the WebSocket request, such as Authorization, over those of the options. Default: none more. On
    /// other ways to the server, and over [a transport of your own](crate::Options::transport), headers are not used.
    #[cfg(feature = "websocket")]
    #[must_use]
    pub fn websocket_header(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.websocket_headers.set(name.into(), Some(value.into()));
        self
    }

    /// Path and query of the WebSocket request, for services whose credentials are a signature in the URL. Default: those of
    /// the server's URL. Used where headers are.
    #[cfg(feature = "websocket")]
    #[must_use]
    pub fn websocket_path(mut self, path: impl Into<String>) -> Self {
        self.websocket_path = Some(path.into());
        self
    }
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Credentials").field(&Masked).finish()
    }
}

/// Gives credentials for each attempt to connect: for [`Options::credentials`](crate::Options::credentials), where they
/// expire. A closure will do: one that takes a [`ConnectAttempt`] and returns a future of [`Credentials`].
///
/// An error fails the attempt as [`ConnectionError::NoCredentials`], which is tried again like a failure of the network. So
/// are credentials that CONNECT or the WebSocket request cannot hold.
///
/// ```
/// use ferromqtt::{
///     ConnectAttempt, ConnectionError, Credentials, CredentialsError, CredentialsProvider, Options,
/// };
/// use tokio::sync::Mutex;
///
/// # async fn fetch_token() -> std::io::Result<String> { Ok("token".to_owned()) }
/// /// Keeps a token until a server refuses it.
/// struct Kept(Mutex<Option<String>>);
///
/// impl CredentialsProvider for Kept {
///     async fn credentials(&self, attempt: ConnectAttempt) -> Result<Credentials, CredentialsError> {
///         let refused = matches!(attempt.last_end, Some(ConnectionError::Refused { .. }));
///         let mut kept = self.0.lock().await;
///         let token = match kept.take() {
///             Some(token) if !refused => token,
///             _ => fetch_token().await?,
///         };
///         *kept = Some(token.clone());
///         Ok(Credentials::new().password(token))
///     }
/// }
///
/// let options = Options::new("localhost", 1883)
///     .user_name("station-7")
///     .credentials(Kept(Mutex::new(None)));
/// ```
pub trait CredentialsProvider: Send + Sync + 'static {
    /// The credentials for `attempt`. Called once for each, before its transport is opened, and never twice at a time.
    ///
    /// # Errors
    /// Whatever keeps the application from having any.
    ///
    /// # Cancel safety
    /// The future is dropped when [`Options::connect_timeout`](crate::Options::connect_timeout) is over, and when the client
    /// is to disconnect.
    fn credentials(
        &self,
        attempt: ConnectAttempt,
    ) -> impl Future<Output = Result<Credentials, CredentialsError>> + Send;
}

impl<F, C> CredentialsProvider for F
where
    F: Fn(ConnectAttempt) -> C + Send + Sync + 'static,
    C: Future<Output = Result<Credentials, CredentialsError>> + Send,
{
    fn credentials(
        &self,
        attempt: ConnectAttempt,
    ) -> impl Future<Output = Result<Credentials, CredentialsError>> + Send {
        self(attempt)
    }
}
