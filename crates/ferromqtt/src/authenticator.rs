//! Enhanced authentication (5.0, section 4.12): what the application gives, and how it fails.

use std::error::Error as StdError;
use std::sync::Arc;

use bytes::Bytes;
use ferromqtt_proto as proto;
use thiserror::Error;

use crate::ConnectionError;

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
