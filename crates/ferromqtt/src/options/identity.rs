//! Options for the identity of the client and its credentials.

use std::sync::Arc;

use bytes::Bytes;

use super::Options;
use crate::authenticate::Method;
use crate::authenticator::Authenticator;
use crate::credentials::CredentialsProvider;

/// # Identity and credentials
impl Options {
    /// Client Identifier. Default: empty, which lets the server choose one.
    ///
    /// Two clients with the same one take the server from each other. Where the server says so (5.0: Session taken over) the
    /// one that loses does not reconnect; before 5.0, and with servers that say nothing (mosquitto 2.0), both go on forever.
    /// Either way [`ConnectionEvent::IdentifierContested`](crate::ConnectionEvent::IdentifierContested) and the log report it.
    #[must_use]
    pub fn client_identifier(mut self, identifier: impl Into<String>) -> Self {
        self.client_identifier = identifier.into();
        self
    }

    /// User Name. Default: none.
    #[must_use]
    pub fn user_name(mut self, user_name: impl Into<String>) -> Self {
        self.user_name = Some(user_name.into());
        self
    }

    /// Password. Default: none. Without TLS it crosses the network as it is.
    #[must_use]
    pub fn password(mut self, password: impl Into<Bytes>) -> Self {
        self.core.password = Some(password.into());
        self
    }

    /// Asks for credentials at each attempt to connect, for those that expire: a JSON Web Token, a shared access signature.
    /// Default: none, the same at each attempt.
    ///
    /// What the provider does counts to [`connect_timeout`](Self::connect_timeout). If it fails, the attempt has failed as
    /// [`ConnectionError::NoCredentials`](crate::ConnectionError::NoCredentials), and [`reconnect`](Self::reconnect) says
    /// what follows. An end for bad credentials is not final then: a refusal as Bad User Name or Password or Not authorized
    /// (of 3.x, with Return Code 4 or 5), and Not authorized from a server that disconnects. The next attempt, after a pause,
    /// has others.
    ///
    /// ```
    /// use ferromqtt::{ConnectAttempt, Credentials, Options};
    ///
    /// # async fn fetch_token() -> std::io::Result<String> { Ok("token".to_owned()) }
    /// let options = Options::new("localhost", 1883).credentials(async |_: ConnectAttempt| {
    ///     let token = fetch_token().await?; // from a service of yours
    ///     Ok(Credentials::new().user_name("station-7").password(token))
    /// });
    /// ```
    #[must_use]
    pub fn credentials(mut self, provider: impl CredentialsProvider) -> Self {
        self.credentials = Some(Arc::new(provider));
        self.core.fresh_credentials = true;
        self
    }

    /// Enhanced authentication (5.0, section 4.12) by this Authentication Method: `begin` makes an [`Authenticator`] for each
    /// exchange. Default: none.
    #[must_use]
    pub fn authenticator<A: Authenticator>(
        mut self,
        method: impl Into<String>,
        begin: impl Fn() -> A + Send + Sync + 'static,
    ) -> Self {
        self.authentication = Some(Method::new(method.into(), begin));
        self
    }
}
