//! Enhanced authentication (5.0, section 4.12): the application's part of it, and how it is asked.

use std::error::Error as StdError;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use ferromqtt_proto as proto;
use proto::packet::Auth;
use thiserror::Error;
use tokio::sync::oneshot;
use tokio::task::coop::consume_budget;

use crate::shared::Shared;
use crate::{ConnectionError, Properties, ReasonCode};

/// Why an [`Authenticator`] does not go on. Its text becomes that of [`ConnectionError::AuthenticationFailed`]: it should
/// hold no secret.
pub type AuthenticatorError = Box<dyn StdError + Send + Sync>;

/// One exchange of enhanced authentication (5.0, section 4.12), such as SCRAM: made anew for each connection and for each
/// [`Client::re_authenticate`](crate::Client::re_authenticate), and given to
/// [`Options::authenticator`](crate::Options::authenticator).
///
/// Its methods are called by the task behind the connection, which waits for them: they should compute, not wait. An error
/// ends the connection as [`ConnectionError::AuthenticationFailed`], and none is made anew.
///
/// ```
/// use bytes::Bytes;
/// use ferromqtt::{Authenticator, AuthenticatorError, Options};
///
/// /// Answers each challenge with its bytes in reverse.
/// struct Reversed;
///
/// impl Authenticator for Reversed {
///     fn begin(&mut self) -> Result<Option<Bytes>, AuthenticatorError> {
///         Ok(None)
///     }
///
///     fn answer(&mut self, challenge: Option<Bytes>) -> Result<Option<Bytes>, AuthenticatorError> {
///         let challenge = challenge.ok_or("the server asks for nothing")?;
///         Ok(Some(challenge.iter().rev().copied().collect()))
///     }
/// }
///
/// let options = Options::new("localhost", 1883).authenticator("REVERSED", || Reversed);
/// ```
pub trait Authenticator: Send + 'static {
    /// Authentication Data to begin with, in CONNECT or in AUTH.
    ///
    /// # Errors
    /// Whatever keeps the application from authenticating.
    fn begin(&mut self) -> Result<Option<Bytes>, AuthenticatorError>;

    /// The answer to an AUTH of the server, whose Authentication Data is given.
    ///
    /// # Errors
    /// When the server's data is wrong, or cannot be answered.
    fn answer(&mut self, challenge: Option<Bytes>) -> Result<Option<Bytes>, AuthenticatorError>;

    /// The server has accepted, with this Authentication Data: where the method proves the server's identity, check it here.
    /// Nothing that waits is sent before this has returned. Default: whatever the server says is right.
    ///
    /// # Errors
    /// When it is not the right server.
    fn accepted(&mut self, data: Option<Bytes>) -> Result<(), AuthenticatorError> {
        let _ = data;
        Ok(())
    }
}

/// An Authentication Method, and what begins its exchanges.
#[derive(Clone)]
pub(crate) struct Method {
    pub(crate) name: String,
    begin: Arc<dyn Fn() -> Box<dyn Authenticator> + Send + Sync>,
}

impl Method {
    pub(crate) fn new<A: Authenticator>(
        name: String,
        begin: impl Fn() -> A + Send + Sync + 'static,
    ) -> Self {
        let begin = Arc::new(move || Box::new(begin()) as Box<dyn Authenticator>);
        Self { name, begin }
    }
}

impl fmt::Debug for Method {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Method").field(&self.name).finish()
    }
}

/// What the server says in an exchange.
pub(crate) enum Said {
    Continue(Option<Bytes>),
    /// By CONNACK, or by AUTH after it.
    Accepted(Option<Bytes>),
}

/// The exchange under way. Its lock is never held while the application computes.
pub(crate) struct Authentication {
    method: Method,
    exchange: Mutex<Option<Box<dyn Authenticator>>>,
}

type Why = Arc<str>;

impl Authentication {
    pub(crate) const fn new(method: Method) -> Self {
        Self {
            method,
            exchange: Mutex::new(None),
        }
    }

    fn exchange(&self) -> MutexGuard<'_, Option<Box<dyn Authenticator>>> {
        self.exchange.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A new exchange, and its first data.
    fn begin(&self) -> Result<(Box<dyn Authenticator>, Option<Bytes>), Why> {
        let mut exchange = (self.method.begin)();
        let data = exchange.begin().map_err(named)?;
        Ok((exchange, data))
    }

    /// Returns the exchange that was under way, if any. Drop it without a lock: that is the application's code.
    fn replace(&self, exchange: Box<dyn Authenticator>) -> Option<Box<dyn Authenticator>> {
        self.exchange().replace(exchange)
    }

    /// Begins the exchange of a new connection.
    pub(crate) fn begin_connection(&self) -> Result<Option<Bytes>, Why> {
        let (exchange, data) = self.begin()?;
        drop(self.replace(exchange));
        Ok(data)
    }

    /// Lets the application hear what the server says. `Some` is to be sent.
    pub(crate) fn hear(&self, said: Said) -> Result<Option<Auth>, Why> {
        let Some(mut exchange) = self.exchange().take() else {
            return Err("there is no exchange under way".into());
        };
        let answer = match said {
            Said::Continue(data) => {
                let data = exchange.answer(data).map_err(named)?;
                Some(auth(ReasonCode::ContinueAuthentication, data))
            }
            Said::Accepted(data) => {
                exchange.accepted(data).map_err(named)?;
                return Ok(None);
            }
        };
        drop(self.replace(exchange));
        Ok(answer)
    }
}

impl fmt::Debug for Authentication {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.method.fmt(f)
    }
}

fn auth(reason: ReasonCode, data: Option<Bytes>) -> Auth {
    let properties = Properties {
        authentication_data: data,
        ..Properties::default()
    };
    Auth { reason, properties }
}

fn named(error: AuthenticatorError) -> Why {
    error.to_string().into()
}

pub(crate) async fn re_authenticate(shared: &Shared) -> Result<(), ReAuthenticateError> {
    consume_budget().await; // a loop of calls that fail must not keep others from running
    let Some(authentication) = &shared.authentication else {
        return Err(ReAuthenticateError::NoAuthenticator);
    };
    let (exchange, data) = authentication
        .begin()
        .map_err(ReAuthenticateError::Failed)?;
    let (sender, outcome) = oneshot::channel();
    let (begun, left) = shared.call(|state, now| {
        let auth = auth(ReasonCode::ReAuthenticate, data);
        if let Err(error) = state.core.authenticate(now, auth) {
            return (Err(error), (Some(exchange), Some(sender)));
        }
        let former = authentication.replace(exchange);
        (Ok(()), (former, state.re_authenticating.replace(sender)))
    });
    drop(left); // not under the lock
    begun?;
    match outcome.await {
        Ok(result) => result.map_err(ReAuthenticateError::Disconnected),
        Err(_) => Err(ReAuthenticateError::Disconnected(
            ConnectionError::DriverGone,
        )),
    }
}

/// The client did not authenticate again.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum ReAuthenticateError {
    /// The options have no [authenticator](crate::Options::authenticator).
    #[error("there is no authenticator: give one with Options::authenticator")]
    NoAuthenticator,
    /// The authenticator could not begin: nothing was sent.
    #[error("authentication failed on this side: {0}")]
    Failed(Arc<str>),
    /// There is no connection, or an exchange is under way already: nothing was sent.
    #[error(transparent)]
    Invalid(#[from] proto::AuthError),
    /// The connection ended, above all because one side did not accept the other.
    #[error("the connection ended: {0}")]
    Disconnected(ConnectionError),
}
