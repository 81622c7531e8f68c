//! Enhanced authentication (5.0, section 4.12): the application's part of it, and how it is asked.

use std::error::Error as StdError;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use ferromqtt_engine::{Ask, CallEnd, Reply};
use ferromqtt_proto as proto;
use thiserror::Error;
use tokio::sync::oneshot;
use tokio::task::coop::consume_budget;

use crate::ConnectionError;
use crate::shared::Shared;

/// Why an [`Authenticator`] does not go on. Its text becomes that of [`ConnectionError::AuthenticationFailed`]: it should
/// hold no secret.
pub type AuthenticatorError = Box<dyn StdError + Send + Sync>;

/// One exchange of enhanced authentication (5.0, section 4.12), such as SCRAM: a new one for each connection and for each
/// [`Client::re_authenticate`](crate::Client::re_authenticate), and given to
/// [`Options::authenticator`](crate::Options::authenticator).
///
/// Its methods are called by the task behind the connection, which waits for them: they should compute, not wait. An error
/// ends the connection as [`ConnectionError::AuthenticationFailed`], and the client does not reconnect.
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

/// The exchange under way. Its lock is never held while the application computes.
pub(crate) struct AuthenticationExchange {
    method: Method,
    exchange: Mutex<Option<Box<dyn Authenticator>>>,
}

type Why = Arc<str>;

impl AuthenticationExchange {
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

    /// Passes what the server has sent to the application, and returns its answer.
    pub(crate) fn hear(&self, ask: Ask) -> Reply {
        let Some(mut exchange) = self.exchange().take() else {
            return Reply::Failed("there is no exchange under way".into());
        };
        let heard = match ask {
            Ask::Continue(data) => exchange.answer(data).map(Reply::Data),
            Ask::Accepted(data) => exchange.accepted(data).map(|()| Reply::Accepted),
        };
        if let Ok(Reply::Data(_)) = heard {
            drop(self.replace(exchange));
        }
        heard.unwrap_or_else(|error| Reply::Failed(named(error)))
    }
}

impl fmt::Debug for AuthenticationExchange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.method.fmt(f)
    }
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
    let (begun, left) =
        shared.call(
            |state, now| match state.engine.re_authenticate(now, data, sender) {
                Ok(()) => (Ok(()), (authentication.replace(exchange), None)),
                Err((sender, error)) => (Err(error), (Some(exchange), Some(sender))),
            },
        );
    drop(left); // not under the lock
    begun?;
    match outcome.await {
        Ok(CallEnd::ReAuthenticated(result)) => result.map_err(ReAuthenticateError::Disconnected),
        _ => Err(ReAuthenticateError::Disconnected(
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
    #[error("{}{_0}", ended(_0))]
    Disconnected(ConnectionError),
}

/// What stands before a cause, which may be that a blocking call was refused.
const fn ended(cause: &ConnectionError) -> &'static str {
    match cause {
        ConnectionError::InsideRuntime | ConnectionError::Forked => "cannot authenticate again: ",
        _ => "the connection ended: ",
    }
}
